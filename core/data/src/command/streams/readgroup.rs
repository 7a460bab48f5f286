//! XREADGROUP and XACK.

use super::call::Call;
use super::ids::{self, c_text};
use super::read::shown;
use crate::command::Outcome;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::{Entries, Group, Id, Place};
use crate::{Context, Keyspace, Refused, Reply};

/// What a consumer wants of a stream.
#[derive(Clone, Copy)]
enum Want {
    /// `>`: what nobody has had.
    New,
    /// What it has had behind this ID.
    Owed(Id),
}

/// What it gets.
struct Got {
    entries: Option<Vec<Reply>>,
    consumer_made: bool,
}

pub(super) fn xreadgroup(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let call = Call::parse(args)?;
    let (name, consumer) = call.group.expect("the parser has seen to it");
    let mut wants = Vec::with_capacity(1);
    for (key, id) in call.streams() {
        if keyspace.container::<Stream>(cx, key)?.is_none_or(|stream| stream.group(name).is_none()) {
            return Err(Refused::Text(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                c_text(key),
                c_text(name)
            )));
        }
        wants.push((key, want(id)?));
    }
    let mut found = Vec::new();
    for (key, want) in wants {
        let read = |entries: &Entries, group: &mut Group| read(entries, group, consumer, want, &call, cx);
        // Redis breaks no WATCH by it.
        let read = |stream: &mut Stream| (stream.change_group(name, read), Changed::No);
        let got = keyspace.change(cx, key, Absent::Leave, read)?.flatten().expect("the group is there");
        if got.consumer_made {
            keyspace.notify(cx.db, Class::Stream, "xgroup-createconsumer", key);
        }
        if let Some(entries) = got.entries {
            found.push((Reply::bulk(key), Reply::Array(entries)));
        }
    }
    Ok(if found.is_empty() { Reply::NilArray } else { Reply::Pairs(found) })
}

fn want(id: &[u8]) -> Result<Want, Refused> {
    match ids::c_string(id) {
        b"$" => Err(Refused::Text(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
             specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set."
                .to_owned(),
        )),
        b">" => Ok(Want::New),
        _ => Ok(match ids::exact(id, 0)? {
            // Redis has no other way to say it to itself.
            Id::MAX => Want::New,
            after => Want::Owed(after),
        }),
    }
}

fn read(entries: &Entries, group: &mut Group, consumer: &[u8], want: Want, call: &Call<'_, '_>, cx: &Context) -> Got {
    let place = group.find(consumer);
    if let Some(place) = place {
        group.see(place, cx.stamp.0);
    }
    if matches!(want, Want::New) && !entries.has_any_behind(group.last) {
        return Got { entries: None, consumer_made: false };
    }
    let consumer_made = place.is_none();
    let place = place.unwrap_or_else(|| group.add_consumer(consumer, cx.stamp.0));
    let got = match want {
        Want::New => deliver(entries, group, place, call, cx),
        Want::Owed(after) => again(entries, group, place, after, call.count, cx),
    };
    Got { entries: Some(got), consumer_made }
}

/// Gives a consumer what nobody has had.
fn deliver(entries: &Entries, group: &mut Group, place: Place, call: &Call<'_, '_>, cx: &Context) -> Vec<Reply> {
    let Some(from) = group.last.next() else { return Vec::new() };
    let mut got = Vec::new();
    for entry in entries.log().range(from, Id::MAX).take(call.count) {
        group.advance(entries, entry.id);
        if !call.no_ack {
            group.assign(entry.id, place, cx.stamp.0, 1);
        }
        got.push(shown(entry));
    }
    got
}

/// Gives a consumer what it has had and owes; of what was deleted meanwhile, the ID alone.
fn again(entries: &Entries, group: &mut Group, place: Place, after: Id, count: usize, cx: &Context) -> Vec<Reply> {
    let Some(from) = after.next() else { return Vec::new() };
    let owed: Vec<Id> = group.consumer(place).pending(from).take(count).collect();
    let give = |id: Id| match entries.log().get(id) {
        None => Reply::Array(vec![id.reply(), Reply::NilArray]),
        Some(entry) => {
            group.again(id, cx.stamp.0);
            shown(entry)
        }
    };
    owed.into_iter().map(give).collect()
}

pub(super) fn xack(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let stream = keyspace.container::<Stream>(cx, args[1])?;
    if stream.is_none_or(|stream| stream.group(args[2]).is_none()) {
        return Ok(Reply::Int(0));
    }
    let ids = args[3..].iter().map(|id| ids::exact(id, 0)).collect::<Result<Vec<_>, _>>()?;
    let taken = keyspace.change(cx, args[1], Absent::Leave, |stream: &mut Stream| {
        let take = |_: &Entries, group: &mut Group| ids.iter().filter(|id| group.acknowledge(**id)).count();
        (stream.change_group(args[2], take), Changed::No)
    })?;
    Ok(Reply::count(taken.flatten().unwrap_or(0)))
}
