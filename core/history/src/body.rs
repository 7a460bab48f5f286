//! What a command does to which keys: the few actions that all commands are made of.
//!
//! `K` is how a key is named: by its bytes in a [`Command`](crate::Command), by its place in the state in a search.

use crate::reply::Reply;
use crate::text::Text;
use smallvec::{SmallVec, smallvec};

/// A command, or the commands of a transaction, which take effect at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Body<K> {
    Single(Part<K>),
    /// The reply is the list of the parts' replies.
    Transaction(Vec<Part<K>>),
}

/// One command: accesses to keys, in their order, and how their answers make its reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part<K> {
    pub(crate) shape: Shape,
    pub(crate) accesses: SmallVec<[Access<K>; 1]>,
}

/// How a reply is made of the answers of the accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// It is that of the only access.
    Alone,
    /// It lists them (MGET).
    Each,
    /// It is their sum (DEL, EXISTS).
    Sum,
    /// It tells nothing (MSET).
    Done,
    /// 1 if no key was there and all are written, else 0 and none is (MSETNX).
    AllAbsent,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access<K> {
    pub(crate) key: K,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Answers the value.
    Read,
    /// Answers whether there is one.
    Exists,
    /// Answers how long it is.
    Length,
    Write {
        value: Text,
        when: When,
        tells: Tells,
    },
    /// Answers the new length.
    Append(Text),
    /// Answers the sum.
    Add(i64),
    /// Answers whether there was a value.
    Delete,
    /// Deletes, and answers what was there.
    Take,
    /// Writes `new` if `old` was there, and answers whether it did; no `old` is no value.
    Swap {
        old: Option<Text>,
        new: Text,
    },
}

/// When a write is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    Always,
    IfAbsent,
    IfPresent,
}

/// What a write answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tells {
    /// OK, or nil if it wasn't carried out.
    Done,
    /// 1, or 0 if it wasn't carried out.
    Flag,
    /// The value before.
    Old,
}

impl<K> Part<K> {
    pub(crate) fn alone(key: K, action: Action) -> Self {
        Self { shape: Shape::Alone, accesses: smallvec![Access { key, action }] }
    }
}

impl<K> Body<K> {
    pub(crate) fn parts(&self) -> &[Part<K>] {
        match self {
            Self::Single(part) => std::slice::from_ref(part),
            Self::Transaction(parts) => parts,
        }
    }

    pub(crate) fn is_transaction(&self) -> bool {
        matches!(self, Self::Transaction(_))
    }

    pub(crate) fn accesses(&self) -> impl Iterator<Item = &Access<K>> {
        self.parts().iter().flat_map(|part| &part.accesses)
    }

    /// The same with other names for the keys.
    pub(crate) fn rename<L>(&self, name: impl Fn(&K) -> L) -> Body<L> {
        let access = |access: &Access<K>| Access { key: name(&access.key), action: access.action.clone() };
        let part = |part: &Part<K>| Part { shape: part.shape, accesses: part.accesses.iter().map(access).collect() };
        match self {
            Self::Single(one) => Body::Single(part(one)),
            Self::Transaction(parts) => Body::Transaction(parts.iter().map(part).collect()),
        }
    }

    /// True if no state is changed by it, given its reply.
    pub(crate) fn changes_nothing(&self, reply: Option<&Reply>) -> bool {
        match (self, reply) {
            (Self::Single(part), reply) => part.changes_nothing(reply),
            (Self::Transaction(parts), Some(Reply::List(replies))) => {
                parts.len() == replies.len()
                    && parts.iter().zip(replies).all(|(part, reply)| part.changes_nothing(Some(reply)))
            }
            (Self::Transaction(parts), _) => parts.iter().all(|part| part.changes_nothing(None)),
        }
    }

    /// True if it replaces the values of all its keys, whatever they were.
    pub(crate) fn replaces(&self) -> bool {
        let replaces = |part: &Part<K>| {
            part.shape != Shape::AllAbsent && part.accesses.iter().all(|access| access.action.replaces())
        };
        self.parts().iter().all(replaces)
    }
}

impl<K: PartialEq> Body<K> {
    /// True if it replaces the value of `key` before anything shows what it was.
    pub(crate) fn is_blind_to(&self, key: &K, reply: Option<&Reply>) -> bool {
        let touching = |part: &&Part<K>| part.accesses.iter().any(|access| access.key == *key);
        let Some(part) = self.parts().iter().find(touching) else { return true };
        let tells_nothing = |action: &Action| match action {
            Action::Write { when: When::Always, tells: Tells::Done, .. } => true,
            action => reply.is_none() && action.replaces(),
        };
        let first = part.accesses.iter().find(|access| access.key == *key);
        part.shape != Shape::AllAbsent && first.is_some_and(|access| tells_nothing(&access.action))
    }
}

impl<K> Part<K> {
    fn changes_nothing(&self, reply: Option<&Reply>) -> bool {
        let none = reply.and_then(Reply::integer) == Some(0);
        let reads = |access: &Access<K>| matches!(access.action, Action::Read | Action::Exists | Action::Length);
        match self.shape {
            Shape::Alone => self.accesses[0].action.changes_nothing(reply),
            Shape::Sum | Shape::AllAbsent => none || self.accesses.iter().all(reads),
            Shape::Each | Shape::Done => self.accesses.iter().all(reads),
        }
    }
}

impl Action {
    /// True if the value after it is the same whatever was there.
    fn replaces(&self) -> bool {
        matches!(self, Self::Write { when: When::Always, .. } | Self::Delete | Self::Take)
    }

    fn changes_nothing(&self, reply: Option<&Reply>) -> bool {
        let none = || reply.and_then(Reply::integer) == Some(0);
        let nil = || reply == Some(&Reply::Nil);
        match self {
            Self::Read | Self::Exists | Self::Length => true,
            Self::Write { when: When::Always, .. } | Self::Append(_) => false,
            Self::Write { tells: Tells::Done, .. } | Self::Take => nil(),
            Self::Write { tells: Tells::Flag, .. } | Self::Delete | Self::Swap { .. } => none(),
            Self::Write { when: When::IfPresent, .. } => nil(),
            Self::Write { when: When::IfAbsent, .. } => reply.is_some() && !nil(),
            Self::Add(_) => matches!(reply, Some(Reply::Error(_))),
        }
    }
}
