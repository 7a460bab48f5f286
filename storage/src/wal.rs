//! The write-ahead log of a node: batches of records in segments of zeros that were written ahead of use.
//!
//! One batch per append and one write per batch; a sync makes all of them durable. Segments that every shard's snapshot
//! has passed become spares again.

use crate::StorageError;
use crate::aligned::AlignedBuf;
use crate::batch::{self, HEADER_BYTES, PAGE_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::error::{io, is_no_room};
use crate::recover::{self, Recovery};
use base::mutation::{self, Mutation};
use base::record::{Record, SnapshotMark};
use base::{Index, ShardId};
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind::NotFound;

/// How a log is laid out.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Size of an ordinary segment; one larger batch gets a larger segment of its own.
    pub segment_bytes: u64,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: 32 * 1024 * 1024 }
    }
}

/// The log; see the module.
#[derive(Debug)]
pub struct Wal<D: Disk> {
    disk: D,
    options: WalOptions,
    active: Segment<D::File>,
    /// Bytes of the active segment in use.
    offset: u64,
    /// Older segments, oldest first.
    closed: VecDeque<Closed>,
    spares: Vec<Spare<D::File>>,
    next_spare: u64,
    next_batch: u64,
    next_record: u64,
    /// The last batch written, and the last known to be durable.
    written: u64,
    durable: u64,
    /// The newest HardState of each shard, with its seq.
    hard: BTreeMap<ShardId, (u64, Record)>,
    /// Register records before this one are said again behind it.
    registers_from: Index,
    sealed: bool,
    poisoned: bool,
    written_bytes: u64,
    buf: AlignedBuf,
}

#[derive(Debug)]
struct Segment<F> {
    id: u64,
    salt: u64,
    name: String,
    file: F,
    bytes: u64,
    last: Last,
}

/// What stands last in a segment, of each kind that something else must pass before the segment may go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    /// The last index of each shard with an entry here.
    pub(crate) entries: BTreeMap<ShardId, Index>,
    /// The number of the last register record; zero if there is none.
    pub(crate) register: Index,
}

impl Last {
    /// Takes note of a record that stands here.
    pub(crate) fn note(&mut self, record: &Record) {
        match record {
            Record::Append { shard, index, .. } => {
                let known = self.entries.entry(*shard).or_default();
                *known = (*known).max(*index);
            }
            Record::Register { index, .. } => self.register = self.register.max(*index),
            Record::HardState { .. }
            | Record::SnapMark { .. }
            | Record::RegisterMark { .. }
            | Record::Start { .. }
            | Record::Seal => {}
        }
    }

    fn add(&mut self, other: Self) {
        for (shard, index) in other.entries {
            let known = self.entries.entry(shard).or_default();
            *known = (*known).max(index);
        }
        self.register = self.register.max(other.register);
    }
}

/// A segment that is no longer written to.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) id: u64,
    pub(crate) bytes: u64,
    pub(crate) last: Last,
}

/// A segment of zeros that waits for its use.
#[derive(Debug)]
pub struct Spare<F> {
    name: String,
    bytes: u64,
    /// Kept open, so that its use needs no descriptor; nothing if there was none for it.
    file: Option<F>,
}

/// A spare segment that should be made; see [`Wal::spare_wanted`].
#[derive(Debug)]
pub struct SpareWanted<D> {
    disk: D,
    number: u64,
    bytes: u64,
}

impl<D: Disk> SpareWanted<D> {
    /// Makes it, and calls `pause` after each of its pieces, [`ZEROS_BYTES`] long: whoever has time lets others write in between.
    /// Without space nothing half made is left.
    pub fn make(&self, pause: impl FnMut()) -> Result<Spare<D::File>, StorageError> {
        make_spare(&self.disk, self.number, self.bytes, pause)
    }
}

/// Spares kept for another use; more are removed.
const SPARES_MAX: usize = 16;
/// Zeros are written in pieces of this size.
pub const ZEROS_BYTES: usize = 256 * 1024;

