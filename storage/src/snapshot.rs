//! Snapshots: blocks of bytes in a file that has its name only when it is whole and durable.
//!
//! ```text
//! file   magic u64 | shard u16 | 0 x6 | index u64 | term u64 | block.. | end
//! block  bytes u32 (never 0) | crc u32 | bytes
//! end    0 u32 | crc u32 over (blocks u64 | bytes u64) | blocks u64 | bytes u64 | zeros up to a whole page
//! ```

use crate::StorageError;
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, DiskFile};
use crate::error::{io, is_no_room};
use base::codec::Reader;
use base::mutation::{self, Mutation};
use base::{Index, ShardId, Term};

const MAGIC: u64 = 0x3150_414e_5347_5431;
const HEAD_BYTES: usize = 32;
const BLOCK_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// A snapshot is a whole number of these.
const PAGE: usize = 4096;
/// A snapshot is written in pieces of about this size, past the page cache: else the kernel would save it up and then
/// write all of it at once, while syncs of the log wait.
const WRITE_BYTES: usize = 256 * 1024;

/// Writes one snapshot.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    file: D::File,
    shard: ShardId,
    index: Index,
    /// Bytes of the file that are written, whole pages.
    offset: u64,
    blocks: u64,
    bytes: u64,
    /// What is not written yet.
    buf: AlignedBuf,
}

pub(crate) fn name_of(shard: ShardId, index: Index) -> String {
    format!("snap-{:05}-{:020}.tg", shard.0, index.0)
}

fn temporary(shard: ShardId) -> String {
    format!("snap-{:05}.tmp", shard.0)
}

fn head(shard: ShardId, index: Index, term: Term) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    out[..8].copy_from_slice(&MAGIC.to_le_bytes());
    out[8..10].copy_from_slice(&shard.0.to_le_bytes());
    out[16..24].copy_from_slice(&index.0.to_le_bytes());
    out[24..32].copy_from_slice(&term.0.to_le_bytes());
    out
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins the snapshot of `shard` at `index`; an unfinished one of the shard is given up.
    pub fn create(disk: &D, shard: ShardId, index: Index, term: Term) -> Result<Self, StorageError> {
        let name = temporary(shard);
        if disk.list().map_err(io("listing", "the data directory"))?.contains(&name) {
            disk.remove(&name).map_err(io("removing", &name))?;
        }
        let file = disk.create_paged(&name).map_err(no_space("making", &name))?;
        let mut buf = AlignedBuf::default();
        buf.extend_from_slice(&head(shard, index, term));
        Ok(Self { disk: disk.clone(), file, shard, index, offset: 0, blocks: 0, bytes: 0, buf })
    }

    /// Adds one block.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        let len = u32::try_from(chunk.len()).ok().filter(|len| *len > 0 && *len <= BLOCK_BYTES_MAX);
        let len = len.expect("the caller writes blocks of bounded size");
        self.buf.extend_from_slice(&len.to_le_bytes());
        self.buf.extend_from_slice(&crc32c::crc32c(chunk).to_le_bytes());
        self.buf.extend_from_slice(chunk);
        self.blocks += 1;
        self.bytes += u64::from(len);
        if self.buf.len() >= WRITE_BYTES { self.put() } else { Ok(()) }
    }

    /// Makes the snapshot durable under its name, and removes older ones of the shard.
    pub fn finish(mut self) -> Result<(), StorageError> {
        let (from, to) = (temporary(self.shard), name_of(self.shard, self.index));
        let mut counts = Vec::with_capacity(16);
        counts.extend_from_slice(&self.blocks.to_le_bytes());
        counts.extend_from_slice(&self.bytes.to_le_bytes());
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(&crc32c::crc32c(&counts).to_le_bytes());
        self.buf.extend_from_slice(&counts);
        self.buf.resize(self.buf.len().next_multiple_of(PAGE));
        self.put()?;
        if !mutation::on(Mutation::ForgetSyncOfSnapshot) {
            self.file.sync_data().map_err(io("syncing", &from))?;
        }
        self.disk.rename(&from, &to).map_err(io("renaming", &from))?;
        if mutation::on(Mutation::ForgetDirSyncOfSnapshot) {
            return Ok(());
        }
        self.disk.sync_dir().map_err(io("syncing", "the data directory"))
    }

    /// Removes what was written.
    pub fn abort(self) -> Result<(), StorageError> {
        let name = temporary(self.shard);
        self.disk.remove(&name).map_err(io("removing", &name))
    }

    /// Writes the whole pages of what waits.
    fn put(&mut self) -> Result<(), StorageError> {
        let name = temporary(self.shard);
        let whole = self.buf.len() / PAGE * PAGE;
        self.file.write_at(self.offset, &self.buf[..whole]).map_err(no_space("writing", &name))?;
        self.offset += whole as u64;
        let left = self.buf.len() - whole;
        self.buf.copy_within(whole.., 0);
        self.buf.resize(left);
        Ok(())
    }
}

