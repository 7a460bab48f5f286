//! XINFO.

use super::groups::no_group_for;
use super::{Group, Stream, id_answer, lower, number, shown};
use crate::answer::Answer;
use crate::oracle::{Model, count, error};

fn int(n: u64) -> Answer {
    Answer::Int(n.cast_signed())
}

/// Names and values in turn, as RESP2 has maps.
fn map(pairs: Vec<(&str, Answer)>) -> Answer {
    Answer::Array(pairs.into_iter().flat_map(|(name, value)| [Answer::bulk(name.as_bytes()), value]).collect())
}

impl Model {
    pub(super) fn xinfo(&self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let Some(stream) = self.stream_at(at, words[2])? else { return Err(error("ERR no such key")) };
        match lower(words[1]).as_str() {
            "groups" => {
                let one = |(name, group): (&Vec<u8>, &Group)| {
                    map(vec![
                        ("name", Answer::bulk(name)),
                        ("consumers", count(group.consumers.len())),
                        ("pending", count(group.pending.len())),
                        ("last-delivered-id", id_answer(group.last)),
                        ("entries-read", group.read.map_or(Answer::Nil, int)),
                        ("lag", stream.lag(group).map_or(Answer::Nil, Answer::Int)),
                    ])
                };
                Ok(Answer::Array(stream.groups.iter().map(one).collect()))
            }
            "consumers" => {
                let group = stream.groups.get(words[3]).ok_or_else(|| no_group_for(words[2], words[3]))?;
                let mut all = Vec::new();
                for (name, consumer) in &group.consumers {
                    let idle = at.0.saturating_sub(consumer.seen);
                    let pending = count(group.owed(name).count());
                    all.push(map(vec![("name", Answer::bulk(name)), ("pending", pending), ("idle", int(idle))]));
                }
                Ok(Answer::Array(all))
            }
            _ => self::stream(&stream, words),
        }
    }
}

fn stream(stream: &Stream, words: &[&[u8]]) -> Result<Answer, Answer> {
    let most = match words[3..].iter().map(|word| lower(word)).collect::<Vec<_>>().as_slice() {
        [] => None,
        [full] if full == "full" => Some(10),
        [full, count, _] if full == "full" && count == "count" => match number(words[5])? {
            0 => Some(usize::MAX),
            n => Some(usize::try_from(n).unwrap_or(10)),
        },
        _ => {
            let sub = shown(words[1]);
            let text = format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try XINFO HELP.");
            return Err(error(&text));
        }
    };
    let first = stream.entries().next();
    let mut pairs = vec![
        ("length", count(stream.len())),
        ("radix-tree-keys", count(stream.nodes.len())),
        ("radix-tree-nodes", count(stream.nodes.len() + 1)),
        ("last-generated-id", id_answer(stream.last)),
        ("max-deleted-entry-id", id_answer(stream.deleted_max)),
        ("entries-added", int(stream.added)),
        ("recorded-first-entry-id", id_answer(first.map_or((0, 0), |first| first.id))),
    ];
    if let Some(producers) = &stream.producers {
        pairs.extend([
            ("idmp-duration", int(producers.duration_s)),
            ("idmp-maxsize", count(producers.size_max)),
            ("pids-tracked", count(producers.all.len())),
            ("iids-tracked", count(producers.all.iter().map(|one| one.known.len()).sum())),
            ("iids-added", int(producers.added)),
            ("iids-duplicates", int(producers.duplicates)),
        ]);
    }
    let Some(most) = most else {
        pairs.extend([
            ("groups", count(stream.groups.len())),
            ("first-entry", first.map_or(Answer::Nil, super::Entry::answer)),
            ("last-entry", stream.entries().next_back().map_or(Answer::Nil, super::Entry::answer)),
        ]);
        return Ok(map(pairs));
    };
    let groups = stream.groups.iter().map(|(name, group)| in_full(stream, name, group, most));
    pairs.extend([
        ("entries", Answer::Array(stream.entries().take(most).map(super::Entry::answer).collect())),
        ("groups", Answer::Array(groups.collect())),
    ]);
    Ok(map(pairs))
}

fn in_full(stream: &Stream, name: &[u8], group: &Group, most: usize) -> Answer {
    let mut consumers = Vec::new();
    for (name, consumer) in &group.consumers {
        let owed = group.owed(name).take(most);
        let owed = owed.map(|(id, one)| Answer::Array(vec![id_answer(*id), int(one.at), int(one.count)]));
        consumers.push(map(vec![
            ("name", Answer::bulk(name)),
            ("seen-time", int(consumer.seen)),
            ("pel-count", count(group.owed(name).count())),
            ("pending", Answer::Array(owed.collect())),
        ]));
    }
    let pending =
        group.pending.iter().take(most).map(|(id, one)| {
            Answer::Array(vec![id_answer(*id), Answer::bulk(&one.consumer), int(one.at), int(one.count)])
        });
    map(vec![
        ("name", Answer::bulk(name)),
        ("last-delivered-id", id_answer(group.last)),
        ("entries-read", group.read.map_or(Answer::Nil, int)),
        ("lag", stream.lag(group).map_or(Answer::Nil, Answer::Int)),
        ("pel-count", count(group.pending.len())),
        ("pending", Answer::Array(pending.collect())),
        ("consumers", Answer::Array(consumers)),
    ])
}
