//! Raft (Ongaro and Ousterhout 2014; Ongaro's thesis), sans-IO: one [`Group`] per shard and replica.
//!
//! The caller's duties:
//!
//! 1. Give every message of a peer that [`Group::judge`] lets pass to [`Group::on_message`], and call [`Group::on_timer`] when
//!    [`Group::next_deadline`] has come, with a `now` of the boot-time clock that was read *after* the input came.
//! 2. Make [`Write`]s durable in their order; deliver each one's `then` after it, never before. Notices may come late
//!    and out of order. Send [`Effects::messages`] at once; they need nothing durable.
//! 3. When [`Turned::elected`] is told, propose the term's first entry at once: nothing of former terms commits before.
//! 4. Apply what [`Group::next_committed`] gives, all of it, before any read is served.
//! 5. Serve a read where [`Group::may_read`] says so at the time of the read, or once [`Group::is_confirmed`] tells so of
//!    a ticket that was taken after the read came.
//! 6. Bring a snapshot to the peers named by [`Effects::lagging`], and call [`Group::install`] there once it is durable.
//!
//! Beyond the paper: pre-vote, check-quorum, leases per shard, learners and joint consensus, leader transfer, streams
//! bounded by count and bytes, backtracking by terms. The modules are nouns: each holds what the group does about one.

mod change;
mod codec;
mod election;
mod follower;
mod fresh;
mod identity;
mod judge;
mod leader;
mod log;
pub mod membership;
pub mod message;
mod progress;
mod read;
mod snapshot;

pub use change::{Change, ChangeRefused};
pub use fresh::Fresh;
pub use judge::PeerMisbehaved;
pub use membership::Membership;
pub use message::{Answer, Entry, Message, Position, Why};
pub use read::Ticket;

use crate::{Effects, Envelope, Write};
use base::mutation::{self, Mutation};
use base::record::{Payload, Record, RecoveredShard};
use base::rng::Rng;
use base::{Index, Instant, NodeId, ShardId, Term};
use bytes::Bytes;
use fresh::Freshness;
use leader::Leader;
use log::Log;

/// Durations, on which all replicas of a group must agree since leases rest on them, and what a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// How often a leader is heard.
    pub heartbeat_ms: u64,
    /// A follower that has heard its leader votes for nobody else for so long, and campaigns not before.
    pub election_ms: u64,
    /// Chance adds up to so much to the time until a campaign.
    pub election_spread_ms: u64,
    /// What the clocks of two machines may drift apart while `election_ms` pass, and a margin.
    pub drift_ms: u64,
    /// Bytes of applied entries that are kept for peers that lag; a peer that lacks more gets a snapshot.
    pub kept_bytes_max: usize,
    /// The same while a peer that answers has yet to get them: it catches up without another snapshot.
    pub held_bytes_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_ms: 200,
            election_spread_ms: 150,
            drift_ms: 20,
            kept_bytes_max: 8 * 1024 * 1024,
            held_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Tuning {
    /// A lease lasts so long from the sending of the heartbeat that a quorum answers.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        self.election_ms - self.drift_ms
    }
}

/// What a step brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Turned {
    /// This replica leads now; the caller proposes the term's first entry at once.
    pub elected: bool,
    /// This replica led until now.
    pub deposed: bool,
    /// [`Group::next_committed`] has something.
    pub committed: bool,
}

/// One replica of one group.
#[derive(Clone, Debug)]
pub struct Group {
    me: NodeId,
    shard: ShardId,
    tuning: Tuning,
    rng: Rng,
    term: Term,
    vote: Option<NodeId>,
    hard: HardState,
    role: Role,
    /// Who leads in `term`, as far as is known here.
    leader: Option<NodeId>,
    log: Log,
    /// How often the log was cut back: a notice of before counts for nothing.
    generation: u64,
    /// Durable in this replica's log.
    durable: Index,
    /// Equal to the log of this term's leader, up to here.
    verified: Index,
    commit: Index,
    applied: Position,
    /// Memberships by the index of their entry; the last one counts.
    members: Vec<(Index, Membership)>,
    /// When a leader was heard last: it may rely on this replica's vote for a while.
    heard_at: Option<Instant>,
    fresh: Freshness,
    /// Before this a restarted replica neither votes nor campaigns: it may have granted a lease in its former life.
    quarantined_until: Instant,
    /// When a replica that doesn't lead campaigns.
    campaign_at: Instant,
    /// A snapshot at this index is on its way to a peer, which will need what follows it.
    held_from: Option<Index>,
    /// The node is about to stop.
    retired: bool,
    turned: Turned,
}

/// Writes of term and vote, and what waits for them.
#[derive(Clone, Debug, Default)]
struct HardState {
    written: u64,
    stored: u64,
    /// Messages that speak of a term or vote which is not durable yet.
    held: Vec<(u64, Envelope)>,
}

#[derive(Clone, Debug, Hash)]
enum Role {
    Follower,
    /// Asks who would vote for it.
    PreCandidate {
        granted: Vec<NodeId>,
    },
    /// Asks for votes; its own is among `granted` once it is durable.
    Candidate {
        granted: Vec<NodeId>,
    },
    Leader(Box<Leader>),
}

