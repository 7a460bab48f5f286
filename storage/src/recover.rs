//! Reading the log back: what is durable is given back whole, a torn tail is cut, damage stops the node.
//!
//! The first bad batch decides. If any later batch says that this one was durable when it was written, bytes that were
//! promised have changed: an error. Otherwise the machine went down while it was being written: it, and whatever stands
//! behind it, was never acknowledged and is cut, by zeros, so that it can never come back.

use crate::StorageError;
use crate::batch::{self, HEADER_BYTES, Header, PAGE_BYTES, Sequenced};
use crate::disk::{Disk, DiskFile};
use crate::error::io;
use crate::wal::{Closed, Last, segment_name};
use base::codec::Reader;
use base::mutation::{self, Mutation};
use base::record::{Record, RecoveredEntry, RecoveredRegisters, RecoveredShard};
use base::{Index, ShardId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// What a log held.
#[derive(Debug, Default)]
pub struct Recovery {
    pub shards: BTreeMap<ShardId, RecoveredShard>,
    pub registers: RecoveredRegisters,
    /// What was cut, for people.
    pub cut: Vec<String>,
}

/// What the log itself goes on from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) recovery: Recovery,
    pub(crate) closed: VecDeque<Closed>,
    /// Where the last segment goes on, and its salt.
    pub(crate) tail_offset: u64,
    pub(crate) tail_salt: u64,
    pub(crate) next_batch: u64,
    pub(crate) next_record: u64,
    pub(crate) hard: BTreeMap<ShardId, (u64, Record)>,
    /// Of the newest mark.
    pub(crate) registers_from: Index,
    /// Segments that were being given back when the machine went down: nothing of them counts.
    pub(crate) left_over: Vec<String>,
}

/// `TGWSEG2` and a zero.
const SEGMENT_MAGIC: u64 = 0x0032_4745_5357_4754;
const FORMAT: u8 = 2;

/// The first page of a segment.
pub(crate) fn segment_header(id: u64, bytes: u64, salt: u64) -> Vec<u8> {
    let mut page = vec![0; usize::try_from(PAGE_BYTES).expect("a page fits in memory")];
    page[..8].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
    page[8..16].copy_from_slice(&id.to_le_bytes());
    page[16..24].copy_from_slice(&bytes.to_le_bytes());
    page[24..32].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&page[..32]);
    page[32..36].copy_from_slice(&crc.to_le_bytes());
    page
}

/// The salt of a segment, if this is its first page.
fn salt_of(page: &[u8], id: u64, bytes: u64) -> Option<u64> {
    let salt = Reader::new(page.get(24..32)?).u64().ok()?;
    (page == segment_header(id, bytes, salt)).then_some(salt)
}

/// True for the first page of a segment of format 1, which had no salt.
fn is_format_1(page: &[u8]) -> bool {
    page.starts_with(b"TGWSEG1\0") && page.get(24..28) == Some(&crc32c::crc32c(&page[..24]).to_le_bytes())
}

/// One segment in memory.
#[derive(Debug)]
struct Loaded {
    salt: u64,
    name: String,
    bytes: Bytes,
}

