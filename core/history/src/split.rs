//! A history taken apart into pieces that share no key.
//!
//! Linearizability is local: a history has an order if the operations of each object have one (Herlihy and Wing, 1990).
//! An object is a key, or the keys that operations on several keys tie together.

use crate::command::Command;
use crate::record::{Fate, History, OpId};
use crate::reply::Reply;
use crate::switch::{Switch, broken};
use crate::text::Text;
use std::collections::BTreeMap;

/// An operation that the order must explain, or may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) id: OpId,
    pub(crate) command: &'a Command,
    pub(crate) invoke_ns: u64,
    /// How it was answered, if it took effect; none if nobody knows.
    pub(crate) reply: Option<&'a Reply>,
    /// When it had taken effect; none if it may be later, or never.
    pub(crate) return_ns: Option<u64>,
}

impl Entry<'_> {
    pub(crate) fn changes_nothing(&self) -> bool {
        self.command.body().changes_nothing(self.reply)
    }

    /// True if an order with it is one without it, as it need not be there.
    pub(crate) fn is_idle(&self) -> bool {
        self.return_ns.is_none() && self.changes_nothing()
    }
}

/// The operations of a history that matter, in pieces.
pub(crate) fn pieces(history: &History) -> Vec<Vec<Entry<'_>>> {
    split(&(0..).map(OpId).zip(history.operations()).filter_map(entry).collect::<Vec<_>>())
}

/// Entries without a common key apart, small pieces first.
pub(crate) fn split<'a>(entries: &[Entry<'a>]) -> Vec<Vec<Entry<'a>>> {
    let mut keys: BTreeMap<&Text, usize> = BTreeMap::new();
    let mut ties = Ties::default();
    for entry in entries {
        let mut first = None;
        for access in entry.command.body().accesses() {
            let key = *keys.entry(&access.key).or_insert_with(|| ties.add());
            let first = *first.get_or_insert(key);
            if !broken(Switch::Ties) {
                ties.tie(first, key);
            }
        }
    }
    let mut pieces: BTreeMap<usize, Vec<Entry<'a>>> = BTreeMap::new();
    for entry in entries {
        if let Some(access) = entry.command.body().accesses().next() {
            pieces.entry(ties.root(keys[&access.key])).or_default().push(*entry);
        }
    }
    let mut pieces: Vec<_> = pieces.into_values().collect();
    pieces.sort_by_key(Vec::len);
    pieces
}

/// The entry of an operation, if it has one: what had no effect and a read that nobody saw say nothing.
fn entry((id, operation): (OpId, &crate::Operation)) -> Option<Entry<'_>> {
    let (reply, return_ns) = match operation.fate() {
        Fate::Done { reply, return_ns } => (Some(reply), Some(return_ns)),
        Fate::Unknown => (None, None),
        Fate::Void => return None,
    };
    let entry = Entry { id, command: &operation.command, invoke_ns: operation.invoke_ns, reply, return_ns };
    (!entry.is_idle()).then_some(entry)
}

/// Which keys belong together: a forest in which the members of one piece share a root.
#[derive(Default)]
struct Ties {
    parents: Vec<usize>,
}

impl Ties {
    fn add(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.parents[at] != at {
            // Each step halves the way for the next who comes by.
            self.parents[at] = self.parents[self.parents[at]];
            at = self.parents[at];
        }
        at
    }

    fn tie(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(commands: &[Command]) -> Vec<usize> {
        let mut history = History::new();
        for (at, command) in (0..).zip(commands) {
            let op = history.invoke("c", command.clone(), at);
            history.returned(op, Reply::List(Vec::new()), at);
        }
        pieces(&history).iter().map(Vec::len).collect()
    }

    #[test]
    fn keys_are_apart_until_an_operation_ties_them() {
        let one = |words: &[&str]| Command::redis(words).expect("a command");
        let mut commands = vec![one(&["GET", "a"]), one(&["GET", "b"]), one(&["GET", "c"]), one(&["SET", "c", "1"])];
        assert_eq!(sizes(&commands), [1, 1, 2]);
        commands.push(one(&["MGET", "a", "b"]));
        assert_eq!(sizes(&commands), [2, 3]);
        commands.push(Command::transaction(&[&["GET", "c"], &["DEL", "d", "a"]]).expect("a transaction"));
        assert_eq!(sizes(&commands), [6]);
    }

    #[test]
    fn what_says_nothing_is_in_no_piece() {
        let mut history = History::new();
        history.invoke("c", Command::redis(&["GET", "a"]).unwrap(), 1);
        let refused = history.invoke("c", Command::redis(&["SET", "a", "1"]).unwrap(), 2);
        history.returned(refused, Reply::Error("OVERLOADED try later".to_owned()), 3);
        let empty = history.invoke("c", Command::transaction(&[]).unwrap(), 4);
        history.returned(empty, Reply::List(Vec::new()), 5);
        assert!(pieces(&history).is_empty());
        let unknown = history.invoke("c", Command::redis(&["SET", "a", "1"]).unwrap(), 6);
        history.returned(unknown, Reply::Error("INDOUBT the leader changed".to_owned()), 7);
        assert_eq!(pieces(&history).len(), 1);
        assert_eq!(pieces(&history)[0][0].return_ns, None);
    }
}
