//! Upstream servers: some slots, one queue before them, a time for each request, a speed; alive or dead.

use base::rng::Rng;
use std::collections::VecDeque;

/// How long requests take at speed 1.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Fixed {
        ms: f64,
    },
    Exponential {
        ms: f64,
    },
    /// Two kinds, `percent` of them slow; both exponential.
    Mixed {
        fast_ms: f64,
        slow_ms: f64,
        percent: u8,
    },
    LogNormal {
        ms: f64,
        cv2: f64,
    },
}

/// A server as a world is set up with it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub slots: u32,
    pub speed: f64,
    pub work: Work,
}

/// A request at a server: which one, and which try of it.
pub(super) type Job = (u64, u32);

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) spec: Spec,
    pub(super) alive: bool,
    /// Answers with 500 in so many percent of cases.
    pub(super) failing_percent: u64,
    busy: u32,
    queue: VecDeque<Job>,
    /// Raised when it dies: what was begun before doesn't end.
    pub(super) life: u32,
}

impl Server {
    pub(super) fn new(spec: Spec) -> Self {
        Self { spec, alive: true, failing_percent: 0, busy: 0, queue: VecDeque::new(), life: 0 }
    }

    /// A request comes; how long it takes if a slot is free.
    pub(super) fn accept(&mut self, job: Job, rng: &mut Rng) -> Option<u64> {
        if self.busy < self.spec.slots {
            self.busy += 1;
            return Some(self.time_ns(rng));
        }
        self.queue.push_back(job);
        None
    }

    /// A slot is free again; who is next there, and how long he takes.
    pub(super) fn on_done(&mut self, rng: &mut Rng) -> Option<(Job, u64)> {
        match self.queue.pop_front() {
            Some(job) => Some((job, self.time_ns(rng))),
            None => {
                self.busy -= 1;
                None
            }
        }
    }

    /// Nothing that it has is answered.
    pub(super) fn die(&mut self) {
        self.alive = false;
        self.life += 1;
        self.busy = 0;
        self.queue.clear();
    }

    /// What a newcomer can expect to take, by one who knows the speed.
    pub(super) fn expected(&self) -> f64 {
        let ahead = (self.busy as usize + self.queue.len() + 1) as f64;
        (ahead / f64::from(self.spec.slots)).max(1.0) / self.spec.speed
    }

    fn time_ns(&self, rng: &mut Rng) -> u64 {
        nanoseconds(self.spec.work.draw_ms(rng) / self.spec.speed).max(1)
    }
}

impl Work {
    #[must_use]
    pub fn mean_ms(self) -> f64 {
        match self {
            Self::Fixed { ms } | Self::Exponential { ms } | Self::LogNormal { ms, .. } => ms,
            Self::Mixed { fast_ms, slow_ms, percent } => fast_ms + (slow_ms - fast_ms) * f64::from(percent) / 100.0,
        }
    }

    fn draw_ms(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Fixed { ms } => ms,
            Self::Exponential { ms } => exponential(ms, rng),
            Self::Mixed { fast_ms, slow_ms, percent } => {
                exponential(if rng.below(100) < u64::from(percent) { slow_ms } else { fast_ms }, rng)
            }
            Self::LogNormal { ms, cv2 } => {
                let variance = (1.0 + cv2).ln();
                let normal = (-2.0 * chance(rng).ln()).sqrt() * (std::f64::consts::TAU * chance(rng)).cos();
                (ms.ln() - variance / 2.0 + variance.sqrt() * normal).exp()
            }
        }
    }
}

/// Draws from an exponential distribution with this mean.
pub(super) fn exponential(mean: f64, rng: &mut Rng) -> f64 {
    -mean * chance(rng).ln()
}

/// Above 0, up to 1.
fn chance(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// Milliseconds as nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a simulation are small and above zero"
)]
pub(super) fn nanoseconds(ms: f64) -> u64 {
    (ms * 1e6) as u64
}
