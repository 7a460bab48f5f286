//! LATENCY: what took longer than `latency-monitor-threshold`, by event, and how long the calls of each command take.
//!
//! Events are named as in Redis, whose dashboards know them: `command` is a call of a command that may be slow, or a batch
//! of writes; `fast-command` one of a command that is fast as a rule; `aof-fsync-always` a sync of the log. A sample is the
//! longest of its second. Nothing is kept while the threshold is 0.

use super::error;
use crate::meters::totals::Totals;
use crate::shared::{Shared, lock};
use data::{Command, Reply};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// Samples of all events.
#[derive(Debug, Default)]
pub struct Latency {
    events: BTreeMap<&'static str, Event>,
}

#[derive(Debug, Default)]
struct Event {
    samples: VecDeque<Sample>,
    longest_ms: u64,
}

/// The longest of a second.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at_s: u64,
    took_ms: u64,
}

/// A call of a command that may be slow, or a batch of writes.
pub const COMMAND: &str = "command";
/// A sync of the log.
pub const SYNC: &str = "aof-fsync-always";
const SAMPLES_MAX: usize = 160;
const BARS: u64 = 8;
const NS_PER_MS: u64 = 1_000_000;
/// Histograms are shown from 2^10 ns, a microsecond, to 2^37 ns.
const OCTAVES: std::ops::Range<u32> = 10..38;

/// The event that a call of a command is.
pub fn event_of(command: &Command) -> &'static str {
    if command.flags.split(' ').any(|flag| flag == "fast") { "fast-command" } else { COMMAND }
}

/// Keeps what took so long, if that is long.
pub fn note(shared: &Shared, event: &'static str, took_ns: u64) {
    if shared.settings.latency_from_ns().is_some_and(|least| took_ns >= least) {
        let at_s = crate::clock::wall_ms() / 1000;
        lock(&shared.latency).events.entry(event).or_default().note(Sample { at_s, took_ms: took_ns / NS_PER_MS });
    }
}

/// LATENCY; `sub` in lower case, its arguments behind it.
pub fn latency(shared: &Shared, sub: &[u8], args: &[&[u8]]) -> Reply {
    let mut latency = lock(&shared.latency);
    match (sub, args) {
        (b"latest", _) => latency.latest(),
        (b"history", [name]) => latency.find(name).map_or(Reply::Array(Vec::new()), |(_, event)| event.history()),
        (b"graph", [name]) => match latency.find(name) {
            Some((name, event)) => Reply::Verbatim(event.graph(name)),
            None => error(&format!("ERR No samples available for event '{}'", String::from_utf8_lossy(name))),
        },
        (b"reset", names) => latency.reset(names),
        (b"doctor", _) => Reply::Verbatim(latency.report(shared.settings.latency_from_ms())),
        _ => histograms(shared, args),
    }
}

fn number(value: u64) -> Reply {
    Reply::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

impl Latency {
    fn find(&self, name: &[u8]) -> Option<(&'static str, &Event)> {
        self.events
            .iter()
            .find(|(one, _)| name.eq_ignore_ascii_case(one.as_bytes()))
            .map(|(name, event)| (*name, event))
    }

    fn latest(&self) -> Reply {
        let row = |(name, event): (&&str, &Event)| {
            let last = event.samples.back()?;
            Some(Reply::Array(vec![
                Reply::text(name),
                number(last.at_s),
                number(last.took_ms),
                number(event.longest_ms),
            ]))
        };
        Reply::Array(self.events.iter().filter_map(row).collect())
    }

    /// Forgets the events of these names, or all.
    fn reset(&mut self, names: &[&[u8]]) -> Reply {
        let before = self.events.len();
        let named = |event: &str| names.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()));
        self.events.retain(|event, _| !names.is_empty() && !named(event));
        Reply::count(before - self.events.len())
    }

    fn report(&self, from_ms: u64) -> String {
        if from_ms == 0 {
            return "Nothing is watched: latency-monitor-threshold is 0. CONFIG SET latency-monitor-threshold 100 keeps \
                    what takes 100 ms or more; LATENCY HISTOGRAM and SLOWLOG tell of commands without it.\n"
                .to_owned();
        }
        if self.events.is_empty() {
            return format!("Nothing has taken {from_ms} ms or more since the samples were last reset.\n");
        }
        let mut text = String::new();
        for (name, event) in &self.events {
            let count = event.samples.len() as u64;
            let sum: u64 = event.samples.iter().map(|sample| sample.took_ms).sum();
            let mean = sum.checked_div(count).unwrap_or(0);
            let _ = writeln!(
                text,
                "{name}: {count} seconds with a sample, {mean} ms on average, {} ms at most.",
                event.longest_ms
            );
            let _ = writeln!(text, "  {}", advice(name));
        }
        text
    }
}

