//! What is stored, and who fetches what: one table for the whole process, since "one request to the endpoint" is meant of all lanes.
//!
//! The objects stand in a sharded table bounded by bytes, whose policy is S3-FIFO's: what is asked for once leaves before what is
//! asked for again, so a crawler doesn't empty it. A look is a shared lock of one shard. Flights stand behind one lock, which only
//! those who found nothing take; whoever has it looks again, so that nobody begins a second fetch of what has just come.
//!
//! A resource whose responses vary has a mark in the place of its object, with the names that they vary by; the objects stand under
//! its number and what the requests have in those headers. A new number forgets them all.

use super::fill::Room;
use super::flight::{Flight, Member, Outcome};
use super::object::{Object, lines};
use base::Instant;
use gateway::cache::Vary;
use hyper::header::{COOKIE, HeaderMap};
use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Debug)]
pub struct Store {
    pub limits: Limits,
    table: Cache<Arc<[u8]>, Held, Weigh, Seeded, Evictions>,
    flights: Mutex<Flights>,
    /// Of marks; and changes that forgot something.
    numbers: AtomicU64,
    changes: AtomicU64,
    pub room: Arc<Room>,
    evicted: Arc<AtomicU64>,
    /// Requests that wait for another's fetch.
    pub waiting: AtomicU64,
}

/// How much may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes_max: u64,
    pub object_bytes_max: u64,
}

type Flights = HashMap<Arc<[u8]>, Vec<(Which, Arc<Flight>)>>;

/// Requests with credentials are apart: what comes of them may not be for the others, and says nothing of what they get.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Which {
    object: Arc<[u8]>,
    authorized: bool,
}

#[derive(Clone, Debug)]
enum Held {
    Object(Arc<Object>),
    Varies(Arc<Mark>),
    /// What was fetched last wasn't for the cache: each asks for himself until then.
    Pass(Instant),
}

#[derive(Debug)]
struct Mark {
    number: u64,
    vary: Vary,
}

/// Where a request's object stands, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    resource: Arc<[u8]>,
    object: Arc<[u8]>,
    authorized: bool,
}

/// Whom a flight's outcome speaks for, if it wasn't for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Nobody,
    /// All who go by the same place.
    All,
    /// Those of them who have cookies.
    Cookies,
}

/// What is known for a request.
#[derive(Debug)]
pub enum Found {
    Object(Arc<Object>),
    Pass,
    Nothing,
}

/// What a request does that found nothing of use.
#[derive(Debug)]
pub enum Joined {
    /// It waits.
    Member(Waiting),
    /// It fetches, and is the first member.
    Leader(Waiting),
    /// Something has changed: it looks again.
    Look,
}

/// A member of a flight; its end looks after those that nobody wants.
#[derive(Debug)]
pub struct Waiting {
    store: Arc<Store>,
    place: Place,
    /// None only while it is dropped.
    member: Option<Member>,
}

/// How long those who ask for what isn't for the cache don't wait for each other.
const PASS_MS: u64 = 10_000;
/// Of the cache's memory, what comes in may take this part.
const ROOM_PART: u64 = 2;
const SHARDS_MAX: u64 = 16;
/// What has been asked for once has this part of the memory; a shard's must hold some of the largest objects, or whatever comes displaces
/// what is asked for often.
const ON_TRIAL: f64 = 0.1;
const OBJECTS_OF_SHARD: u64 = 16;
/// The table is laid out for objects of this size at first; it grows where they are smaller.
const OBJECT_BYTES_USUAL: u64 = 16 * 1024;

/// A purge looks at so many entries at a time.
const SLICE: u64 = 1_000;

/// Under what a resource's responses stand.
enum Marked {
    /// There is one for all.
    One,
    By(Arc<Mark>),
    /// There are as many as requests.
    AsMany,
}

