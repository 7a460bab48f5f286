//! One replica's machine: its group, disk and clock, the state that it applies, and who waits for it.

use super::disk::Disk;
use super::{MS, SHARD};
use base::rng::Rng;
use base::{Index, Instant, NodeId, Term};
use consensus::raft::{Group, Membership, Position, Ticket, Tuning};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: NodeId,
    /// Whom it was told of at its first start.
    voters: Vec<NodeId>,
    pub(super) life: u64,
    pub(super) state: State,
    pub(super) disk: Disk,
    /// Snapshots whose files are durable, by index; the mark in the log says which one counts.
    pub(super) images: BTreeMap<Index, Image>,
    clock: Clock,
    pub(super) syncing: bool,
    pub(super) timer: u64,
    pub(super) timer_at: u64,
}

#[derive(Debug)]
pub(super) enum State {
    Down,
    /// Its disk is gone: it never comes back under this name.
    Lost,
    Up(Box<Life>),
}

/// What a crash takes away.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) group: Group,
    /// The hash of all payloads applied, and the last of them.
    pub(super) applied: (Index, u64),
    /// Operations whose entries wait to be applied.
    pub(super) writes: BTreeMap<Index, Operation>,
    pub(super) reads: Vec<(Ticket, Operation)>,
    pub(super) frozen: Option<Instant>,
    /// A read that came while the process was stopped, to be served when it goes on.
    pub(super) waiting: Vec<super::Happening>,
}

/// A client's operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) id: u64,
    /// What had been told to clients when it began.
    pub(super) floor: Index,
}

/// A state at an index.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) at: Position,
    pub(super) members: Membership,
    pub(super) hash: u64,
    /// The last entry of data in it.
    pub(super) version: Index,
}

/// A clock that is off by a constant, and runs somewhat fast or slow.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset: u64,
    per_mille: u64,
}

impl Machine {
    pub(super) fn new(id: NodeId, voters: Vec<NodeId>, rng: &mut Rng) -> Self {
        // Two clocks differ by less than the drift that the tuning allows: 20 ms in 200.
        let clock = Clock { offset: rng.below(1 << 50), per_mille: 960 + rng.below(81) };
        Self {
            id,
            voters,
            life: 0,
            state: State::Down,
            disk: Disk::default(),
            images: BTreeMap::new(),
            clock,
            syncing: false,
            timer: 0,
            timer_at: 0,
        }
    }

    /// What its clock shows at a true time.
    pub(super) fn now(&self, at: u64) -> Instant {
        Instant(self.clock.offset + at / 1000 * self.clock.per_mille)
    }

    /// The true time until its clock shows `then`.
    pub(super) fn until(&self, at: u64, then: Instant) -> u64 {
        then.since_ns(self.now(at)).saturating_mul(1000) / self.clock.per_mille + 1000
    }

    /// Starts from what its disk holds.
    pub(super) fn start(&mut self, kept_bytes_max: usize, rng: &mut Rng) {
        self.life += 1;
        (self.syncing, self.timer_at) = (false, 0);
        let recovered = self.disk.recover();
        let version = recovered.snapshot.as_ref().map_or((Index(0), 0), |mark| {
            let image = self.images.get(&mark.index).expect("a mark speaks of a durable snapshot");
            (image.version, image.hash)
        });
        let members = Membership::of_voters(self.voters.iter().copied());
        let tuning = Tuning { kept_bytes_max, held_bytes_max: kept_bytes_max, ..Tuning::default() };
        let group = Group::new(self.id, SHARD, members, recovered, Rng::new(rng.next_u64())).tuned(tuning);
        self.state = State::Up(Box::new(Life {
            group,
            applied: version,
            writes: BTreeMap::new(),
            reads: Vec::new(),
            frozen: None,
            waiting: Vec::new(),
        }));
    }

    pub(super) fn life(&self) -> Option<&Life> {
        match &self.state {
            State::Up(life) => Some(life),
            State::Down | State::Lost => None,
        }
    }

    pub(super) fn life_mut(&mut self) -> Option<&mut Life> {
        match &mut self.state {
            State::Up(life) => Some(life),
            State::Down | State::Lost => None,
        }
    }

    pub(super) fn group(&mut self) -> &mut Group {
        &mut self.life_mut().expect("the caller looked").group
    }

    pub(super) fn is_running(&self) -> bool {
        self.life().is_some_and(|life| life.frozen.is_none())
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// A term in which it leads, if it thinks so.
    pub(super) fn leads(&self) -> Option<Term> {
        self.life().filter(|life| life.group.leads()).map(|life| life.group.term())
    }

    /// How it stands, for people.
    pub(super) fn summary(&self) -> String {
        match &self.state {
            State::Down => format!("{}: down", self.id),
            State::Lost => format!("{}: lost", self.id),
            State::Up(life) => {
                let group = &life.group;
                let (term, vote) = group.vote();
                format!(
                    "{}: leads {} leader {:?} term {term} vote {vote:?} last {:?} durable {} commit {} applied {:?} {:?}",
                    self.id,
                    group.leads(),
                    group.leader(),
                    group.last(),
                    group.durable(),
                    group.commit(),
                    group.applied(),
                    group.membership()
                )
            }
        }
    }

    /// Its state as it is now.
    pub(super) fn image(&self) -> Option<Image> {
        let life = self.life()?;
        let at = life.group.applied();
        let members = life.group.membership_at(at.index).clone();
        Some(Image { at, members, hash: life.applied.1, version: life.applied.0 })
    }
}

/// A sync takes at least so long.
pub(super) const SYNC_NS_MIN: u64 = MS / 20;
