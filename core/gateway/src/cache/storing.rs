//! Whether a response may be stored (RFC 9111, 3), and how long it is fresh (4.2.1).
//!
//! Stricter than the RFC where a shared cache is known to do harm: nothing with `Set-Cookie` is stored whatever else it says; what
//! says nothing of its freshness isn't guessed for statuses by which a client's odd header could be made into everybody's error (400,
//! 405, 414, 5xx); and an answer to a request with cookies isn't stored at all, not even to be validated, unless it says that others may
//! use it: it is `public`, or says for how long.

use super::directives::Allowed;
use super::freshness::Freshness;
use super::head::{Expires, Request, Response};
use base::Instant;
use base::mutation::{self, Mutation};

/// What a route says of its cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// For responses that don't say.
    pub stale_while_revalidate_s: u32,
    pub stale_if_error_s: u32,
}

/// Why a response isn't stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    /// It, or the request, says so.
    Forbidden,
    /// It is one user's.
    Private,
    /// It has an answer to credentials, and doesn't say that it is for all.
    Authorized,
    /// It sets a cookie.
    SetCookie,
    /// It has an answer to cookies, and doesn't say that others may use it.
    Cookies,
    /// It goes by what can't be told.
    Varies,
    /// Its status is none that may be, or it is a part.
    Status,
    /// It is never fresh, and can't be validated.
    Useless,
}

/// When the response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at: Instant,
    /// The same on the wall clock.
    pub wall_s: u64,
    /// From the request's leaving to the response's coming.
    pub delay_ms: u64,
}

/// What is guessed is this part of the time since the last change, and no more than the other.
const HEURISTIC_PART: u64 = 10;
const HEURISTIC_MS_MAX: u64 = 3_600_000;

impl Unstored {
    /// True if the next request would end the same way, whoever sends it (of those with credentials, after one with credentials). An
    /// error may be of its request's making.
    #[must_use]
    pub fn is_of_the_resource(self, status: u16) -> bool {
        match self {
            Self::Private | Self::Authorized | Self::SetCookie | Self::Varies | Self::Forbidden | Self::Useless => true,
            Self::Status => matches!(status, 200..=399),
            Self::Cookies => false,
        }
    }

    /// True if the next request with cookies would, and says nothing of those without.
    #[must_use]
    pub fn is_of_cookies(self) -> bool {
        self == Self::Cookies
    }
}

/// Whether the response to a GET may be stored, and how fresh it is.
pub fn store(request: &Request, response: &Response, rules: &Rules, arrival: Arrival) -> Result<Freshness, Unstored> {
    let allowed = &response.allowed;
    let understood = guessable(response.status) || matches!(response.status, 302 | 303 | 307);
    if response.part || !understood {
        return Err(Unstored::Status);
    }
    // 5.2.2.3: whoever understands the status goes by the rest.
    if request.wanted.no_store || (allowed.no_store && !allowed.must_understand) {
        return Err(Unstored::Forbidden);
    }
    if allowed.private && !mutation::on(Mutation::CachePrivateStored) {
        return Err(Unstored::Private);
    }
    if request.authorized && !for_all(allowed) && !mutation::on(Mutation::CacheAuthorizedStored) {
        return Err(Unstored::Authorized);
    }
    if response.set_cookie && !mutation::on(Mutation::CacheSetCookieStored) {
        return Err(Unstored::SetCookie);
    }
    if response.vary.is_all() {
        return Err(Unstored::Varies);
    }
    let freshness = freshness(request, response, rules, arrival);
    let never = freshness.lifetime_ms == 0 && freshness.while_revalidate_ms == 0 && freshness.if_error_ms == 0;
    if !response.validator && (never || allowed.no_cache) {
        return Err(Unstored::Useless);
    }
    let kept_apart = request.cookies && !mutation::on(Mutation::CacheCookiesStored);
    if kept_apart && !freshness.for_cookies { Err(Unstored::Cookies) } else { Ok(freshness) }
}

fn freshness(request: &Request, response: &Response, rules: &Rules, arrival: Arrival) -> Freshness {
    let allowed = &response.allowed;
    let ms = |seconds: u32| u64::from(seconds) * 1000;
    let date_s = response.date_s.unwrap_or(arrival.wall_s);
    let said_ms = match (allowed.s_maxage_s.or(allowed.max_age_s), response.expires) {
        _ if allowed.unclear => Some(0),
        (Some(age_s), _) => Some(ms(age_s)),
        (None, Expires::At(at_s)) => Some(at_s.saturating_sub(date_s).saturating_mul(1000)),
        (None, Expires::Past) => Some(0),
        (None, Expires::Unsaid) => None,
    };
    let lifetime_ms = said_ms.unwrap_or_else(|| guess_ms(request, response, date_s));
    // 4.2.3.
    let apparent_ms = arrival.wall_s.saturating_sub(date_s) * 1000;
    let told_ms = response.age_s.map_or(0, ms) + arrival.delay_ms;
    let age_ms = if mutation::on(Mutation::CacheAgeUncounted) { 0 } else { apparent_ms.max(told_ms) };
    let forbidden = allowed.must_revalidate || allowed.proxy_revalidate || allowed.no_cache;
    // What the response itself says of staleness stands beside s-maxage; what the route says doesn't (4.2.4), nor for what was never
    // fresh: a window lengthens a time for which others may use it, and is none.
    let heeded = |rule: bool, broken: Mutation| rule && !mutation::on(broken);
    let allowance = |said: Option<u32>, usual: u32| match said {
        _ if heeded(forbidden, Mutation::CacheWindowForbidden) || allowed.unclear => 0,
        Some(said) if heeded(true, Mutation::CacheWindowBeforeWord) => ms(said),
        _ if heeded(allowed.s_maxage_s.is_some(), Mutation::CacheWindowBesideShared) => 0,
        _ if heeded(lifetime_ms == 0, Mutation::CacheWindowOfNothing) => 0,
        _ => ms(usual),
    };
    Freshness {
        came: arrival.at,
        age_ms,
        lifetime_ms,
        while_revalidate_ms: allowance(allowed.stale_while_revalidate_s, rules.stale_while_revalidate_s),
        if_error_ms: allowance(allowed.stale_if_error_s, rules.stale_if_error_s),
        always_validated: allowed.no_cache,
        for_all: for_all(allowed),
        for_cookies: allowed.public
            || said_ms.is_some_and(|said| said > 0)
            || allowance(allowed.stale_while_revalidate_s, 0) > 0,
        never_stale: forbidden || allowed.s_maxage_s.is_some() || allowed.unclear || lifetime_ms == 0,
    }
}

/// 3.5.
fn for_all(allowed: &Allowed) -> bool {
    allowed.public || allowed.must_revalidate || allowed.s_maxage_s.is_some()
}

/// 4.2.2.
fn guess_ms(request: &Request, response: &Response, date_s: u64) -> u64 {
    let unknown = request.cookies && !mutation::on(Mutation::CacheGuessedForCookies);
    if unknown || !guessable(response.status) {
        return 0;
    }
    let unchanged_s = response.last_modified_s.map_or(0, |modified_s| date_s.saturating_sub(modified_s));
    (unchanged_s.saturating_mul(1000) / HEURISTIC_PART).min(HEURISTIC_MS_MAX)
}

fn guessable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 410)
}