/// Reads everything that the directory's segments hold.
pub(crate) fn recover<D: Disk>(disk: &D) -> Result<Found, StorageError> {
    let (ids, left_over) = segment_ids(disk)?;
    let mut state = Replay::default();
    let mut closed = VecDeque::new();
    let mut cut = Vec::new();
    let mut expected = None;
    let (mut tail_offset, mut tail_salt) = (PAGE_BYTES, 0);
    for (at, id) in ids.iter().enumerate() {
        let segment = load(disk, *id)?;
        let mut last = Last::default();
        (tail_offset, tail_salt) = (PAGE_BYTES, segment.salt);
        while let Some((header, payload)) = batch_at(&segment, tail_offset, expected) {
            let records = batch::records(&payload, header.count).map_err(|error| StorageError::Corrupt {
                file: segment.name.clone(),
                offset: tail_offset,
                what: format!(
                    "a batch with a right checksum can't be read ({error}); was it written by a newer version?"
                ),
            })?;
            records.into_iter().for_each(|one| state.take(one, &mut last));
            expected = Some(header.seq + 1);
            tail_offset += header.stride().expect("a batch that was read has a length");
        }
        closed.push_back(Closed { id: *id, bytes: segment.bytes.len() as u64, last });
        let wanted = expected.unwrap_or(1);
        let torn = judge(disk, &segment, tail_offset, wanted, &ids[at + 1..])?;
        if torn {
            cut.push(format!(
                "{} ended in the middle of a write at byte {tail_offset} (batch {wanted}): it was cut; nothing of it had \
                 been acknowledged",
                segment.name
            ));
            zero(disk, &segment, tail_offset)?;
        }
    }
    let (next_batch, next_record) = (expected.unwrap_or(1), state.next_record);
    let hard = state.hard.clone();
    let start = state.start.map_or(1, |(_, segment)| segment);
    if let Some(first) = ids.first().filter(|first| **first > start) {
        return Err(StorageError::Corrupt {
            file: segment_name(first - 1),
            offset: 0,
            what: format!("it is missing; the log begins in {}", segment_name(start)),
        });
    }
    let registers_from = state.registers_from;
    let registers = std::mem::take(&mut state.registers);
    let shards = state.finish()?;
    let recovery = Recovery { shards, registers, cut };
    Ok(Found { recovery, closed, tail_offset, tail_salt, next_batch, next_record, hard, registers_from, left_over })
}

/// The numbers of the segments that follow each other up to the last one, and the names of older ones: a machine that
/// goes down while it gives segments back may forget the removals in any order. Whether all that is needed is there, the
/// newest Start record tells.
fn segment_ids<D: Disk>(disk: &D) -> Result<(Vec<u64>, Vec<String>), StorageError> {
    let names = disk.list().map_err(io("listing", "the data directory"))?;
    let id = |name: &String| u64::from_str_radix(name.strip_prefix("wal-")?.strip_suffix(".seg")?, 16).ok();
    let mut ids: Vec<u64> = names.iter().filter_map(id).collect();
    ids.sort_unstable();
    if ids.is_empty() && names.iter().any(|name| name.starts_with("snap-") && name.ends_with(".tg")) {
        let what = "it is missing, and there are snapshots that it must name".to_owned();
        return Err(StorageError::Corrupt { file: "the log".to_owned(), offset: 0, what });
    }
    Ok(behind_gaps(ids))
}

/// The last of these numbers that follow each other, and the names of those before a gap.
fn behind_gaps(mut ids: Vec<u64>) -> (Vec<u64>, Vec<String>) {
    let gap = if mutation::on(Mutation::GapTakenForLoss) { None } else { Some(()) };
    let gap = gap.and_then(|()| ids.windows(2).rposition(|pair| pair[0] + 1 != pair[1])).map_or(0, |at| at + 1);
    let left_over = ids.drain(..gap).map(segment_name).collect();
    (ids, left_over)
}

fn load<D: Disk>(disk: &D, id: u64) -> Result<Loaded, StorageError> {
    let name = segment_name(id);
    let file = disk.open(&name).map_err(io("opening", &name))?;
    let len = file.len().map_err(io("measuring", &name))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = file.read_at(0, &mut bytes).map_err(io("reading", &name))?;
    bytes.truncate(got);
    let page = bytes.get(..usize::try_from(PAGE_BYTES).expect("a page fits in memory")).unwrap_or_default();
    match salt_of(page, id, len) {
        Some(salt) => Ok(Loaded { salt, name, bytes: Bytes::from(bytes) }),
        None if is_format_1(page) => Err(StorageError::OtherFormat { file: name, found: 1, read: FORMAT }),
        // The header was synced before the file got its name, so this is no torn write.
        None => Err(StorageError::Corrupt { file: name, offset: 0, what: "its header is not what was written".into() }),
    }
}

