//! What happened to one shard, in its order: who asked, what was proposed, what took effect, what was acknowledged.
//!
//! The invariants of the data plane are the methods whose names say them.

use crate::answer::{Answer, Expected};
use crate::oracle::{Asked, Model, Watch};
use base::codec::Reader;
use base::record::{Payload, RecoveredShard};
use base::time::NS_PER_MS;
use base::{ClientId, Index, ShardId, Term};
use bytes::Bytes;
use data::batch::{Batch, Done, Purpose};
use data::{Keyspace, ShardState};
use edge::resp::encode::{Proto, encode};
use node::Now;
use std::collections::{BTreeMap, VecDeque};

/// A command on its way through a shard.
#[derive(Clone, Debug)]
pub struct Pending {
    pub client: ClientId,
    pub seq: u64,
    pub part: bool,
    pub what: What,
    /// What a script has answered, once it was run: the log doesn't tell.
    pub told: Option<Answer>,
}

impl Pending {
    /// A command that nobody has done anything about.
    pub fn new((client, seq): (ClientId, u64), part: bool, what: What) -> Self {
        Self { client, seq, part, what, told: None }
    }
}

/// What it does.
#[derive(Clone, Debug)]
pub enum What {
    Command(Asked),
    Exec { once: Option<String>, watches: Vec<Watch>, commands: Vec<Asked> },
}

/// The effect of a command, as the model sees it.
#[derive(Debug)]
pub struct Effect {
    pub client: ClientId,
    pub seq: u64,
    pub part: bool,
    pub expected: Expected,
    pub watched: Vec<Watch>,
}

#[derive(Debug)]
struct Proposal {
    entry: Bytes,
    stamp: u64,
    commands: Vec<Pending>,
}

/// One shard's history.
#[derive(Debug)]
pub struct Ledger {
    shard: ShardId,
    model: Model,
    /// Logged and not yet proposed, in their order.
    arrived: VecDeque<Pending>,
    proposed: BTreeMap<Index, Proposal>,
    /// Applied by some life of the machine, so perhaps acknowledged.
    applied: Index,
    /// A second copy of the state, which never restarts and never sees a snapshot.
    twin: ShardState,
    /// The leader's clock: the wall and the boot clock at its election, and the last stamp that it gave.
    elected: Now,
    last_stamp: u64,
    term: Term,
    /// The last command of each client that took effect here.
    last_of: BTreeMap<ClientId, u64>,
    pub ready: bool,
    /// The stamp of the entry that is being tried out.
    lent_at: Option<u64>,
}

impl Ledger {
    /// The history of an empty shard.
    #[must_use]
    pub fn new(shard: ShardId, once_kept_ms: u64) -> Self {
        let mut model = Model::default();
        model.remember_for(once_kept_ms);
        Self {
            shard,
            model,
            arrived: VecDeque::new(),
            proposed: BTreeMap::new(),
            applied: Index(0),
            twin: ShardState::default(),
            elected: Now::default(),
            last_stamp: 0,
            term: Term(0),
            last_of: BTreeMap::new(),
            ready: false,
            lent_at: None,
        }
    }

    /// The machine has stopped: nobody waits any more, and nothing was proposed beyond what the log will show.
    pub fn crash(&mut self) {
        self.arrived.clear();
        self.lent_at = None;
        self.ready = false;
    }

    /// Checks what recovery found against what was proposed.
    pub fn no_acknowledged_write_is_lost(&mut self, found: &RecoveredShard) {
        let snapshot = found.snapshot.as_ref().map_or(Index(0), |mark| mark.index);
        let last = found.entries.last().map_or(snapshot, |entry| entry.index);
        assert!(
            last >= self.applied,
            "no_acknowledged_write_is_lost: shard {} came back up to entry {last}, but {} had been applied",
            self.shard,
            self.applied
        );
        for entry in &found.entries {
            let Some(proposal) = self.proposed.get(&entry.index) else {
                panic!("nothing_comes_back_that_was_not_proposed: shard {} entry {}", self.shard, entry.index)
            };
            assert_eq!(
                Payload::Data(proposal.entry.clone()),
                entry.payload,
                "what_comes_back_is_what_was_written: shard {} entry {}",
                self.shard,
                entry.index
            );
        }
        drop(self.proposed.split_off(&last.next()));
    }

