//! The gateway's cache before an origin that changes, in virtual time: the rules of `gateway::cache` with a store that forgets nothing.
//!
//! An origin knows of each of its answers when it was made, for whom, and for which language. Other caches may stand between, so that an
//! answer comes old and says so. Clients with and without credentials ask for what some of them may not see. Each answer from the
//! store is held against what the origin knows.

use crate::tally::Tally;
use base::Instant;
use base::rng::Rng;
use gateway::cache::{Arrival, Freshness, Request, Response, Rules, Use, Vary, date, store};
use std::collections::BTreeMap;

/// What the origin knows of an answer.
#[derive(Clone, Copy, Debug)]
struct Made {
    at_s: u64,
    /// Whose it is, if it isn't for all.
    owner: Option<u64>,
    /// Which language it is in, if there are several.
    language: Option<u64>,
    lifetime_s: u64,
    /// How long it may be used behind that, by whoever takes it.
    grace_s: u64,
}

struct Stored {
    freshness: Freshness,
    made: Made,
}

struct World {
    rng: Rng,
    now_s: u64,
    varies: BTreeMap<u64, Vary>,
    stored: BTreeMap<(u64, Vec<u8>), Stored>,
    tally: Tally,
}

/// Of the virtual wall clock: 1994.
const EPOCH_S: u64 = 784_111_777;
const RESOURCES: u64 = 12;
const USERS: u64 = 3;
const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// One seed: so many requests.
#[must_use]
pub fn run(seed: u64, requests: u32) -> Tally {
    let (varies, stored) = (BTreeMap::new(), BTreeMap::new());
    let mut world = World { rng: Rng::new(seed), now_s: 0, varies, stored, tally: Tally::default() };
    world.tally.runs = 1;
    for _ in 0..requests {
        world.now_s += world.rng.below(8);
        world.ask();
    }
    world.tally
}

/// A client's request: who asks, and in which language.
struct Asked {
    resource: u64,
    user: Option<u64>,
    language: u64,
    fields: Vec<(&'static str, String)>,
}

impl World {
    fn now(&self) -> Instant {
        Instant(1_000_000_000).plus_ms(self.now_s * 1000)
    }

    fn ask(&mut self) {
        let user = self.rng.one_in(3).then(|| self.rng.below(USERS));
        let language = self.rng.below(3);
        let place = usize::try_from(language).unwrap_or(0);
        let mut fields = vec![("accept-language", LANGUAGES[place].to_owned())];
        fields.extend(user.map(|user| ("authorization", format!("Bearer {user}"))));
        let asked = Asked { resource: self.rng.below(RESOURCES), user, language, fields };
        let request = Request::read(read(&asked.fields));
        let key = (asked.resource, self.selector(&asked));
        let usable = self.stored.get(&key).map(|stored| stored.freshness.of_use(&request.wanted, self.now()));
        match usable {
            Some(Use::Fresh | Use::Stale | Use::StaleWhileRevalidate) => {
                let stored = &self.stored[&key];
                check(&stored.made, &asked, self.now_s);
                self.tally.event("answers from the cache");
            }
            Some(Use::Validate) | None => self.fetch(&asked, &request),
        }
    }

    fn selector(&self, asked: &Asked) -> Vec<u8> {
        let lines = |name: &str| {
            let name = name.to_owned();
            asked.fields.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_bytes())
        };
        self.varies.get(&asked.resource).map_or_else(Vec::new, |vary| vary.selector(lines))
    }

    /// What the origin answers, and what may be stored of it.
    fn fetch(&mut self, asked: &Asked, request: &Request) {
        let (fields, made) = self.answer(asked);
        let response = Response::read(200, read(&fields));
        let arrival = Arrival { at: self.now(), wall_s: EPOCH_S + self.now_s, delay_ms: 0 };
        let Ok(freshness) = store(request, &response, &Rules::default(), arrival) else {
            self.tally.event("answers that may not be stored");
            return;
        };
        let vary = self.varies.entry(asked.resource).or_default().with(&response.vary);
        self.varies.insert(asked.resource, vary);
        let key = (asked.resource, self.selector(asked));
        self.stored.insert(key, Stored { freshness, made });
    }

    /// A resource is always of the same kind, told by its number.
    fn answer(&mut self, asked: &Asked) -> (Vec<(&'static str, String)>, Made) {
        let resource = asked.resource;
        let lifetime_s = 10 + 5 * resource;
        let mut control = format!("max-age={lifetime_s}");
        let mut fields = Vec::new();
        // It may have been stored elsewhere for a while, and has lost its date by chance.
        let age_s = if self.rng.one_in(2) { self.rng.below(2 * lifetime_s).min(self.now_s) } else { 0 };
        let owner = match resource % 4 {
            0 => {
                control.push_str(", private");
                Some(asked.user.unwrap_or(USERS))
            }
            1 => asked.user,
            2 => {
                control.push_str(", public");
                None
            }
            _ => asked.user,
        };
        let grace_s = if resource.is_multiple_of(3) { 10 } else { 0 };
        if grace_s > 0 {
            control.push_str(", stale-while-revalidate=10");
        }
        if age_s > 0 && self.rng.one_in(2) {
            fields.push(("age", age_s.to_string()));
        } else {
            fields.push(("date", date::format(EPOCH_S + self.now_s - age_s)));
        }
        let language = (resource >= RESOURCES / 2).then_some(asked.language);
        fields.extend(language.map(|_| ("vary", "Accept-Language".to_owned())));
        fields.push(("cache-control", control));
        fields.push(("etag", format!("\"{resource}\"")));
        (fields, Made { at_s: self.now_s - age_s, owner, language, lifetime_s, grace_s })
    }
}

fn check(made: &Made, asked: &Asked, now_s: u64) {
    let own = made.owner.is_none() || made.owner == asked.user;
    assert!(own, "nobody_is_given_what_is_anothers: {made:?}");
    assert!(made.language.is_none_or(|language| language == asked.language), "each_gets_his_variant: {made:?}");
    let age_s = now_s - made.at_s;
    assert!(age_s <= made.lifetime_s + made.grace_s, "nothing_is_used_behind_its_time: {age_s} s, {made:?}");
}

fn read<'a>(fields: &'a [(&'static str, String)]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    fields.iter().map(|(name, value)| (*name, value.as_bytes()))
}