/// The valid batch at `offset` with the expected seq, if there is one.
fn batch_at(segment: &Loaded, offset: u64, expected: Option<u64>) -> Option<(Header, Bytes)> {
    let start = usize::try_from(offset).ok()?;
    let header = Header::get(segment.bytes.get(start..start + HEADER_BYTES)?)?;
    let old = header.salt != segment.salt || expected.is_some_and(|seq| seq != header.seq);
    if old && !mutation::on(Mutation::OldBatchesTakenForNew) {
        return None;
    }
    let from = start + HEADER_BYTES;
    let to = from.checked_add(usize::try_from(header.payload_bytes).ok()?)?;
    let payload = segment.bytes.get(from..to)?;
    header.covers(payload).then(|| (header, segment.bytes.slice(from..to)))
}

/// Looks behind the last good batch: an error if what is missing there was durable; true if a torn write stands there.
fn judge<D: Disk>(disk: &D, segment: &Loaded, offset: u64, wanted: u64, later: &[u64]) -> Result<bool, StorageError> {
    let corrupt = |seq: u64| StorageError::Corrupt {
        file: segment.name.clone(),
        offset,
        what: format!(
            "batch {wanted} can't be read, but batch {seq}, which was written later, says that it was durable"
        ),
    };
    let tail = usize::try_from(offset).ok().and_then(|at| segment.bytes.get(at..));
    let mut torn = tail.is_some_and(|tail| Header::resembles(tail, segment.salt, wanted));
    let mut at = offset;
    while let Some(page) =
        usize::try_from(at).ok().and_then(|at| segment.bytes.get(at..)).filter(|page| !page.is_empty())
    {
        torn |= Header::get(page).is_some_and(|header| header.salt == segment.salt && header.seq >= wanted);
        if let Some((header, _)) = batch_at(segment, at, None).filter(|(header, _)| header.seq >= wanted) {
            if header.durable_upto >= wanted && !mutation::on(Mutation::RotTakenForTornTail) {
                return Err(corrupt(header.seq));
            }
            torn = true;
        }
        at += PAGE_BYTES;
    }
    if torn && mutation::on(Mutation::TornTailTakenForRot) {
        return Err(corrupt(wanted));
    }
    // A later segment begins only once all before it is durable.
    if let Some(next) = later.first().filter(|_| !mutation::on(Mutation::RotTakenForTornTail)) {
        let next = load(disk, *next)?;
        if let Some((header, _)) = batch_at(&next, PAGE_BYTES, None)
            && header.seq > wanted
        {
            return Err(corrupt(header.seq));
        }
        if torn {
            return Err(corrupt(wanted));
        }
    }
    Ok(torn)
}

/// Overwrites the heads of all pages from `offset` on.
fn zero<D: Disk>(disk: &D, segment: &Loaded, offset: u64) -> Result<(), StorageError> {
    let mut file = disk.open(&segment.name).map_err(io("opening", &segment.name))?;
    let mut at = offset;
    while at < segment.bytes.len() as u64 {
        file.write_at(at, &[0; HEADER_BYTES]).map_err(io("cutting", &segment.name))?;
        at += PAGE_BYTES;
    }
    file.sync_data().map_err(io("syncing", &segment.name))
}

/// Records in their order.
#[derive(Default)]
struct Replay {
    next_record: u64,
    hard: BTreeMap<ShardId, (u64, Record)>,
    marks: BTreeMap<ShardId, (u64, Record)>,
    /// The newest Start record: its seq and segment.
    start: Option<(u64, u64)>,
    entries: BTreeMap<ShardId, BTreeMap<Index, (u64, RecoveredEntry)>>,
    registers: RecoveredRegisters,
    registers_from: Index,
}

