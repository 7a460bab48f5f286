//! Other ways to find a limit, as their authors describe them, for comparison: each hears of every request that was served.

use std::fmt::Debug;

/// An algorithm that sets the limit.
pub trait Rival: Debug {
    /// A request was served in so long while so many are inside; the new limit, if it changes.
    fn on_sample(&mut self, now_ns: u64, inside: u32, us: u64) -> Option<u32>;
}

/// A name, and how to make one.
pub type Named = (&'static str, fn() -> Box<dyn Rival>);

/// All of them.
pub const ALL: [Named; 5] = [
    ("vegas", || Box::new(Vegas { limit: FIRST, no_load: f64::MAX, probe_in: 0 })),
    ("gradient2", || Box::new(Gradient2 { limit: FIRST, long: 0.0, n: 0.0 })),
    ("envoy", || Box::new(Envoy { limit: FIRST, min: None, sample: Vec::new(), next: 0, before: FIRST })),
    ("aimd", || Box::new(Aimd { limit: FIRST, first: None })),
    ("bbr", || Box::new(Bbr { rates: Vec::new(), least: Vec::new(), since: 0, n: 0, min: f64::MAX })),
];

/// Netflix concurrency-limits' Vegas: the queue is `limit * (1 - noload / rtt)`, kept between alpha and beta; the time without load is the
/// least seen, asked for anew by forgetting it now and then.
#[derive(Debug)]
struct Vegas {
    limit: f64,
    no_load: f64,
    probe_in: u32,
}

impl Rival for Vegas {
    fn on_sample(&mut self, _: u64, inside: u32, us: u64) -> Option<u32> {
        let us = us as f64;
        self.probe_in += 1;
        if f64::from(self.probe_in) > 30.0 * self.limit {
            (self.probe_in, self.no_load) = (0, us);
        }
        self.no_load = self.no_load.min(us);
        if f64::from(inside) * 2.0 < self.limit {
            return None;
        }
        let queue = (self.limit * (1.0 - self.no_load / us)).ceil();
        let log = self.limit.log10().max(1.0);
        let (alpha, beta) = (3.0 * log, 6.0 * log);
        self.limit = match queue {
            queue if queue <= log => self.limit + beta,
            queue if queue < alpha => self.limit + log,
            queue if queue > beta => self.limit - log,
            _ => return None,
        }
        .max(1.0);
        Some(whole(self.limit))
    }
}

/// Netflix concurrency-limits' Gradient2: the long mean over the sample, tolerance 1.5, queue 4, smoothing 0.2; a long mean
/// that is twice the sample decays.
#[derive(Debug)]
struct Gradient2 {
    limit: f64,
    long: f64,
    n: f64,
}

impl Rival for Gradient2 {
    fn on_sample(&mut self, _: u64, inside: u32, us: u64) -> Option<u32> {
        let short = us as f64;
        self.n = (self.n + 1.0).min(600.0);
        self.long += (short - self.long) * if self.n < 10.0 { 1.0 / self.n } else { 2.0 / 601.0 };
        if self.long / short > 2.0 {
            self.long *= 0.95;
        }
        if f64::from(inside) < self.limit / 2.0 {
            return None;
        }
        let gradient = (1.5 * self.long / short).clamp(0.5, 1.0);
        let wanted = self.limit * gradient + 4.0;
        self.limit = (self.limit * 0.8 + wanted * 0.2).max(1.0);
        Some(whole(self.limit))
    }
}

/// Envoy's gradient controller: windows of 100 ms with their median, the time without load measured at three inside over fifty
/// requests each minute, a buffer of a quarter, headroom of the limit's root.
#[derive(Debug)]
struct Envoy {
    limit: f64,
    min: Option<f64>,
    sample: Vec<u64>,
    next: u64,
    before: f64,
}

impl Rival for Envoy {
    fn on_sample(&mut self, now_ns: u64, _: u32, us: u64) -> Option<u32> {
        self.sample.push(us);
        match self.min {
            None if self.sample.len() >= 50 => {
                self.min = Some(self.take_median());
                self.next = now_ns + 100_000_000;
                self.limit = self.before;
            }
            None => self.limit = 3.0,
            Some(_) if now_ns / 60_000_000_000 != self.next.saturating_sub(100_000_000) / 60_000_000_000 => {
                (self.min, self.before) = (None, self.limit);
                self.sample.clear();
                self.limit = 3.0;
            }
            Some(min) if now_ns >= self.next => {
                self.next = now_ns + 100_000_000;
                let median = self.take_median();
                let gradient = (min * 1.25 / median).clamp(0.5, 2.0);
                self.limit = (self.limit * gradient + (self.limit * gradient).sqrt()).clamp(3.0, 1000.0);
            }
            Some(_) => return None,
        }
        Some(whole(self.limit))
    }
}

impl Envoy {
    fn take_median(&mut self) -> f64 {
        self.sample.sort_unstable();
        let median = self.sample[self.sample.len() / 2] as f64;
        self.sample.clear();
        median
    }
}

/// One more for each that takes less than twice the first one's time, a tenth less for each that takes longer.
#[derive(Debug)]
struct Aimd {
    limit: f64,
    first: Option<u64>,
}

impl Rival for Aimd {
    fn on_sample(&mut self, _: u64, inside: u32, us: u64) -> Option<u32> {
        let first = *self.first.get_or_insert(us);
        if us > 2 * first {
            self.limit = (self.limit * 0.9).max(1.0);
        } else if f64::from(inside) * 2.0 >= self.limit {
            self.limit += 1.0 / self.limit;
        }
        Some(whole(self.limit))
    }
}

/// The largest rate of ten windows times the least time of a hundred, and a quarter more, as BBR keeps a connection full.
#[derive(Debug)]
struct Bbr {
    rates: Vec<f64>,
    least: Vec<f64>,
    since: u64,
    n: u32,
    min: f64,
}

impl Rival for Bbr {
    fn on_sample(&mut self, now_ns: u64, _: u32, us: u64) -> Option<u32> {
        (self.n, self.min) = (self.n + 1, self.min.min(us as f64));
        if now_ns < self.since + 100_000_000 {
            return None;
        }
        self.rates.push(f64::from(self.n) / ((now_ns - self.since) as f64 / 1e6));
        self.least.push(self.min / 1000.0);
        (self.since, self.n, self.min) = (now_ns, 0, f64::MAX);
        let last = |all: &[f64], n: usize| all[all.len().saturating_sub(n)..].to_vec();
        let rate = last(&self.rates, 10).into_iter().fold(0.0, f64::max);
        let least = last(&self.least, 100).into_iter().fold(f64::MAX, f64::min);
        Some(whole((1.25 * rate * least).max(4.0)))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limits are small and above zero")]
fn whole(limit: f64) -> u32 {
    limit.max(1.0) as u32
}

const FIRST: f64 = 20.0;
