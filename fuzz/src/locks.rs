//! What other nodes say of locks, and what the log says: read or refused, spelled again as it was meant, and never the end of
//! a node that takes it.

use base::codec::Reader;
use base::rng::Rng;
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Config, Holder, Lock, Mode, Outbox, Outcome, Plane, Tuning, Waiter};
use consensus::register::{Asker, Ballot, Idle, Message, Parcel, Record, Report, Scanned, Stand, Table, View};
use std::sync::Arc;

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);

/// Messages from a peer to a plane that is busy with the same names.
pub fn locks(input: &[u8]) {
    let mut reader = Reader::new(input);
    let mut plane = busy_plane();
    let mut now = Instant(1 << 40);
    while !reader.is_empty() {
        let Ok(parcel) = Parcel::decode(&mut reader, PEER, ME) else { return };
        let mut again = Vec::new();
        parcel.encode(&mut again);
        assert_eq!(Parcel::decode(&mut Reader::new(&again), PEER, ME).as_ref(), Ok(&parcel));
        if plane.judge(&parcel).is_ok() {
            now = now.plus_ms(7);
            step(&mut plane, |plane, out| plane.on_message(now, parcel, out));
            step(&mut plane, |plane, out| plane.on_timer(now, out));
        }
    }
}

/// Records of a log, or of a snapshot.
pub fn registers(input: &[u8]) {
    let mut table = Table::default();
    let whole = table.replay(input);
    let (mut copy, mut after) = (Table::default(), None);
    loop {
        let (part, next) = table.part(after.as_ref(), 64);
        copy.replay(&part).expect("what is written can be read");
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(format!("{copy:?}"), format!("{table:?}"));
    if whole.is_ok() {
        drop(Plane::new(&config(), table, Instant(5)));
    }
}

fn config() -> Config {
    let view = View::new(Epoch(3), vec![ME, PEER, NodeId(3)], Some((Epoch(2), vec![ME, PEER]))).expect("few voters");
    Config { me: ME, incarnation: 4, generation: 1, view, seed: 9, tuning: Tuning::default() }
}

fn busy_plane() -> Plane {
    let mut table = Table::default();
    let mut ready = Vec::new();
    Record::Ready { epoch: Epoch(3) }.encode(&mut ready);
    table.replay(&ready).expect("a record");
    let now = Instant(1 << 39);
    let mut plane = Plane::new(&config(), table, now);
    step(&mut plane, |plane, out| plane.start(now, out));
    for (waiter, name) in [&b"a"[..], b"b", b"c"].into_iter().enumerate() {
        let command = Command::Acquire(acquire(1_000));
        let name = Bytes::from_static(name);
        step(&mut plane, |plane, out| {
            plane.on_request(now, Waiter(waiter as u64), name, command, out);
        });
    }
    plane
}

/// An input, a disk that syncs at once, and what follows from it.
fn step(plane: &mut Plane, call: impl FnOnce(&mut Plane, &mut Outbox)) {
    let mut out = Outbox::default();
    call(plane, &mut out);
    while !out.writes.is_empty() {
        for write in std::mem::take(&mut out.writes) {
            let own = write.then.into_iter().filter(|parcel| parcel.to == ME);
            own.for_each(|parcel| plane.on_message(Instant(1 << 40), parcel, &mut out));
            plane.on_persisted(Instant(1 << 40), write.serial, &mut out);
        }
    }
    plane.validate();
}

fn acquire(wait_ms: u64) -> Acquire {
    let owner = Bytes::from_static(b"owner");
    Acquire { owner, ttl_ms: 500, wait_ms, claim: Claim::Permits { count: 1, of: 2 }, token: Some(4), id: Bytes::new() }
}

fn lock(rng: &mut Rng) -> Arc<Lock> {
    let holder = |token| Holder {
        owner: Bytes::from_static(b"owner"),
        token,
        renewal: 3,
        ttl_ms: 400,
        weight: 1,
        since: Ballot { epoch: Epoch(2), counter: 3, node: PEER, incarnation: 1 },
        ids: vec![Bytes::from_static(b"id")],
    };
    let mode = [Mode::Exclusive, Mode::Shared, Mode::Permits { of: 5 }][usize::try_from(rng.below(3)).expect("few")];
    let holders = (1..=rng.below(3)).map(holder).collect();
    Arc::new(Lock { version: 9, fence: 2, token: 7, mode, holders, released: vec![3, 4], line: Vec::new() })
}

fn ballot(rng: &mut Rng, node: NodeId) -> Ballot {
    Ballot { epoch: Epoch(2 + rng.below(2)), counter: 1 + rng.below(9), node, incarnation: 4 }
}

fn report(rng: &mut Rng) -> Report {
    let accepted = if rng.one_in(3) { Ballot::ZERO } else { ballot(rng, PEER) };
    let lock = if accepted == Ballot::ZERO { Arc::default() } else { lock(rng) };
    Report { accepted, lock, floor: rng.below(9), alive: vec![(1, 300)] }
}

/// A few messages of all kinds.
pub fn valid_locks(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.below(8) {
        parcel(rng).encode(&mut out);
    }
    out
}

/// One of them.
pub fn parcel(rng: &mut Rng) -> Parcel {
    Parcel { from: PEER, to: ME, epoch: Epoch(2 + rng.below(2)), message: message(rng) }
}

fn message(rng: &mut Rng) -> Message {
    let name = Bytes::from(vec![b'a' + u8::try_from(rng.below(4)).expect("small")]);
    let asker = Asker { node: if rng.one_in(2) { PEER } else { ME }, incarnation: 4, number: rng.below(5) };
    let serial = (4 << 32) + rng.below(8);
    match rng.below(17) {
        0 => Message::Prepare { name, ballot: ballot(rng, PEER) },
        1 => Message::Promise { name, ballot: ballot(rng, ME), report: report(rng) },
        2 => Message::Accept { name, ballot: ballot(rng, PEER), lock: lock(rng) },
        3 => Message::Accepted { name, ballot: ballot(rng, ME) },
        4 => Message::Refused { name, ballot: ballot(rng, ME), promised: ballot(rng, PEER) },
        5 => Message::Read { name, serial },
        6 => Message::ReadReply { name, serial, report: report(rng) },
        7 => Message::Changed { name, version: 12, lock: lock(rng) },
        8 => Message::Ask { asker, name, command: Command::Acquire(acquire(rng.below(100))) },
        9 => Message::Ask { asker, name, command: Command::Release { owner: Bytes::from_static(b"owner"), token: 1 } },
        10 => Message::Answer { asker, name, outcome: Outcome::Granted { token: 5, fence: 2, remaining_ms: 100 } },
        11 => Message::Cancel { asker, name },
        12 => Message::Scan { of: Epoch(rng.below(4)), after: rng.one_in(2).then_some(name) },
        13 => {
            let free = Arc::new(Lock { holders: Vec::new(), line: Vec::new(), ..(*lock(rng)).clone() });
            let cells = vec![Idle { name, accepted: ballot(rng, PEER), lock: free }];
            Message::Idle { serial: rng.below(4), chosen: rng.one_in(2), cells }
        }
        14 => {
            let stand =
                [Stand::Needs, Stand::Has, Stand::Lacks, Stand::Behind][usize::try_from(rng.below(4)).expect("small")];
            Message::Stands { serial: rng.below(4), promised: ballot(rng, PEER), stands: vec![stand] }
        }
        15 => Message::Forget { promised: ballot(rng, PEER), cells: vec![(name, ballot(rng, PEER))] },
        _ => {
            let cells = vec![Scanned { name, accepted: ballot(rng, PEER), lock: lock(rng), idle: rng.one_in(2) }];
            Message::Part { of: Epoch(2), after: None, cells, floors: vec![(7, 9)], last: rng.one_in(2) }
        }
    }
}

/// A few records.
pub fn valid_registers(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.below(12) {
        let name = Bytes::from(vec![b'a' + u8::try_from(rng.below(6)).expect("small")]);
        let accepted = ballot(rng, PEER);
        let record = match rng.below(10) {
            0 => Record::Sealed { epoch: Epoch(rng.below(4)) },
            1 => Record::Ready { epoch: Epoch(rng.below(4)) },
            2 => Record::Floor { slot: base::Slot(7), floor: rng.below(99) },
            3 => Record::Swept { name, epoch: Epoch(rng.below(4)) },
            4 => Record::Forgotten { name, ballot: accepted },
            5 => Record::Passed { ballot: accepted },
            _ => Record::Cell { name, promised: accepted.next(), accepted, lock: lock(rng) },
        };
        record.encode(&mut out);
    }
    out
}
