//! A disk that has no room for a new file, in whichever way it says so: the log refuses, keeps what it has, leaves nothing
//! half made, and goes on once there is room.

use base::record::{Payload, Record};
use base::{Index, ShardId, Term};
use bytes::Bytes;
use std::fs::File;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use storage::{Disk, DiskFile, RealDisk, SnapshotWriter, StorageError, Wal, WalOptions};

const OPTIONS: WalOptions = WalOptions { segment_bytes: 64 * 1024 };
/// ENOSPC, EDQUOT, EFBIG, EMFILE and ENFILE of Linux.
const NO_ROOM: [i32; 5] = [28, 122, 27, 24, 23];

/// Which operation on a new file fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Create,
    Reserve,
    Write,
    Sync,
}

/// A real directory in which new files fail as told.
#[derive(Clone)]
struct Full {
    disk: RealDisk,
    fails: Arc<Mutex<Option<(Op, i32)>>>,
}

struct AnyFile {
    file: File,
    /// Nothing once the file is whole: what is written into a segment of zeros finds its room.
    fails: Arc<Mutex<Option<(Op, i32)>>>,
}

fn check(fails: &Mutex<Option<(Op, i32)>>, op: Op) -> Result<()> {
    match *fails.lock().expect("no test panics with it") {
        Some((failing, errno)) if failing == op => Err(Error::from_raw_os_error(errno)),
        _ => Ok(()),
    }
}

impl Full {
    fn new(dir: &Path) -> Self {
        Self { disk: RealDisk::open(dir).expect("a fresh directory"), fails: Arc::default() }
    }

    fn set(&self, fails: Option<(Op, i32)>) {
        *self.fails.lock().expect("no test panics with it") = fails;
    }
}

impl Disk for Full {
    type File = AnyFile;

    fn create(&self, name: &str) -> Result<AnyFile> {
        check(&self.fails, Op::Create)?;
        Ok(AnyFile { file: self.disk.create(name)?, fails: self.fails.clone() })
    }

    fn open(&self, name: &str) -> Result<AnyFile> {
        Ok(AnyFile { file: self.disk.open(name)?, fails: Arc::default() })
    }

    fn create_paged(&self, name: &str) -> Result<AnyFile> {
        check(&self.fails, Op::Create)?;
        Ok(AnyFile { file: self.disk.create_paged(name)?, fails: self.fails.clone() })
    }

    fn open_paged(&self, name: &str) -> Result<AnyFile> {
        Ok(AnyFile { file: self.disk.open_paged(name)?, fails: Arc::default() })
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_dir(&self) -> Result<()> {
        self.disk.sync_dir()
    }

    fn random(&self) -> Result<u64> {
        self.disk.random()
    }
}

impl DiskFile for AnyFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        DiskFile::read_at(&self.file, offset, buf)
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        check(&self.fails, Op::Reserve)?;
        self.file.reserve(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        check(&self.fails, Op::Write)?;
        DiskFile::write_at(&mut self.file, offset, bytes)
    }

    fn sync_data(&mut self) -> Result<()> {
        check(&self.fails, Op::Sync)?;
        self.fails = Arc::default();
        DiskFile::sync_data(&mut self.file)
    }

    fn len(&self) -> Result<u64> {
        DiskFile::len(&self.file)
    }
}

fn fresh(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("no-room-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn entry(index: u64, len: usize) -> Record {
    Record::Append {
        shard: ShardId(0),
        term: Term(1),
        index: Index(index),
        payload: Payload::Data(Bytes::from(vec![7; len])),
    }
}

/// Every way in which a lack of room shows itself.
fn ways() -> impl Iterator<Item = (Op, i32)> {
    [Op::Create, Op::Reserve, Op::Write, Op::Sync].into_iter().flat_map(|op| NO_ROOM.map(|errno| (op, errno)))
}

#[test]
fn a_log_without_room_refuses_keeps_what_it_has_and_goes_on() {
    for (op, errno) in ways() {
        let dir = fresh(&format!("log-{op:?}-{errno}"));
        let disk = Full::new(&dir);
        let (mut wal, _) = Wal::open(disk.clone(), OPTIONS).unwrap();
        wal.append(&[entry(1, 100)]).unwrap();
        wal.sync().unwrap();
        disk.set(Some((op, errno)));
        let names = disk.list().unwrap();
        for _ in 0..2 {
            let refusals = [wal.make_fit(100_000), wal.append(&[entry(2, 100_000)]), wal.prepare(1 << 20)];
            for refused in refusals {
                let error = refused.unwrap_err();
                assert!(matches!(error, StorageError::NoSpace { .. }), "{op:?} {errno}: {error}");
                assert!(error.to_string().contains(&format!("(os error {errno})")), "the cause is named: {error}");
            }
            assert_eq!(disk.list().unwrap(), names, "{op:?} {errno}: nothing is left half made");
        }
        // What fits into the segment in use goes on.
        wal.append(&[entry(2, 100)]).unwrap();
        wal.sync().unwrap();
        disk.set(None);
        wal.append(&[entry(3, 100_000)]).unwrap();
        wal.sync().unwrap();
        drop((wal, disk));
        let (_, recovery) = Wal::open(RealDisk::open(&dir).unwrap(), OPTIONS).unwrap();
        assert_eq!(recovery.shards[&ShardId(0)].entries.len(), 3);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn a_snapshot_without_room_is_given_up_and_tried_again() {
    for (op, errno) in ways().filter(|(op, _)| matches!(op, Op::Create | Op::Write)) {
        let dir = fresh(&format!("snapshot-{op:?}-{errno}"));
        let disk = Full::new(&dir);
        disk.set(Some((op, errno)));
        let create = || SnapshotWriter::create(&disk, ShardId(0), Index(8), Term(2));
        let refused = match create() {
            Err(error) => error,
            Ok(mut writer) => {
                let error = writer.write(&vec![1; 300 * 1024]).unwrap_err();
                writer.abort().unwrap();
                error
            }
        };
        assert!(matches!(refused, StorageError::NoSpace { .. }), "{op:?} {errno}: {refused}");
        assert_eq!(disk.list().unwrap(), ["lock"]);
        disk.set(None);
        let mut writer = create().unwrap();
        writer.write(&vec![1; 300 * 1024]).unwrap();
        writer.finish().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }
}
