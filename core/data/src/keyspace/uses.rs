//! When and how often keys are used: what OBJECT IDLETIME and FREQ tell, and what picks the keys that are evicted.
//!
//! One number stands beside each item's slot and is this node's own: it is no part of the state, of its digest, or of
//! snapshots, so that a read costs no log entry. By recency it is the time of the last use, in steps of 64 ms. By
//! frequency it is the last minute of use, in 16 bits, and a counter in 8 that rises by chance, ever more seldom, and sinks
//! with time; so it stands for the logarithm of a rate. (Morris, "Counting large numbers of events in small registers", 1978.)

use super::Keyspace;
use super::items::{Items, NOT_USED};
use crate::Context;
use base::Stamp;
use base::rng::Rng;
use std::cell::Cell;

/// What is noted of a key's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noted {
    /// When it was used last.
    #[default]
    Recency,
    /// How often it is used. The counter rises with chance 1 in (its value times `log_factor`), and sinks by one in each
    /// `decay_minutes`, or never if that is zero.
    Frequency { log_factor: u32, decay_minutes: u32 },
}

/// What the keyspace knows of its keys' uses beside their numbers.
#[derive(Debug)]
pub(super) struct Uses {
    noted: Noted,
    /// Draws for the counters; it decides nothing that can be seen by other replicas.
    chance: Cell<u64>,
}

/// The counter of a new key: it has time to show that it is used.
const COUNTER_NEW: u32 = 5;
const COUNTER_MAX: u32 = 255;
const MINUTE_MS: u64 = 60_000;
/// Steps of recency are of 2^6 ms: 32 bits of them last for eight years.
const STEP_BITS: u32 = 6;

impl Default for Uses {
    fn default() -> Self {
        Self { noted: Noted::Recency, chance: Cell::new(1) }
    }
}

impl Uses {
    /// The number of a key that is made at `at`.
    pub(super) fn of_new(&self, at: Stamp) -> u32 {
        match self.noted {
            Noted::Recency => step(at),
            Noted::Frequency { .. } => number(minute(at), COUNTER_NEW),
        }
    }

    /// The number of a key that is used at `at`.
    #[inline]
    pub(super) fn after(&self, before: u32, at: Stamp) -> u32 {
        match self.noted {
            Noted::Recency => step(at),
            Noted::Frequency { log_factor, decay_minutes } => {
                let counter = decayed(before, at, decay_minutes);
                let above = u64::from(counter.saturating_sub(COUNTER_NEW));
                let mut rng = Rng::new(self.chance.get());
                let rises = counter < COUNTER_MAX && rng.one_in(above * u64::from(log_factor) + 1);
                self.chance.set(rng.next_u64());
                number(minute(at), counter + u32::from(rises))
            }
        }
    }

    /// How well a key may go: the larger, the sooner.
    pub(super) fn staleness(&self, number: u32, at: Stamp) -> u32 {
        match self.noted {
            Noted::Recency => step(at).saturating_sub(number),
            Noted::Frequency { decay_minutes, .. } => COUNTER_MAX - decayed(number, at, decay_minutes),
        }
    }
}

fn step(at: Stamp) -> u32 {
    let [a, b, c, d, ..] = (at.0 >> STEP_BITS).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).min(NOT_USED - 1)
}

fn minute(at: Stamp) -> u32 {
    let [low, high, ..] = (at.0 / MINUTE_MS).to_le_bytes();
    u32::from(u16::from_le_bytes([low, high]))
}

fn number(minute: u32, counter: u32) -> u32 {
    minute << 8 | counter.min(COUNTER_MAX)
}

/// The counter as it stands at `at`.
fn decayed(number: u32, at: Stamp, decay_minutes: u32) -> u32 {
    let since = minute(at).wrapping_sub(number >> 8) & 0xFFFF;
    (number & COUNTER_MAX).saturating_sub(since.checked_div(decay_minutes).unwrap_or(0))
}

impl Keyspace {
    /// What is noted of the uses of keys from now on. Numbers that were noted by another rule say nothing: all keys count as
    /// used now.
    pub fn note_uses(&mut self, noted: Noted) {
        let former = std::mem::replace(&mut self.uses.noted, noted);
        if std::mem::discriminant(&former) != std::mem::discriminant(&noted) {
            self.use_all();
        }
    }

