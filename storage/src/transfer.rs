//! A snapshot on its way to another node: the file goes over as it stands, piece by piece.
//!
//! The file carries its own checksums, so what arrives is checked by reading it. Who receives it writes whole pages past
//! the page cache, as with a snapshot of its own, and gives it its name once all of it is durable.

use crate::StorageError;
use crate::aligned::AlignedBuf;
use crate::disk::{Disk, DiskFile};
use crate::error::io;
use crate::snapshot::{name_of, no_space};
use base::{Index, ShardId};

/// A finished snapshot that is being read for another node. It stays readable when a newer one replaces it.
#[derive(Debug)]
pub struct SnapshotSource<D: Disk> {
    file: D::File,
    name: String,
    bytes: u64,
}

impl<D: Disk> SnapshotSource<D> {
    /// Opens the snapshot of `shard` at `index`.
    pub fn open(disk: &D, shard: ShardId, index: Index) -> Result<Self, StorageError> {
        let name = name_of(shard, index);
        let file = disk.open(&name).map_err(io("opening", &name))?;
        let bytes = file.len().map_err(io("measuring", &name))?;
        Ok(Self { file, name, bytes })
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What stands at `offset`, no more than `bytes_max`; empty at the end.
    pub fn read(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, StorageError> {
        let left = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut out = vec![0; left.min(bytes_max)];
        let got = self.file.read_at(offset, &mut out).map_err(io("reading", &self.name))?;
        out.truncate(got);
        Ok(out)
    }
}

/// A snapshot that arrives from another node.
#[derive(Debug)]
pub struct SnapshotSink<D: Disk> {
    disk: D,
    file: D::File,
    shard: ShardId,
    index: Index,
    written: u64,
    buf: AlignedBuf,
}

fn temporary(shard: ShardId) -> String {
    format!("recv-{:05}.tmp", shard.0)
}

impl<D: Disk> SnapshotSink<D> {
    /// Begins the snapshot of `shard` at `index`; an unfinished one of the shard is given up.
    pub fn create(disk: &D, shard: ShardId, index: Index) -> Result<Self, StorageError> {
        let name = temporary(shard);
        if disk.list().map_err(io("listing", "the data directory"))?.contains(&name) {
            disk.remove(&name).map_err(io("removing", &name))?;
        }
        let file = disk.create_paged(&name).map_err(no_space("making", &name))?;
        Ok(Self { disk: disk.clone(), file, shard, index, written: 0, buf: AlignedBuf::default() })
    }

    /// Adds the next piece: whole pages, as every snapshot is made of.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        let name = temporary(self.shard);
        self.buf.resize(0);
        self.buf.extend_from_slice(piece);
        self.file.write_at(self.written, &self.buf).map_err(no_space("writing", &name))?;
        self.written += piece.len() as u64;
        Ok(())
    }

    /// Makes it durable under its name. Whether it is whole shows when it is read.
    pub fn finish(mut self) -> Result<(), StorageError> {
        let (from, to) = (temporary(self.shard), name_of(self.shard, self.index));
        self.file.sync_data().map_err(io("syncing", &from))?;
        self.disk.rename(&from, &to).map_err(io("renaming", &from))?;
        self.disk.sync_dir().map_err(io("syncing", "the data directory"))
    }

    /// Removes what was written.
    pub fn abort(self) -> Result<(), StorageError> {
        let name = temporary(self.shard);
        self.disk.remove(&name).map_err(io("removing", &name))
    }
}
