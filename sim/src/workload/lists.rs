//! Commands of lists.

use super::{KEYS_PER_GROUP, Workload, key, number, one_of, pick};
use base::rng::Rng;

/// Commands and how often each is drawn; more are put in than taken out.
const NAMES: &[(&str, u64)] = &[
    ("lpush", 16),
    ("rpush", 20),
    ("lpushx", 6),
    ("rpushx", 6),
    ("lpop", 8),
    ("rpop", 8),
    ("llen", 4),
    ("lrange", 10),
    ("lindex", 6),
    ("lset", 8),
    ("linsert", 10),
    ("lrem", 8),
    ("ltrim", 4),
    ("lpos", 8),
    ("lmove", 10),
    ("rpoplpush", 6),
    ("lmpop", 6),
];

impl Workload {
    /// A command for a key that mostly holds one; other keys of `group` stand in its shard.
    pub(super) fn list(&mut self, rng: &mut Rng, group: u64, name: Vec<u8>) -> Vec<Vec<u8>> {
        if rng.one_in(12) {
            // What is for strings, or for keys of any type.
            return self.string(rng, name);
        }
        let command = pick(rng, NAMES);
        let mut words = vec![command.as_bytes().to_vec(), name];
        let more: Vec<Vec<u8>> = match command {
            "lpush" | "rpush" | "lpushx" | "rpushx" => (0..=rng.below(4)).map(|_| self.member(rng)).collect(),
            "lpop" | "rpop" if rng.one_in(3) => vec![one_of(rng, &["0", "1", "2", "3", "100", "-1", "x"])],
            "lrange" | "ltrim" => vec![Self::place(rng), Self::place(rng)],
            "lindex" => vec![Self::place(rng)],
            "lset" => vec![Self::place(rng), self.member(rng)],
            "linsert" => vec![one_of(rng, &["before", "AFTER", "after", "x"]), self.member(rng), self.member(rng)],
            "lrem" => vec![one_of(rng, &["0", "1", "-1", "2", "-2", "x"]), self.member(rng)],
            "lpos" => self.lpos(rng),
            "lmove" => vec![Self::other(rng, group), Self::side(rng), Self::side(rng)],
            "rpoplpush" => vec![Self::other(rng, group)],
            "lmpop" => {
                let first = words.pop().expect("the key stands there");
                let keys = 1 + rng.below(3);
                let count = if rng.one_in(20) { one_of(rng, &["0", "x", "9"]) } else { number(keys) };
                words.extend([count, first]);
                words.extend((1..keys).map(|_| Self::other(rng, group)));
                words.push(Self::side(rng));
                if rng.one_in(2) { vec![b"COUNT".to_vec(), one_of(rng, &["1", "2", "5", "0"])] } else { Vec::new() }
            }
            _ => Vec::new(),
        };
        words.extend(more);
        words
    }

    fn lpos(&mut self, rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut words = vec![self.member(rng)];
        for _ in 0..rng.below(4) {
            words.push(one_of(rng, &["RANK", "count", "MAXLEN"]));
            words.push(one_of(rng, &["0", "1", "2", "3", "-1", "-2", "x"]));
        }
        words
    }

    /// Few members are unique, so that commands find what others have put in.
    fn member(&mut self, rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(3) { self.value(rng) } else { one_of(rng, &["a", "b", "c", "1", "-7", "100000"]) }
    }

    /// Another key of the group, or the same: mostly one that holds lists.
    fn other(rng: &mut Rng, group: u64) -> Vec<u8> {
        let at = if rng.one_in(3) { rng.below(KEYS_PER_GROUP) } else { 0 };
        key(group, at)
    }

    pub(super) fn side(rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(30) { b"up".to_vec() } else { one_of(rng, &["LEFT", "right"]) }
    }
}
