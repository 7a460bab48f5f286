//! XREADGROUP and XACK.

use super::{block, ids, read};
use crate::command::Outcome;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::{Group, Id};
use crate::{Context, Keyspace, Refused, Reply};

pub(super) fn xreadgroup(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let call = block::Call::parse(args)?;
    let Some((name, consumer)) = call.group else {
        return Err(Refused::Text("ERR Missing GROUP option for XREADGROUP".to_owned()));
    };
    for (key, id) in call.streams() {
        let stream = keyspace.container::<Stream>(cx, key)?;
        if !stream.is_some_and(|stream| stream.groups.contains_key(name)) {
            return Err(Refused::Text(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(name)
            )));
        }
        block::history(id)?;
    }
    let mut found = Vec::new();
    for (key, id) in call.streams() {
        let history = block::history(id)?;
        let (entries, made) = keyspace
            .change(cx, key, Absent::Leave, |stream: &mut Stream| {
                let Stream { log, groups, .. } = stream;
                let group = std::sync::Arc::make_mut(groups.get_mut(name).expect("the group is there"));
                let made = !group.consumers.contains_key(consumer);
                group.consumers.entry(consumer.into()).or_default().seen = cx.stamp.0;
                let entries = match history {
                    None => new_entries(log, group, consumer, cx, &call),
                    Some(from) => old_entries(log, group, consumer, from, call.count),
                };
                ((entries, made), Changed::Yes)
            })?
            .expect("the stream is there");
        if made {
            keyspace.notify(cx.db, Class::Stream, "xgroup-createconsumer", key);
        }
        if !entries.is_empty() || history.is_some() {
            found.push((Reply::bulk(key), Reply::Array(entries)));
        }
    }
    Ok(block::answer(found))
}

fn new_entries(
    log: &crate::value::stream::Log,
    group: &mut Group,
    consumer: &[u8],
    cx: &Context,
    call: &block::Call<'_>,
) -> Vec<Reply> {
    let Some(from) = group.last.next() else { return Vec::new() };
    let mut entries = Vec::new();
    for entry in log.range(from, Id::MAX).take(call.count) {
        group.last = entry.id;
        if !call.no_ack {
            group.deliver(consumer, entry.id, cx.stamp.0);
        }
        entries.push(read::shown(entry));
    }
    entries
}

fn old_entries(
    log: &crate::value::stream::Log,
    group: &mut Group,
    consumer: &[u8],
    after: Id,
    count: usize,
) -> Vec<Reply> {
    let (Some(from), Some(consumer)) = (after.next(), group.consumers.get(consumer)) else { return Vec::new() };
    let shown = |id: &Id| match log.range(*id, *id).next() {
        Some(entry) => read::shown(entry),
        None => Reply::Array(vec![Reply::text(id), Reply::NilArray]),
    };
    consumer.pending.range(from..).take(count).map(shown).collect()
}

pub(super) fn xack(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let stream = keyspace.container::<Stream>(cx, args[1])?;
    if !stream.is_some_and(|stream| stream.groups.contains_key(args[2])) {
        return Ok(Reply::Int(0));
    }
    let ids = args[3..].iter().map(|id| ids::exact(id, 0)).collect::<Result<Vec<_>, _>>()?;
    let taken = keyspace.change(cx, args[1], Absent::Leave, |stream: &mut Stream| {
        let group = stream.group_mut(args[2]).expect("the group is there");
        let taken = ids.iter().filter(|id| group.acknowledge(**id)).count();
        (taken, Changed::from(taken > 0))
    })?;
    Ok(Reply::count(taken.unwrap_or(0)))
}
