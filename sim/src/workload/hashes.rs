//! Commands of hashes.

use super::{Workload, number, one_of, pick};
use base::rng::Rng;

/// The commands and how often each is drawn. Fields come as often as they go, but for a burst now and then.
const HASH: &[(&str, u64)] = &[
    ("hset", 50),
    ("hsetnx", 12),
    ("hmset", 10),
    ("hget", 25),
    ("hmget", 12),
    ("hgetall", 12),
    ("hdel", 40),
    ("hlen", 8),
    ("hexists", 10),
    ("hkeys", 8),
    ("hvals", 8),
    ("hstrlen", 8),
    ("hincrby", 20),
    ("hincrbyfloat", 12),
    ("hrandfield", 12),
    ("hscan", 12),
];

impl Workload {
    /// A command for a key that mostly holds one.
    pub(super) fn hash(&mut self, rng: &mut Rng, _group: u64, key: Vec<u8>) -> Vec<Vec<u8>> {
        if rng.one_in(8) {
            return self.string(rng, key);
        }
        let name = pick(rng, HASH);
        let mut words = vec![name.as_bytes().to_vec(), key];
        match name {
            "hset" | "hmset" => self.pairs(rng, &mut words),
            "hsetnx" => words.extend([field(rng), self.value(rng)]),
            "hmget" | "hdel" => (0..1 + rng.below(4)).for_each(|_| words.push(field(rng))),
            "hget" | "hexists" | "hstrlen" => words.push(field(rng)),
            "hincrby" => words.extend([counter(rng), Self::integer(rng)]),
            "hincrbyfloat" => {
                words.extend([counter(rng), one_of(rng, &["0.5", "-1.25", "3", "10.75", "-0.5", "x"])]);
            }
            "hrandfield" => {
                draw_count(rng, &mut words);
                if words.len() == 3 && rng.one_in(2) {
                    words.push(b"WITHVALUES".to_vec());
                }
            }
            "hscan" => scan(rng, &mut words),
            _ => {}
        }
        words
    }

    /// One field or a few; rarely so many that Redis would hold them otherwise.
    fn pairs(&mut self, rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
        let count = if rng.one_in(30) { 60 + rng.below(200) } else { 1 + rng.below(3) };
        for _ in 0..count {
            let field = if count > 3 { many(rng) } else { field(rng) };
            words.extend([field, self.value(rng)]);
        }
        if rng.one_in(40) {
            words.push(field(rng));
        }
    }
}

/// A count of HRANDFIELD or SRANDMEMBER, or none.
pub(super) fn draw_count(rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
    match rng.below(6) {
        0 | 1 => {}
        2 => words.push(one_of(rng, &["x", "0", "1.5"])),
        3 => words.push(format!("-{}", rng.below(12)).replace("-0", "0").into_bytes()),
        _ => words.push(number(rng.below(12))),
    }
}

/// What stands behind the key of HSCAN or SSCAN.
pub(super) fn scan(rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
    words.push(if rng.one_in(2) { b"0".to_vec() } else { number(rng.below(300)) });
    if rng.one_in(2) {
        let count = if rng.one_in(8) { b"0".to_vec() } else { number(1 + rng.below(40)) };
        words.extend([b"COUNT".to_vec(), count]);
    }
    if rng.one_in(4) {
        words.extend([b"match".to_vec(), b"*1*".to_vec()]);
    }
}

fn field(rng: &mut Rng) -> Vec<u8> {
    if rng.one_in(6) { many(rng) } else { format!("f{}", rng.below(12)).into_bytes() }
}

fn many(rng: &mut Rng) -> Vec<u8> {
    match rng.below(400) {
        0 => vec![b'f'; 70],
        1 => vec![b'F'; 300],
        n @ 2..200 => number(n * 7),
        n => format!("field:{n}").into_bytes(),
    }
}

/// A field that mostly holds a number.
fn counter(rng: &mut Rng) -> Vec<u8> {
    if rng.one_in(10) { field(rng) } else { format!("n{}", rng.below(3)).into_bytes() }
}
