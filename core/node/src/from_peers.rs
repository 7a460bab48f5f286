//! What other nodes send: judged first, done then.
//!
//! A link is proved and its frames are summed, yet a peer may be of another version, have a broken memory, or be somebody
//! with a stolen secret. What could not come from a node that keeps the rules is not done: it becomes an event, and the driver
//! ends the link. So no message of a peer ends this node.

use crate::clocks::tell_time;
use crate::lane::{Lane, Part, waiter};
use crate::outbox::{Event, Now, Outbox, Queued, Transaction};
use crate::peer::{Asker, PeerMessage, Work};
use crate::replica::Origin;
use crate::transfer::Piece;
use crate::wait::PeerWait;
use crate::waiting::Ending;
use base::record::Payload;
use base::{Index, NodeId, ShardId, Term};
use consensus::raft::{Membership, Message, PeerMisbehaved};
use consensus::{Envelope, lock};
use data::command::blocking;
use data::{Command, Refused, Reply, Run, shard};
use smallvec::SmallVec;

/// What a node that keeps the rules would not send; nothing was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaved {
    /// A shard that the cluster doesn't have.
    NoSuchShard(ShardId),
    /// What replicas of this shard don't tell each other.
    Raft(ShardId, PeerMisbehaved),
    /// An entry that no leader of this version writes.
    Entry(ShardId, Index),
    /// A snapshot, or an answer to one, that makes no sense.
    Snapshot(ShardId),
    /// Work for keys of another shard.
    Work(ShardId),
    /// What voters, homes and edges of locks don't tell each other.
    Lock(lock::PeerMisbehaved),
}

impl std::fmt::Display for Misbehaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchShard(shard) => write!(f, "a message for shard {shard}, which doesn't exist"),
            Self::Raft(shard, what) => write!(f, "for shard {shard} {what}"),
            Self::Entry(shard, index) => write!(f, "entry {index} of shard {shard}, which can't be read"),
            Self::Snapshot(shard) => write!(f, "a part of a snapshot of shard {shard} that makes no sense"),
            Self::Work(shard) => write!(f, "work for shard {shard} whose keys don't belong there"),
            Self::Lock(what) => write!(f, "about a lock {what}"),
        }
    }
}

/// No snapshot is larger.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 50;

impl Lane {
    /// There is a link to a node, for the first time or again.
    pub fn on_peer_up(&mut self, now: Now, peer: NodeId, out: &mut Outbox) {
        tell_time(now, peer, out);
        self.locks_on_link(now, peer, true, out);
        self.spread.on_up(now, peer);
        for replica in self.replicas.iter_mut().flatten() {
            replica.on_link(now, peer, out);
            replica.on_link_for_transfer(now, peer, out);
        }
    }

    /// The link to a node broke.
    pub fn on_peer_lost(&mut self, now: Now, peer: NodeId, out: &mut Outbox) {
        self.spread.on_lost(now, peer);
        self.expect_no_answers(peer, out);
        self.locks_on_link(now, peer, false, out);
        for shard in self.config.routing.groups() {
            let Some(replica) = self.replicas[usize::from(shard.0)].as_mut() else { continue };
            replica.group.on_peer_lost(now.boot, peer);
            for (waiter, reply) in replica.on_link_lost(now, peer, out) {
                self.answer(waiter, shard, reply, out);
            }
            self.resume(now, shard, out);
        }
        self.set_deadline(now, out);
    }

