//! A byte that turned on the disk, in each kind of file that a node keeps. Below the last durable mark the node refuses to
//! start and names the file and the place; above it the byte is a torn tail, which is logged, and every acknowledged write
//! is there.
//!
//! `TIDEGATE_ROT_SEEDS=50 cargo test --release -p tidegate --test rot -- --nocapture` is the long form.

mod support;

use base::rng::Rng;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Folder, Node, Reply, refused};

const PAGE_BYTES: u64 = 4096;
const BATCH_HEADER_BYTES: u64 = 48;
/// Turns in each kind of file.
const SEEDS: u64 = 4;

/// A directory on which a node ran and stopped cleanly, and what it acknowledged.
struct Written {
    folder: Folder,
    sets: usize,
}

/// A batch of the log, as FORMAT.md draws it.
#[derive(Clone, Copy, Debug)]
struct Batch {
    offset: u64,
    /// Header and payload: what the checksum covers.
    bytes: u64,
    seq: u64,
    durable_upto: u64,
}

fn options(command: &mut Command) -> &mut Command {
    command.args(["--snapshot-after-mib", "64"])
}

fn value(at: usize) -> String {
    format!("{at}:{}", "v".repeat(100_000 + at))
}

impl Written {
    /// Writes until there is a snapshot, a log of several segments, some of them used before, and a sealed tail.
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let node = Node::start_with(folder.path(), options);
        let mut client = node.client();
        let deadline = Instant::now() + Duration::from_secs(120);
        let (mut sets, mut enough) = (0, None);
        while enough.is_none_or(|enough| sets < enough) {
            let set = client.ask(&["SET", &format!("k{sets}"), &value(sets)]).expect("the node answers");
            assert_eq!(set, Reply::ok());
            sets += 1;
            if enough.is_none() && !files(folder.path(), "snap-", ".tg").is_empty() {
                enough = Some(sets + 400);
            }
            assert!(Instant::now() < deadline, "no snapshot was taken");
        }
        assert_eq!(node.terminate().code(), Some(0));
        Self { folder, sets }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn segments(&self) -> Vec<PathBuf> {
        files(self.path(), "wal-", ".seg")
    }

    /// The node starts, and has all that was acknowledged.
    fn starts_whole(&self) -> Vec<String> {
        let log = self.path().join("stderr");
        let stderr = File::create(&log).expect("a file can be made");
        let node = Node::start_with(self.path(), |command| options(command).stderr(Stdio::from(stderr)));
        let mut client = node.client();
        for at in 0..self.sets {
            let found = client.ask(&["GET", &format!("k{at}")]).expect("the node answers");
            assert_eq!(found, Reply::bulk(&value(at)), "k{at}");
        }
        assert_eq!(node.terminate().code(), Some(0));
        let said = std::fs::read_to_string(&log).expect("stderr was written");
        said.lines().map(str::to_owned).collect()
    }

    /// The node does not start while the byte is turned; it names `offset`, or some place if none is given.
    fn refuses(&self, file: &Path, at: u64, mask: u8, offset: Option<u64>) {
        turn(file, at, mask);
        let output = refused(self.path(), "0");
        turn(file, at, mask);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let name = file.file_name().and_then(|name| name.to_str()).expect("names are text");
        let place = offset.map_or_else(String::new, |offset| format!("{offset}:"));
        let wanted = format!("{name} is damaged at byte {place}");
        assert_eq!(output.status.code(), Some(1), "{name}, byte {at}: {said}");
        assert!(said.contains(&wanted), "{name}, byte {at}: wanted {wanted:?} in {said:?}");
    }
}

fn files(dir: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the directory is there")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(suffix)
        })
        .collect();
    found.sort();
    found
}

