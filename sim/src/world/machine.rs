//! One simulated machine: lanes, their mail, the journal and the keeper, as the binary has them but in one thread, with
//! every order of steps that threads could bring about.

use crate::disk::SimDisk;
use base::mutation::{self, Mutation};
use base::record::{Record, SnapshotMark};
use base::rng::Rng;
use base::{Index, LaneId, NodeId, ShardId, Term};
use consensus::{Envelope, Write};
use data::Keyspace;
use data::batch::Batch;
use node::{
    Lane, LaneConfig, LaneMessage, Memory, Now, Outbox, RecoveredReplica, Routing, ScriptTimes, SnapshotNews,
    SnapshotStep, SnapshotWaiting,
};
use script::{Engine, Limits};
use std::collections::{BTreeMap, VecDeque};
use storage::{Recovery, SnapshotReader, SnapshotWriter, StorageError, Wal, WalOptions};

/// What the machine is told once.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub shards: u16,
    pub lanes: u16,
    pub segment_bytes: u64,
    /// Snapshots are taken when the log is larger.
    pub snapshot_after_bytes: u64,
    /// Room in the log that is prepared; with less than half of it, writes are refused.
    pub room_bytes: u64,
    /// One in so many turns syncs by the journal's thread instead of its own.
    pub queued_one_in: u64,
    /// Outcomes are kept for so long.
    pub once_kept_ms: u64,
    /// What the machine may use, and what it does about more.
    pub memory: Memory,
}

/// What a lane may find in its mailbox.
#[derive(Debug)]
pub enum Mail {
    Lane(LaneMessage),
    Persisted(Vec<Envelope>),
}

/// One life of the machine.
#[derive(Debug)]
pub struct Machine {
    pub shape: Shape,
    pub routing: Routing,
    pub disk: SimDisk,
    pub wal: Wal<SimDisk>,
    pub lanes: Vec<Lane>,
    pub outs: Vec<Outbox>,
    /// How many of a lane's writes the ledgers have seen.
    pub seen_writes: Vec<usize>,
    pub mail: Vec<VecDeque<Mail>>,
    jobs: VecDeque<(usize, Vec<Write>)>,
    /// Interpreters, a lane's each.
    pub engines: Vec<Engine>,
    /// Scripts that take long.
    pub patient: VecDeque<Patient>,
    /// The one of them that comes to its end.
    pub ending: Option<Patient>,
    keeper: VecDeque<SnapshotStep>,
    waiting: SnapshotWaiting,
    writing: BTreeMap<ShardId, Writing>,
    durable: BTreeMap<ShardId, SnapshotMark>,
    asked: bool,
    pub disk_full: bool,
}

/// A script that takes long.
#[derive(Debug)]
pub struct Patient {
    pub lane: usize,
    pub batch: Batch,
    pub since: Now,
    /// Operations that stood in its entry before.
    pub before: usize,
}

#[derive(Debug)]
struct Writing {
    mark: SnapshotMark,
    writer: SnapshotWriter<SimDisk>,
}

/// What scripts may use: little, so that some have to be run elsewhere, and some be ended.
const LIMITS: Limits = Limits { brisk_steps: 20_000, brisk_bytes: 1 << 20, steps: 200_000, bytes: 2 << 20, ms: 0 };
/// Room without which a start is refused.
const START_BYTES: u64 = 4096;
const PIECE_BYTES: usize = 16 * 1024;

