//! How much of the time a thread wanted a processor: it ran, or others ran in its place.
//!
//! By /proc/thread-self/schedstat, which holds both times in nanoseconds. Where the kernel keeps no such file, nothing is known, and no thread
//! counts as strained.

use crate::meters::nanos;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// A thread that is looked at now and then, by any thread.
#[derive(Debug)]
pub struct Strain {
    file: Option<File>,
    seen: Option<(Instant, u64)>,
    strained: bool,
}

/// From this share of the time on, in percent, a thread is strained.
const STRAINED_PERCENT: u64 = 83;
/// Below this it no longer is.
const EASY_PERCENT: u64 = 74;
const LOOK_EACH: Duration = Duration::from_millis(100);
/// The file holds three numbers.
const FILE_BYTES_MAX: usize = 96;

impl Strain {
    /// Of the thread that calls.
    pub fn of_this_thread() -> Self {
        Self { file: File::open("/proc/thread-self/schedstat").ok(), seen: None, strained: false }
    }

    /// Whether it wanted a processor nearly all the time, when it was last looked at.
    pub fn is_strained(&mut self, now: Instant) -> bool {
        if self.seen.is_some_and(|(at, _)| now.saturating_duration_since(at) < LOOK_EACH) {
            return self.strained;
        }
        let Some(wanted_ns) = self.wanted_ns() else { return false };
        if let Some((at, before_ns)) = self.seen.replace((now, wanted_ns)) {
            let passed_ns = nanos(now.saturating_duration_since(at)).max(1);
            let percent = wanted_ns.saturating_sub(before_ns).saturating_mul(100) / passed_ns;
            self.strained = is_strained(self.strained, percent);
        }
        self.strained
    }

    /// For how long it ran or waited for a processor, since it began.
    fn wanted_ns(&self) -> Option<u64> {
        let mut bytes = [0; FILE_BYTES_MAX];
        let len = self.file.as_ref()?.read_at(&mut bytes, 0).ok()?;
        wanted_ns(std::str::from_utf8(bytes.get(..len)?).ok()?)
    }
}

fn wanted_ns(text: &str) -> Option<u64> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    numbers.next()??.checked_add(numbers.next()??)
}

const fn is_strained(before: bool, percent: u64) -> bool {
    percent >= if before { EASY_PERCENT } else { STRAINED_PERCENT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_count() {
        assert_eq!(wanted_ns("1597782 200 3\n"), Some(1_597_982));
        for bad in ["", "5", "5 x 3", "18446744073709551615 1 1"] {
            assert_eq!(wanted_ns(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_it_is_it_stays_between_the_bounds() {
        let seen = [82, 83, 74, 73, 82, 99].into_iter().scan(false, |strained, percent| {
            *strained = is_strained(*strained, percent);
            Some(*strained)
        });
        assert_eq!(seen.collect::<Vec<_>>(), [false, true, true, false, false, true]);
    }

    #[test]
    fn a_thread_that_works_on_is_strained() {
        let mut strain = Strain::of_this_thread();
        let begun = Instant::now();
        let mut strained = strain.is_strained(begun);
        assert!(!strained, "nothing is known at first");
        while !strained && begun.elapsed() < Duration::from_secs(20) {
            strained = strain.is_strained(Instant::now());
        }
        assert_eq!(strained, strain.file.is_some());
    }
}
