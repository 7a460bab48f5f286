//! What simulated clients ask: every command of the shard, its options, its errors, over few keys so that they meet.

mod bits;
mod fills;
mod hashes;
mod lists;
mod payloads;
pub mod scripts;
mod sets;
mod sort;
mod streams;
mod waits;
mod zsets;

use crate::oracle::Asked;
use base::rng::Rng;
use std::collections::VecDeque;

/// How many keys there are, in how many groups of one hashtag, in how many databases.
///
/// Fewer than one entry may remove when they die at once: the model lets all of them go at their time.
pub const GROUPS: u64 = 5;
pub const KEYS_PER_GROUP: u64 = 6;
pub const DATABASES: u8 = 2;

/// What the clients of one run are like.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// One in so many multi-key commands crosses groups.
    pub cross_one_in: u64,
    /// One in so many values is large.
    pub large_one_in: u64,
    pub large_bytes_max: u64,
    /// One in so many commands flushes.
    pub flush_one_in: u64,
    /// Longest time to live drawn, in milliseconds.
    pub ttl_ms_max: u64,
    /// One in so many commands begins a transaction.
    pub multi_one_in: u64,
}

/// All keys.
pub fn keys() -> impl Iterator<Item = Vec<u8>> {
    let of = |group| {
        (0..KEYS_PER_GROUP)
            .map(move |at| key(group, at))
            .chain((0..waits::QUEUES).map(move |at| waits::queue(group, at)))
            .chain((0..fills::CACHES).map(move |at| fills::cache(group, at)))
    };
    (0..GROUPS).flat_map(of)
}

fn key(group: u64, at: u64) -> Vec<u8> {
    format!("{{{group}}}k{at}").into_bytes()
}

/// Draws commands.
#[derive(Debug)]
pub struct Workload {
    habits: Habits,
    /// Makes every value unique.
    drawn: u64,
    /// What clients were given for caches, the last last: database, key and token.
    tokens: VecDeque<(u8, Vec<u8>, i64)>,
}

/// Single-key commands and how often each is drawn.
const ONE_KEY: &[(&str, u64)] = &[
    ("get", 60),
    ("set", 60),
    ("setnx", 6),
    ("setex", 6),
    ("psetex", 8),
    ("getset", 6),
    ("getdel", 6),
    ("getex", 10),
    ("append", 20),
    ("strlen", 6),
    ("incr", 20),
    ("decr", 8),
    ("incrby", 10),
    ("decrby", 8),
    ("incrbyfloat", 8),
    ("getrange", 8),
    ("substr", 2),
    ("setrange", 10),
    ("type", 4),
    ("ttl", 6),
    ("pttl", 10),
    ("expire", 8),
    ("pexpire", 14),
    ("expireat", 4),
    ("pexpireat", 4),
    ("expiretime", 4),
    ("pexpiretime", 6),
    ("persist", 8),
    ("move", 4),
];
const MORE_KEYS: &[(&str, u64)] = &[
    ("mget", 10),
    ("mset", 12),
    ("msetnx", 8),
    ("del", 16),
    ("unlink", 4),
    ("exists", 6),
    ("touch", 3),
    ("rename", 8),
    ("renamenx", 6),
    ("copy", 10),
    ("lcs", 2),
];
const NO_KEY: &[(&str, u64)] = &[("dbsize", 10), ("keys", 6), ("scan", 8), ("randomkey", 6)];

impl Workload {
    /// Commands of these habits.
    #[must_use]
    pub fn new(habits: Habits) -> Self {
        Self { habits, drawn: 0, tokens: VecDeque::new() }
    }

    /// True if a transaction begins here.
    pub fn begins_transaction(&self, rng: &mut Rng) -> bool {
        rng.one_in(self.habits.multi_one_in)
    }

    /// WATCH of one or two keys of a group.
    pub fn watch(&mut self, rng: &mut Rng, db: u8) -> Asked {
        let group = rng.below(GROUPS);
        let mut words = vec![b"watch".to_vec(), key(group, rng.below(KEYS_PER_GROUP))];
        if rng.one_in(2) {
            words.push(key(group, rng.below(KEYS_PER_GROUP)));
        }
        Asked { db, words }
    }

