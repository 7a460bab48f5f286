//! One machine: its disk and clocks, and in each of its lives the lane, the log's journal and the keeper of snapshots, as
//! the binary has them.

use super::keeper::Keeper;
use super::network::Frame;
use super::{MS, Mood, scripts};
use crate::disk::SimDisk;
use base::record::SnapshotMark;
use base::rng::Rng;
use base::roster::Card;
use base::{ClientId, Instant, LaneId, NodeId, ShardId};
use consensus::{Envelope, Write};
use data::Keyspace;
use data::batch::Batch;
use data::keyspace::Listening;
use node::{Ending, Founding, Lane, LaneConfig, Now, Outbox, RecoveredReplica, Routing, ScriptTimes, SnapshotNews};
use script::Engine;
use std::collections::{BTreeMap, VecDeque};
use storage::{SnapshotReader, StorageError, Wal, WalOptions};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: NodeId,
    members: Vec<NodeId>,
    pub(super) routing: Routing,
    segment_bytes: u64,
    pub(super) disk: SimDisk,
    pub(super) clock: Clock,
    /// How many lives it has had.
    pub(super) lives: u64,
    life: Option<Life>,
    /// Its turns and syncs take so many times as long.
    pub(super) slowness: u64,
}

/// Clocks that run a little wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    offset_ns: u64,
    /// Millionths by which it runs too fast.
    fast_ppm: u64,
    pub(super) wall_offset_ms: u64,
}

/// From a start of the process to its end.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) lane: Lane,
    pub(super) out: Outbox,
    pub(super) engine: Engine,
    pub(super) inbox: VecDeque<Input>,
    /// A turn is planned.
    pub(super) turning: bool,
    /// The process is stopped.
    pub(super) stopped: bool,
    /// When a timer is planned.
    pub(super) timer_at: Option<u64>,
    pub(super) wal: Wal<SimDisk>,
    /// Writes that wait for the sync that runs.
    pub(super) jobs: Vec<Write>,
    /// What may follow once the sync that runs is done.
    pub(super) syncing: Option<Vec<Envelope>>,
    pub(super) keeper: Keeper,
    /// A snapshot is being cut.
    pub(super) cutting: bool,
}

/// What a turn takes.
#[derive(Debug)]
pub(super) enum Input {
    Frame(Frame),
    Up(NodeId),
    Lost(NodeId),
    Persisted(Vec<Envelope>),
    Snapshot(ShardId, SnapshotNews),
    Batch(Box<Batch>),
    /// A client has sent something.
    Client(usize),
    /// A call that waits is to end.
    LetGo(ClientId, u64, Ending),
    Timer,
}

/// Room in the log that is prepared.
const ROOM_SEGMENTS: u64 = 1;
const WALL_START_MS: u64 = 1_700_000_000_000;
const CAPACITY_BYTES: u64 = 1 << 40;

impl Clock {
    fn new(rng: &mut Rng) -> Self {
        Self {
            offset_ns: rng.below(1 << 40),
            fast_ppm: rng.below(30_000),
            wall_offset_ms: WALL_START_MS + rng.below(2_000),
        }
    }

    pub(super) fn at(&self, true_ns: u64) -> Now {
        let ran = true_ns + true_ns / 1_000_000 * self.fast_ppm;
        Now { boot: Instant(self.offset_ns + ran), wall_ms: self.wall_offset_ms + ran / MS }
    }

    /// The true time at which it shows `boot`, or a little later.
    pub(super) fn when(&self, boot: Instant) -> u64 {
        let ran = boot.0.saturating_sub(self.offset_ns);
        ran / (1_000_000 + self.fast_ppm) * 1_000_000 + 1_000_000
    }
}

impl Machine {
    pub(super) fn new(id: NodeId, members: &[NodeId], mood: &Mood, rng: &mut Rng) -> Self {
        Self {
            id,
            members: members.to_vec(),
            routing: Routing::new(mood.shards, 1).with_meta(),
            segment_bytes: mood.segment_bytes,
            disk: SimDisk::new(rng.next_u64(), CAPACITY_BYTES),
            clock: Clock::new(rng),
            lives: 0,
            life: None,
            slowness: 1,
        }
    }

    pub(super) fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    pub(super) fn life_mut(&mut self) -> Option<&mut Life> {
        self.life.as_mut()
    }

    /// The life that runs, if it is this one and not stopped.
    pub(super) fn awake(&mut self, life: u64) -> Option<&mut Life> {
        if self.lives == life { self.life.as_mut().filter(|life| !life.stopped) } else { None }
    }

    pub(super) fn is_awake(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !life.stopped)
    }

    /// The process is gone.
    pub(super) fn end(&mut self) {
        self.life = None;
    }

    /// A process begins with what is on the disk.
    pub(super) fn start(&mut self, true_ns: u64, mood: &Mood, rng: &mut Rng) -> Result<Started, StorageError> {
        let options = WalOptions { segment_bytes: self.segment_bytes };
        let (mut wal, recovery) = Wal::open(self.disk.clone(), options)?;
        wal.prepare(self.segment_bytes * ROOM_SEGMENTS)?;
        let (mut durable, mut found) = (BTreeMap::new(), Vec::new());
        for (shard, log) in &recovery.shards {
            let keyspace = match &log.snapshot {
                Some(mark) => {
                    durable.insert(*shard, mark.clone());
                    Some(load(&self.disk, *shard, mark)?)
                }
                None => None,
            };
            found.push(RecoveredReplica { shard: *shard, log: log.clone(), keyspace });
        }
        let loaded = durable.len() as u64;
        let config = LaneConfig { node: self.id, lane: LaneId(0), routing: self.routing, seed: rng.next_u64() };
        let mut out = Outbox::default();
        let mut lane = Lane::start(self.clock.at(true_ns), config, &self.members, found, &mut out);
        let address = |node: NodeId| format!("node-{}:7380", node.0);
        let members = self.members.iter().map(|node| (*node, address(*node))).collect();
        let at = |port: &str| format!("node-{}:{port}", self.id.0);
        let card = Card { peers: address(self.id), resp: at("6379"), cluster: at("6381"), admin: at("7379") };
        lane.keep_roster(Founding { members, card });
        lane.set_script_times(ScriptTimes { busy_ms: 300, limit_ms: 0, apart: true });
        lane.set_memory(mood.memory);
        lane.listen(Listening { events: true, ..Listening::default() });
        self.lives += 1;
        let groups = self.routing.groups().count();
        self.life = Some(Life {
            lane,
            out,
            engine: Engine::new(scripts::LIMITS),
            inbox: VecDeque::from([Input::Timer]),
            turning: false,
            stopped: false,
            timer_at: None,
            wal,
            jobs: Vec::new(),
            syncing: None,
            keeper: Keeper::new(self.disk.clone(), durable, groups, mood.snapshot_after_bytes),
            cutting: false,
        });
        Ok(Started { loaded, torn: recovery.cut.len() as u64 })
    }
}

/// What a start found.
#[derive(Debug)]
pub(super) struct Started {
    /// Snapshots.
    pub(super) loaded: u64,
    /// Tails that were cut.
    pub(super) torn: u64,
}

/// The keys of a snapshot.
pub(super) fn load(disk: &SimDisk, shard: ShardId, mark: &SnapshotMark) -> Result<Keyspace, StorageError> {
    let mut reader = SnapshotReader::open(disk, shard, mark.index, mark.term)?;
    let mut body = Vec::new();
    while let Some(block) = reader.next_block()? {
        body.extend_from_slice(&block);
    }
    Ok(Keyspace::load(&body).expect("a snapshot whose checksums are right can be read"))
}
