//! The cache: what a request finds stored, whom it waits for, and what becomes of it else. The rules are the core's.
//!
//! A request to a route with a cache is answered from what is stored, or joins the flight that fetches it, or begins one ([`fetch`]),
//! or passes by as if there were no cache: other methods, conditions that only the origin can answer, parts of what isn't stored, and
//! for a while whatever turned out not to be for the cache, so that nobody waits in line for what he can't share. Those who wait take
//! no place of the service's, and go by their own deadlines.
//!
//! Reading order: [`key`], [`object`], [`store`], [`flight`] and [`fill`], [`fetch`], [`sent`]; [`page`] for operators.

mod fetch;
mod fill;
mod flight;
mod key;
mod object;
pub mod page;
mod sent;
mod store;

use super::exchange::{WAIT_MAX, Way, bounded, deadline_of};
use super::headers;
use super::lane::{Lane, Table};
use super::record::Record;
use super::refusal::{Code, Refusal};
use super::route::Route;
use super::upstream::add;
use super::watch::Phase;
use fetch::{Fetch, Lead};
use flight::{Flight, Outcome};
use gateway::Class;
use gateway::cache::{Request as Asked, Rules, Use, origin};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LOCATION, HOST, HeaderMap, HeaderValue, LOCATION, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use object::{CACHE_STATUS, Head, Kept, Object, Serving, fields, lines, respond};
pub use sent::Sent;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use store::{Found, Joined, Place, Waiting};
pub use store::{Limits, Store};
use tokio::sync::oneshot;

/// What a lane counts of it.
#[derive(Debug, Default)]
pub struct Counts {
    pub hits: Cell<u64>,
    pub stale: Cell<u64>,
    pub misses: Cell<u64>,
    pub expired: Cell<u64>,
    pub revalidated: Cell<u64>,
    pub coalesced: Cell<u64>,
    pub refreshed: Cell<u64>,
    pub passed: Cell<u64>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Consulted {
    Answered(Response<()>, Box<Sent>),
    Passes(Box<Passing>),
}

/// A request that goes by the cache.
#[derive(Debug)]
pub struct Passing {
    pub parts: Parts,
    pub body: Option<Incoming>,
    /// For `Cache-Status`.
    told: Option<&'static str>,
    /// What it changes, if it does.
    change: Option<Change>,
}

#[derive(Debug)]
struct Change {
    store: Arc<Store>,
    table: Rc<Table>,
    key: Vec<u8>,
    /// Scheme and host.
    origin: (&'static str, String),
}

/// Why something is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    Uri,
    Vary,
    Stale,
    /// The client wants it validated.
    Request,
}

impl Missed {
    fn stored(self) -> &'static str {
        match self {
            Self::Uri => "tidegate; fwd=uri-miss; stored",
            Self::Vary => "tidegate; fwd=vary-miss; stored",
            Self::Stale => "tidegate; fwd=stale; stored",
            Self::Request => "tidegate; fwd=request; stored",
        }
    }

    fn collapsed(self) -> &'static str {
        match self {
            Self::Uri => "tidegate; fwd=uri-miss; collapsed",
            Self::Vary => "tidegate; fwd=vary-miss; collapsed",
            Self::Stale => "tidegate; fwd=stale; collapsed",
            Self::Request => "tidegate; fwd=request; collapsed",
        }
    }
}

const HIT: &str = "tidegate; hit";
const STALE: &str = "tidegate; hit; detail=stale";
const REFRESHING: &str = "tidegate; hit; detail=stale-while-revalidate";
const PASSED: &str = "tidegate; fwd=bypass";
const METHOD: &str = "tidegate; fwd=method";
const MISSED: &str = "tidegate; fwd=miss";

/// How often a request looks again before it passes by.
const LOOKS_MAX: u32 = 4;

