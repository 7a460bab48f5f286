//! A client that writes values which look like batches of the log, at the places where recovery will look: it knows the
//! format, the numbers of segments and batches, and even the salt that a file had in a former life. It doesn't know the salt
//! of the segment.

use base::record::{Payload, Record, SnapshotMark};
use base::{Index, ShardId, Term};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use storage::{RealDisk, Recovery, StorageError, Wal, WalOptions};

const SHARD: ShardId = ShardId(3);
const OPTIONS: WalOptions = WalOptions { segment_bytes: 64 * 1024 };
const PAGE: usize = 4096;
const VERSION: u8 = 2;
/// What stands before an entry's bytes in the first record of a batch.
const BEFORE_ENTRY: usize = 48 + 32;
const EVIL: &[u8] = b"evil";

/// A fresh directory under the target folder, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("forged-{name}-{}", std::process::id()));
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

    /// A number in a segment's file.
    fn field(&self, id: u64, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        self.segment(id).read_exact_at(&mut bytes, offset as u64).expect("the segment has a first page");
        u64::from_le_bytes(bytes)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A batch as FORMAT.md draws it, with one entry.
fn forge(salt: u64, seq: u64, index: u64) -> Vec<u8> {
    let mut payload = u32::try_from(EVIL.len()).expect("short").to_le_bytes().to_vec();
    payload.extend_from_slice(&SHARD.0.to_le_bytes());
    payload.extend_from_slice(&[1, 0]);
    for field in [1, index, 1 << 40] {
        payload.extend_from_slice(&u64::to_le_bytes(field));
    }
    payload.extend_from_slice(EVIL);
    let mut head = b"TGHB".to_vec();
    head.extend_from_slice(&[VERSION, 0, 0, 0]);
    // It says that everything was durable, so that what is missing before it would be rot.
    for field in [salt, seq, seq - 1, payload.len() as u64] {
        head.extend_from_slice(&u64::to_le_bytes(field));
    }
    head.extend_from_slice(&1u32.to_le_bytes());
    let crc = crc32c::crc32c(&[&head[..], &[0; 4], &payload].concat());
    [&head[..], &crc.to_le_bytes(), &payload].concat()
}

fn entry(index: u64, bytes: Vec<u8>) -> Record {
    Record::Append { shard: SHARD, term: Term(1), index: Index(index), payload: Payload::Data(Bytes::from(bytes)) }
}

/// A value of `len` bytes, for a batch that begins on page `first`, with `forged` at the head of its page `at`.
fn carrier(first: usize, len: usize, at: usize, forged: &[u8]) -> Vec<u8> {
    let mut value = vec![b'x'; len];
    let from = (at - first) * PAGE - BEFORE_ENTRY;
    value[from..from + forged.len()].copy_from_slice(forged);
    value
}

fn entries(recovery: &Recovery) -> Vec<(u64, bool)> {
    let log = &recovery.shards[&SHARD].entries;
    log.iter().map(|one| (one.index.0, one.payload == Payload::Data(Bytes::from_static(EVIL)))).collect()
}

/// Where the forged batch stands: the tail of segment 3, a file that was segment 1.
const TAIL: usize = 5;

/// A log that ends on page 5 of a recycled file, whose former life had `forged` there. `salt` is that of the former life.
fn recycled(dir: &Dir, forged: impl FnOnce(u64) -> Vec<u8>) {
    let (mut wal, _) = dir.open().expect("a fresh log works");
    let former = dir.field(1, 24);
    wal.append(&[entry(1, carrier(2, 40_000, TAIL, &forged(former)))]).expect("a fresh log works");
    wal.append(&[entry(2, vec![b'y'; 40_000])]).expect("a fresh log works");
    let mark = SnapshotMark { index: Index(1), term: Term(1), members: Bytes::new() };
    assert!(wal.reclaim(&BTreeMap::from([(SHARD, mark)])).expect("a fresh log works"));
    wal.append(&[entry(3, vec![b'z'; 13_000])]).expect("a fresh log works");
    wal.sync().expect("a fresh log works");
    assert_eq!(dir.field(3, 8), 3, "the log went on in segment 3");
}

/// The seq that recovery expects at the tail.
fn wanted(dir: &Dir) -> u64 {
    dir.field(3, PAGE + 16) + 1
}

#[test]
fn a_former_life_of_a_segment_holds_no_batches_of_this_one() {
    let learned = Dir::new("learned");
    recycled(&learned, |_| Vec::new());
    let seq = wanted(&learned);
    // Of format 1, which had the segment's number where the salt is, the first of these was taken.
    for (name, salt) in [("number", Some(3)), ("nothing", Some(0)), ("former", None)] {
        let dir = Dir::new(name);
        recycled(&dir, |former| forge(salt.unwrap_or(former), seq, 4));
        assert_eq!(wanted(&dir), seq, "the forged batch has the right number");
        let mut magic = [0; 4];
        dir.segment(3).read_exact_at(&mut magic, (TAIL * PAGE) as u64).unwrap();
        assert_eq!(&magic, b"TGHB", "the forged batch stands at the tail");
        let (_, recovery) = dir.open().unwrap();
        assert_eq!(entries(&recovery), [(2, false), (3, false)], "{name}");
    }
    // With the salt it would be taken: nothing else is wrong with it.
    let dir = Dir::new("salt");
    recycled(&dir, |_| Vec::new());
    let forged = forge(dir.field(3, 24), seq, 4);
    dir.segment(3).write_all_at(&forged, (TAIL * PAGE) as u64).unwrap();
    let (_, recovery) = dir.open().unwrap();
    assert_eq!(entries(&recovery), [(2, false), (3, false), (4, true)]);
}

/// A log whose last batch, seq 3 on the pages from 3 on, has `forged` on its page 5 and lost its first page.
fn torn(dir: &Dir, forged: impl FnOnce(u64) -> Vec<u8>) -> Result<(Wal<RealDisk>, Recovery), StorageError> {
    let (mut wal, _) = dir.open().expect("a fresh log works");
    wal.append(&[entry(1, vec![b'x'; 100])]).expect("a fresh log works");
    wal.sync().expect("a fresh log works");
    wal.append(&[entry(2, carrier(3, 20_000, TAIL, &forged(dir.field(1, 24))))]).expect("a fresh log works");
    drop(wal);
    dir.segment(1).write_all_at(&[0; PAGE], (3 * PAGE) as u64).expect("a fresh log works");
    dir.open()
}

#[test]
fn a_torn_tail_holds_no_batch_that_makes_it_rot() {
    for (name, salt) in [("torn-number", 1), ("torn-nothing", 0)] {
        let dir = Dir::new(name);
        let (_, recovery) = torn(&dir, |_| forge(salt, 4, 2)).unwrap();
        assert_eq!(entries(&recovery), [(1, false)], "{name}");
    }
    // With the salt it would stop the node.
    let dir = Dir::new("torn-salt");
    assert!(matches!(torn(&dir, |salt| forge(salt, 4, 2)), Err(StorageError::Corrupt { .. })));
}

#[test]
fn each_life_of_a_file_has_a_salt_of_its_own() {
    let dir = Dir::new("lives");
    recycled(&dir, |_| Vec::new());
    let mut salts = vec![dir.field(2, 24), dir.field(3, 24)];
    let other = Dir::new("other-lives");
    recycled(&other, |former| {
        salts.push(former);
        Vec::new()
    });
    salts.extend([other.field(2, 24), other.field(3, 24)]);
    let count = salts.len();
    salts.sort_unstable();
    salts.dedup();
    assert_eq!(salts.len(), count);
}
