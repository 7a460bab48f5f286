//! The write-ahead log as the lanes use it: synced inline where that is fast, by a thread of its own else.
//!
//! A lane hands over the records of a turn with the messages that may follow them. Where syncs take less than half a
//! millisecond and nothing is queued, the lane appends and syncs itself, which saves two thread switches and a third of
//! the CPU of a write; what arrives meanwhile makes the next batch. On a slower disk the journal thread does it, so that
//! reads needn't wait for syncs, and in a busy cluster, so that other nodes needn't: its next batch is what queued up during
//! its last sync. Either way batches grow with the
//! load. After 20 ms without a write, the thread seals the tail.
//!
//! A sync has a price in CPU time of its own. While a busy cluster's lanes want a processor nearly all the time, it's that
//! which bounds them, and not the disk: the thread then lets a part of a millisecond pass between syncs, so that more share one.

use crate::admin::latency;
use crate::keeper::Task;
use crate::meters::nanos;
use crate::room::{MARGIN_BYTES, Promised, Room};
use crate::shared::{Input, Shared, lock};
use crate::strain::Strain;
use base::record::Record;
use node::{Released, Writes};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use storage::{RealDisk, StorageError, Wal};

/// The log of a node, shared by its lanes.
#[derive(Debug)]
pub struct Journal {
    wal: Mutex<Wal<RealDisk>>,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Moving average of sync times.
    sync_ns: AtomicU64,
    /// True while the lanes leave syncs to the thread.
    slow: AtomicBool,
    /// Moving average of records in a batch, times [`CROWD_SCALE`].
    crowd: AtomicU64,
    /// True while batches hold so many shards' records that the lane has better to do than to wait for them.
    crowded: AtomicBool,
    /// Of the lanes.
    strains: Mutex<Vec<Strain>>,
    /// Other nodes wait for what the lane answers while it would sync.
    beside_others: bool,
    shared: Arc<Shared>,
    room: Room,
    keeper: Sender<Task>,
    /// Added to each sync: a slow disk for tests.
    slow_sync: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: Vec<Job>,
    /// The thread has taken jobs that are not in the log yet.
    taken: bool,
    /// The thread waits to be told of jobs.
    waiting: bool,
    /// When the thread took jobs last.
    taken_at: Option<Instant>,
    seal: Seal,
    stop: bool,
}

impl Queue {
    /// True if nothing is on its way to the log: only then may a lane go there itself. What it wrote past an older entry would
    /// be cut off by that entry at the next start, though it had been acknowledged.
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && !self.taken
    }

    fn take(&mut self) -> Vec<Job> {
        self.taken = !self.jobs.is_empty();
        self.taken_at = Some(Instant::now());
        std::mem::take(&mut self.jobs)
    }

    /// What was taken stands in the log.
    fn stored(&mut self) {
        self.taken = false;
    }
}

#[derive(Debug)]
struct Job {
    lane: usize,
    writes: Writes,
}

/// Whether the tail wants a seal.
#[derive(Debug, Default, Clone, Copy)]
enum Seal {
    #[default]
    Covered,
    Wanted(Instant),
}

/// Below this average the lanes sync themselves again.
const INLINE_SYNC_NS: u64 = 400_000;
/// Above this average they leave it to the thread; between the two, things stay as they are.
const THREAD_SYNC_NS: u64 = 800_000;
/// Writes above this have room made for them before they are let in.
const LARGE_BYTES: u64 = 1024 * 1024;
const CROWD_SCALE: u64 = 16;
/// Batches of so many records, where other nodes wait for the lane, are left to the thread: records of so many shards at once mean
/// that much else arrives during a sync. With 256 writers on three nodes of one machine that gave a fifth more writes for 7 % more
/// CPU of each.
const THREAD_RECORDS: u64 = 5;
/// Below this, the lane syncs by itself again.
const INLINE_RECORDS: u64 = 3;
/// While lanes are strained, the thread takes jobs no sooner after it took some. With 256 writers on three nodes of one machine that
/// made 5 % more writes for a tenth less CPU of each; without strain it would cost throughput.
const GATHER: Duration = Duration::from_micros(800);
const RETRY_AFTER: Duration = Duration::from_millis(100);
const SEAL_AFTER: Duration = Duration::from_millis(20);

impl Journal {
    pub fn new(
        wal: Wal<RealDisk>,
        shared: Arc<Shared>,
        keeper: Sender<Task>,
        slow_sync: Duration,
        beside_others: bool,
    ) -> Self {
        let room = Room::default();
        room.look(&wal);
        Self {
            wal: Mutex::new(wal),
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            sync_ns: AtomicU64::new(if slow_sync.is_zero() { 0 } else { THREAD_SYNC_NS }),
            slow: AtomicBool::new(!slow_sync.is_zero()),
            crowd: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
            strains: Mutex::default(),
            beside_others,
            shared,
            room,
            keeper,
            slow_sync,
        }
    }

