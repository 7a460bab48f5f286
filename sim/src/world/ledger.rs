//! What happened to one shard, in its order: who asked, what was proposed, what took effect, what was acknowledged.
//!
//! The invariants of the data plane are the methods whose names say them.

use crate::answer::{Answer, Expected};
use crate::oracle::fences::{Bare, Fences, bare};
use crate::oracle::{Asked, Model, Served, Waiting, Watch, timeout_ms};
use base::codec::Reader;
use base::record::{Payload, RecoveredShard};
use base::time::NS_PER_MS;
use base::{ClientId, Index, Instant, ShardId, Term};
use bytes::Bytes;
use data::batch::{Batch, Done, Purpose};
use data::shard::{self, Operation};
use data::waits::{How, Patience, UNBLOCKED, WaitId};
use data::{Keyspace, ShardState, Told};
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
    Exec {
        once: Option<String>,
        fences: Fences,
        watches: Vec<Watch>,
        commands: Vec<Asked>,
    },
    /// A call that waits if it finds nothing: since when, and until when.
    Wait {
        asked: Asked,
        since: u64,
        until: Option<u64>,
        due: Option<Instant>,
    },
    /// A call that waits is let go. It has no answer of its own.
    LetGo(WaitId, How),
    /// A leader takes office: nobody waits any more.
    Office,
    /// A key goes for want of memory. It has no answer.
    Evict(u8, Vec<u8>),
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
    /// The same of calls that may wait: they don't stay in line behind scripts of others.
    waits: VecDeque<Pending>,
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
    /// Calls that somebody has said are to be let go.
    wished: BTreeMap<(ClientId, u64), Vec<How>>,
    /// Calls that have begun to wait, and those that something served.
    pub waited: u64,
    pub served: u64,
    /// How many of the entry that takes effect.
    begun: u64,
    /// The stamp of the entry that is being tried out.
    lent_at: Option<u64>,
}

impl Ledger {
    /// Whose history it is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The history of an empty shard.
    #[must_use]
    pub fn new(shard: ShardId, once_kept_ms: u64) -> Self {
        let mut model = Model::default();
        model.remember_for(once_kept_ms);
        Self {
            shard,
            model,
            arrived: VecDeque::new(),
            waits: VecDeque::new(),
            proposed: BTreeMap::new(),
            applied: Index(0),
            twin: ShardState::default(),
            elected: Now::default(),
            last_stamp: 0,
            term: Term(0),
            last_of: BTreeMap::new(),
            ready: false,
            wished: BTreeMap::new(),
            begun: 0,
            waited: 0,
            served: 0,
            lent_at: None,
        }
    }

    /// The machine has stopped: nobody waits any more, and nothing was proposed beyond what the log will show.
    pub fn crash(&mut self) {
        self.arrived.clear();
        self.waits.clear();
        self.lent_at = None;
        self.ready = false;
        self.wished.clear();
    }

    /// What a command does that comes now.
    pub fn what(&self, now: Now, asked: Asked) -> What {
        let Some(ms) = timeout_ms(&asked) else { return What::Command(asked) };
        let since = self.stamp_at(now);
        let ends = ms > 0;
        What::Wait { asked, since, until: ends.then_some(since + ms), due: ends.then_some(now.boot.plus_ms(ms)) }
    }

    /// A client's call is to be let go so.
    pub fn let_go(&mut self, client: ClientId, seq: u64, how: How) {
        self.wished.entry((client, seq)).or_default().push(how);
    }