    /// A message of another node.
    pub fn on_peer(&mut self, now: Now, from: NodeId, mut message: PeerMessage, out: &mut Outbox) {
        if let PeerMessage::Register(parcel) = &mut message {
            // The link says who speaks.
            (parcel.from, parcel.to) = (from, self.config.node);
        }
        if let Err(what) = self.judge(from, &message) {
            return out.events.push(Event::PeerMisbehaved { peer: from, what });
        }
        match message {
            PeerMessage::Raft { shard, message } => {
                if self.owns(shard) {
                    let envelope = Envelope { from, to: self.config.node, shard, message };
                    self.on_persisted(now, envelope, out);
                }
            }
            PeerMessage::Ask { shard, term, asker, work } => self.on_ask(now, from, (shard, term), asker, work, out),
            PeerMessage::Answer { asker, shard, reply } => {
                if !self.owns(shard) {
                    return;
                }
                if let Some(waiter) = self.replica(shard).on_answer(from, asker) {
                    self.answer(waiter, shard, reply, out);
                }
            }
            PeerMessage::Register(parcel) => self.on_register_message(now, parcel, out),
            PeerMessage::Time { wall_ms } => self.on_time_told(now, from, wall_ms, out),
            PeerMessage::Everywhere { number, what } => self.on_node_asks(now, from, number, what, out),
            PeerMessage::EverywhereAnswer { number, answer } => self.on_node_answers(from, number, answer, out),
            PeerMessage::SnapshotPiece { shard, term, piece } => {
                if self.owns(shard) {
                    self.replica(shard).on_piece(from, term, piece, out);
                }
            }
            PeerMessage::SnapshotTaken { shard, index, next, .. } => {
                if self.owns(shard) {
                    self.replica(shard).on_piece_taken(now, from, (index, next), out);
                }
            }
            PeerMessage::LetGo { asker, how, .. } => {
                let origin = Origin::Node(from, asker.lane);
                self.let_go_here(now, origin, (asker.client, asker.seq), Ending::Told(how), out);
            }
            PeerMessage::Settled { asker, shard, args } => {
                if self.owns(shard) {
                    self.replica(shard).on_settled(from, asker, args);
                }
            }
            PeerMessage::NotLeader { asker, shard, term, also_later } => {
                if self.owns(shard) {
                    self.replica(shard).on_not_leader(now, from, (asker, term), also_later, out);
                    self.resume(now, shard, out);
                }
            }
        }
    }

    /// Another node's client wants something of a shard that this node leads, as that node thinks.
    fn on_ask(
        &mut self,
        now: Now,
        from: NodeId,
        (shard, term): (ShardId, Term),
        asker: Asker,
        work: Work,
        out: &mut Outbox,
    ) {
        let leads = self.owns(shard) && {
            let replica = self.replica(shard);
            replica.leads() && replica.group.term() == term
        };
        if !leads {
            return out.peers.push((from, PeerMessage::NotLeader { asker, shard, term, also_later: true }));
        }
        let Asker { lane, client, seq, part } = asker;
        let waiter = waiter(Origin::Node(from, lane), client, seq, if part { Part::Yes } else { Part::No });
        match work {
            Work::Command { joins, queued } if is_for_shard(&queued) => {
                self.run(now, shard, waiter, joins, &queued, out);
            }
            Work::Command { .. } => {
                let text = "ERR this command is not for a shard; the asking node is of another version".to_owned();
                self.answer(waiter, shard, Reply::Error(Refused::Text(text)), out);
            }
            Work::Transaction(transaction) => self.log_transaction(now, shard, waiter, transaction, out),
            Work::Wait(wait) => self.wait_for_peer(now, (shard, term), waiter, wait, out),
        }
    }

