//! Serving clients of memcached: the same core, behind another session.

use super::Driver;
use super::serve::{Core, TURN_COST};
use crate::clock;
use crate::lane::Conn;
use crate::shared::Shared;
use data::keyspace::NEAR_MAX;
use edge::cluster::Place;
use edge::memcached::session::{Call, Step};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;

impl Driver {
    /// Serves complete requests at the front of `bytes`, up to a turn's share; how many bytes they took.
    pub(super) fn serve_memcached(&mut self, place: usize, bytes: &[u8]) -> usize {
        let (mut core, conns, flush) = self.core(clock::now());
        let Some(conn) = conns.get_mut(place) else { return bytes.len() };
        let (mut used, mut left) = (0, TURN_COST);
        conn.need_bytes = 0;
        while used < bytes.len() && left > 0 && conn.may_go_on() && !core.holds_back(conn, &bytes[used..]) {
            let Some(session) = &mut conn.memcached else { break };
            let mut taken = 0;
            let step = session.step(&bytes[used..], &mut taken, &mut conn.out);
            used += taken;
            left = left.saturating_sub(1);
            match step {
                Step::Requests(calls) => {
                    left = left.saturating_sub(COST * calls.len());
                    core.requests_of_memcached(conn, &calls);
                }
                Step::Stats { seq } => {
                    let stats = stats(core.shared);
                    session.on_stats(seq, &stats, &mut conn.out);
                }
                Step::Answered => {}
                Step::NeedMore { need_at_least } => {
                    conn.need_bytes = need_at_least;
                    break;
                }
                Step::Close => conn.closing = true,
            }
        }
        if !conn.waiting.is_empty() {
            conn.note_vitals(core.now.boot);
        }
        if conn.closing {
            used = bytes.len();
        }
        if !conn.out.is_empty() || conn.closing {
            conn.queue_flush(place, flush);
        }
        used
    }
}

/// What a command costs of a turn's share.
const COST: usize = 2;

impl Core<'_> {
    fn requests_of_memcached(&mut self, conn: &mut Conn, calls: &[Call<'_>]) {
        for some in calls.chunks(NEAR_MAX) {
            if some.len() > 1 {
                let keys = some.iter().filter_map(|call| call.part.args.get(1));
                self.lane.bring_near(keys.map(|key| (DATABASE, &**key)));
            }
            for call in some {
                self.request_of_memcached(conn, call);
            }
        }
    }

    fn request_of_memcached(&mut self, conn: &mut Conn, call: &Call<'_>) {
        let (command, seq, joins) = (call.part.command, call.seq, call.joins);
        let args: SmallVec<[&[u8]; 8]> = call.part.args.iter().map(|arg| &**arg).collect();
        if self.no_room(command, &args) {
            return self.refuse_full(conn, command, seq);
        }
        self.request(
            conn,
            &edge::Call { seq, db: DATABASE, joins, noted: false, command, args, place: Place::Leader, under: None },
        );
    }
}

/// The database that clients of memcached see.
const DATABASE: u8 = 0;

/// What `stats` tells: what clients and their tools look for, as far as it means something here.
fn stats(shared: &Shared) -> Vec<(&'static str, String)> {
    let clients: usize = shared.mailboxes.iter().map(|one| one.clients.load(Ordering::Relaxed)).sum();
    let keys = shared.keys_by_db().first().map_or(0, |(_, (keys, _))| *keys);
    vec![
        ("pid", std::process::id().to_string()),
        ("uptime", shared.started.elapsed().as_secs().to_string()),
        ("time", (clock::wall_ms() / 1000).to_string()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("pointer_size", usize::BITS.to_string()),
        ("curr_connections", clients.to_string()),
        ("total_connections", shared.accepted.load(Ordering::Relaxed).to_string()),
        ("threads", shared.mailboxes.len().to_string()),
        ("curr_items", keys.to_string()),
        ("bytes", shared.keyspace_bytes().to_string()),
    ]
}
