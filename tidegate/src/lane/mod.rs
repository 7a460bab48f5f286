//! The driver of a lane: wait for input, call the core once per item, carry out its outbox once per turn.
//!
//! One thread, one readiness loop, no lock on the way of a request. After a busy turn the loop polls some times before
//! it blocks: else every client would pay for a wake-up.

mod caches;
pub use caches::{Keys, tell_listening};
mod cluster;
mod conn;
mod desk;
pub use conn::Conn;
mod doubt;
mod guests;
mod idle;
mod leave;
mod locks;
mod memcached;
mod memory;
use memory::follow_memory;
pub use memory::tell_memory;
mod monitor;
mod pause;
pub use pause::{Pause, tell_resumed};
mod peers;
mod publish;
mod room;
mod scripts;
mod serve;
mod slow;
mod waiting;
use caches::Trackers;
use desk::Desk;
pub use desk::{CALLERS_LANE, caller};
use monitor::Monitors;
pub use scripts::STACK_BYTES;
pub use slow::Mark;
use slow::Slow;

use crate::clock;
use crate::journal::Journal;
use crate::keeper::Task;
use crate::log;
use crate::meters::{Turn, nanos};
use crate::neighbours::Neighbours;
use crate::peers::{self as links, Peers};
use crate::shared::{Endpoint, Input, Shared};
use base::{ClientId, Instant, LaneId};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use node::{Lane, Now, Outbox, Writes};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// One lane's thread.
#[derive(Debug)]
pub struct Driver {
    pub id: LaneId,
    pub shared: Arc<Shared>,
    pub journal: Arc<Journal>,
    pub keeper: Sender<Task>,
    pub poll: Poll,
    pub doors: Vec<Door>,
    /// The last accept failed: clients may wait.
    accept_failed: bool,
    pub lane: Lane,
    pub out: Outbox,
    conns: Conns,
    inputs: Vec<Input>,
    buffer: Box<[u8]>,
    /// Connections with output to be written at the end of the turn.
    flush: Vec<usize>,
    /// Connections that have more to do than the last turn's share.
    turns: Vec<usize>,
    snapshotting: bool,
    stopping: bool,
    /// Until when others may take over what this node leads, and until when the last requests may be answered.
    leaving_until: Option<(Instant, Instant)>,
    turn: Turn,
    slow: Slow,
    /// When the writes of a batch began to run, until their replies are delivered.
    ran_from: Option<Instant>,
    sleepers: Vec<Sleeper>,
    /// Connections that CLIENT PAUSE holds back.
    paused: Vec<ClientId>,
    trackers: Trackers,
    monitors: Monitors,
    desk: Desk,
    /// When idle connections were looked for.
    looked_at: Instant,
    /// The links to other nodes, if there are any.
    pub peers: Option<Peers>,
    /// What is known of them, for the cluster endpoint.
    pub neighbours: Option<Neighbours>,
    peers_at: std::time::Instant,
    /// What links brought, empty between turns.
    peer_events: Vec<crate::peers::Event>,
    /// Told once, when every shard of the lane is served.
    pub ready: Option<Sender<()>>,
}

/// A listener for clients.
#[derive(Debug)]
pub struct Door {
    pub endpoint: Endpoint,
    pub listener: TcpListener,
}

/// A connection that DEBUG SLEEP holds back.
#[derive(Debug)]
struct Sleeper {
    since: Instant,
    pause: Duration,
    client: ClientId,
    seq: u64,
}

#[derive(Debug, Default)]
struct Conns {
    places: Vec<Option<Box<Conn>>>,
    free: Vec<usize>,
    generation: u64,
}

