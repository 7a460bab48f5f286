//! The log on a real directory: what was synced comes back, a torn tail is cut, rot is told with its place.

use base::record::{Payload, Record, RecoveredEntry, SnapshotMark};
use base::{Index, NodeId, ShardId, Term};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use storage::{RealDisk, Recovery, SnapshotReader, SnapshotWriter, StorageError, Wal, WalOptions};

const SHARD: ShardId = ShardId(3);
const OPTIONS: WalOptions = WalOptions { segment_bytes: 64 * 1024 };

/// A fresh directory under the target folder, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<(Wal<RealDisk>, Recovery), StorageError> {
        Wal::open(RealDisk::open(&self.0)?, OPTIONS)
    }

    fn segment(&self, id: u64) -> std::fs::File {
        let path = self.0.join(format!("wal-{id:016x}.seg"));
        std::fs::OpenOptions::new().read(true).write(true).open(path).expect("the log made this segment")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark { index: Index(index), term: Term(term), members: Bytes::from_static(b"members") }
}

fn payload_bytes(found: &RecoveredEntry) -> usize {
    let (Payload::Data(bytes) | Payload::Members(bytes)) = &found.payload;
    bytes.len()
}

fn entry(index: u64, len: usize) -> Record {
    let entry = Bytes::from(vec![index.to_le_bytes()[0]; len]);
    Record::Append { shard: SHARD, term: Term(1), index: Index(index), payload: Payload::Data(entry) }
}

fn indexes(recovery: &Recovery) -> Vec<u64> {
    recovery.shards.get(&SHARD).map_or(Vec::new(), |shard| shard.entries.iter().map(|one| one.index.0).collect())
}