    /// What came back from a disk with rot, and was not refused, must be whole.
    pub fn rot_is_never_served(&self, found: &RecoveredShard, file: &str, byte: usize) {
        let snapshot = found.snapshot.as_ref().map_or(Index(0), |mark| mark.index);
        let last = found.entries.last().map_or(snapshot, |entry| entry.index);
        assert!(
            last >= self.applied,
            "rot_is_never_served: a bit of {file} at byte {byte} took entry {}",
            self.applied
        );
        for entry in &found.entries {
            let same =
                self.proposed.get(&entry.index).is_some_and(|one| Payload::Data(one.entry.clone()) == entry.payload);
            assert!(same, "rot_is_never_served: a bit of {file} at byte {byte} changed entry {}", entry.index);
        }
    }

    /// The shard has a leader from `now` on.
    pub fn elect(&mut self, now: Now, term: Term) {
        assert!(term > self.term, "every_leadership_has_a_term_of_its_own: {term} after {}", self.term);
        self.term = term;
        self.elected = now;
        self.last_stamp = 0;
    }

    /// True if a command of this client is logged and has not taken effect.
    pub fn holds_one_of(&self, client: ClientId) -> bool {
        let proposed = self.proposed.range(self.applied.next()..).flat_map(|(_, one)| &one.commands);
        self.arrived.iter().chain(proposed).any(|pending| pending.client == client)
    }

    /// A command was logged behind all that came before.
    pub fn arrive(&mut self, pending: Pending) {
        self.arrived.push_back(pending);
    }

    /// An entry was proposed: it holds what has arrived, up to what had to wait.
    pub fn propose(&mut self, now: Now, index: Index, entry: Bytes) {
        let mut reader = Reader::new(&entry);
        let (version, stamp) = (reader.u8(), reader.varint());
        assert_eq!(version, Ok(1), "this simulator reads entries of version 1");
        let stamp = stamp.expect("an entry has a stamp");
        self.stamps_follow_the_boot_clock(now, stamp);
        let count = data::shard::count(index, &entry).expect("a lane writes what can be read");
        let commands = self.arrived.drain(..count).collect();
        self.proposed.insert(index, Proposal { entry, stamp, commands });
    }

    fn stamps_follow_the_boot_clock(&mut self, now: Now, stamp: u64) {
        let wanted = self.lent_at.take().unwrap_or_else(|| self.stamp_at(now));
        if self.ready {
            assert_eq!(stamp, wanted, "stamps_follow_the_boot_clock: shard {}", self.shard);
        } else {
            // A new leader knows the stamp of its snapshot alone; apply raises it to that of the log.
            let most = wanted.max(self.model.stamp());
            assert!((wanted..=most).contains(&stamp), "stamps_follow_the_boot_clock: {stamp} at an election");
        }
        self.last_stamp = self.last_stamp.max(stamp);
    }

    /// What the shard's clock shows at `now`.
    fn stamp_at(&self, now: Now) -> u64 {
        self.last_stamp.max(self.elected.wall_ms + now.boot.since_ns(self.elected.boot) / NS_PER_MS)
    }

    /// The entry at `index` took effect, with answers to `answered` commands.
    pub fn apply(&mut self, index: Index, answered: usize) -> Vec<Effect> {
        if index <= self.applied {
            assert_eq!(answered, 0, "nothing_is_answered_twice: shard {} entry {index}", self.shard);
            return Vec::new();
        }
        assert_eq!(index, self.applied.next(), "entries_take_effect_in_order: shard {}", self.shard);
        let proposal = self.proposed.get(&index).unwrap_or_else(|| panic!("entry {index} was never proposed"));
        assert!(
            answered == proposal.commands.len() || (answered == 0 && !self.ready),
            "every_command_of_an_entry_is_answered: {answered} of {}",
            proposal.commands.len()
        );
        let mut told = Vec::new();
        let read = self.twin.apply(index, &proposal.entry, |reply| told.push(answer(&reply)));
        read.expect("an entry that was proposed can be read");
        self.applied = index;
        let stamp = proposal.stamp.max(self.model.stamp());
        self.model.pass_time(stamp);
        self.last_stamp = self.last_stamp.max(stamp);
        let commands = proposal.commands.clone();
        self.name_buckets();
        // The genesis answers nobody, and holds no command.
        assert_eq!(told.len(), commands.len(), "every_command_of_an_entry_is_answered: by the copy");
        let told = told.iter().map(Option::as_ref);
        commands.into_iter().zip(told).map(|(pending, told)| self.take_effect(stamp, pending, told)).collect()
    }

    /// Scripts are about to be tried out.
    pub fn lend(&mut self, now: Now, purpose: Purpose) {
        let wanted = self.stamp_at(now);
        let (Purpose::Entry { stamp, .. } | Purpose::Look { stamp, .. }) = purpose;
        assert_eq!(stamp.0, wanted, "stamps_follow_the_boot_clock: shard {}", self.shard);
        if let Purpose::Entry { .. } = purpose {
            self.lent_at = Some(wanted);
        }
    }

