//! The model: what may happen in a state, and what each thing does to the real planes.
//!
//! Planes are told that all their links are lost, so each proposes for itself, waits for nobody and asks nobody whether it is there;
//! messages arrive all the same. Time stands, but for ticks, each of which is longer than a lease, and for a proposer
//! that tries again a little later by its own clock.

use crate::scenes::{Scene, Step};
use base::mutation::Mutation;
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Config, Outbox, Outcome, Plane, Tuning, Waiter};
use consensus::register::{Message, Parcel, RegisterWrite, Table, View};
use sim::locks::ledger::{Ledger, Request};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Locks {
    pub scene: Scene,
    /// The rule that is broken on purpose.
    pub mutation: Option<Mutation>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Deliver(Arc<Sent>),
    /// An owner does the next thing.
    Ask(usize),
    /// The oldest write becomes durable.
    Sync(NodeId),
    /// A lost ballot is tried again.
    Timer(NodeId),
    /// What is not durable is lost, and the node starts anew.
    Crash(NodeId),
    /// All leases pass.
    Tick,
}

/// Something on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    print: u64,
    parcel: Parcel,
}

#[derive(Clone, Debug)]
pub struct State {
    /// Node `n` stands at `n - 1`; what a step doesn't touch is shared with the state before.
    nodes: Vec<Arc<Node>>,
    /// In the order of their prints, none twice. What is never delivered is lost.
    wire: Vec<Arc<Sent>>,
    owners: Vec<Owner>,
    ledger: Ledger,
    ticks: u8,
    timers: u8,
    crashes: u8,
    pub grants: u8,
    /// The rule that was broken on the way here, and how.
    pub broken: Option<Arc<str>>,
}

#[derive(Clone, Debug, Hash)]
struct Node {
    print: u64,
    id: NodeId,
    plane: Plane,
    view: View,
    log: Vec<Bytes>,
    unsynced: VecDeque<RegisterWrite>,
    life: u64,
    /// By which its clock is ahead.
    ahead_ns: u64,
}

#[derive(Clone, Debug, Default, Hash)]
struct Owner {
    /// The step that comes next.
    next: usize,
    asks: Option<Asking>,
    token: Option<u64>,
}

#[derive(Clone, Debug, Hash)]
struct Asking {
    request: Request,
    sent: u64,
}

const NAME: &[u8] = b"name";
const TTL_MS: u64 = 10;
const MS: u64 = 1_000_000;
/// Longer than a lease as voters count it.
const TICK_NS: u64 = 12 * MS;
/// A proposer may be ahead of the others by so much: less than a tick is longer than a lease.
const AHEAD_NS_MAX: u64 = MS;
/// Nothing is sent again and nobody gives up.
const FAR_MS: u64 = 1 << 30;
const TUNING: Tuning = Tuning {
    hedge_ms: FAR_MS,
    resend_ms: FAR_MS,
    patience_ms: FAR_MS,
    idle_ms: 0,
    sweep_ms: FAR_MS,
    home_count_max: 16,
};

impl Locks {
    /// The state from which the search begins: all serve, and nobody has asked.
    pub fn opening(&self) -> State {
        self.break_rule();
        let ids = self.scene.voters;
        let view = View::new(Epoch(1), (1..=self.scene.voters).map(NodeId).collect(), None).expect("a few voters");
        let mut state = State {
            nodes: Vec::new(),
            wire: Vec::new(),
            owners: vec![Owner::default(); self.scene.owners.len()],
            ledger: Ledger::default(),
            ticks: 0,
            timers: 0,
            crashes: 0,
            grants: 0,
            broken: None,
        };
        state.ledger.add_view(view.clone());
        for id in (1..=ids).map(NodeId) {
            let (plane, log) = (new_plane(id, 1, &view, Table::default(), Instant(0)), Vec::new());
            let (view, unsynced) = (view.clone(), VecDeque::new());
            state.nodes.push(Arc::new(Node { print: 0, id, plane, view, log, unsynced, life: 1, ahead_ns: 0 }));
        }
        for id in (1..=ids).map(NodeId) {
            self.begin(&mut state, id);
            while !state.node(id).unsynced.is_empty() {
                self.sync(&mut state, id);
            }
        }
        state.finish();
        state
    }

