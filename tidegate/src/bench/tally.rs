//! What one thread has counted, and the sum over threads.
//!
//! Two latencies are kept apart. Response time counts from when a request was due: it is what a user would feel. Service
//! time counts from when it was really sent. In a closed loop a request is due when it is sent, so the two are one.

use super::reply::Answer;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub due_ns: u64,
    pub sent_ns: u64,
    /// An index into the names of the load.
    pub op: usize,
}

/// The counts of a measurement. Times are nanoseconds.
#[derive(Clone, Debug)]
pub struct Tally {
    pub response: Histogram<u64>,
    pub service: Histogram<u64>,
    /// Response time by command.
    pub by_op: Vec<Histogram<u64>>,
    /// How late the generator noticed that a request of an open loop was due.
    pub lag: Histogram<u64>,
    pub nulls: u64,
    /// Errors by their first word.
    pub errors: BTreeMap<String, ErrorCount>,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// The integral of the number of requests that are sent and not answered, over the time of the measurement.
    pub flight_area_ns: f64,
    /// The share of its time that the busiest thread spent not waiting.
    pub busy_max: f64,
    /// Measured requests that never got a reply.
    pub unanswered: u64,
    pub connections_lost: u64,
    pub loss: Option<String>,
    /// When the last measured reply came, or the measurement ended if that was later.
    pub last_ns: u64,
}

/// Errors with one first word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorCount {
    pub count: u64,
    /// The first of them, in full.
    pub example: String,
}

impl Tally {
    #[must_use]
    pub fn new(ops: usize) -> Self {
        Self {
            response: histogram(),
            service: histogram(),
            by_op: vec![histogram(); ops],
            lag: histogram(),
            nulls: 0,
            errors: BTreeMap::new(),
            sent_bytes: 0,
            received_bytes: 0,
            flight_area_ns: 0.0,
            busy_max: 0.0,
            unanswered: 0,
            connections_lost: 0,
            loss: None,
            last_ns: 0,
        }
    }

    /// Counts one reply of the measurement.
    pub fn record(&mut self, pending: Pending, now_ns: u64, answer: &Answer<'_>) {
        let response_ns = now_ns.saturating_sub(pending.due_ns);
        self.response.saturating_record(response_ns);
        self.service.saturating_record(now_ns.saturating_sub(pending.sent_ns));
        self.by_op[pending.op].saturating_record(response_ns);
        self.last_ns = self.last_ns.max(now_ns);
        match answer {
            Answer::Value => {}
            Answer::Null => self.nulls += 1,
            Answer::Error(text) => self.on_error(text),
        }
    }

    fn on_error(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let word = text.split_whitespace().next().unwrap_or("");
        let known = self.errors.contains_key(word) || self.errors.len() < ERROR_WORDS_MAX;
        let word = if known { word } else { "(others)" };
        match self.errors.get_mut(word) {
            Some(error) => error.count += 1,
            None => {
                let error = ErrorCount { count: 1, example: text.clone().into_owned() };
                self.errors.insert(word.to_owned(), error);
            }
        }
    }

    /// Adds what another thread has counted in the same run.
    pub fn add(&mut self, other: &Self) {
        let pairs =
            [(&mut self.response, &other.response), (&mut self.service, &other.service), (&mut self.lag, &other.lag)];
        for (mine, theirs) in pairs.into_iter().chain(self.by_op.iter_mut().zip(&other.by_op)) {
            mine.add(theirs).expect("all histograms have the same bounds");
        }
        self.nulls += other.nulls;
        for (word, error) in &other.errors {
            let mine = self.errors.entry(word.clone());
            mine.and_modify(|mine| mine.count += error.count).or_insert_with(|| error.clone());
        }
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.flight_area_ns += other.flight_area_ns;
        self.busy_max = self.busy_max.max(other.busy_max);
        self.unanswered += other.unanswered;
        self.connections_lost += other.connections_lost;
        self.loss = self.loss.take().or_else(|| other.loss.clone());
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    /// Replies that were errors.
    #[must_use]
    pub fn errors_count(&self) -> u64 {
        self.errors.values().map(|error| error.count).sum()
    }
}

/// From 1 ns to an hour with three digits, longer times counted as an hour.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are fixed and valid")
}

/// A target that makes up words must not fill the memory here.
const ERROR_WORDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(due_ns: u64, sent_ns: u64) -> Pending {
        Pending { due_ns, sent_ns, op: 0 }
    }

    /// A request is due each millisecond for a second; the target stalls from 100 ms to 600 ms, then answers at once.
    #[test]
    fn a_stall_counts_for_every_request_that_was_due_in_it() {
        let (mut open, mut closed) = (Tally::new(1), Tally::new(1));
        for due_ms in 0..1000 {
            let answered_ms = if (100..600).contains(&due_ms) { 600 } else { due_ms };
            let sent_ms = if (101..600).contains(&due_ms) { 600 } else { due_ms };
            let pending = at(due_ms * 1_000_000, sent_ms * 1_000_000);
            open.record(pending, answered_ms * 1_000_000 + 1000, &Answer::Value);
            closed.record(at(pending.sent_ns, pending.sent_ns), answered_ms * 1_000_000 + 1000, &Answer::Value);
        }
        let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) / 1_000_000;
        assert!((248..=252).contains(&ms(&open.response, 0.75)), "half of the stall: {}", ms(&open.response, 0.75));
        assert!((489..=491).contains(&ms(&open.response, 0.99)), "{}", ms(&open.response, 0.99));
        assert_eq!(ms(&open.service, 0.99), 0, "one request alone was sent into the stall");
        assert_eq!(ms(&closed.response, 0.99), 0, "so the closed loop does not see it");
        assert_eq!(closed.response.max() / 10_000_000, 50);
    }

    #[test]
    fn errors_are_counted_by_their_first_word_and_shown_once() {
        let mut tally = Tally::new(1);
        for text in ["ERR one", "WRONGTYPE x", "ERR two", ""] {
            tally.record(at(0, 0), 5, &Answer::Error(text.as_bytes()));
        }
        (0..1000).for_each(|n| tally.record(at(0, 0), 5, &Answer::Error(format!("E{n}").as_bytes())));
        assert_eq!(tally.errors["ERR"], ErrorCount { count: 2, example: "ERR one".into() });
        assert_eq!(tally.errors.len(), ERROR_WORDS_MAX + 1);
        assert_eq!(tally.errors_count(), 1004);
    }

    #[test]
    fn the_sum_of_two_threads_is_as_one_that_did_all() {
        let (mut one, mut two, mut all) = (Tally::new(2), Tally::new(2), Tally::new(2));
        for n in 0..1000 {
            let pending = Pending { due_ns: n, sent_ns: n + 5, op: usize::from(n % 3 == 0) };
            let answer = if n % 7 == 0 { Answer::Error(b"ERR x") } else { Answer::Null };
            if n % 2 == 0 { &mut one } else { &mut two }.record(pending, n * 1000, &answer);
            all.record(pending, n * 1000, &answer);
        }
        one.add(&two);
        assert_eq!((&one.response, &one.service, &one.by_op), (&all.response, &all.service, &all.by_op));
        assert_eq!((one.nulls, one.errors, one.last_ns), (all.nulls, all.errors, all.last_ns));
    }
}
