//! Commands of sorted sets, and of places, which stand in them too.

use super::hashes::{draw_count, scan};
use super::{KEYS_PER_GROUP, Workload, key, number, one_of, pick};
use base::rng::Rng;

/// The commands and how often each is drawn. Members come as often as they go, but for a burst now and then.
const ZSET: &[(&str, u64)] = &[
    ("zadd", 90),
    ("zincrby", 24),
    ("zrem", 30),
    ("zcard", 6),
    ("zcount", 10),
    ("zlexcount", 8),
    ("zscore", 10),
    ("zmscore", 6),
    ("zrank", 10),
    ("zrevrank", 8),
    ("zrange", 30),
    ("zrangestore", 8),
    ("zrevrange", 6),
    ("zrangebyscore", 10),
    ("zrevrangebyscore", 8),
    ("zrangebylex", 8),
    ("zrevrangebylex", 6),
    ("zremrangebyrank", 6),
    ("zremrangebyscore", 5),
    ("zremrangebylex", 4),
    ("zpopmin", 12),
    ("zpopmax", 12),
    ("zmpop", 12),
    ("zunion", 8),
    ("zunionstore", 8),
    ("zinter", 8),
    ("zinterstore", 6),
    ("zintercard", 8),
    ("zdiff", 6),
    ("zdiffstore", 5),
    ("zrandmember", 10),
    ("zscan", 12),
];

const GEO: &[(&str, u64)] = &[
    ("geoadd", 30),
    ("geopos", 6),
    ("geodist", 6),
    ("geohash", 6),
    ("geosearch", 16),
    ("geosearchstore", 6),
    ("georadius", 6),
    ("georadius_ro", 4),
    ("georadiusbymember", 4),
    ("georadiusbymember_ro", 4),
];

/// Where sorted sets mostly stand, and a set.
const ZSETS: [u64; 4] = [3, 3, 5, 2];

impl Workload {
    /// A command for a key that mostly holds one; other keys of `group` stand in its shard.
    pub(super) fn zset(&mut self, rng: &mut Rng, group: u64, name: Vec<u8>) -> Vec<Vec<u8>> {
        match rng.below(16) {
            0 | 1 => return self.string(rng, name),
            2 => return geo(rng, group, name),
            _ => {}
        }
        let command = pick(rng, ZSET);
        let mut words = vec![command.as_bytes().to_vec(), name];
        match command {
            "zadd" => zadd(rng, &mut words),
            "zincrby" => words.extend([score(rng), member(rng)]),
            "zrem" | "zmscore" => (0..1 + rng.below(4)).for_each(|_| words.push(member(rng))),
            "zscore" | "zrank" | "zrevrank" => words.push(member(rng)),
            "zpopmin" | "zpopmax" => match rng.below(8) {
                0 => words.push(one_of(rng, &["-1", "x", "1000", "0"])),
                1 | 2 => words.push(number(rng.below(5))),
                _ => {}
            },
            "zmpop" => zmpop(rng, group, &mut words),
            "zrandmember" => {
                draw_count(rng, &mut words);
                if words.len() == 3 && rng.one_in(2) {
                    words.push(b"WITHSCORES".to_vec());
                }
            }
            "zscan" => scan(rng, &mut words),
            "zcard" => {}
            _ if command.contains("range") || command.ends_with("count") => range(rng, group, &mut words),
            _ => combine(rng, group, &mut words),
        }
        words
    }
}

fn zadd(rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
    for flag in ["NX", "xx", "GT", "LT", "CH", "incr"] {
        if rng.one_in(10) {
            words.push(flag.as_bytes().to_vec());
        }
    }
    let many = rng.one_in(30);
    for _ in 0..if many { 60 + rng.below(200) } else { 1 + rng.below(3) } {
        let name = if many { number(rng.below(2000)) } else { member(rng) };
        words.extend([score(rng), name]);
    }
    if rng.one_in(40) {
        words.push(member(rng));
    }
}

