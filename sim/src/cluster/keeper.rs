//! The keeper of snapshots, as the binary has one: it writes this node's own, reads pieces for peers, takes theirs, and
//! gives log back once every shard has a snapshot.

use super::machine::load;
use crate::disk::SimDisk;
use base::limits::SNAPSHOT_PIECE_BYTES_MAX;
use base::record::SnapshotMark;
use base::{Index, NodeId, ShardId};
use bytes::Bytes;
use node::{SnapshotNews, SnapshotStep, SnapshotWaiting};
use std::collections::{BTreeMap, VecDeque};
use storage::{SnapshotSink, SnapshotSource, SnapshotWriter, StorageError, Wal};

#[derive(Debug)]
pub(super) struct Keeper {
    disk: SimDisk,
    steps: VecDeque<SnapshotStep>,
    /// What waits to be written.
    pub(super) waiting: SnapshotWaiting,
    writing: BTreeMap<ShardId, (SnapshotMark, SnapshotWriter<SimDisk>)>,
    durable: BTreeMap<ShardId, SnapshotMark>,
    sources: BTreeMap<(ShardId, NodeId), (Index, SnapshotSource<SimDisk>)>,
    sinks: BTreeMap<ShardId, (SnapshotMark, SnapshotSink<SimDisk>)>,
    groups: usize,
    after_bytes: u64,
    /// Snapshots are asked for, and the log is given back behind them.
    asked: bool,
    /// Its next step is planned.
    pub(super) busy: bool,
}

const PIECE_BYTES: usize = 16 * 1024;

type News = Vec<(ShardId, SnapshotNews)>;

impl Keeper {
    pub(super) fn new(
        disk: SimDisk,
        durable: BTreeMap<ShardId, SnapshotMark>,
        groups: usize,
        after_bytes: u64,
    ) -> Self {
        Self {
            disk,
            steps: VecDeque::new(),
            waiting: SnapshotWaiting::default(),
            writing: BTreeMap::new(),
            durable,
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            groups,
            after_bytes,
            asked: false,
            busy: false,
        }
    }

    /// Steps on their way to it.
    pub(super) fn hand(&mut self, steps: Vec<SnapshotStep>) {
        for step in steps {
            if let SnapshotStep::Piece { bytes, copied, .. } = &step {
                self.waiting.bytes += bytes.len();
                self.waiting.copied_bytes += if *copied { bytes.len() } else { 0 };
            }
            self.steps.push_back(step);
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.steps.is_empty()
    }

    /// True if the log is large enough for snapshots, which the caller begins.
    pub(super) fn asks_for_snapshots(&mut self, wal: &Wal<SimDisk>) -> bool {
        let due = wal.size_bytes() > self.after_bytes && !self.asked && self.writing.is_empty();
        self.asked |= due;
        due
    }

    /// Its next step, and what the lane is told of it.
    pub(super) fn step(&mut self, wal: &mut Wal<SimDisk>) -> Result<News, StorageError> {
        let Some(step) = self.steps.pop_front() else { return Ok(Vec::new()) };
        let mut news = Vec::new();
        let (shard, done) = match step {
            SnapshotStep::Begin { shard, mark } => {
                let made = SnapshotWriter::create(&self.disk, shard, mark.index, mark.term);
                (shard, made.map(|writer| drop(self.writing.insert(shard, (mark, writer)))))
            }
            SnapshotStep::Piece { shard, bytes, copied } => (shard, self.write_own(shard, &bytes, copied)),
            SnapshotStep::End { shard } => {
                let Some((mark, writer)) = self.writing.remove(&shard) else { return Ok(news) };
                let done = writer.finish();
                if done.is_ok() {
                    self.durable.insert(shard, mark.clone());
                    news.push((shard, SnapshotNews::Finished { mark }));
                }
                (shard, done)
            }
            SnapshotStep::Abort { shard } => {
                (shard, self.writing.remove(&shard).map_or(Ok(()), |(_, writer)| writer.abort()))
            }
            SnapshotStep::Send { shard, to, index, offset } => {
                return Ok(vec![(shard, self.send(shard, to, index, offset))]);
            }
            SnapshotStep::Sent { shard, to } => {
                self.sources.remove(&(shard, to));
                return Ok(news);
            }
            SnapshotStep::Take { shard, mark, offset, bytes, last } => {
                return self.take(shard, &mark, offset, &bytes, last);
            }
            SnapshotStep::Installed { shard, mark } => {
                self.durable.insert(shard, mark);
                return Ok(news);
            }
        };
        match done {
            Err(error) if self.disk.stopped() => return Err(error),
            Err(_) => {
                if let Some((_, given_up)) = self.writing.remove(&shard) {
                    given_up.abort()?;
                }
                self.asked = false;
                news.push((shard, SnapshotNews::Failed));
            }
            Ok(()) if self.asked && self.writing.is_empty() && self.durable.len() == self.groups => {
                self.asked = false;
                wal.reclaim(&self.durable)?;
                let older =
                    |(shard, mark): (&ShardId, &SnapshotMark)| storage::remove_older(&self.disk, *shard, mark.index);
                self.durable.iter().try_for_each(older)?;
            }
            Ok(()) => {}
        }
        Ok(news)
    }

    fn write_own(&mut self, shard: ShardId, bytes: &Bytes, copied: bool) -> Result<(), StorageError> {
        self.waiting.bytes -= bytes.len();
        self.waiting.copied_bytes -= if copied { bytes.len() } else { 0 };
        let Some((_, writer)) = self.writing.get_mut(&shard) else { return Ok(()) };
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| writer.write(piece))
    }

