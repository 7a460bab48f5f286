//! What a run says at its end: a table for people, or one JSON object for programs.

use super::options::Options;
use super::tally::Tally;
use hdrhistogram::Histogram;
use std::fmt::Write;

/// A finished run.
#[derive(Debug)]
pub struct Report<'a> {
    pub target: &'a str,
    pub options: &'a Options,
    pub threads: u32,
    /// Names of the commands, in the order of the tally.
    pub names: Vec<String>,
    pub tally: Tally,
}

impl Report<'_> {
    /// Replies to measured requests.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.tally.service.len()
    }

    /// Why the run is no measurement, if it is none.
    #[must_use]
    pub fn failure(&self) -> Option<&'static str> {
        if self.replies() == 0 {
            Some("no measured request was answered")
        } else if self.replies() == self.tally.errors_count() {
            Some("every reply was an error")
        } else {
            None
        }
    }

    fn seconds(&self) -> f64 {
        let warmup_ns = self.options.warmup.as_nanos() as f64;
        ((self.tally.last_ns as f64 - warmup_ns) / 1e9).max(1e-9)
    }

    fn throughput_per_s(&self) -> f64 {
        self.replies() as f64 / self.seconds()
    }

    /// Requests sent and not answered: their mean by counting, and by Little's law as rate times mean service time.
    fn in_flight(&self) -> (f64, f64) {
        let counted = self.tally.flight_area_ns / 1e9 / self.seconds();
        (counted, self.throughput_per_s() * self.tally.service.mean() / 1e9)
    }

    /// True if the generator's own lateness shows in the response times.
    fn generator_is_late(&self) -> bool {
        let lag_ns = self.tally.lag.value_at_quantile(0.99);
        lag_ns > LAG_NS_FREE.max(self.tally.response.value_at_quantile(0.99) / 10)
    }

    /// The table.
    #[must_use]
    pub fn text(&self) -> String {
        let (options, tally) = (self.options, &self.tally);
        let mut out = String::new();
        let mut line = |name: &str, text: String| {
            let _ = writeln!(out, "{name:<12}{text}");
        };
        line("target", self.target.to_owned());
        line("load", self.load());
        line("note", self.note().into());
        let warmup_s = options.warmup.as_secs_f64();
        line("measured", format!("{:.2} s after {warmup_s} s of warm-up, seed {}", self.seconds(), options.seed));
        line("throughput", format!("{:.0} replies/s, {} in all", self.throughput_per_s(), self.replies()));
        line("latency ms", "     p50      p90      p99    p99.9      max".into());
        for (name, histogram) in self.latencies() {
            line(&format!("  {name}"), row(histogram));
        }
        line("nulls", format!("{}, {:.1} % of the replies", tally.nulls, percent(tally.nulls, self.replies())));
        line("errors", self.errors());
        for (word, error) in &tally.errors {
            line("", format!("{} {word}, the first: {}", error.count, error.example));
        }
        if tally.unanswered > 0 {
            line("unanswered", format!("{}; response time counts them with their age at the end", tally.unanswered));
        }
        if let Some(why) = &tally.loss {
            line("lost", format!("{} of {} connections: {why}", tally.connections_lost, options.connections));
        }
        line(
            "bytes",
            format!("{} sent, {} received, warm-up included", mib(tally.sent_bytes), mib(tally.received_bytes)),
        );
        line("in flight", self.little());
        line("generator", self.generator());
        out
    }

    fn load(&self) -> String {
        let options = self.options;
        let pace = match options.rate {
            Some(rate) => format!("open loop, {rate}/s {}", format!("{:?}", options.arrivals).to_lowercase()),
            None => "closed loop".to_owned(),
        };
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        format!(
            "{pace}, {} connections, pipeline {}, {} {threads}",
            options.connections, options.pipeline, self.threads
        )
    }

    /// What the latencies mean.
    fn note(&self) -> &'static str {
        match self.options.rate {
            Some(_) => "response time counts from when a request was due, service time from when it was sent",
            None => {
                "latency is service time: a target that stalls is asked less, so this understates its stalls; \
                 --rate measures response time"
            }
        }
    }

    /// The rows of the latency table.
    fn latencies(&self) -> Vec<(&str, &Histogram<u64>)> {
        let tally = &self.tally;
        let mut rows = match self.options.rate {
            Some(_) => vec![("response", &tally.response), ("service", &tally.service)],
            None => vec![("service", &tally.service)],
        };
        if self.names.len() > 1 {
            rows.extend(self.names.iter().map(String::as_str).zip(&tally.by_op));
        }
        rows
    }

    fn errors(&self) -> String {
        match self.tally.errors_count() {
            0 => "none".into(),
            count => format!("{count}, {:.1} % of the replies", percent(count, self.replies())),
        }
    }

    /// L = λW: two ways to the same number, so a generator that counts wrongly is found out.
    fn little(&self) -> String {
        let (counted, by_law) = self.in_flight();
        let (rate_per_s, mean_ms) = (self.throughput_per_s(), self.tally.service.mean() / 1e6);
        let law =
            format!("{counted:.2} measured, {by_law:.2} by L = λW ({rate_per_s:.0}/s × {mean_ms:.3} ms of service)");
        if (counted - by_law).abs() > LITTLE_MISS_MAX * counted.max(by_law) {
            format!("{law}; they differ: the run was too short, or its load not steady")
        } else {
            law
        }
    }

    fn generator(&self) -> String {
        let lag = &self.tally.lag;
        let busy = self.tally.busy_max * 100.0;
        let (p99, max) = (ms(lag.value_at_quantile(0.99)), ms(lag.max()));
        let schedule = match self.options.rate {
            None => "no schedule to keep".to_owned(),
            Some(_) if self.generator_is_late() => format!(
                "the generator was late by {p99:.3} ms at p99, {max:.3} ms at most: response times include that; \
                 give it a CPU of its own, more --threads, or a lower --rate"
            ),
            Some(_) => format!("on time: behind its schedule by {p99:.3} ms at p99, {max:.3} ms at most"),
        };
        let advice = if self.tally.busy_max > BUSY_MAX {
            ": it may be the limit, and not the target; use more --threads"
        } else {
            ""
        };
        format!("{schedule}; its busiest thread worked {busy:.0} % of the time{advice}")
    }

    /// One JSON object; times in microseconds.
    #[must_use]
    pub fn json(&self) -> String {
        let (options, tally) = (self.options, &self.tally);
        let (counted, by_law) = self.in_flight();
        let latencies = [("response", &tally.response), ("service", &tally.service), ("lag", &tally.lag)];
        let by_op = self.names.iter().zip(&tally.by_op).map(|(name, one)| format!("{}:{}", quoted(name), summary(one)));
        let errors = tally.errors.iter().map(|(word, error)| {
            format!("{}:{{\"count\":{},\"first\":{}}}", quoted(word), error.count, quoted(&error.example))
        });
        let mut out = format!("{{\"target\":{},\"loop\":", quoted(self.target));
        let _ = match options.rate {
            Some(rate) => write!(out, "\"open\",\"rate_per_s\":{rate}"),
            None => write!(out, "\"closed\",\"rate_per_s\":null"),
        };
        let _ = write!(
            out,
            ",\"connections\":{},\"pipeline\":{},\"threads\":{},\"seed\":{},\"measured_s\":{:.6},\"replies\":{},\
             \"throughput_per_s\":{:.3},\"nulls\":{},\"errors_count\":{},\"unanswered\":{},\"connections_lost\":{},\
             \"sent_bytes\":{},\"received_bytes\":{},\"in_flight_measured\":{counted:.4},\"in_flight_by_law\":{by_law:.4},\
             \"generator_late\":{},\"generator_busy\":{:.4}",
            options.connections,
            options.pipeline,
            self.threads,
            options.seed,
            self.seconds(),
            self.replies(),
            self.throughput_per_s(),
            tally.nulls,
            tally.errors_count(),
            tally.unanswered,
            tally.connections_lost,
            tally.sent_bytes,
            tally.received_bytes,
            self.generator_is_late(),
            tally.busy_max,
        );
        for (name, histogram) in latencies {
            let _ = write!(out, ",\"{name}_us\":{}", summary(histogram));
        }
        let by_op: Vec<String> = by_op.collect();
        let errors: Vec<String> = errors.collect();
        let _ = write!(out, ",\"commands_us\":{{{}}},\"errors\":{{{}}}}}", by_op.join(","), errors.join(","));
        out
    }
}

