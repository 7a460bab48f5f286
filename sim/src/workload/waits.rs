//! Calls that wait, and what serves them: over keys of their own, which are empty most of the time.

use super::{GROUPS, Workload, key, number, one_of, pick};
use crate::oracle::Asked;
use base::rng::Rng;

/// How many such keys a group has: two for lists, one for a sorted set, one for a stream. None of them ever has an expiry.
pub(super) const QUEUES: u64 = 4;
const LISTS: u64 = 2;
const ZSET: u64 = 2;
const STREAM: u64 = 3;

const WAITS: &[(&str, u64)] = &[
    ("blpop", 12),
    ("brpop", 8),
    ("blmove", 6),
    ("brpoplpush", 4),
    ("blmpop", 6),
    ("bzpopmin", 4),
    ("bzpopmax", 3),
    ("bzmpop", 4),
    ("xreadgroup", 8),
];
const SERVES: &[(&str, u64)] = &[
    ("lpush", 14),
    ("rpush", 18),
    ("lmove", 4),
    ("rename", 3),
    ("llen", 4),
    ("lrange", 4),
    ("lpop", 3),
    ("del", 3),
    ("set", 1),
    ("zadd", 10),
    ("zpopmin", 2),
    ("xadd", 10),
    ("xgroup", 8),
    ("xack", 1),
];

pub(super) fn queue(group: u64, at: u64) -> Vec<u8> {
    format!("{{{group}}}q{at}").into_bytes()
}

impl Workload {
    /// A call that may wait.
    pub fn wait(&mut self, rng: &mut Rng, db: u8, group: Option<u64>) -> Asked {
        let group = group.unwrap_or_else(|| rng.below(GROUPS));
        let name = pick(rng, WAITS);
        let mut words = vec![name.as_bytes().to_vec()];
        match name {
            "blmove" => {
                words.extend([Self::queue(rng, group), Self::queue(rng, group), Self::side(rng), Self::side(rng)])
            }
            "brpoplpush" => words.extend([Self::queue(rng, group), Self::queue(rng, group)]),
            "xreadgroup" => return Asked { db, words: Self::read_group(rng, group) },
            "blmpop" | "bzmpop" => {
                let count = 1 + rng.below(3);
                words.extend([Self::timeout(rng), if rng.one_in(30) { b"0".to_vec() } else { number(count) }]);
                words.extend((0..count).map(|_| Self::queue_for(rng, group, name)));
                words.push(if name == "blmpop" { Self::side(rng) } else { one_of(rng, &["MIN", "max"]) });
                if rng.one_in(2) {
                    words.extend([b"COUNT".to_vec(), number(1 + rng.below(3))]);
                }
            }
            _ => words.extend((0..1 + rng.below(3)).map(|_| Self::queue_for(rng, group, name))),
        }
        if !name.ends_with("mpop") {
            words.push(Self::timeout(rng));
        }
        Asked { db, words }
    }

    /// A command about keys at which calls wait.
    pub fn serve(&mut self, rng: &mut Rng, db: u8, group: Option<u64>) -> Asked {
        let group = group.unwrap_or_else(|| rng.below(GROUPS));
        let name = pick(rng, SERVES);
        self.drawn += 1;
        if name == "xgroup" {
            return Asked { db, words: Self::change_group(rng, group) };
        }
        let mut words = vec![name.as_bytes().to_vec(), Self::queue_for(rng, group, name)];
        match name {
            "zadd" => {
                for _ in 0..=rng.below(2) {
                    words.extend([number(rng.below(5)), format!("m{}", rng.below(6)).into_bytes()]);
                }
            }
            "xadd" => words.extend([b"*".to_vec(), b"f".to_vec(), number(self.drawn)]),
            "xack" => words.extend([b"g0".to_vec(), b"5-1".to_vec()]),
            "lpush" | "rpush" => {
                words.extend((0..=rng.below(3)).map(|at| format!("m{}.{at}", self.drawn).into_bytes()))
            }
            "lmove" => words.extend([Self::queue(rng, group), Self::side(rng), Self::side(rng)]),
            "rename" => words.push(Self::queue(rng, group)),
            "lrange" => words.extend([b"0".to_vec(), b"-1".to_vec()]),
            "set" => words.push(b"no list".to_vec()),
            _ => {}
        }
        Asked { db, words }
    }

    /// XREADGROUP with BLOCK.
    fn read_group(rng: &mut Rng, group: u64) -> Vec<Vec<u8>> {
        let mut words = vec![b"xreadgroup".to_vec(), b"GROUP".to_vec(), Self::name_of_group(rng)];
        words.push(one_of(rng, &["one", "two"]));
        if rng.one_in(3) {
            words.extend([b"COUNT".to_vec(), number(1 + rng.below(2))]);
        }
        words.extend([b"BLOCK".to_vec(), one_of(rng, &["0", "0", "2", "10", "50", "3000"]), b"STREAMS".to_vec()]);
        let count = if rng.one_in(8) { 2 } else { 1 };
        words.extend((0..count).map(|_| Self::queue_for(rng, group, "xreadgroup")));
        let id = if rng.one_in(12) { "0" } else { ">" };
        words.extend((0..count).map(|_| id.as_bytes().to_vec()));
        words
    }

    fn change_group(rng: &mut Rng, group: u64) -> Vec<Vec<u8>> {
        let sub = one_of(rng, &["create", "create", "create", "create", "setid", "destroy"]);
        let mut words =
            vec![b"xgroup".to_vec(), sub.clone(), Self::queue_for(rng, group, "x"), Self::name_of_group(rng)];
        if sub != b"destroy" {
            words.push(one_of(rng, &["$", "$", "0"]));
        }
        if sub == b"create" {
            words.push(b"MKSTREAM".to_vec());
        }
        words
    }

    fn name_of_group(rng: &mut Rng) -> Vec<u8> {
        format!("g{}", rng.below(2)).into_bytes()
    }

    /// A key for a command: mostly one that holds its type.
    fn queue_for(rng: &mut Rng, group: u64, name: &str) -> Vec<u8> {
        match name.trim_start_matches('b').chars().next() {
            _ if rng.one_in(12) => queue(group, rng.below(QUEUES)),
            Some('z') => queue(group, ZSET),
            Some('x') => queue(group, STREAM),
            Some('d' | 's') => queue(group, rng.below(QUEUES)),
            _ => Self::queue(rng, group),
        }
    }

    fn queue(rng: &mut Rng, group: u64) -> Vec<u8> {
        if rng.one_in(12) { key(group, 0) } else { queue(group, rng.below(LISTS)) }
    }

    fn timeout(rng: &mut Rng) -> Vec<u8> {
        one_of(rng, &["0", "0", "0.002", "0.01", "0.05", "0.2", "3", "0.0001", "1e3", "-1", "x"])
    }
}