impl Group {
    /// The replica of `shard` on node `me` as storage recovered it. `members` counts if the log names none.
    #[must_use]
    pub fn new(me: NodeId, shard: ShardId, members: Membership, recovered: RecoveredShard, rng: Rng) -> Self {
        let RecoveredShard { term, vote, snapshot, entries } = recovered;
        let (base, members) = match snapshot {
            None => (Position::default(), members),
            Some(mark) => {
                let known = Membership::decode(&mark.members).unwrap_or(members);
                (Position { index: mark.index, term: mark.term }, known)
            }
        };
        // A snapshot that replaced a log which differed leaves that log's tail behind it, of older terms.
        let mut entries = entries;
        let fitting = entries.iter().scan(base.term, |term, found| {
            let fits = found.term >= *term;
            *term = found.term;
            Some(fits)
        });
        entries.truncate(fitting.take_while(|fits| *fits).count());
        let mut memberships = vec![(base.index, members)];
        for found in &entries {
            if let Payload::Members(bytes) = &found.payload {
                let members = Membership::decode(bytes).expect("the log's checksums cover a membership");
                memberships.push((found.index, members));
            }
        }
        let log = Log::new(base, entries);
        let durable = log.last().index;
        Self {
            me,
            shard,
            tuning: Tuning::default(),
            rng,
            term,
            vote,
            hard: HardState::default(),
            role: Role::Follower,
            leader: None,
            log,
            generation: 0,
            durable,
            verified: Index(0),
            commit: base.index,
            applied: base,
            members: memberships,
            heard_at: None,
            fresh: Freshness::default(),
            quarantined_until: Instant(0),
            campaign_at: Instant(u64::MAX),
            held_from: None,
            retired: false,
            turned: Turned::default(),
        }
    }