/// Looks what the cache has for a request. What it can't answer passes by.
pub async fn consult(
    way: &Way<'_>,
    route: &Route,
    parts: Parts,
    body: Incoming,
    record: &Record,
) -> Result<Consulted, Refusal> {
    let body = Some(body).filter(|body| !body.is_end_stream());
    let mut passing = Passing { parts, body, told: None, change: None };
    let Some(store) = &way.table.config.cache else { return Ok(passing.pass(None)) };
    let changes = !matches!(passing.parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if !changes && route.cache.is_none() {
        return Ok(passing.pass(None));
    }
    let key = key::of(way.call, &passing.parts, &way.upstream.plan.name);
    let (Some(key), parts) = (key, &passing.parts) else { return Ok(passing.pass(None)) };
    if changes {
        passing.change = Some(Change::new(way, parts, store.clone(), key));
        return Ok(passing.pass(route.cache.map(|_| METHOD)));
    }
    let Some(rules) = route.cache else { return Ok(passing.pass(None)) };
    let mut asked = Asked::read(fields(&parts.headers));
    asked.authorized |= way.call.told().has_identity(&parts.headers);
    let readable = matches!(parts.method, Method::GET | Method::HEAD) && passing.body.is_none();
    let odd = parts.headers.contains_key(UPGRADE) || headers::names_others(&parts.headers);
    if !readable || asked.strict || asked.wanted.no_store || odd {
        return Ok(passing.pass(Some(PASSED)));
    }
    let look = Look { way, store, key, rules, asked, parts, record };
    let told = match look.run().await? {
        Ok((response, sent)) => return Ok(Consulted::Answered(response, Box::new(sent))),
        Err(told) => told,
    };
    add(&way.lane.cache.passed, 1);
    record.set_cache("pass");
    Ok(passing.pass(Some(told)))
}

impl Passing {
    fn pass(mut self, told: Option<&'static str>) -> Consulted {
        self.told = told;
        Consulted::Passes(Box::new(self))
    }
}

/// What a request that goes by the cache tells it by its response.
#[derive(Debug, Default)]
pub struct Passed {
    told: Option<&'static str>,
    change: Option<Change>,
}

impl Passing {
    pub fn into_parts(self) -> (Parts, Option<Incoming>, Passed) {
        (self.parts, self.body, Passed { told: self.told, change: self.change })
    }
}

impl Passed {
    pub fn on_answer(self, response: &mut Response<()>) {
        if let Some(told) = self.told {
            response.headers_mut().append(CACHE_STATUS, HeaderValue::from_static(told));
        }
        // RFC 9111, 4.4.
        let done = response.status().is_success() || response.status().is_redirection();
        if let Some(change) = self.change.filter(|_| done) {
            change.invalidate(response.headers());
        }
    }
}

impl Change {
    fn new(way: &Way<'_>, parts: &Parts, store: Arc<Store>, key: Vec<u8>) -> Self {
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (table, origin) = (way.table.clone(), (way.call.scheme(), host.to_owned()));
        Self { store, table, key, origin }
    }

    /// What is at the URL has changed, whichever service answers for it.
    fn invalidate(&self, headers: &HeaderMap) {
        let own = key::url_of(&self.key);
        self.invalidate_at(own);
        for name in [LOCATION, CONTENT_LOCATION] {
            let location = headers.get(name).and_then(|value| value.to_str().ok());
            let url = location.and_then(|location| origin::same_origin(self.origin.0, &self.origin.1, location));
            if let Some(url) = url {
                self.invalidate_at(url.as_bytes());
            }
        }
    }

    fn invalidate_at(&self, url: &[u8]) {
        let services = self.table.upstreams.iter().map(|upstream| upstream.plan.name.as_str());
        services.for_each(|service| self.store.invalidate(&key::of_service(&self.key, url, service)));
    }
}

type Answer = (Response<()>, Sent);

/// What came of another's fetch.
enum Followed {
    Answer(Box<Answer>),
    /// It has to ask for itself.
    Alone,
    Again,
    /// It goes on with it.
    Lead,
}

/// A request that looks.
struct Look<'a> {
    way: &'a Way<'a>,
    store: &'a Arc<Store>,
    key: Vec<u8>,
    rules: Rules,
    asked: Asked,
    parts: &'a Parts,
    record: &'a Record,
}

