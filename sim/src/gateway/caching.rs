//! The gateway's cache before an origin that changes, in virtual time: the rules of `gateway::cache` with a store that forgets nothing.
//!
//! An origin knows of each of its answers when it was made, for whom, for which language, and how long it may be used: fresh, while it is
//! fetched anew, and when a fetch fails. What it says of that depends on the resource's [`Kind`], and the route adds windows of its
//! own. Other caches may stand between, so that an answer comes old and says so. Clients with credentials, with cookies and without
//! either ask for what some of them may not see. Each answer from the store, and each that another's fetch brought, is held
//! against what the origin knows.

use crate::tally::Tally;
use base::Instant;
use base::rng::Rng;
use gateway::cache::{Arrival, Freshness, Request, Response, Rules, Use, Vary, date, store};
use std::collections::BTreeMap;

/// What the origin knows of an answer.
#[derive(Clone, Copy, Debug)]
struct Made {
    kind: Kind,
    at_s: u64,
    /// Whose it is, if it isn't for all.
    owner: Option<u64>,
    /// Which language it is in, if there are several.
    language: Option<u64>,
    lifetime_s: u64,
    /// How long behind that it may be used while it is fetched anew, and when that fails.
    window: Window,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    revalidate_s: u32,
    error_s: u32,
}

/// What a resource's answers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Private,
    /// For how long, and so it is for all but for answers to credentials.
    Timed,
    Public,
    /// It sets a cookie, so it is one client's, whatever it says.
    SetsCookie,
    /// Nothing but when it was changed.
    Silent,
    /// That it is for all, and when it was changed.
    PublicUntimed,
    /// That it is never fresh, but stands for errors.
    Spent,
    /// That it must be validated, against any window.
    Strict,
    /// For how long, for shared caches; against any window of a route's.
    Shared,
    /// Windows of its own.
    Windowed,
}

const KINDS: [Kind; 10] = [
    Kind::Private,
    Kind::Timed,
    Kind::Public,
    Kind::SetsCookie,
    Kind::Silent,
    Kind::PublicUntimed,
    Kind::Spent,
    Kind::Strict,
    Kind::Shared,
    Kind::Windowed,
];

#[derive(Clone, Copy)]
struct Resource {
    kind: Kind,
    lifetime_s: u64,
    /// It has a language.
    speaks: bool,
    rules: Rules,
}

struct Stored {
    freshness: Freshness,
    made: Made,
}

struct World {
    rng: Rng,
    now_s: u64,
    resources: Vec<Resource>,
    /// Clients that nothing tells apart but that they are none of the others.
    strangers: u64,
    varies: BTreeMap<usize, Vary>,
    stored: BTreeMap<(usize, Vec<u8>), Stored>,
    tally: Tally,
}

/// Of the virtual wall clock: 1994.
const EPOCH_S: u64 = 784_111_777;
const RESOURCES: usize = 12;
const USERS: u64 = 3;
const LANGUAGES: [&str; 3] = ["de", "en", "fr"];
const OF_THE_ROUTE: Rules = Rules { stale_while_revalidate_s: 20, stale_if_error_s: 40 };
const OWN: Window = Window { revalidate_s: 5, error_s: 10 };
const NONE: Window = Window { revalidate_s: 0, error_s: 0 };

/// One seed: so many requests.
#[must_use]
pub fn run(seed: u64, requests: u32) -> Tally {
    let mut rng = Rng::new(seed);
    let resources = (0..RESOURCES).map(|_| Resource::draw(&mut rng)).collect();
    let (varies, stored) = (BTreeMap::new(), BTreeMap::new());
    let mut world = World { rng, now_s: 0, resources, strangers: 0, varies, stored, tally: Tally::default() };
    world.tally.runs = 1;
    for _ in 0..requests {
        world.now_s += world.rng.below(8);
        world.ask();
    }
    world.tally
}

impl Resource {
    fn draw(rng: &mut Rng) -> Self {
        let kind = KINDS[usize::try_from(rng.below(KINDS.len() as u64)).unwrap_or(0)];
        let rules = if rng.one_in(2) { OF_THE_ROUTE } else { Rules::default() };
        Self { kind, lifetime_s: 10 + rng.below(50), speaks: rng.one_in(2), rules }
    }

