//! The model: which actions a state allows, and what each does to the real groups.
//!
//! After each input the caller's duties are done at once: a new leader proposes its first entry, what is committed is
//! applied, reads that may be served are. What becomes durable, arrives, or is due, and when, is the checker's choice.

use crate::replica::Replica;
use crate::rules::Ledger;
use crate::scenes::{Heartbeats, Notices, PreVotes, Scene, Syncs};
use crate::state::{Parcel, Sent, Spent, State};
use base::mutation::Mutation;
use base::{Instant, NodeId, Term};
use bytes::Bytes;
use consensus::Effects;
use consensus::raft::{Answer, Group, Membership, Message, Turned};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Raft {
    pub scene: Scene,
    /// The rule that is broken on purpose.
    pub mutation: Option<Mutation>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A deadline has come: the replica campaigns, or does a leader's regular work.
    Timer(NodeId),
    Deliver(Arc<Sent>),
    /// Delivers what will come once more.
    DeliverFirst(Arc<Sent>),
    /// The oldest write becomes durable.
    Sync(NodeId),
    /// The notice of a durable write arrives, which others may have overtaken.
    Notice(NodeId, usize),
    /// What is not durable is lost, and the replica starts anew.
    Crash(NodeId),
    Propose(NodeId),
    /// A read comes, and a round begins for it.
    Read(NodeId),
    /// The next of the scene's changes of members.
    Change(NodeId),
    Transfer(NodeId, NodeId),
    /// A leader sends its state as a snapshot.
    Ship(NodeId, NodeId),
    /// A millisecond passes.
    Tick,
    /// A millisecond passes, but not by this one's clock.
    SlowTick(NodeId),
}