impl<D: Disk> Wal<D> {
    /// Recovers what the directory holds, or begins an empty log; writing goes on where it ended.
    pub fn open(disk: D, options: WalOptions) -> Result<(Self, Recovery), StorageError> {
        let bytes = options.segment_bytes;
        assert!(bytes >= 4 * PAGE_BYTES && bytes.is_multiple_of(PAGE_BYTES), "a segment is some whole pages");
        let (spares, next_spare) = kept_spares(&disk, bytes)?;
        let found = recover::recover(&disk)?;
        for name in &found.left_over {
            disk.remove(name).map_err(io("removing", name))?;
        }
        let (next_batch, next_record) = (found.next_batch, found.next_record);
        let mut closed = found.closed;
        let (active, offset) = match closed.pop_back() {
            Some(tail) => (resume(&disk, tail, found.tail_salt)?, found.tail_offset),
            None => (begin_segment(&disk, 1, make_spare(&disk, next_spare - 1, bytes, || {})?)?, PAGE_BYTES),
        };
        let mut wal = Self {
            disk,
            options,
            active,
            offset,
            closed,
            spares,
            next_spare,
            next_batch,
            next_record,
            written: next_batch - 1,
            durable: next_batch - 1,
            hard: found.hard,
            registers_from: found.registers_from,
            sealed: true,
            poisoned: false,
            written_bytes: 0,
            buf: AlignedBuf::default(),
        };
        // Covers what was recovered: damage to it is told from a torn tail from here on.
        wal.append(&[Record::Seal])?;
        wal.sync()?;
        Ok((wal, found.recovery))
    }