    /// What the origin and the route allow behind a lifetime.
    fn window(&self, lifetime_s: u64) -> Window {
        let route = Window { revalidate_s: self.rules.stale_while_revalidate_s, error_s: self.rules.stale_if_error_s };
        match self.kind {
            Kind::Strict | Kind::Shared => NONE,
            Kind::Windowed => OWN,
            Kind::Spent => Window { revalidate_s: 0, ..OWN },
            _ if lifetime_s == 0 => NONE,
            _ => route,
        }
    }
}

/// A client's request: who asks, and in which language.
struct Asked {
    resource: usize,
    /// Who it is, by credentials and by a cookie.
    user: Option<u64>,
    visitor: Option<u64>,
    language: u64,
    fields: Vec<(&'static str, String)>,
}

impl World {
    fn now(&self) -> Instant {
        Instant(1_000_000_000).plus_ms(self.now_s * 1000)
    }

    fn asked(&mut self, resource: usize) -> Asked {
        let user = self.rng.one_in(3).then(|| self.rng.below(USERS));
        let visitor = self.rng.one_in(3).then(|| USERS + self.rng.below(USERS));
        let language = self.rng.below(3);
        let place = usize::try_from(language).unwrap_or(0);
        let mut fields = vec![("accept-language", LANGUAGES[place].to_owned())];
        fields.extend(user.map(|user| ("authorization", format!("Bearer {user}"))));
        fields.extend(visitor.map(|visitor| ("cookie", format!("id={visitor}"))));
        Asked { resource, user, visitor, language, fields }
    }

    fn ask(&mut self) {
        let resource = usize::try_from(self.rng.below(RESOURCES as u64)).unwrap_or(0);
        let asked = self.asked(resource);
        let request = Request::read(read(&asked.fields));
        let key = (asked.resource, self.selector(&asked));
        let found = self.stored.get(&key);
        match found.map(|stored| (stored.freshness.of_use(&request.wanted, self.now()), stored.made)) {
            Some((Use::Fresh | Use::Stale, made)) => {
                check(&made, &asked, self.now_s, 0);
                self.tally.event("answers from the cache");
            }
            Some((Use::StaleWhileRevalidate, made)) => {
                check(&made, &asked, self.now_s, made.window.revalidate_s);
                self.tally.event("answers that are fetched anew");
            }
            Some((Use::Validate, _)) | None => self.fetch(&asked, &request, &key),
        }
    }

    fn selector(&self, asked: &Asked) -> Vec<u8> {
        let lines = |name: &str| {
            let name = name.to_owned();
            asked.fields.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_bytes())
        };
        self.varies.get(&asked.resource).map_or_else(Vec::new, |vary| vary.selector(lines))
    }

    /// What the origin answers, if it does, and what may be stored of it.
    fn fetch(&mut self, asked: &Asked, request: &Request, key: &(usize, Vec<u8>)) {
        if self.rng.one_in(4) {
            return self.fail(asked, key);
        }
        let (fields, made) = self.answer(asked);
        let response = Response::read(200, read(&fields));
        let arrival = Arrival { at: self.now(), wall_s: EPOCH_S + self.now_s, delay_ms: 0 };
        let Ok(freshness) = store(request, &response, &self.resources[asked.resource].rules, arrival) else {
            self.tally.event("answers that may not be stored");
            return;
        };
        let vary = self.varies.entry(asked.resource).or_default().with(&response.vary);
        self.varies.insert(asked.resource, vary);
        let key = (asked.resource, self.selector(asked));
        self.share(asked, &key, &made, &freshness);
        self.stored.insert(key, Stored { freshness, made });
    }

    /// What is stored may stand for an answer that doesn't come.
    fn fail(&mut self, asked: &Asked, key: &(usize, Vec<u8>)) {
        let now = self.now();
        let stored = self.stored.get(key).filter(|stored| stored.freshness.stands_for_error(now));
        if let Some(made) = stored.map(|stored| stored.made) {
            check(&made, asked, self.now_s, made.window.error_s);
            self.tally.event("answers that stood for errors");
        }
    }