/// Removes all snapshots of `shard` but the one at `keep`: call it once the log names that one durably.
pub fn remove_older<D: Disk>(disk: &D, shard: ShardId, keep: Index) -> Result<(), StorageError> {
    let prefix = format!("snap-{:05}-", shard.0);
    for name in disk.list().map_err(io("listing", "the data directory"))? {
        if name.starts_with(&prefix) && name < name_of(shard, keep) {
            disk.remove(&name).map_err(io("removing", &name))?;
        }
    }
    Ok(())
}

pub(crate) fn no_space<'a>(op: &'static str, file: &'a str) -> impl FnOnce(std::io::Error) -> StorageError + 'a {
    move |source| match is_no_room(&source) {
        true => StorageError::NoSpace { file: file.to_owned(), source },
        false => StorageError::Io { op, file: file.to_owned(), source },
    }
}

/// Reads one snapshot back, block by block.
#[derive(Debug)]
pub struct SnapshotReader<D: Disk> {
    file: D::File,
    name: String,
    offset: u64,
    blocks: u64,
    bytes: u64,
}

impl<D: Disk> SnapshotReader<D> {
    /// Opens the snapshot of `shard` at `index` and its `term`.
    pub fn open(disk: &D, shard: ShardId, index: Index, term: Term) -> Result<Self, StorageError> {
        let name = name_of(shard, index);
        let file = disk.open(&name).map_err(io("opening", &name))?;
        let mut reader = Self { file, name, offset: 0, blocks: 0, bytes: 0 };
        if reader.take(0, HEAD_BYTES)? != head(shard, index, term) {
            return Err(reader.corrupt(0, "its head is not that of this snapshot"));
        }
        Ok(reader)
    }

    /// The next block as it was written; nothing at the end.
    pub fn next_block(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        let at = self.offset;
        let head = self.take(at, 8)?;
        let mut fields = Reader::new(&head);
        let (Ok(len), Ok(crc)) = (fields.u32(), fields.u32()) else {
            return Err(self.corrupt(at, "a block has no head"));
        };
        if len == 0 {
            return self.end(at, crc).map(|()| None);
        }
        if len > BLOCK_BYTES_MAX {
            return Err(self.corrupt(at, "a block is too long"));
        }
        let block = self.take(at, usize::try_from(len).unwrap_or(usize::MAX))?;
        if crc32c::crc32c(&block) != crc && !mutation::on(Mutation::SkipSnapshotChecksum) {
            return Err(self.corrupt(at, "a block's checksum is wrong"));
        }
        self.blocks += 1;
        self.bytes += u64::from(len);
        Ok(Some(block))
    }

    /// Checks the end, which begins `at`: it counts the blocks, and nothing but zeros stands behind it.
    fn end(&mut self, at: u64, crc: u32) -> Result<(), StorageError> {
        let counts = self.take(at, 16)?;
        let mut expected = self.blocks.to_le_bytes().to_vec();
        expected.extend_from_slice(&self.bytes.to_le_bytes());
        if counts != expected || crc32c::crc32c(&counts) != crc {
            return Err(self.corrupt(at, "its end does not fit its blocks"));
        }
        let zeros = self.offset.next_multiple_of(PAGE as u64) - self.offset;
        let rest = self.take(at, usize::try_from(zeros).expect("less than a page"))?;
        let len = self.file.len().map_err(io("measuring", &self.name))?;
        if len != self.offset || rest.iter().any(|byte| *byte != 0) {
            return Err(self.corrupt(at, "something stands behind its end"));
        }
        Ok(())
    }

    /// The next `n` bytes, of what begins `at`.
    fn take(&mut self, at: u64, n: usize) -> Result<Vec<u8>, StorageError> {
        let mut out = vec![0; n];
        let got = self.file.read_at(self.offset, &mut out).map_err(io("reading", &self.name))?;
        if got < n {
            return Err(self.corrupt(at, "it ends too early"));
        }
        self.offset += n as u64;
        Ok(out)
    }

    fn corrupt(&self, offset: u64, what: &str) -> StorageError {
        StorageError::Corrupt { file: self.name.clone(), offset, what: what.to_owned() }
    }
}
