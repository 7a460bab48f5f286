//! Commands of bitmaps, and of HyperLogLogs, whose bytes bitmaps love to damage.

use super::{KEYS_PER_GROUP, Workload, key, number, one_of, pick};
use base::rng::Rng;

const BITS: &[(&str, u64)] = &[
    ("setbit", 10),
    ("getbit", 4),
    ("bitcount", 6),
    ("bitpos", 8),
    ("bitop", 6),
    ("bitfield", 10),
    ("bitfield_ro", 3),
];
const SKETCHES: &[(&str, u64)] = &[("pfadd", 12), ("pfcount", 8), ("pfmerge", 4)];

impl Workload {
    /// A command of bitmaps on a string; other keys of `group` stand in its shard.
    pub(super) fn bitmap(&mut self, rng: &mut Rng, group: u64, at: Vec<u8>) -> Vec<Vec<u8>> {
        let name = pick(rng, BITS);
        let mut words = vec![name.as_bytes().to_vec(), at.clone()];
        match name {
            "setbit" => words.extend([Self::bit(rng), one_of(rng, &["0", "1", "1", "0", "1", "2"])]),
            "getbit" => words.push(Self::bit(rng)),
            "bitcount" if rng.one_in(2) => words.extend([Self::place(rng), Self::place(rng)]),
            "bitcount" => words.extend([Self::place(rng), Self::place(rng), one_of(rng, &["BIT", "byte"])]),
            "bitpos" => {
                words.push(one_of(rng, &["0", "1"]));
                let more = [Self::place(rng), Self::place(rng), one_of(rng, &["bit", "BYTE"])];
                words.extend(more.into_iter().take(usize::try_from(rng.below(4)).expect("small")));
            }
            "bitop" => {
                let op = one_of(rng, &["AND", "or", "XOR", "not"]);
                let sources = if op == b"not" && !rng.one_in(9) { 1 } else { 1 + rng.below(3) };
                words = vec![b"bitop".to_vec(), op, at];
                words.extend((0..sources).map(|_| key(group, rng.below(KEYS_PER_GROUP))));
            }
            _ => {
                for _ in 0..1 + rng.below(3) {
                    words.extend(Self::field(rng, name == "bitfield"));
                }
            }
        }
        words
    }

    fn field(rng: &mut Rng, writes: bool) -> Vec<Vec<u8>> {
        let name =
            if writes || rng.one_in(20) { one_of(rng, &["get", "SET", "INCRBY", "OVERFLOW"]) } else { b"GET".to_vec() };
        if name == b"OVERFLOW" {
            return vec![name, one_of(rng, &["wrap", "SAT", "FAIL"])];
        }
        let kind = one_of(rng, &["u8", "i8", "u1", "i5", "u63", "i64", "i16", "u32", "u7", "u64"]);
        let at = if rng.one_in(3) { one_of(rng, &["#0", "#1", "#5"]) } else { Self::bit(rng) };
        let mut words = vec![name.clone(), kind, at];
        if !name.eq_ignore_ascii_case(b"get") {
            words.push(one_of(rng, &["1", "-1", "100", "-129", "255", "70000", "9223372036854775807", "x"]));
        }
        words
    }

    fn bit(rng: &mut Rng) -> Vec<u8> {
        if rng.one_in(30) { one_of(rng, &["-1", "4294967296", "x"]) } else { number(rng.below(300)) }
    }

    /// A command of HyperLogLogs.
    pub(super) fn sketch(&mut self, rng: &mut Rng, group: u64, at: Vec<u8>) -> Vec<Vec<u8>> {
        let name = pick(rng, SKETCHES);
        let mut words = vec![name.as_bytes().to_vec(), at];
        if name == "pfadd" {
            let elements = [0, 1, 3, 30, 900][usize::try_from(rng.below(5)).expect("small")];
            words.extend((0..elements).map(|_| number(rng.below(20_000))));
        } else {
            words.extend((0..rng.below(3)).map(|_| key(group, rng.below(KEYS_PER_GROUP))));
        }
        words
    }
}
