//! Calls about locks that come by no connection of a lane: those of the admin port.
//!
//! They come by the mailbox of the lane that has the locks, are asked of the core like those of any client, and their answers go back
//! by a channel each. A caller that is gone loses its place; a grant that can't be told any more is given back.

use super::Driver;
use crate::admin;
use base::{ClientId, LaneId};
use bytes::Bytes;
use data::Reply;
use data::command::locks::Ask;
use node::Now;
use std::collections::BTreeMap;
use tokio::sync::oneshot::Sender;

/// The lane whose mailbox takes such calls.
pub const CALLERS_LANE: LaneId = LaneId(0);

/// By which the core knows a caller: no connection has such a number.
pub fn caller(number: u64) -> ClientId {
    ClientId(1 << 63 | number)
}

/// The calls that are unanswered.
#[derive(Debug, Default)]
pub struct Desk {
    calls: BTreeMap<ClientId, Call>,
}

#[derive(Debug)]
struct Call {
    answer: Sender<Reply>,
    /// What it acquires, and for whom.
    acquires: Option<(Bytes, Bytes)>,
}

impl Driver {
    /// A call comes.
    pub(super) fn call_lock(&mut self, now: Now, caller: ClientId, ask: Ask, answer: Sender<Reply>) {
        if self.stopping {
            return;
        }
        let full = !ask.only_reads() && self.core(now).0.is_refused_room(0);
        let acquires = match &ask {
            Ask::Acquire { name, wish } => Some((name.clone(), wish.owner.clone())),
            _ => None,
        };
        self.desk.calls.insert(caller, Call { answer, acquires });
        if full {
            return self.answer_caller(caller, admin::disk_full());
        }
        self.lane.on_lock(now, (caller, 0), ask, &mut self.out);
    }

    /// Gives a caller its answer, if it is one of those.
    pub(super) fn answer_caller(&mut self, caller: ClientId, reply: Reply) {
        let Some(Call { answer, acquires }) = self.desk.calls.remove(&caller) else { return };
        // What has come too late for the caller is a grant that nobody knows of.
        let (Err(Reply::Array(grant)), Some((name, owner))) = (answer.send(reply), acquires) else { return };
        let Some(Reply::Int(token)) = grant.first() else { return };
        let ask = Ask::Release { name, owner, token: token.unsigned_abs() };
        self.lane.on_lock(crate::clock::now(), (caller, 1), ask, &mut self.out);
    }

    /// A caller has gone before it was answered.
    pub(super) fn forget_caller(&mut self, now: Now, caller: ClientId) {
        if self.desk.calls.remove(&caller).is_some() {
            self.lane.forget_locks(now, caller, &mut self.out);
        }
    }

    /// The node stops: who isn't answered yet learns it by the end of the channel.
    pub(super) fn close_desk(&mut self, now: Now) {
        for caller in self.desk.calls.keys().copied().collect::<Vec<_>>() {
            self.forget_caller(now, caller);
        }
    }
}