fn zmpop(rng: &mut Rng, group: u64, words: &mut Vec<Vec<u8>>) {
    let keys = 1 + rng.below(3);
    words.insert(1, if rng.one_in(20) { one_of(rng, &["0", "x", "9"]) } else { number(keys) });
    (1..keys).for_each(|_| words.push(other(rng, group)));
    words.push(one_of(rng, &["MIN", "max"]));
    if rng.one_in(2) {
        words.extend([b"COUNT".to_vec(), one_of(rng, &["1", "2", "5", "0"])]);
    }
}

/// The ends of a range and its options, for all commands that have them.
fn range(rng: &mut Rng, group: u64, words: &mut Vec<Vec<u8>>) {
    let command = String::from_utf8_lossy(&words[0]).into_owned();
    let free = matches!(command.as_str(), "zrange" | "zrangestore");
    let by_score = command.ends_with("byscore") || command == "zcount" || (free && rng.one_in(3));
    let by_name = !by_score && (command.contains("lex") || (free && rng.one_in(3)));
    if command == "zrangestore" {
        words.insert(1, other(rng, group));
    }
    for _ in 0..2 {
        words.push(match (by_score, by_name) {
            (true, _) => score_bound(rng),
            (_, true) => name_bound(rng),
            _ => Workload::place(rng),
        });
    }
    if command.ends_with("count") || command.starts_with("zrem") {
        return;
    }
    if free && by_score {
        words.push(b"BYSCORE".to_vec());
    }
    if free && by_name {
        words.push(b"bylex".to_vec());
    }
    if free && rng.one_in(3) {
        words.push(b"REV".to_vec());
    }
    if rng.one_in(if by_score || by_name { 3 } else { 20 }) {
        words.extend([b"LIMIT".to_vec(), Workload::place(rng), Workload::place(rng)]);
    }
    if rng.one_in(if by_name || command == "zrangestore" { 20 } else { 2 }) {
        words.push(b"WITHSCORES".to_vec());
    }
}

/// The keys and options of unions and their like.
fn combine(rng: &mut Rng, group: u64, words: &mut Vec<Vec<u8>>) {
    let command = String::from_utf8_lossy(&words[0]).into_owned();
    let stores = command.ends_with("store");
    let keys = 1 + rng.below(3);
    let counted = if rng.one_in(20) { one_of(rng, &["0", "x", "9"]) } else { number(keys) };
    words.insert(if stores { 2 } else { 1 }, counted);
    let more = if stores { keys } else { keys - 1 };
    (0..more).for_each(|_| words.push(other(rng, group)));
    if command == "zintercard" {
        if rng.one_in(2) {
            words.extend([b"LIMIT".to_vec(), one_of(rng, &["0", "1", "3", "-1"])]);
        }
        return;
    }
    let weighs = !command.starts_with("zdiff") || rng.one_in(20);
    if weighs && rng.one_in(3) {
        words.push(b"WEIGHTS".to_vec());
        (0..keys).for_each(|_| words.push(one_of(rng, &["1", "2", "0.5", "3.25", "inf"])));
    }
    if weighs && rng.one_in(3) {
        words.extend([b"AGGREGATE".to_vec(), one_of(rng, &["SUM", "min", "max", "MAX"])]);
    }
    if rng.one_in(if stores { 20 } else { 2 }) {
        words.push(b"WITHSCORES".to_vec());
    }
}