    /// Makes the writes durable here and now if that is the faster way; gives them back otherwise.
    pub fn inline(&self, writes: Writes) -> Result<Released, Writes> {
        if self.slow.load(Ordering::Relaxed) || self.crowded.load(Ordering::Relaxed) {
            return Err(writes);
        }
        let Ok(mut wal) = self.wal.try_lock() else { return Err(writes) };
        {
            let mut queue = lock(&self.queue);
            if !queue.is_idle() {
                return Err(writes);
            }
            if matches!(queue.seal, Seal::Covered) {
                self.changed.notify_one();
            }
            queue.seal = Seal::Wanted(Instant::now());
        }
        if !wal.fits_batch(writes.records().map(storage::record_bytes).sum()) {
            return Err(writes);
        }
        let promised = self.room.promised();
        let mut records = Vec::new();
        let then = writes.split(&mut records);
        self.store(&mut wal, &records, promised);
        self.shared.meters.wal.inline_batches.add(1);
        Ok(then)
    }

    /// Queues the writes for the journal thread, which answers to the lane's mailbox.
    pub fn submit(&self, lane: usize, writes: Writes) {
        let mut queue = lock(&self.queue);
        queue.jobs.push(Job { lane, writes });
        self.shared.meters.wal.queue_jobs.set(queue.jobs.len() as u64);
        // A thread that is busy looks by itself when it is done.
        let waiting = queue.waiting;
        drop(queue);
        if waiting {
            self.changed.notify_one();
        }
    }

    /// The journal thread.
    pub fn run(self: Arc<Self>, shared: &Shared) {
        let mut records = Vec::new();
        while let Some((jobs, promised)) = self.wait() {
            let bytes = jobs.iter().flat_map(|job| job.writes.records()).map(storage::record_bytes).sum();
            let mut wal = self.wal_with_room(bytes, shared);
            if jobs.is_empty() {
                if wal.needs_seal() {
                    self.store(&mut wal, &[Record::Seal], promised);
                }
                continue;
            }
            let mut released = Vec::with_capacity(jobs.len());
            for job in jobs {
                released.push((job.lane, job.writes.split(&mut records)));
            }
            self.store(&mut wal, &records, promised);
            self.shared.meters.wal.thread_batches.add(1);
            lock(&self.queue).stored();
            drop(wal);
            records.clear();
            for (lane, then) in released {
                shared.mailboxes[lane].put(Input::Persisted(then));
            }
        }
    }

    /// True if a write of so many bytes may be let in: the log can take it. For a large one the room is made here if there is
    /// none yet, which waits for the sync that runs; mostly there is some.
    pub fn lets_in(&self, bytes: u64) -> bool {
        (bytes <= LARGE_BYTES || self.room.fits(bytes) || self.makes_fit(bytes)) && self.room.takes(bytes)
    }

    fn makes_fit(&self, bytes: u64) -> bool {
        let mut wal = lock(&self.wal);
        match wal.make_fit(bytes + MARGIN_BYTES) {
            Ok(()) => {
                self.room.look(&wal);
                true
            }
            Err(StorageError::NoSpace { .. }) => false,
            Err(error) => crate::dev::die(&error.to_string()),
        }
    }

