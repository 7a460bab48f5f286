//! A state of the model: replicas, what is on its way between them, and what the rules remember.

use crate::replica::{Replica, print_of};
use crate::rules::Ledger;
use crate::scenes::Stale;
use base::{NodeId, Term};
use consensus::raft::{Answer, Membership, Message, Position};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct State {
    /// Replica `n` stands at `n - 1`; what a step doesn't touch is shared with the state before.
    replicas: Vec<Arc<Printed>>,
    /// In the order of their prints, none twice. What is never delivered is lost.
    wire: Vec<Arc<Sent>>,
    pub ledger: Ledger,
    pub spent: Spent,
    /// The highest name of a replica that has done something; see [`crate::scenes::Scene::alike`].
    pub active: u64,
    /// The rule that was broken on the way here, and how.
    pub broken: Option<Arc<str>>,
}

/// A replica with its print.
#[derive(Clone, Debug)]
struct Printed {
    print: u64,
    replica: Replica,
}

/// Something on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    print: u64,
    pub from: NodeId,
    pub to: NodeId,
    pub what: Parcel,
}

#[derive(Clone, Debug, Hash)]
pub enum Parcel {
    Message(Message),
    /// The leader of `term` sends its state at a position; its file is durable when it arrives.
    Snapshot {
        term: Term,
        at: Position,
        members: Membership,
    },
}

/// How much of what a scene bounds has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub timers: u8,
    pub proposals: u8,
    pub crashes: u8,
    pub doubles: u8,
    pub rounds: u8,
    pub changes: u8,
    pub transfers: u8,
    pub snapshots: u8,
    pub ticks: u8,
    pub slow_ticks: u8,
}

impl State {
    pub fn new(replicas: impl Iterator<Item = Replica>) -> Self {
        let printed = |replica| Arc::new(Printed { print: print_of(&replica), replica });
        Self {
            replicas: replicas.map(printed).collect(),
            wire: Vec::new(),
            ledger: Ledger::default(),
            spent: Spent::default(),
            active: 0,
            broken: None,
        }
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().map(|printed| &printed.replica)
    }

    pub fn replica(&self, id: NodeId) -> &Replica {
        &self.replicas[place(id)].replica
    }

    /// The replica, to be changed; [`State::finish`] prints it anew.
    pub fn replica_mut(&mut self, id: NodeId) -> &mut Replica {
        let printed = Arc::make_mut(&mut self.replicas[place(id)]);
        printed.print = 0;
        &mut printed.replica
    }

    pub fn wire(&self) -> &[Arc<Sent>] {
        &self.wire
    }

    pub fn send(&mut self, from: NodeId, to: NodeId, what: Parcel) {
        let print = print_of(&(from, to, &what));
        if let Err(at) = self.wire.binary_search_by_key(&print, |sent| sent.print) {
            self.wire.insert(at, Arc::new(Sent { print, from, to, what }));
        }
    }

    /// Takes something off the wire.
    pub fn take(&mut self, sent: &Sent) {
        self.wire.retain(|other| other.print != sent.print);
    }

    /// True if nothing is on its way, nor waits for a disk.
    pub fn is_quiet(&self) -> bool {
        let rests = |replica: &Replica| replica.disk.unsynced.is_empty() && replica.notices.is_empty();
        self.wire.is_empty() && self.replicas().all(rests)
    }

    /// Prints what has changed, and forgets what can do nothing any more.
    pub fn finish(&mut self, stale: Stale) {
        for printed in self.replicas.iter_mut().filter(|printed| printed.print == 0) {
            let printed = Arc::make_mut(printed);
            printed.print = print_of(&printed.replica);
        }
        let replicas = &self.replicas;
        self.wire.retain(|sent| match &sent.what {
            Parcel::Message(message) => !is_dead(message, sent.from, &replicas[place(sent.to)].replica, stale),
            Parcel::Snapshot { .. } => true,
        });
    }
}

fn place(id: NodeId) -> usize {
    usize::try_from(id.0).expect("small") - 1
}

/// True for a message that is ignored whenever it comes, or that the scene loses because it is of a former term.
fn is_dead(message: &Message, from: NodeId, receiver: &Replica, stale: Stale) -> bool {
    let (disk, (term, vote)) = (&receiver.disk, receiver.group.vote());
    let of = message.term().expect("what travels has a term");
    let over = of < disk.term;
    // Who neither leads nor voted for itself in a term never leads in it.
    let never_leads = disk.term == of && term == of && vote != Some(receiver.id);
    match message {
        Message::VoteReply { answer: Answer::Refused, .. } => of <= disk.term,
        Message::VoteReply { answer: Answer::Granted, .. } => over || never_leads || receiver.group.leads(),
        Message::AppendReply { .. } | Message::AppendRejected { .. } | Message::HeartbeatReply { .. } => {
            over || never_leads
        }
        Message::Vote { .. } => {
            let given = of == disk.term && disk.vote.is_some_and(|to| to != from);
            given || (over && stale == Stale::Lost)
        }
        Message::Append { .. } | Message::Heartbeat { .. } => over && stale == Stale::Lost,
        Message::TimeoutNow { .. } => over,
        _ => false,
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self { replicas, wire, ledger, spent, active, broken } = self;
        replicas.iter().for_each(|printed| printed.print.hash(to));
        wire.iter().for_each(|sent| sent.print.hash(to));
        (ledger, spent, active, broken).hash(to);
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