impl Replay {
    fn take(&mut self, one: Sequenced, last: &mut Last) {
        let Sequenced { seq, record } = one;
        self.next_record = self.next_record.max(seq + 1);
        last.note(&record);
        match &record {
            Record::HardState { shard, .. } => newest(&mut self.hard, *shard, seq, record),
            Record::SnapMark { shard, .. } => newest(&mut self.marks, *shard, seq, record),
            Record::Append { shard, term, index, payload } => {
                let log = self.entries.entry(*shard).or_default();
                // A record that was moved forward keeps its seq: what is newer by seq stays.
                let newer = log.range(*index..).any(|(_, (newer, _))| *newer > seq);
                if newer && !mutation::on(Mutation::RewrittenRecordTruncates) {
                    return;
                }
                drop(log.split_off(index));
                let entry = RecoveredEntry { term: *term, index: *index, payload: payload.clone() };
                log.insert(*index, (seq, entry));
            }
            Record::Start { segment } => self.start = self.start.max(Some((seq, *segment))),
            Record::Register { index, bytes } => {
                self.registers.records.push(bytes.clone());
                self.registers.last = self.registers.last.max(*index);
            }
            Record::RegisterMark { from } => self.registers_from = *from,
            Record::Seal => {}
        }
    }

    fn finish(self) -> Result<BTreeMap<ShardId, RecoveredShard>, StorageError> {
        let mut shards: BTreeMap<ShardId, RecoveredShard> = BTreeMap::new();
        for (shard, (_, record)) in self.hard {
            let Record::HardState { term, vote, .. } = record else { continue };
            let found = shards.entry(shard).or_default();
            (found.term, found.vote) = (term, vote);
        }
        for (shard, (_, record)) in self.marks {
            let Record::SnapMark { mark, .. } = record else { continue };
            shards.entry(shard).or_default().snapshot = Some(mark);
        }
        for (shard, log) in self.entries {
            let found = shards.entry(shard).or_default();
            let mut next = found.snapshot.as_ref().map_or(Index(1), |mark| mark.index.next());
            for (_, entry) in log.into_values().filter(|(_, entry)| entry.index >= next).collect::<Vec<_>>() {
                if entry.index != next {
                    return Err(StorageError::Corrupt {
                        file: "the log".into(),
                        offset: 0,
                        what: format!("entry {next} of shard {shard} is missing"),
                    });
                }
                next = next.next();
                found.entries.push(entry);
            }
        }
        Ok(shards)
    }
}

fn newest(of: &mut BTreeMap<ShardId, (u64, Record)>, shard: ShardId, seq: u64, record: Record) {
    if of.get(&shard).is_none_or(|(known, _)| *known <= seq) {
        of.insert(shard, (seq, record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Term;
    use base::record::Payload;

    fn append(seq: u64, index: u64, entry: &'static [u8]) -> Sequenced {
        let payload = Payload::Data(Bytes::from_static(entry));
        let record = Record::Append { shard: ShardId(0), term: Term(1), index: Index(index), payload };
        Sequenced { seq, record }
    }

    /// What comes back of entries 1 to 3 when the record of entry 2 is moved forward, behind entry 3.
    fn moved_forward() -> Vec<u64> {
        let mut state = Replay::default();
        let mut last = Last::default();
        for record in [append(1, 1, b"a"), append(2, 2, b"b"), append(3, 3, b"c"), append(2, 2, b"b")] {
            state.take(record, &mut last);
        }
        let shards = state.finish().expect("the log has no gap");
        shards[&ShardId(0)].entries.iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn a_record_moved_forward_drops_nothing_newer() {
        assert_eq!(moved_forward(), [1, 2, 3]);
    }

    /// A power cut may forget removals out of order: what it brings back is no part of the log.
    #[test]
    fn segments_before_a_gap_are_left_over() {
        assert_eq!(behind_gaps(vec![1, 2, 4, 6, 7]), (vec![6, 7], [1, 2, 4].map(segment_name).to_vec()));
        assert_eq!(behind_gaps(vec![3, 4]), (vec![3, 4], Vec::new()));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn the_mutation_of_that_rule_about_gaps_is_noticed() {
        mutation::set(Some(Mutation::GapTakenForLoss));
        let (ids, left_over) = behind_gaps(vec![1, 3]);
        mutation::set(None);
        assert_eq!((ids, left_over.len()), (vec![1, 3], 0));
    }

    #[cfg(feature = "mutations")]
    #[test]
    fn the_mutation_of_that_rule_is_noticed() {
        mutation::set(Some(Mutation::RewrittenRecordTruncates));
        let came_back = moved_forward();
        mutation::set(None);
        assert_ne!(came_back, [1, 2, 3]);
    }
}
