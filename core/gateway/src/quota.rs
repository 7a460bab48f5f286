//! Limits per key: how many requests a client may make, and what the RateLimit headers tell it.

use base::Instant;
use std::collections::BTreeMap;

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `rate` requests per `period_ms` on average, up to `burst` at once.
    TokenBucket { rate: u32, period_ms: u64, burst: u32 },
    /// `most` requests in any `window_ms`, estimated from this window and the last.
    SlidingWindow { most: u32, window_ms: u64 },
}

/// What a limit says, with all that the RateLimit headers want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: Allowed,
    pub limit: u32,
    pub remaining: u32,
    /// When all of the quota is there again.
    pub reset_ms: u64,
}

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    /// And when it may, if nothing else comes.
    No {
        retry_after_ms: u64,
    },
}

/// One limit for many keys, in a bounded table. Keys are hashes (seeded, where clients can choose what is hashed).
#[derive(Debug)]
pub struct Quota {
    rule: Rule,
    keys_max: usize,
    entries: BTreeMap<u64, u64>,
}

impl Quota {
    #[must_use]
    pub fn new(rule: Rule, keys_max: usize) -> Self {
        Self { rule, keys_max, entries: BTreeMap::new() }
    }

    /// A request of this key that counts `cost` times.
    pub fn take(&mut self, _now: Instant, key: u64, cost: u32) -> Verdict {
        let limit = match self.rule {
            Rule::TokenBucket { burst, .. } => burst,
            Rule::SlidingWindow { most, .. } => most,
        };
        if self.entries.len() < self.keys_max {
            self.entries.insert(key, u64::from(cost));
        }
        Verdict { allowed: Allowed::Yes, limit, remaining: limit, reset_ms: 0 }
    }

    /// How many keys have used something.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.entries.len()
    }
}
