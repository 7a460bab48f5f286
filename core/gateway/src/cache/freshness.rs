//! How fresh a stored response is, and what it may be used for (RFC 9111, 4.2 and 5.2.1; RFC 5861).

use super::directives::Wanted;
use base::Instant;
use base::mutation::{self, Mutation};
use base::time::NS_PER_MS;

/// See the module. All that is needed once the response is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    pub(super) came: Instant,
    /// Its age when it came.
    pub(super) age_ms: u64,
    pub(super) lifetime_ms: u64,
    pub(super) while_revalidate_ms: u64,
    pub(super) if_error_ms: u64,
    /// Fresh or not.
    pub(super) always_validated: bool,
    /// It says itself that it is for those with credentials too.
    pub(super) for_all: bool,
    /// It says itself that others may use it, though it came for one with cookies.
    pub(super) for_cookies: bool,
    /// Whatever a client or a route would take.
    pub(super) never_stale: bool,
}

/// What a stored response may be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is the answer.
    Fresh,
    /// It is the answer, since the client takes it as stale as it is.
    Stale,
    /// It is the answer, and must be asked for anew meanwhile.
    StaleWhileRevalidate,
    /// The origin must say first whether it still holds.
    Validate,
}

impl Freshness {
    /// 4.2.3.
    #[must_use]
    pub fn age_ms(&self, now: Instant) -> u64 {
        self.age_ms.saturating_add(now.since_ns(self.came) / NS_PER_MS)
    }

    /// How long it is fresh, or how long it has not been any more.
    fn stale_ms(&self, now: Instant) -> Option<u64> {
        let age_ms = self.age_ms(now);
        (age_ms >= self.lifetime_ms).then(|| age_ms - self.lifetime_ms)
    }

    /// What it may be used for, for one who wants this.
    #[must_use]
    pub fn of_use(&self, wanted: &Wanted, now: Instant) -> Use {
        let age_ms = self.age_ms(now);
        let ms = |seconds: u32| u64::from(seconds) * 1000;
        let stale_max_ms = wanted.max_stale_s.map(ms).filter(|_| !self.never_stale);
        if self.always_validated || wanted.no_cache {
            return Use::Validate;
        }
        let too_old = wanted.max_age_s.is_some_and(|most| age_ms > ms(most) || most == 0);
        let soon_stale = wanted.min_fresh_s.is_some_and(|least| age_ms.saturating_add(ms(least)) > self.lifetime_ms);
        match self.stale_ms(now) {
            None if !too_old && !soon_stale => Use::Fresh,
            Some(stale_ms) if too_old || soon_stale => {
                if stale_max_ms.is_some_and(|most| !soon_stale && stale_ms <= most) {
                    Use::Stale
                } else {
                    Use::Validate
                }
            }
            Some(stale_ms) if stale_ms < self.while_revalidate_ms => Use::StaleWhileRevalidate,
            Some(stale_ms) if stale_max_ms.is_some_and(|most| stale_ms <= most) => Use::Stale,
            Some(_) if mutation::on(Mutation::CacheStaleServed) => Use::Fresh,
            _ => Use::Validate,
        }
    }

    /// Whether it may stand for an answer that the origin didn't give.
    #[must_use]
    pub fn stands_for_error(&self, now: Instant) -> bool {
        self.stale_ms(now).is_none_or(|stale_ms| stale_ms < self.if_error_ms) && !self.always_validated
    }

    /// Whether those who asked while it was on its way may have it too: it can be used at all without being validated.
    #[must_use]
    pub fn is_for_others(&self, now: Instant) -> bool {
        !self.always_validated && self.stale_ms(now).is_none_or(|stale_ms| stale_ms < self.while_revalidate_ms)
    }

    /// Whether one that comes for a request with credentials may be stored in its place, by what this one says.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.for_all
    }

    /// The same for a request with cookies.
    #[must_use]
    pub fn is_for_cookies(&self) -> bool {
        self.for_cookies
    }

    /// Whether the next one may be, by what this one says: where none is, waiting for another's is in vain.
    #[must_use]
    pub fn may_be_for_others(&self) -> bool {
        !self.always_validated && (self.lifetime_ms > 0 || self.while_revalidate_ms > 0)
    }
}
