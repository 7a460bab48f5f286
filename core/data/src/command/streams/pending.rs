//! XPENDING.

use super::ids::{self, c_text};
use super::read;
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::value::Stream;
use crate::value::stream::{Group, Id, Nack};
use crate::{Context, Keyspace, Refused, Reply};

/// Which entries are asked for.
struct Wanted<'a> {
    idle_ms_min: i64,
    from: Id,
    to: Id,
    count: usize,
    consumer: Option<&'a [u8]>,
}

pub(super) fn xpending(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let wanted = match args.len() {
        3 => None,
        6..=9 => Some(wanted(args)?),
        _ => return Err(Refused::Syntax),
    };
    let stream = keyspace.container::<Stream>(cx, args[1])?;
    let group = stream.and_then(|stream| stream.group(args[2])).ok_or_else(|| no_group(args[1], args[2]))?;
    Ok(wanted.map_or_else(|| summary(group), |wanted| list(group, cx, &wanted)))
}

/// That there is no such stream or no such group in it.
pub(super) fn no_group(key: &[u8], name: &[u8]) -> Refused {
    Refused::Text(format!("NOGROUP No such key '{}' or consumer group '{}'", c_text(key), c_text(name)))
}

/// How long ago an entry was delivered, in milliseconds.
pub(super) fn idle_ms(cx: &Context, nack: Nack) -> i64 {
    i64::try_from(cx.stamp.0.saturating_sub(nack.at_ms)).unwrap_or(i64::MAX)
}

fn wanted<'a>(args: &[&'a [u8]]) -> Result<Wanted<'a>, Refused> {
    let mut idle_ms_min = 0;
    let mut at = 3;
    if args[3].eq_ignore_ascii_case(b"idle") {
        idle_ms_min = integer(args[4])?;
        if args.len() < 8 {
            return Err(Refused::Syntax);
        }
        at = 5;
    }
    let count = read::count(args[at + 2])?;
    let (from, to) = (ids::start(args[at])?, ids::end(args[at + 1])?);
    Ok(Wanted { idle_ms_min, from, to, count, consumer: args.get(at + 3).copied() })
}

fn summary(group: &Group) -> Reply {
    let Some((first, last)) = group.pending_ends() else {
        return Reply::Array(vec![Reply::Int(0), Reply::Nil, Reply::Nil, Reply::NilArray]);
    };
    let owing = group.consumers().filter(|consumer| consumer.pending_count() > 0);
    let owing = owing.map(|one| Reply::Array(vec![Reply::bulk(one.name()), Reply::text(one.pending_count())]));
    let owing = Reply::Array(owing.collect());
    Reply::Array(vec![Reply::count(group.pending_count()), first.reply(), last.reply(), owing])
}

fn list(group: &Group, cx: &Context, wanted: &Wanted<'_>) -> Reply {
    let shown = |(id, nack): (Id, Nack)| {
        let name = group.consumer(nack.consumer()).name();
        let idle = Reply::Int(idle_ms(cx, nack));
        Reply::Array(vec![id.reply(), Reply::bulk(name), idle, Reply::Int(nack.count.cast_signed())])
    };
    let idle_enough = |(_, nack): &(Id, Nack)| wanted.idle_ms_min == 0 || idle_ms(cx, *nack) >= wanted.idle_ms_min;
    let Some(name) = wanted.consumer else {
        let all = group.pending(wanted.from).take_while(|(id, _)| *id <= wanted.to);
        return Reply::Array(all.filter(idle_enough).take(wanted.count).map(shown).collect());
    };
    let Some(place) = group.find(name) else { return Reply::Array(Vec::new()) };
    let its = group.consumer(place).pending(wanted.from).take_while(|id| *id <= wanted.to);
    let its = its.filter_map(|id| Some((id, group.nack(id)?)));
    Reply::Array(its.filter(idle_enough).take(wanted.count).map(shown).collect())
}