    /// Writes one batch; it is durable after the next [`Wal::sync`]. Without space for it nothing is changed and it can
    /// be tried again; after any other error the log takes nothing more.
    pub fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        let first = self.next_record;
        self.next_record += records.len() as u64;
        let sequenced = records.iter().zip(first..).map(|(record, seq)| (seq, record));
        let result = self.write(sequenced);
        self.poisoned |= result.as_ref().is_err_and(|error| !matches!(error, StorageError::NoSpace { .. }));
        self.sealed = matches!(records, [Record::Seal]);
        result
    }

    /// Makes everything appended durable.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        let mut result = self.active.file.sync_data().map_err(io("syncing", &self.active.name));
        if mutation::on(Mutation::SyncErrorIgnored) {
            result = Ok(());
        }
        self.poisoned = result.is_err();
        self.durable = if self.poisoned { self.durable } else { self.written };
        result
    }

    /// True if the last batch is not covered by a later one.
    #[must_use]
    pub fn needs_seal(&self) -> bool {
        !self.sealed
    }

    /// Bytes that can surely be appended without making a file.
    #[must_use]
    pub fn room_bytes(&self) -> u64 {
        self.active.bytes - self.offset + self.spares.iter().map(|spare| spare.bytes - PAGE_BYTES).sum::<u64>()
    }

    /// The largest batch that can be appended now without making a file, in bytes of its records.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        let spare = self.spares.iter().map(|spare| spare.bytes - PAGE_BYTES).max().unwrap_or(0);
        (self.active.bytes - self.offset).max(spare).saturating_sub(HEADER_BYTES as u64)
    }

    /// Makes sure of `bytes` of room by making spare segments. Without space nothing is lost and nothing half made.
    pub fn prepare(&mut self, bytes: u64) -> Result<(), StorageError> {
        while let Some(wanted) = self.spare_wanted(bytes) {
            self.add_spare(wanted.make(|| {})?);
        }
        Ok(())
    }

    /// Makes sure that a batch of these records can be appended without making a file then.
    pub fn make_fit(&mut self, payload_bytes: u64) -> Result<(), StorageError> {
        let stride = batch::stride(payload_bytes);
        if self.fits(stride) {
            return Ok(());
        }
        let bytes = (stride + PAGE_BYTES).max(self.options.segment_bytes);
        let spare = make_spare(&self.disk, self.next_spare, bytes, || {})?;
        self.next_spare += 1;
        self.spares.push(spare);
        Ok(())
    }

    /// True if a batch of `payload_bytes` can be appended without making a file.
    #[must_use]
    pub fn fits_batch(&self, payload_bytes: u64) -> bool {
        self.fits(batch::stride(payload_bytes))
    }

    fn fits(&self, stride: u64) -> bool {
        let wanted = stride + PAGE_BYTES;
        self.offset + stride <= self.active.bytes || self.spares.iter().any(|spare| spare.bytes >= wanted)
    }

    /// The spare segment to be made for `bytes` of room, if there is not enough. It can be made while others write to
    /// the log: that takes as long as writing a segment.
    pub fn spare_wanted(&mut self, bytes: u64) -> Option<SpareWanted<D>> {
        if self.room_bytes() >= bytes {
            return None;
        }
        self.next_spare += 1;
        Some(SpareWanted { disk: self.disk.clone(), number: self.next_spare - 1, bytes: self.options.segment_bytes })
    }

    /// Takes a spare segment that was made.
    pub fn add_spare(&mut self, spare: Spare<D::File>) {
        self.spares.push(spare);
    }

    /// Bytes of batches written since the log was opened, what fills their last pages among them.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Segments in use, and spare ones.
    #[must_use]
    pub fn segment_counts(&self) -> (usize, usize) {
        (self.closed.len() + 1, self.spares.len())
    }

    /// Bytes of all segments in use.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.offset + self.closed.iter().map(|segment| segment.bytes).sum::<u64>()
    }

    /// Gives the space of segments back that every shard's snapshot has passed; the snapshots must be durable under
    /// their names, and what stands there of registers must be said again behind a mark. Their marks, and what still counts of the segments (the newest HardState of each shard, with the seq
    /// that it had), are made durable first. True if anything was given back.
    pub fn reclaim(&mut self, snapshots: &BTreeMap<ShardId, SnapshotMark>) -> Result<bool, StorageError> {
        let passed = |closed: &Closed| {
            let Last { entries, register } = &closed.last;
            let covered =
                |(shard, last): (&ShardId, &Index)| snapshots.get(shard).is_some_and(|mark| mark.index >= *last);
            let said_again = *register < self.registers_from.max(Index(1));
            entries.iter().all(covered) && (said_again || mutation::on(Mutation::RegistersLetGo))
        };
        let count = self.closed.iter().take_while(|closed| passed(closed)).count();
        let segment = self.closed.get(count).map_or(self.active.id, |kept| kept.id);
        let mut marks: Vec<Record> =
            snapshots.iter().map(|(shard, mark)| Record::SnapMark { shard: *shard, mark: mark.clone() }).collect();
        marks.push(Record::Start { segment });
        self.append(&marks)?;
        let kept: Vec<(u64, Record)> = self.hard.values().cloned().collect();
        let rewritten = self.write(kept.iter().map(|(seq, record)| (*seq, record)));
        self.poisoned |= rewritten.as_ref().is_err_and(|error| !matches!(error, StorageError::NoSpace { .. }));
        rewritten?;
        if !mutation::on(Mutation::ReclaimBeforeMarks) {
            self.sync()?;
        }
        for _ in 0..count {
            let closed = self.closed.pop_front().expect("they were counted");
            self.retire(&closed)?;
        }
        self.disk.sync_dir().map_err(io("syncing", "the data directory"))?;
        Ok(count > 0)
    }

    fn retire(&mut self, closed: &Closed) -> Result<(), StorageError> {
        let name = segment_name(closed.id);
        if self.spares.len() >= SPARES_MAX || closed.bytes != self.options.segment_bytes {
            return self.disk.remove(&name).map_err(io("removing", &name));
        }
        let spare = format!("spare-{}", self.next_spare);
        self.next_spare += 1;
        self.disk.rename(&name, &spare).map_err(io("renaming", &name))?;
        let file = self.disk.open_paged(&spare).ok();
        self.spares.push(Spare { name: spare, bytes: closed.bytes, file });
        Ok(())
    }

    fn write<'a>(&mut self, records: impl Iterator<Item = (u64, &'a Record)>) -> Result<(), StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        let mut buf = std::mem::take(&mut self.buf);
        batch::begin(&mut buf);
        let mut count = 0;
        let (mut last, mut hard, mut registers_from) = (Last::default(), Vec::new(), self.registers_from);
        for (seq, record) in records {
            batch::put_record(&mut buf, seq, record);
            count += 1;
            last.note(record);
            match record {
                Record::HardState { shard, .. } => hard.push((*shard, (seq, record.clone()))),
                Record::RegisterMark { from } => registers_from = *from,
                _ => {}
            }
        }
        let stride = (buf.len() as u64).next_multiple_of(PAGE_BYTES);
        if self.offset + stride > self.active.bytes {
            let rotated = self.rotate(stride);
            if rotated.is_err() {
                self.buf = buf;
                return rotated;
            }
        }
        batch::finish(&mut buf, self.active.salt, self.next_batch, self.durable, count);
        buf.resize(usize::try_from(stride).expect("a batch fits in memory"));
        self.active.file.write_at(self.offset, &buf).map_err(io("writing", &self.active.name))?;
        self.active.last.add(last);
        self.registers_from = registers_from;
        self.hard.extend(hard);
        self.offset += stride;
        self.written_bytes += stride;
        self.written = self.next_batch;
        self.next_batch += 1;
        self.buf = if buf.capacity() > KEPT_BYTES { AlignedBuf::default() } else { buf };
        Ok(())
    }

    /// Goes on in another segment with room for a batch of `stride` bytes. The old one is synced first, so that one sync
    /// of the active segment always covers everything.
    fn rotate(&mut self, stride: u64) -> Result<(), StorageError> {
        if !mutation::on(Mutation::ForgetSyncAtRotate) {
            self.sync()?;
        }
        let wanted = stride + PAGE_BYTES;
        let spare = match self.spares.iter().position(|spare| spare.bytes >= wanted) {
            Some(at) => self.spares.remove(at),
            None => {
                self.next_spare += 1;
                make_spare(&self.disk, self.next_spare - 1, self.options.segment_bytes.max(wanted), || {})?
            }
        };
        let fresh = begin_segment(&self.disk, self.active.id + 1, spare)?;
        let old = std::mem::replace(&mut self.active, fresh);
        self.closed.push_back(Closed { id: old.id, bytes: old.bytes, last: old.last });
        self.offset = PAGE_BYTES;
        Ok(())
    }
}