impl Store {
    pub fn new(limits: Limits, seed: u64) -> Arc<Self> {
        let evicted = Arc::<AtomicU64>::default();
        let shards = (limits.bytes_max / limits.object_bytes_max.max(1) / OBJECTS_OF_SHARD).clamp(1, SHARDS_MAX);
        let shards = if shards.is_power_of_two() { shards } else { shards.next_power_of_two() / 2 };
        let items = (limits.bytes_max / OBJECT_BYTES_USUAL).max(32 * shards);
        let small = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options
            .hot_allocation(1.0 - ON_TRIAL)
            .shards(small(shards))
            .weight_capacity(limits.bytes_max)
            .estimated_items_capacity(small(items));
        let options = options.build().expect("all that it needs is given");
        let table = Cache::with_options(options, Weigh, Seeded(seed), Evictions(evicted.clone()));
        Arc::new(Self {
            limits,
            table,
            flights: Mutex::default(),
            numbers: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            room: Room::new(limits.bytes_max / ROOM_PART),
            evicted,
            waiting: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known under `key` for a request with these headers.
    pub fn find(&self, key: &[u8], headers: &HeaderMap, authorized: bool, now: Instant) -> Found {
        let held = match self.table.get(key) {
            Some(Held::Varies(mark)) => self.table.get(&*variant(key, &mark, headers)),
            held => held,
        };
        match held {
            Some(Held::Object(object)) => Found::Object(object),
            Some(Held::Pass(until)) if now < until => Found::Pass,
            _ if authorized && self.passes(&self.place(key, headers, true).pass_key(), now) => Found::Pass,
            _ if headers.contains_key(COOKIE)
                && self.passes(&self.place(key, headers, authorized).cookie_key(), now) =>
            {
                Found::Pass
            }
            _ => Found::Nothing,
        }
    }

    /// Where its object stands, or would.
    pub fn place(&self, key: &[u8], headers: &HeaderMap, authorized: bool) -> Place {
        let resource: Arc<[u8]> = key.into();
        let object = match self.table.get(key) {
            Some(Held::Varies(mark)) => variant(key, &mark, headers),
            _ => resource.clone(),
        };
        Place { resource, object, authorized }
    }

    fn passes(&self, key: &[u8], now: Instant) -> bool {
        matches!(self.table.get(key), Some(Held::Pass(until)) if now < until)
    }

    /// Begins a fetch, or joins the one that is under way, if all is still as it was found.
    pub fn join(
        self: &Arc<Self>,
        place: &Place,
        found: Option<&Arc<Object>>,
        headers: &HeaderMap,
        now: Instant,
    ) -> Joined {
        let mut flights = self.lock();
        let same = match self.find(&place.resource, headers, place.authorized, now) {
            Found::Object(object) => found.is_some_and(|found| Arc::ptr_eq(found, &object)),
            Found::Nothing => found.is_none(),
            Found::Pass => false,
        };
        if !same || *place != self.place(&place.resource, headers, place.authorized) {
            return Joined::Look;
        }
        let which = place.which();
        let here = flights.entry(place.resource.clone()).or_default();
        let there = here.iter().find(|(other, _)| *other == which).map(|(_, flight)| flight.clone());
        let leads = there.is_none();
        let flight = there.unwrap_or_else(|| {
            let flight = Flight::new(false);
            here.push((which, flight.clone()));
            flight
        });
        let waiting = Waiting { store: self.clone(), place: place.clone(), member: Some(flight.join()) };
        drop(flights);
        if leads { Joined::Leader(waiting) } else { Joined::Member(waiting) }
    }

    /// A flight that nobody waits for, unless there is one.
    pub fn begin_in_background(&self, place: &Place) -> Option<Arc<Flight>> {
        let mut flights = self.lock();
        let (which, here) = (place.which(), flights.entry(place.resource.clone()).or_default());
        if here.iter().any(|(other, _)| *other == which) {
            return None;
        }
        let flight = Flight::new(true);
        here.push((which, flight.clone()));
        Some(flight)
    }

    /// Stores what a flight brought, unless it was forgotten meanwhile; ends the flight.
    pub fn keep(&self, place: &Place, flight: &Arc<Flight>, object: Arc<Object>, headers: &HeaderMap) {
        let mut flights = self.lock();
        if unlist(&mut flights, place, flight) {
            self.put(place, object, headers);
        }
    }

    /// The same of one that was `stale` and holds, if that is still there: else it was purged meanwhile, and its body doesn't come back.
    pub fn renew(
        &self,
        place: &Place,
        flight: &Arc<Flight>,
        stale: &Arc<Object>,
        (object, headers): (Arc<Object>, &HeaderMap),
    ) {
        let mut flights = self.lock();
        let stands = matches!(self.table.get(&*place.object), Some(Held::Object(there)) if Arc::ptr_eq(&there, stale));
        if unlist(&mut flights, place, flight) && stands {
            self.put(place, object, headers);
        }
    }

    /// Where the resource varies, or has varied, the object stands under what all its responses so far vary by.
    fn put(&self, place: &Place, object: Arc<Object>, headers: &HeaderMap) {
        match self.mark(place, &object.head.vary) {
            Marked::AsMany => {}
            Marked::One => self.table.insert(place.resource.clone(), Held::Object(object)),
            Marked::By(mark) => self.table.insert(variant(&place.resource, &mark, headers), Held::Object(object)),
        }
    }

    /// A response that is on its way varies: who wants another variant than its own waits for it no more.
    pub fn will_vary(&self, place: &Place, vary: &Vary) {
        let flights = self.lock();
        // What stands there stays until there is something to put in its place.
        let stands = matches!(self.table.get(&*place.resource), Some(Held::Object(_)));
        if !stands && !vary.names().is_empty() {
            self.mark(place, vary);
        }
        drop(flights);
    }

    /// Notes what a resource varies by, beside what it has varied by.
    fn mark(&self, place: &Place, vary: &Vary) -> Marked {
        let mark = match self.table.get(&*place.resource) {
            Some(Held::Varies(mark)) => Some(mark),
            _ => None,
        };
        let both = mark.as_ref().map_or_else(|| vary.clone(), |mark| mark.vary.with(vary));
        if both.is_all() {
            return Marked::AsMany;
        }
        if both.names().is_empty() {
            return Marked::One;
        }
        Marked::By(mark.filter(|mark| mark.vary == both).unwrap_or_else(|| {
            let mark = Arc::new(Mark { number: self.numbers.fetch_add(1, Ordering::Relaxed), vary: both });
            self.table.insert(place.resource.clone(), Held::Varies(mark.clone()));
            mark
        }))
    }

    /// What a flight brought isn't for the cache. For a while, those for whom that would end the same way wait for nobody who fetches
    /// it next. An object that is of use to others stays: one client's answer says nothing against it.
    pub fn pass(&self, place: &Place, flight: &Arc<Flight>, whose: Whose, now: Instant) {
        let mut flights = self.lock();
        if !unlist(&mut flights, place, flight) {
            return;
        }
        let key = match whose {
            Whose::Nobody => return,
            Whose::All => place.pass_key(),
            Whose::Cookies => place.cookie_key(),
        };
        let stays = match self.table.get(&*key) {
            Some(Held::Object(object)) => object.head.freshness.is_for_others(now),
            Some(Held::Varies(_)) => true,
            Some(Held::Pass(_)) | None => false,
        };
        if !stays {
            self.table.insert(key, Held::Pass(now.plus_ms(PASS_MS)));
        }
    }

    /// What stood there doesn't hold any more.
    pub fn forget(&self, place: &Place) {
        self.table.remove(&*place.object);
    }

    /// A flight ends that changes nothing.
    pub fn end(&self, place: &Place, flight: &Arc<Flight>) {
        unlist(&mut self.lock(), place, flight);
    }

    /// A resource was changed: what is stored of it, and what comes in just now, may be what it was before.
    pub fn invalidate(&self, key: &[u8]) {
        let mut flights = self.lock();
        self.changes.fetch_add(1, Ordering::Relaxed);
        flights.remove(key);
        self.table.remove(key);
    }

    /// Forgets all of which `which` says so, by its key and its object; how many objects that were.
    ///
    /// What is on its way is taken off the list at once, so that nothing comes in behind it that is older than the purge. Then the table
    /// is gone through, one entry under one shard's lock at a time, and every [`SLICE`] of them others on this thread have their turn:
    /// no lane waits longer than for a look at the flights under way, or for one entry. An entry goes under the flights' lock, so that what is
    /// being renewed is either gone by then or found here in its place.
    pub async fn purge(&self, which: impl Fn(&[u8], What<'_>) -> bool) -> u64 {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.lock().retain(|key, _| !which(key, What::Flight));
        let mut purged = 0;
        for (number, (key, held)) in (1..).zip(self.table.iter()) {
            if which(&key, held.what()) {
                let _flights = self.lock();
                // It may be another by now.
                let gone = self.table.remove_if(&*key, |held| which(&key, held.what()));
                purged += u64::from(matches!(gone, Some((_, Held::Object(_)))));
            }
            if number % SLICE == 0 {
                tokio::task::yield_now().await;
            }
        }
        purged
    }

    /// Bytes and entries that are stored, those that were displaced, fetches under way.
    pub fn figures(&self) -> Figures {
        Figures {
            bytes: self.table.weight(),
            objects: self.table.len() as u64,
            evicted: self.evicted.load(Ordering::Relaxed),
            invalidated: self.changes.load(Ordering::Relaxed),
            fetching: self.lock().values().map(Vec::len).sum::<usize>() as u64,
            fetching_bytes: self.room.taken(),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

/// What may be purged.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Object(&'a Object),
    /// A word about a resource, not a response.
    Mark,
    /// What is on its way.
    Flight,
}

impl Held {
    fn what(&self) -> What<'_> {
        match self {
            Self::Object(object) => What::Object(object),
            Self::Varies(_) | Self::Pass(_) => What::Mark,
        }
    }
}

/// How a store stands.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub bytes: u64,
    pub objects: u64,
    pub evicted: u64,
    pub invalidated: u64,
    pub fetching: u64,
    pub fetching_bytes: u64,
    pub waiting: u64,
}

/// False if the flight was taken from the list by somebody else.
fn unlist(flights: &mut Flights, place: &Place, flight: &Arc<Flight>) -> bool {
    let Some(here) = flights.get_mut(&place.resource) else { return false };
    let before = here.len();
    here.retain(|(_, other)| !Arc::ptr_eq(other, flight));
    let (found, empty) = (here.len() < before, here.is_empty());
    if empty {
        flights.remove(&place.resource);
    }
    found
}

/// Where the object of a variant stands.
fn variant(resource: &[u8], mark: &Mark, headers: &HeaderMap) -> Arc<[u8]> {
    let selector = mark.vary.selector(|name| lines(headers, name));
    [resource, b"\0", &mark.number.to_le_bytes(), &selector].concat().into()
}

impl Place {
    /// Its resource has more than one response.
    pub fn varies(&self) -> bool {
        self.resource != self.object
    }

    fn which(&self) -> Which {
        Which { object: self.object.clone(), authorized: self.authorized }
    }

    fn pass_key(&self) -> Arc<[u8]> {
        if self.authorized { [&*self.object, b"\0authorized"].concat().into() } else { self.object.clone() }
    }

    fn cookie_key(&self) -> Arc<[u8]> {
        [&*self.pass_key(), b"\0cookies"].concat().into()
    }
}

impl Waiting {
    fn member(&self) -> &Member {
        self.member.as_ref().expect("it is taken by its drop alone")
    }

    pub fn flight(&self) -> Arc<Flight> {
        self.member().flight().clone()
    }

    pub async fn outcome(&self) -> Outcome {
        self.store.waiting.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(&self.store.waiting);
        self.member().await
    }
}

struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(member) = self.member.take() else { return };
        let flight = member.flight().clone();
        drop(member);
        if flight.is_told() {
            return;
        }
        let mut flights = self.store.lock();
        if flight.abandon() {
            unlist(&mut flights, &self.place, &flight);
        }
    }
}

#[derive(Clone, Debug)]
struct Weigh;

impl Weighter<Arc<[u8]>, Held> for Weigh {
    fn weight(&self, key: &Arc<[u8]>, held: &Held) -> u64 {
        let value = match held {
            Held::Object(object) => object.head.bytes() + object.body.len() as u64,
            Held::Varies(mark) => 128 + mark.vary.names().iter().map(|name| name.len() as u64 + 32).sum::<u64>(),
            Held::Pass(_) => 0,
        };
        key.len() as u64 + value + 64
    }
}

/// Seeded, so that nobody can choose keys that meet in one shard.
#[derive(Clone, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.0.rotate_left(32))
    }
}

