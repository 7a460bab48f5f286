//! Clients of locks: they ask, hold, renew, give back, are paused, vanish, and ask again when they don't know.

use super::ledger::Request;
use super::machine::Clock;
use super::{Happening, MS, World};
use base::NodeId;
use base::mutation::{self, Mutation};
use base::rng::Rng;
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Outcome, Waiter};

#[derive(Debug)]
pub(super) struct Client {
    owner: Bytes,
    clock: Clock,
    /// Counts what it does, so that what was planned before counts no more.
    turn: u64,
    doing: Doing,
    /// A token that it lost or gave back.
    old: Option<(Bytes, u64)>,
}

#[derive(Debug)]
enum Doing {
    Nothing,
    Asking(Box<Asking>),
    Holding(Held),
}

#[derive(Debug)]
struct Asking {
    ask: u64,
    node: NodeId,
    /// By which the plane knows it.
    number: u64,
    request: Request,
    sent: u64,
    /// What it holds meanwhile.
    held: Option<Held>,
}

/// A grant that a client has.
#[derive(Clone, Debug)]
struct Held {
    name: Bytes,
    token: u64,
    claim: Claim,
    ttl_ms: u64,
    /// When its lease ends in true time.
    until: u64,
}

impl Client {
    pub(super) fn new(id: u64, rng: &mut Rng) -> Self {
        // Some have the name of another's owner: one process that was restarted beside its paused twin.
        let owner = Bytes::from(format!("owner-{}", id / 2));
        Self { owner, clock: Clock::new(rng), turn: 0, doing: Doing::Nothing, old: None }
    }
}

impl World {
    /// Clients whose requests aren't answered.
    pub(super) fn clients_that_wait(&self) -> Vec<String> {
        let asking = |client: &Client| match &client.doing {
            Doing::Asking(asking) => Some(format!("{asking:?}")),
            Doing::Nothing | Doing::Holding(_) => None,
        };
        self.clients.values().filter_map(asking).collect()
    }
}

/// Askers from here on are no clients.
pub(super) const LAST_WORDS: u64 = 1 << 40;

impl World {
    fn client(&mut self, id: u64) -> &mut Client {
        self.clients.get_mut(&id).expect("clients never leave the world")
    }

    /// The client does something after a while.
    fn later(&mut self, id: u64, delay: u64) {
        let client = self.client(id);
        client.turn += 1;
        let turn = client.turn;
        self.plan(delay, Happening::Client(id, turn));
    }

    pub(super) fn client_acts(&mut self, id: u64, turn: u64) {
        if self.client(id).turn != turn {
            return;
        }
        match std::mem::replace(&mut self.client(id).doing, Doing::Nothing) {
            Doing::Nothing if self.healed => {}
            Doing::Nothing => self.begin_something(id),
            Doing::Asking(asking) => self.leave(id, *asking),
            Doing::Holding(held) if self.healed => self.ledger.let_go(&held.name, held.token),
            Doing::Holding(held) => self.use_lock(id, held),
        }
    }

    fn begin_something(&mut self, id: u64) {
        let old = self.client(id).old.clone();
        let name = self.any_name();
        match (self.rng.below(12), old) {
            (0, _) => self.ask(id, name, Command::Info, None),
            (1, Some((name, token))) => {
                let owner = self.client(id).owner.clone();
                self.ask(id, name, Command::Renew { owner, token, ttl_ms: 200 }, None);
            }
            (2, Some((name, token))) => {
                let owner = self.client(id).owner.clone();
                self.ledger.let_go(&name, token);
                self.ask(id, name, Command::Release { owner, token }, None);
            }
            _ => {
                let acquire = self.acquire(id, &name);
                self.ask(id, name, Command::Acquire(acquire), None);
            }
        }
    }

    fn any_name(&mut self) -> Bytes {
        let which = self.rng.below(self.mood.names);
        Bytes::from_static(
            [&b"exclusive"[..], b"shared", b"permits", b"another"][usize::try_from(which).expect("four")],
        )
    }

