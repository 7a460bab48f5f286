//! The requests for one name at a home: first come, first served. What can't be granted and may wait stands in line.

use super::command::{Command, Outcome};
use super::decide::{Decision, Draft, Tried};
use super::shared::NOBODY;
use super::tokens::Tokens;
use super::value::Lock;
use crate::register::{Asker, Report};
use base::{Instant, NodeId};
use std::collections::VecDeque;

/// A request at its home.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// Counted by the home.
    pub(crate) number: u64,
    pub(crate) asker: Asker,
    pub(crate) command: Command,
    /// Until when it may wait in line.
    pub(crate) until: Instant,
    /// When its asker is told that nothing came of it.
    pub(crate) gives_up: Instant,
    pub(crate) tried: Tried,
    pub(crate) place: Place,
    /// A round has found the lock held since the request came.
    pub(crate) confirmed: bool,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It was looked at by no round yet.
    New,
    /// It waits in line: others hold the lock.
    InLine,
    /// Nobody waits for it any more, but it may have taken effect.
    Deserted,
}

/// Requests in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    ops: VecDeque<Op>,
    next: u64,
}

/// How it is known that a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    ByRound,
    /// What was cached says so, which may be out of date.
    Cached,
}

/// What a round would do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) lock: Lock,
    pub(crate) changed: bool,
    /// What requests would be answered, by their numbers.
    pub(crate) done: Vec<(u64, Outcome)>,
    /// Somebody, waiting or not, finds no room.
    pub(crate) blocked: bool,
    pub(crate) stolen: u64,
}

/// What a round knows of a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basis<'a> {
    pub(crate) lock: &'a Lock,
    pub(crate) expired: &'a [u64],
    pub(crate) remaining: &'a [(u64, u64)],
    /// Requests from this number on came too late to be decided by it.
    pub(crate) before: u64,
    pub(crate) now: Instant,
}

impl Line {
    pub(crate) fn push(&mut self, mut op: Op) {
        self.next += 1;
        op.number = self.next;
        self.ops.push_back(op);
    }

