//! Streams in payloads: entries packed by nodes, then what is known of the stream, then its groups.
//!
//! ```text
//! [nodes] ([16: first ID, two u64 be][listpack])..  [entries][last ID]
//!   since version 2: [first ID][largest deleted ID][entries ever added]
//! [groups] ([name][last ID] since version 2: [entries read, 2^64 - 1: unknown]
//!   [pending] ([ID, two u64 be][delivered at u64 le][times])..
//!   [consumers] ([name][seen at u64 le][pending] ([ID])..)..)..
//! listpack: [entries][deleted][fields][names]..[0] then entries: [flags][ms][seq], both from the node's ID,
//!   [fields if they are others]([name][value])..[elements of this entry]
//! ```
//!
//! Which client sent what under an id of its own, this format has no place for.

use super::listpack::{Elements, Item, Items, Maker};
use super::source::{Bad, Source, put_length, put_string};
use crate::value::Stream;
use crate::value::stream::{Entry, Group, Id, Marks};
use std::borrow::Cow;

/// What the type of a payload says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Entries and bytes of a node, as Redis has them by default.
const NODE_ENTRIES_MAX: usize = 100;
const NODE_BYTES_MAX: usize = 4096;
/// In place of how many entries a group has read.
const UNKNOWN: u64 = u64::MAX;

pub fn load(source: &mut Source<'_>, version: Version) -> Result<Stream, Bad> {
    let mut stream = Stream::default();
    for _ in 0..source.length()? {
        let key = source.string()?;
        load_node(&mut stream, id_of(&key)?, &source.string()?)?;
    }
    let (count, last) = (source.length()?, plain_id(source)?);
    if count != stream.log().len() as u64 || stream.log().last().is_some_and(|id| id > last) {
        return Err(Bad);
    }
    let mut marks = Marks { last, added: Some(count), deleted_max: Some(Id::MIN) };
    if version == Version::Two {
        // The first ID follows from the entries.
        plain_id(source)?;
        marks.deleted_max = Some(plain_id(source)?);
        marks.added = Some(source.length()?);
    }
    stream.set_marks(marks);
    for _ in 0..source.length()? {
        let name = source.string()?;
        let group = load_group(source, &stream, version)?;
        if stream.group(&name).is_some() {
            return Err(Bad);
        }
        stream.add_group(&name, group);
    }
    Ok(stream)
}

fn plain_id(source: &mut Source<'_>) -> Result<Id, Bad> {
    Ok(Id::new(source.length()?, source.length()?))
}

/// An ID that sorts as its bytes do.
fn id_of(bytes: &[u8]) -> Result<Id, Bad> {
    let (ms, rest) = bytes.split_first_chunk::<8>().ok_or(Bad)?;
    let seq: [u8; 8] = rest.try_into().map_err(|_| Bad)?;
    Ok(Id::new(u64::from_be_bytes(*ms), u64::from_be_bytes(seq)))
}

fn put_id(out: &mut Vec<u8>, id: Id) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

/// Adds the entries of a node, those that are deleted left out.
fn load_node(stream: &mut Stream, master: Id, bytes: &[u8]) -> Result<(), Bad> {
    let mut items = Items::of(bytes)?;
    let (mut live, mut deleted) = (size(items.need()?)?, size(items.need()?)?);
    let mut names = Vec::new();
    for _ in 0..size(items.need()?)? {
        names.push(items.need()?);
    }
    if int(items.need()?)? != 0 {
        return Err(Bad);
    }
    while let Some(flags) = items.next()? {
        let flags = int(flags)?;
        let (ms, seq) = (int(items.need()?)?, int(items.need()?)?);
        let id = Id::new(master.ms.wrapping_add_signed(ms), master.seq.wrapping_add_signed(seq));
        let same = flags & SAME_FIELDS != 0;
        let count = if same { names.len() as u64 } else { size(items.need()?)? };
        let mut fields: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut known = names.iter();
        for _ in 0..count {
            let name = if same { known.next().copied().ok_or(Bad)? } else { items.need()? };
            fields.extend([name.text(), items.need()?.text()]);
        }
        if size(items.need()?)? != element_count(count, same) {
            return Err(Bad);
        }
        let kind = if flags & DELETED == 0 { &mut live } else { &mut deleted };
        *kind = kind.checked_sub(1).ok_or(Bad)?;
        if flags & DELETED == 0 {
            let fields: Vec<&[u8]> = fields.iter().map(AsRef::as_ref).collect();
            if id <= stream.entries().last() || fields.is_empty() {
                return Err(Bad);
            }
            stream.add(id, &fields);
        }
    }
    if live == 0 && deleted == 0 { Ok(()) } else { Err(Bad) }
}

/// How many elements an entry with so many fields is, this number not counted.
fn element_count(fields: u64, same: bool) -> u64 {
    if same { 3 + fields } else { 4 + 2 * fields }
}