    fn acquire(&mut self, id: u64, name: &Bytes) -> Acquire {
        let claim = match &name[..] {
            b"shared" if self.rng.one_in(2) => Claim::Shared,
            b"permits" => Claim::Permits { count: 1 + u32::try_from(self.rng.below(2)).expect("small"), of: 3 },
            _ => Claim::Exclusive,
        };
        let ttl_ms = 10 + self.rng.below(self.mood.ttl_ms_max);
        let wait_ms = if self.rng.one_in(2) { self.rng.below(2_000) } else { 0 };
        // Ids are of one client: its twin has others.
        let request = if self.rng.one_in(2) { format!("{id}-{}", self.next_ask) } else { String::new() };
        Acquire { owner: self.client(id).owner.clone(), ttl_ms, wait_ms, claim, token: None, id: Bytes::from(request) }
    }

    fn ask(&mut self, id: u64, name: Bytes, command: Command, held: Option<Held>) {
        let request = self.ledger.begin(self.now, id, name, command);
        self.ask_for(id, request, held);
    }

    fn ask_for(&mut self, id: u64, request: Request, held: Option<Held>) {
        let node = self.any_node();
        self.next_ask += 1;
        let (ask, sent) = (self.next_ask, self.now);
        let (name, command) = (request.name.clone(), request.command.clone());
        let asking = Asking { ask, node, number: 0, request, sent, held };
        self.client(id).doing = Doing::Asking(Box::new(asking));
        if self.machine(node).is_up() {
            let mut number = 0;
            self.input(node, |plane, now, out| number = plane.on_request(now, Waiter(ask), name, command, out));
            if let Doing::Asking(asking) = &mut self.client(id).doing {
                asking.number = number;
            }
        } else {
            // The connection is refused, or hangs and is given up.
            let delay = self.rng.below(20 * MS);
            self.plan(delay, Happening::Told(id, ask, Outcome::NoQuorum));
        }
        if self.rng.one_in(20) {
            let delay = self.rng.below(300 * MS);
            self.later(id, delay);
        }
    }

    /// A node's answer goes out to whoever asked.
    pub(super) fn reply(&mut self, waiter: Waiter, outcome: Outcome, delay: u64) {
        if waiter.0 >= LAST_WORDS {
            self.last_words.insert(waiter.0, outcome);
            return;
        }
        let asks = |client: &Client| matches!(&client.doing, Doing::Asking(asking) if asking.ask == waiter.0);
        let id = self.clients.iter().find(|(_, client)| asks(client)).map(|(id, _)| *id);
        if let Some(id) = id {
            self.plan(delay, Happening::Told(id, waiter.0, outcome));
        }
    }

