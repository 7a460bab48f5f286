//! Batches and the records in them, as bytes.
//!
//! ```text
//! batch  magic u32 | version u8 | 0 x3 | salt u64 | seq u64 | durable_upto u64 | payload bytes u64 | count u32 | crc u32
//! record bytes u32 | shard u16 | kind u8 | 0 | term u64 | index u64 | seq u64 | bytes
//! ```
//!
//! Little-endian. The CRC-32C covers the header with a zero in its own place, and the payload. The salt is drawn when a
//! segment begins and told to nobody: it makes old batches of a recycled file void, and no client can write a value that
//! reads as a batch, wherever recovery may look. A batch starts on a page of its own, so that an unsynced write never
//! touches a page that holds durable data.

use crate::aligned::AlignedBuf;
use base::codec::{DecodeError, Reader};
use base::mutation::{self, Mutation};
use base::record::{Payload, Record, SnapshotMark};
use base::{Index, NodeId, ShardId, Term};
use bytes::Bytes;

/// Batches start at multiples of this.
pub(crate) const PAGE_BYTES: u64 = 4096;
pub(crate) const HEADER_BYTES: usize = 48;
const MAGIC: u32 = 0x4248_4754;
const VERSION: u8 = 2;
const KIND_APPEND: u8 = 1;
const KIND_HARD_STATE: u8 = 2;
const KIND_SNAP_MARK: u8 = 3;
const KIND_MEMBERS: u8 = 4;
const KIND_REGISTER: u8 = 5;
const KIND_REGISTER_MARK: u8 = 6;
const KIND_SEAL: u8 = 7;
const KIND_START: u8 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// That of the segment.
    pub salt: u64,
    pub seq: u64,
    /// All batches up to this one were durable when this one was written.
    pub durable_upto: u64,
    pub payload_bytes: u64,
    pub count: u32,
    pub crc: u32,
}

impl Header {
    fn put(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&[VERSION, 0, 0, 0]);
        out[8..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.seq.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable_upto.to_le_bytes());
        out[32..40].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[40..44].copy_from_slice(&self.count.to_le_bytes());
        out[44..48].copy_from_slice(&self.crc.to_le_bytes());
    }

    /// The header at the front of `bytes`, if its fixed fields are right.
    pub(crate) fn get(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let fixed = reader.u32() == Ok(MAGIC) && reader.u32() == Ok(u32::from(VERSION));
        let mut field = || reader.u64().ok();
        let (salt, seq, durable_upto, payload_bytes) = (field()?, field()?, field()?, field()?);
        let (count, crc) = (reader.u32().ok()?, reader.u32().ok()?);
        fixed.then_some(Self { salt, seq, durable_upto, payload_bytes, count, crc })
    }

    /// True if `bytes` begin as the header of batch `seq` does, but for one field of it: they were written as that batch,
    /// and are torn or damaged.
    pub(crate) fn resembles(bytes: &[u8], salt: u64, seq: u64) -> bool {
        let mut reader = Reader::new(bytes);
        let fixed = u64::from(VERSION) << 32 | u64::from(MAGIC);
        let same = [fixed, salt, seq].map(|wanted| reader.u64() == Ok(wanted));
        same.into_iter().filter(|same| *same).count() >= 2
    }

    /// True if the checksum of this header with `payload` is right.
    pub(crate) fn covers(&self, payload: &[u8]) -> bool {
        if mutation::on(Mutation::SkipLogChecksum) {
            return true;
        }
        let mut head = [0; HEADER_BYTES];
        Self { crc: 0, ..*self }.put(&mut head);
        crc32c::crc32c_append(crc32c::crc32c(&head), payload) == self.crc
    }

    /// Bytes on disk up to the next batch.
    pub(crate) fn stride(&self) -> Option<u64> {
        (HEADER_BYTES as u64).checked_add(self.payload_bytes)?.checked_next_multiple_of(PAGE_BYTES)
    }
}

/// Bytes on disk of a batch with so many bytes of records.
pub(crate) fn stride(payload_bytes: u64) -> u64 {
    (HEADER_BYTES as u64 + payload_bytes).next_multiple_of(PAGE_BYTES)
}

