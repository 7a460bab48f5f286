//! Where entries stand: in nodes that close as Redis' do, which depends on how long their listpacks would be.

use super::{Id, Stream};
use crate::answer::Answer;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Bytes of the listpack.
    listpack: usize,
    pub entries: Vec<Entry>,
}

/// An entry, deleted or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub id: Id,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub alive: bool,
}

const NODE_BYTES_MAX: usize = 4096;
const NODE_ENTRIES_MAX: usize = 100;

impl Node {
    pub(super) fn live(&self) -> usize {
        self.entries.iter().filter(|entry| entry.alive).count()
    }

    fn names(&self) -> Vec<&[u8]> {
        self.entries[0].fields.iter().map(|(name, _)| name.as_slice()).collect()
    }

    fn add(&mut self, entry: Entry) {
        let first = self.entries.first().map_or(entry.id, |first| first.id);
        let names: Vec<&[u8]> = entry.fields.iter().map(|(name, _)| name.as_slice()).collect();
        let same = self.entries.is_empty() || self.names() == names;
        let mut parts: Vec<Vec<u8>> = vec![text(if same { 2 } else { 0 })];
        parts.push(text(entry.id.0.wrapping_sub(first.0).cast_signed()));
        parts.push(text(entry.id.1.wrapping_sub(first.1).cast_signed()));
        if !same {
            parts.push(text(i64::try_from(names.len()).expect("few")));
        }
        for (name, value) in &entry.fields {
            if !same {
                parts.push(name.clone());
            }
            parts.push(value.clone());
        }
        parts.push(text(i64::try_from(parts.len()).expect("few")));
        self.listpack += parts.iter().map(|part| bytes_of(part)).sum::<usize>();
        self.entries.push(entry);
    }
}

impl Stream {
    /// The live entries in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.nodes.iter().flat_map(|node| node.entries.iter()).filter(|entry| entry.alive)
    }

    pub(super) fn len(&self) -> usize {
        self.entries().count()
    }

    pub(super) fn find(&self, id: Id) -> Option<&Entry> {
        self.entries().find(|entry| entry.id == id)
    }

    pub(super) fn between(&self, from: Id, to: Id) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries().filter(move |entry| entry.id >= from && entry.id <= to)
    }

    pub(super) fn push(&mut self, id: Id, fields: Vec<(Vec<u8>, Vec<u8>)>) {
        // Only what is dead can stand behind a new entry: XSETID led back.
        while self.nodes.last().is_some_and(|node| node.entries[0].id >= id) {
            self.nodes.pop();
        }
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let full = |node: &Node| node.listpack + bytes >= NODE_BYTES_MAX || node.entries.len() >= NODE_ENTRIES_MAX;
        if self.nodes.last().is_none_or(full) {
            // Six bytes of head, one of end; then how many live, how many are deleted, how many names, they, a zero.
            let names: usize = fields.iter().map(|(name, _)| bytes_of(name)).sum();
            let count = bytes_of(&text(i64::try_from(fields.len()).expect("few")));
            let listpack = 7 + bytes_of(b"1") + bytes_of(b"0") + count + names + bytes_of(b"0");
            self.nodes.push(Node { listpack, entries: Vec::new() });
        }
        self.nodes.last_mut().expect("there is one").add(Entry { id, fields, alive: true });
        self.last = id;
        self.added += 1;
    }

    pub(super) fn delete(&mut self, id: Id) -> bool {
        let is = |entry: &Entry| entry.alive && entry.id == id;
        let Some(at) = self.nodes.iter().position(|node| node.entries.iter().any(is)) else { return false };
        if self.nodes[at].live() == 1 {
            self.nodes.remove(at);
        } else {
            self.nodes[at].entries.iter_mut().filter(|entry| is(entry)).for_each(|entry| entry.alive = false);
        }
        self.deleted_max = self.deleted_max.max(id);
        true
    }

    /// Trims to a length, or to an ID; how many entries went.
    pub(super) fn trim(&mut self, len: Option<usize>, from: Id, approximate: bool, limit: usize) -> usize {
        let before = self.len();
        while let Some(node) = self.nodes.first() {
            let (live, excess) = (node.live(), len.map(|len| self.len().saturating_sub(len)));
            if excess == Some(0) || (limit > 0 && before - self.len() + live > limit) {
                break;
            }
            let whole = match excess {
                Some(excess) => live <= excess,
                None => node.entries.last().is_some_and(|last| last.id < from),
            };
            if whole {
                self.nodes.remove(0);
                continue;
            }
            if !approximate {
                let live = self.nodes[0].entries.iter_mut().filter(|entry| entry.alive);
                match excess {
                    Some(excess) => live.take(excess).for_each(|entry| entry.alive = false),
                    None => live.filter(|entry| entry.id < from).for_each(|entry| entry.alive = false),
                }
            }
            break;
        }
        before - self.len()
    }
}

impl Entry {
    pub(super) fn answer(&self) -> Answer {
        let fields = self.fields.iter().flat_map(|(name, value)| [Answer::bulk(name), Answer::bulk(value)]);
        Answer::Array(vec![super::id_answer(self.id), Answer::Array(fields.collect())])
    }
}

fn text(n: i64) -> Vec<u8> {
    n.to_string().into_bytes()
}

/// What an element of a listpack takes: its encoding, its bytes, and how long both are in sevens of bits.
fn bytes_of(element: &[u8]) -> usize {
    let own = match super::integer(element) {
        Some(n) if (0..128).contains(&n) => 1,
        Some(n) if (-4096..4096).contains(&n) => 2,
        Some(n) if i16::try_from(n).is_ok() => 3,
        Some(n) if (-(1 << 23)..1 << 23).contains(&n) => 4,
        Some(n) if i32::try_from(n).is_ok() => 5,
        Some(_) => 9,
        None if element.len() < 64 => element.len() + 1,
        None if element.len() < 4096 => element.len() + 2,
        None => element.len() + 5,
    };
    let (mut back, mut rest) = (1, own >> 7);
    while rest > 0 {
        (back, rest) = (back + 1, rest >> 7);
    }
    own + back
}
