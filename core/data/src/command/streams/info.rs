//! XINFO.

use super::group::{no_group, wrong_words};
use super::read::shown;
use crate::command::Outcome;
use crate::command::containers;
use crate::command::strings::integer;
use crate::value::Stream;
use crate::value::stream::{Consumer, Group, Id, Producers};
use crate::{Context, Keyspace, Refused, Reply};

/// Entries that FULL shows of each list if nothing else is said.
const COUNT_DEFAULT: usize = 10;

pub(super) fn xinfo(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(key) = args.get(2) else { return Ok(containers::help(&super::COMMANDS[super::XINFO])) };
    let stream = keyspace.container::<Stream>(cx, key)?.ok_or(Refused::NoSuchKey)?;
    match args[1].to_ascii_lowercase().as_slice() {
        b"groups" => Ok(Reply::Array(stream.groups().map(|(name, group)| of_group(stream, name, group)).collect())),
        b"consumers" => {
            let group = stream.group(args[3]).ok_or_else(|| no_group(key, args[3]))?;
            Ok(Reply::Array(group.consumers().map(|consumer| of_consumer(cx, consumer)).collect()))
        }
        _ => of_stream(stream, args),
    }
}

fn field(name: &str, value: Reply) -> (Reply, Reply) {
    (Reply::bulk(name.as_bytes()), value)
}

fn number(n: u64) -> Reply {
    Reply::Int(n.cast_signed())
}

fn of_group(stream: &Stream, name: &[u8], group: &Group) -> Reply {
    Reply::Map(vec![
        field("name", Reply::bulk(name)),
        field("consumers", Reply::count(group.consumers().len())),
        field("pending", Reply::count(group.pending_count())),
        field("last-delivered-id", group.last.reply()),
        field("entries-read", group.read.map_or(Reply::Nil, number)),
        field("lag", group.lag(stream.entries()).map_or(Reply::Nil, Reply::Int)),
    ])
}

fn of_consumer(cx: &Context, consumer: &Consumer) -> Reply {
    Reply::Map(vec![
        field("name", Reply::bulk(consumer.name())),
        field("pending", Reply::count(consumer.pending_count())),
        field("idle", number(cx.stamp.0.saturating_sub(consumer.seen_ms()))),
    ])
}

fn of_stream(stream: &Stream, args: &[&[u8]]) -> Outcome {
    let count = match args.get(3..) {
        None | Some([]) => return Ok(Reply::Map(brief(stream))),
        Some([full]) if is(full, "full") => COUNT_DEFAULT,
        Some([full, count, number]) if is(full, "full") && is(count, "count") => match integer(number)? {
            0 => usize::MAX,
            number => usize::try_from(number).unwrap_or(COUNT_DEFAULT),
        },
        Some(_) => return Err(wrong_words("XINFO", args[1])),
    };
    Ok(Reply::Map(full(stream, count)))
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// What both forms begin with. What idempotent production adds is shown where it is used, as its manual says.
fn head(stream: &Stream) -> Vec<(Reply, Reply)> {
    let (entries, log) = (stream.entries(), stream.log());
    let chunks = log.chunk_count();
    let mut out = vec![
        field("length", Reply::count(log.len())),
        // There is no radix tree: a chunk is what hangs on its keys, and one node leads to them.
        field("radix-tree-keys", Reply::count(chunks)),
        field("radix-tree-nodes", Reply::count(chunks + 1)),
        field("last-generated-id", entries.last().reply()),
        field("max-deleted-entry-id", entries.deleted_max().reply()),
        field("entries-added", number(entries.added())),
        field("recorded-first-entry-id", log.first().unwrap_or(Id::MIN).reply()),
    ];
    out.extend(stream.producers().into_iter().flat_map(of_producers));
    out
}

fn of_producers(producers: &Producers) -> [(Reply, Reply); 6] {
    let (limits, tracked, counts) = (producers.limits(), producers.tracked(), producers.counts());
    [
        field("idmp-duration", number(limits.0)),
        field("idmp-maxsize", number(limits.1)),
        field("pids-tracked", Reply::count(tracked.0)),
        field("iids-tracked", Reply::count(tracked.1)),
        field("iids-added", number(counts.0)),
        field("iids-duplicates", number(counts.1)),
    ]
}

fn brief(stream: &Stream) -> Vec<(Reply, Reply)> {
    let log = stream.log();
    let mut out = head(stream);
    out.extend([
        field("groups", Reply::count(stream.groups().len())),
        field("first-entry", log.range(Id::MIN, Id::MAX).next().map_or(Reply::Nil, shown)),
        field("last-entry", log.range_back(Id::MIN, Id::MAX).next().map_or(Reply::Nil, shown)),
    ]);
    out
}

fn full(stream: &Stream, count: usize) -> Vec<(Reply, Reply)> {
    let entries = stream.log().range(Id::MIN, Id::MAX).take(count).map(shown).collect();
    let groups = stream.groups().map(|(name, group)| group_in_full(stream, name, group, count)).collect();
    let mut out = head(stream);
    out.extend([field("entries", Reply::Array(entries)), field("groups", Reply::Array(groups))]);
    out
}

fn group_in_full(stream: &Stream, name: &[u8], group: &Group, count: usize) -> Reply {
    let pending = group.pending(Id::MIN).take(count).map(|(id, nack)| {
        let name = Reply::bulk(group.consumer(nack.consumer()).name());
        Reply::Array(vec![id.reply(), name, number(nack.at_ms), number(nack.count)])
    });
    Reply::Map(vec![
        field("name", Reply::bulk(name)),
        field("last-delivered-id", group.last.reply()),
        field("entries-read", group.read.map_or(Reply::Nil, number)),
        field("lag", group.lag(stream.entries()).map_or(Reply::Nil, Reply::Int)),
        field("pel-count", Reply::count(group.pending_count())),
        field("pending", Reply::Array(pending.collect())),
        field("consumers", Reply::Array(group.consumers().map(|one| consumer_in_full(group, one, count)).collect())),
    ])
}

fn consumer_in_full(group: &Group, consumer: &Consumer, count: usize) -> Reply {
    let pending = consumer.pending(Id::MIN).take(count).map(|id| {
        let nack = group.nack(id).expect("what a consumer owes is pending");
        Reply::Array(vec![id.reply(), number(nack.at_ms), number(nack.count)])
    });
    Reply::Map(vec![
        field("name", Reply::bulk(consumer.name())),
        field("seen-time", number(consumer.seen_ms())),
        field("pel-count", Reply::count(consumer.pending_count())),
        field("pending", Reply::Array(pending.collect())),
    ])
}