fn size(item: Item<'_>) -> Result<u64, Bad> {
    u64::try_from(int(item)?).map_err(|_| Bad)
}

fn int(item: Item<'_>) -> Result<i64, Bad> {
    if let Item::Int(number) = item { Ok(number) } else { Err(Bad) }
}

fn load_group(source: &mut Source<'_>, stream: &Stream, version: Version) -> Result<Group, Bad> {
    let last = plain_id(source)?;
    let read = match version {
        Version::One => stream.entries().added_up_to(last),
        Version::Two => Some(source.length()?).filter(|read| *read != UNKNOWN),
    };
    let mut group = Group::new(last, read);
    let mut pending = std::collections::BTreeMap::new();
    for _ in 0..source.length()? {
        let id = id_of(source.take(16)?)?;
        let delivered = (source.u64()?, source.length()?);
        if pending.insert(id, delivered).is_some() {
            return Err(Bad);
        }
    }
    for _ in 0..source.length()? {
        let name = source.string()?;
        if group.find(&name).is_some() {
            return Err(Bad);
        }
        let place = group.add_consumer(&name, source.u64()?);
        for _ in 0..source.length()? {
            let id = id_of(source.take(16)?)?;
            // Each is owed by one consumer.
            let (at_ms, count) = pending.remove(&id).ok_or(Bad)?;
            group.assign(id, place, at_ms, count);
        }
    }
    if pending.is_empty() { Ok(group) } else { Err(Bad) }
}

pub fn save(stream: &Stream, out: &mut Vec<u8>) {
    let (mut nodes, mut bytes) = (Vec::<Vec<Entry<'_>>>::new(), 0);
    for entry in stream.log().range(Id::MIN, Id::MAX) {
        match nodes.last_mut() {
            Some(node) if bytes < NODE_BYTES_MAX && node.len() < NODE_ENTRIES_MAX => node.push(entry),
            _ => {
                nodes.push(vec![entry]);
                bytes = 0;
            }
        }
        bytes += entry.fields().map(<[u8]>::len).sum::<usize>();
    }
    put_length(out, nodes.len() as u64);
    for node in nodes {
        save_node(&node, out);
    }
    let entries = stream.entries();
    put_length(out, stream.log().len() as u64);
    for id in [entries.last(), stream.log().first().unwrap_or(Id::MIN), entries.deleted_max()] {
        put_length(out, id.ms);
        put_length(out, id.seq);
    }
    put_length(out, entries.added());
    put_length(out, stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        put_string(out, name);
        save_group(group, out);
    }
}

fn save_group(group: &Group, out: &mut Vec<u8>) {
    put_length(out, group.last.ms);
    put_length(out, group.last.seq);
    put_length(out, group.read.unwrap_or(UNKNOWN));
    put_length(out, group.pending_count() as u64);
    for (id, nack) in group.pending(Id::MIN) {
        put_id(out, id);
        out.extend_from_slice(&nack.at_ms.to_le_bytes());
        put_length(out, nack.count);
    }
    put_length(out, group.consumers().len() as u64);
    for consumer in group.consumers() {
        put_string(out, consumer.name());
        out.extend_from_slice(&consumer.seen_ms().to_le_bytes());
        put_length(out, consumer.pending_count() as u64);
        consumer.pending(Id::MIN).for_each(|id| put_id(out, id));
    }
}

/// Entries packed together: those with the names of the first don't tell theirs.
fn save_node(entries: &[Entry<'_>], out: &mut Vec<u8>) {
    let (Some(first), Ok(live)) = (entries.first(), i64::try_from(entries.len())) else { return };
    let mut key = Vec::with_capacity(16);
    put_id(&mut key, first.id);
    put_string(out, &key);
    let names: Vec<&[u8]> = first.fields().step_by(2).collect();
    let mut maker = Maker::default();
    [live, 0, count(names.len())].into_iter().for_each(|number| maker.push_int(number));
    names.iter().for_each(|name| maker.push(name));
    maker.push_int(0);
    for entry in entries {
        let same = entry.fields().step_by(2).eq(names.iter().copied());
        maker.push_int(if same { SAME_FIELDS } else { 0 });
        maker.push_int(entry.id.ms.wrapping_sub(first.id.ms).cast_signed());
        maker.push_int(entry.id.seq.wrapping_sub(first.id.seq).cast_signed());
        let fields = entry.fields().len() / 2;
        if same {
            entry.fields().skip(1).step_by(2).for_each(|value| maker.push(value));
        } else {
            maker.push_int(count(fields));
            entry.fields().for_each(|text| maker.push(text));
        }
        maker.push_int(element_count(fields as u64, same).cast_signed());
    }
    put_string(out, &maker.done());
}

fn count(n: usize) -> i64 {
    i64::try_from(n).expect("requests have fewer words")
}