    /// A call that waits was answered by no entry: its time must be over, and no entry on its way is of an earlier time.
    pub fn time_is_over_before_it_is_told(&mut self, now: Now, client: ClientId, seq: u64) -> Option<Effect> {
        let stamp = self.stamp_at(now);
        let first = self.proposed.range(self.applied.next()..).next().map_or(u64::MAX, |(_, one)| one.stamp);
        let one = self.model.waiting().iter_mut().find(|one| (one.client, one.seq) == (client.0, seq) && !one.told)?;
        let due = one.due.is_some_and(|due| due <= now.boot);
        let over = due && one.until.is_some_and(|until| until <= stamp.min(first));
        assert!(over, "time_is_over_before_it_is_told: {} at {stamp}, of {:?}", one.asked, one.until);
        one.told = true;
        self.last_stamp = stamp;
        Some(Effect { client, seq, part: false, expected: Expected::Is(Answer::NilArray), watched: Vec::new() })
    }

    fn unapplied(&self) -> impl Iterator<Item = &Pending> {
        let proposed = self.proposed.range(self.applied.next()..).flat_map(|(_, one)| &one.commands);
        self.arrived.iter().chain(&self.waits).chain(proposed)
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
        self.unapplied().any(|pending| pending.client == client)
    }

    /// A command was logged behind all that came before.
    pub fn arrive(&mut self, pending: Pending) {
        match pending.what {
            What::Wait { .. } => self.waits.push_back(pending),
            _ => self.arrived.push_back(pending),
        }
    }

    /// An entry was proposed: it takes keys out for want of memory, which is told, or holds what has arrived, up to what had to wait.
    pub fn propose(&mut self, now: Now, index: Index, entry: Bytes) -> bool {
        let mut reader = Reader::new(&entry);
        let (version, stamp) = (reader.u8(), reader.varint());
        assert_eq!(version, Ok(1), "this simulator reads entries of version 1");
        let stamp = stamp.expect("an entry has a stamp");
        self.stamps_follow_the_boot_clock(now, stamp);
        let mut arrived = std::mem::take(&mut self.arrived);
        let operations = shard::operations(index, &entry)
            .unwrap_or_else(|bad| panic!("a leader wrote what can't be read: {bad:?} in {entry:?}"));
        let commands: Vec<Pending> = operations.into_iter().map(|one| self.of(now, one, &mut arrived)).collect();
        // What else has arrived waits in line with a script, or behind it.
        self.arrived = arrived;
        let takes_keys = commands.iter().any(|one| matches!(one.what, What::Evict(..)));
        self.proposed.insert(index, Proposal { entry, stamp, commands });
        takes_keys
    }

    /// Who asked for an operation of a new entry.
    fn of(&mut self, now: Now, operation: Operation, arrived: &mut VecDeque<Pending>) -> Pending {
        let silent = |what| Pending::new((ClientId(0), 0), false, what);
        match operation {
            Operation::Asked => arrived.pop_front().expect("nothing_is_logged_that_nobody_asked_for"),
            Operation::Waits(patience) => {
                let mut pending = self.waits.pop_front().expect("nothing_is_logged_that_nobody_asked_for: a wait");
                let is_let_go = self.wished.contains_key(&(pending.client, pending.seq));
                settle(&mut pending.what, patience, is_let_go);
                pending
            }
            Operation::LetGo(id, how) => {
                self.nobody_is_let_go_unasked(now, id, how);
                silent(What::LetGo(id, how))
            }
            Operation::Office => silent(What::Office),
            Operation::Evict(db, key) => silent(What::Evict(db, key)),
        }
    }

    /// A call that may wait was held back behind a script for longer than it would wait: nothing was there for it.
    pub fn time_is_over_held_back(&mut self, now: Now, client: ClientId, seq: u64) -> Option<Effect> {
        let at = self.waits.iter().position(|one| (one.client, one.seq) == (client, seq))?;
        let What::Wait { due, .. } = &self.waits[at].what else { unreachable!("calls that may wait") };
        assert!(due.is_some_and(|due| due <= now.boot), "nobody_is_let_go_unasked: held back");
        self.end_held_back(client, seq, How::Nil)
    }

