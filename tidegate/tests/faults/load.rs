//! The load under which things fail: clients that share keys, and writers that have keys of their own.
//!
//! The crowd shares some tens of keys, which the checker is for. A writer of each shard counts in a key that nobody else writes,
//! and writes others once and never again: whether an acknowledged write is lost can be told without any search, and
//! how long its shard took none.

use crate::nodes::{NODES, SHARDS, key_of_shard};
use crate::pace::{Ending, Pace};
use crate::recorder::{Ended, Record, Recorder};
use base::Slot;
use base::rng::Rng;
use history::{History, Operation, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const CROWD: usize = 6;
const KEYS: u64 = 40;
/// Between two calls of a client: a load, not a flood.
const THINKING: Duration = Duration::from_millis(2);

/// What came of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    pub history: Vec<Operation>,
    pub refused: BTreeMap<String, u64>,
    /// Acknowledged writes that are gone.
    pub lost: Vec<String>,
    /// The longest time for which a shard acknowledged no write of any client.
    pub gap_of_shard: Duration,
    /// The longest time for which the one client that writes a key got no acknowledgement.
    pub gap_of_writer: Duration,
}

/// Runs `faults` under load; `prefix` names the keys, which hold nothing yet.
pub fn under_load(prefix: &str, seed: u64, faults: impl FnOnce(&Pace)) -> Outcome {
    let (pace, epoch) = (Pace::default(), Instant::now());
    let homes = |first: usize| (0..NODES).map(|at| (first + at) % NODES).collect::<Vec<usize>>();
    let (crowd, writers) = std::thread::scope(|scope| {
        let (pace, ending) = (&pace, Ending(&pace));
        let crowd: Vec<_> = (0..CROWD)
            .map(|at| {
                let recorder = Recorder::new(format!("c{at}"), homes(at), epoch, pace);
                let mut rng = Rng::new(seed ^ (at as u64 + 1));
                scope.spawn(move || mingle(recorder, prefix, &mut rng, pace))
            })
            .collect();
        let writers: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let recorder = Recorder::new(format!("w{shard}"), homes(usize::from(shard)), epoch, pace);
                scope.spawn(move || Writer::new(recorder, prefix, shard).write(pace))
            })
            .collect();
        faults(pace);
        drop(ending);
        let crowd: Vec<Record> = crowd.into_iter().map(|one| one.join().expect("a client ends")).collect();
        (crowd, writers.into_iter().map(|one| one.join().expect("a writer ends")).collect::<Vec<_>>())
    });
    let mut outcome = Outcome::default();
    let mut reader = Recorder::new("last".into(), homes(0), epoch, &pace);
    for writer in writers {
        outcome.gap_of_writer = outcome.gap_of_writer.max(writer.gap);
        outcome.lost.extend(writer.lost(&mut reader));
        outcome.add(writer.recorder.record);
    }
    for number in 0..KEYS {
        reader.call(&["GET", &key(prefix, number)]);
    }
    crowd.into_iter().for_each(|record| outcome.add(record));
    outcome.gap_of_shard = gap_of_shard(&outcome.history);
    outcome.add(reader.record);
    outcome
}

impl Outcome {
    fn add(&mut self, record: Record) {
        self.history.extend(record.operations);
        for (code, count) in record.refused {
            *self.refused.entry(code).or_default() += count;
        }
    }

    /// For the checker.
    pub fn history(&self) -> History {
        let mut history = History::new();
        for (line, operation) in (1..).zip(&self.history) {
            history.push(Operation { line, ..operation.clone() });
        }
        history
    }

    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let writes = self.history.iter().filter(|one| !one.command.to_string().starts_with("GET "));
        writes.filter(|one| one.returned.is_some()).count()
    }

    /// Operations that nobody knows the outcome of.
    pub fn unknown(&self) -> usize {
        self.history.iter().filter(|one| one.returned.is_none()).count()
    }
}

/// The longest time between two acknowledged writes to the same shard.
fn gap_of_shard(history: &[Operation]) -> Duration {
    let mut times: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for operation in history {
        let written = operation.command.to_string();
        let words: Vec<&str> = written.split(' ').collect();
        if let (["SET" | "INCR" | "DEL", key, ..], Some(returned)) = (words.as_slice(), &operation.returned) {
            let shard = Slot::of(key.as_bytes()).shard(SHARDS).0;
            times.entry(shard).or_default().push(returned.at_ns);
        }
    }
    let mut worst_ns = 0;
    for times in times.values_mut() {
        times.sort_unstable();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        worst_ns = worst_ns.max(gaps.max().unwrap_or(0));
    }
    Duration::from_nanos(worst_ns)
}

