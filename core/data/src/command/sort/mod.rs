//! SORT: the members of a list, a set or a sorted set in another order, or what other keys hold in their stead.
//!
//! Members that compare as equal come in the order in which they stood, so that all replicas store the same. The keys that BY
//! and GET name by a pattern are known only here: they are looked for in this shard alone, and where there are more shards, the
//! pattern's hashtag must say that they are in it; see [`pattern_slots`].

mod request;

use super::float::c_float_in_range;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Ttl, Value};
use crate::value::{Container, End, List, Object, Word};
use crate::{Blob, Context, Keyspace, Refused, Reply};
pub use request::pattern_slots;
use request::{Direction, Pattern, Request, Stores, key_positions};
use std::cmp::Ordering;

/// The rows of this family; ids 730 to 734.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        id: SORT_ID,
        arity: -2,
        flags: "write denyoom movablekeys",
        keys: Keys::Found(key_positions),
        run: Run::Write(sort),
        summary: "Sorts the members of a list, a set or a sorted set, and stores them if it is to.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "sort_ro",
        id: SORT_RO_ID,
        arity: -2,
        flags: "readonly movablekeys",
        keys: Keys::ONE,
        run: Run::Read(sort_ro),
        summary: "Returns the members of a list, a set or a sorted set in order.",
        group: "generic",
        since: "7.0.0",
    },
];

const SORT_ID: u16 = 730;
const SORT_RO_ID: u16 = 731;

fn sort_ro(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    show(keyspace, cx, args[1], &Request::parse(args, Stores::No)?)
}

fn sort(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let request = Request::parse(args, Stores::Yes)?;
    let Some(to) = request.store else { return show(keyspace, cx, args[1], &request) };
    let sorted = sorted(keyspace, cx, args[1], &request)?;
    let mut list = List::default();
    for blob in told(keyspace, cx, &sorted, &request.gets) {
        list.push_blob(End::Tail, &blob.unwrap_or_else(|| Blob::from(&b""[..])));
    }
    let len = list.len();
    if len > 0 {
        keyspace.set_object(cx, to, list, Ttl::Clear);
        keyspace.notify(cx.db, Class::List, "sortstore", to);
    } else if keyspace.remove(cx, to) {
        keyspace.notify(cx.db, Class::Generic, "del", to);
    }
    Ok(Reply::count(len))
}

fn show(keyspace: &Keyspace, cx: &Context, key: &[u8], request: &Request<'_>) -> Outcome {
    let sorted = sorted(keyspace, cx, key, request)?;
    let told = told(keyspace, cx, &sorted, &request.gets);
    Ok(Reply::Array(told.map(|blob| blob.map_or(Reply::Nil, Reply::Bulk)).collect()))
}

/// What is told of each member: itself, or what each of the GETs finds.
fn told<'a>(
    keyspace: &'a Keyspace,
    cx: &'a Context,
    sorted: &'a [Word<'a>],
    gets: &'a [Pattern<'a>],
) -> impl Iterator<Item = Option<Blob>> {
    let itself = sorted.iter().filter(|_| gets.is_empty()).map(|member| Some(member.blob()));
    let found = sorted
        .iter()
        .flat_map(move |member| gets.iter().map(move |get| get.look_up(keyspace, cx, *member).map(Word::blob)));
    itself.chain(found)
}