    /// A call that may wait was held back behind a script, and ends there, if it was to be asked of this shard.
    pub fn end_held_back(&mut self, client: ClientId, seq: u64, how: How) -> Option<Effect> {
        let at = self.waits.iter().position(|one| (one.client, one.seq) == (client, seq))?;
        self.waits.remove(at);
        let expected = let_go_answer(how);
        Some(Effect { client, seq, part: false, expected, watched: Vec::new() })
    }

    fn nobody_is_let_go_unasked(&mut self, now: Now, id: WaitId, how: How) {
        let Some(one) = self.model.waiting().iter().find(|one| one.id == id) else { return };
        let wished = self.wished.get(&(ClientId(one.client), one.seq)).is_some_and(|hows| hows.contains(&how));
        let over = how == How::Nil && one.due.is_some_and(|due| due <= now.boot);
        assert!(wished || over, "nobody_is_let_go_unasked: {}", one.asked);
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
        let wanted = proposal.commands.iter().filter(|one| !is_silent(one)).count();
        assert!(
            answered == wanted || (answered == 0 && !self.ready),
            "every_command_of_an_entry_is_answered: {answered} of {wanted}"
        );
        let (mut told, mut over) = (Vec::new(), BTreeMap::new());
        let read = self.twin.apply(index, &proposal.entry, |one| match one {
            Told::Reply(reply) => told.push(answer(&reply)),
            Told::Waits(_) => told.push(None),
            Told::Over(id, reply) => over.extend(answer(&reply).map(|answer| (id, answer))),
        });
        read.expect("an entry that was proposed can be read");
        // The genesis answers nobody, and holds no command.
        assert_eq!(told.len(), wanted, "every_command_of_an_entry_is_answered: by the copy");
        (self.applied, self.begun) = (index, 0);
        let stamp = proposal.stamp.max(self.model.stamp());
        self.model.pass_time(stamp);
        self.last_stamp = self.last_stamp.max(stamp);
        let commands = proposal.commands.clone();
        self.name_buckets();
        let mut effects: Vec<Effect> = self.model.time_out().into_iter().map(effect).collect();
        // The dead may have been waited for.
        effects.extend(self.serve(&over));
        let mut told = told.into_iter();
        for pending in commands {
            let told = if is_silent(&pending) { None } else { told.next().flatten() };
            effects.extend(self.take_effect(stamp, pending, told.as_ref()));
            effects.extend(self.serve(&over));
        }
        effects
    }