    /// One who waited for it has it too; those with credentials wait for each other only.
    fn share(&mut self, asked: &Asked, key: &(usize, Vec<u8>), made: &Made, freshness: &Freshness) {
        let other = self.asked(asked.resource);
        let waits = self.selector(&other) == key.1 && other.user.is_some() == asked.user.is_some();
        if waits && freshness.is_for_others(self.now()) {
            check(made, &other, self.now_s, made.window.revalidate_s);
            self.tally.event("answers that another fetched");
        }
    }

    fn answer(&mut self, asked: &Asked) -> (Vec<(&'static str, String)>, Made) {
        let resource = self.resources[asked.resource];
        let (kind, usual_s) = (resource.kind, resource.lifetime_s);
        let guessed = matches!(kind, Kind::Silent | Kind::PublicUntimed);
        // It may have been stored elsewhere for a while, and has lost its date by chance.
        let aged = !guessed && self.rng.one_in(2);
        let age_s = if aged { self.rng.below(2 * usual_s).min(self.now_s) } else { 0 };
        let made_s = EPOCH_S + self.now_s - age_s;
        let mut fields = vec![("etag", format!("\"{}\"", asked.resource))];
        if age_s > 0 && self.rng.one_in(2) {
            fields.push(("age", age_s.to_string()));
        } else {
            fields.push(("date", date::format(made_s)));
        }
        if guessed {
            fields.push(("last-modified", date::format(made_s - 10 * usual_s)));
        }
        if kind == Kind::SetsCookie {
            fields.push(("set-cookie", "id=1".to_owned()));
        }
        fields.extend(control(kind, usual_s).map(|control| ("cache-control", control)));
        let language = resource.speaks.then_some(asked.language);
        fields.extend(language.map(|_| ("vary", "Accept-Language".to_owned())));
        self.strangers += 1;
        let owner = match kind {
            Kind::Private | Kind::SetsCookie => Some(2 * USERS + self.strangers),
            Kind::Timed | Kind::Windowed => asked.user,
            Kind::Silent | Kind::Spent => asked.user.or(asked.visitor),
            Kind::Public | Kind::PublicUntimed | Kind::Strict | Kind::Shared => None,
        };
        let known = !guessed || asked.visitor.is_none();
        let lifetime_s = if kind == Kind::Spent || !known { 0 } else { usual_s };
        let window = resource.window(lifetime_s);
        (fields, Made { kind, at_s: self.now_s - age_s, owner, language, lifetime_s, window })
    }
}

fn control(kind: Kind, lifetime_s: u64) -> Option<String> {
    let Window { revalidate_s, error_s } = OWN;
    Some(match kind {
        Kind::Private => format!("max-age={lifetime_s}, private"),
        Kind::Timed => format!("max-age={lifetime_s}"),
        Kind::Public | Kind::SetsCookie => format!("max-age={lifetime_s}, public"),
        Kind::Silent => return None,
        Kind::PublicUntimed => "public".to_owned(),
        Kind::Spent => format!("max-age=0, stale-if-error={error_s}"),
        Kind::Strict => format!("max-age={lifetime_s}, must-revalidate, stale-while-revalidate={revalidate_s}"),
        Kind::Shared => format!("s-maxage={lifetime_s}"),
        Kind::Windowed => {
            format!("max-age={lifetime_s}, stale-while-revalidate={revalidate_s}, stale-if-error={error_s}")
        }
    })
}

fn check(made: &Made, asked: &Asked, now_s: u64, window_s: u32) {
    let kind = made.kind;
    let own = made.owner.is_none() || made.owner == asked.user || made.owner == asked.visitor;
    assert!(own, "nobody_is_given_what_is_anothers: {kind:?}, {made:?}");
    assert!(
        made.language.is_none_or(|language| language == asked.language),
        "each_gets_his_variant: {kind:?}, {made:?}"
    );
    let age_s = now_s - made.at_s;
    let most_s = made.lifetime_s + u64::from(window_s);
    assert!(age_s <= most_s, "nothing_is_used_behind_its_time: {age_s} s of {most_s} s, {kind:?}, {made:?}");
}

fn read<'a>(fields: &'a [(&'static str, String)]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    fields.iter().map(|(name, value)| (*name, value.as_bytes()))
}