#[derive(Clone, Debug)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Arc<[u8]>, Held> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Arc<[u8]>, _: Held) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::Head;
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn object() -> Arc<Object> {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", "max-age=60".parse().expect("a value"));
        let arrival = gateway::cache::Arrival { at: Instant(1), wall_s: 0, delay_ms: 0 };
        let head = Head::new(hyper::StatusCode::OK, &headers, &Default::default(), &Default::default(), arrival);
        Object::new(Arc::new(head.expect("it may be stored")), bytes::Bytes::new())
    }

    #[test]
    fn a_purge_holds_nobody_up() {
        const OBJECTS: u64 = 100_000;
        let limits = Limits { bytes_max: 1 << 30, object_bytes_max: 1 << 20 };
        let (store, object, none) = (Store::new(limits, 1), object(), HeaderMap::new());
        let key = |number: u64| format!("http://a.test/{number}\nshop\n").into_bytes();
        for number in 0..OBJECTS {
            store.table.insert(key(number).into(), Held::Object(object.clone()));
        }
        let under_way = store.place(&key(OBJECTS), &none, false);
        let flight = store.begin_in_background(&under_way).expect("there is none");
        let of_purge = |key: &[u8], what: What<'_>| key.ends_with(b"7\nshop\n") || matches!(what, What::Flight);
        let mut purge = std::pin::pin!(store.purge(of_purge));
        let (mut turns, mut others) = (0, 0);
        let purged = loop {
            match purge.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(purged) => break purged,
                Poll::Pending => turns += 1,
            }
            assert!(store.flights.try_lock().is_ok(), "nobody who begins a fetch waits for more than an entry");
            // What comes meanwhile is neither lost nor in the way.
            others += u64::from(matches!(store.find(&key(turns), &none, false, Instant(2)), Found::Object(_)));
            store.table.insert(key(OBJECTS + turns).into(), Held::Object(object.clone()));
        };
        assert_eq!((turns, others > 80), (OBJECTS / SLICE, true));
        assert!((OBJECTS / 10..=OBJECTS / 10 + turns).contains(&purged), "{purged}");
        assert!((0..OBJECTS).all(|number| {
            let there = matches!(store.find(&key(number), &none, false, Instant(2)), Found::Object(_));
            there == (number % 10 != 7)
        }));
        store.keep(&under_way, &flight, object, &none);
        assert!(matches!(store.find(&key(OBJECTS), &none, false, Instant(2)), Found::Nothing), "it began before");
    }

    #[test]
    fn what_is_renewed_while_it_is_purged_does_not_come_back() {
        let store = Store::new(Limits { bytes_max: 1 << 20, object_bytes_max: 1 << 20 }, 1);
        let (key, none) = (b"http://a.test/\nshop\n", HeaderMap::new());
        for purged in [false, true] {
            let (stale, place) = (object(), store.place(key, &none, false));
            store.table.insert(place.object.clone(), Held::Object(stale.clone()));
            let flight = store.begin_in_background(&place).expect("there is none");
            if purged {
                store.table.remove(&*place.object);
            }
            store.renew(&place, &flight, &stale, (object(), &none));
            assert_eq!(store.table.get(&*place.object).is_some(), !purged);
        }
    }
}