/// Turns the bits of `mask` in one byte of a file.
fn turn(file: &Path, at: u64, mask: u8) {
    let file = File::options().read(true).write(true).open(file).expect("the file is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("the byte is there");
    file.write_all_at(&[byte[0] ^ mask], at).expect("the byte can be written");
}

/// The batches of a segment, up to what is none.
fn batches(file: &Path) -> Vec<Batch> {
    let file = File::open(file).expect("the segment is there");
    let mut found: Vec<Batch> = Vec::new();
    let mut offset = PAGE_BYTES;
    loop {
        let mut header = [0; 48];
        if file.read_exact_at(&mut header, offset).is_err() || &header[..4] != b"TGHB" {
            return found;
        }
        let field = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (seq, durable_upto, payload) = (field(16), field(24), field(32));
        if found.last().is_some_and(|last| last.seq + 1 != seq) {
            return found;
        }
        let bytes = BATCH_HEADER_BYTES + payload;
        found.push(Batch { offset, bytes, seq, durable_upto });
        offset = (offset + bytes).next_multiple_of(PAGE_BYTES);
    }
}

/// A byte of a file and the bits to be turned in it; in two of three cases near the front, where headers are.
fn draw(rng: &mut Rng, bytes: u64) -> (u64, u8) {
    let front = if rng.below(3) < 2 { bytes.min(BATCH_HEADER_BYTES) } else { bytes };
    (rng.below(front), 1 << rng.below(8))
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[usize::try_from(rng.below(of.len() as u64)).expect("few things")]
}

fn seeds() -> u64 {
    std::env::var("TIDEGATE_ROT_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number of seeds"))
}

#[test]
fn a_turned_byte_below_the_durable_mark_is_refused_with_its_place() {
    let written = Written::new("rot");
    let segments = written.segments();
    let (all, snapshot) = (segments.iter().flat_map(|one| batches(one)), files(written.path(), "snap-", ".tg"));
    let mark = all.map(|batch| batch.durable_upto).max().expect("there are batches");
    let snapshot = snapshot.last().expect("there is a snapshot");
    let snapshot_bytes = std::fs::metadata(snapshot).expect("there is a snapshot").len();
    let mut rng = Rng::new(seeds());
    for _ in 0..seeds() {
        let segment = pick(&mut rng, &segments);
        let (at, mask) = draw(&mut rng, PAGE_BYTES);
        written.refuses(segment, at, mask, Some(0));

        let below: Vec<Batch> = batches(segment).into_iter().filter(|batch| batch.seq <= mark).collect();
        let batch = pick(&mut rng, &below);
        let (at, mask) = draw(&mut rng, batch.bytes);
        written.refuses(segment, batch.offset + at, mask, Some(batch.offset));

        let (at, mask) = draw(&mut rng, snapshot_bytes);
        written.refuses(snapshot, at, mask, None);

        for label in ["node-id", "shards"].map(|name| written.path().join(name)) {
            let bytes = std::fs::metadata(&label).expect("there are labels").len();
            written.refuses(&label, rng.below(bytes), mask, Some(0));
        }
    }
    println!("{} segments, mark {mark}: {} turns of each kind were refused", segments.len(), seeds());
    assert!(written.starts_whole().iter().all(|line| !line.contains("it was cut")), "all bytes are back");
}

#[test]
fn a_turned_byte_above_the_durable_mark_is_a_torn_tail_and_loses_nothing() {
    let written = Written::new("torn");
    let mut rng = Rng::new(seeds());
    for _ in 0..seeds() {
        let segments = written.segments();
        let last = segments.last().expect("there is a log");
        let tail = *batches(last).last().expect("the tail is sealed");
        assert_eq!(tail.durable_upto + 1, tail.seq, "the tail covers everything before it, and nothing covers it");
        let (at, mask) = draw(&mut rng, tail.bytes);
        turn(last, tail.offset + at, mask);
        let said = written.starts_whole();
        let name = last.file_name().and_then(|name| name.to_str()).expect("names are text");
        let wanted = format!("{name} ended in the middle of a write at byte {}", tail.offset);
        let told = said.iter().any(|line| line.contains(" warn recovery ") && line.contains(&wanted));
        assert!(told, "byte {at} of the tail: {said:?}");
    }
}

#[test]
fn what_is_written_for_others_may_rot() {
    let folder = Folder::new("for-others");
    assert_eq!(Node::start(folder.path()).terminate().code(), Some(0));
    for name in ["endpoints.json", "pid"] {
        turn(&folder.path().join(name), 3, 0xff);
    }
    assert_eq!(Node::start(folder.path()).terminate().code(), Some(0));
}