impl Machine {
    /// Reads the disk; the machine's first turn has not begun.
    pub fn recover(disk: &SimDisk, shape: Shape, seed: u64) -> Result<(Self, Recovery), StorageError> {
        let (mut wal, recovery) = Wal::open(disk.clone(), WalOptions { segment_bytes: shape.segment_bytes })?;
        match wal.prepare(shape.room_bytes) {
            Err(StorageError::NoSpace { .. }) if wal.fits_batch(START_BYTES) => {}
            prepared => prepared?,
        }
        let routing = Routing::new(shape.shards, shape.lanes);
        let (mut durable, mut found) = (BTreeMap::new(), BTreeMap::new());
        for (shard, log) in &recovery.shards {
            let keyspace = match &log.snapshot {
                Some(mark) => {
                    durable.insert(*shard, mark.clone());
                    Some(load(disk, *shard, (mark.index, mark.term))?)
                }
                None => None,
            };
            found.insert(*shard, RecoveredReplica { shard: *shard, log: log.clone(), keyspace });
        }
        let (mut lanes, mut outs, mut mail) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..shape.lanes {
            let lane = LaneId(number);
            let config = LaneConfig { node: NodeId(7), lane, routing, seed: seed ^ u64::from(number) };
            let mine = found.extract_if(.., |shard, _| routing.lane_of(*shard) == lane).map(|(_, one)| one);
            let mut out = Outbox::default();
            let mut started = Lane::start(Now::default(), config, &[NodeId(7)], mine.collect(), &mut out);
            started.keep_outcomes_for(shape.once_kept_ms);
            // Steps end what does not end by itself.
            started.set_script_times(ScriptTimes { busy_ms: u64::MAX >> 1, limit_ms: 0, apart: false });
            started.set_memory(shape.memory);
            lanes.push(started);
            outs.push(out);
            mail.push(VecDeque::new());
        }
        let machine = Self {
            shape,
            routing,
            disk: disk.clone(),
            wal,
            lanes,
            seen_writes: vec![0; usize::from(shape.lanes)],
            outs,
            mail,
            jobs: VecDeque::new(),
            engines: (0..shape.lanes).map(|_| Engine::new(LIMITS)).collect(),
            patient: VecDeque::new(),
            ending: None,
            keeper: VecDeque::new(),
            waiting: SnapshotWaiting::default(),
            writing: BTreeMap::new(),
            durable,
            asked: false,
            disk_full: false,
        };
        Ok((machine, recovery))
    }

    /// Which lane has work.
    pub fn busy_lane(&self, rng: &mut Rng) -> Option<usize> {
        let busy: Vec<usize> = (0..self.lanes.len()).filter(|lane| !self.mail[*lane].is_empty()).collect();
        (!busy.is_empty()).then(|| busy[usize::try_from(rng.below(busy.len() as u64)).expect("few lanes")])
    }

    /// Makes a turn's writes durable at once, or leaves them to the journal.
    pub fn persist(&mut self, rng: &mut Rng, lane: usize, writes: Vec<Write>) -> Result<Vec<Envelope>, StorageError> {
        if mutation::on(Mutation::SendBeforeDurable) {
            let (records, then) = split(writes);
            self.wal.append(&records)?;
            return Ok(then);
        }
        if !self.jobs.is_empty() || rng.one_in(self.shape.queued_one_in) {
            self.jobs.push_back((lane, writes));
            return Ok(Vec::new());
        }
        if !self.wal.fits_batch(bytes_of(&writes)) {
            self.jobs.push_back((lane, writes));
            return Ok(Vec::new());
        }
        let (records, then) = split(writes);
        self.store(&records)?;
        Ok(then)
    }

