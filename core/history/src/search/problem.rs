//! One piece of a history, made ready for the search.
//!
//! Operations that have taken effect stand in the order of their calls. Those that need not are gathered in classes of equal
//! ones, since nothing tells two equal ones apart once both have been called.

use crate::body::{Action, Body};
use crate::record::{OpId, Start};
use crate::reply::Reply;
use crate::split::Entry;
use crate::state::{State, Val};
use crate::switch::{Switch, broken};
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct Problem<'a> {
    pub(crate) keys: Vec<&'a Text>,
    pub(crate) start: State,
    /// In the order of their calls.
    pub(crate) ops: Vec<Op<'a>>,
    /// In the order of their first calls.
    pub(crate) classes: Vec<Class<'a>>,
    /// The classes on several keys.
    pub(crate) tying: Vec<usize>,
}

/// An operation that must find its place in the order.
#[derive(Debug)]
pub(crate) struct Op<'a> {
    pub(crate) id: OpId,
    pub(crate) body: Body<usize>,
    pub(crate) keys: BTreeSet<usize>,
    pub(crate) reply: &'a Reply,
    pub(crate) invoke_ns: u64,
    pub(crate) return_ns: u64,
    /// It has no effect in any state in which it may be answered so.
    pub(crate) changes_nothing: bool,
    /// It makes values that stand in no command.
    pub(crate) grows: bool,
}

/// Equal operations that may take effect at any time after their calls, or never.
#[derive(Debug)]
pub(crate) struct Class<'a> {
    pub(crate) body: Body<usize>,
    /// How they were answered if they took effect; none if nobody knows.
    pub(crate) reply: Option<&'a Reply>,
    pub(crate) keys: BTreeSet<usize>,
    /// All its keys have new values after it, and nothing tells the old ones.
    pub(crate) replaces: bool,
    /// When each was called, in this order.
    pub(crate) calls: Vec<(u64, OpId)>,
}

/// What makes operations of unknown outcome equal: what they do, and how they were answered if they did it.
type Kind<'a> = (Body<usize>, Option<&'a Reply>);

impl<'a> Problem<'a> {
    pub(crate) fn new(entries: &[Entry<'a>], start: Start) -> Self {
        let accesses = entries.iter().flat_map(|entry| entry.command.body().accesses());
        let mut places: BTreeMap<&'a Text, usize> = accesses.map(|access| (&access.key, 0)).collect();
        (0..).zip(places.values_mut()).for_each(|(place, value)| *value = place);
        let keys: Vec<&'a Text> = places.keys().copied().collect();
        let mut ops = Vec::new();
        let mut open: BTreeMap<Kind<'a>, Vec<(u64, OpId)>> = BTreeMap::new();
        for entry in entries {
            let body = entry.command.body().rename(|key| places[key]);
            match (entry.reply, entry.return_ns) {
                (Some(reply), Some(return_ns)) => ops.push(Op::new(entry, reply, return_ns, body)),
                (reply, _) => open.entry((body, reply)).or_default().push((entry.invoke_ns, entry.id)),
            }
        }
        ops.sort_by_key(|op| (op.invoke_ns, op.id));
        let mut classes: Vec<Class<'a>> = open.into_iter().map(Class::new).collect();
        classes.sort_by_key(|class| class.calls[0]);
        let value = match start {
            Start::Empty => Val::Absent,
            Start::Unknown => Val::Anything,
        };
        let tying = (0..classes.len()).filter(|class| classes[*class].keys.len() > 1).collect();
        Self { start: State::all(keys.len(), &value), keys, ops, classes, tying }
    }
}

impl<'a> Op<'a> {
    fn new(entry: &Entry<'a>, reply: &'a Reply, return_ns: u64, body: Body<usize>) -> Self {
        let keys = body.accesses().map(|access| access.key).collect();
        let grows = body.accesses().any(|access| matches!(access.action, Action::Append(_)));
        Self {
            id: entry.id,
            reply,
            invoke_ns: entry.invoke_ns,
            return_ns: if broken(Switch::RealTime) { u64::MAX } else { return_ns },
            changes_nothing: body.changes_nothing(Some(reply)),
            grows,
            keys,
            body,
        }
    }
}

impl<'a> Class<'a> {
    fn new(((body, reply), mut calls): (Kind<'a>, Vec<(u64, OpId)>)) -> Self {
        calls.sort_unstable();
        let keys: BTreeSet<usize> = body.accesses().map(|access| access.key).collect();
        let replaces = body.replaces() && keys.iter().all(|key| body.is_blind_to(key, reply));
        Self { replaces, keys, body, reply, calls }
    }

    /// How many may have taken effect by then.
    pub(crate) fn called_by(&self, now_ns: u64) -> usize {
        if broken(Switch::UnknownNever) || broken(Switch::UnknownTwice) {
            return if broken(Switch::UnknownNever) { 0 } else { 9 };
        }
        let now_ns = if broken(Switch::UnknownEarly) { u64::MAX } else { now_ns };
        self.calls.partition_point(|(invoke_ns, _)| *invoke_ns <= now_ns)
    }
}
