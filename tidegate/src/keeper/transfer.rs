//! Snapshots that go to other nodes, and that come from them: the disk's part.

use crate::log;
use crate::shared::{Input, Shared};
use base::limits::SNAPSHOT_PIECE_BYTES_MAX;
use base::record::SnapshotMark;
use base::{Index, LaneId, NodeId, ShardId};
use bytes::Bytes;
use data::Keyspace;
use node::SnapshotNews;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use storage::{Disk, RealDisk, SnapshotReader, SnapshotSink, SnapshotSource, StorageError};

/// Files that are being read and written for other nodes.
#[derive(Debug)]
pub struct Transfers {
    disk: RealDisk,
    shared: Arc<Shared>,
    sources: BTreeMap<(ShardId, NodeId), (Index, SnapshotSource<RealDisk>)>,
    sinks: BTreeMap<ShardId, (SnapshotMark, SnapshotSink<RealDisk>)>,
}

impl Transfers {
    pub fn new(disk: RealDisk, shared: Arc<Shared>) -> Self {
        Self { disk, shared, sources: BTreeMap::new(), sinks: BTreeMap::new() }
    }

    /// Reads a piece for a peer.
    pub fn send(&mut self, lane: LaneId, shard: ShardId, to: NodeId, (index, offset): (Index, u64)) {
        let news = match self.read(shard, to, index, offset) {
            Ok((total, bytes)) => SnapshotNews::Read { to, index, offset, total, bytes: Bytes::from(bytes) },
            Err(error) => {
                let fields: log::Fields<'_> = &[("shard", &shard), ("index", &index), ("error", &error)];
                log::warn("keeper", "a snapshot can't be read for another node", fields);
                self.sent(shard, to);
                SnapshotNews::Unreadable { to }
            }
        };
        self.tell(lane, shard, news);
    }

    fn read(&mut self, shard: ShardId, to: NodeId, index: Index, offset: u64) -> Result<(u64, Vec<u8>), StorageError> {
        let open = self.sources.get(&(shard, to)).is_some_and(|(opened, _)| *opened == index);
        if !open {
            let source = SnapshotSource::open(&self.disk, shard, index)?;
            self.sources.insert((shard, to), (index, source));
        }
        let (_, source) = &self.sources[&(shard, to)];
        Ok((source.bytes(), source.read(offset, SNAPSHOT_PIECE_BYTES_MAX)?))
    }

    /// A peer needs no more of a snapshot.
    pub fn sent(&mut self, shard: ShardId, to: NodeId) {
        self.sources.remove(&(shard, to));
    }

    /// Writes a piece that has come; with the last one the file is made durable and loaded.
    pub fn take(
        &mut self,
        lane: LaneId,
        shard: ShardId,
        mark: &SnapshotMark,
        (offset, bytes): (u64, &[u8]),
        last: bool,
    ) {
        let index = mark.index;
        let done = self.write(shard, mark, offset, bytes).and_then(|()| if last { self.finish(shard) } else { Ok(()) });
        let news = match done {
            Ok(()) => SnapshotNews::Took { index, next: offset + bytes.len() as u64 },
            Err(error) => {
                log::warn("keeper", "a snapshot can't be taken", &[("shard", &shard), ("error", &error)]);
                self.give_up(shard);
                SnapshotNews::NotTaken { index }
            }
        };
        let whole = last && matches!(news, SnapshotNews::Took { .. });
        self.tell(lane, shard, news);
        if whole {
            self.load(lane, shard, mark.clone());
        }
    }

    fn write(&mut self, shard: ShardId, mark: &SnapshotMark, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        if offset == 0 {
            self.sinks.remove(&shard);
            let sink = SnapshotSink::create(&self.disk, shard, mark.index)?;
            self.sinks.insert(shard, (mark.clone(), sink));
        }
        match self.sinks.get_mut(&shard) {
            Some((of, sink)) if of == mark => sink.write(bytes),
            // It was given up, and whoever asked for this was told so.
            _ => Ok(()),
        }
    }

    fn finish(&mut self, shard: ShardId) -> Result<(), StorageError> {
        self.sinks.remove(&shard).map_or(Ok(()), |(_, sink)| sink.finish())
    }

    fn give_up(&mut self, shard: ShardId) {
        if let Some(Err(error)) = self.sinks.remove(&shard).map(|(_, sink)| sink.abort()) {
            log::warn("keeper", "what was written of a snapshot could not be removed", &[("error", &error)]);
        }
    }

    /// Reads a snapshot that has come, on a thread of its own: the log's room is looked after meanwhile.
    fn load(&self, lane: LaneId, shard: ShardId, mark: SnapshotMark) {
        let (disk, shared) = (self.disk.clone(), self.shared.clone());
        let work = move || {
            let index = mark.index;
            let news = match load(&disk, shard, &mark) {
                Ok(keyspace) => {
                    log::info("keeper", "a snapshot of another node is there", &[("shard", &shard), ("index", &index)]);
                    SnapshotNews::Arrived { mark, keyspace: Box::new(keyspace) }
                }
                Err(error) => {
                    log::warn("keeper", "a snapshot of another node is bad", &[("shard", &shard), ("error", &error)]);
                    SnapshotNews::NotTaken { index }
                }
            };
            shared.mailboxes[usize::from(lane.0)].put(Input::Snapshot { shard, news });
        };
        if let Err(error) = std::thread::Builder::new().name("loader".to_owned()).spawn(work) {
            crate::dev::die(&format!("no thread can be started to load a snapshot: {error}"));
        }
    }

    fn tell(&self, lane: LaneId, shard: ShardId, news: SnapshotNews) {
        self.shared.mailboxes[usize::from(lane.0)].put(Input::Snapshot { shard, news });
    }
}

/// The keys of a snapshot.
pub fn load<D: Disk>(disk: &D, shard: ShardId, mark: &SnapshotMark) -> Result<Keyspace, Box<dyn Error>> {
    let mut reader = SnapshotReader::open(disk, shard, mark.index, mark.term)?;
    let mut body = Vec::new();
    while let Some(block) = reader.next_block()? {
        body.extend_from_slice(&block);
    }
    Keyspace::load(&body).map_err(|error| {
        let index = mark.index;
        format!(
            "the snapshot of shard {shard} at {index} can't be read: {}; was it written by a newer version?",
            error.0
        )
        .into()
    })
}