#[test]
fn everything_synced_comes_back_over_segments() {
    let dir = Dir::new("comes-back");
    let (mut wal, _) = dir.open().unwrap();
    wal.append(&[Record::HardState { shard: SHARD, term: Term(7), vote: Some(NodeId(9)) }]).unwrap();
    for index in 1..=100 {
        wal.append(&[entry(index, 3000)]).unwrap();
    }
    wal.append(&[entry(101, 500_000)]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let (_, recovery) = dir.open().unwrap();
    let shard = &recovery.shards[&SHARD];
    assert_eq!((shard.term, shard.vote), (Term(7), Some(NodeId(9))));
    assert_eq!(indexes(&recovery), (1..=101).collect::<Vec<_>>());
    assert_eq!(payload_bytes(&shard.entries[100]), 500_000);
    assert!(recovery.cut.is_empty());
}

#[test]
fn an_overwritten_entry_drops_what_stood_behind_it() {
    let dir = Dir::new("overwrite");
    let (mut wal, _) = dir.open().unwrap();
    wal.append(&[entry(1, 10), entry(2, 10), entry(3, 10)]).unwrap();
    wal.append(&[entry(2, 77)]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let (_, recovery) = dir.open().unwrap();
    assert_eq!(indexes(&recovery), [1, 2]);
    assert_eq!(payload_bytes(&recovery.shards[&SHARD].entries[1]), 77);
}

#[test]
fn a_torn_tail_is_cut_and_told_and_stays_away() {
    let dir = Dir::new("torn");
    let (mut wal, _) = dir.open().unwrap();
    wal.append(&[entry(1, 10)]).unwrap();
    wal.sync().unwrap();
    wal.append(&[entry(2, 9000)]).unwrap();
    wal.append(&[entry(3, 10)]).unwrap();
    drop(wal);
    // Header page, seal, entry 1, then entry 2 over three pages: its second page never reached the disk.
    dir.segment(1).write_all_at(&[0; 4096], 4 * 4096).unwrap();
    let (wal, recovery) = dir.open().unwrap();
    assert_eq!(indexes(&recovery), [1]);
    assert_eq!(recovery.cut.len(), 1);
    drop(wal);
    let (_, again) = dir.open().unwrap();
    assert_eq!((indexes(&again), again.cut.len()), (vec![1], 0));
}

#[test]
fn a_flipped_byte_below_the_durable_mark_is_told_with_its_place() {
    for at in [4096 + 20, 2 * 4096 + 60, 3 * 4096] {
        let dir = Dir::new("rot");
        let (mut wal, _) = dir.open().unwrap();
        for index in 1..=3 {
            wal.append(&[entry(index, 100)]).unwrap();
            wal.sync().unwrap();
        }
        wal.append(&[Record::Seal]).unwrap();
        wal.sync().unwrap();
        drop(wal);
        let file = dir.segment(1);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        match dir.open() {
            Err(StorageError::Corrupt { file, offset, .. }) => {
                assert!(file.starts_with("wal-") && offset == at / 4096 * 4096, "{file} {offset}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn reclaimed_segments_leave_marks_and_hard_states() {
    let dir = Dir::new("reclaim");
    let (mut wal, _) = dir.open().unwrap();
    wal.append(&[Record::HardState { shard: SHARD, term: Term(5), vote: None }]).unwrap();
    for index in 1..=100 {
        wal.append(&[entry(index, 3000)]).unwrap();
    }
    wal.sync().unwrap();
    let before = wal.size_bytes();
    assert!(wal.reclaim(&BTreeMap::from([(SHARD, mark(90, 5))])).unwrap());
    assert!(wal.size_bytes() < before / 2);
    wal.append(&[entry(101, 10)]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let (_, recovery) = dir.open().unwrap();
    let shard = &recovery.shards[&SHARD];
    assert_eq!((shard.term, &shard.snapshot), (Term(5), &Some(mark(90, 5))));
    assert_eq!(indexes(&recovery), (91..=101).collect::<Vec<_>>());
}

#[test]
fn a_damaged_snapshot_is_noticed_anywhere() {
    let dir = Dir::new("snapshot");
    let disk = RealDisk::open(&dir.0).unwrap();
    let write = || {
        let mut writer = SnapshotWriter::create(&disk, SHARD, Index(8), Term(2)).unwrap();
        writer.write(b"first block").unwrap();
        writer.write(b"second").unwrap();
        writer.finish().unwrap();
    };
    let read = || -> Result<Vec<Vec<u8>>, StorageError> {
        let mut reader = SnapshotReader::open(&disk, SHARD, Index(8), Term(2))?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        Ok(blocks)
    };
    write();
    assert_eq!(read().unwrap(), [b"first block".to_vec(), b"second".to_vec()]);
    let path = dir.0.join("snap-00003-00000000000000000008.tg");
    let whole = std::fs::read(&path).unwrap();
    // Behind the first hundred bytes stand zeros alone.
    for at in (0..100).chain((100..whole.len()).step_by(37)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 16;
        std::fs::write(&path, &damaged).unwrap();
        match read() {
            // The end's counts look like one more block if its length says so; they are missed behind it.
            Err(StorageError::Corrupt { offset, .. }) => assert!(offset <= at as u64 || at == 65, "{at} as {offset}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(read().is_err(), "cut short");
}

#[test]
fn a_directory_has_one_user() {
    let dir = Dir::new("lock");
    let first = RealDisk::open(&dir.0).unwrap();
    assert!(matches!(RealDisk::open(&dir.0), Err(StorageError::Locked { .. })));
    drop(first);
    assert!(RealDisk::open(&dir.0).is_ok());
}

/// A log whose first segments were given back, and the names of its segments.
fn reclaimed(dir: &Dir) -> Vec<PathBuf> {
    let (mut wal, _) = dir.open().expect("a fresh log works");
    for index in 1..=100 {
        wal.append(&[entry(index, 3000)]).expect("a fresh log works");
    }
    wal.reclaim(&BTreeMap::from([(SHARD, mark(50, 1))])).expect("a fresh log works");
    drop(wal);
    let mut names: Vec<PathBuf> = std::fs::read_dir(&dir.0)
        .expect("a fresh log works")
        .map(|one| one.expect("a fresh log works").path())
        .collect();
    names.retain(|path| path.extension().is_some_and(|of| of == "seg"));
    names.sort();
    names
}

#[test]
fn a_missing_segment_is_told() {
    for at in 0..3 {
        let dir = Dir::new(&format!("missing-{at}"));
        let names = reclaimed(&dir);
        std::fs::remove_file(&names[at]).unwrap();
        match dir.open() {
            Err(StorageError::Corrupt { what, .. }) => assert!(what.contains("missing"), "{what}"),
            other => panic!("segment {at}: {other:?}"),
        }
    }
}

#[test]
fn what_a_power_cut_left_of_given_back_segments_is_removed() {
    let dir = Dir::new("left-over");
    let names = reclaimed(&dir);
    // Segment 1 was given back before; a copy of another file stands for it.
    let left = dir.0.join("wal-0000000000000001.seg");
    assert!(!names.contains(&left));
    std::fs::copy(&names[0], &left).unwrap();
    let (_, recovery) = dir.open().unwrap();
    assert_eq!(indexes(&recovery), (51..=100).collect::<Vec<_>>());
    assert!(!left.exists());
}

#[test]
fn snapshots_without_a_log_are_told() {
    let dir = Dir::new("no-log");
    let disk = RealDisk::open(&dir.0).unwrap();
    SnapshotWriter::create(&disk, SHARD, Index(8), Term(2)).unwrap().finish().unwrap();
    drop(disk);
    assert!(matches!(dir.open(), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_damaged_label_is_noticed_anywhere() {
    let dir = Dir::new("label");
    let disk = RealDisk::open(&dir.0).unwrap();
    assert_eq!(storage::read_label(&disk, "node-id").unwrap(), None);
    storage::write_label(&disk, "node-id", "0123456789abcdef").unwrap();
    storage::write_label(&disk, "node-id", "fedcba9876543210").unwrap();
    assert_eq!(storage::read_label(&disk, "node-id").unwrap().as_deref(), Some("fedcba9876543210"));
    let refused = |what: &str| match storage::read_label(&disk, "node-id") {
        Err(StorageError::Corrupt { file, .. }) => assert_eq!(file, "node-id"),
        other => panic!("{what}: {other:?}"),
    };
    let path = dir.0.join("node-id");
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        refused(&format!("bit {bit}"));
    }
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        refused(&format!("{len} bytes"));
    }
    // A label of another name, and one that is gone while the log is there.
    storage::write_label(&disk, "shards", "1").unwrap();
    std::fs::copy(dir.0.join("shards"), &path).unwrap();
    refused("another label");
    std::fs::remove_file(&path).unwrap();
    drop(Wal::open(disk.clone(), OPTIONS).unwrap());
    refused("missing");
}

#[test]
fn a_flipped_byte_in_the_head_of_the_tail_is_told_and_loses_nothing() {
    for at in 0..48 {
        let dir = Dir::new("tail");
        let (mut wal, _) = dir.open().unwrap();
        wal.append(&[entry(1, 100)]).unwrap();
        wal.append(&[Record::Seal]).unwrap();
        wal.sync().unwrap();
        drop(wal);
        // Header page, seal of the start, entry 1, seal.
        let (file, offset) = (dir.segment(1), 3 * 4096 + at);
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
        let (_, recovery) = dir.open().unwrap();
        assert_eq!((indexes(&recovery), recovery.cut.len()), (vec![1], 1), "byte {at}");
    }
}

#[test]
fn a_log_of_another_format_is_told_from_a_damaged_one() {
    let dir = Dir::new("format");
    let _ = RealDisk::open(&dir.0).unwrap();
    // The first page of a segment of format 1: magic, number, length, checksum.
    let mut page = b"TGWSEG1\0".to_vec();
    page.extend_from_slice(&1u64.to_le_bytes());
    page.extend_from_slice(&8192u64.to_le_bytes());
    page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
    page.resize(8192, 0);
    let path = dir.0.join("wal-0000000000000001.seg");
    std::fs::write(&path, &page).unwrap();
    assert!(matches!(dir.open(), Err(StorageError::OtherFormat { found: 1, read: 2, .. })));
    page[10] ^= 1;
    std::fs::write(&path, &page).unwrap();
    assert!(matches!(dir.open(), Err(StorageError::Corrupt { .. })));
}

fn register(index: u64, len: usize) -> Record {
    Record::Register { index: Index(index), bytes: Bytes::from(vec![index.to_le_bytes()[0]; len]) }
}

/// The first byte of each register record that came back.
fn registers(recovery: &Recovery) -> Vec<u8> {
    recovery.registers.records.iter().map(|bytes| bytes[0]).collect()
}

/// Writes four records, each in a segment of its own, and gives back what can be; how many came back.
fn kept_of_four(name: &str) -> usize {
    let dir = Dir::new(name);
    let (mut wal, _) = dir.open().expect("the log is sound");
    for index in 1..=4 {
        wal.append(&[register(index, 40_000)]).expect("there is room");
        wal.sync().expect("there is room");
    }
    wal.reclaim(&BTreeMap::new()).expect("there is room");
    drop(wal);
    let (_, recovery) = dir.open().expect("the log is sound");
    registers(&recovery).len()
}

#[cfg(feature = "mutations")]
#[test]
fn the_mutation_of_registers_is_noticed() {
    base::mutation::set(Some(base::mutation::Mutation::RegistersLetGo));
    let kept = kept_of_four("registers-let-go");
    base::mutation::set(None);
    assert!(kept < 4);
}

#[test]
fn registers_come_back_in_order_and_keep_their_segments_until_they_are_said_again() {
    let dir = Dir::new("registers");
    let (mut wal, _) = dir.open().unwrap();
    for index in 1..=4 {
        wal.append(&[register(index, 40_000)]).unwrap();
        wal.sync().unwrap();
    }
    assert_eq!(kept_of_four("registers-kept"), 4, "nothing says again what stands there");
    wal.append(&[register(5, 100), Record::RegisterMark { from: Index(5) }]).unwrap();
    assert!(wal.reclaim(&BTreeMap::new()).unwrap(), "5 says it all");
    drop(wal);
    let (mut wal, recovery) = dir.open().unwrap();
    assert_eq!((registers(&recovery).last(), recovery.registers.last), (Some(&5), Index(5)));
    assert!(registers(&recovery).len() < 5, "the first ones are gone");
    // The mark counts after a restart too, and only up to what it says.
    wal.append(&[register(6, 40_000)]).unwrap();
    wal.append(&[register(7, 40_000)]).unwrap();
    wal.sync().unwrap();
    wal.reclaim(&BTreeMap::new()).unwrap();
    drop(wal);
    let (_, recovery) = dir.open().unwrap();
    assert!(registers(&recovery).ends_with(&[5, 6, 7]), "{:?}", registers(&recovery));
}
