//! Searches around a place: GEOSEARCH, GEOSEARCHSTORE, and GEORADIUS with its kin from before Redis 6.2.

use super::cells::{self, Shape};
use super::sphere::{self, Place};
use super::words::{box_of, coordinates, distance_of};
use super::{coordinates_reply, distance_reply};
use crate::command::strings::integer;
use crate::command::zsets::store;
use crate::command::{Command, Keys, Outcome, Positions, Run};
use crate::value::{Word, Zset};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "geosearch",
        id: 704,
        arity: -7,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(geosearch),
        summary: "Returns the members within a circle or a box.",
        group: "geo",
        since: "6.2.0",
    },
    Command {
        name: "geosearchstore",
        id: 705,
        arity: -8,
        flags: "write denyoom",
        keys: Keys::TWO,
        run: Run::Write(geosearchstore),
        summary: "Stores the members within a circle or a box in a key.",
        group: "geo",
        since: "6.2.0",
    },
    Command {
        name: "georadius",
        id: 706,
        arity: -6,
        flags: "write denyoom movablekeys",
        keys: Keys::Found(|args| with_store(args, 6)),
        run: Run::Write(georadius),
        summary: "Returns the members around coordinates, or stores them.",
        group: "geo",
        since: "3.2.0",
    },
    Command {
        name: "georadiusbymember",
        id: 707,
        arity: -5,
        flags: "write denyoom movablekeys",
        keys: Keys::Found(|args| with_store(args, 5)),
        run: Run::Write(georadiusbymember),
        summary: "Returns the members around a member, or stores them.",
        group: "geo",
        since: "3.2.0",
    },
    Command {
        name: "georadius_ro",
        id: 708,
        arity: -6,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(georadius_ro),
        summary: "Returns the members around coordinates.",
        group: "geo",
        since: "3.2.10",
    },
    Command {
        name: "georadiusbymember_ro",
        id: 709,
        arity: -5,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(georadiusbymember_ro),
        summary: "Returns the members around a member.",
        group: "geo",
        since: "3.2.10",
    },
];

/// Which of the commands it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Search,
    SearchStore,
    Radius,
    RadiusRead,
}

/// What the words of a search ask for.
#[derive(Clone, Debug)]
struct Asked<'a> {
    kind: Kind,
    from: Option<From>,
    shape: Option<(Shape, Unit)>,
    order: Option<Order>,
    /// At most so many.
    count: Option<usize>,
    /// Whichever are found first.
    any: bool,
    distances: bool,
    hashes: bool,
    places: bool,
    store: Option<&'a [u8]>,
    store_distances: bool,
}

/// What a search goes around.
#[derive(Clone, Copy, Debug)]
enum From {
    Place(Place),
    /// A member of a key that isn't there.
    Nothing,
    Member(Place),
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Near,
    Far,
}

/// Meters per unit.
type Unit = f64;

/// A member that was found.
struct Found<'a> {
    member: Word<'a>,
    score: f64,
    place: Place,
    meters: f64,
}