const KEPT_BYTES: usize = 4 * 1024 * 1024;
const _: () = assert!(HEADER_BYTES < 4096, "a batch's header lies in its first page");

pub(crate) fn segment_name(id: u64) -> String {
    format!("wal-{id:016x}.seg")
}

/// Spares, and the number of the next one.
type KeptSpares<F> = (Vec<Spare<F>>, u64);

/// The spare segments of an earlier life, and the number of the next one. One that was not quite made will do: what was reserved
/// reads as zeros. Others, and what was being written when that life ended, are removed.
fn kept_spares<D: Disk>(disk: &D, bytes: u64) -> Result<KeptSpares<D::File>, StorageError> {
    let (mut spares, mut next) = (Vec::new(), 1);
    for name in disk.list().map_err(io("listing", "the data directory"))? {
        let number: Option<u64> = name.strip_prefix("spare-").and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|_| spares.len() < SPARES_MAX) {
            let file = disk.open_paged(&name).map_err(io("opening", &name))?;
            if file.len().map_err(io("looking at", &name))? == bytes {
                next = next.max(number + 2);
                spares.push(Spare { name, bytes, file: Some(file) });
                continue;
            }
        }
        if name.starts_with("spare-") || name.ends_with(".tmp") {
            disk.remove(&name).map_err(io("removing", &name))?;
        }
    }
    Ok((spares, next))
}

fn make_spare<D: Disk>(
    disk: &D,
    number: u64,
    bytes: u64,
    mut pause: impl FnMut(),
) -> Result<Spare<D::File>, StorageError> {
    let name = format!("spare-{number}");
    let made = disk.create_paged(&name).and_then(|mut file| {
        file.reserve(bytes)?;
        let zeros = AlignedBuf::zeroed(ZEROS_BYTES);
        let mut at = 0;
        while at < bytes {
            let piece = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(ZEROS_BYTES);
            file.write_at(at, &zeros[..piece])?;
            at += piece as u64;
            pause();
        }
        file.sync_data().map(|()| file)
    });
    match made {
        Ok(file) => Ok(Spare { name, bytes, file: Some(file) }),
        Err(source) if is_no_room(&source) => match disk.remove(&name) {
            Err(source) if source.kind() != NotFound => Err(StorageError::Io { op: "removing", file: name, source }),
            _ => Err(StorageError::NoSpace { file: name, source }),
        },
        Err(source) => Err(StorageError::Io { op: "making", file: name, source }),
    }
}

fn resume<D: Disk>(disk: &D, tail: Closed, salt: u64) -> Result<Segment<D::File>, StorageError> {
    let name = segment_name(tail.id);
    let file = disk.open_paged(&name).map_err(io("opening", &name))?;
    Ok(Segment { id: tail.id, salt, name, file, bytes: tail.bytes, last: tail.last })
}

fn begin_segment<D: Disk>(disk: &D, id: u64, spare: Spare<D::File>) -> Result<Segment<D::File>, StorageError> {
    let name = segment_name(id);
    let mut file = spare.file.map_or_else(|| disk.open_paged(&spare.name), Ok).map_err(io("opening", &spare.name))?;
    let salt = disk.random().map_err(io("drawing a salt for", &name))?;
    let mut head = AlignedBuf::default();
    head.extend_from_slice(&recover::segment_header(id, spare.bytes, salt));
    file.write_at(0, &head).and_then(|()| file.sync_data()).map_err(io("writing", &spare.name))?;
    disk.rename(&spare.name, &name).map_err(io("renaming", &spare.name))?;
    if !mutation::on(Mutation::ForgetDirSyncOfSegment) {
        disk.sync_dir().map_err(io("syncing", "the data directory"))?;
    }
    Ok(Segment { id, salt, name, file, bytes: spare.bytes, last: Last::default() })
}