    /// Clients of a node that went down don't know what came of their requests.
    pub(super) fn break_connections(&mut self, node: NodeId) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        for id in ids {
            if let Doing::Asking(asking) = &self.client(id).doing
                && asking.node == node
            {
                let ask = asking.ask;
                self.plan(MS, Happening::Told(id, ask, Outcome::Unknown));
            }
        }
    }

    /// The client goes away while it asks.
    fn leave(&mut self, id: u64, asking: Asking) {
        self.count("client gone");
        self.input(asking.node, |plane, now, out| plane.on_cancel(now, asking.number, out));
        match asking.held {
            // Its connection is gone, not the lock.
            Some(held) if self.mood.bold && held.until > self.now => self.client(id).doing = Doing::Holding(held),
            Some(held) => self.ledger.let_go(&held.name, held.token),
            None => {}
        }
        self.later(id, 5 * MS);
    }

    pub(super) fn client_is_told(&mut self, id: u64, ask: u64, outcome: Outcome) {
        if !matches!(&self.client(id).doing, Doing::Asking(asking) if asking.ask == ask) {
            return;
        }
        let Doing::Asking(asking) = std::mem::replace(&mut self.client(id).doing, Doing::Nothing) else { return };
        let Asking { request, sent, held, .. } = *asking;
        let from = if mutation::on(Mutation::LeaseCountsFromAnswer) { self.now } else { sent };
        let lease_ms = match &outcome {
            Outcome::Granted { remaining_ms, .. } | Outcome::Renewed { remaining_ms } => *remaining_ms,
            _ => 0,
        };
        let hasty = mutation::on(Mutation::WaitedGrantTakenForLease);
        let until = match (&outcome, &request.command) {
            (Outcome::Granted { remaining_ms: 0, .. }, Command::Acquire(acquire)) if hasty => {
                self.now + self.client(id).clock.takes(acquire.ttl_ms * MS)
            }
            // It is only curious.
            (_, Command::Renew { token, .. }) if self.ledger.gave_up(&request.name, *token) => 0,
            _ if lease_ms > 0 => from + self.client(id).clock.takes(lease_ms * MS),
            _ => 0,
        };
        self.ledger.end(self.now, &request, &outcome, if until > self.now { until } else { 0 });
        self.count(name_of(&outcome));
        let think = self.rng.below(self.mood.think_ns_max);
        match (&outcome, &request.command) {
            (Outcome::Granted { token, remaining_ms, .. }, Command::Acquire(acquire)) => {
                let (name, claim, ttl_ms) = (request.name.clone(), acquire.claim, acquire.ttl_ms);
                let held = Held { name, token: *token, claim, ttl_ms, until };
                if *remaining_ms == 0 && !hasty {
                    self.count("granted after waiting");
                    return self.renew(id, held);
                }
                self.client(id).doing = Doing::Holding(held);
            }
            (Outcome::Unknown, Command::Acquire(acquire)) if !acquire.id.is_empty() && self.rng.one_in(2) => {
                self.count("retried by id");
                let again = self.ledger.begin_again(self.now, request);
                return self.ask_for(id, again, None);
            }
            (Outcome::Renewed { .. }, Command::Renew { token, .. }) => match held {
                Some(held) => self.client(id).doing = Doing::Holding(Held { until, ..held }),
                None => self.ledger.let_go(&request.name, *token),
            },
            (Outcome::Lost, _) => {
                if let Some(held) = held {
                    self.ledger.let_go(&held.name, held.token);
                }
            }
            _ => {
                if let Some(held) = held.filter(|held| held.until > self.now) {
                    self.client(id).doing = Doing::Holding(held);
                }
            }
        }
        self.later(id, think);
    }

    fn renew(&mut self, id: u64, held: Held) {
        let owner = self.client(id).owner.clone();
        let ttl_ms = if self.mood.bold { 10 + self.rng.below(self.mood.ttl_ms_max) } else { held.ttl_ms };
        let command = if self.mood.bold && self.rng.one_in(8) {
            self.count("fence raised");
            Command::Raise { owner, token: held.token, above: held.token + self.rng.below(20) }
        } else if self.rng.one_in(5) {
            let (claim, token) = (held.claim, Some(held.token));
            let has_id = !self.mood.bold || self.rng.one_in(2);
            let request = Bytes::from(if has_id { format!("again-{id}-{}", self.next_ask) } else { String::new() });
            Command::Acquire(Acquire { owner, ttl_ms, wait_ms: 0, claim, token, id: request })
        } else {
            Command::Renew { owner, token: held.token, ttl_ms }
        };
        self.ask(id, held.name.clone(), command, Some(held));
    }

    /// One who holds a lock does something with it.
    fn use_lock(&mut self, id: u64, held: Held) {
        let owner = self.client(id).owner.clone();
        match self.rng.below(10) {
            0..=3 => self.renew(id, held),
            4 | 5 => {
                self.write(&held);
                let think = self.rng.below(self.mood.think_ns_max);
                self.client(id).doing = Doing::Holding(held);
                self.later(id, think);
            }
            6 => {
                // It sleeps, and goes on as if nothing had been.
                self.count("client paused past its lease");
                let sleep = held.ttl_ms * MS * (1 + self.rng.below(3));
                self.client(id).doing = Doing::Holding(held);
                self.later(id, sleep);
            }
            7 => {
                self.count("holder died");
                self.ledger.let_go(&held.name, held.token);
                self.client(id).old = Some((held.name, held.token));
                self.later(id, 5 * MS);
            }
            _ => {
                self.write(&held);
                self.ledger.let_go(&held.name, held.token);
                self.client(id).old = Some((held.name.clone(), held.token));
                self.ask(id, held.name, Command::Release { owner, token: held.token }, None);
            }
        }
    }

    /// A fenced write, late or not: the store decides.
    fn write(&mut self, held: &Held) {
        if held.claim == Claim::Exclusive {
            let taken = self.ledger.no_stale_write_is_stored(&held.name, held.token);
            self.count(if taken { "fenced write taken" } else { "fenced write refused" });
        }
    }
}

fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Granted { .. } => "acquired",
        Outcome::Renewed { .. } => "renewed",
        Outcome::Released => "released",
        Outcome::Refused => "refused",
        Outcome::Lost => "lost",
        Outcome::Unknown => "unknown",
        Outcome::NoQuorum => "no quorum",
        Outcome::Overloaded => "overloaded",
        Outcome::Info(_) => "info",
        Outcome::Invalid(_) => "invalid",
    }
}