    /// The same with another tuning.
    #[must_use]
    pub fn tuned(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// Begins: a replica that always was alone campaigns at once, others wait for what they may have promised before.
    /// One whose log tells of other members may have promised something to one that is to leave, and leads meanwhile.
    pub fn start(&mut self, now: Instant, out: &mut Effects) {
        if self.members.iter().all(|(_, members)| members.is_alone(self.me)) {
            return self.campaign(Why::Silence, out);
        }
        let fresh = self.term == Term(0);
        if !fresh && !mutation::on(Mutation::NoQuarantine) {
            self.quarantined_until = now.plus_ms(self.tuning.election_ms + self.tuning.drift_ms);
        }
        self.await_leader(now);
    }

    /// When [`Group::on_timer`] wants to be called.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        match &self.role {
            Role::Leader(leader) if !self.membership().is_alone(self.me) => leader.beat_at,
            Role::Leader(_) => Instant(u64::MAX),
            _ if self.may_campaign() => self.campaign_at,
            _ => Instant(u64::MAX),
        }
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now: Instant, out: &mut Effects) -> Turned {
        if now >= self.next_deadline() {
            match self.role {
                Role::Leader(_) => self.on_beat(now, out),
                _ => self.pre_campaign(now, out),
            }
        }
        self.turned()
    }

    /// Takes a message of a peer, or a notice of its own storage.
    pub fn on_message(&mut self, now: Instant, from: NodeId, message: Message, out: &mut Effects) -> Turned {
        match message {
            Message::HardStateStored { serial } => self.on_hard_state_stored(now, serial, out),
            Message::AppendStored { generation, index } => self.on_append_stored(now, generation, index, out),
            Message::PreVote { term, last } => self.on_pre_vote(now, from, term, last, out),
            Message::PreVoteReply { term, answer } => self.on_pre_vote_reply(now, from, term, answer, out),
            Message::Vote { term, last, why } => self.on_vote(now, from, term, last, why, out),
            Message::VoteReply { term, answer } => self.on_vote_reply(now, from, term, answer, out),
            Message::Append { term, prev, entries, commit } => {
                if self.follow(now, from, term, out) {
                    self.on_append(from, prev, entries, commit, out);
                }
            }
            Message::Heartbeat { term, probe, commit, fresh } => {
                self.on_heartbeat(now, from, (term, probe), commit, fresh, out);
            }
            Message::AppendReply { term, matched } => {
                if self.leads_in(now, term, out) {
                    self.on_append_reply(now, from, matched, out);
                }
            }
            Message::AppendRejected { term, asked, hint } => {
                if self.leads_in(now, term, out) {
                    self.on_append_rejected(now, from, asked, hint, out);
                }
            }
            Message::HeartbeatReply { term, probe, matched } => {
                if self.leads_in(now, term, out) {
                    self.on_heartbeat_reply(now, from, probe, matched, out);
                }
            }
            Message::TimeoutNow { term } => self.on_timeout_now(from, term, out),
        }
        self.turned()
    }

    /// Appends `entry` to the log; nothing if this replica doesn't lead, or is stepping back.
    pub fn propose(&mut self, now: Instant, entry: Bytes, out: &mut Effects) -> Option<Index> {
        match &self.role {
            Role::Leader(leader) if !leader.is_stepping_back() => Some(self.append_own(now, Payload::Data(entry), out)),
            _ => None,
        }
    }

    /// The next committed entry of data, in order and once. Nothing if all is applied.
    pub fn next_committed(&mut self) -> Option<(Index, Bytes)> {
        while self.applied.index < self.commit {
            let mut index = self.applied.index.next();
            if mutation::on(Mutation::ApplySkips) && self.commit.0 > index.0 + 2 {
                index = index.next();
            }
            let Entry { term, payload } =
                self.log.get(index).expect("committed entries are kept until applied").clone();
            self.applied = Position { index, term };
            self.let_go(index);
            if let Payload::Data(entry) = payload {
                return Some((index, entry));
            }
        }
        None
    }

    /// True if this replica leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// True if [`Group::propose`] would take an entry.
    #[must_use]
    pub fn may_propose(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if !leader.is_stepping_back())
    }

    /// Who leads, as far as is known here.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        if self.leads() { Some(self.me) } else { self.leader }
    }

    /// True if no entry was ever written, nor a snapshot taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.last().index == Index(0)
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The last committed index.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// Where the last applied entry stands: what a snapshot taken now covers.
    #[must_use]
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// The end of the log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// The members that count now.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.members.last().expect("a group has members").1
    }

    /// The index of the entry since which those members count.
    #[must_use]
    pub fn members_since(&self) -> Index {
        self.members.last().expect("a group has members").0
    }

    /// The members as of `index`, which must not lie before the last applied one.
    #[must_use]
    pub fn membership_at(&self, index: Index) -> &Membership {
        let at = self.members.iter().rposition(|(from, _)| *from <= index).unwrap_or(0);
        &self.members[at].1
    }

    /// True while an entry of its own waits to become durable here.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.durable < self.log.last().index
    }

    /// Durable in this replica's log.
    #[must_use]
    pub fn durable(&self) -> Index {
        self.durable
    }

    /// How often the log was cut back: for checks.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Term, vote: for checks.
    #[must_use]
    pub fn vote(&self) -> (Term, Option<NodeId>) {
        (self.term, self.vote)
    }

    /// The term of the entry at `index`, if it is known here: for checks.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    fn turned(&mut self) -> Turned {
        self.turned.committed = self.applied.index < self.commit;
        std::mem::take(&mut self.turned)
    }

    /// Appends an entry to the log and has it written; `members` follow it.
    fn append(&mut self, entry: Entry, out: &mut Effects) -> Index {
        let Entry { term, payload } = entry.clone();
        let index = self.log.append(entry);
        if let Payload::Members(bytes) = &payload {
            let members = Membership::decode(bytes).expect("leaders and peers send memberships that they have read");
            self.members.push((index, members));
        }
        let then = vec![self.to_me(Message::AppendStored { generation: self.generation, index })];
        out.writes.push(Write { record: Record::Append { shard: self.shard, term, index, payload }, then });
        index
    }

    /// Drops the log from `index` on: a leader of a later term has something else there.
    fn cut_from(&mut self, index: Index) {
        assert!(index > self.commit, "what is committed is in every later leader's log");
        self.log.cut_from(index);
        self.generation += 1;
        self.durable = self.durable.min(self.log.last().index);
        self.members.retain(|(from, _)| *from < index || from.0 == 0);
    }

    /// Has term and vote written, and `messages`, which speak of them, sent once they are durable.
    fn persist(&mut self, messages: Vec<(NodeId, Message)>, out: &mut Effects) {
        self.hard.written += 1;
        let mut then = vec![self.to_me(Message::HardStateStored { serial: self.hard.written })];
        let envelopes = messages.into_iter().map(|(to, message)| self.envelope(to, message));
        if mutation::on(Mutation::TermNotDurable) {
            out.messages.extend(envelopes);
        } else {
            then.extend(envelopes);
        }
        let record = Record::HardState { shard: self.shard, term: self.term, vote: self.vote };
        out.writes.push(Write { record, then });
    }

    /// Sends a message, which speaks of this term, once that is durable.
    fn send(&mut self, to: NodeId, message: Message, out: &mut Effects) {
        let envelope = self.envelope(to, message);
        if self.hard.stored == self.hard.written || mutation::on(Mutation::TermNotDurable) {
            out.messages.push(envelope);
        } else {
            self.hard.held.push((self.hard.written, envelope));
        }
    }

    fn on_hard_state_stored(&mut self, now: Instant, serial: u64, out: &mut Effects) {
        self.hard.stored = self.hard.stored.max(serial);
        let stored = self.hard.stored;
        out.messages.extend(self.hard.held.extract_if(.., |(needs, _)| *needs <= stored).map(|(_, envelope)| envelope));
        if self.hard.stored == self.hard.written {
            self.on_own_vote_stored(now, out);
        }
    }

    fn envelope(&self, to: NodeId, message: Message) -> Envelope {
        Envelope { from: self.me, to, shard: self.shard, message }
    }

    fn to_me(&self, message: Message) -> Envelope {
        self.envelope(self.me, message)
    }
}

#[cfg(test)]
mod tests;