impl<'a> Asked<'a> {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            from: None,
            shape: None,
            order: None,
            count: None,
            any: false,
            distances: false,
            hashes: false,
            places: false,
            store: None,
            store_distances: false,
        }
    }

    /// Reads options to the end. Redis looks members up as it meets them, and so tells of the first mistake.
    fn options(&mut self, zset: Option<&Zset>, mut words: &[&'a [u8]]) -> Result<(), Refused> {
        while let Some((word, rest)) = words.split_first() {
            let word = word.to_ascii_lowercase();
            let used = match self.plain(&word, rest)? {
                Some(used) => used,
                None => self.around(&word, rest, zset)?.ok_or(Refused::Syntax)?,
            };
            words = &rest[used..];
        }
        Ok(())
    }

    /// An option that all kinds have, or that stores; how many words it takes behind its name.
    fn plain(&mut self, word: &[u8], rest: &[&'a [u8]]) -> Result<Option<usize>, Refused> {
        match (word, rest.first()) {
            (b"withdist", _) => self.distances = true,
            (b"withhash", _) => self.hashes = true,
            (b"withcoord", _) => self.places = true,
            (b"any", _) => self.any = true,
            (b"asc", _) => self.order = Some(Order::Near),
            (b"desc", _) => self.order = Some(Order::Far),
            (b"count", Some(count)) => {
                let count = usize::try_from(integer(count)?).ok().filter(|count| *count > 0);
                self.count = Some(count.ok_or_else(|| text("COUNT must be > 0"))?);
                return Ok(Some(1));
            }
            (b"store" | b"storedist", Some(key)) if self.kind == Kind::Radius => {
                (self.store, self.store_distances) = (Some(*key), word == b"storedist");
                return Ok(Some(1));
            }
            (b"storedist", _) if self.kind == Kind::SearchStore => self.store_distances = true,
            _ => return Ok(None),
        }
        Ok(Some(0))
    }

    /// An option of GEOSEARCH that says where to look; how many words it takes behind its name.
    fn around(&mut self, word: &[u8], rest: &[&[u8]], zset: Option<&Zset>) -> Result<Option<usize>, Refused> {
        if !matches!(self.kind, Kind::Search | Kind::SearchStore) {
            return Ok(None);
        }
        match (word, rest) {
            (b"frommember", [member, ..]) if !matches!(self.from, Some(From::Place(_))) => {
                self.from = Some(member_of(zset, member)?);
                Ok(Some(1))
            }
            (b"fromlonlat", [longitude, latitude, ..])
                if !matches!(self.from, Some(From::Nothing | From::Member(_))) =>
            {
                self.from = Some(From::Place(coordinates(longitude, latitude)?));
                Ok(Some(2))
            }
            (b"byradius", [radius, unit, ..]) if !matches!(self.shape, Some((Shape::Box { .. }, _))) => {
                self.shape = Some(circle(radius, unit)?);
                Ok(Some(2))
            }
            (b"bybox", [width, height, unit, ..]) if !matches!(self.shape, Some((Shape::Circle { .. }, _))) => {
                let (width, height, unit) = box_of(width, height, unit)?;
                self.shape = Some((Shape::Box { width_meters: width * unit, height_meters: height * unit }, unit));
                Ok(Some(3))
            }
            _ => Ok(None),
        }
    }

    /// Checks what options need of each other; `name` is the command's, as it was asked.
    fn check(&self, name: &[u8]) -> Result<(), Refused> {
        let search = matches!(self.kind, Kind::Search | Kind::SearchStore);
        let name = String::from_utf8_lossy(name);
        if self.store.is_some() && (self.distances || self.hashes || self.places) {
            let what = if search { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(text(&format!("{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options")));
        }
        if search && self.from.is_none() {
            return Err(text(&format!("exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}")));
        }
        if search && self.shape.is_none() {
            return Err(text(&format!("exactly one of BYRADIUS and BYBOX can be specified for {name}")));
        }
        if self.any && self.count.is_none() {
            return Err(text("the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The members that were asked for, in the order that was.
    fn find<'z>(&self, zset: &'z Zset, around: Place, shape: Shape) -> Vec<Found<'z>> {
        let enough = self.count.filter(|_| self.any).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for scores in cells::ranges(around, shape) {
            #[expect(clippy::cast_precision_loss, reason = "a hash has at most 53 bits")]
            let (low, high) = (scores.start as f64, scores.end as f64);
            let ranks = zset.lower(|score| score < low)..zset.lower(|score| score < high);
            let room = enough - found.len();
            let all = zset.range(ranks).filter_map(|(member, score)| inside(around, shape, member, score));
            found.extend(all.take(room));
            if found.len() == enough {
                break;
            }
        }
        // COUNT without an order wants the nearest.
        match self.order.or(self.count.filter(|_| !self.any).map(|_| Order::Near)) {
            Some(Order::Near) => found.sort_by(|a, b| a.meters.total_cmp(&b.meters)),
            Some(Order::Far) => found.sort_by(|a, b| b.meters.total_cmp(&a.meters)),
            None => {}
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        found
    }

    fn reply(&self, found: &Found<'_>, unit: Unit) -> Reply {
        let member = Reply::Bulk(found.member.blob());
        if !(self.distances || self.hashes || self.places) {
            return member;
        }
        let mut parts = vec![member];
        if self.distances {
            parts.push(distance_reply(found.meters / unit));
        }
        if self.hashes {
            #[expect(clippy::cast_possible_truncation, reason = "a hash has at most 53 bits")]
            parts.push(Reply::Int(found.score as i64));
        }
        if self.places {
            parts.push(coordinates_reply(found.place));
        }
        Reply::Array(parts)
    }
}

/// A member, if it stands in the shape.
fn inside<'a>(around: Place, shape: Shape, member: Word<'a>, score: f64) -> Option<Found<'a>> {
    let place = cells::place(score);
    let meters = match shape {
        Shape::Circle { radius_meters } => {
            let meters = sphere::distance(around, place);
            if meters > radius_meters {
                return None;
            }
            meters
        }
        Shape::Box { width_meters, height_meters } => {
            let across = sphere::distance(place, Place { longitude: around.longitude, ..place });
            let along = sphere::distance(place, Place { latitude: around.latitude, ..place });
            if across > width_meters / 2.0 || along > height_meters / 2.0 {
                return None;
            }
            sphere::distance(around, place)
        }
    };
    Some(Found { member, score, place, meters })
}

fn circle(radius: &[u8], unit: &[u8]) -> Result<(Shape, Unit), Refused> {
    let (radius, unit) = distance_of(radius, unit)?;
    Ok((Shape::Circle { radius_meters: radius * unit }, unit))
}

fn member_of(zset: Option<&Zset>, member: &[u8]) -> Result<From, Refused> {
    let Some(zset) = zset else { return Ok(From::Nothing) };
    let score = zset.score(member).ok_or_else(|| text("could not decode requested zset member"))?;
    Ok(From::Member(cells::place(score)))
}

fn text(text: &str) -> Refused {
    Refused::Text(format!("ERR {text}"))
}

/// What a search gives: an answer, or what to store where.
enum Goal<'a> {
    Answer(Reply),
    Store(&'a [u8], Zset),
}

fn search<'a>(zset: Option<&Zset>, asked: &Asked<'a>) -> Goal<'a> {
    let (Some(zset), Some(From::Place(around) | From::Member(around)), Some((shape, unit))) =
        (zset, asked.from, asked.shape)
    else {
        return match asked.store {
            Some(key) => Goal::Store(key, Zset::default()),
            None => Goal::Answer(Reply::Array(Vec::new())),
        };
    };
    let found = asked.find(zset, around, shape);
    let Some(key) = asked.store else {
        return Goal::Answer(Reply::Array(found.iter().map(|one| asked.reply(one, unit)).collect()));
    };
    let mut new = Zset::default();
    for one in found {
        let score = if asked.store_distances { one.meters / unit } else { one.score };
        one.member.read(|member| new.insert(member, score));
    }
    Goal::Store(key, new)
}

fn geosearch(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    let mut asked = Asked::new(Kind::Search);
    asked.options(zset, &args[2..])?;
    asked.check(args[0])?;
    answer(zset, &asked)
}

fn georadius_ro(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    answer(zset, &around_place(zset, Kind::RadiusRead, args)?)
}

fn georadiusbymember_ro(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    answer(zset, &around_member(zset, Kind::RadiusRead, args)?)
}

fn answer(zset: Option<&Zset>, asked: &Asked<'_>) -> Outcome {
    match search(zset, asked) {
        Goal::Answer(reply) => Ok(reply),
        Goal::Store(..) => unreachable!("the command has no word for that"),
    }
}

fn geosearchstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[2])?;
    let mut asked = Asked::new(Kind::SearchStore);
    asked.store = Some(args[1]);
    asked.options(zset, &args[3..])?;
    asked.check(args[0])?;
    let found = search(zset, &asked);
    finish(keyspace, cx, found, "geosearchstore")
}

