//! The knobs of `maxmemory`: how they are read and shown, and what they mean to the core.

use crate::settings::Settings;
use data::keyspace::{Among, Noted, Order};
use node::Memory;

/// The policies by the names that Redis gives them, and what goes first among which keys.
pub const POLICIES: [(&str, Option<(Among, Order)>); 8] = [
    ("volatile-lru", Some((Among::Expiring, Order::Stale))),
    ("volatile-lfu", Some((Among::Expiring, Order::Stale))),
    ("volatile-random", Some((Among::Expiring, Order::Random))),
    ("volatile-ttl", Some((Among::Expiring, Order::Soonest))),
    ("allkeys-lru", Some((Among::All, Order::Stale))),
    ("allkeys-lfu", Some((Among::All, Order::Stale))),
    ("allkeys-random", Some((Among::All, Order::Random))),
    ("noeviction", None),
];
pub const NAMES: [&str; 8] = {
    let mut names = [""; 8];
    let mut at = 0;
    while at < names.len() {
        names[at] = POLICIES[at].0;
        at += 1;
    }
    names
};
/// The place of `noeviction`.
pub const NO_EVICTION: u8 = 7;

const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
];

/// A number of bytes as Redis reads it: "64mb" are 64 times 2^20, "64m" 64 million.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The place of a policy among [`POLICIES`].
pub fn policy(name: &str) -> Option<u8> {
    NAMES.iter().position(|one| one.eq_ignore_ascii_case(name)).and_then(|at| u8::try_from(at).ok())
}

/// What the knobs mean to a lane.
pub fn memory(settings: &Settings) -> Memory {
    let (name, evicts) = POLICIES[usize::from(settings.memory_policy())];
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let frequency = Noted::Frequency {
        log_factor: small(settings.lfu_log_factor()),
        decay_minutes: small(settings.lfu_decay_minutes()),
    };
    let noted = if name.ends_with("lfu") { frequency } else { Noted::Recency };
    Memory { bytes_max: settings.memory_bytes_max(), evicts, samples: small(settings.memory_samples()), noted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_does() {
        let cases = [
            ("0", Some(0)),
            ("100b", Some(100)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("64mb", Some(64 << 20)),
            ("2g", Some(2_000_000_000)),
            ("1Gb", Some(1 << 30)),
            ("", None),
            ("-1", None),
            ("1.5mb", None),
            ("50%", None),
            ("mb", None),
            ("99999999999999999999", None),
            ("18446744073709551615gb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn policies_have_names() {
        assert_eq!(policy("NoEviction"), Some(NO_EVICTION));
        assert_eq!(policy("lru"), None);
        assert!(NAMES.iter().all(|name| policy(name).is_some()));
    }
}
