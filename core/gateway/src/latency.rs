//! How long an endpoint takes to answer, as a picker wants to know it: up at once, down slowly, and forgotten when nothing tells.
//!
//! A mean that decays by time (Finagle's peak EWMA): a sample above it counts for more than one below it, so that an endpoint that
//! begins to stall is left at once. Errors count as slow answers: a dead endpoint that refuses at once would look like the fastest.

use crate::numbers::{real, whole};
use base::Instant;

/// The mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeakEwma {
    mean_us: f64,
    told: Instant,
}

impl PeakEwma {
    pub(crate) fn tell(&mut self, now: Instant, sample_us: u64) {
        let sample = real(sample_us.max(1));
        let keep = (-real(now.since_ns(self.told)) / DECAY_NS).exp();
        let decayed = self.mean_us * keep + sample * (1.0 - keep);
        self.mean_us = match self.mean_us {
            mean if mean <= 0.0 => sample,
            mean if sample > mean => decayed.max(mean + (sample - mean) * UP),
            _ => decayed,
        };
        self.told = now;
    }

    pub(crate) fn tell_error(&mut self, now: Instant, took_us: u64) {
        self.tell(now, took_us.max(whole(self.mean_us * ERROR_TIMES)).max(ERROR_US_LEAST));
    }

    /// The mean, which fades while nobody tells anything: sooner or later the slowest is tried again.
    pub(crate) fn us(&self, now: Instant) -> u64 {
        whole(self.expected_us(now))
    }

    pub(crate) fn expected_us(&self, now: Instant) -> f64 {
        self.mean_us * (-real(now.since_ns(self.told)) / FADE_NS).exp()
    }
}

/// How fast the mean follows samples below it.
const DECAY_NS: f64 = 0.5e9;
/// How much a sample above it counts at least.
const UP: f64 = 0.05;
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
        latency.tell(Instant(0), 10_000);
        for n in 1..20 {
            latency.tell_error(Instant(0).plus_ms(n), 50);
        }
        assert!(latency.us(Instant(0).plus_ms(20)) > 10_000);
    }

    #[test]
    fn it_rises_at_once_and_fades_in_silence() {
        let mut latency = PeakEwma::default();
        latency.tell(Instant(0), 10_000);
        latency.tell(Instant(1_000), 1_000_000);
        let peak = latency.us(Instant(1_000));
        assert!(peak > 50_000, "{peak}");
        assert!(latency.us(Instant(0).plus_ms(60_000)) < 1_000);
    }
}