    fn judge(&self, from: NodeId, message: &PeerMessage) -> Result<(), Misbehaved> {
        if let PeerMessage::Register(parcel) = message {
            return self.judge_register(parcel).map_err(Misbehaved::Lock);
        }
        let shard = message.shard();
        if !self.config.routing.groups().any(|known| known == shard) {
            return Err(Misbehaved::NoSuchShard(shard));
        }
        let Some(replica) = self.replicas[usize::from(shard.0)].as_deref() else { return Ok(()) };
        let of_raft = |what| Misbehaved::Raft(shard, what);
        match message {
            PeerMessage::Raft { message, .. } => {
                replica.group.judge(from, message).map_err(of_raft)?;
                unread_entry(replica.group.commit(), message).map_or(Ok(()), |at| Err(Misbehaved::Entry(shard, at)))
            }
            PeerMessage::Ask { work, .. } => self.judge_work(shard, work),
            PeerMessage::SnapshotPiece { term, piece, .. } => {
                replica.group.judge(from, &Message::TimeoutNow { term: *term }).map_err(of_raft)?;
                replica.group.judge_leader(from, *term).map_err(of_raft)?;
                if makes_sense(piece, *term) { Ok(()) } else { Err(Misbehaved::Snapshot(shard)) }
            }
            PeerMessage::SnapshotTaken { index, next, .. } => {
                let sense = *next <= SNAPSHOT_BYTES_MAX && replica.has_as_much(from, *index, *next);
                if sense { Ok(()) } else { Err(Misbehaved::Snapshot(shard)) }
            }
            PeerMessage::Answer { .. }
            | PeerMessage::NotLeader { .. }
            | PeerMessage::LetGo { .. }
            | PeerMessage::Settled { .. }
            | PeerMessage::Time { .. }
            | PeerMessage::Register(_)
            | PeerMessage::Everywhere { .. }
            | PeerMessage::EverywhereAnswer { .. } => Ok(()),
        }
    }

    /// Work must be for the shard that it names: elsewhere nobody would find what it writes.
    fn judge_work(&self, shard: ShardId, work: &Work) -> Result<(), Misbehaved> {
        let belongs = |command: &'static Command, args: &[Vec<u8>]| {
            let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
            let found = self.config.routing.shard_of_keys(command, &args);
            matches!(found, Ok(found) if found.is_none_or(|found| found == shard))
        };
        let fits = match work {
            // It is answered by an error.
            Work::Command { queued, .. } if !is_for_shard(queued) => true,
            Work::Command { queued: Queued { command, args, .. }, .. } => match command.run {
                Run::Scatter(_) => true,
                _ => belongs(command, args),
            },
            Work::Wait(PeerWait { queued: Queued { command, args, .. }, .. }) => {
                let args_of: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
                blocking::wish(command, &args_of).is_some() && belongs(command, args)
            }
            Work::Transaction(Transaction { watched, commands, .. }) => {
                let here = |one: &Queued| matches!(one.command.run, Run::Scatter(_)) || belongs(one.command, &one.args);
                let logged = |one: &Queued| is_for_shard(one) && !matches!(one.command.run, Run::Prefix(_));
                watched.iter().all(|one| one.shard == shard) && commands.iter().all(|one| logged(one) && here(one))
            }
        };
        if fits { Ok(()) } else { Err(Misbehaved::Work(shard)) }
    }
}

/// The first entry of a message that apply could not read, if it isn't committed here already.
fn unread_entry(commit: Index, message: &Message) -> Option<Index> {
    let Message::Append { prev, entries, .. } = message else { return None };
    let numbered = (prev.index.0 + 1..).map(Index).zip(entries);
    let mut data = numbered.filter(|(index, _)| *index > commit).filter_map(|(index, entry)| match &entry.payload {
        Payload::Data(bytes) => Some((index, bytes)),
        Payload::Members(_) => None,
    });
    data.find(|(index, bytes)| shard::check(*index, bytes).is_err()).map(|(index, _)| index)
}

fn makes_sense(piece: &Piece, term: Term) -> bool {
    let Piece { mark, offset, total, bytes } = piece;
    let inside = offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= *total);
    let numbers = *total <= SNAPSHOT_BYTES_MAX && mark.term <= term && mark.index.0 < 1 << 62;
    inside && numbers && Membership::decode(&mark.members).is_ok()
}

/// True for what a shard can do; sessions and nodes do the rest.
fn is_for_shard(queued: &Queued) -> bool {
    !matches!(queued.command.run, Run::Session | Run::Node | Run::Everywhere | Run::Lock)
}
