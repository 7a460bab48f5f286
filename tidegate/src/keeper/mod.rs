//! The keeper: a thread for slow disk work, so that no lane waits for it.
//!
//! It prepares log segments ahead of use, writes snapshots, and gives log space back once snapshots cover it. A full
//! disk is not fatal here: writes are refused until there is room again.

mod transfer;
use transfer::Transfers;
pub use transfer::load;

use crate::journal::Journal;
use crate::locks;
use crate::log;
use crate::room::{ROOM_BYTES_MIN, ROOM_BYTES_WANTED};
use crate::shared::{Input, Shared, lock};
use base::record::SnapshotMark;
use base::{LaneId, NodeId, Roster, ShardId};
use node::{SnapshotNews, SnapshotStep};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use storage::{Disk, RealDisk, SnapshotWriter, StorageError};

/// What the keeper is asked.
#[derive(Debug)]
pub enum Task {
    Snapshot {
        lane: LaneId,
        step: SnapshotStep,
    },
    /// A lane was asked for snapshots and had nothing to save yet.
    NothingToSave,
    /// Another node has said what life it leads: one that comes back with another has lost its disk.
    Remember {
        node: NodeId,
        life: u64,
    },
    /// The cluster's roster has changed: the next start should know where the others listen.
    Roster(Arc<Roster>),
    Drop(Vec<data::Garbage>),
    /// A node that is alone wants a block of locks' tokens.
    LeaseTokens,
    /// The log has less room than should be kept ready.
    MakeRoom,
    Stop,
}

#[derive(Debug)]
struct Keeper {
    disk: RealDisk,
    journal: Arc<Journal>,
    shared: Arc<Shared>,
    writing: BTreeMap<ShardId, Writing>,
    durable: BTreeMap<ShardId, SnapshotMark>,
    transfers: Transfers,
    shard_count: u16,
    snapshot_after_bytes: u64,
    looked: Instant,
    /// After a snapshot failed, the next waits a while.
    not_before: Instant,
    /// True from the request for snapshots until the log has been given back.
    asked: bool,
    /// One of them was given up.
    failed: bool,
    /// Since then, finished ones have let segments or older snapshots go.
    gave: bool,
    fullness: Fullness,
}

/// How the disk was when the keeper last looked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fullness {
    Roomy,
    /// No segment can be made; what is left will do for a while.
    Filling,
    Full,
}

#[derive(Debug)]
struct Writing {
    mark: SnapshotMark,
    writer: SnapshotWriter<RealDisk>,
    begun: Instant,
    bytes: u64,
}