    /// Scripts were tried out at `now`: those that needed no entry have taken effect. What stood in the entry before comes first.
    pub fn tried(&mut self, now: Now, batch: &Batch, before: usize) -> Vec<Effect> {
        let (mut at, mut effects) = (before, Vec::new());
        if batch.entry.is_empty() {
            self.lent_at = None;
        }
        for done in &batch.done {
            match done {
                Done::Logged(reply) => {
                    let pending = self.arrived.get_mut(at).expect("what was tried had arrived");
                    pending.told = reply.as_ref().and_then(answer);
                    at += 1;
                }
                Done::Answered(reply) => {
                    let mut pending = self.arrived.remove(at).expect("what was tried had arrived");
                    pending.told = answer(reply);
                    effects.push(self.read(now, pending));
                }
            }
        }
        effects
    }

    /// What waited while the state was lent, and was answered once it was back.
    pub fn take_arrived(&mut self, client: ClientId, seq: u64) -> Option<Pending> {
        let at = self.arrived.iter().position(|one| (one.client, one.seq) == (client, seq))?;
        self.arrived.remove(at)
    }

    /// A read was answered from the applied state at `now`.
    pub fn read(&mut self, now: Now, pending: Pending) -> Effect {
        assert!(self.ready, "no_read_before_the_log_is_applied: shard {}", self.shard);
        let stamp = self.stamp_at(now);
        self.last_stamp = stamp;
        self.take_effect(stamp, pending, None)
    }

    /// `told` is what the copy answered to it.
    fn take_effect(&mut self, stamp: u64, pending: Pending, told: Option<&Answer>) -> Effect {
        let Pending { client, seq, part, what, told: tried } = pending;
        let told = tried.as_ref().or(told);
        let former = self.last_of.insert(client, seq);
        assert!(
            former.is_none_or(|former| former < seq),
            "commands_of_a_client_take_effect_in_their_order: client {client}, {seq} after {former:?}"
        );
        let mut watched = Vec::new();
        let expected = match what {
            What::Command(asked) if asked.name() == "watch" => {
                watched = self.model.watch(self.shard.0, stamp, &asked);
                Expected::Is(Answer::ok())
            }
            What::Command(asked) => self.model.take_effect(stamp, &asked, told),
            What::Exec { once: Some(id), watches, commands } => self.model.exec_once(&id, &watches, &commands, told),
            What::Exec { once: None, watches, commands } => self.model.exec(&watches, &commands, told),
        };
        Effect { client, seq, part, expected, watched }
    }

    /// Which WATCH bucket each key has: known once the shard's seed is, which its first entry holds.
    fn name_buckets(&mut self) {
        if self.applied == Index(1) {
            for key in crate::workload::keys() {
                for db in 0..crate::workload::DATABASES {
                    self.model.name_bucket(db, &key, self.twin.keyspace().watched(db, &key).0);
                }
            }
        }
    }

    /// Compares a shard's whole state with the model's, and with the copy that never restarted.
    pub fn equal_entries_give_equal_states(&self, keyspace: &Keyspace) {
        assert_eq!(keyspace.applied_index(), self.applied, "shard {} has applied all", self.shard);
        let cx = |db| data::Context::new(db, keyspace.applied_stamp());
        let mut count = 0;
        for (db, key, value, dies_at) in self.model.live() {
            count += 1;
            let live = keyspace.get(&cx(db), key);
            let alike = live.is_some_and(|live| {
                live.expire_at.map(|at| at.0) == dies_at && super::compare::alike(live.value, value)
            });
            assert!(
                alike,
                "{value:?} dies at {dies_at:?} in the model, but the shard holds {live:?}: the_state_is_what_the_model_says: shard {} database {db} key {}",
                self.shard,
                String::from_utf8_lossy(key)
            );
        }
        let held: usize =
            (0..16).map(|db| keyspace.scan(&cx(db), 0, usize::MAX, |_| true).map_or(0, |page| page.keys.len())).sum();
        assert_eq!(held, count, "the_state_is_what_the_model_says: shard {} holds other keys as well", self.shard);
        assert_eq!(
            keyspace.digest(),
            self.twin.keyspace().digest(),
            "equal_entries_give_equal_states: shard {} at entry {}",
            self.shard,
            self.applied
        );
    }
}

/// A reply as a client sees it; nothing if the leader alone knows it.
fn answer(reply: &data::Reply) -> Option<Answer> {
    if *reply == data::Reply::Kept {
        return None;
    }
    let mut bytes = Vec::new();
    encode(reply, Proto::Two, &mut bytes);
    Some(Answer::read(&bytes).expect("a reply is made whole").0)
}