/// A quarter of the shared keys are counters, and a quarter is touched by transactions, which keep to one shard.
fn key(prefix: &str, number: u64) -> String {
    match number % 4 {
        0 => format!("{prefix}:counter:{number}"),
        1 => format!("{prefix}:{{pair:{}}}:{number}", number % 16),
        _ => format!("{prefix}:key:{number}"),
    }
}

/// A client of the crowd, until it is over.
fn mingle(mut me: Recorder<'_>, prefix: &str, rng: &mut Rng, pace: &Pace) -> Record {
    let mut serial = 0;
    while !pace.wait(THINKING) {
        serial += 1;
        let number = rng.below(KEYS);
        let (key, value) = (key(prefix, number), format!("{}-{serial}", rng.next_u64() % 1_000_000));
        match (number % 4, rng.below(10)) {
            (_, 0..4) => me.call(&["GET", &key]),
            (0, 4..9) => me.call(&["INCR", &key]),
            (1, 4..8) => {
                let other = self::key(prefix, (number + 16) % 32);
                me.transaction(&[&["SET", &key, &value], &["GET", &other], &["SET", &other, &value]])
            }
            (_, 4..7) => me.call(&["SET", &key, &value]),
            (2 | 3, 7) => me.call(&["SET", &key, &value, "NX"]),
            (2 | 3, 8) => me.call(&["SET", &key, &value, "GET"]),
            _ => me.call(&["DEL", &key]),
        };
    }
    me.record
}

/// The only writer of its keys.
struct Writer<'a> {
    recorder: Recorder<'a>,
    prefix: &'a str,
    shard: u16,
    counter: String,
    acknowledged: u64,
    unknown: BTreeSet<u64>,
    once: Vec<String>,
    gap: Duration,
}

impl<'a> Writer<'a> {
    fn new(recorder: Recorder<'a>, prefix: &'a str, shard: u16) -> Self {
        let counter = key_of_shard(&format!("{prefix}:own"), shard);
        let (unknown, once) = (BTreeSet::new(), Vec::new());
        Self { recorder, prefix, shard, counter, acknowledged: 0, unknown, once, gap: Duration::ZERO }
    }

    fn write(mut self, pace: &Pace) -> Self {
        let mut last = Instant::now();
        let mut serial = 0;
        while !pace.wait(THINKING) {
            serial += 1;
            let ended = self.recorder.call(&["SET", &self.counter, &serial.to_string()]);
            match ended {
                Ended::Told(_) => {
                    self.acknowledged = serial;
                    self.gap = self.gap.max(last.elapsed());
                    last = Instant::now();
                }
                Ended::Unknown => _ = self.unknown.insert(serial),
                Ended::Refused => {}
            }
            let once = format!("{}:once:{}:{serial}", self.prefix, self.shard);
            if matches!(self.recorder.call(&["SET", &once, &serial.to_string()]), Ended::Told(_)) {
                self.once.push(once);
            }
        }
        self.gap = self.gap.max(last.elapsed());
        self
    }

    /// What was acknowledged and isn't there.
    fn lost(&self, reader: &mut Recorder<'_>) -> Vec<String> {
        let mut lost = Vec::new();
        let found = read(reader, &self.counter);
        let number = found.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        // One of unknown outcome may come to pass behind one that was acknowledged.
        if number != self.acknowledged && !self.unknown.contains(&number) {
            lost.push(format!("{} holds {found:?} instead of {}", self.counter, self.acknowledged));
        }
        for key in &self.once {
            let wanted = key.rsplit(':').next().map(str::to_owned);
            let found = read(reader, key);
            if found != wanted {
                lost.push(format!("{key} holds {found:?}"));
            }
        }
        lost
    }
}

/// Reads a key; what nobody answers within some attempts counts as gone.
fn read(reader: &mut Recorder<'_>, key: &str) -> Option<String> {
    (0..20).find_map(|_| match reader.call(&["GET", key]) {
        Ended::Told(Reply::Text(text)) => Some(Some(String::from_utf8_lossy(&text).into_owned())),
        Ended::Told(_) => Some(None),
        Ended::Unknown | Ended::Refused => None,
    })?
}