    /// What may happen next.
    pub fn allowed(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        for (at, owner) in state.owners.iter().enumerate() {
            let more = owner.asks.is_none() && owner.next < self.scene.owners[at].len();
            actions.extend(more.then_some(Action::Ask(at)));
        }
        for node in &state.nodes {
            let again = node.plane.next_deadline().since_ns(Instant(0));
            let soon = again <= state.now() + AHEAD_NS_MAX && state.timers < self.scene.timers;
            actions.extend(soon.then_some(Action::Timer(node.id)));
            actions.extend((!node.unsynced.is_empty()).then_some(Action::Sync(node.id)));
            actions.extend((state.crashes < self.scene.crashes).then_some(Action::Crash(node.id)));
        }
        actions.extend((state.ticks < self.scene.ticks).then_some(Action::Tick));
        actions.extend(state.wire.iter().cloned().map(Action::Deliver));
    }

    /// The state behind an action. A broken rule is noted, and nothing follows it.
    pub fn act(&self, last: &State, action: &Action) -> State {
        self.break_rule();
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut next = last.clone();
            self.perform(&mut next, action);
            next.finish();
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
            Action::Deliver(sent) => {
                state.wire.retain(|other| other.print != sent.print);
                let parcel = sent.parcel.clone();
                self.input(state, parcel.to, |plane, now, out| {
                    plane.judge(&parcel).expect("nobody here breaks the rules");
                    plane.on_message(now, parcel, out);
                });
            }
            Action::Ask(owner) => self.ask(state, *owner),
            Action::Sync(id) => self.sync(state, *id),
            Action::Timer(id) => {
                state.timers += 1;
                let now = state.now();
                let node = state.node_mut(*id);
                let due = node.plane.next_deadline().since_ns(Instant(0));
                node.ahead_ns = node.ahead_ns.max(due.saturating_sub(now));
                self.input(state, *id, Plane::on_timer);
            }
            Action::Crash(id) => self.crash(state, *id),
            Action::Tick => state.ticks += 1,
        }
    }

    fn crash(&self, state: &mut State, id: NodeId) {
        state.crashes += 1;
        let now = state.clock(id);
        for owner in state.owners.iter_mut().enumerate().filter(|(at, _)| home(*at) == id).map(|(_, owner)| owner) {
            owner.asks = None;
        }
        let node = state.node_mut(id);
        node.unsynced.clear();
        node.life += 1;
        let mut table = Table::default();
        node.log.iter().for_each(|record| table.replay(record).expect("what was written can be read"));
        node.plane = new_plane(id, node.life, &node.view, table, now);
        self.begin(state, id);
    }

    fn begin(&self, state: &mut State, id: NodeId) {
        let others: Vec<NodeId> = state.nodes.iter().map(|node| node.id).filter(|other| *other != id).collect();
        self.input(state, id, |plane, now, out| {
            plane.on_block(id.0 << 40, 1 << 30);
            others.into_iter().for_each(|other| plane.on_peer_lost(now, other, out));
            plane.start(now, out);
        });
    }

    fn ask(&self, state: &mut State, at: usize) {
        let step = self.scene.owners[at][state.owners[at].next];
        let name = Bytes::from_static(NAME);
        let by = Bytes::from(vec![b'a' + u8::try_from(at).expect("few")]);
        state.owners[at].next += 1;
        let command = match (step, state.owners[at].token) {
            (Step::Acquire, _) => {
                let (claim, id) = (Claim::Exclusive, by.clone());
                Command::Acquire(Acquire { owner: by, ttl_ms: TTL_MS, wait_ms: 0, claim, token: None, id })
            }
            (Step::Renew, Some(token)) => Command::Renew { owner: by, token, ttl_ms: TTL_MS },
            (Step::Release, Some(token)) => {
                state.ledger.let_go(&name, token);
                Command::Release { owner: by, token }
            }
            (Step::Renew | Step::Release, None) => return,
        };
        let sent = state.now();
        let request = state.ledger.begin(sent, at as u64, name.clone(), command.clone());
        state.owners[at].asks = Some(Asking { request, sent });
        self.input(state, home(at), |plane, now, out| {
            plane.on_request(now, Waiter(at as u64), name, command, out);
        });
    }

    fn sync(&self, state: &mut State, id: NodeId) {
        let now = state.now();
        let node = state.node_mut(id);
        let write = node.unsynced.pop_front().expect("the action was allowed");
        node.log.push(write.record.clone());
        state.ledger.on_durable(now, id, &write);
        for parcel in write.then {
            if parcel.to == id {
                self.input(state, id, |plane, now, out| plane.on_message(now, parcel, out));
            } else {
                self.send(state, parcel);
            }
        }
        self.input(state, id, |plane, now, out| plane.on_persisted(now, write.serial, out));
    }

    fn send(&self, state: &mut State, parcel: Parcel) {
        if !self.scene.late && asks(&parcel.message) {
            let way = (parcel.from, parcel.to);
            state.wire.retain(|sent| (sent.parcel.from, sent.parcel.to) != way || !asks(&sent.parcel.message));
        }
        let print = print_of(&parcel);
        if let Err(at) = state.wire.binary_search_by_key(&print, |sent| sent.print) {
            state.wire.insert(at, Arc::new(Sent { print, parcel }));
        }
    }

    /// Gives a plane an input, and does what it asks for.
    fn input(&self, state: &mut State, id: NodeId, call: impl FnOnce(&mut Plane, Instant, &mut Outbox)) {
        let (clock, mut out) = (state.clock(id), Outbox::default());
        let node = state.node_mut(id);
        call(&mut node.plane, clock, &mut out);
        node.plane.validate();
        let now = state.now();
        out.writes.iter().for_each(|write| state.ledger.on_written(now, write));
        state.node_mut(id).unsynced.extend(out.writes);
        out.messages.into_iter().for_each(|parcel| self.send(state, parcel));
        out.replies.into_iter().for_each(|(waiter, outcome)| state.told(waiter, &outcome));
        while !self.scene.late_syncs && !state.node(id).unsynced.is_empty() {
            self.sync(state, id);
        }
    }
}