    /// Any command about keys; within `group` if it is given.
    pub fn draw(&mut self, rng: &mut Rng, db: u8, group: Option<u64>, keyless: bool) -> Asked {
        self.drawn += 1;
        if keyless && rng.one_in(self.habits.flush_one_in) {
            let name: &[u8] = if rng.one_in(3) { b"flushall" } else { b"flushdb" };
            return Asked { db, words: vec![name.to_vec()] };
        }
        let group = group.unwrap_or_else(|| rng.below(GROUPS));
        let words = match rng.below(20) {
            0 if keyless => self.no_key(rng),
            1..=4 => self.more_keys(rng, group),
            5 if keyless && rng.one_in(8) => Self::load(rng),
            5 | 6 => self.script(rng, group),
            _ => self.of_a_type(rng, group),
        };
        Asked { db, words }
    }

    /// A command of the type that its key has mostly, so that values of all types live long enough to meet.
    fn of_a_type(&mut self, rng: &mut Rng, group: u64) -> Vec<Vec<u8>> {
        let at = rng.below(KEYS_PER_GROUP);
        let kind = if rng.one_in(10) { rng.below(KEYS_PER_GROUP) } else { at };
        let name = key(group, at);
        match rng.below(40) {
            0 => return Self::sort(rng, group, name),
            1 | 2 => return self.payload(rng, name),
            _ => {}
        }
        match kind {
            0 => self.list(rng, group, name),
            1 => self.hash(rng, group, name),
            2 => self.set_of(rng, group, name),
            3 => self.zset(rng, group, name),
            4 => self.stream(rng, group, name),
            _ => match rng.below(5) {
                0 => self.bitmap(rng, group, name),
                1 => self.sketch(rng, group, name),
                _ => self.string(rng, name),
            },
        }
    }

    fn string(&mut self, rng: &mut Rng, key: Vec<u8>) -> Vec<Vec<u8>> {
        let name = pick(rng, ONE_KEY);
        let mut words = vec![name.as_bytes().to_vec(), key];
        let more: Vec<Vec<u8>> = match name {
            "set" => self.set(rng),
            "setnx" | "getset" | "append" => vec![self.value(rng)],
            "setex" | "expire" => vec![number(1 + rng.below(self.habits.ttl_ms_max / 1000 + 2))],
            "psetex" => vec![self.ttl(rng)],
            "getex" => self.getex(rng),
            "incrby" | "decrby" => vec![Self::integer(rng)],
            "incrbyfloat" => vec![one_of(rng, &["0.5", "-1.25", "3", "10.75", "-0.5", "x"])],
            "getrange" | "substr" => vec![Self::place(rng), Self::place(rng)],
            "setrange" => vec![number(rng.below(40)), self.value(rng)],
            "pexpire" => vec![if rng.one_in(6) { b"-5".to_vec() } else { self.ttl(rng) }],
            "expireat" => vec![number(self.soon_ms(rng) / 1000)],
            "pexpireat" => vec![number(self.soon_ms(rng))],
            "move" => vec![number(rng.below(u64::from(DATABASES)))],
            _ => Vec::new(),
        };
        words.extend(more);
        match name {
            "setex" | "psetex" => words.push(self.value(rng)),
            "expire" | "pexpire" | "expireat" | "pexpireat" if rng.one_in(2) => {
                words.push(one_of(rng, &["NX", "XX", "GT", "LT", "gt"]));
                if rng.one_in(5) {
                    words.push(one_of(rng, &["NX", "XX", "GT", "LT"]));
                }
            }
            _ => {}
        }
        words
    }

    fn more_keys(&mut self, rng: &mut Rng, group: u64) -> Vec<Vec<u8>> {
        let name = pick(rng, MORE_KEYS);
        let mut words = vec![name.as_bytes().to_vec()];
        let count = if matches!(name, "rename" | "renamenx" | "copy" | "lcs") { 2 } else { 1 + rng.below(3) };
        for _ in 0..count {
            let group = if rng.one_in(self.habits.cross_one_in) { rng.below(GROUPS) } else { group };
            words.push(key(group, rng.below(KEYS_PER_GROUP)));
            if matches!(name, "mset" | "msetnx") {
                words.push(self.value(rng));
            }
        }
        if name == "lcs" {
            words.extend(Self::lcs(rng));
        }
        if name == "copy" {
            if rng.one_in(2) {
                words.extend([b"DB".to_vec(), number(rng.below(u64::from(DATABASES)))]);
            }
            if rng.one_in(2) {
                words.push(b"REPLACE".to_vec());
            }
        }
        words
    }

