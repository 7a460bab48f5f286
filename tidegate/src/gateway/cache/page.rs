//! What operators see of the cache, and how they empty it.
//!
//! ```text
//! GET /v1/gateway/cache                how much is stored, and what became of requests
//! POST /v1/gateway/cache:purge         {"url": ".."}, {"prefix": ".."}, {"tag": ".."} or {"all": true}
//! ```

use super::key::Named;
use super::object::{Object, lines};
use super::store::{Figures, Store, What};
use super::{Counts, Lane};
use crate::meters::text::Page;
use serde::Deserialize;
use serde_json::{Value, json};

/// What became of requests, on one lane or on all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums([u64; WORDS.len()]);

/// What a request was, as in the access log and in metrics.
const WORDS: [&str; 8] = ["hit", "stale", "miss", "expired", "coalesced", "pass", "revalidated", "refreshed"];
/// The first so many are requests of clients; the others are fetches.
const REQUESTS: usize = 6;

impl Sums {
    pub fn of(lane: &Lane) -> Self {
        let Counts { hits, stale, misses, expired, revalidated, coalesced, refreshed, passed } = &lane.cache;
        Self([hits, stale, misses, expired, coalesced, passed, revalidated, refreshed].map(std::cell::Cell::get))
    }

    pub fn all(of: impl Iterator<Item = Self>) -> Self {
        of.fold(Self::default(), |sums, one| Self(std::array::from_fn(|at| sums.0[at] + one.0[at])))
    }
}

/// The figures as JSON.
pub fn told(store: Option<&Store>, sums: &Sums) -> Value {
    let Some(store) = store else { return json!({ "on": false }) };
    let Figures { bytes, objects, evicted, invalidated, fetching, fetching_bytes, waiting } = store.figures();
    let requests: serde_json::Map<String, Value> =
        WORDS.iter().zip(sums.0).map(|(word, sum)| ((*word).to_owned(), sum.into())).collect();
    json!({
        "on": true, "bytes": bytes, "bytes_max": store.limits.bytes_max, "object_bytes_max": store.limits.object_bytes_max,
        "objects": objects, "evicted": evicted, "invalidated": invalidated, "fetching": fetching,
        "fetching_bytes": fetching_bytes, "waiting": waiting, "requests": requests,
    })
}

/// The same in /metrics.
pub fn metrics(page: &mut Page, store: Option<&Store>, sums: &Sums) {
    let Some(store) = store else { return };
    let mut family = page.counter("tidegate_gateway_cache_requests_total", "Requests by what the cache did with them.");
    for (word, sum) in WORDS.iter().zip(sums.0).take(REQUESTS) {
        family.labels(&[("result", word)], sum);
    }
    let figures = store.figures();
    let counters = [
        (
            "tidegate_gateway_cache_revalidated_total",
            "Stored responses that an endpoint said still hold.",
            sums.0[REQUESTS],
        ),
        (
            "tidegate_gateway_cache_refreshed_total",
            "Fetches in the background for stale responses.",
            sums.0[REQUESTS + 1],
        ),
        ("tidegate_gateway_cache_evicted_total", "Stored responses that others displaced.", figures.evicted),
        (
            "tidegate_gateway_cache_invalidated_total",
            "Purges, and changes that made stored responses void.",
            figures.invalidated,
        ),
    ];
    for (name, help, sum) in counters {
        page.counter(name, help).value(sum);
    }
    let gauges = [
        ("tidegate_gateway_cache_bytes", "Bytes stored.", figures.bytes),
        ("tidegate_gateway_cache_objects", "Entries stored.", figures.objects),
        ("tidegate_gateway_cache_fetching", "Fetches under way.", figures.fetching),
        ("tidegate_gateway_cache_fetching_bytes", "Bytes of bodies that come in.", figures.fetching_bytes),
        ("tidegate_gateway_cache_waiting", "Requests that wait for another's fetch.", figures.waiting),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help).value(value);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Purge {
    Url(String),
    Prefix(String),
    Tag(String),
    All(bool),
}

/// Forgets what the body says; how many objects that were, or what is wrong with the body.
pub async fn purge(store: Option<&Store>, body: &[u8]) -> Result<u64, String> {
    let how = "give {\"url\": \"http://..\"}, {\"prefix\": \"http://..\"}, {\"tag\": \"..\"} or {\"all\": true}";
    let purge: Purge =
        serde_json::from_slice(body).map_err(|error| format!("the body can't be understood: {error}; {how}"))?;
    let Some(store) = store else { return Err("no route has a cache".to_owned()) };
    let whole = |url: &str| Named::read(url).ok_or_else(|| format!("'{url}' is no whole URL; {how}"));
    Ok(match purge {
        Purge::Url(url) => {
            let named = whole(&url)?;
            store.purge(|key, _| named.is_at(key)).await
        }
        Purge::Prefix(prefix) => {
            let named = whole(&prefix)?;
            store.purge(|key, _| named.is_above(key)).await
        }
        Purge::Tag(tag) => {
            let has = |what: What<'_>| match what {
                What::Object(object) => has_tag(object, tag.as_bytes()),
                What::Mark => false,
                // Its tags aren't known yet.
                What::Flight => true,
            };
            store.purge(|_, what| has(what)).await
        }
        Purge::All(true) => store.purge(|_, _| true).await,
        Purge::All(false) => return Err(how.to_owned()),
    })
}

/// Tags as others have them: `Surrogate-Key` with blanks between, `Cache-Tag` with commas.
fn has_tag(object: &Object, tag: &[u8]) -> bool {
    ["surrogate-key", "cache-tag"].into_iter().any(|name| {
        let mut tags =
            lines(&object.head.headers, name).flat_map(|line| line.split(|byte| matches!(byte, b' ' | b',')));
        tags.any(|there| there == tag)
    })
}
