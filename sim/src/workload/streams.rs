//! Commands of streams.

use super::{KEYS_PER_GROUP, Workload, key, number, one_of, pick};
use base::rng::Rng;

/// Commands and how often each is drawn; more is added than removed.
const NAMES: &[(&str, u64)] = &[
    ("xadd", 60),
    ("xlen", 3),
    ("xrange", 6),
    ("xrevrange", 6),
    ("xdel", 8),
    ("xtrim", 5),
    ("xsetid", 2),
    ("xcfgset", 1),
    ("xread", 8),
    ("xgroup", 10),
    ("xreadgroup", 24),
    ("xack", 10),
    ("xpending", 8),
    ("xclaim", 8),
    ("xautoclaim", 8),
    ("xinfo", 8),
];

/// IDs are drawn below this, so that they meet; those of the clock are far above.
const IDS: u64 = 60;

impl Workload {
    /// A command for a key that mostly holds one; other keys of `group` stand in its shard.
    pub(super) fn stream(&mut self, rng: &mut Rng, group: u64, key: Vec<u8>) -> Vec<Vec<u8>> {
        if rng.one_in(12) {
            // What is for strings, or for keys of any type.
            return self.string(rng, key);
        }
        let command = pick(rng, NAMES);
        match command {
            "xgroup" => return Self::xgroup(rng, key),
            "xread" | "xreadgroup" => return Self::xread(rng, command, group, key),
            "xinfo" => return Self::xinfo(rng, key),
            _ => {}
        }
        let mut words = vec![command.as_bytes().to_vec(), key];
        words.extend(match command {
            "xadd" => self.xadd(rng),
            "xrange" | "xrevrange" => {
                let mut more = vec![Self::end(rng), Self::end(rng)];
                if rng.one_in(2) {
                    more.extend([b"COUNT".to_vec(), one_of(rng, &["1", "2", "10", "0", "-1", "x"])]);
                }
                more
            }
            "xdel" => Self::ids(rng),
            "xtrim" => Self::trim(rng),
            "xsetid" => Self::xsetid(rng),
            "xcfgset" => Self::xcfgset(rng),
            "xack" => [vec![Self::group(rng)], Self::ids(rng)].concat(),
            "xpending" => Self::xpending(rng),
            "xclaim" => Self::xclaim(rng),
            "xautoclaim" => Self::xautoclaim(rng),
            _ => Vec::new(),
        });
        words
    }

    fn xadd(&mut self, rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        if rng.one_in(8) {
            words.push(b"NOMKSTREAM".to_vec());
        }
        if rng.one_in(3) {
            words.extend(Self::trim(rng));
        }
        let named = rng.one_in(6);
        if named && rng.one_in(2) {
            words.extend([b"IDMP".to_vec(), one_of(rng, &["p", "q", "r", ""]), one_of(rng, &["1", "2", "3", "4", ""])]);
        } else if named {
            words.extend([b"IDMPAUTO".to_vec(), one_of(rng, &["p", "q", ""])]);
        }
        words.push(match rng.below(10) {
            _ if named && !rng.one_in(10) => b"*".to_vec(),
            0..=5 => b"*".to_vec(),
            6 => format!("{}-*", rng.below(IDS)).into_bytes(),
            _ => Self::id(rng),
        });
        let names: &[&str] = if rng.one_in(3) { &["f", "g", "", "17"] } else { &["f"] };
        let fields = 1 + rng.below(3);
        for _ in 0..fields {
            words.push(one_of(rng, names));
            words.push(if named { one_of(rng, &["a", "b"]) } else { self.value(rng) });
        }
        if fields > 1 && rng.one_in(20) {
            words.pop();
        }
        words
    }

    fn trim(rng: &mut Rng) -> Vec<Vec<u8>> {
        let by_len = rng.one_in(2);
        let mut words = vec![if by_len { b"MAXLEN".to_vec() } else { b"minid".to_vec() }];
        match rng.below(4) {
            0 => words.push(b"=".to_vec()),
            1 | 2 => words.push(b"~".to_vec()),
            _ => {}
        }
        words.push(if by_len { one_of(rng, &["0", "3", "10", "20", "120", "-1", "x"]) } else { Self::id(rng) });
        if rng.one_in(8) {
            words.extend([b"LIMIT".to_vec(), one_of(rng, &["0", "1", "50", "1000", "-1"])]);
        }
        words
    }

    fn xsetid(rng: &mut Rng) -> Vec<Vec<u8>> {
        let last = if rng.one_in(2) { b"9999999999999-5".to_vec() } else { Self::id(rng) };
        let mut words = vec![last];
        if rng.one_in(2) {
            words.extend([b"ENTRIESADDED".to_vec(), one_of(rng, &["0", "20", "1000", "-1"])]);
        }
        if rng.one_in(2) {
            words.extend([b"MAXDELETEDID".to_vec(), Self::id(rng)]);
        }
        words
    }

    fn xcfgset(rng: &mut Rng) -> Vec<Vec<u8>> {
        match rng.below(4) {
            0 => vec![b"IDMP-MAXSIZE".to_vec(), one_of(rng, &["1", "3", "100", "0", "10001"])],
            1 => {
                vec![b"idmp-duration".to_vec(), one_of(rng, &["1", "2", "100", "x", "86401"]), b"IDMP-MAXSIZE".to_vec()]
            }
            2 => Vec::new(),
            _ => vec![b"IDMP-DURATION".to_vec(), one_of(rng, &["1", "2", "100", "0"])],
        }
    }

