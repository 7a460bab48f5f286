//! Caches that are filled once: over keys of their own, which hold strings or nothing, and with the tokens that clients were given.

use super::{GROUPS, Workload, number, one_of, pick};
use crate::oracle::Asked;
use base::rng::Rng;

/// How many such keys a group has.
pub(super) const CACHES: u64 = 2;
/// Tokens that the clients remember.
const TOKENS: usize = 24;

const ON_CACHES: &[(&str, u64)] = &[
    ("getfill", 40),
    ("fill", 30),
    ("get", 6),
    ("set", 3),
    ("append", 2),
    ("del", 4),
    ("getdel", 2),
    ("pexpire", 4),
    ("persist", 1),
    ("pttl", 4),
    ("rename", 2),
    ("copy", 2),
];

pub(super) fn cache(group: u64, at: u64) -> Vec<u8> {
    format!("{{{group}}}c{at}").into_bytes()
}

impl Workload {
    /// A command about a cache.
    pub fn fill(&mut self, rng: &mut Rng, db: u8, group: Option<u64>) -> Asked {
        let group = group.unwrap_or_else(|| rng.below(GROUPS));
        let name = pick(rng, ON_CACHES);
        let key = cache(group, rng.below(CACHES));
        if name == "fill" {
            return self.bring(rng, db, group, key);
        }
        let mut words = vec![name.as_bytes().to_vec(), key];
        match name {
            "getfill" => {
                words.push(if rng.one_in(30) { b"0".to_vec() } else { number(1 + rng.below(self.habits.ttl_ms_max)) });
                for (option, one_in) in [("STALE", 2), ("LEASE", 2), ("WAIT", 3)] {
                    if rng.one_in(one_in) {
                        words.extend([option.as_bytes().to_vec(), number(1 + rng.below(self.habits.ttl_ms_max))]);
                    }
                }
            }
            "set" | "append" => words.push(self.value(rng)),
            "pexpire" => words.push(self.ttl(rng)),
            "rename" | "copy" => words.push(cache(group, rng.below(CACHES))),
            _ => {}
        }
        if name == "copy" && rng.one_in(2) {
            words.push(b"REPLACE".to_vec());
        }
        Asked { db, words }
    }

    /// FILL with a token that somebody was given, mostly for its key and in time.
    fn bring(&mut self, rng: &mut Rng, db: u8, group: u64, key: Vec<u8>) -> Asked {
        self.drawn += 1;
        let of_group = format!("{{{group}}}").into_bytes();
        let here = self.tokens.iter().filter(|(of, key, _)| *of == db && key.starts_with(&of_group));
        let here: Vec<_> = here.collect();
        let at = usize::try_from(rng.below(here.len().max(1) as u64)).expect("few tokens");
        let (key, token) = match here.get(at) {
            Some((_, own, token)) => (if rng.one_in(12) { key } else { own.clone() }, *token),
            None => (key, 7),
        };
        let words = vec![b"fill".to_vec(), key, token.to_string().into_bytes()];
        let more = match rng.below(6) {
            0 => vec![Vec::new(), b"NOTHING".to_vec()],
            1 => vec![Vec::new(), b"ABANDON".to_vec()],
            _ => vec![one_of(rng, &["filled", "brought", ""])],
        };
        Asked { db, words: words.into_iter().chain(more).collect() }
    }

    /// A client was given a token.
    pub fn note_token(&mut self, db: u8, key: Vec<u8>, token: i64) {
        self.tokens.push_back((db, key, token));
        if self.tokens.len() > TOKENS {
            self.tokens.pop_front();
        }
    }
}
