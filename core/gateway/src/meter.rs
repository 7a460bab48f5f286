//! Live λ, W and L of a service, counted apart from each other, so that L = λW is a check and not a definition.
//!
//! Ten seconds in slots of one second. λ counts those who are admitted, W is measured by those who leave, and L is the integral of
//! the number inside over time; at a steady load they agree but for those who are inside at the window's ends.

use crate::numbers::{NS_PER_S, real};
use base::Instant;

/// Live figures of a service over the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meter {
    /// λ: requests admitted per second.
    pub admitted_per_s: f64,
    /// All that came, and those that were shed.
    pub offered_per_s: f64,
    pub shed_per_s: f64,
    /// W: the mean time inside, from admission to leaving.
    pub inside_ms: f64,
    /// How uneven the times inside are, and those between arrivals: the square of their standard deviation over their mean.
    pub inside_cv2: f64,
    pub arrival_cv2: f64,
    /// L: the mean number inside.
    pub inside: f64,
    /// |L - λW| / L.
    pub residual: f64,
    /// L over the limit.
    pub utilisation: f64,
    /// The mean wait of those who were admitted, and how many waited on average.
    pub wait_ms: f64,
    pub waiting: f64,
    /// How many may be inside now.
    pub limit: u32,
    /// W without load, as far as known.
    pub no_load_ms: f64,
}

/// What is counted.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    slots: [Slot; SLOTS],
    /// The second that is being counted, and up to when it was.
    second: u64,
    counted: Instant,
    begun: Instant,
    /// When the last one came.
    came: Option<Instant>,
    inside: u32,
    waiting: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    offered: u64,
    admitted: u64,
    shed: u64,
    left: u64,
    inside_ns: f64,
    /// Sums of squares, of times inside and of those between arrivals, and of the latter themselves.
    inside_ns2: f64,
    gaps: u64,
    gap_ns: f64,
    gap_ns2: f64,
    wait_ns: f64,
    /// Integrals over time of how many are inside, and how many wait.
    area_inside: f64,
    area_waiting: f64,
}

impl Counts {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            slots: [Slot::default(); SLOTS],
            second: now.0 / SLOT_NS,
            counted: now,
            begun: now,
            came: None,
            inside: 0,
            waiting: 0,
        }
    }

    pub(crate) fn on_offered(&mut self, now: Instant) {
        // A silence says nothing of how those come who come.
        let gap = self.came.replace(now).map(|came| now.since_ns(came)).filter(|gap| *gap < SLOT_NS * SLOTS as u64);
        let gap = gap.map(real);
        let slot = self.slot(now);
        slot.offered += 1;
        if let Some(gap) = gap {
            (slot.gaps, slot.gap_ns, slot.gap_ns2) = (slot.gaps + 1, slot.gap_ns + gap, slot.gap_ns2 + gap * gap);
        }
    }

    pub(crate) fn on_shed(&mut self, now: Instant) {
        self.slot(now).shed += 1;
    }

    pub(crate) fn on_admitted(&mut self, now: Instant, arrived: Instant) {
        let slot = self.slot(now);
        slot.admitted += 1;
        slot.wait_ns += real(now.since_ns(arrived));
    }

    pub(crate) fn on_left(&mut self, now: Instant, admitted: Instant) {
        let slot = self.slot(now);
        let inside_ns = real(now.since_ns(admitted));
        slot.left += 1;
        slot.inside_ns += inside_ns;
        slot.inside_ns2 += inside_ns * inside_ns;
    }

    /// So many are inside and wait from now on.
    pub(crate) fn set(&mut self, now: Instant, inside: u32, waiting: u32) {
        let _ = self.slot(now);
        (self.inside, self.waiting) = (inside, waiting);
    }

    pub(crate) fn read(&self, now: Instant) -> Meter {
        let mut counted = self.clone();
        let _ = counted.slot(now);
        counted.figures(now)
    }

    fn figures(&self, now: Instant) -> Meter {
        let from = self.begun.0.max((self.second + 1).saturating_sub(SLOTS as u64) * SLOT_NS);
        let seconds = real(now.since_ns(Instant(from))).max(1.0) / NS_PER_S;
        let sum = |of: fn(&Slot) -> f64| self.slots.iter().map(of).sum::<f64>();
        let (admitted, left) = (sum(|slot| real(slot.admitted)), sum(|slot| real(slot.left)));
        let (area_inside, area_waiting) = (sum(|slot| slot.area_inside), sum(|slot| slot.area_waiting));
        let admitted_per_s = admitted / seconds;
        let inside_s = sum(|slot| slot.inside_ns) / NS_PER_S / left.max(1.0);
        let inside = area_inside / NS_PER_S / seconds;
        Meter {
            admitted_per_s,
            offered_per_s: sum(|slot| real(slot.offered)) / seconds,
            shed_per_s: sum(|slot| real(slot.shed)) / seconds,
            inside_ms: inside_s * 1e3,
            inside_cv2: cv2(left, sum(|slot| slot.inside_ns), sum(|slot| slot.inside_ns2)),
            arrival_cv2: cv2(sum(|slot| real(slot.gaps)), sum(|slot| slot.gap_ns), sum(|slot| slot.gap_ns2)),
            inside,
            residual: if inside > 0.0 { (inside - admitted_per_s * inside_s).abs() / inside } else { 0.0 },
            wait_ms: sum(|slot| slot.wait_ns) / 1e6 / admitted.max(1.0),
            waiting: area_waiting / NS_PER_S / seconds,
            ..Meter::default()
        }
    }

    /// The slot of now, with all areas counted up to now.
    fn slot(&mut self, now: Instant) -> &mut Slot {
        while now.0 / SLOT_NS > self.second {
            let end = Instant((self.second + 1) * SLOT_NS);
            // Behind a long silence only the last slots count.
            let skipped = (now.0 / SLOT_NS).saturating_sub(self.second + SLOTS as u64);
            self.add_areas(end);
            self.second += 1 + skipped;
            self.counted = Instant(self.second * SLOT_NS);
            *self.current() = Slot::default();
        }
        self.add_areas(now);
        self.current()
    }

    fn add_areas(&mut self, until: Instant) {
        let span = real(until.since_ns(self.counted));
        let (inside, waiting) = (f64::from(self.inside), f64::from(self.waiting));
        let slot = self.current();
        slot.area_inside += inside * span;
        slot.area_waiting += waiting * span;
        self.counted = self.counted.max(until);
    }

    fn current(&mut self) -> &mut Slot {
        &mut self.slots[usize::try_from(self.second % SLOTS as u64).expect("below the number of slots")]
    }
}

