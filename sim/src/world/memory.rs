//! A machine whose memory runs out: what it may use, and when keys may go for it.

use super::World;
use base::rng::Rng;
use base::{Index, Stamp};
use data::keyspace::{Among, Noted, Order, Ttl};
use data::{Context, Keyspace, Reply, Run, command};
use node::{Elsewhere, Memory};

/// One run in four has a limit that some values fit and others don't. Of a seed of its own: runs that are known for what they
/// found draw what they drew. Any key may go: where none may, writes are refused, which the tests of core/node show.
pub(super) fn drawn(seed: u64, shards: u16) -> Memory {
    let mut rng = Rng::new(!seed);
    let orders = [Order::Stale, Order::Stale, Order::Random];
    let order = orders[usize::try_from(rng.below(3)).expect("small")];
    let often = Noted::Frequency { log_factor: 1, decay_minutes: u32::try_from(rng.below(2)).expect("small") };
    let noted = if rng.one_in(2) { Noted::Recency } else { often };
    // Leases can't go, and tables keep their room: with less, writes would be refused.
    let room = 20_000 + rng.below(30_000);
    let bytes_max = if rng.one_in(4) { least_bytes() * u64::from(shards) + room } else { 0 };
    Memory { bytes_max, evicts: Some((Among::All, order)), samples: 3, noted }
}

/// What a shard uses with hardly anything in its databases.
fn least_bytes() -> u64 {
    let mut keyspace = Keyspace::new((0, 0));
    keyspace.advance(Stamp(1), Index(1));
    for db in 0..crate::workload::DATABASES {
        let cx = Context::new(db, Stamp(1));
        keyspace.set_string(&cx, b"k", b"v", Ttl::Clear);
        // One key that is being filled, and one of which an old value would be kept.
        let Reply::Array(told) = ask(&mut keyspace, &cx, &[b"getfill", b"f", b"10", b"STALE", b"10"]) else {
            panic!("GETFILL answers a list")
        };
        let Reply::Int(token) = told[2] else { panic!("it gives a token: {told:?}") };
        ask(&mut keyspace, &cx, &[b"fill", b"f", token.to_string().as_bytes(), b"v"]);
        ask(&mut keyspace, &cx, &[b"getfill", b"g", b"10"]);
    }
    keyspace.used_bytes() as u64
}

fn ask(keyspace: &mut Keyspace, cx: &Context, words: &[&[u8]]) -> Reply {
    let row = command::find(words[0]).expect("a command");
    let Run::Write(run) = row.run else { panic!("it may write") };
    run(keyspace, cx, words).expect("it is a call that makes sense")
}

impl World {
    /// Tells a lane of the others, as the binary does each turn.
    pub(super) fn share_memory(&mut self, lane: usize) {
        let others = self.machine.lanes.iter().enumerate().filter(|(at, _)| *at != lane).map(|(_, other)| other);
        let elsewhere = others.fold(Elsewhere::default(), |sum, other| Elsewhere {
            used_bytes: sum.used_bytes + other.used_bytes(),
            has_victims: sum.has_victims || other.has_victims(),
        });
        self.machine.lanes[lane].set_elsewhere(elsewhere);
    }

    /// An entry that takes keys out was proposed, and nothing was applied since.
    pub(super) fn keys_go_only_when_there_is_too_much(&mut self) {
        let used: u64 = self.machine.lanes.iter().map(node::Lane::used_bytes).sum();
        let most = self.machine.shape.memory.bytes_max;
        assert!(most > 0 && used > most, "keys_go_only_when_there_is_too_much: {used} of {most} bytes are used");
        self.tally.event("evictions proposed");
    }
}