impl Raft {
    /// The state from which the search begins.
    pub fn opening(&self) -> State {
        self.break_rule();
        let replicas = self.ids().map(|id| Replica::new(id, self.members(), self.scene.tuning));
        let mut state = State::new(replicas);
        for id in self.ids() {
            self.input(&mut state, id, start);
        }
        state.active = 0;
        (self.scene.opening)(self, &mut state);
        state.finish(self.scene.stale);
        // Who was only told so far is like all others who were.
        state.active = state.active.min(u64::from(state.ledger.has_leader()));
        state.spent = Spent::default();
        state
    }

    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.scene.bounds.nodes).map(NodeId)
    }

    fn members(&self) -> Membership {
        Membership::of_voters((1..=self.scene.bounds.voters).map(NodeId))
    }

    /// What may happen next.
    pub fn allowed(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let (bounds, spent) = (&self.scene.bounds, &state.spent);
        let named = |id: NodeId| !self.scene.alike || id.0 <= state.active + 1;
        for replica in state.replicas().filter(|replica| named(replica.id)) {
            let (id, ticks) = (replica.id, spent.ticks < bounds.ticks);
            actions.extend((!replica.disk.unsynced.is_empty()).then_some(Action::Sync(id)));
            actions.extend((0..replica.notices.len()).map(|at| Action::Notice(id, at)));
            actions.extend(self.is_due(spent, replica).then_some(Action::Timer(id)));
            actions.extend((spent.crashes < bounds.crashes).then_some(Action::Crash(id)));
            actions.extend((ticks && spent.slow_ticks < bounds.slow_ticks).then_some(Action::SlowTick(id)));
            if replica.group.leads() {
                self.allowed_to_leader(spent, replica, actions);
            }
        }
        actions.extend((spent.ticks < bounds.ticks).then_some(Action::Tick));
        for sent in state.wire().iter().filter(|sent| named(sent.to)) {
            actions.push(Action::Deliver(Arc::clone(sent)));
            actions.extend((spent.doubles < bounds.doubles).then(|| Action::DeliverFirst(Arc::clone(sent))));
        }
    }

    fn is_due(&self, spent: &Spent, replica: &Replica) -> bool {
        let (bounds, group) = (&self.scene.bounds, &replica.group);
        let due = replica.now() >= group.next_deadline() && spent.timers < bounds.timers;
        due && if group.leads() { bounds.leaders_time_out } else { group.term().0 < bounds.terms }
    }

    fn allowed_to_leader(&self, spent: &Spent, replica: &Replica, actions: &mut Vec<Action>) {
        let (bounds, id, group) = (&self.scene.bounds, replica.id, &replica.group);
        let room = group.last().index.0 < bounds.entries;
        actions.extend((room && spent.proposals < bounds.proposals).then_some(Action::Propose(id)));
        actions.extend((spent.rounds < bounds.rounds && replica.read.is_none()).then_some(Action::Read(id)));
        let changes_left = usize::from(spent.changes) < self.scene.changes.len();
        actions.extend((room && changes_left).then_some(Action::Change(id)));
        let others = || self.ids().filter(move |other| *other != id);
        if spent.transfers < bounds.transfers {
            actions.extend(others().map(|to| Action::Transfer(id, to)));
        }
        if spent.snapshots < bounds.snapshots && group.applied().index.0 > 0 {
            actions.extend(others().map(|to| Action::Ship(id, to)));
        }
    }

    /// The state behind an action. A broken rule is noted, and nothing follows it.
    pub fn act(&self, last: &State, action: &Action) -> State {
        self.break_rule();
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut next = last.clone();
            self.perform(&mut next, action);
            next.finish(self.scene.stale);
            next.replicas().for_each(|replica| next.ledger.no_read_under_a_lease_is_stale(replica));
            next
        }));
        done.unwrap_or_else(|panic| {
            let mut next = last.clone();
            next.broken = Some(sim::hunt::text(panic.as_ref()).into());
            next
        })
    }

    #[cfg(feature = "mutations")]
    fn break_rule(&self) {
        base::mutation::set(self.mutation);
    }

    #[cfg(not(feature = "mutations"))]
    fn break_rule(&self) {
        assert!(self.mutation.is_none(), "rules can be broken with the feature `mutations` alone");
    }

    fn perform(&self, state: &mut State, action: &Action) {
        match action {
            Action::Timer(id) => self.time_out(state, *id),
            Action::Deliver(sent) => {
                state.take(sent);
                self.deliver(state, sent);
            }
            Action::DeliverFirst(sent) => {
                state.spent.doubles += 1;
                self.deliver(state, sent);
            }
            Action::Sync(id) => self.sync(state, *id),
            Action::Notice(id, at) => {
                let notice = state.replica_mut(*id).notices.remove(*at);
                self.input(state, *id, |group, now, out| group.on_message(now, *id, notice, out));
            }
            Action::Crash(id) => {
                state.spent.crashes += 1;
                state.replica_mut(*id).crash(self.members(), self.scene.tuning);
                self.input(state, *id, start);
            }
            Action::Propose(id) => {
                state.spent.proposals += 1;
                self.input(state, *id, |group, now, out| {
                    group.propose(now, payload(*id), out);
                    Turned::default()
                });
            }
            Action::Read(id) => self.read(state, *id),
            Action::Change(id) => self.change(state, *id),
            Action::Transfer(id, to) => {
                state.spent.transfers += 1;
                self.input(state, *id, |group, now, out| {
                    group.transfer(now, *to, out);
                    Turned::default()
                });
            }
            Action::Ship(id, to) => ship(state, *id, *to),
            Action::Tick => self.tick(state, None),
            Action::SlowTick(id) => {
                state.spent.slow_ticks += 1;
                state.active = state.active.max(id.0);
                self.tick(state, Some(*id));
            }
        }
    }

    pub fn deliver(&self, state: &mut State, sent: &Sent) {
        self.input(state, sent.to, |group, now, out| match sent.what.clone() {
            Parcel::Message(message) => group.on_message(now, sent.from, message, out),
            Parcel::Snapshot { term, at, members } => {
                group.install(now, (sent.from, term), at, members, out);
                Turned::default()
            }
        });
    }

    /// For openings: all that is on its way and fits arrives, or is lost.
    pub fn deliver_all(&self, state: &mut State, fits: impl Fn(&Sent) -> bool) {
        for sent in state.wire().to_vec().iter().filter(|sent| fits(sent)) {
            state.take(sent);
            self.deliver(state, sent);
        }
        state.finish(self.scene.stale);
    }

    pub fn lose_all(&self, state: &mut State) {
        state.wire().to_vec().iter().for_each(|sent| state.take(sent));
    }

    /// For openings: all that was written becomes durable, and its writers are told.
    pub fn sync_all(&self, state: &mut State) {
        for id in self.ids() {
            while !state.replica(id).disk.unsynced.is_empty() {
                self.sync(state, id);
            }
            for notice in std::mem::take(&mut state.replica_mut(id).notices) {
                self.input(state, id, |group, now, out| group.on_message(now, id, notice, out));
            }
        }
    }

    /// For openings: time passes for all.
    pub fn pass(&self, state: &mut State, ms: u64) {
        self.ids().for_each(|id| state.replica_mut(id).clock_ms += ms);
    }

    /// A replica's deadline has come. Where pre-votes are given for the asking, all others have given theirs.
    pub fn time_out(&self, state: &mut State, id: NodeId) {
        state.spent.timers += u8::from(self.scene.bounds.timers < u8::MAX);
        let given = self.scene.pre_votes == PreVotes::Given;
        let others: Vec<NodeId> = self.ids().filter(|other| given && *other != id).collect();
        self.input(state, id, |group, now, out| {
            let term = group.term();
            let mut turned = group.on_timer(now, out);
            for other in others {
                if group.term() == term && !group.leads() {
                    let reply = Message::PreVoteReply { term: Term(term.0 + 1), answer: Answer::Granted };
                    turned.elected |= group.on_message(now, other, reply, out).elected;
                }
            }
            turned
        });
    }

    pub fn sync(&self, state: &mut State, id: NodeId) {
        let synced = state.replica_mut(id).disk.sync(1);
        for envelope in synced.into_iter().flat_map(|write| write.then) {
            if envelope.to != id {
                self.send(state, id, envelope.to, envelope.message);
            } else if self.scene.notices == Notices::Late {
                state.replica_mut(id).notices.push(envelope.message);
            } else {
                self.input(state, id, |group, now, out| group.on_message(now, id, envelope.message, out));
            }
        }
    }

    fn send(&self, state: &mut State, from: NodeId, to: NodeId, message: Message) {
        Ledger::only_what_is_durable_is_spoken_of(state.replica(from), to, &message);
        let lost = match message {
            Message::PreVote { .. } => self.scene.pre_votes == PreVotes::Given,
            Message::Heartbeat { .. } => self.scene.heartbeats == Heartbeats::Lost,
            _ => false,
        };
        if !lost {
            state.send(from, to, Parcel::Message(message));
        }
    }

    fn read(&self, state: &mut State, id: NodeId) {
        state.spent.rounds += 1;
        let floor = state.ledger.told();
        let mut ticket = None;
        self.input(state, id, |group, now, out| {
            ticket = group.begin_read(now, out);
            Turned::default()
        });
        state.replica_mut(id).read = ticket.map(|ticket| (ticket, floor));
        finish_read(state, id);
    }

    fn change(&self, state: &mut State, id: NodeId) {
        let changes = self.scene.changes[usize::from(state.spent.changes)];
        let mut begun = false;
        self.input(state, id, |group, now, out| {
            begun = group.change(now, changes, out).is_ok();
            Turned::default()
        });
        state.spent.changes += u8::from(begun);
    }

    fn tick(&self, state: &mut State, but: Option<NodeId>) {
        state.spent.ticks += 1;
        self.ids().filter(|id| Some(*id) != but).for_each(|id| state.replica_mut(id).clock_ms += 1);
    }

    /// One input to one replica, what follows from it at once, and the rules.
    fn input(&self, state: &mut State, id: NodeId, call: impl FnOnce(&mut Group, Instant, &mut Effects) -> Turned) {
        state.active = state.active.max(id.0);
        let before = state.replica(id).clone();
        let replica = state.replica_mut(id);
        let (now, mut out) = (replica.now(), Effects::default());
        let turned = call(&mut replica.group, now, &mut out);
        if turned.elected {
            let first = replica.group.propose(now, payload(id), &mut out);
            assert!(first.is_some(), "a leader may propose");
            let mut ledger = std::mem::take(&mut state.ledger);
            ledger.on_elected(id, &state.replica(id).group);
            state.ledger = ledger;
        }
        Ledger::logs_that_share_an_entry_share_all_before_it(state, id, &out.writes);
        self.settle(state, &before);
        state.replica_mut(id).disk.unsynced.extend(out.writes);
        for envelope in out.messages {
            self.send(state, id, envelope.to, envelope.message);
        }
        while self.scene.syncs == Syncs::AtOnce && !state.replica(id).disk.unsynced.is_empty() {
            self.sync(state, id);
        }
    }

    fn settle(&self, state: &mut State, before: &Replica) {
        let id = before.id;
        let mut ledger = std::mem::take(&mut state.ledger);
        ledger.on_commit(state, before, &state.replica(id).group);
        let group = &mut state.replica_mut(id).group;
        while let Some((index, entry)) = group.next_committed() {
            ledger.what_is_applied_was_proposed_by_its_leader(group, index, &entry);
        }
        ledger.tell(group);
        Ledger::nothing_goes_back(before, group);
        state.ledger = ledger;
        finish_read(state, id);
    }
}

fn start(group: &mut Group, now: Instant, out: &mut Effects) -> Turned {
    group.start(now, out);
    Turned::default()
}

fn ship(state: &mut State, from: NodeId, to: NodeId) {
    state.spent.snapshots += 1;
    let group = &state.replica(from).group;
    let at = group.applied();
    let (term, members) = (group.term(), group.membership_at(at.index).clone());
    state.send(from, to, Parcel::Snapshot { term, at, members });
}

fn finish_read(state: &mut State, id: NodeId) {
    let Some((ticket, floor)) = state.replica(id).read else { return };
    let replica = state.replica_mut(id);
    match replica.group.is_confirmed(ticket) {
        Some(false) => return,
        Some(true) => Ledger::no_read_by_a_round_is_stale(&replica.group, floor),
        None => {}
    }
    replica.read = None;
}

fn payload(id: NodeId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_le_bytes())
}