    fn xread(rng: &mut Rng, command: &str, group: u64, first: Vec<u8>) -> Vec<Vec<u8>> {
        let mut words = vec![command.as_bytes().to_vec()];
        let grouped = command == "xreadgroup";
        if grouped {
            words.extend([b"GROUP".to_vec(), Self::group(rng), Self::consumer(rng)]);
        }
        if rng.one_in(2) {
            words.extend([b"COUNT".to_vec(), one_of(rng, &["1", "2", "3", "0", "-1"])]);
        }
        if grouped && rng.one_in(6) {
            words.push(b"NOACK".to_vec());
        }
        let others = if rng.one_in(4) { 1 } else { 0 };
        words.extend([b"STREAMS".to_vec(), first]);
        words.extend((0..others).map(|_| key(group, rng.below(KEYS_PER_GROUP))));
        for _ in 0..=others {
            words.push(match rng.below(8) {
                0 => b"$".to_vec(),
                1..=4 if grouped => b">".to_vec(),
                5 => b"0".to_vec(),
                _ => Self::id(rng),
            });
        }
        words
    }

    fn xgroup(rng: &mut Rng, key: Vec<u8>) -> Vec<Vec<u8>> {
        let sub = pick(rng, &[("CREATE", 8), ("SETID", 3), ("destroy", 1), ("CREATECONSUMER", 2), ("DELCONSUMER", 2)]);
        let mut words = vec![b"xgroup".to_vec(), sub.as_bytes().to_vec(), key, Self::group(rng)];
        match sub {
            "CREATE" | "SETID" => {
                words.push(if rng.one_in(2) { one_of(rng, &["0", "$"]) } else { Self::id(rng) });
                if rng.one_in(2) && sub == "CREATE" {
                    words.push(b"MKSTREAM".to_vec());
                }
                if rng.one_in(4) {
                    words.extend([b"ENTRIESREAD".to_vec(), one_of(rng, &["0", "3", "50", "-1", "-2"])]);
                }
            }
            "destroy" => {}
            _ => words.push(Self::consumer(rng)),
        }
        words
    }

    fn xpending(rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut words = vec![Self::group(rng)];
        if rng.one_in(3) {
            return words;
        }
        if rng.one_in(3) {
            words.extend([b"IDLE".to_vec(), one_of(rng, &["0", "5", "200", "-1"])]);
        }
        words.extend([Self::end(rng), Self::end(rng), one_of(rng, &["10", "2", "0", "-1", "x"])]);
        if rng.one_in(3) {
            words.push(Self::consumer(rng));
        }
        words
    }

    fn xclaim(rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut words = vec![Self::group(rng), Self::consumer(rng), one_of(rng, &["0", "0", "100", "-1", "x"])];
        words.extend(Self::ids(rng));
        for (option, values) in [
            ("IDLE", &["0", "500", "-5"][..]),
            ("TIME", &["1", "-1", "99999999999999"]),
            ("RETRYCOUNT", &["0", "7", "-1", "x"]),
        ] {
            if rng.one_in(6) {
                words.extend([option.as_bytes().to_vec(), one_of(rng, values)]);
            }
        }
        if rng.one_in(2) {
            words.push(b"FORCE".to_vec());
        }
        if rng.one_in(3) {
            words.push(b"JUSTID".to_vec());
        }
        if rng.one_in(10) {
            words.extend([b"LASTID".to_vec(), Self::id(rng)]);
        }
        words
    }

    fn xautoclaim(rng: &mut Rng) -> Vec<Vec<u8>> {
        let start = if rng.one_in(2) { b"-".to_vec() } else { Self::end(rng) };
        let mut words = vec![Self::group(rng), Self::consumer(rng), one_of(rng, &["0", "0", "100", "x"]), start];
        if rng.one_in(2) {
            words.extend([b"COUNT".to_vec(), one_of(rng, &["1", "2", "5", "0"])]);
        }
        if rng.one_in(3) {
            words.push(b"JUSTID".to_vec());
        }
        words
    }

    fn xinfo(rng: &mut Rng, key: Vec<u8>) -> Vec<Vec<u8>> {
        let mut words = vec![b"xinfo".to_vec()];
        match rng.below(4) {
            0 => words.extend([b"GROUPS".to_vec(), key]),
            1 => words.extend([b"CONSUMERS".to_vec(), key, Self::group(rng)]),
            2 => words.extend([b"STREAM".to_vec(), key]),
            _ => {
                words.extend([b"stream".to_vec(), key, b"FULL".to_vec()]);
                if rng.one_in(2) {
                    words.extend([b"COUNT".to_vec(), one_of(rng, &["1", "0", "-1", "200"])]);
                }
            }
        }
        words
    }

    fn group(rng: &mut Rng) -> Vec<u8> {
        one_of(rng, &["g", "g", "g", "h"])
    }

    fn consumer(rng: &mut Rng) -> Vec<u8> {
        one_of(rng, &["c", "c", "d", "e"])
    }

    fn ids(rng: &mut Rng) -> Vec<Vec<u8>> {
        (0..1 + rng.below(6)).map(|_| Self::id(rng)).collect()
    }

    fn id(rng: &mut Rng) -> Vec<u8> {
        match rng.below(12) {
            0 => number(rng.below(IDS)),
            1 => {
                one_of(rng, &["0-0", "x", "5-", "18446744073709551615-3", "18446744073709551615-18446744073709551615"])
            }
            2 | 3 => {
                let ms = crate::world::WALL_START_MS + rng.below(4000);
                format!("{ms}-{}", rng.below(2)).into_bytes()
            }
            _ => format!("{}-{}", rng.below(IDS), rng.below(3)).into_bytes(),
        }
    }

    /// An end of a range.
    fn end(rng: &mut Rng) -> Vec<u8> {
        match rng.below(6) {
            0 | 1 => b"-".to_vec(),
            2 | 3 => b"+".to_vec(),
            4 => [b"(".to_vec(), Self::id(rng)].concat(),
            _ => Self::id(rng),
        }
    }
}