    fn send(&mut self, shard: ShardId, to: NodeId, index: Index, offset: u64) -> SnapshotNews {
        let read = self.read(shard, to, index, offset);
        read.unwrap_or_else(|_| {
            self.sources.remove(&(shard, to));
            SnapshotNews::Unreadable { to }
        })
    }

    fn read(&mut self, shard: ShardId, to: NodeId, index: Index, offset: u64) -> Result<SnapshotNews, StorageError> {
        if self.sources.get(&(shard, to)).is_none_or(|(opened, _)| *opened != index) {
            let source = SnapshotSource::open(&self.disk, shard, index)?;
            self.sources.insert((shard, to), (index, source));
        }
        let (_, source) = &self.sources[&(shard, to)];
        let bytes = Bytes::from(source.read(offset, SNAPSHOT_PIECE_BYTES_MAX)?);
        Ok(SnapshotNews::Read { to, index, offset, total: source.bytes(), bytes })
    }

    fn take(
        &mut self,
        shard: ShardId,
        mark: &SnapshotMark,
        offset: u64,
        bytes: &[u8],
        last: bool,
    ) -> Result<News, StorageError> {
        let index = mark.index;
        let done = self.write_theirs(shard, mark, offset, bytes).and_then(|()| match self.sinks.remove(&shard) {
            Some((_, sink)) if last => sink.finish(),
            Some(sink) => {
                self.sinks.insert(shard, sink);
                Ok(())
            }
            None => Ok(()),
        });
        match done {
            Err(error) if self.disk.stopped() => Err(error),
            Err(_) => {
                if let Some((_, sink)) = self.sinks.remove(&shard) {
                    sink.abort()?;
                }
                Ok(vec![(shard, SnapshotNews::NotTaken { index })])
            }
            Ok(()) => {
                let mut news = vec![(shard, SnapshotNews::Took { index, next: offset + bytes.len() as u64 })];
                if last {
                    let loaded = load(&self.disk, shard, mark).map(Box::new);
                    news.push((
                        shard,
                        loaded.map_or(SnapshotNews::NotTaken { index }, |keyspace| SnapshotNews::Arrived {
                            mark: mark.clone(),
                            keyspace,
                        }),
                    ));
                }
                Ok(news)
            }
        }
    }

    fn write_theirs(
        &mut self,
        shard: ShardId,
        mark: &SnapshotMark,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        if offset == 0 {
            self.sinks.remove(&shard);
            let sink = SnapshotSink::create(&self.disk, shard, mark.index)?;
            self.sinks.insert(shard, (mark.clone(), sink));
        }
        match self.sinks.get_mut(&shard) {
            Some((of, sink)) if of == mark => sink.write(bytes),
            _ => Ok(()),
        }
    }
}
