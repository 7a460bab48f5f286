//! How many servers a target wants, where servers have several slots each and may slow each other down.

use super::{Demand, Forecast, Usl};

/// The servers of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fleet {
    /// How many there are.
    pub servers: u32,
    /// How many requests one works on at a time.
    pub slots_each: u32,
    /// What more of them give, as measured; without it each does what one does today.
    pub law: Option<Usl>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The mean time inside, in milliseconds, at most.
    MeanMs(f64),
    /// All but this part of requests wait at most so long, in milliseconds.
    WaitMs { most: f64, but: f64 },
}

/// Beyond this nobody plans.
const SERVERS_MAX: u32 = 100_000;
/// Each number is looked at where servers slow each other down.
const SLOWED_SERVERS_MAX: u32 = 2_000;

impl Fleet {
    /// All slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.servers.saturating_mul(self.slots_each)
    }

    /// How long requests wait with so many servers; none if they can't keep up.
    #[must_use]
    pub fn forecast(&self, demand: &Demand, servers: u32) -> Option<Forecast> {
        self.slowed(demand, servers).at(servers.saturating_mul(self.slots_each))
    }

    /// The fewest servers that meet the target; none if no number does, for the service itself takes longer, or more servers are
    /// less than fewer.
    #[must_use]
    pub fn servers_for(&self, demand: &Demand, target: Target) -> Option<u32> {
        let most = self.law.and_then(|law| law.peak()).map_or(SERVERS_MAX, |peak| whole(peak).clamp(1, SERVERS_MAX));
        let meets = |servers: &u32| self.forecast(demand, *servers).is_some_and(|forecast| target.is_met(&forecast));
        if self.law.is_some() {
            // More servers are slower each, so what is met need not stay met: the fewest is looked for from below, until one alone
            // is too slow. Numbers that can't keep up cost nothing to pass.
            let quick = |servers: &u32| match target {
                Target::MeanMs(most) => self.slowed(demand, *servers).service_ms <= most,
                Target::WaitMs { .. } => *servers <= SLOWED_SERVERS_MAX,
            };
            return (1..=most.min(SLOWED_SERVERS_MAX)).take_while(quick).find(meets);
        }
        let slots = match target {
            Target::MeanMs(most) => demand.slots_for_mean(most),
            Target::WaitMs { most, but } => demand.slots_for_wait(most, but),
        };
        slots.map(|slots| slots.div_ceil(self.slots_each.max(1))).filter(|servers| *servers <= most)
    }

    /// The demand as so many servers see it: each works as much slower as the law says that it does less.
    fn slowed(&self, demand: &Demand, servers: u32) -> Demand {
        let Some(law) = self.law else { return *demand };
        let each = |servers: u32| law.at(f64::from(servers)) / f64::from(servers);
        Demand { service_ms: demand.service_ms * each(self.servers) / each(servers), ..*demand }
    }
}

impl Target {
    fn is_met(self, forecast: &Forecast) -> bool {
        match self {
            Self::MeanMs(most) => forecast.inside_ms <= most,
            Self::WaitMs { most, but } => forecast.wait_ms_of(but) <= most,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(number: f64) -> u32 {
    number.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMAND: Demand = Demand { rate_per_s: 1_000.0, service_ms: 10.0, service_cv2: 1.0, arrival_cv2: 1.0 };

    #[test]
    fn the_fewest_servers_are_found() {
        let fleet = Fleet { servers: 3, slots_each: 4, law: None };
        for target in [Target::MeanMs(10.5), Target::MeanMs(14.0), Target::WaitMs { most: 5.0, but: 0.01 }] {
            let servers = fleet.servers_for(&DEMAND, target).unwrap();
            let is_met = |servers| fleet.forecast(&DEMAND, servers).is_some_and(|forecast| target.is_met(&forecast));
            assert!(is_met(servers) && !is_met(servers - 1), "{target:?}: {servers}");
        }
        assert_eq!(fleet.servers_for(&DEMAND, Target::MeanMs(9.0)), None, "the service itself takes longer");
    }

    #[test]
    fn servers_that_slow_each_other_down_are_more_or_never_enough() {
        let law = |contention, coherency| Some(Usl { one_per_s: 400.0, contention, coherency });
        let free = Fleet { servers: 3, slots_each: 4, law: law(0.0, 0.0) };
        let target = Target::MeanMs(14.0);
        let without = Fleet { law: None, ..free };
        assert_eq!(free.servers_for(&DEMAND, target), without.servers_for(&DEMAND, target));
        let contended = Fleet { law: law(0.05, 0.001), ..free };
        let thrice = Demand { rate_per_s: 3_000.0, ..DEMAND };
        let wide = Target::MeanMs(20.0);
        let (alone, servers) =
            (free.servers_for(&thrice, wide).unwrap(), contended.servers_for(&thrice, wide).unwrap());
        assert!(servers > alone, "{servers} against {alone}");
        // Half of that load two can do, quicker each than three.
        let half = Demand { rate_per_s: 300.0, ..DEMAND };
        assert_eq!(contended.servers_for(&half, Target::MeanMs(10.0)), Some(2));
        // Past the peak, fewer are more: eleven of twelve slow each other down to what eight can do alone.
        let past = Fleet { servers: 12, slots_each: 1, law: law(0.0, 1.0 / 64.0) };
        let load = Demand { rate_per_s: 1_140.0, ..DEMAND };
        assert!(past.servers_for(&load, Target::MeanMs(1_000.0)).is_some_and(|servers| servers <= 8));
        let hopeless = Fleet { law: law(0.3, 0.1), ..free };
        assert_eq!(hopeless.servers_for(&Demand { rate_per_s: 5_000.0, ..DEMAND }, target), None);
    }
}