fn advice(event: &str) -> &'static str {
    match event {
        SYNC => {
            "The disk takes long to sync: see wal_sync_usec_p99 in INFO persistence, and what else writes to that disk."
        }
        "fast-command" => {
            "Commands that are fast as a rule were not: large arguments, or a machine that has no CPU to spare."
        }
        _ => "SLOWLOG GET shows which commands were slow; KEYS, large ranges and large values are the usual ones.",
    }
}

impl Event {
    fn note(&mut self, sample: Sample) {
        self.longest_ms = self.longest_ms.max(sample.took_ms);
        match self.samples.back_mut().filter(|last| last.at_s == sample.at_s) {
            Some(last) => last.took_ms = last.took_ms.max(sample.took_ms),
            None => self.samples.push_back(sample),
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    fn history(&self) -> Reply {
        let row = |sample: &Sample| Reply::Array(vec![number(sample.at_s), number(sample.took_ms)]);
        Reply::Array(self.samples.iter().map(row).collect())
    }

    /// A column for each sample, the newest at the right.
    fn graph(&self, name: &str) -> String {
        let times = || self.samples.iter().map(|sample| sample.took_ms);
        let (high, low) = (times().max().unwrap_or(0), times().min().unwrap_or(0));
        let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", self.longest_ms);
        let _ = writeln!(text, "{}", "-".repeat(80));
        for bar in (0..BARS).rev() {
            let reaches = |took_ms: u64| (took_ms - low) * BARS > bar * (high - low).max(1) || bar == 0;
            let row: String = times().map(|took_ms| if reaches(took_ms) { '#' } else { ' ' }).collect();
            let _ = writeln!(text, "{}", row.trim_end());
        }
        let age = |sample: Option<&Sample>| crate::clock::wall_ms() / 1000 - sample.map_or(0, |one| one.at_s);
        let _ = writeln!(text, "\n{} s ago .. {} s ago", age(self.samples.front()), age(self.samples.back()));
        text
    }
}

/// By command, how many calls took up to how many microseconds; since CONFIG RESETSTAT.
fn histograms(shared: &Shared, names: &[&[u8]]) -> Reply {
    let totals = Totals::since_reset(shared);
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one.eq_ignore_ascii_case(name.as_bytes()));
    let ran = totals.commands.iter().filter(|(name, one)| wanted(name) && one.calls() > 0);
    let row = |(name, one): (&&str, &crate::meters::totals::CommandTotals)| {
        let (mut rows, mut before) = (Vec::new(), 0);
        for octave in OCTAVES {
            let below = if octave + 1 == OCTAVES.end { one.calls() } else { one.latency_ns.below(octave) };
            if below > before {
                rows.push((number((1 << octave) / 1000), number(below)));
                before = below;
            }
        }
        let fields =
            vec![(Reply::text("calls"), number(one.calls())), (Reply::text("histogram_usec"), Reply::Map(rows))];
        (Reply::text(name), Reply::Map(fields))
    };
    Reply::Map(ran.map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_old_ones_go() {
        let mut event = Event::default();
        for at_s in 0..200 {
            event.note(Sample { at_s, took_ms: 100 });
            event.note(Sample { at_s, took_ms: 50 + at_s });
        }
        assert_eq!(event.samples.len(), SAMPLES_MAX);
        assert_eq!((event.longest_ms, event.samples.back().map(|last| last.took_ms)), (249, Some(249)));
        assert_eq!(event.samples.front().map(|first| (first.at_s, first.took_ms)), Some((40, 100)));
        let graph = event.graph("command");
        assert!(graph.starts_with("command - high 249 ms, low 100 ms (all time high 249 ms)\n"), "{graph}");
        assert_eq!(graph.lines().filter(|line| line.contains('#')).count(), 8);
    }

    #[test]
    fn events_are_forgotten_by_name_or_all_at_once() {
        let mut latency = Latency::default();
        for name in ["command", SYNC] {
            latency.events.entry(name).or_default().note(Sample { at_s: 1, took_ms: 7 });
        }
        assert_eq!(latency.reset(&[b"nothing"]), Reply::Int(0));
        assert_eq!(latency.reset(&[b"COMMAND"]), Reply::Int(1));
        assert!(latency.report(5).starts_with(SYNC));
        assert_eq!(latency.reset(&[]), Reply::Int(1));
        assert!(latency.report(0).contains("threshold is 0"));
    }
}