    /// The log, once it can take a batch of so many bytes. Should more have been let in than there is room for, it waits
    /// here until there is space again: it can't be refused any more, nothing is lost, and reads go on.
    fn wal_with_room(&self, bytes: u64, shared: &Shared) -> MutexGuard<'_, Wal<RealDisk>> {
        loop {
            let mut wal = lock(&self.wal);
            match wal.make_fit(bytes) {
                Ok(()) => return wal,
                Err(StorageError::NoSpace { .. }) => shared.disk_full.store(true, Ordering::Relaxed),
                Err(error) => crate::dev::die(&error.to_string()),
            }
            drop(wal);
            let queue = lock(&self.queue);
            if queue.stop {
                crate::dev::die("the disk is full; the last writes were not acknowledged and are lost");
            }
            drop(self.changed.wait_timeout(queue, RETRY_AFTER));
        }
    }

    /// Ends the journal thread once its queue is empty, and seals the tail.
    pub fn stop(&self) {
        lock(&self.queue).stop = true;
        self.changed.notify_one();
    }

    /// What the keeper looks after.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Forgets promises that nothing came of, such as to a write that another lane refused: the keeper calls it now and then.
    pub fn forget_promises(&self) {
        let promised = self.room.promised();
        if lock(&self.queue).is_idle() {
            self.room.stored(promised);
        }
    }

    /// The log itself, for the keeper.
    pub fn wal(&self) -> &Mutex<Wal<RealDisk>> {
        &self.wal
    }

    /// Jobs to be stored, or none when the tail is to be sealed, and what was promised to them; nothing when the journal ends.
    fn wait(&self) -> Option<(Vec<Job>, Promised)> {
        let mut queue = lock(&self.queue);
        loop {
            queue.waiting = false;
            if !queue.jobs.is_empty() {
                if let Some(rest) = self.to_gather(&queue) {
                    let waited = self.changed.wait_timeout(queue, rest);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                queue.seal = Seal::Wanted(Instant::now());
                self.shared.meters.wal.queue_jobs.set(0);
                return Some((queue.take(), self.room.promised()));
            }
            if queue.stop {
                return None;
            }
            queue.waiting = true;
            queue = match queue.seal {
                Seal::Covered => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Seal::Wanted(since) => {
                    let quiet = since.elapsed();
                    if quiet >= SEAL_AFTER {
                        queue.seal = Seal::Covered;
                        return Some((Vec::new(), Promised::default()));
                    }
                    let waited = self.changed.wait_timeout(queue, SEAL_AFTER - quiet);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A lane begins, on the thread that calls.
    pub fn begin_lane(&self) {
        lock(&self.strains).push(Strain::of_this_thread());
    }

    /// How much longer the thread lets jobs gather.
    fn to_gather(&self, queue: &Queue) -> Option<Duration> {
        if queue.stop || !self.crowded.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        if !lock(&self.strains).iter_mut().all(|strain| strain.is_strained(now)) {
            return None;
        }
        let rest = GATHER.checked_sub(now.saturating_duration_since(queue.taken_at?))?;
        (!rest.is_zero()).then_some(rest)
    }

    /// Appends and syncs. A failed sync leaves unknown what is on disk, so the process stops: it is never retried.
    fn store(&self, wal: &mut Wal<RealDisk>, records: &[Record], promised: Promised) {
        let lost = |error| crate::dev::die(&format!("{error}; nothing of this was acknowledged"));
        let (begun, written_bytes) = (Instant::now(), wal.written_bytes());
        wal.append(records).unwrap_or_else(lost);
        let appended = begun.elapsed();
        wal.sync().unwrap_or_else(lost);
        if !self.slow_sync.is_zero() {
            std::thread::sleep(self.slow_sync);
        }
        if self.room.look(wal) {
            // A keeper that has ended makes no room any more: the node stops.
            let _ = self.keeper.send(Task::MakeRoom);
        }
        self.room.stored(promised);
        let took = nanos(begun.elapsed());
        let meters = &self.shared.meters.wal;
        meters.batch_records.add(records.len() as u64, 1);
        meters.batch_bytes.add(wal.written_bytes() - written_bytes, 1);
        meters.append_ns.add(nanos(appended), 1);
        meters.sync_ns.add(took - nanos(appended), 1);
        latency::note(&self.shared, latency::SYNC, took - nanos(appended));
        let average = self.sync_ns.load(Ordering::Relaxed);
        let average = average - average / 16 + took / 16;
        self.sync_ns.store(average, Ordering::Relaxed);
        if average > THREAD_SYNC_NS {
            self.slow.store(true, Ordering::Relaxed);
        } else if average < INLINE_SYNC_NS {
            self.slow.store(false, Ordering::Relaxed);
        }
        if self.beside_others {
            self.note_crowd(records.len() as u64);
        }
    }

    fn note_crowd(&self, records: u64) {
        let crowd = self.crowd.load(Ordering::Relaxed);
        let crowd = crowd - crowd / CROWD_SCALE + records;
        self.crowd.store(crowd, Ordering::Relaxed);
        if crowd >= THREAD_RECORDS * CROWD_SCALE {
            self.crowded.store(true, Ordering::Relaxed);
        } else if crowd < INLINE_RECORDS * CROWD_SCALE {
            self.crowded.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane once wrote entry 46,906 of a shard while the thread was between taking 46,905 and writing it; after a kill the
    /// node refused to start.
    #[test]
    fn no_lane_writes_past_what_the_thread_has_taken() {
        let mut queue = Queue::default();
        assert!(queue.is_idle());
        queue.jobs.push(Job { lane: 0, writes: Writes::default() });
        assert!(!queue.is_idle());
        assert_eq!(queue.take().len(), 1);
        assert!(queue.jobs.is_empty() && !queue.is_idle(), "what was taken isn't written yet");
        queue.stored();
        assert!(queue.is_idle());
        // For a seal nothing is taken.
        assert!(queue.take().is_empty() && queue.is_idle());
    }
}