    /// Scripts are about to be tried out.
    pub fn lend(&mut self, now: Now, purpose: Purpose) {
        let wanted = self.stamp_at(now);
        let (Purpose::Entry { stamp, .. } | Purpose::Look { stamp, .. } | Purpose::Apart { stamp, .. }) = purpose;
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

    /// Those are served who wait for what has changed.
    fn serve(&mut self, over: &BTreeMap<WaitId, Answer>) -> impl Iterator<Item = Effect> + use<> {
        let served = self.model.serve(over);
        self.served += served.len() as u64;
        served.into_iter().map(effect)
    }

    /// A read was answered from the applied state at `now`.
    pub fn read(&mut self, now: Now, pending: Pending) -> Effect {
        assert!(self.ready, "no_read_before_the_log_is_applied: shard {}", self.shard);
        let stamp = self.stamp_at(now);
        self.last_stamp = stamp;
        let what = match pending.what {
            // It needn't wait.
            What::Wait { asked, .. } => What::Command(asked),
            other => other,
        };
        let pending = Pending { what, ..pending };
        self.take_effect(stamp, pending, None).expect("a read is answered")
    }

    /// `told` is what the copy answered to it.
    fn take_effect(&mut self, stamp: u64, pending: Pending, told: Option<&Answer>) -> Option<Effect> {
        let Pending { client, seq, part, what, told: tried } = pending;
        let told = tried.as_ref().or(told);
        match what {
            What::Office => {
                self.model.nobody_waits();
                return None;
            }
            What::Evict(db, key) => {
                self.model.evict(db, &key);
                return None;
            }
            What::LetGo(id, how) => {
                return self.model.let_go(id, let_go_answer(how)).map(effect);
            }
            _ => {}
        }
        let former = self.last_of.insert(client, seq);
        assert!(
            former.is_none_or(|former| former < seq),
            "commands_of_a_client_take_effect_in_their_order: client {client}, {seq} after {former:?}: {what:?}"
        );
        let mut watched = Vec::new();
        let expected = match what {
            What::Command(asked) if asked.name() == "watch" => {
                watched = self.model.watch(self.shard.0, stamp, &asked);
                Expected::Is(Answer::ok())
            }
            What::Command(asked) => self.model.take_effect(stamp, &asked, told),
            What::Wait { asked, since, until, due } => {
                let id = WaitId::Logged { index: self.applied, nth: self.begun + 1 };
                let Bare { fences, asked, .. } = bare(&asked);
                let waiting = Waiting { id, client: client.0, seq, asked, fences, since, until, due, told: false };
                let Some(expected) = self.model.ask(waiting, told) else {
                    (self.waited, self.begun) = (self.waited + 1, self.begun + 1);
                    return None;
                };
                expected
            }
            What::LetGo(..) | What::Office | What::Evict(..) => unreachable!("done above"),
            What::Exec { once, fences, watches, commands } => {
                self.model.exec_covered((once.as_deref(), &fences), stamp, &watches, &commands, told)
            }
        };
        Some(Effect { client, seq, part, expected, watched })
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
        self.nobody_waits_in_vain(keyspace);
        for (lock, floor) in self.model.floors() {
            let lock_of = String::from_utf8_lossy(lock);
            assert_eq!(keyspace.floors().floor(lock), (floor, true), "floors_are_those_of_the_model: {lock_of}");
        }
        assert_eq!(
            keyspace.digest(),
            self.twin.keyspace().digest(),
            "equal_entries_give_equal_states: shard {} at entry {}",
            self.shard,
            self.applied
        );
    }

    /// The shard's lines are the model's, and nobody stands in one whose key has something for him.
    fn nobody_waits_in_vain(&self, keyspace: &Keyspace) {
        for (one, in_vain) in self.model.lines() {
            assert!(!in_vain, "nobody_waits_in_vain: shard {} {}", self.shard, one.asked);
        }
        let (here, there) = (keyspace.waits().len(), self.model.lines().count());
        assert_eq!(here, there, "those_who_wait_are_those_of_the_model: shard {}", self.shard);
    }
}

/// True for what answers nobody.
fn is_silent(one: &Pending) -> bool {
    matches!(one.what, What::LetGo(..) | What::Office | What::Evict(..))
}

fn effect(served: Served) -> Effect {
    let Served { client, seq, expected } = served;
    Effect { client: ClientId(client), seq, part: false, expected, watched: Vec::new() }
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

fn let_go_answer(how: How) -> Expected {
    Expected::Is(match how {
        How::Nil => Answer::NilArray,
        How::Error => Answer::Error(UNBLOCKED.to_owned()),
    })
}

/// A call that was held back waits since it came, as nearly as its leader's clock of milliseconds can tell.
fn settle(what: &mut What, patience: Patience, is_let_go: bool) {
    let What::Wait { asked, since, until, .. } = what else { unreachable!("a call that may wait") };
    let lasts = match (patience.until, *until) {
        (Some(logged), Some(wanted)) => logged.0 - patience.since.0 >= wanted - *since,
        (None, None) => true,
        _ => false,
    };
    // Who is to go is asked once, and doesn't wait.
    let lasts = lasts || is_let_go;
    assert!(lasts, "calls_wait_as_long_as_they_were_told: {asked}: {patience:?} not {since} to {until:?}");
    (*since, *until) = (patience.since.0, patience.until.map(|until| until.0));
}