fn geo(rng: &mut Rng, group: u64, name: Vec<u8>) -> Vec<Vec<u8>> {
    let command = pick(rng, GEO);
    let mut words = vec![command.as_bytes().to_vec(), name];
    match command {
        "geoadd" => {
            words.extend(["NX", "XX", "CH"].iter().filter(|_| rng.one_in(10)).map(|flag| flag.as_bytes().to_vec()));
            for _ in 0..1 + rng.below(8) {
                words.extend([degrees(rng, 10), degrees(rng, 35), place(rng)]);
            }
            return words;
        }
        "geopos" | "geohash" => {
            words.extend([place(rng), place(rng)]);
            return words;
        }
        "geodist" => {
            words.extend([place(rng), place(rng), unit(rng)]);
            return words;
        }
        "georadius" | "georadius_ro" => words.extend([degrees(rng, 10), degrees(rng, 35), radius(rng), unit(rng)]),
        "georadiusbymember" | "georadiusbymember_ro" => words.extend([place(rng), radius(rng), b"m".to_vec()]),
        _ => {
            if command == "geosearchstore" {
                words.insert(1, other(rng, group));
            }
            match rng.below(2) {
                0 => words.extend([b"FROMMEMBER".to_vec(), place(rng)]),
                _ => words.extend([b"fromlonlat".to_vec(), degrees(rng, 10), degrees(rng, 35)]),
            }
            match rng.below(2) {
                0 => words.extend([b"BYRADIUS".to_vec(), radius(rng), unit(rng)]),
                _ => words.extend([b"BYBOX".to_vec(), radius(rng), radius(rng), b"ft".to_vec()]),
            }
        }
    }
    let order = one_of(rng, &["ASC", "desc"]);
    match rng.below(4) {
        0 => words.extend([b"COUNT".to_vec(), one_of(rng, &["1", "3", "0", "x"]), order]),
        1 if !command.ends_with("store") => {
            words.extend([b"COUNT".to_vec(), number(1 + rng.below(4)), b"ANY".to_vec()])
        }
        2 => {}
        _ if command.ends_with("store") => words.push(order),
        _ => {
            words.push(order);
            let with = ["WITHCOORD", "withdist", "WITHHASH"];
            words.extend(with.iter().filter(|_| rng.one_in(2)).map(|word| word.as_bytes().to_vec()));
        }
    }
    words
}

/// A key of the group; mostly one that holds a sorted set or a set.
fn other(rng: &mut Rng, group: u64) -> Vec<u8> {
    let at = ZSETS[usize::try_from(rng.below(ZSETS.len() as u64)).expect("small")];
    key(group, if rng.one_in(8) { rng.below(KEYS_PER_GROUP) } else { at })
}

/// Few members, so that commands find what others have put in; some are integers, one is long.
fn member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(40) {
        0 => vec![b'm'; 70],
        1 => number(rng.below(2000)),
        2 => one_of(rng, &["", "-1", "70000", "9223372036854775807", "007"]),
        n @ 3..25 => number(n),
        n => format!("m{n}").into_bytes(),
    }
}

/// Few scores, so that some are equal.
fn score(rng: &mut Rng) -> Vec<u8> {
    match rng.below(20) {
        0 => one_of(rng, &["inf", "-inf", "x", "1e20"]),
        1 => number(rng.next_u64() >> 20),
        2..6 => one_of(rng, &["0.5", "-2.25", "0.1", "3.3", "1e-7"]),
        n => (i64::try_from(n).expect("small") - 12).to_string().into_bytes(),
    }
}

fn score_bound(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => b"-inf".to_vec(),
        1 => b"+inf".to_vec(),
        2 | 3 => [b"(".to_vec(), score(rng)].concat(),
        _ => score(rng),
    }
}

fn name_bound(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 | 1 => b"-".to_vec(),
        2 | 3 => b"+".to_vec(),
        4 if rng.one_in(4) => member(rng),
        4 | 5 => [b"(".to_vec(), member(rng)].concat(),
        _ => [b"[".to_vec(), member(rng)].concat(),
    }
}

fn place(rng: &mut Rng) -> Vec<u8> {
    format!("p{}", rng.below(12)).into_bytes()
}

/// A coordinate within five degrees of `from`.
fn degrees(rng: &mut Rng, from: u64) -> Vec<u8> {
    if rng.one_in(60) {
        return one_of(rng, &["500", "x"]);
    }
    format!("{}.{:05}", from + rng.below(5), rng.below(100_000)).into_bytes()
}

fn radius(rng: &mut Rng) -> Vec<u8> {
    one_of(rng, &["100", "20000", "150000", "400000"])
}

fn unit(rng: &mut Rng) -> Vec<u8> {
    one_of(rng, &["m", "m", "m", "ft"])
}
