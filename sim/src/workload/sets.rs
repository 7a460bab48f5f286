//! Commands of sets.

use super::hashes::{draw_count, scan};
use super::{KEYS_PER_GROUP, Workload, key, number, one_of, pick};
use base::rng::Rng;

/// The commands and how often each is drawn.
const SET: &[(&str, u64)] = &[
    ("sadd", 70),
    ("srem", 30),
    ("smembers", 12),
    ("sismember", 12),
    ("smismember", 10),
    ("scard", 8),
    ("spop", 24),
    ("srandmember", 14),
    ("sscan", 12),
    ("smove", 12),
    ("sinter", 8),
    ("sinterstore", 6),
    ("sintercard", 10),
    ("sunion", 8),
    ("sunionstore", 8),
    ("sdiff", 8),
    ("sdiffstore", 6),
];

/// Where sets mostly stand.
const SETS: [u64; 2] = [2, 5];

impl Workload {
    /// A command for a key that mostly holds one; other keys of `group` stand in its shard.
    pub(super) fn set_of(&mut self, rng: &mut Rng, group: u64, name: Vec<u8>) -> Vec<Vec<u8>> {
        if rng.one_in(8) {
            return self.string(rng, name);
        }
        let command = pick(rng, SET);
        let mut words = vec![command.as_bytes().to_vec(), name];
        match command {
            "sadd" => members(rng, &mut words, 30),
            "srem" | "smismember" => members(rng, &mut words, 60),
            "sismember" => words.push(member(rng)),
            "spop" => match rng.below(12) {
                0 => words.push(one_of(rng, &["-1", "x", "1000"])),
                1..=3 => words.push(number(rng.below(5))),
                _ => {}
            },
            "srandmember" => draw_count(rng, &mut words),
            "sscan" => scan(rng, &mut words),
            "smove" => words.extend([other(rng, group), member(rng)]),
            "sintercard" => self.counted(rng, group, &mut words),
            "smembers" | "scard" => {}
            _ => (0..1 + rng.below(3)).for_each(|_| words.push(other(rng, group))),
        }
        words
    }

    fn counted(&mut self, rng: &mut Rng, group: u64, words: &mut Vec<Vec<u8>>) {
        let count = 1 + rng.below(3);
        (1..count).for_each(|_| words.push(other(rng, group)));
        words.insert(1, number(count));
        if rng.one_in(2) {
            words.extend([b"LIMIT".to_vec(), one_of(rng, &["0", "1", "3", "-1"])]);
        }
    }
}

/// A key of the group; mostly one that holds a set.
fn other(rng: &mut Rng, group: u64) -> Vec<u8> {
    let set = SETS[usize::try_from(rng.below(SETS.len() as u64)).expect("small")];
    key(group, if rng.one_in(6) { rng.below(KEYS_PER_GROUP) } else { set })
}

/// One member or a few; one in `many_one_in` times so many that Redis would hold them otherwise.
fn members(rng: &mut Rng, words: &mut Vec<Vec<u8>>, many_one_in: u64) {
    let count = if rng.one_in(many_one_in) { 100 + rng.below(500) } else { 1 + rng.below(4) };
    (0..count).for_each(|_| words.push(if count > 4 { number(rng.below(2000)) } else { member(rng) }));
}

fn member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => vec![b'm'; 300],
        1 => number(rng.below(2000)),
        2 => one_of(rng, &["", "-1", "70000", "9223372036854775807", "007"]),
        n @ 3..25 => number(n),
        n => format!("m{n}").into_bytes(),
    }
}
