//! Whether a stream of the shard is the model's.

use crate::oracle::streams;
use data::value::{Stream, stream};

/// The same entries, from both sides, in as many nodes; the same groups.
pub(super) fn are_alike(found: &Stream, expected: &streams::Stream) -> bool {
    let (entries, log) = (found.entries(), found.log());
    let parts = |entry: stream::Entry<'_>| (id(entry.id), entry.fields().map(<[u8]>::to_vec).collect::<Vec<_>>());
    let expected_parts = |entry: &streams::Entry| {
        let fields = entry.fields.iter().flat_map(|(name, value)| [name.clone(), value.clone()]);
        (entry.id, fields.collect::<Vec<_>>())
    };
    let (min, max) = (stream::Id::MIN, stream::Id::MAX);
    log.len() == expected.entries().count()
        && log.range(min, max).map(parts).eq(expected.entries().map(expected_parts))
        && log.range_back(min, max).map(parts).eq(expected.entries().rev().map(expected_parts))
        && log.chunk_count() == expected.nodes.len()
        && (id(entries.last()), id(entries.deleted_max()), entries.added())
            == (expected.last, expected.deleted_max, expected.added)
        && found.groups().len() == expected.groups.len()
        && expected
            .groups
            .iter()
            .all(|(name, group)| found.group(name).is_some_and(|found| groups_are_alike(found, group)))
        && found.producers().map(|found| (found.limits(), found.tracked(), found.counts()))
            == expected.producers.as_ref().map(|expected| {
                let names = expected.all.iter().map(|one| one.known.len()).sum();
                let limits = (expected.duration_s, expected.size_max as u64);
                (limits, (expected.all.len(), names), (expected.added, expected.duplicates))
            })
}

/// The same consumers, who owe the same.
fn groups_are_alike(found: &stream::Group, expected: &streams::Group) -> bool {
    let pending = found.pending(stream::Id::MIN).map(|(at, nack)| {
        let consumer = found.consumer(nack.consumer()).name().to_vec();
        (id(at), streams::Pending { consumer, at: nack.at_ms, count: nack.count })
    });
    let consumer_is_alike = |name: &Vec<u8>, consumer: &streams::Consumer| {
        let Some(found) = found.find(name).map(|place| found.consumer(place)) else { return false };
        let owed = expected.pending.iter().filter(|(_, one)| one.consumer == *name).map(|(id, _)| *id);
        found.seen_ms() == consumer.seen && found.pending(stream::Id::MIN).map(id).eq(owed)
    };
    (id(found.last), found.read) == (expected.last, expected.read)
        && pending.eq(expected.pending.iter().map(|(id, one)| (*id, one.clone())))
        && found.consumers().len() == expected.consumers.len()
        && expected.consumers.iter().all(|(name, consumer)| consumer_is_alike(name, consumer))
}

fn id(id: stream::Id) -> streams::Id {
    (id.ms, id.seq)
}