    /// The number of the next request.
    pub(crate) fn next(&self) -> u64 {
        self.next + 1
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(crate) fn knows(&self, asker: Asker) -> bool {
        asker.number != NOBODY && self.ops.iter().any(|op| op.asker == asker)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter()
    }

    pub(crate) fn has_new(&self) -> bool {
        self.ops.iter().any(|op| op.place == Place::New)
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.ops.iter().any(|op| op.place == Place::InLine)
    }

    /// Takes a request out.
    pub(crate) fn take(&mut self, number: u64) -> Option<Op> {
        let at = self.ops.binary_search_by_key(&number, |op| op.number).ok()?;
        self.ops.remove(at)
    }

    /// What becomes of all requests, one after the other, on this basis.
    pub(crate) fn plan(&self, basis: Basis<'_>, tokens: &mut Tokens) -> Plan {
        let waiting = self.ops.iter().filter(|op| op.place == Place::InLine).count() as u64;
        let mut draft = Draft {
            lock: basis.lock.clone(),
            changed: false,
            tokens,
            expired: basis.expired.to_vec(),
            remaining: basis.remaining,
            stolen: 0,
            line: false,
            freed: false,
            waiting,
        };
        let (mut done, mut refused, mut left, mut asked) = (Vec::new(), false, Vec::new(), Vec::new());
        let wanted = |op: &&Op| op.place != Place::Deserted;
        for op in self.ops.iter().take_while(|op| op.number < basis.before).filter(wanted) {
            if op.command == Command::Info {
                asked.push(op.number);
                continue;
            }
            match draft.decide(&op.command, op.tried) {
                Decision::Done(outcome) => done.push((op.number, outcome.after_waiting(op.place))),
                Decision::Blocked if op.until > basis.now => {
                    draft.line = true;
                    left.push(op);
                }
                Decision::Blocked => {
                    refused = true;
                    done.push((op.number, Outcome::Refused));
                }
            }
        }
        if draft.freed && !left.is_empty() {
            left = hand_over(&mut draft, left, &mut done);
        }
        // INFO tells what is behind all changes: no state that was passed through.
        done.extend(asked.into_iter().map(|number| (number, Outcome::Info(draft.info()))));
        done.sort_unstable_by_key(|(number, _)| *number);
        let blocked = refused || !left.is_empty();
        let Draft { mut lock, changed, stolen, .. } = draft;
        lock.version += u64::from(changed);
        Plan { lock, changed, done, blocked, stolen }
    }

    /// All who are left wait in line from now on; those who did not yet are named.
    pub(crate) fn stand_in_line(&mut self, before: u64, found: Found) -> Vec<Asker> {
        if found == Found::ByRound {
            self.ops.iter_mut().filter(|op| op.number < before).for_each(|op| op.confirmed = true);
        }
        let new = self.ops.iter_mut().filter(|op| op.place == Place::New && op.number < before);
        new.map(|op| {
            op.place = Place::InLine;
            op.asker
        })
        .collect()
    }

    /// These requests are part of a proposal.
    pub(crate) fn try_out(&mut self, done: &[(u64, Outcome)]) {
        let mut done = done.iter().map(|(number, _)| *number).peekable();
        for op in &mut self.ops {
            if done.next_if_eq(&op.number).is_some() {
                op.tried = Tried::Perhaps;
            }
        }
    }

    /// Takes out those whose time is over, with what they are told. Those numbered in `flying` are part of a proposal.
    pub(crate) fn expire(&mut self, now: Instant, flying: &[(u64, Outcome)]) -> Vec<(Op, Outcome)> {
        let over =
            |op: &Op| now >= op.gives_up || now >= op.until && op.place == Place::InLine && !is_flying(op, flying);
        let mut gone = Vec::new();
        if !self.ops.iter().any(over) {
            return gone;
        }
        for mut op in std::mem::take(&mut self.ops) {
            // Who waited on what was cached is refused by a round.
            let unsure = op.place == Place::InLine && !op.confirmed && now < op.gives_up;
            if !over(&op) || unsure {
                if over(&op) {
                    op.place = Place::New;
                }
                self.ops.push_back(op);
                continue;
            }
            let outcome = match (op.place, op.tried) {
                (_, Tried::Perhaps) => Outcome::Unknown,
                (Place::InLine, Tried::Never) => Outcome::Refused,
                _ => Outcome::NoQuorum,
            };
            gone.push((op, outcome));
        }
        gone
    }

    /// When somebody's time is over.
    pub(crate) fn expires_at(&self, flying: &[(u64, Outcome)]) -> Instant {
        let ends = self.ops.iter().map(|op| match op.place {
            Place::InLine if !is_flying(op, flying) => op.until.min(op.gives_up),
            _ => op.gives_up,
        });
        ends.min().unwrap_or(Instant(u64::MAX))
    }

    /// Nobody waits for this request any more.
    pub(crate) fn desert(&mut self, asker: Asker) {
        self.desert_all(|op| op.asker == asker);
    }

    /// Nobody waits any more for what this node has asked.
    pub(crate) fn desert_node(&mut self, node: NodeId) {
        self.desert_all(|op| op.asker.node == node && op.asker.number != NOBODY);
    }

    /// What is part of a proposal stays until that is decided; what gives or renews goes on.
    fn desert_all(&mut self, whose: impl Fn(&Op) -> bool) {
        let lets_go = |op: &Op| matches!(op.command, Command::Acquire(_) | Command::Info) && whose(op);
        self.ops.retain(|op| !lets_go(op) || op.tried == Tried::Perhaps);
        self.ops.iter_mut().filter(|op| lets_go(op)).for_each(|op| op.place = Place::Deserted);
    }

    /// Drops those whom nobody waits for and whose proposals are decided.
    pub(crate) fn drop_deserted(&mut self) {
        self.ops.retain(|op| op.place != Place::Deserted);
    }
}

/// True if the request is part of a proposal that isn't decided.
fn is_flying(op: &Op, flying: &[(u64, Outcome)]) -> bool {
    flying.binary_search_by_key(&op.number, |(number, _)| *number).is_ok()
}

/// What was given back goes to those who wait, in their order. Returns who still waits.
fn hand_over<'a>(draft: &mut Draft<'_>, waiting: Vec<&'a Op>, done: &mut Vec<(u64, Outcome)>) -> Vec<&'a Op> {
    draft.line = false;
    let mut left = Vec::new();
    for op in waiting {
        match draft.decide(&op.command, op.tried) {
            Decision::Done(outcome) => done.push((op.number, outcome.after_waiting(op.place))),
            Decision::Blocked => {
                draft.line = true;
                left.push(op);
            }
        }
    }
    left
}

impl Outcome {
    /// Who stood in line counts from its first renewal, which it has yet to send.
    fn after_waiting(self, place: Place) -> Self {
        match self {
            Self::Granted { token, fence, .. } if place == Place::InLine => {
                Self::Granted { token, fence, remaining_ms: 0 }
            }
            other => other,
        }
    }
}

/// What several voters' reports come to.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The report with the highest ballot, and how many voters gave that ballot.
    pub(crate) best: Report,
    pub(crate) count: usize,
    /// Holders whom at least a quorum found expired.
    pub(crate) expired: Vec<u64>,
    /// What is left of each other holder's time until a quorum will.
    pub(crate) remaining: Vec<(u64, u64)>,
}

impl Verdict {
    pub(crate) fn of(reports: &[(NodeId, Report)], quorum: usize) -> Self {
        let mut best =
            reports.iter().map(|(_, report)| report).max_by_key(|one| one.accepted).cloned().unwrap_or_default();
        best.floor = reports.iter().map(|(_, report)| report.floor).max().unwrap_or(0);
        let count = reports.iter().filter(|(_, report)| report.accepted == best.accepted).count();
        let (mut expired, mut remaining) = (Vec::new(), Vec::new());
        for holder in &best.lock.holders {
            let left =
                |report: &Report| report.alive.iter().find(|(token, _)| *token == holder.token).map_or(0, |one| one.1);
            let mut left: Vec<u64> = reports.iter().map(|(_, report)| left(report)).collect();
            left.sort_unstable();
            match left.get(quorum - 1).or(left.last()) {
                Some(0) if left.len() >= quorum => expired.push(holder.token),
                ms => remaining.push((holder.token, ms.copied().unwrap_or(0).max(1))),
            }
        }
        Self { best, count, expired, remaining }
    }

    /// The lock that was found, or one that nobody held yet.
    pub(crate) fn lock(&self) -> Lock {
        if self.best.accepted == crate::register::Ballot::ZERO {
            Lock::fresh(self.best.floor)
        } else {
            Lock::clone(&self.best.lock)
        }
    }

    /// When some holder's time may be over, if none renews.
    pub(crate) fn soonest_ms(&self) -> Option<u64> {
        let expired = self.expired.first().map(|_| 0);
        expired.or_else(|| self.remaining.iter().map(|(_, ms)| *ms).min())
    }
}
