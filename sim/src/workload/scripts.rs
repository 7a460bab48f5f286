//! Scripts that simulated clients run: few texts, whose meaning the model knows.

use super::{GROUPS, KEYS_PER_GROUP, Workload, key, number, one_of};
use base::rng::Rng;

/// What a text does; the model spells it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Counts at two keys.
    Count,
    /// Sets a key if it holds what is expected.
    Swap,
    /// Moves a string.
    Take,
    /// Appends so many times.
    Repeat,
    /// Reads two keys.
    Look,
    /// Writes, then fails.
    Half,
    /// Counts, or begins again.
    Safe,
    /// Writes, and never ends.
    Spin,
    /// Takes long.
    Long,
    /// Sets a key for a while, and tells for how long.
    Brief,
    /// Wants more memory than there is.
    Bomb,
}

/// All texts.
pub const SCRIPTS: &[(Meaning, &str)] = &[
    (Meaning::Count, "return {redis.call('incr', KEYS[1]), redis.call('incr', KEYS[2])}"),
    (
        Meaning::Swap,
        "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('set', KEYS[1], ARGV[2]) return 1 end return 0",
    ),
    (
        Meaning::Take,
        "local value = redis.call('getdel', KEYS[1]) if value then redis.call('set', KEYS[2], value) end return value",
    ),
    (
        Meaning::Repeat,
        "for i = 1, tonumber(ARGV[1]) do redis.call('append', KEYS[1], 'x') end return redis.call('strlen', KEYS[1])",
    ),
    (Meaning::Look, "return redis.call('mget', KEYS[1], KEYS[2])"),
    (Meaning::Half, "redis.call('set', KEYS[1], ARGV[1]) return redis.call('nope')"),
    (
        Meaning::Safe,
        "local n = redis.pcall('incr', KEYS[1]) if type(n) == 'table' then redis.call('set', KEYS[1], '5') return n.err end \
         return n",
    ),
    (Meaning::Spin, "redis.call('set', KEYS[1], 'never') while true do pcall(function() while true do end end) end"),
    (Meaning::Long, "for i = 1, 30000 do end return redis.call('append', KEYS[1], ARGV[1])"),
    (Meaning::Brief, "redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2]) return redis.call('pttl', KEYS[1])"),
    (
        Meaning::Bomb,
        "redis.call('set', KEYS[1], 'never') local t = {} while true do t[#t + 1] = string.rep('x', 10000) .. #t end",
    ),
];

/// What is added to texts that are loaded before they are run: without it they may be known by chance.
const LOADED: &str = " -- loaded";

/// What a text means.
#[must_use]
pub fn meaning(text: &str) -> Option<Meaning> {
    let plain = text.strip_suffix(LOADED).unwrap_or(text);
    SCRIPTS.iter().find(|(_, known)| *known == plain).map(|(meaning, _)| *meaning)
}

/// The text behind a SHA-1 that clients use.
#[must_use]
pub fn text_of(sha: &[u8]) -> Option<String> {
    let texts = SCRIPTS.iter().map(|(_, text)| format!("{text}{LOADED}"));
    texts.into_iter().find(|text| sha_of(text).as_bytes() == sha)
}

fn sha_of(text: &str) -> String {
    data::scripts::sha_text(&data::scripts::sha_of(text.as_bytes()))
}

impl Workload {
    /// A script for keys of a group.
    pub(super) fn script(&mut self, rng: &mut Rng, group: u64) -> Vec<Vec<u8>> {
        let (meaning, text) = Self::text(rng);
        let reads = meaning == Meaning::Look && rng.one_in(2);
        let loaded = rng.one_in(4);
        let name: &[u8] = match (loaded, reads) {
            (false, false) => b"eval",
            (false, true) => b"eval_ro",
            (true, false) => b"evalsha",
            (true, true) => b"evalsha_ro",
        };
        let body = if loaded { sha_of(&format!("{text}{LOADED}")) } else { text.to_owned() };
        let mut words = vec![name.to_vec(), body.into_bytes(), b"2".to_vec()];
        for _ in 0..2 {
            let group = if rng.one_in(4 * self.habits.cross_one_in) { rng.below(GROUPS) } else { group };
            words.push(key(group, KEYS_PER_GROUP - 1 - rng.below(3)));
        }
        words.extend(match meaning {
            Meaning::Swap => vec![one_of(rng, &["", "5", "v1"]), self.value(rng)],
            Meaning::Repeat => vec![number(rng.below(20))],
            Meaning::Brief => vec![self.value(rng), number(1 + rng.below(self.habits.ttl_ms_max))],
            _ => vec![self.value(rng)],
        });
        words
    }

    /// SCRIPT LOAD of one of the texts, or SCRIPT FLUSH.
    pub(super) fn load(rng: &mut Rng) -> Vec<Vec<u8>> {
        if rng.one_in(12) {
            return vec![b"script".to_vec(), b"flush".to_vec()];
        }
        let (_, text) = Self::text(rng);
        vec![b"script".to_vec(), b"load".to_vec(), format!("{text}{LOADED}").into_bytes()]
    }

    fn text(rng: &mut Rng) -> (Meaning, &'static str) {
        let all = usize::try_from(rng.below(SCRIPTS.len() as u64)).expect("few scripts");
        match SCRIPTS[all] {
            // They take the run's time, not the shard's.
            (Meaning::Spin | Meaning::Bomb, _) if !rng.one_in(6) => SCRIPTS[0],
            one => one,
        }
    }
}
