//! The targets, and makers of valid inputs for them.

use crate::disk::MemDisk;
use base::record::{Payload, Record};
use base::rng::Rng;
use base::{ClientId, Index, NodeId, Placement, ShardId, Stamp, Term};
use bytes::Bytes;
use data::shard::{EntryWriter, genesis};
use data::{Context, Keyspace, ShardState, command};
use edge::{Session, SessionConfig, Step};
use storage::{SnapshotReader, SnapshotWriter, StorageError, Wal, WalOptions};

const SHARD: ShardId = ShardId(0);
const OPTIONS: WalOptions = WalOptions { segment_bytes: 32 * 1024 };
const SEGMENT: &str = "wal-0000000000000001.seg";

/// What a session makes of bytes that come in pieces: every step by name, and what it answered itself.
fn session(input: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    let mut session = Session::new(ClientId(1), SessionConfig::default());
    let (mut waiting, mut steps, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in input.chunks(piece.max(1)) {
        waiting.extend_from_slice(chunk);
        let mut at = 0;
        while at < waiting.len() {
            let mut used = 0;
            let step = session.step(&waiting[at..], &mut used, &mut out);
            let (name, seq) = match step {
                Step::Request(call) | Step::Admin(call) => {
                    (format!("{} {:?}", call.command.name, call.args), Some(call.seq))
                }
                Step::Exec(exec) => (format!("exec {}", exec.commands.len()), Some(exec.seq)),
                Step::Inline(frame) => {
                    // The frame means the line: its commands are taken from it alone.
                    assert!(frame.starts_with(b"*"), "an inline command becomes a frame");
                    (format!("inline {frame:?}"), None)
                }
                Step::Answered => ("answered".to_owned(), None),
                Step::Lock(call) => (format!("lock {:?}", call.ask), Some(call.seq)),
                Step::Everywhere(call) => (format!("everywhere {:?}", call.what), Some(call.seq)),
                Step::Listens(changes) => (format!("listens {changes:?}"), None),
                Step::Reset { listens, tracking } => (format!("reset {listens:?} {tracking:?}"), None),
                Step::Close => {
                    steps.push("close".to_owned());
                    return (steps, out);
                }
                Step::NeedMore { need_at_least } => {
                    assert!(need_at_least > waiting.len() - at, "more is asked for than is there");
                    break;
                }
                Step::Blocked => break,
            };
            assert!(used > 0, "a step takes bytes");
            if let Some(seq) = seq {
                session.on_reply(seq, data::Reply::Ok, &mut out);
            }
            steps.push(name);
            at += used;
        }
        waiting.drain(..at);
    }
    (steps, out)
}

/// RESP: the same steps and answers however the bytes are cut.
pub fn resp(input: &[u8]) {
    let whole = session(input, input.len());
    for piece in [1, 2, 7, 64] {
        assert_eq!(session(input, piece), whole, "cut into pieces of {piece}");
    }
}

/// Commands, some of them inline, some with bad numbers of arguments.
pub fn valid_resp(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let all: Vec<&str> = command::all().map(|row| row.name).collect();
    for _ in 0..1 + rng.below(5) {
        let name = all[usize::try_from(rng.below(all.len() as u64)).expect("small")];
        let argc = rng.below(4);
        if rng.one_in(8) {
            out.extend_from_slice(format!("{name} \"a\\x41b\" 'c'\r\n").as_bytes());
            continue;
        }
        out.extend_from_slice(format!("*{}\r\n${}\r\n{name}\r\n", argc + 1, name.len()).as_bytes());
        for at in 0..argc {
            let arg = ["", "key", "12", "\r\n$", "EX"][usize::try_from((at + rng.below(5)) % 5).expect("small")];
            out.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
        }
    }
    out
}

/// A log entry: applied or refused, and equally by two replicas.
pub fn entry(input: &[u8]) {
    let replica = || {
        let mut state = ShardState::default();
        let seed = genesis(Stamp(1000), (1, 2));
        state.apply(Index(1), &seed, |_| {}).expect("a fresh shard takes its first entry");
        let applied = state.apply(Index(2), input, |_| {});
        (applied.is_ok(), state.keyspace().digest())
    };
    assert_eq!(replica(), replica());
}

/// An entry of some commands with a transaction among them.
pub fn valid_entry(rng: &mut Rng) -> Vec<u8> {
    let mut writer = EntryWriter::default();
    let words: [&[u8]; 8] = [b"k", b"v", b"10", b"-1", b"px", b"", b"nx", b"0"];
    let rows: Vec<_> = command::all().filter(|row| row.is_write()).collect();
    let call = |rng: &mut Rng| {
        let row = rows[usize::try_from(rng.below(rows.len() as u64)).expect("small")];
        let argc = usize::from(row.arity.unsigned_abs()).max(1) + usize::from(row.arity < 0 && rng.one_in(2));
        let mut args: Vec<&[u8]> = vec![row.name.as_bytes()];
        while args.len() < argc {
            args.push(words[usize::try_from(rng.below(8)).expect("small")]);
        }
        (row, args)
    };
    for _ in 0..rng.below(6) {
        let (row, args) = call(rng);
        if row.accepts(args.len()) {
            writer.command(0, row, &args);
        }
    }
    if rng.one_in(3) {
        let (row, args) = call(rng);
        if row.accepts(args.len()) {
            writer.exec(&[], std::iter::once((1, row, args)));
        }
    }
    writer.finish(Stamp(2000)).to_vec()
}

/// The body of a snapshot: loaded or refused; what is loaded can be read and cut again.
pub fn snapshot_body(input: &[u8]) {
    if let Ok(keyspace) = Keyspace::load(input) {
        let cx = Context::new(0, keyspace.applied_stamp());
        let page = keyspace.scan(&cx, 0, usize::MAX, |_| true).expect("a scan from 0 works");
        assert!(page.keys.iter().all(|key| keyspace.contains(&cx, key)), "what is listed is there");
        let _ = keyspace.digest();
    }
}

/// A cut of a small keyspace.
pub fn valid_snapshot_body(rng: &mut Rng) -> Vec<u8> {
    let mut state = ShardState::default();
    state.apply(Index(1), &genesis(Stamp(1000), (rng.next_u64(), 5)), |_| {}).expect("the first entry");
    let set = command::find(b"set").expect("there is SET");
    let mut writer = EntryWriter::default();
    for at in 0..rng.below(20) {
        let (key, value) = (at.to_string(), "v".repeat(usize::try_from(rng.below(4000)).expect("small")));
        writer.command(0, set, &[b"set", key.as_bytes(), value.as_bytes(), b"px", b"5000"]);
    }
    for (name, before, behind) in
        [("rpush", None, None), ("sadd", None, None), ("hset", None, Some("7")), ("zadd", Some("1.5"), None)]
    {
        let command = command::find(name.as_bytes()).expect("a command that fills a value");
        for at in 0..rng.below(200) {
            let word = if rng.one_in(2) { at.to_string() } else { "w".repeat(usize::try_from(at).expect("small")) };
            let words = [Some(name), Some(name), before, Some(word.as_str()), behind];
            let args: Vec<&[u8]> = words.into_iter().flatten().map(str::as_bytes).collect();
            writer.command(0, command, &args);
        }
    }
    state.apply(Index(2), &writer.finish(Stamp(2000)), |_| {}).expect("the second entry");
    let keyspace = state.cut();
    keyspace.begin_cut();
    while !keyspace.cut_slice(1 << 20) {}
    let mut body = Vec::new();
    while let Some((piece, _)) = keyspace.cut_output() {
        body.extend_from_slice(&piece);
    }
    body
}

/// A snapshot's file: read whole or refused with its place.
pub fn snapshot_file(input: &[u8]) {
    let disk = MemDisk::default();
    disk.put("snap-00000-00000000000000000008.tg", input.to_vec());
    let Ok(mut reader) = SnapshotReader::open(&disk, SHARD, Index(8), Term(2)) else { return };
    let mut bytes = 0;
    while let Ok(Some(block)) = reader.next_block() {
        bytes += block.len();
    }
    assert!(bytes <= input.len(), "no more comes out than went in");
}

/// A snapshot of some blocks.
pub fn valid_snapshot_file(rng: &mut Rng) -> Vec<u8> {
    let disk = MemDisk::default();
    let mut writer = SnapshotWriter::create(&disk, SHARD, Index(8), Term(2)).expect("memory has room");
    for _ in 0..rng.below(4) {
        let block = vec![7; usize::try_from(1 + rng.below(3000)).expect("small")];
        writer.write(&block).expect("memory has room");
    }
    writer.finish().expect("memory has room");
    disk.bytes("snap-00000-00000000000000000008.tg")
}

/// A log's segment: recovery gives back a prefix of what was written, or says what is damaged and where.
pub fn log(input: &[u8]) {
    let disk = MemDisk::default();
    disk.put(SEGMENT, input.to_vec());
    match Wal::open(disk.clone(), OPTIONS) {
        Ok((mut wal, recovery)) => {
            if let Some(shard) = recovery.shards.get(&SHARD) {
                let first = shard.snapshot.as_ref().map_or(0, |mark| mark.index.0);
                let ordered = shard.entries.iter().zip(first + 1..).all(|(entry, wanted)| entry.index.0 == wanted);
                assert!(ordered, "entries come back without gaps");
            }
            wal.append(&[Record::Seal]).expect("a recovered log takes more");
            wal.sync().expect("memory can be synced");
            drop(wal);
            let again = Wal::open(disk, OPTIONS).expect("what was recovered is recovered again").1;
            assert_eq!(again.shards, recovery.shards, "and the same");
        }
        Err(StorageError::Corrupt { file, .. } | StorageError::OtherFormat { file, .. }) => {
            assert!(!file.is_empty(), "damage is told with its file");
        }
        Err(other) => panic!("bytes alone can't bring about {other}"),
    }
}

/// A segment with some batches, the last perhaps unsealed.
pub fn valid_log(rng: &mut Rng) -> Vec<u8> {
    let disk = MemDisk::default();
    let (mut wal, _) = Wal::open(disk.clone(), OPTIONS).expect("an empty directory");
    wal.append(&[Record::HardState { shard: SHARD, term: Term(1), vote: Some(NodeId(1)) }]).expect("memory has room");
    let mut index = 0;
    for _ in 0..rng.below(4) {
        let records: Vec<Record> = (0..1 + rng.below(3))
            .map(|_| {
                index += 1;
                let entry = Bytes::from(vec![9; usize::try_from(rng.below(200)).expect("small")]);
                Record::Append { shard: SHARD, term: Term(1), index: Index(index), payload: Payload::Data(entry) }
            })
            .collect();
        wal.append(&records).expect("memory has room");
        if rng.one_in(2) {
            wal.sync().expect("memory can be synced");
        }
    }
    drop(wal);
    disk.bytes(SEGMENT)
}

/// A placement: refused, or valid, spelled so that it comes back, and good for any change.
pub fn placement(input: &[u8]) {
    let Ok(placement) = Placement::decode(input) else { return };
    assert_eq!(placement.validate(), Ok(()));
    assert_eq!(Placement::decode(&placement.encode()).as_ref(), Ok(&placement));
    if placement.nodes().len() > 32 {
        // Nothing else happens there, only more slowly.
        return;
    }
    let (old, new) = (placement.nodes()[0], NodeId(0x7e57));
    for next in [placement.join(new), placement.leave(old), placement.replace(old, new)].into_iter().flatten() {
        assert_eq!(next.validate(), Ok(()));
        let changes = placement.changes_to(&next);
        assert!(changes.iter().all(|change| change.added.iter().all(|node| !change.removed.contains(node))));
    }
}

/// A small placement that has changed a few times.
pub fn valid_placement(rng: &mut Rng) -> Vec<u8> {
    let mut small = |most: u16| u16::try_from(1 + rng.below(u64::from(most))).expect("small");
    let (nodes, shards, replicas) = (u64::from(small(6)), small(8), [1, 2, 3, 5, 7][usize::from(small(5)) - 1]);
    let mut placement = Placement::first((0..nodes).map(NodeId), shards, replicas).expect("a small cluster");
    for _ in 0..rng.below(4) {
        let (old, new) = (placement.nodes()[0], NodeId(rng.next_u64()));
        let next = [placement.join(new), placement.leave(old), placement.replace(old, new)];
        placement = next[usize::try_from(rng.below(3)).expect("small")].clone().unwrap_or(placement);
    }
    placement.encode()
}
