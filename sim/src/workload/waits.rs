//! Calls that wait, and what serves them: over keys of their own, which are empty most of the time.

use super::{GROUPS, Workload, key, number, one_of, pick};
use crate::oracle::Asked;
use base::rng::Rng;

/// How many such keys a group has. None of them ever has an expiry.
pub(super) const QUEUES: u64 = 2;

const WAITS: &[(&str, u64)] = &[("blpop", 12), ("brpop", 8), ("blmove", 6), ("brpoplpush", 4), ("blmpop", 6)];
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
            "blmpop" => {
                let count = 1 + rng.below(3);
                words.extend([Self::timeout(rng), if rng.one_in(30) { b"0".to_vec() } else { number(count) }]);
                words.extend((0..count).map(|_| Self::queue(rng, group)));
                words.push(Self::side(rng));
                if rng.one_in(2) {
                    words.extend([b"COUNT".to_vec(), number(1 + rng.below(3))]);
                }
            }
            _ => words.extend((0..1 + rng.below(3)).map(|_| Self::queue(rng, group))),
        }
        if name != "blmpop" {
            words.push(Self::timeout(rng));
        }
        Asked { db, words }
    }

    /// A command about keys at which calls wait.
    pub fn serve(&mut self, rng: &mut Rng, db: u8, group: Option<u64>) -> Asked {
        let group = group.unwrap_or_else(|| rng.below(GROUPS));
        let name = pick(rng, SERVES);
        self.drawn += 1;
        let mut words = vec![name.as_bytes().to_vec(), Self::queue(rng, group)];
        match name {
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

    fn queue(rng: &mut Rng, group: u64) -> Vec<u8> {
        if rng.one_in(12) { key(group, 0) } else { queue(group, rng.below(QUEUES)) }
    }

    fn timeout(rng: &mut Rng) -> Vec<u8> {
        one_of(rng, &["0", "0", "0.002", "0.01", "0.05", "0.2", "3", "0.0001", "1e3", "-1", "x"])
    }
}