    /// The journal's thread takes what is queued; true if there was anything.
    pub fn journal(&mut self, rng: &mut Rng) -> Result<bool, StorageError> {
        if self.jobs.is_empty() {
            return Ok(false);
        }
        let take = 1 + usize::try_from(rng.below(self.jobs.len() as u64)).expect("few jobs");
        let bytes = self.jobs.iter().take(take).map(|(_, writes)| bytes_of(writes)).sum();
        match self.wal.make_fit(bytes) {
            Ok(()) => {}
            Err(StorageError::NoSpace { .. }) => {
                self.disk_full = true;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let (mut records, mut released) = (Vec::new(), Vec::new());
        for (lane, writes) in self.jobs.drain(..take) {
            let (more, then) = split(writes);
            records.extend(more);
            released.push((lane, then));
        }
        self.store(&records)?;
        for (lane, then) in released {
            self.mail[lane].push_back(Mail::Persisted(then));
        }
        Ok(true)
    }

    /// Covers the tail, as the journal does when it is quiet.
    pub fn seal(&mut self) -> Result<(), StorageError> {
        if !self.jobs.is_empty() || !self.wal.needs_seal() {
            return Ok(());
        }
        match self.wal.make_fit(storage::record_bytes(&Record::Seal)) {
            Ok(()) => self.store(&[Record::Seal])?,
            Err(StorageError::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn store(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.wal.append(records)?;
        self.wal.sync()
    }

    /// True while the journal or the keeper has work.
    pub fn working(&self) -> bool {
        !self.jobs.is_empty()
            || !self.keeper.is_empty()
            || !self.patient.is_empty()
            || self.mail.iter().any(|mail| !mail.is_empty())
    }

    /// Steps of snapshots on their way to the keeper.
    pub fn hand_to_keeper(&mut self, steps: Vec<SnapshotStep>) {
        for step in steps {
            if let SnapshotStep::Piece { bytes, copied, .. } = &step {
                self.waiting.bytes += bytes.len();
                self.waiting.copied_bytes += if *copied { bytes.len() } else { 0 };
            }
            self.keeper.push_back(step);
        }
    }

    /// A slice of the running snapshots of a lane.
    pub fn cut(&mut self, lane: usize) {
        self.lanes[lane].snapshot_slice(self.waiting, &mut self.outs[lane]);
    }

    /// The keeper takes its next task, or looks after the log's room; snapshots finished.
    pub fn keep(&mut self) -> Result<u64, StorageError> {
        match self.keeper.pop_front() {
            Some(step) => self.on_step(step),
            None => self.look().map(|()| 0),
        }
    }

    fn on_step(&mut self, step: SnapshotStep) -> Result<u64, StorageError> {
        let mut finished = 0;
        let (shard, done) = match step {
            SnapshotStep::Begin { shard, mark } => {
                let made = SnapshotWriter::create(&self.disk, shard, mark.index, mark.term);
                (shard, made.map(|writer| drop(self.writing.insert(shard, Writing { mark, writer }))))
            }
            SnapshotStep::Piece { shard, bytes, copied } => {
                self.waiting.bytes -= bytes.len();
                self.waiting.copied_bytes -= if copied { bytes.len() } else { 0 };
                let Some(writing) = self.writing.get_mut(&shard) else { return Ok(0) };
                (shard, bytes.chunks(PIECE_BYTES).try_for_each(|piece| writing.writer.write(piece)))
            }
            SnapshotStep::End { shard } => {
                let Some(Writing { mark, writer }) = self.writing.remove(&shard) else { return Ok(0) };
                let done = writer.finish();
                if done.is_ok() {
                    finished = 1;
                    self.durable.insert(shard, mark);
                }
                (shard, done)
            }
            other => unreachable!("one node sends nobody a snapshot: {other:?}"),
        };
        match done {
            Ok(()) if self.asked && self.writing.is_empty() && self.durable.len() == usize::from(self.shape.shards) => {
                self.asked = false;
                self.give_back()?;
            }
            Ok(()) => {}
            Err(error) if self.disk.stopped() => return Err(error),
            Err(_) => {
                if let Some(given_up) = self.writing.remove(&shard) {
                    given_up.writer.abort()?;
                }
                self.asked = false;
                let lane = usize::from(self.routing.lane_of(shard).0);
                self.lanes[lane].on_snapshot_news(Now::default(), shard, SnapshotNews::Failed, &mut self.outs[lane]);
            }
        }
        Ok(finished)
    }

    fn give_back(&mut self) -> Result<(), StorageError> {
        match self.wal.reclaim(&self.durable) {
            Ok(_) => {}
            Err(StorageError::NoSpace { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.durable.iter().try_for_each(|(shard, mark)| storage::remove_older(&self.disk, *shard, mark.index))
    }

    fn look(&mut self) -> Result<(), StorageError> {
        if self.wal.room_bytes() < self.shape.room_bytes {
            match self.wal.prepare(self.shape.room_bytes) {
                Ok(()) | Err(StorageError::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.disk_full = self.wal.room_bytes() < self.shape.room_bytes / 2;
        if self.wal.size_bytes() > self.shape.snapshot_after_bytes && !self.asked && self.writing.is_empty() {
            self.asked = true;
            for (lane, out) in self.lanes.iter_mut().zip(&mut self.outs) {
                lane.begin_snapshots(out);
            }
        }
        Ok(())
    }

    /// The time of the earliest timer.
    pub fn deadline(&self, lane: usize, now: Now) -> bool {
        self.outs[lane].next_deadline.is_none_or(|at| at <= now.boot)
    }
}

fn bytes_of(writes: &[Write]) -> u64 {
    writes.iter().map(|write| storage::record_bytes(&write.record)).sum()
}

fn split(writes: Vec<Write>) -> (Vec<Record>, Vec<Envelope>) {
    let (mut records, mut then) = (Vec::new(), Vec::new());
    for write in writes {
        records.push(write.record);
        then.extend(write.then);
    }
    (records, then)
}

fn load(disk: &SimDisk, shard: ShardId, (index, term): (Index, Term)) -> Result<Keyspace, StorageError> {
    let mut reader = SnapshotReader::open(disk, shard, index, term)?;
    let mut body = Vec::new();
    while let Some(block) = reader.next_block()? {
        body.extend_from_slice(&block);
    }
    Ok(Keyspace::load(&body).expect("a snapshot whose checksums are right can be read"))
}