/// The members that are asked for, in the order that is asked for.
fn sorted<'a>(
    keyspace: &'a Keyspace,
    cx: &Context,
    key: &[u8],
    request: &Request<'_>,
) -> Result<Vec<Word<'a>>, Refused> {
    let object = match keyspace.get(cx, key).map(|live| live.value) {
        None => return Ok(Vec::new()),
        Some(Value::Other(object @ (Object::List(_) | Object::Set(_) | Object::Zset(_)))) => object,
        Some(_) => return Err(Refused::WrongType),
    };
    // The order of a set means nothing, but what is stored must mean something.
    let by_name = request.unsorted && request.store.is_some() && matches!(object, Object::Set(_));
    if request.unsorted && !by_name {
        return Ok(as_they_stand(object, request));
    }
    let (by, alpha) = if by_name { (None, true) } else { (request.by, request.alpha) };
    let mut weighed: Vec<Weighed<'a>> = Vec::new();
    for (place, member) in members(object).enumerate() {
        let weight = match by {
            None => Some(member),
            Some(by) => by.look_up(keyspace, cx, member),
        };
        weighed.push(Weighed {
            member,
            weight: if alpha { Weight::Text(weight) } else { Weight::number(weight)? },
            place,
        });
    }
    let order = |a: &Weighed<'_>, b: &Weighed<'_>| match request.direction {
        Direction::Up => a.order(b).then(a.place.cmp(&b.place)),
        Direction::Down => b.order(a).then(a.place.cmp(&b.place)),
    };
    let range = request.range(weighed.len());
    if range.end < weighed.len() {
        // What stands behind the range need not be in order.
        weighed.select_nth_unstable_by(range.end, order);
        weighed.truncate(range.end);
    }
    weighed.sort_unstable_by(order);
    Ok(weighed.drain(range).map(|one| one.member).collect())
}

/// All members of a list, a set or a sorted set.
fn members(object: &Object) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    match object {
        Object::List(list) => Box::new(list.walk(End::Head, 0)),
        Object::Set(set) => Box::new(set.members(0..set.len())),
        Object::Zset(zset) => Box::new(zset.iter().map(|(member, _)| member)),
        _ => unreachable!("the caller looked at the type"),
    }
}

/// The members that LIMIT leaves, in the order that the object has.
fn as_they_stand<'a>(object: &'a Object, request: &Request<'_>) -> Vec<Word<'a>> {
    let down = request.direction == Direction::Down;
    match object {
        Object::List(list) => {
            let (from, range) = (if down { End::Tail } else { End::Head }, request.range(list.len()));
            list.walk(from, range.start).take(range.len()).collect()
        }
        Object::Set(set) => set.members(request.range(set.len())).collect(),
        Object::Zset(zset) => {
            let (len, range) = (zset.len(), request.range(zset.len()));
            if down {
                zset.range_back(len - range.end..len - range.start).map(|(member, _)| member).collect()
            } else {
                zset.range(range).map(|(member, _)| member).collect()
            }
        }
        _ => unreachable!("the caller looked at the type"),
    }
}

/// A member, what it is ordered by, and where it stood.
struct Weighed<'a> {
    member: Word<'a>,
    weight: Weight<'a>,
    place: usize,
}

enum Weight<'a> {
    Number(f64),
    /// What isn't there comes first.
    Text(Option<Word<'a>>),
}

impl<'a> Weight<'a> {
    /// What isn't there counts as 0.
    fn number(word: Option<Word<'a>>) -> Result<Self, Refused> {
        let number = word.map_or(Some(0.0), |word| word.read(c_float_in_range));
        let refused = || Refused::Text("ERR One or more scores can't be converted into double".to_owned());
        number.map(Self::Number).ok_or_else(refused)
    }
}

impl Weighed<'_> {
    fn order(&self, other: &Self) -> Ordering {
        match (&self.weight, &other.weight) {
            (Weight::Number(a), Weight::Number(b)) => {
                a.partial_cmp(b).expect("NaN is no weight").then_with(|| text_order(self.member, other.member))
            }
            (Weight::Text(Some(a)), Weight::Text(Some(b))) => text_order(*a, *b),
            (Weight::Text(a), Weight::Text(b)) => a.is_some().cmp(&b.is_some()),
            _ => unreachable!("all members are weighed alike"),
        }
    }
}

fn text_order(a: Word<'_>, b: Word<'_>) -> Ordering {
    a.read(|a| b.read(|b| a.cmp(b)))
}