fn georadius(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    let found = search(zset, &around_place(zset, Kind::Radius, args)?);
    finish(keyspace, cx, found, "georadiusstore")
}

fn georadiusbymember(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    let found = search(zset, &around_member(zset, Kind::Radius, args)?);
    finish(keyspace, cx, found, "georadiusstore")
}

fn finish(keyspace: &mut Keyspace, cx: &Context, found: Goal<'_>, event: &'static str) -> Outcome {
    match found {
        Goal::Answer(reply) => Ok(reply),
        Goal::Store(key, new) => Ok(Reply::count(store(keyspace, cx, key, new, event))),
    }
}

/// The words of GEORADIUS.
fn around_place<'a>(zset: Option<&Zset>, kind: Kind, args: &[&'a [u8]]) -> Result<Asked<'a>, Refused> {
    let mut asked = Asked::new(kind);
    asked.from = Some(From::Place(coordinates(args[2], args[3])?));
    asked.shape = Some(circle(args[4], args[5])?);
    asked.options(zset, &args[6..])?;
    asked.check(args[0])?;
    Ok(asked)
}

/// The words of GEORADIUSBYMEMBER; where no key is, the radius isn't looked at.
fn around_member<'a>(zset: Option<&Zset>, kind: Kind, args: &[&'a [u8]]) -> Result<Asked<'a>, Refused> {
    let mut asked = Asked::new(kind);
    asked.from = Some(member_of(zset, args[2])?);
    asked.shape = zset.map(|_| circle(args[3], args[4])).transpose()?;
    asked.options(zset, &args[5..])?;
    asked.check(args[0])?;
    Ok(asked)
}

/// The key of GEORADIUS, and the one behind the last STORE or STOREDIST from `first` on.
fn with_store(args: &[&[u8]], first: usize) -> Positions {
    let is_store = |word: &[u8]| word.eq_ignore_ascii_case(b"store") || word.eq_ignore_ascii_case(b"storedist");
    let last = (first..args.len().saturating_sub(1)).rev().find(|at| is_store(args[*at]));
    [1].into_iter().chain(last.map(|at| at + 1)).collect()
}
