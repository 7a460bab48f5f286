//! How long an endpoint takes to answer, as a picker wants to know it: up at once, down slowly, and forgotten when nothing tells.
//!
//! The expected time is the mean so far, times how many would be in flight now, over how many were in flight when the mean was made:
//! exact for a server that does one thing at a time, as for one that has room for many, whose latency doesn't depend on how many.
//!
//! A mean that decays by time (Finagle's peak EWMA): a sample above it counts for more than one below it, so that an endpoint that
//! begins to stall is left at once. No single sample counts for much, unless there was none for long: where requests are uneven, an endpoint with few
//! of them was judged by its last three. Errors count as slow answers: a dead endpoint that refuses at once would look like the fastest.

use crate::numbers::{real, whole};
use base::Instant;

/// The mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeakEwma {
    mean_us: f64,
    /// How many were in flight when those began that the mean is of, themselves included.
    in_flight: f64,
    told: Instant,
}

impl PeakEwma {
    /// One that began as the `in_flight`th took so long.
    pub(crate) fn tell(&mut self, now: Instant, sample_us: u64, in_flight: u32) {
        let sample = real(sample_us.max(1));
        if self.mean_us <= 0.0 {
            (self.mean_us, self.in_flight) = (sample, f64::from(in_flight));
        }
        let passed = |of_ns: f64| 1.0 - (-real(now.since_ns(self.told)) / of_ns).exp();
        let by_time = passed(DECAY_NS).min(passed(FADE_NS).max(ONE));
        let part = if sample > self.mean_us { by_time.max(ONE) } else { by_time };
        self.mean_us += (sample - self.mean_us) * part;
        self.in_flight += (f64::from(in_flight) - self.in_flight) * part;
        self.told = now;
    }

    pub(crate) fn tell_error(&mut self, now: Instant, took_us: u64, in_flight: u32) {
        self.tell(now, took_us.max(whole(self.mean_us * ERROR_TIMES)).max(ERROR_US_LEAST), in_flight);
    }

    /// The mean, which fades while nobody tells anything: sooner or later the slowest is tried again.
    pub(crate) fn us(&self, now: Instant) -> u64 {
        whole(self.faded_us(now))
    }

    /// How long one more would take with so many in flight, itself included; nothing if nobody has told.
    pub(crate) fn expected_us(&self, now: Instant, in_flight: u32) -> Option<f64> {
        let faded = self.faded_us(now);
        (faded >= 1.0).then(|| faded * f64::from(in_flight) / self.in_flight.max(1.0))
    }

    fn faded_us(&self, now: Instant) -> f64 {
        self.mean_us * (-real(now.since_ns(self.told)) / FADE_NS).exp()
    }
}

/// How fast the mean follows samples below it.
const DECAY_NS: f64 = 0.5e9;
/// How much a sample above it counts at least, and any at most.
const ONE: f64 = 0.03;
/// How fast it fades without samples.
const FADE_NS: f64 = 10e9;
const ERROR_TIMES: f64 = 2.0;
const ERROR_US_LEAST: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_never_make_an_endpoint_look_fast() {
        let mut latency = PeakEwma::default();
        latency.tell(Instant(0), 10_000, 1);
        for n in 1..20 {
            latency.tell_error(Instant(0).plus_ms(n), 50, 1);
        }
        assert!(latency.us(Instant(0).plus_ms(20)) > 10_000);
    }

    #[test]
    fn what_is_in_flight_counts_as_it_did_before() {
        let (mut single, mut wide) = (PeakEwma::default(), PeakEwma::default());
        single.tell(Instant(0), 30_000, 3);
        wide.tell(Instant(0), 10_000, 10);
        assert_eq!(single.expected_us(Instant(0), 1), Some(10_000.0));
        assert_eq!(wide.expected_us(Instant(0), 11), Some(11_000.0));
        assert_eq!(PeakEwma::default().expected_us(Instant(0), 1), None);
    }

    #[test]
    fn it_rises_at_once_and_fades_in_silence() {
        let mut latency = PeakEwma::default();
        latency.tell(Instant(0), 10_000, 1);
        latency.tell(Instant(1_000), 1_000_000, 1);
        let peak = latency.us(Instant(1_000));
        assert!(peak > 30_000, "{peak}");
        assert!(latency.us(Instant(0).plus_ms(60_000)) < 1_000);
    }
}