fn row(histogram: &Histogram<u64>) -> String {
    let values = QUANTILES.iter().map(|(_, quantile)| histogram.value_at_quantile(*quantile)).chain([histogram.max()]);
    values.map(|ns| format!("{:>8.3}", ms(ns))).collect::<Vec<_>>().join(" ")
}

fn summary(histogram: &Histogram<u64>) -> String {
    let mut out = format!("{{\"count\":{},\"mean\":{:.3}", histogram.len(), histogram.mean() / 1e3);
    for (name, quantile) in QUANTILES {
        let _ = write!(out, ",\"{name}\":{:.3}", histogram.value_at_quantile(quantile) as f64 / 1e3);
    }
    let _ = write!(out, ",\"max\":{:.3}}}", histogram.max() as f64 / 1e3);
    out
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / (1024.0 * 1024.0))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// The quantiles that are told, with their names in JSON.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)];
/// A timer and a wake-up take some tens of microseconds: lateness below this is nobody's fault.
const LAG_NS_FREE: u64 = 100_000;
/// A thread that is this busy is likely to be what limits the run.
const BUSY_MAX: f64 = 0.9;
/// How far in flight and λW may lie apart before it is said that they do.
const LITTLE_MISS_MAX: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_json_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\u000a\\u0001é\"");
    }

    #[test]
    fn a_summary_has_its_units_right() {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        (1..=1000).for_each(|n| histogram.record(n * 1000).unwrap());
        let text = summary(&histogram);
        assert!(text.starts_with("{\"count\":1000,\"mean\":500."), "{text}");
        assert!(text.contains("\"p50\":500.") && text.contains("\"p99_9\":999."), "{text}");
    }
}