/// Bytes of a record in a batch.
#[must_use]
pub fn record_bytes(record: &Record) -> u64 {
    const HEAD: u64 = 32;
    match record {
        Record::Append { payload: Payload::Data(bytes) | Payload::Members(bytes), .. } => HEAD + bytes.len() as u64,
        Record::HardState { .. } => HEAD + 8,
        Record::SnapMark { mark, .. } => HEAD + mark.members.len() as u64,
        Record::Register { bytes, .. } => HEAD + bytes.len() as u64,
        Record::RegisterMark { .. } | Record::Start { .. } | Record::Seal => HEAD,
    }
}

/// A record with its place in the order of the whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub seq: u64,
    pub record: Record,
}

/// Starts a batch in `out`: room for the header.
pub(crate) fn begin(out: &mut AlignedBuf) {
    out.clear();
    out.resize(HEADER_BYTES);
}

/// Adds a record.
pub(crate) fn put_record(out: &mut AlignedBuf, seq: u64, record: &Record) {
    let vote_bytes;
    let (shard, kind, term, index, bytes): (ShardId, u8, Term, Index, &[u8]) = match record {
        Record::Append { shard, term, index, payload: Payload::Data(entry) } => {
            (*shard, KIND_APPEND, *term, *index, entry)
        }
        Record::Append { shard, term, index, payload: Payload::Members(members) } => {
            (*shard, KIND_MEMBERS, *term, *index, members)
        }
        Record::HardState { shard, term, vote } => {
            vote_bytes = vote.map(|node| node.0.to_le_bytes());
            (*shard, KIND_HARD_STATE, *term, Index(0), vote_bytes.as_ref().map_or(&[], |bytes| bytes))
        }
        Record::SnapMark { shard, mark } => (*shard, KIND_SNAP_MARK, mark.term, mark.index, &mark.members),
        Record::Register { index, bytes } => (ShardId(0), KIND_REGISTER, Term(0), *index, bytes),
        Record::RegisterMark { from } => (ShardId(0), KIND_REGISTER_MARK, Term(0), *from, &[]),
        Record::Start { segment } => (ShardId(0), KIND_START, Term(0), Index(*segment), &[]),
        Record::Seal => (ShardId(0), KIND_SEAL, Term(0), Index(0), &[]),
    };
    let len = u32::try_from(bytes.len()).expect("limits keep entries below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&shard.0.to_le_bytes());
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&term.0.to_le_bytes());
    out.extend_from_slice(&index.0.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Completes a batch: its header and checksum.
pub(crate) fn finish(out: &mut [u8], salt: u64, seq: u64, durable_upto: u64, count: u32) {
    let payload_bytes = (out.len() - HEADER_BYTES) as u64;
    let mut header = Header { salt, seq, durable_upto, payload_bytes, count, crc: 0 };
    header.put(out);
    header.crc = crc32c::crc32c(out);
    header.put(out);
}

/// Takes the payload of a batch apart.
pub(crate) fn records(payload: &Bytes, count: u32) -> Result<Vec<Sequenced>, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut out = Vec::new();
    for _ in 0..count {
        let len = usize::try_from(reader.u32()?).map_err(|_| DecodeError::Overlong)?;
        let shard = ShardId(reader.u16()?);
        let kind = reader.u8()?;
        reader.u8()?;
        let (term, index, seq) = (Term(reader.u64()?), Index(reader.u64()?), reader.u64()?);
        let bytes = reader.take(len)?;
        let record = match kind {
            KIND_APPEND => Record::Append { shard, term, index, payload: Payload::Data(payload.slice_ref(bytes)) },
            KIND_MEMBERS => {
                Record::Append { shard, term, index, payload: Payload::Members(Bytes::copy_from_slice(bytes)) }
            }
            KIND_HARD_STATE => Record::HardState { shard, term, vote: vote(bytes)? },
            KIND_SNAP_MARK => {
                let mark = SnapshotMark { term, index, members: Bytes::copy_from_slice(bytes) };
                Record::SnapMark { shard, mark }
            }
            KIND_REGISTER => Record::Register { index, bytes: payload.slice_ref(bytes) },
            KIND_REGISTER_MARK => Record::RegisterMark { from: index },
            KIND_START => Record::Start { segment: index.0 },
            KIND_SEAL => Record::Seal,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        out.push(Sequenced { seq, record });
    }
    if reader.is_empty() { Ok(out) } else { Err(DecodeError::Overlong) }
}

fn vote(bytes: &[u8]) -> Result<Option<NodeId>, DecodeError> {
    if bytes.is_empty() { Ok(None) } else { Ok(Some(NodeId(Reader::new(bytes).u64()?))) }
}