impl Look<'_> {
    /// The answer, or how it is told that there is none here.
    async fn run(&self) -> Result<Result<Answer, &'static str>, Refusal> {
        let mut looks = 0;
        while looks < LOOKS_MAX {
            looks += 1;
            let now = crate::clock::boot();
            let found = self.store.find(&self.key, &self.parts.headers, self.asked.authorized, now);
            let stale = match found {
                Found::Pass if !self.asked.wanted.only_if_cached => break,
                Found::Pass => None,
                Found::Nothing => None,
                Found::Object(object) => match self.use_of(&object, now) {
                    Use::Validate => Some(object),
                    usable => return Ok(Ok(self.hit(&object, usable, now))),
                },
            };
            if self.asked.wanted.only_if_cached {
                return Err(Refusal::of(Code::OnlyIfCached));
            }
            // What isn't stored isn't fetched as a whole for who wants its head, or a part; nor is what is there asked for with
            // credentials or cookies, if the answer couldn't take its place.
            if self.asked.range
                || self.parts.method == Method::HEAD
                || stale.as_ref().is_some_and(|one| !self.may_renew(one))
            {
                return Ok(Err(MISSED));
            }
            let place = self.store.place(&self.key, &self.parts.headers, self.asked.authorized);
            let done = match self.store.join(&place, stale.as_ref(), &self.parts.headers, now) {
                Joined::Look => None,
                Joined::Leader(waiting) => {
                    let flight = waiting.flight();
                    self.lead(place, flight, stale).await?
                }
                // It would only learn that it has to ask for itself.
                Joined::Member(waiting)
                    if stale.as_ref().is_some_and(|one| !one.head.freshness.may_be_for_others()) =>
                {
                    drop(waiting);
                    self.lead(place, Flight::new(false), stale).await?
                }
                Joined::Member(waiting) => match self.follow(&waiting).await? {
                    Followed::Answer(answer) => Some(*answer),
                    Followed::Alone => break,
                    Followed::Again => None,
                    Followed::Lead => self.lead(place, waiting.flight(), stale).await?,
                },
            };
            if let Some(answer) = done {
                return Ok(Ok(answer));
            }
        }
        Ok(Err(PASSED))
    }

    fn may_renew(&self, object: &Object) -> bool {
        let freshness = &object.head.freshness;
        (!self.asked.authorized || freshness.is_for_all()) && (!self.asked.cookies || freshness.is_for_cookies())
    }

    fn use_of(&self, object: &Object, now: base::Instant) -> Use {
        let freshness = &object.head.freshness;
        match freshness.of_use(&self.asked.wanted, now) {
            // The endpoints failed just now: they aren't asked again at once.
            Use::Validate if !object.may_be_refreshed(now) && freshness.stands_for_error(now) => Use::Stale,
            usable => usable,
        }
    }

    fn hit(&self, object: &Arc<Object>, usable: Use, now: base::Instant) -> Answer {
        let counts = &self.way.lane.cache;
        let (count, word, told) = match usable {
            Use::Fresh => (&counts.hits, "hit", HIT),
            Use::StaleWhileRevalidate => {
                self.refresh(object, now);
                (&counts.stale, "stale", REFRESHING)
            }
            _ => (&counts.stale, "stale", STALE),
        };
        add(count, 1);
        self.record.set_cache(word);
        self.answer(&object.head, Kept::Whole(object.body.clone()), None, told)
    }

    fn answer(&self, head: &Head, kept: Kept, rest: Option<fill::Rest>, told: &'static str) -> Answer {
        let (response, from) = respond(head, kept, rest, (&self.parts.method, &self.parts.headers), told);
        (response, Sent::new(from, self.way.call.watch.clone(), self.way.upstream.plan.times.download))
    }

    /// Has it fetched anew for those who come later, unless somebody has, or has failed at it just now.
    fn refresh(&self, object: &Arc<Object>, now: base::Instant) {
        if !object.may_be_refreshed(now) || !self.may_renew(object) {
            return;
        }
        let place = self.store.place(&self.key, &self.parts.headers, self.asked.authorized);
        if let Some(flight) = self.store.begin_in_background(&place) {
            add(&self.way.lane.cache.refreshed, 1);
            let mut fetch = self.fetch(place, flight, Some(object.clone()));
            (fetch.class, fetch.notes) = (Class::BACKGROUND, super::record::Notes::default());
            tokio::task::spawn_local(fetch.run(None));
        }
    }

    fn fetch(&self, place: Place, flight: Arc<Flight>, stale: Option<Arc<Object>>) -> Fetch {
        let missed = match &stale {
            Some(stale) if stale.head.freshness.is_for_others(crate::clock::boot()) => Missed::Request,
            Some(_) => Missed::Stale,
            None if place.varies() => Missed::Vary,
            None => Missed::Uri,
        };
        Fetch {
            lane: self.way.lane.clone(),
            table: self.way.table.clone(),
            upstream: self.way.upstream.clone(),
            class: self.way.class,
            call: self.way.call.clone(),
            uri: self.parts.uri.clone(),
            headers: self.parts.headers.clone(),
            asked: self.asked,
            rules: self.rules,
            store: self.store.clone(),
            place,
            flight,
            stale,
            missed,
            notes: self.record.notes(),
            handed_on: Cell::new(false),
        }
    }

    /// Fetches it for all; nothing if that came to nothing, and it is to look again.
    async fn lead(
        &self,
        place: Place,
        flight: Arc<Flight>,
        stale: Option<Arc<Object>>,
    ) -> Result<Option<Answer>, Refusal> {
        let counts = &self.way.lane.cache;
        let (count, word) = if stale.is_some() { (&counts.expired, "expired") } else { (&counts.misses, "miss") };
        add(count, 1);
        self.record.set_cache(word);
        let (leader, lead) = oneshot::channel();
        tokio::task::spawn_local(self.fetch(place, flight, stale).run(Some(leader)));
        let lead = self.wait(lead).await?;
        Ok(match lead {
            Ok(Lead::Served(serving, told)) => Some(self.answer(&serving.head, serving.body.clone(), None, told)),
            Ok(Lead::Coming(head, fill, rest, told)) => {
                Some(self.answer(&head, Kept::Coming(fill, None), Some(rest), told))
            }
            Ok(Lead::Passed(mut response, download)) => {
                response.headers_mut().append(CACHE_STATUS, HeaderValue::from_static(MISSED));
                let (watch, time) = (self.way.call.watch.clone(), self.way.upstream.plan.times.download);
                Some((response, Sent::new(sent::From::Passed(download), watch, time)))
            }
            Ok(Lead::Refused(refusal)) => return Err(refusal),
            Ok(Lead::Again) | Err(_) => None,
        })
    }

    /// Waits for another's fetch.
    async fn follow(&self, waiting: &Waiting) -> Result<Followed, Refusal> {
        Ok(match self.wait(waiting.outcome()).await? {
            Outcome::Served(serving) => {
                self.share(&serving).map_or(Followed::Again, |answer| Followed::Answer(Box::new(answer)))
            }
            Outcome::Refused(refusal) => return Err(refusal),
            Outcome::AloneWithCookies if !self.asked.cookies => Followed::Again,
            Outcome::Alone | Outcome::AloneWithCookies => Followed::Alone,
            Outcome::Again => Followed::Again,
            Outcome::Lead => Followed::Lead,
        })
    }

    /// What another fetched, if it is for this one too.
    fn share(&self, serving: &Serving) -> Option<Answer> {
        let selector = serving.head.vary.selector(|name| lines(&self.parts.headers, name));
        let fresh = serving.whatever || serving.head.freshness.is_for_others(crate::clock::boot());
        if selector != serving.selector || !fresh {
            return None;
        }
        add(&self.way.lane.cache.coalesced, 1);
        self.record.set_cache("coalesced");
        Some(self.answer(&serving.head, serving.body.clone(), None, serving.told))
    }

    async fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, Refusal> {
        let (watch, upstream) = (&self.way.call.watch, self.way.upstream);
        let (deadline, _) = deadline_of(&self.parts.headers, upstream, self.record.begun());
        watch.set_deadline(deadline);
        watch.begin(Phase::Waiting, crate::clock::boot(), WAIT_MAX);
        bounded(watch, what).await.map_err(|_| Refusal::at(Code::Deadline, &upstream.plan.name))
    }
}