/// The variance over the square of the mean, of so many values with this sum and this sum of squares; 0 for none.
fn cv2(count: f64, sum: f64, squares: f64) -> f64 {
    if sum > 0.0 { (count * squares / (sum * sum) - 1.0).max(0.0) } else { 0.0 }
}

const SLOTS: usize = 10;
const SLOT_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_independent_counts_agree() {
        let mut counts = Counts::new(Instant(0));
        // One comes each 10 ms and stays for 25: 100 per second, L = 2.5.
        for ms in (0..20_000).step_by(5) {
            let now = Instant(0).plus_ms(ms);
            if ms % 10 == 0 {
                counts.on_offered(now);
                counts.on_admitted(now, now);
                let inside = counts.inside + 1;
                counts.set(now, inside, 0);
            }
            if ms % 10 == 5 && ms >= 25 {
                counts.on_left(now, Instant(0).plus_ms(ms - 25));
                let inside = counts.inside - 1;
                counts.set(now, inside, 0);
            }
        }
        let meter = counts.read(Instant(0).plus_ms(20_000));
        assert!((meter.admitted_per_s - 100.0).abs() < 1.0, "{meter:?}");
        assert!((meter.inside_ms - 25.0).abs() < 0.1 && (meter.inside - 2.5).abs() < 0.05, "{meter:?}");
        assert!(meter.residual < 0.02, "{meter:?}");
        assert!(meter.inside_cv2 < 1e-9 && meter.arrival_cv2 < 1e-9, "all alike: {meter:?}");
    }

    #[test]
    fn unevenness_is_the_variance_over_the_square_of_the_mean() {
        let mut counts = Counts::new(Instant(0));
        let mut now = Instant(0);
        // Gaps of 1 and 3 ms by turns: mean 2, variance 1. Stays of 10 and 90: mean 50, variance 1600.
        for at in 0..1_000u64 {
            now = now.plus_ms(if at % 2 == 0 { 1 } else { 3 });
            counts.on_offered(now);
            counts.on_left(now.plus_ms(100), now.plus_ms(if at % 2 == 0 { 90 } else { 10 }));
        }
        let meter = counts.read(now.plus_ms(100));
        assert!((meter.arrival_cv2 - 0.25).abs() < 1e-3, "{meter:?}");
        assert!((meter.inside_cv2 - 0.64).abs() < 1e-3, "{meter:?}");
    }

    #[test]
    fn an_hour_of_silence_is_no_gap_between_arrivals() {
        let mut counts = Counts::new(Instant(0));
        for ms in (0..10_000).chain(3_600_000..3_605_000).step_by(10) {
            counts.on_offered(Instant(0).plus_ms(ms));
        }
        assert!(counts.read(Instant(0).plus_ms(3_605_000)).arrival_cv2 < 0.01);
    }

    #[test]
    fn silence_empties_it() {
        let mut counts = Counts::new(Instant(0));
        counts.on_offered(Instant(0));
        counts.set(Instant(0), 1, 0);
        let meter = counts.read(Instant(0).plus_ms(3_600_000));
        assert_eq!(meter.offered_per_s, 0.0);
        assert!((meter.inside - 1.0).abs() < 1e-6, "who is inside is inside all the time: {meter:?}");
    }
}
