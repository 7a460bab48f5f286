//! The requests for one name at a home: first come, first served. What can't be granted and may wait stands in line.

use super::command::{Acquire, Claim, Command, Outcome};
use super::decide::{Decision, Draft, Tried};
use super::shared::NOBODY;
use super::tokens::Tokens;
use super::value::{Holder, Lock};
use crate::register::{Asker, Report};
use base::{Instant, NodeId};
use std::collections::VecDeque;

/// A request at its home.
#[derive(Clone, Debug, Hash)]
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
    /// The token of the grant that was made ahead for it, or proposed to be.
    pub(crate) ahead: Option<u64>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// It was looked at by no round yet.
    New,
    /// It waits in line: others hold the lock.
    InLine,
    /// Nobody waits for it any more, but it may have taken effect.
    Deserted,
    /// It was told of its grant, which was made ahead, but which has not begun in what is chosen.
    Told,
    /// It is to give up the grant that was made ahead.
    Leaving,
}

/// Requests in their order.
#[derive(Clone, Debug, Default, Hash)]
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
    /// For which requests grants are made ahead, and their tokens.
    pub(crate) ahead: Vec<(u64, u64)>,
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
        if self.ops.capacity() == 0 {
            self.ops.reserve_exact(1);
        }
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

    pub(crate) fn place_of(&self, asker: Asker) -> Option<Place> {
        self.ops.iter().find(|op| asker.number != NOBODY && op.asker == asker).map(|op| op.place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter()
    }

    pub(crate) fn has_new(&self) -> bool {
        self.ops.iter().any(|op| matches!(op.place, Place::New | Place::Leaving))
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
            over: self.over(basis.lock),
            strangers: self.strangers(basis.lock),
            begun: Vec::new(),
            ahead: None,
            waiting,
        };
        let (mut done, mut refused, mut left, mut asked) = (Vec::new(), false, Vec::new(), Vec::new());
        let wanted = |op: &&Op| op.place != Place::Deserted;
        for op in self.ops.iter().take_while(|op| op.number < basis.before).filter(wanted) {
            if op.command == Command::Info {
                asked.push(op.number);
                continue;
            }
            match op.decide(&mut draft) {
                Decision::Done(outcome) => done.push((op.number, outcome.after_waiting(op.place))),
                Decision::Blocked if op.until > basis.now || op.place == Place::Told => {
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
        let ahead = if draft.changed { grant_ahead(&mut draft, &left) } else { Vec::new() };
        let Draft { mut lock, changed, stolen, .. } = draft;
        lock.version += u64::from(changed);
        Plan { lock, changed, done, blocked, stolen, ahead }
    }

    /// Grants that were given back to those who were told here that they are next, which nobody has written yet.
    fn over(&self, lock: &Lock) -> Vec<u64> {
        if lock.line.is_empty() {
            return Vec::new();
        }
        let told: Vec<u64> = self.told().collect();
        let Some(last) = lock.line.iter().rposition(|one| told.contains(&one.token)) else { return Vec::new() };
        lock.holders.iter().chain(&lock.line[..last]).map(|one| one.token).collect()
    }

    /// Grants that were made ahead for nobody who waits here.
    fn strangers(&self, lock: &Lock) -> Vec<u64> {
        if lock.line.is_empty() {
            return Vec::new();
        }
        let asks = |one: &Holder| {
            let its = |acquire: &Acquire| acquire.owner == one.owner && one.ids.contains(&acquire.id);
            self.ops.iter().any(|op| matches!(&op.command, Command::Acquire(acquire) if its(acquire)))
        };
        let strange = lock.line.iter().filter(|one| !asks(one));
        strange.map(|one| one.token).collect()
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

    /// The last request has taken effect, as another was told, and may be given up before any round has it.
    pub(crate) fn note_handed_on(&mut self) {
        self.ops.back_mut().into_iter().for_each(|op| op.tried = Tried::Perhaps);
    }

    /// Grants are made ahead for these requests by a proposal.
    pub(crate) fn note_ahead(&mut self, ahead: &[(u64, u64)]) {
        for (number, token) in ahead {
            if let Ok(at) = self.ops.binary_search_by_key(number, |op| op.number) {
                self.ops[at].ahead = Some(*token);
            }
        }
    }

    /// The tokens of those who were told of grants that were made ahead.
    pub(crate) fn told(&self) -> impl Iterator<Item = u64> {
        self.ops.iter().filter(|op| op.place == Place::Told).filter_map(|op| op.ahead)
    }

    /// Who waits for this grant, which was made ahead, is told of it now: whom to tell. Another may have been proposed the same token
    /// in a round that came to nothing, so the token alone says too little.
    pub(crate) fn tell(&mut self, heir: &Holder, now: Instant) -> Option<Asker> {
        let its = |op: &Op| {
            let asks = |acquire: &Acquire| acquire.owner == heir.owner && heir.ids.contains(&acquire.id);
            op.ahead == Some(heir.token) && matches!(&op.command, Command::Acquire(acquire) if asks(acquire))
        };
        let waits = |op: &&mut Op| its(op) && op.place == Place::InLine && now < op.until;
        let op = self.ops.iter_mut().find(waits)?;
        op.place = Place::Told;
        Some(op.asker)
    }

    /// Takes out those whose time is over, with what they are told. Those numbered in `flying` are part of a proposal.
    pub(crate) fn expire(&mut self, now: Instant, flying: &[(u64, Outcome)]) -> Vec<(Op, Outcome)> {
        let ends = |op: &Op| now >= op.until && op.place == Place::InLine && !is_flying(op, flying);
        // What was granted ahead is given up by a change of the lock.
        self.ops.iter_mut().filter(|op| ends(op) && op.ahead.is_some()).for_each(|op| op.place = Place::Leaving);
        let over = |op: &Op| now >= op.gives_up || ends(op);
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
                (Place::Told, _) => continue,
                (_, Tried::Perhaps) | (Place::Leaving, _) => Outcome::Unknown,
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
        let lets_go = |op: &Op| lets_go(op) && op.place != Place::Told;
        self.ops.retain(|op| !lets_go(op) || op.tried == Tried::Perhaps || op.ahead.is_some());
        for op in self.ops.iter_mut().filter(|op| lets_go(op)) {
            (op.place, op.asker.number) = match op.ahead {
                Some(_) => (Place::Leaving, NOBODY),
                None => (Place::Deserted, op.asker.number),
            };
        }
    }

    /// Where nobody is left, their room is given back: most names are used seldom.
    pub(crate) fn shrink(&mut self) {
        if self.ops.is_empty() {
            self.ops = VecDeque::new();
        }
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
        match op.decide(draft) {
            Decision::Done(outcome) => done.push((op.number, outcome.after_waiting(op.place))),
            Decision::Blocked => {
                draft.line = true;
                left.push(op);
            }
        }
    }
    left
}

/// Makes the grants of those ahead who wait for a lock of their own, up to the first who waits for something else. A change is written
/// anyway, and when the holder gives the lock back, the next is told at once.
fn grant_ahead(draft: &mut Draft<'_>, left: &[&Op]) -> Vec<(u64, u64)> {
    let mut ahead = Vec::new();
    for op in left {
        let Command::Acquire(acquire) = &op.command else { break };
        if acquire.claim != Claim::Exclusive || acquire.token.is_some() {
            break;
        }
        let known = draft.lock.line.iter().find(|one| one.owner == acquire.owner && one.ids.contains(&acquire.id));
        let known = known.map(|one| one.token);
        if known.is_none() && !draft.grant_ahead(acquire) {
            break;
        }
        ahead.push((op.number, known.unwrap_or(draft.lock.token)));
    }
    ahead
}

impl Op {
    /// One that no round has looked at; it is numbered when it comes into line.
    pub(crate) fn new(asker: Asker, command: Command, (until, gives_up): (Instant, Instant)) -> Self {
        let (tried, place) = (Tried::Never, Place::New);
        Self { number: 0, asker, command, until, gives_up, tried, place, confirmed: false, ahead: None }
    }

    fn decide(&self, draft: &mut Draft<'_>) -> Decision {
        draft.ahead = self.ahead;
        match (self.place, &self.command) {
            (Place::Leaving, Command::Acquire(acquire)) => draft.leave(acquire, self.asker.number != NOBODY),
            // It was told, so it asks for nothing new.
            (Place::Told, _) if !self.ahead.is_some_and(|token| draft.knows(token)) => Decision::Done(Outcome::Lost),
            _ => draft.decide(&self.command, self.tried),
        }
    }
}

impl Outcome {
    /// Who stood in line counts from its first renewal, which it has yet to send.
    fn after_waiting(self, place: Place) -> Self {
        match self {
            Self::Granted { token, fence, .. } if matches!(place, Place::InLine | Place::Leaving) => {
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
