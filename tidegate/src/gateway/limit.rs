//! Limits per client, or per whatever else a request can be told by, and the headers that tell clients of them.
//!
//! A limit is one for the whole process, whichever lane a request comes to: its table stands behind a lock, which is held for a
//! look-up. A changed file keeps what is known by limits that it doesn't change.

use super::call::Call;
use super::config::Key;
use super::lane::Table;
use super::record::Record;
use super::refusal::{Code, Refusal};
use base::Instant;
use gateway::quota::{Allowed, Quota, Rule, Verdict};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Mutex;

/// See the module.
#[derive(Debug)]
pub struct Limit {
    pub name: String,
    pub by: Key,
    pub rule: Rule,
    seed: u64,
    quota: Mutex<Quota>,
}

/// Keys that a limit knows at once: some ten megabytes.
const KEYS_MAX: usize = 256 * 1024;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

impl Limit {
    pub fn new(name: String, by: Key, rule: Rule, seed: u64) -> Self {
        Self { name, by, rule, seed, quota: Mutex::new(Quota::new(rule, KEYS_MAX)) }
    }

    /// True if what one knows is of use to the other.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.name, &self.by, self.rule) == (&other.name, &other.by, other.rule)
    }

    /// One more request by the key with these bytes.
    pub fn take(&self, now: Instant, key: &[u8]) -> Verdict {
        // Seeded, so that nobody can choose to share another's key.
        let mut hasher = SipHasher13::new_with_keys(self.seed, self.seed.rotate_left(32));
        hasher.write(key);
        let mut quota = self.quota.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        quota.take(now, hasher.finish(), 1)
    }
}

/// The seconds of `Retry-After`, if the request may not go.
pub fn retry_after_s(verdict: &Verdict) -> Option<u64> {
    match verdict.allowed {
        Allowed::Yes => None,
        Allowed::No { retry_after_ms } => Some(retry_after_ms.div_ceil(1000).max(1)),
    }
}

/// Tells the client.
pub fn tell(headers: &mut HeaderMap, verdict: &Verdict) {
    headers.insert(LIMIT, HeaderValue::from(verdict.limit));
    headers.insert(REMAINING, HeaderValue::from(verdict.remaining));
    headers.insert(RESET, HeaderValue::from(verdict.reset_ms.div_ceil(1000)));
}

/// The stricter of two, for those that are under several limits.
pub fn stricter(one: Option<Verdict>, other: Verdict) -> Verdict {
    one.filter(|one| one.remaining <= other.remaining).unwrap_or(other)
}

/// Counts the request where its route has limits.
pub fn check(table: &Table, call: &Call, limits: &[usize], parts: &Parts, record: &Record) -> Result<(), Refusal> {
    for limit in limits.iter().map(|at| &table.config.limits[*at]) {
        // What can't be told apart by the key is one client.
        let key = limit.by.of(call.told().client(&parts.headers), &parts.uri, &parts.headers).unwrap_or_default();
        let verdict = limit.take(crate::clock::boot(), &key);
        record.set_limited(verdict);
        if let Some(seconds) = retry_after_s(&verdict) {
            return Err(Refusal::of(Code::TooManyRequests)
                .because(format!("limit '{}'", limit.name))
                .retry_after(seconds));
        }
    }
    Ok(())
}
