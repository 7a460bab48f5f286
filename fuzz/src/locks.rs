//! A plane of locks under messages that no plane sent, and registers' records that none wrote: what isn't judged bad is taken without a
//! panic, and what must hold in every state holds.

use base::codec::Reader;
use base::rng::Rng;
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Config, Holder, Lock, Outbox, Outcome, Plane, Tuning, Waiter};
use consensus::register::{self, Ballot, Parcel, Report, Table, View};
use std::sync::Arc;

const ME: NodeId = NodeId(1);
const PEERS: [NodeId; 2] = [NodeId(2), NodeId(3)];
const MS: u64 = 1_000_000;

/// Records for a table, if the first byte is odd; else messages for a plane.
pub fn locks(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let mut table = Table::default();
    if first % 2 == 1 {
        if table.replay(rest).is_ok() {
            let (part, _) = table.part(None, usize::MAX);
            Table::default().replay(&part).expect("what a table says can be read");
        }
        return;
    }
    let voters = vec![ME, PEERS[0], PEERS[1]];
    let view = View::new(Epoch(1), voters.clone(), None).expect("three voters");
    let config = Config { me: ME, incarnation: 4, generation: 0, view, seed: 1, tuning: Tuning::default() };
    let mut stage = Stage { plane: Plane::new(&config, table, Instant(0)), out: Outbox::default(), now: Instant(MS) };
    stage.plane.start(stage.now, &mut stage.out);
    stage.carry_out();
    stage.ask(b"lock");
    let mut reader = Reader::new(rest);
    let mut count = 0;
    while let Ok(parcel) = Parcel::decode(&mut reader, PEERS[count % 2], ME) {
        count += 1;
        if stage.plane.judge(&parcel).is_ok() {
            stage.plane.on_message(stage.now, parcel, &mut stage.out);
        }
        stage.carry_out();
        match count % 8 {
            3 => stage.ask(b"kcol"),
            5 => stage.plane.on_peer_lost(stage.now, PEERS[0], &mut stage.out),
            6 => stage.plane.on_peer_up(stage.now, PEERS[0], &mut stage.out),
            7 => stage.pass_ms(60),
            _ => {}
        }
    }
    let next = View::new(Epoch(2), vec![ME, PEERS[1]], Some((Epoch(1), voters))).expect("two voters");
    stage.plane.on_view(stage.now, next, &mut stage.out);
    stage.pass_ms(5_000);
}

struct Stage {
    plane: Plane,
    out: Outbox,
    now: Instant,
}

impl Stage {
    fn ask(&mut self, name: &'static [u8]) {
        let acquire = Acquire {
            owner: "me".into(),
            ttl_ms: 50,
            wait_ms: 20,
            claim: Claim::Exclusive,
            token: None,
            id: Bytes::new(),
        };
        let name = Bytes::from_static(name);
        self.plane.on_request(self.now, Waiter(1), name, Command::Acquire(acquire), &mut self.out);
        self.carry_out();
    }

    fn pass_ms(&mut self, ms: u64) {
        let end = Instant(self.now.0 + ms * MS);
        while self.now < end {
            self.now = Instant(self.now.0 + 5 * MS);
            self.plane.on_timer(self.now, &mut self.out);
            self.carry_out();
        }
    }

    /// The disk is quick, and nobody hears what is sent.
    fn carry_out(&mut self) {
        loop {
            let writes = std::mem::take(&mut self.out.writes);
            let Some(last) = writes.last().map(|write| write.serial) else { break };
            let own = writes.into_iter().flat_map(|write| write.then).filter(|parcel| parcel.to == ME);
            for parcel in own.collect::<Vec<_>>() {
                self.plane.on_message(self.now, parcel, &mut self.out);
            }
            self.plane.on_persisted(self.now, last, &mut self.out);
        }
        self.out = Outbox::default();
        self.plane.validate();
    }
}

/// Records, or messages.
pub fn valid_locks(rng: &mut Rng) -> Vec<u8> {
    let records = rng.one_in(4);
    let mut out = vec![u8::from(records)];
    for _ in 0..1 + rng.below(20) {
        if !records {
            parcel(rng).encode(&mut out);
            continue;
        }
        let (name, epoch) = (name(rng), Epoch(1 + rng.below(3)));
        let ballot = Ballot { epoch, counter: 1 + rng.below(9), node: ME, incarnation: 3 };
        let record = match rng.below(4) {
            0 => register::Record::Sealed { epoch },
            1 => register::Record::Ready { epoch },
            2 => register::Record::Swept { name, epoch },
            _ => register::Record::Cell { name, promised: ballot, accepted: ballot, lock: Arc::default() },
        };
        record.encode(&mut out);
    }
    out
}

fn name(rng: &mut Rng) -> Bytes {
    Bytes::from_static(if rng.one_in(3) { b"kcol" } else { b"lock" })
}

/// A message about a register.
pub fn parcel(rng: &mut Rng) -> Parcel {
    let (name, epoch, serial) = (name(rng), Epoch(1 + rng.below(3)), rng.below(1 << 40));
    let asker = register::Asker { node: NodeId(2), incarnation: 3, number: serial };
    let ballot = Ballot { epoch, counter: 1 + rng.below(1 << 20), node: NodeId(1 + rng.below(3)), incarnation: 3 };
    let holder = Holder {
        owner: Bytes::from_static(b"me"),
        token: 7,
        renewal: 2,
        ttl_ms: 500,
        weight: 1,
        ids: vec![Bytes::from_static(b"id"); 2],
    };
    let lock = Lock { version: 9, fence: 5, token: 7, holders: vec![holder], released: vec![4, 6], ..Lock::default() };
    let lock = Arc::new(lock);
    let report = Report { accepted: ballot, lock: lock.clone(), floor: 3, alive: vec![(7, 450)] };
    let message = match rng.below(8) {
        0 => register::Message::Prepare { name, ballot },
        1 => register::Message::Promise { name, ballot, report },
        2 => register::Message::Accept { name, ballot, lock },
        3 => register::Message::ReadReply { name, serial, report },
        4 => register::Message::Ask { asker, name, command: lock_command(rng) },
        5 => {
            let outcome = Outcome::Granted { token: 7, fence: 5, remaining_ms: 400 };
            register::Message::Answer { asker, name, outcome }
        }
        6 => {
            let cells = vec![register::Scanned { name, accepted: ballot, lock, idle: rng.one_in(2) }];
            register::Message::Part { of: epoch, after: None, cells, floors: vec![(9, 70)], last: true }
        }
        _ => register::Message::Scan { of: epoch, after: Some(name) },
    };
    Parcel { from: NodeId(0), to: NodeId(0), epoch, message }
}

fn lock_command(rng: &mut Rng) -> Command {
    let owner = Bytes::from_static(b"me");
    let claim = if rng.one_in(2) { Claim::Shared } else { Claim::Permits { count: 2, of: 3 } };
    let acquire = Acquire { owner, ttl_ms: 500, wait_ms: 70, claim, token: Some(6), id: Bytes::from_static(b"id") };
    if rng.one_in(3) { Command::Info } else { Command::Acquire(acquire) }
}
