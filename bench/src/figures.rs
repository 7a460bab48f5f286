//! What became of requests, within a second or a phase.

use hdrhistogram::Histogram;
use std::io::Result;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Figures {
    /// Requests that came, and tries of them.
    pub offered: u64,
    pub tries: u64,
    pub good: u64,
    /// Answers with 503 or 429; with another status than 200; clients that gave up; broken or refused connections.
    pub shed: u64,
    pub refused: u64,
    pub timed_out: u64,
    pub broken: u64,
    /// From the sending of a try that was good to its answer, and from the request's time to it, in microseconds.
    pub answer_us: Histogram<u64>,
    pub whole_us: Histogram<u64>,
}

impl Figures {
    pub fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("an hour in microseconds");
        Self {
            offered: 0,
            tries: 0,
            good: 0,
            shed: 0,
            refused: 0,
            timed_out: 0,
            broken: 0,
            answer_us: histogram(),
            whole_us: histogram(),
        }
    }

    /// What a try came to: a status, an error, or nothing in its time; it took so long, and its request so long in all. True if it was good.
    pub fn note(&mut self, answer: Option<Result<u16>>, (tried, whole): (Duration, Duration)) -> bool {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let count = match answer {
            Some(Ok(200)) => {
                self.answer_us.saturating_record(us(tried));
                self.whole_us.saturating_record(us(whole));
                &mut self.good
            }
            Some(Ok(429 | 503)) => &mut self.shed,
            Some(Ok(_)) => &mut self.refused,
            Some(Err(_)) => &mut self.broken,
            None => &mut self.timed_out,
        };
        *count += 1;
        matches!(answer, Some(Ok(200)))
    }

    pub fn merge(&mut self, other: &Self) {
        let counts = [
            (&mut self.offered, other.offered),
            (&mut self.tries, other.tries),
            (&mut self.good, other.good),
            (&mut self.shed, other.shed),
            (&mut self.refused, other.refused),
            (&mut self.timed_out, other.timed_out),
            (&mut self.broken, other.broken),
        ];
        counts.into_iter().for_each(|(sum, more)| *sum += more);
        self.answer_us += &other.answer_us;
        self.whole_us += &other.whole_us;
    }

    /// Words and numbers; rates are over so many seconds.
    pub fn line(&self, seconds: f64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = |count: u64| count as f64 / seconds;
        format!(
            "offered_per_s={:.1} tries_per_s={:.1} good_per_s={:.1} shed_per_s={:.1} refused_per_s={:.1} timed_out_per_s={:.1} \
             broken_per_s={:.1} p50_us={} p99_us={} whole_p99_us={}",
            rate(self.offered),
            rate(self.tries),
            rate(self.good),
            rate(self.shed),
            rate(self.refused),
            rate(self.timed_out),
            rate(self.broken),
            self.answer_us.value_at_quantile(0.5),
            self.answer_us.value_at_quantile(0.99),
            self.whole_us.value_at_quantile(0.99),
        )
    }
}