const SNAPSHOT_RETRY_AFTER: Duration = Duration::from_secs(10);
/// After one failed and others made room, or when there was nothing to save.
const SNAPSHOT_RETRY_SOON: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until told to stop.
pub fn run(
    disk: RealDisk,
    journal: Arc<Journal>,
    shared: Arc<Shared>,
    tasks: &Receiver<Task>,
    durable: BTreeMap<ShardId, SnapshotMark>,
    shard_count: u16,
    snapshot_after_bytes: u64,
) {
    let mut keeper = Keeper {
        transfers: Transfers::new(disk.clone(), shared.clone()),
        disk,
        journal,
        shared,
        writing: BTreeMap::new(),
        durable,
        shard_count,
        snapshot_after_bytes,
        asked: false,
        failed: false,
        gave: false,
        fullness: Fullness::Roomy,
        looked: Instant::now(),
        not_before: Instant::now(),
    };
    loop {
        match tasks.recv_timeout(LOOK_EVERY) {
            Ok(Task::Snapshot { lane, step }) => keeper.on_step(lane, step),
            Ok(Task::NothingToSave) => keeper.on_nothing_to_save(),
            Ok(Task::Drop(garbage)) => drop(garbage),
            Ok(Task::Remember { node, life }) => keeper.remember(node, life),
            Ok(Task::Roster(roster)) => keeper.write_roster(&roster),
            Ok(Task::LeaseTokens) => keeper.lease_tokens(),
            Ok(Task::MakeRoom) => {}
            Ok(Task::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        keeper.look_if_due();
    }
}

impl Keeper {
    /// Writes down another node's life, once: `peers` holds against it what it was first.
    fn remember(&self, node: NodeId, life: u64) {
        let name = life_label(node);
        let known = self.disk.list().is_ok_and(|names| names.contains(&name));
        if known {
            return;
        }
        if let Err(error) = storage::write_label(&self.disk, &name, &format!("{life:016x}")) {
            log::warn("keeper", "what life a node leads could not be written down", &[("error", &error)]);
        }
    }

    fn lease_tokens(&self) {
        let leased = locks::lease_tokens(&self.disk).map_err(|error| locks::tell_unleased(&error));
        self.shared.mailboxes[0].put(Input::Tokens(leased.ok()));
    }

    fn write_roster(&self, roster: &Roster) {
        let hex: String = roster.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        if let Err(error) = storage::write_label(&self.disk, ROSTER, &hex) {
            log::warn("keeper", "the cluster's roster could not be written down", &[("error", &error)]);
        }
    }

    fn on_step(&mut self, lane: LaneId, step: SnapshotStep) {
        let (shard, done) = match step {
            SnapshotStep::Begin { shard, mark } => {
                let made = SnapshotWriter::create(&self.disk, shard, mark.index, mark.term);
                let writing = made.map(|writer| Writing { mark, writer, begun: Instant::now(), bytes: 0 });
                (shard, writing.map(|writing| drop(self.writing.insert(shard, writing))))
            }
            SnapshotStep::Piece { shard, bytes, copied } => {
                let done = bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.write_piece(shard, piece));
                self.shared.mailboxes[usize::from(lane.0)].snapshot_backlog.took(bytes.len(), copied);
                (shard, done)
            }
            SnapshotStep::End { shard } => {
                let Some(Writing { mark, writer, begun, bytes }) = self.writing.remove(&shard) else { return };
                let finished = writer.finish();
                if finished.is_ok() {
                    let took = begun.elapsed();
                    self.shared.meters.snapshots.finished(bytes, took);
                    let fields: log::Fields<'_> =
                        &[("shard", &shard), ("index", &mark.index), ("bytes", &bytes), ("ms", &took.as_millis())];
                    log::info("keeper", "a snapshot is finished", fields);
                    self.durable.insert(shard, mark.clone());
                    // At once: the next one may need the room.
                    self.gave |= self.give_back();
                    self.answer(lane, shard, SnapshotNews::Finished { mark });
                }
                (shard, finished)
            }
            SnapshotStep::Abort { shard } => {
                let given_up = self.writing.remove(&shard).map_or(Ok(()), |writing| writing.writer.abort());
                (shard, given_up)
            }
            SnapshotStep::Send { shard, to, index, offset } => {
                return self.transfers.send(lane, shard, to, (index, offset));
            }
            SnapshotStep::Sent { shard, to } => return self.transfers.sent(shard, to),
            SnapshotStep::Take { shard, mark, offset, bytes, last } => {
                return self.transfers.take(lane, shard, &mark, (offset, &bytes), last);
            }
            SnapshotStep::Installed { shard, mark } => {
                self.durable.insert(shard, mark);
                return;
            }
        };
        if let Err(error) = done {
            log::warn("keeper", "a snapshot was given up", &[("shard", &shard), ("error", &error)]);
            self.shared.meters.snapshots.failed.add(1);
            if let Some(Err(error)) = self.writing.remove(&shard).map(|given_up| given_up.writer.abort()) {
                log::warn("keeper", "what was written of a snapshot could not be removed", &[("error", &error)]);
            }
            self.failed = true;
            self.answer(lane, shard, SnapshotNews::Failed);
        }
        if self.asked && self.writing.is_empty() {
            self.end_round();
        }
    }

    /// The last snapshot that was asked for is written or given up.
    fn end_round(&mut self) {
        self.asked = false;
        let gave = std::mem::take(&mut self.gave);
        if std::mem::take(&mut self.failed) {
            self.not_before = Instant::now() + if gave { SNAPSHOT_RETRY_SOON } else { SNAPSHOT_RETRY_AFTER };
        }
    }

    fn answer(&self, lane: LaneId, shard: ShardId, news: SnapshotNews) {
        self.shared.mailboxes[usize::from(lane.0)].put(Input::Snapshot { shard, news });
    }

    /// Writes one piece, and no faster than the log can bear: what is written between two syncs of the log makes the
    /// second one wait.
    fn write_piece(&mut self, shard: ShardId, piece: &[u8]) -> Result<(), StorageError> {
        let begun = Instant::now();
        let Some(writing) = self.writing.get_mut(&shard) else { return Ok(()) };
        writing.writer.write(piece)?;
        writing.bytes += piece.len() as u64;
        self.look_if_due();
        if lock(self.journal.wal()).size_bytes() < 2 * self.snapshot_after_bytes {
            let least = Duration::from_nanos(piece.len() as u64 * 1_000_000_000 / PACE_BYTES_PER_S);
            std::thread::sleep(least.saturating_sub(begun.elapsed()));
        }
        Ok(())
    }

    fn look_if_due(&mut self) {
        if self.looked.elapsed() >= LOOK_EVERY || self.journal.room().is_low() {
            self.look();
            self.looked = Instant::now();
        }
    }

    fn look(&mut self) {
        self.make_room();
        let size = self.look_at_log();
        let due =
            size > self.snapshot_after_bytes + locks::log_bytes(&self.shared) && Instant::now() >= self.not_before;
        if due && !self.asked && self.writing.is_empty() {
            self.asked = true;
            for mailbox in &self.shared.mailboxes {
                mailbox.put(Input::BeginSnapshots);
            }
        }
    }

    /// Tells the meters of the log's segments; its size.
    fn look_at_log(&self) -> u64 {
        let (size, room, (segments, spares)) = {
            let wal = lock(self.journal.wal());
            (wal.size_bytes(), wal.room_bytes(), wal.segment_counts())
        };
        let meters = &self.shared.meters.wal;
        meters.size_bytes.set(size);
        meters.room_bytes.set(room);
        meters.segments.set(segments as u64);
        meters.spares.set(spares as u64);
        size
    }

    /// Makes spare segments without holding the log: the lanes write on meanwhile.
    fn make_room(&mut self) {
        let mut short = None;
        let wanted = || lock(self.journal.wal()).spare_wanted(ROOM_BYTES_WANTED);
        while let Some(spare) = wanted() {
            // While there is room, what the lanes write goes first.
            let hurry = lock(self.journal.wal()).room_bytes() < ROOM_BYTES_WANTED / 2;
            let pause = || std::thread::sleep(if hurry { Duration::ZERO } else { ZEROS_PAUSE });
            match spare.make(pause) {
                Ok(spare) => lock(self.journal.wal()).add_spare(spare),
                Err(error @ StorageError::NoSpace { .. }) => {
                    short = Some(error);
                    break;
                }
                Err(error) => crate::dev::die(&error.to_string()),
            }
        }
        self.journal.forget_promises();
        // In this order: while no more can be made, what is left must not be taken for more than it is.
        self.journal.room().set_short(short.is_some());
        let left = {
            let wal = lock(self.journal.wal());
            self.journal.room().look(&wal);
            wal.room_bytes()
        };
        self.shared.disk_full.store(left < ROOM_BYTES_MIN, Ordering::Relaxed);
        let state = match short {
            None => Fullness::Roomy,
            Some(_) if left < ROOM_BYTES_MIN => Fullness::Full,
            Some(_) => Fullness::Filling,
        };
        self.tell(state, short.as_ref());
    }

    /// Logs each change once.
    fn tell(&mut self, state: Fullness, why: Option<&StorageError>) {
        let was = std::mem::replace(&mut self.fullness, state);
        match (was, state, why) {
            (Fullness::Roomy, Fullness::Filling | Fullness::Full, Some(error)) => {
                log::warn("keeper", "the disk is filling up", &[("error", error)]);
            }
            (Fullness::Filling | Fullness::Full, Fullness::Roomy, _) => {
                log::info("keeper", "there is room on the disk again: writes go on", &[]);
            }
            _ => {}
        }
        if was != Fullness::Full && state == Fullness::Full {
            log::error("keeper", "no room for the write-ahead log: writes are refused, reads go on", &[]);
        }
    }

    /// The log may be long before anything of it is applied: it is asked again soon.
    fn on_nothing_to_save(&mut self) {
        if self.asked && self.writing.is_empty() {
            self.asked = false;
            self.not_before = Instant::now() + SNAPSHOT_RETRY_SOON;
        }
    }

    /// Gives the log's segments back that all snapshots cover, and the snapshots that have a newer one; true if there may have been
    /// any.
    fn give_back(&self) -> bool {
        if self.durable.len() < usize::from(self.shard_count) {
            return false;
        }
        let reclaimed = lock(self.journal.wal()).reclaim(&self.durable);
        match reclaimed {
            Ok(_) => {}
            Err(error @ StorageError::NoSpace { .. }) => {
                log::warn("keeper", "log space could not be given back", &[("error", &error)]);
                return false;
            }
            Err(error) => crate::dev::die(&error.to_string()),
        }
        // The log names the newer ones now: a start looks for no other.
        for (shard, mark) in &self.durable {
            if let Err(error) = storage::remove_older(&self.disk, *shard, mark.index) {
                // They are of no use any more, and the next snapshot removes them.
                log::warn("keeper", "older snapshots could not be removed", &[("shard", shard), ("error", &error)]);
            }
        }
        true
    }
}

/// The file in which another node's life stands.
pub fn life_label(node: NodeId) -> String {
    format!("{LIFE_OF}{:016x}", node.0)
}

/// The roster as it was last written down; nothing if there is none yet.
pub fn read_roster(disk: &RealDisk) -> Result<Option<Roster>, Box<dyn Error>> {
    if !disk.list()?.iter().any(|name| name == ROSTER) {
        return Ok(None);
    }
    let Some(hex) = storage::read_label(disk, ROSTER)? else { return Ok(None) };
    let digits =
        hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).map_err(Into::into));
    let bytes = digits.collect::<Result<Vec<u8>, Box<dyn Error>>>()?;
    Ok(Some(Roster::decode(&bytes).map_err(|flaw| format!("the file '{ROSTER}' can't be read: {flaw}"))?))
}

const ROSTER: &str = "roster";
pub const LIFE_OF: &str = "life-of-";
const PIECE_BYTES: usize = 256 * 1024;
/// Between pieces of a spare segment: some 100 MiB/s, which leaves a disk free for others' syncs.
const ZEROS_PAUSE: Duration = Duration::from_millis(2);
/// How fast a snapshot is written while the log is not twice as long as it should be.
const PACE_BYTES_PER_S: u64 = 128 * 1024 * 1024;