    fn lcs(rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut words = vec![one_of(rng, &["LEN", "idx", "IDX", "withmatchlen"])];
        if rng.one_in(2) {
            words.extend([b"MINMATCHLEN".to_vec(), one_of(rng, &["0", "1", "2", "x"])]);
        }
        if rng.one_in(2) {
            words.push(one_of(rng, &["WITHMATCHLEN", "LEN", "size"]));
        }
        words
    }

    fn no_key(&mut self, rng: &mut Rng) -> Vec<Vec<u8>> {
        match pick(rng, NO_KEY) {
            "keys" => vec![b"keys".to_vec(), b"*".to_vec()],
            "scan" => {
                let cursor = if rng.one_in(3) { rng.below(16_384) << 32 } else { 0 };
                vec![b"scan".to_vec(), number(cursor), b"COUNT".to_vec(), number(1 + rng.below(12))]
            }
            name => vec![name.as_bytes().to_vec()],
        }
    }

    fn set(&mut self, rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut words = vec![self.value(rng)];
        match rng.below(8) {
            0 => words.extend([b"EX".to_vec(), number(1 + rng.below(self.habits.ttl_ms_max / 1000 + 2))]),
            1 | 2 => words.extend([b"PX".to_vec(), self.ttl(rng)]),
            3 => words.push(b"KEEPTTL".to_vec()),
            4 => words.extend([b"pxat".to_vec(), number(self.soon_ms(rng))]),
            _ => {}
        }
        match rng.below(6) {
            0 => words.push(b"NX".to_vec()),
            1 => words.push(b"xx".to_vec()),
            _ => {}
        }
        if rng.one_in(5) {
            words.push(b"GET".to_vec());
        }
        words
    }

    fn getex(&mut self, rng: &mut Rng) -> Vec<Vec<u8>> {
        match rng.below(4) {
            0 => Vec::new(),
            1 => vec![b"PERSIST".to_vec()],
            2 => vec![b"PX".to_vec(), self.ttl(rng)],
            _ => vec![b"EX".to_vec(), one_of(rng, &["1", "2", "0", "x"])],
        }
    }

    fn ttl(&self, rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(12) { one_of(rng, &["0", "-3", "abc"]) } else { number(1 + rng.below(self.habits.ttl_ms_max)) }
    }

    /// A point in time around the run's: its wall clocks begin at [`crate::world::WALL_START_MS`].
    fn soon_ms(&self, rng: &mut Rng) -> u64 {
        crate::world::WALL_START_MS + rng.below(8 * self.habits.ttl_ms_max)
    }

    fn value(&mut self, rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(self.habits.large_one_in) {
            let len = usize::try_from(1 + rng.below(self.habits.large_bytes_max)).expect("values are small");
            let mut value = format!("large-{}-", self.drawn).into_bytes();
            value.resize(len.max(value.len()), b'0' + u8::try_from(self.drawn % 10).expect("a digit"));
            return value;
        }
        match rng.below(8) {
            0 => Self::integer(rng),
            1 => number(rng.below(1000)),
            2 => one_of(rng, &["", "1.5", "-20.25", "\r\n", "9223372036854775807", "-9223372036854775808"]),
            _ => format!("v{}", self.drawn).into_bytes(),
        }
    }

    fn integer(rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(10) {
            return one_of(rng, &["9223372036854775800", "-9223372036854775000", "1z3", "", "07"]);
        }
        number(rng.below(200))
    }

    fn place(rng: &mut Rng) -> Vec<u8> {
        let at = i64::try_from(rng.below(16)).expect("small") - 8;
        at.to_string().into_bytes()
    }
}

fn pick(rng: &mut Rng, table: &[(&'static str, u64)]) -> &'static str {
    let mut at = rng.below(table.iter().map(|(_, weight)| weight).sum());
    for (name, weight) in table {
        match at.checked_sub(*weight) {
            None => return name,
            Some(rest) => at = rest,
        }
    }
    unreachable!("the draw is below the sum of the weights")
}

fn one_of(rng: &mut Rng, words: &[&str]) -> Vec<u8> {
    words[usize::try_from(rng.below(words.len() as u64)).expect("small")].as_bytes().to_vec()
}

fn number(n: u64) -> Vec<u8> {
    n.to_string().into_bytes()
}