/// True for what a proposer asks a voter.
fn asks(message: &Message) -> bool {
    matches!(message, Message::Prepare { .. } | Message::Accept { .. } | Message::Read { .. })
}

/// Where an owner asks.
fn home(owner: usize) -> NodeId {
    NodeId(owner as u64 + 1)
}

fn new_plane(me: NodeId, incarnation: u64, view: &View, table: Table, now: Instant) -> Plane {
    let config = Config { me, incarnation, generation: 0, view: view.clone(), seed: me.0, tuning: TUNING };
    Plane::new(&config, table, now)
}

impl State {
    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[place(id)]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        let node = Arc::make_mut(&mut self.nodes[place(id)]);
        node.print = 0;
        node
    }

    /// True time, in nanoseconds.
    fn now(&self) -> u64 {
        u64::from(self.ticks) * TICK_NS
    }

    fn clock(&self, id: NodeId) -> Instant {
        Instant(self.now() + self.node(id).ahead_ns)
    }

    /// Nobody has anything left to do, or waits.
    pub fn is_over(&self) -> bool {
        self.wire.is_empty() && self.owners.iter().all(|owner| owner.asks.is_none() && owner.next > 0)
    }

    fn told(&mut self, waiter: Waiter, outcome: &Outcome) {
        let now = self.now();
        let owner = &mut self.owners[usize::try_from(waiter.0).expect("few")];
        let Some(Asking { request, sent }) = owner.asks.take() else { return };
        let until = match outcome {
            Outcome::Granted { remaining_ms, .. } | Outcome::Renewed { remaining_ms } => sent + remaining_ms * MS,
            _ => 0,
        };
        if let Outcome::Granted { token, .. } = outcome {
            owner.token = Some(*token);
            self.grants += 1;
        }
        self.ledger.end(now, &request, outcome, if until > now { until } else { 0 });
    }

    /// Prints what has changed, and forgets what can do nothing any more.
    fn finish(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.print == 0) {
            let node = Arc::make_mut(node);
            node.print = print_of(node);
        }
        let State { nodes, wire, .. } = self;
        wire.retain(|sent| !is_dead(&sent.parcel, &nodes[place(sent.parcel.to)]));
    }
}

/// True for an answer to a round that is over: it would change nothing, now or later.
fn is_dead(parcel: &Parcel, receiver: &Node) -> bool {
    let answers = matches!(
        parcel.message,
        Message::Promise { .. } | Message::Accepted { .. } | Message::Refused { .. } | Message::ReadReply { .. }
    );
    if !answers {
        return false;
    }
    let (mut plane, mut out) = (receiver.plane.clone(), Outbox::default());
    let before = print_of(&plane);
    plane.on_message(Instant(0), parcel.clone(), &mut out);
    before == print_of(&plane) && out.messages.is_empty() && out.writes.is_empty()
}

fn place(id: NodeId) -> usize {
    usize::try_from(id.0).expect("small") - 1
}

fn print_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.nodes.iter().for_each(|node| node.print.hash(to));
        self.wire.iter().for_each(|sent| sent.print.hash(to));
        let Self { owners, ledger, ticks, timers, crashes, grants, broken, .. } = self;
        (owners, ledger, ticks, timers, crashes, grants, broken).hash(to);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        print_of(self) == print_of(other)
    }
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}