    /// What is noted.
    #[must_use]
    pub fn noted_uses(&self) -> Noted {
        self.uses.noted
    }

    /// Seconds since a live key was last used, if that is noted; it is not used by the question.
    #[must_use]
    pub fn idle_s(&self, cx: &Context, key: &[u8]) -> Option<u64> {
        let number = self.use_of(cx, key)?;
        let steps = step(cx.stamp).saturating_sub(number);
        Some((u64::from(steps) << STEP_BITS) / 1000)
    }

    /// The counter of a live key's uses.
    #[must_use]
    pub fn frequency(&self, cx: &Context, key: &[u8]) -> Option<u32> {
        let Noted::Frequency { decay_minutes, .. } = self.uses.noted else { return None };
        self.use_of(cx, key).map(|number| decayed(number, cx.stamp, decay_minutes))
    }

    fn use_of(&self, cx: &Context, key: &[u8]) -> Option<u32> {
        let item = self.place(cx.db, self.address(cx.db, key), key)?;
        Some(self.dbs[usize::from(cx.db)].items.use_of(item).get())
    }

    /// All keys count as used now: a snapshot tells nothing of that.
    pub(super) fn use_all(&mut self) {
        let number = self.uses.of_new(self.applied.0);
        self.dbs.iter().for_each(|home| home.items.use_all(number));
    }
}

/// A key is used.
#[inline]
pub(super) fn note(uses: &Uses, items: &Items, item: super::ItemId, at: Stamp) {
    let number = items.use_of(item);
    let (before, after) = (number.get(), uses.after(number.get(), at));
    if before != after {
        number.set(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Ttl;
    use base::Index;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn recency_counts_reads_and_writes_but_not_questions() {
        let mut keyspace = Keyspace::new((1, 2));
        keyspace.advance(Stamp(HOUR), Index(1));
        let at = |ms: u64| Context::new(0, Stamp(ms));
        keyspace.set_string(&at(HOUR), b"k", b"v", Ttl::Clear);
        assert_eq!(keyspace.idle_s(&at(HOUR + 10_100), b"k"), Some(10));
        assert!(keyspace.peek(&at(HOUR + 20_100), b"k").is_some());
        assert_eq!(keyspace.idle_s(&at(HOUR + 20_100), b"k"), Some(20));
        assert!(keyspace.get(&at(HOUR + 20_100), b"k").is_some());
        assert_eq!(keyspace.idle_s(&at(HOUR + 25_200), b"k"), Some(5));
        keyspace.advance(Stamp(HOUR + 30_000), Index(2));
        keyspace.set_string(&at(HOUR + 30_000), b"k", b"a longer value", Ttl::Clear);
        assert_eq!(keyspace.idle_s(&at(HOUR + 31_200), b"k"), Some(1));
        assert_eq!((keyspace.idle_s(&at(HOUR), b"x"), keyspace.frequency(&at(HOUR), b"k")), (None, None));
    }

    #[test]
    fn frequency_rises_by_chance_and_sinks_with_time() {
        let mut keyspace = Keyspace::new((1, 2));
        keyspace.note_uses(Noted::Frequency { log_factor: 10, decay_minutes: 1 });
        keyspace.advance(Stamp(HOUR), Index(1));
        let at = |ms: u64| Context::new(0, Stamp(ms));
        keyspace.set_string(&at(HOUR), b"k", b"v", Ttl::Clear);
        assert_eq!(keyspace.frequency(&at(HOUR), b"k"), Some(5));
        let counts = [(100, 8..14), (1_000, 14..24), (100_000, 120..170), (3_000_000, 255..256)];
        let mut done = 0;
        for (uses, expected) in counts {
            (done..uses).for_each(|_| assert!(keyspace.get(&at(HOUR), b"k").is_some()));
            done = uses;
            let counter = keyspace.frequency(&at(HOUR), b"k").expect("it is there");
            assert!(expected.contains(&counter), "{counter} after {uses}");
        }
        assert_eq!(keyspace.frequency(&at(HOUR + 55 * MINUTE_MS), b"k"), Some(200));
        assert_eq!(keyspace.frequency(&at(HOUR + 300 * MINUTE_MS), b"k"), Some(0));
        keyspace.note_uses(Noted::Frequency { log_factor: 10, decay_minutes: 0 });
        assert_eq!(keyspace.frequency(&at(HOUR + 300 * MINUTE_MS), b"k"), Some(255));
    }
}
