//! Who asks: how many per second and when, how patient they are, and what they do when they are refused.

/// A load: rates that hold from given milliseconds on, bursts, and how clients behave.
#[derive(Clone, Debug)]
pub struct Load {
    /// From when how many come per second, by chance (Poisson).
    pub rates: Vec<(u64, f64)>,
    /// At a millisecond, so many at once.
    pub bursts: Vec<(u64, u32)>,
    pub clients: Clients,
}

/// How clients behave.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// After so long a client gives up this try.
    pub patience_ms: u64,
    /// True if they tell how long they wait, as a deadline.
    pub tell_deadline: Told,
    /// How often one asks at most, the first time included.
    pub tries: u32,
    pub again: Again,
    /// So many percent of requests may not be done twice.
    pub unsafe_percent: u64,
    /// So many classes of importance, evenly.
    pub classes: u8,
}

/// Whether the gateway knows a client's patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Deadline,
    Nothing,
}

/// When a client that was refused, or gave up, asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After this time and up to as much more by chance: a storm.
    After { ms: u64 },
    /// When it was told to.
    WhenTold,
}

impl Clients {
    /// Patient enough, asking once, all alike.
    pub const PLAIN: Self = Self {
        patience_ms: 60_000,
        tell_deadline: Told::Nothing,
        tries: 1,
        again: Again::WhenTold,
        unsafe_percent: 0,
        classes: 1,
    };
}

impl Load {
    #[must_use]
    pub fn steady(per_s: f64, clients: Clients) -> Self {
        Self { rates: vec![(0, per_s)], bursts: Vec::new(), clients }
    }

    /// The rate at a millisecond.
    pub(super) fn rate_at(&self, ms: u64) -> f64 {
        self.rates.iter().rev().find(|(from, _)| *from <= ms).map_or(0.0, |(_, rate)| *rate)
    }
}