pub const WAKER: Token = Token(usize::MAX);
/// The last of the doors' tokens; those of the others stand before it.
const DOORS: Token = Token(usize::MAX - 1);
const FIRST_DOOR: usize = DOORS.0 - 2;
const BUFFER_BYTES: usize = 64 * 1024;
/// Polls without waiting after a busy turn. Not in a cluster: where others wait for the same processors (on one machine, a fifth of a
/// write's CPU with 64 clients), or where the wait is for a network.
const SPINS: u32 = 30;
const PLACE_BITS: u32 = 24;

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "the parts of a lane meet here and nowhere else")]
    pub fn new(
        id: LaneId,
        shared: Arc<Shared>,
        journal: Arc<Journal>,
        keeper: Sender<Task>,
        poll: Poll,
        doors: Vec<Door>,
        lane: Lane,
        out: Outbox,
    ) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self {
            id,
            shared,
            journal,
            keeper,
            poll,
            doors,
            accept_failed: false,
            lane,
            out,
            conns: Conns::default(),
            inputs: Vec::new(),
            buffer,
            flush: Vec::new(),
            turns: Vec::new(),
            snapshotting: false,
            stopping: false,
            leaving_until: None,
            turn: Turn::new(),
            slow: Slow::new(),
            ran_from: None,
            sleepers: Vec::new(),
            paused: Vec::new(),
            trackers: Trackers::default(),
            monitors: Monitors::default(),
            desk: Desk::default(),
            looked_at: clock::boot(),
            peers: None,
            neighbours: None,
            peers_at: std::time::Instant::now(),
            peer_events: Vec::new(),
            ready: None,
        }
    }

    /// Brings the shards of this lane to where they serve reads: the log is applied.
    pub fn settle(&mut self) {
        while !self.lane.ready() {
            self.end_turn(clock::now());
            self.drain_mail();
        }
        self.tell();
    }

    /// Opens the doors to clients.
    pub fn listen(&mut self) -> std::io::Result<()> {
        for (door, token) in self.doors.iter_mut().zip(FIRST_DOOR..=DOORS.0) {
            self.poll.registry().register(&mut door.listener, Token(token), Interest::READABLE)?;
        }
        Ok(())
    }

    /// The loop; returns when the node stops and nothing is owed any more.
    pub fn run(&mut self) {
        let mut events = Events::with_capacity(1024);
        self.journal.begin_lane();
        let mut idle = SPINS;
        self.out.next_deadline = Some(clock::boot());
        follow_memory(&mut self.lane, &self.shared, self.id);
        loop {
            let timeout = self.timeout(idle);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                crate::dev::die(&format!("polling failed: {error}"));
            }
            self.mailbox().sleeping.store(false, Ordering::Relaxed);
            idle = if events.is_empty() { idle.saturating_add(1) } else { 0 };
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(FIRST_DOOR..) => self.accept(),
                    Token(links::TOKENS..) => self.on_peer_ready(event),
                    Token(place) => self.on_ready(place, event),
                }
            }
            self.take_turns();
            self.go_on_with_peers();
            if self.drain_mail() {
                idle = 0;
            }
            let now = self.on_time();
            self.end_turn(now);
            if self.ready.is_some() && self.lane.ready() {
                self.tell_ready();
            }
            self.go_on_leaving(now);
            if self.stopping && (self.owes_nothing() || self.out_of_time(now)) {
                return;
            }
        }
    }

    fn spins(&self) -> u32 {
        if self.peers.is_some() { 0 } else { SPINS }
    }

    fn timeout(&self, idle: u32) -> Option<Duration> {
        let more = self.peers.as_ref().is_some_and(Peers::has_more);
        if idle < self.spins() || self.snapshotting || more || !self.flush.is_empty() || !self.turns.is_empty() {
            return Some(Duration::ZERO);
        }
        let mailbox = self.mailbox();
        mailbox.sleeping.store(true, Ordering::SeqCst);
        if mailbox.has_mail() {
            return Some(Duration::ZERO);
        }
        let sleeper = self.sleepers.iter().map(Sleeper::due).min();
        let deadline = self.out.next_deadline.into_iter().chain(sleeper).chain(self.pause_ends()).min();
        let core = deadline.map(|at| Duration::from_nanos(at.since_ns(clock::boot())));
        let peers = self.peers.as_ref().map(|_| self.peers_at.saturating_duration_since(std::time::Instant::now()));
        core.into_iter().chain(peers).min()
    }

    /// What is due now; when that was.
    fn on_time(&mut self) -> Now {
        let now = clock::now();
        if self.out.next_deadline.is_some_and(|at| at <= now.boot) {
            if self.accept_failed {
                self.accept();
            }
            self.lane.set_script_times(self.shared.settings.script_times());
            self.lane.set_full(self.shared.disk_full.load(Ordering::Relaxed) && !self.lane.is_alone());
            self.lane.on_timer(now, &mut self.out);
            self.tell();
            self.look_at_idle(now.boot);
        }
        if !self.sleepers.is_empty() {
            self.wake_sleepers(now.boot);
        }
        self.look_at_paused(now.boot);
        self.on_peer_time();
        if self.snapshotting {
            let waiting = self.mailbox().snapshot_backlog.waiting();
            self.snapshotting = self.lane.snapshot_slice(waiting, &mut self.out);
        }
        now
    }

    /// Carries out the outbox until nothing new comes of it, then writes to the clients.
    fn end_turn(&mut self, mut now: Now) {
        loop {
            self.lane.on_turn_end(now, &mut self.out);
            while scripts::run_brisk(&mut self.lane, &mut self.out, &self.shared) {
                now = clock::now();
                self.lane.on_turn_end(now, &mut self.out);
            }
            scripts::run_patient(self.id, &mut self.out, &self.shared);
            let ran_ns = self.ran_from.take().map(|from| now.boot.since_ns(from));
            self.deliver(ran_ns);
            self.deliver_messages();
            self.send_all();
            self.send_to_peers();
            self.tell_again();
            self.tell_heard();
            for step in std::mem::take(&mut self.out.snapshots) {
                self.hand_to_keeper(step);
            }
            self.look_at_events();
            self.look_at_locks();
            if let Some(roster) = self.out.roster.take() {
                self.on_roster(roster);
            }
            self.redraw_map(now);
            if !self.out.garbage.is_empty() {
                let garbage = std::mem::take(&mut self.out.garbage);
                self.ask_keeper(Task::Drop(garbage));
            }
            let writes = self.out.take_writes();
            if writes.is_empty() {
                break;
            }
            self.persist(writes);
            now = clock::now();
        }
        self.share_memory();
        self.turn.end(now.boot, &self.shared.meters.lanes[usize::from(self.id.0)]);
        self.tell_lines();
        self.bound_caches();
        self.flush_all(now.boot);
    }

    /// Gives the turn's messages to the other lanes, those of one lane together.
    fn send_all(&mut self) {
        let mut sends = std::mem::take(&mut self.out.sends);
        while let Some((lane, _)) = sends.first() {
            let lane = *lane;
            let mine = sends.extract_if(.., |(to, _)| *to == lane).map(|(_, message)| Input::Lane(message));
            self.shared.mailboxes[usize::from(lane.0)].put_all(mine);
        }
        self.out.sends = sends;
    }

    fn persist(&mut self, writes: Writes) {
        match self.journal.inline(writes) {
            Ok(released) => {
                let now = clock::now();
                self.ran_from = Some(now.boot);
                self.lane.on_released(now, released, &mut self.out);
            }
            Err(writes) => self.journal.submit(usize::from(self.id.0), writes),
        }
    }

    /// Every shard of the lane is served: whoever started it may say so.
    fn tell_ready(&mut self) {
        self.tell();
        if self.ready.take().is_some_and(|ready| ready.send(()).is_err()) {
            log::debug("lane", "nobody waits for the lane to be ready", &[]);
        }
    }

    fn drain_mail(&mut self) -> bool {
        let mut inputs = std::mem::take(&mut self.inputs);
        self.mailbox().take(&mut inputs);
        let any = !inputs.is_empty();
        let now = if any { clock::now() } else { Now::default() };
        for input in inputs.drain(..) {
            match input {
                Input::Accepted(endpoint, stream) => self.admit(endpoint, stream),
                Input::Lane(message) => {
                    self.lane.on_lane_message(now, message, &mut self.out);
                    self.deliver_messages();
                }
                Input::Persisted(released) => {
                    self.ran_from = Some(now.boot);
                    self.lane.on_released(now, released, &mut self.out);
                }
                Input::LockCall { caller, ask, answer } => self.call_lock(now, caller, ask, answer),
                Input::LockCallerGone(caller) => self.forget_caller(now, caller),
                Input::Tokens(first) => self.lane.on_tokens(first, &mut self.out),
                Input::Snapshot { shard, news } => self.lane.on_snapshot_news(now, shard, news, &mut self.out),
                Input::BeginSnapshots => {
                    if self.lane.begin_snapshots(&mut self.out) == 0 && !self.snapshotting {
                        self.ask_keeper(Task::NothingToSave);
                    }
                    self.snapshotting = true;
                }
                Input::Batch(batch) => {
                    self.lane.on_batch(now, *batch, &mut self.out);
                    // One that was being cut may go on.
                    self.snapshotting = true;
                }
                Input::Kill(client) => self.kill(client),
                Input::Unblock { client, how, asker } => self.unblock(now, client, how, asker),
                Input::Answer { client, seq, reply } => self.out.replies.push((client, seq, reply)),
                Input::Heard(heard) => self.on_heard(&heard),
                Input::Invalidate { client, keys } => self.take_invalidation(client, &keys),
                Input::Listen => self.follow_listening(),
                Input::Memory => follow_memory(&mut self.lane, &self.shared, self.id),
                Input::Lines(lines) => self.on_lines(&lines),
                // The paused are looked at each time.
                Input::Resumed => {}
                Input::Stop => self.begin_leaving(now),
            }
        }
        self.inputs = inputs;
        any
    }

    fn hand_to_keeper(&mut self, step: node::SnapshotStep) {
        // The core begins one by itself for a peer that needs it.
        self.snapshotting |= matches!(step, node::SnapshotStep::Begin { .. });
        if let node::SnapshotStep::Piece { bytes, copied, .. } = &step {
            self.mailbox().snapshot_backlog.gave(bytes.len(), *copied);
        }
        self.ask_keeper(Task::Snapshot { lane: self.id, step });
    }

    fn ask_keeper(&self, task: Task) {
        if self.keeper.send(task).is_err() {
            crate::dev::die("the keeper thread has ended");
        }
    }

    fn look_at_events(&mut self) {
        let mut misbehaved = Vec::new();
        for event in self.out.events.drain(..) {
            match event {
                node::Event::PeerMisbehaved { peer, what } => misbehaved.push((peer, what)),
                node::Event::BadEntry { shard, index } => crate::dev::die(&format!(
                    "shard {shard} can't read its log entry {index}: it was written by another version or is damaged; \
                     start the version that wrote it"
                )),
                node::Event::SnapshotSent { shard, to, index } => {
                    let to = format!("{:016x}", to.0);
                    let fields: log::Fields<'_> = &[("shard", &shard), ("index", &index), ("to", &to)];
                    log::info("lane", "a node lacks entries that are gone: it is sent a snapshot", fields);
                }
                node::Event::ClockOff { behind_ms: 0 } => {
                    log::info("node", "this node's clock agrees with the others' again", &[]);
                }
                node::Event::ClockOff { behind_ms } => {
                    let what = "this node's clock is wrong: it goes by the others'; set it right";
                    log::warn("node", what, &[("behind_ms", &behind_ms)]);
                }
                node::Event::SnapshotInstalled { shard, index } => {
                    let fields: log::Fields<'_> = &[("shard", &shard), ("index", &index)];
                    log::info("lane", "the state of a shard was replaced by a snapshot of its leader", fields);
                }
                node::Event::LocksReady { epoch } => {
                    log::info("lane", "this node votes on locks", &[("epoch", &epoch.0)]);
                }
                node::Event::Elected { shard, term } => {
                    log::info("lane", "this node leads a shard", &[("shard", &shard), ("term", &term)]);
                }
                node::Event::Deposed { shard, term } => {
                    log::info("lane", "this node leads a shard no more", &[("shard", &shard), ("term", &term)]);
                }
                node::Event::Evicted { keys, .. } => {
                    self.shared.meters.lanes[usize::from(self.id.0)].evicted.add(keys as u64);
                }
                node::Event::Regrouped { .. } => self.neighbours.iter_mut().for_each(Neighbours::outdate),
                _ => {}
            }
        }
        for (peer, what) in misbehaved {
            self.on_misbehaved(peer, what);
        }
    }

    fn accept(&mut self) {
        for at in 0..self.doors.len() {
            self.accept_at(at);
        }
    }

    fn accept_at(&mut self, at: usize) {
        let Door { endpoint, listener } = &self.doors[at];
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let boxes = &self.shared.mailboxes;
                    let open: usize = boxes.iter().map(|one| one.clients.load(Ordering::Relaxed)).sum();
                    if open as u64 >= self.shared.settings.clients_max() {
                        self.refuse(*endpoint, stream);
                        continue;
                    }
                    let fewest =
                        (0..boxes.len()).min_by_key(|at| boxes[*at].clients.load(Ordering::Relaxed)).unwrap_or(0);
                    boxes[fewest].clients.fetch_add(1, Ordering::Relaxed);
                    boxes[fewest].put(Input::Accepted(*endpoint, TcpStream::from(stream)));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.accept_failed = false;
                    return;
                }
                Err(error) => {
                    // The poll tells of new clients alone: those that wait are asked for again at the next tick.
                    if !std::mem::replace(&mut self.accept_failed, true) {
                        log::error("lane", "connections can't be accepted: they wait", &[("error", &error)]);
                    }
                    return;
                }
            }
        }
    }

    /// Tells a client in one word that there are too many, and closes.
    fn refuse(&self, endpoint: Endpoint, mut stream: mio::net::TcpStream) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
        log::debug("lane", "a connection was refused: there are maxclients", &[]);
        // It fits the buffer of a fresh socket; if not, the end of the connection says it too.
        let word: &[u8] = match endpoint {
            Endpoint::Memcached => b"ERROR Too many open connections\r\n",
            Endpoint::Routing | Endpoint::Cluster => b"-ERR max number of clients reached\r\n",
        };
        let _ = stream.write(word);
    }

    /// Tells the other threads how the lane's shards stand; they may know it somewhat late.
    fn tell(&self) {
        let (mut sums, mut bytes, mut used) = ([(0, 0); 16], 0, 0);
        for (_, keyspace) in self.lane.keyspaces() {
            bytes += keyspace.bytes() as u64;
            used += keyspace.used_bytes() as u64;
            for (db, sum) in (0u8..).zip(&mut sums) {
                sum.0 += keyspace.len(db);
                sum.1 += keyspace.expiring(db);
            }
        }
        self.tell_locks();
        self.meters().keyspace_bytes.set(bytes);
        self.meters().used_bytes.set(used);
        crate::shared::lock(&self.shared.keys)[usize::from(self.id.0)] = sums;
        crate::shared::lock(&self.shared.shards).extend(self.lane.statuses());
    }

    fn mailbox(&self) -> &crate::shared::Mailbox {
        &self.shared.mailboxes[usize::from(self.id.0)]
    }

    fn owes_nothing(&self) -> bool {
        self.out.raft.writes.is_empty()
            && self.out.registers.is_empty()
            && self.conns.iter().all(|conn| conn.pending() == 0)
    }
}

impl Sleeper {
    fn due(&self) -> Instant {
        Instant(self.since.0.saturating_add(nanos(self.pause)))
    }
}

impl Conns {
    fn insert(&mut self, make: impl FnOnce(ClientId) -> Conn) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.generation += 1;
        let handle = ClientId((self.generation << PLACE_BITS) | place as u64);
        self.places[place] = Some(Box::new(make(handle)));
        place
    }

    fn get(&self, place: usize) -> Option<&Conn> {
        self.places.get(place)?.as_deref()
    }

    fn get_mut(&mut self, place: usize) -> Option<&mut Conn> {
        self.places.get_mut(place)?.as_deref_mut()
    }

    /// The place of a client, if it is still the same client.
    fn place_of(&self, client: ClientId) -> Option<usize> {
        let place = usize::try_from(client.0 & ((1 << PLACE_BITS) - 1)).ok()?;
        self.places.get(place)?.as_ref().filter(|conn| conn.handle == client).map(|_| place)
    }

    fn remove(&mut self, place: usize) -> Option<Box<Conn>> {
        let conn = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(conn)
    }

    fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.places.iter().filter_map(|place| place.as_deref())
    }
}
