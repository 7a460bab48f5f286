//! Which requests a run sends, and which of them it measures.

use std::time::Duration;

/// One thread's share of the run: a warm-up, then a measurement that ends by time or by count.
#[derive(Clone, Debug)]
pub struct Window {
    from_ns: u64,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    At { until_ns: u64 },
    After { left: u64, last_ns: u64 },
}

impl Window {
    /// Measures for a time.
    #[must_use]
    pub fn of_time(warmup: Duration, measured: Duration) -> Self {
        let from_ns = nanos(warmup);
        Self { from_ns, end: End::At { until_ns: from_ns + nanos(measured) } }
    }

    /// Measures a number of requests.
    #[must_use]
    pub fn of_count(warmup: Duration, requests: u64) -> Self {
        Self { from_ns: nanos(warmup), end: End::After { left: requests, last_ns: 0 } }
    }

    /// True if a request that is due at this time belongs to the run.
    #[must_use]
    pub fn admits(&self, due_ns: u64) -> bool {
        match self.end {
            End::At { until_ns } => due_ns < until_ns,
            End::After { left, .. } => left > 0,
        }
    }

    /// Takes note of a request that was admitted.
    pub fn on_request(&mut self, due_ns: u64) {
        if let End::After { left, last_ns } = &mut self.end
            && due_ns >= self.from_ns
        {
            *left -= 1;
            *last_ns = due_ns;
        }
    }

    /// True if an admitted request counts.
    #[must_use]
    pub fn measures(&self, due_ns: u64) -> bool {
        due_ns >= self.from_ns
    }

    /// When the last request is or was due; `now_ns` while that can't be known.
    #[must_use]
    pub fn end_ns(&self, now_ns: u64) -> u64 {
        match self.end {
            End::At { until_ns } => until_ns,
            End::After { left: 0, last_ns } => last_ns,
            End::After { .. } => now_ns,
        }
    }

    /// How much of a span of time lies in the measurement; what is still in flight after its end counts too.
    #[must_use]
    pub fn overlap_ns(&self, from_ns: u64, to_ns: u64) -> u64 {
        to_ns.saturating_sub(from_ns.max(self.from_ns))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_time_counts_what_is_due_after_the_warm_up() {
        let window = Window::of_time(Duration::from_nanos(10), Duration::from_nanos(20));
        assert_eq!([0, 9, 10, 29].map(|at| window.measures(at)), [false, false, true, true]);
        assert_eq!([0, 29, 30].map(|at| window.admits(at)), [true, true, false]);
        assert_eq!([(0, 5), (0, 15), (12, 15)].map(|(a, b)| window.overlap_ns(a, b)), [0, 5, 3]);
    }

    #[test]
    fn a_window_of_requests_counts_none_of_the_warm_up() {
        let mut window = Window::of_count(Duration::from_nanos(10), 2);
        for at in [0, 5, 10, 11] {
            assert!(window.admits(at));
            window.on_request(at);
        }
        assert!(!window.admits(12));
        assert_eq!(window.end_ns(50), 11);
    }
}
