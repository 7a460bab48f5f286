//! Clients, the real `core/gateway`, and servers, in virtual time.
//!
//! One request may be tried by its client several times, and each of those tries by the gateway; the world does what `tidegate gateway`
//! does with sockets, and counts everything a second time (`watch`).

use super::load::{Again, Load, Told};
use super::report::Report;
use super::rivals::Rival;
use super::server::{self, Job, Server, Spec};
use super::watch::Watch;
use crate::agenda::Agenda;
use base::Instant;
use base::rng::Rng;
use base::time::NS_PER_MS;
use gateway::{Admit, Attempt, Checked, Class, Config, Endpoint, EndpointId, Endpoints, Flight, Left, Outbox, Outcome};
use gateway::{Event, Pass, Retry, Safety, Service, Shed, Ticket};
use std::collections::BTreeMap;

/// What a world is made of.
#[derive(Debug)]
pub struct Setup {
    pub config: Config,
    pub servers: Vec<Spec>,
    pub load: Load,
    pub ms: u64,
    pub picking: Picking,
    /// Another algorithm in the place of the gateway's own limit.
    pub rival: Option<Box<dyn Rival>>,
    pub changes: Vec<(u64, Change)>,
}

/// Who picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picking {
    Gateway,
    /// Who will answer first, by one who knows all speeds and queues: nothing that has only its own counts can be better.
    ShortestExpectedDelay,
}

/// What happens to servers during a run.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Die(usize),
    Revive(usize),
    Speed(usize, f64),
    Failing(usize, u64),
    /// Takes it out of the snapshot, or puts it back.
    Remove(usize),
    Add(usize),
}

/// A world.
#[derive(Debug)]
pub struct World {
    pub(super) setup: Setup,
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) service: Service,
    servers: Vec<Server>,
    listed: Vec<bool>,
    agenda: Agenda<Step>,
    timer_at: Option<u64>,
    requests: BTreeMap<u64, Request>,
    waiting: BTreeMap<Ticket, u64>,
    serial: u64,
    watch: Watch,
    steps: u64,
    report: Report,
    events: Vec<(u64, Event)>,
}

#[derive(Debug)]
enum Step {
    /// A new request, by the rate of then.
    Arrive,
    Burst(u32),
    /// A client tries again; true if it was told when.
    Again(u64, bool),
    GivesUp(u64, u32),
    /// The gateway tries again, after a pause.
    Retry(u64, u32),
    Fails(u64, u32, Outcome),
    Done {
        server: usize,
        life: u32,
        job: Job,
        took: u64,
    },
    Checked(EndpointId),
    Timer,
    Change(Change),
}

/// A client's request.
#[derive(Debug)]
struct Request {
    class: Class,
    safety: Safety,
    key: u64,
    /// Tries by the client, and the number of what is under way: a thing that was planned for an earlier one is void.
    tries: u32,
    job: u32,
    came: u64,
    deadline: Option<u64>,
    told: bool,
    pass: Option<Pass>,
    flight: Option<(Flight, u64)>,
    tried: Vec<EndpointId>,
    ticket: Option<Ticket>,
}

impl World {
    /// Runs it to its end.
    #[must_use]
    pub fn run(setup: Setup, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let listed = vec![true; setup.servers.len()];
        let endpoints = endpoints(&listed, &setup.config);
        let service = Service::new(Instant(0), setup.config.clone(), endpoints, rng.next_u64());
        let servers = setup.servers.iter().map(|spec| Server::new(*spec)).collect();
        let mut world = Self {
            rng,
            now: 0,
            service,
            servers,
            listed,
            agenda: Agenda::default(),
            timer_at: None,
            requests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            serial: 0,
            watch: Watch::default(),
            steps: 0,
            report: Report::default(),
            events: Vec::new(),
            setup,
        };
        world.watch.on_swap(ids(&world.listed));
        world.plan_all();
        while world.agenda.next_at().is_some_and(|at| at <= world.setup.ms * NS_PER_MS) {
            world.step();
        }
        world.report.meter = world.service.meter(Instant(world.now));
        world
    }

    /// What it was like.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the gateway told, and at which millisecond.
    #[must_use]
    pub fn events(&self) -> &[(u64, Event)] {
        &self.events
    }

    fn plan_all(&mut self) {
        self.agenda.plan(0, Step::Arrive);
        for (ms, count) in self.setup.load.bursts.clone() {
            self.agenda.plan(ms * NS_PER_MS, Step::Burst(count));
        }
        for (ms, change) in self.setup.changes.clone() {
            self.agenda.plan(ms * NS_PER_MS, Step::Change(change));
        }
        self.plan_timer();
    }

    fn step(&mut self) {
        let (at, step) = self.agenda.take_next();
        self.now = at;
        self.steps += 1;
        match step {
            Step::Arrive => self.on_arrive(),
            Step::Burst(count) => (0..count).for_each(|_| self.on_new()),
            Step::Again(id, told) => self.on_try(id, told),
            Step::GivesUp(id, job) => self.on_gives_up(id, job),
            Step::Retry(id, job) => {
                if self.is_current(id, job) {
                    self.fly(id);
                }
            }
            Step::Fails(id, job, outcome) => self.on_fails(id, job, outcome),
            Step::Done { server, life, job, took } => self.on_done(server, life, job, took),
            Step::Checked(id) => self.on_checked(id),
            // One that was planned before a sooner one is void.
            Step::Timer if self.timer_at != Some(at) => {}
            Step::Timer => {
                self.timer_at = None;
                self.call(|service, now, out| service.on_timer(now, out));
            }
            Step::Change(change) => self.on_change(change),
        }
        self.plan_timer();
        self.watch.check_counts(&self.service, &self.setup.config);
        if self.steps.is_multiple_of(CHECK_EACH) {
            self.watch.check(Instant(self.now), &self.service, &self.setup.config);
        }
        let limit = self.service.limit();
        self.report.slot(at).limit = limit;
    }

    fn plan_timer(&mut self) {
        let Some(due) = self.service.next_deadline() else { return };
        let due = due.0.max(self.now);
        if self.timer_at.is_none_or(|planned| due < planned) {
            self.timer_at = Some(due);
            self.agenda.plan(due, Step::Timer);
        }
    }

    fn on_arrive(&mut self) {
        let rate = self.setup.load.rate_at(self.now / NS_PER_MS);
        if rate > 0.0 {
            self.on_new();
        }
        let gap_ms = if rate > 0.0 { server::exponential(1000.0 / rate, &mut self.rng) } else { 10.0 };
        self.agenda.plan(self.now + server::nanoseconds(gap_ms).max(1), Step::Arrive);
    }

    fn on_new(&mut self) {
        let clients = self.setup.load.clients;
        self.serial += 1;
        let class = u8::try_from(self.rng.below(u64::from(clients.classes))).expect("few classes");
        let is_unsafe = self.rng.below(100) < clients.unsafe_percent;
        let request = Request {
            class: Class::new(class),
            safety: if is_unsafe { Safety::Unsafe } else { Safety::Idempotent },
            key: self.rng.next_u64(),
            tries: 0,
            job: 0,
            came: 0,
            deadline: None,
            told: false,
            pass: None,
            flight: None,
            tried: Vec::new(),
            ticket: None,
        };
        self.requests.insert(self.serial, request);
        self.report.slot(self.now).fresh += 1;
        self.on_try(self.serial, false);
    }

    /// A client sends its request, for the first time or again.
    fn on_try(&mut self, id: u64, told: bool) {
        let clients = self.setup.load.clients;
        let gives_up = self.now + clients.patience_ms * NS_PER_MS;
        let deadline = (clients.tell_deadline == Told::Deadline).then_some(gives_up);
        let request = self.requests.get_mut(&id).expect("who tries is known");
        request.tries += 1;
        request.job += 1;
        (request.came, request.deadline, request.told) = (self.now, deadline, told);
        request.tried.clear();
        let (class, job) = (request.class, request.job);
        self.report.slot(self.now).offered += 1;
        self.report.returned += u64::from(told);
        self.agenda.plan(gives_up, Step::GivesUp(id, job));
        let admit = self.call(|service, now, out| service.arrive(now, class, deadline.map(Instant), out));
        match admit {
            Admit::Go(pass) => self.on_go(id, pass),
            Admit::Wait(ticket) => {
                self.waiting.insert(ticket, id);
                self.watch.waiting += 1;
                self.requests.get_mut(&id).expect("it was there above").ticket = Some(ticket);
            }
            Admit::Shed(shed) => self.on_shed(id, shed),
        }
    }

    fn on_go(&mut self, id: u64, pass: Pass) {
        self.watch.inside += 1;
        let (inside, limit) = (self.watch.inside, self.service.limit());
        // A limit that was lowered by the very call that let some in is no limit that they broke.
        assert!(inside <= limit.max(self.report.slot(self.now).limit), "the_limit_holds: {inside} of {limit}");
        let request = self.requests.get_mut(&id).expect("who goes is known");
        assert!(request.deadline.is_none_or(|deadline| deadline > self.now), "nobody_goes_behind_his_deadline");
        request.pass = Some(pass);
        self.fly(id);
    }

    /// One try by the gateway.
    fn fly(&mut self, id: u64) {
        let request = self.requests.get_mut(&id).expect("who flies is known");
        request.job += 1;
        let (job, key) = (request.job, request.key);
        let avoid = match self.setup.picking {
            Picking::Gateway => request.tried.clone(),
            Picking::ShortestExpectedDelay => all_but_best(&self.servers),
        };
        let now = Instant(self.now);
        let picked = self.service.pick(now, Some(key), &avoid).or_else(|_| self.service.pick(now, Some(key), &[]));
        let Ok(flight) = picked else { return self.fail(id) };
        let endpoint = flight.endpoint();
        self.watch.on_pick(self.now, endpoint, &self.setup.config);
        request.tried.push(endpoint);
        request.flight = Some((flight, self.now));
        self.agenda.plan(self.now + GIVES_UP_NS, Step::Fails(id, job, Outcome::TimedOut));
        let at = endpoint.0 as usize;
        let server = &mut self.servers[at];
        if !server.alive {
            let refused = self.now + REFUSED_NS;
            return self.agenda.plan(refused, Step::Fails(id, job, Outcome::ConnectFailed));
        }
        if let Some(took) = server.accept((id, job), &mut self.rng) {
            let life = server.life;
            self.agenda.plan(self.now + took, Step::Done { server: at, life, job: (id, job), took });
        }
    }

    fn on_done(&mut self, at: usize, life: u32, (id, job): Job, _took: u64) {
        let server = &mut self.servers[at];
        if server.life != life {
            return;
        }
        if let Some((next, took)) = server.on_done(&mut self.rng) {
            self.agenda.plan(self.now + took, Step::Done { server: at, life, job: next, took });
        }
        let fails = self.rng.below(100) < server.failing_percent;
        if !self.is_current(id, job) {
            self.report.slot(self.now).wasted += 1;
            return;
        }
        let request = &self.requests[&id];
        let begun = request.flight.as_ref().map_or(0, |(_, begun)| *begun);
        let first_byte_us = (self.now - begun) / 1_000;
        let outcome = Outcome::Answered { status_class: if fails { 5 } else { 2 }, first_byte_us };
        if fails {
            return self.on_fails(id, job, outcome);
        }
        let endpoint = self.end_flight(id, outcome);
        *self.report.served.entry(endpoint).or_default() += 1;
        self.leave(id, Left::Served { first_byte_us });
        let request = self.requests.remove(&id).expect("it was there above");
        let latency_us = u32::try_from((self.now - request.came) / 1_000).unwrap_or(u32::MAX);
        self.report.returned_served += u64::from(request.told);
        self.report.answered += 1;
        let slot = self.report.slot(self.now);
        slot.good += 1;
        slot.latencies_us.push(latency_us);
    }

    /// A try by the gateway has failed.
    fn on_fails(&mut self, id: u64, job: u32, outcome: Outcome) {
        if !self.is_current(id, job) || self.requests[&id].flight.is_none() {
            return;
        }
        self.end_flight(id, outcome);
        let request = self.requests.get_mut(&id).expect("it is current");
        let safety = if outcome == Outcome::ConnectFailed { Safety::NothingSent } else { request.safety };
        let tries = u32::try_from(request.tried.len()).expect("few tries");
        let attempt = Attempt { tries, safety, deadline: request.deadline.map(Instant) };
        match self.service.retry(Instant(self.now), &attempt) {
            Retry::After { pause_ms } => {
                assert!(safety != Safety::Unsafe, "what_may_do_harm_is_tried_once");
                let answer_ms = self.service.meter(Instant(self.now)).no_load_ms;
                let done = self.now + pause_ms * NS_PER_MS + server::nanoseconds(answer_ms);
                assert!(attempt.deadline.is_none_or(|deadline| done <= deadline.0), "no_retry_past_a_deadline");
                self.watch.on_retry(self.now, &self.setup.config);
                self.report.gateway_retries += 1;
                request.job += 1;
                self.agenda.plan(self.now + pause_ms * NS_PER_MS, Step::Retry(id, request.job));
            }
            Retry::No(_) => self.fail(id),
        }
    }

    /// The gateway answers with an error of the upstream.
    fn fail(&mut self, id: u64) {
        self.leave(id, Left::Failed);
        self.report.slot(self.now).errors += 1;
        self.again(id, None);
    }

    fn on_shed(&mut self, id: u64, shed: Shed) {
        self.report.slot(self.now).shed += 1;
        self.again(id, Some(shed));
    }

    /// A client gives up waiting for this try.
    fn on_gives_up(&mut self, id: u64, job: u32) {
        // Any later job of the same try is given up too, but not those of another try.
        let Some(request) = self.requests.get(&id) else { return };
        let this_try = request.came + self.setup.load.clients.patience_ms * NS_PER_MS == self.now;
        if request.job < job || !this_try || (request.ticket.is_none() && request.pass.is_none()) {
            return;
        }
        if let Some(ticket) = self.requests.get_mut(&id).and_then(|request| request.ticket.take()) {
            self.waiting.remove(&ticket);
            self.watch.waiting -= 1;
            let waited = self.call(|service, now, out| service.cancel(now, ticket, out));
            assert!(waited, "who waits by the world's count waits by the gateway's");
        } else {
            if self.requests[&id].flight.is_some() {
                self.end_flight(id, Outcome::Cancelled);
            }
            self.leave(id, Left::Cancelled);
        }
        self.report.slot(self.now).given_up += 1;
        self.again(id, None);
    }

    /// A client whose try came to nothing thinks again.
    fn again(&mut self, id: u64, shed: Option<Shed>) {
        let clients = self.setup.load.clients;
        let request = self.requests.get_mut(&id).expect("who was refused is known");
        request.job += 1;
        if request.tries >= clients.tries {
            self.requests.remove(&id);
            self.report.slot(self.now).lost += 1;
            return;
        }
        let (pause_ms, told) = match (clients.again, shed) {
            // The header has whole seconds, and no client is back at once.
            (Again::WhenTold, Some(shed)) => (shed.retry_after_s() * 1000 + self.rng.below(1000), true),
            (Again::WhenTold, None) => (1000, false),
            (Again::After { ms }, _) => (ms + self.rng.below(ms + 1), false),
        };
        self.agenda.plan(self.now + pause_ms * NS_PER_MS, Step::Again(id, told));
    }

    fn end_flight(&mut self, id: u64, outcome: Outcome) -> EndpointId {
        let request = self.requests.get_mut(&id).expect("who flies is known");
        let (flight, begun) = request.flight.take().expect("who ends flies");
        let endpoint = flight.endpoint();
        self.watch.on_end(endpoint, begun);
        self.call(|service, now, out| service.on_end(now, flight, outcome, out));
        endpoint
    }

    fn leave(&mut self, id: u64, left: Left) {
        let pass = self.requests.get_mut(&id).and_then(|request| request.pass.take());
        let pass = pass.expect("who leaves was inside");
        self.watch.inside -= 1;
        self.call(|service, now, out| service.leave(now, pass, left, out));
        let (Left::Served { first_byte_us }, Some(rival)) = (left, &mut self.setup.rival) else { return };
        let inside = self.service.inside();
        if let Some(limit) = rival.on_sample(self.now, inside, first_byte_us) {
            self.call(|service, now, out| service.set_limit(now, limit, out));
        }
    }

    fn on_checked(&mut self, id: EndpointId) {
        let checked = if self.servers[id.0 as usize].alive { Checked::Passed } else { Checked::Failed };
        self.call(|service, now, out| service.on_check(now, id, checked, out));
    }

    fn on_change(&mut self, change: Change) {
        match change {
            Change::Die(at) => {
                self.servers[at].die();
                let dropped = |request: &Request| matches!(&request.flight, Some((flight, _)) if flight.endpoint().0 as usize == at);
                let broken: Vec<(u64, u32)> =
                    self.requests.iter().filter(|(_, r)| dropped(r)).map(|(id, r)| (*id, r.job)).collect();
                broken.into_iter().for_each(|(id, job)| self.on_fails(id, job, Outcome::Reset));
            }
            Change::Revive(at) => self.servers[at].alive = true,
            Change::Speed(at, speed) => self.servers[at].spec.speed = speed,
            Change::Failing(at, percent) => self.servers[at].failing_percent = percent,
            Change::Remove(at) | Change::Add(at) => {
                self.listed[at] = matches!(change, Change::Add(_));
                let endpoints = endpoints(&self.listed, &self.setup.config);
                self.watch.on_swap(ids(&self.listed));
                self.call(|service, now, out| service.swap(now, endpoints, out));
            }
        }
    }

    /// A call of the service, and all that it wants done.
    fn call<R>(&mut self, does: impl FnOnce(&mut Service, Instant, &mut Outbox) -> R) -> R {
        let mut out = Outbox::default();
        let result = does(&mut self.service, Instant(self.now), &mut out);
        for event in out.events {
            self.watch.on_event(self.now, event, &self.setup.config);
            self.events.push((self.now / NS_PER_MS, event));
        }
        for id in out.checks {
            self.agenda.plan(self.now + CHECK_NS, Step::Checked(id));
        }
        let gone: Vec<(u64, Result<Pass, Shed>)> = {
            let go = out.go.into_iter().map(|(ticket, pass)| (ticket, Ok(pass)));
            let all = go.chain(out.shed.into_iter().map(|(ticket, shed)| (ticket, Err(shed))));
            all.map(|(ticket, what)| (self.waiting.remove(&ticket).expect("who is let go or shed waits"), what))
                .collect()
        };
        self.watch.waiting -= gone.len();
        self.check_classes(&gone);
        self.check_deadlines(&gone);
        for (id, what) in gone {
            self.requests.get_mut(&id).expect("who waits is known").ticket = None;
            match what {
                Ok(pass) => self.on_go(id, pass),
                Err(shed) => self.on_shed(id, shed),
            }
        }
        result
    }

    fn check_classes(&self, gone: &[(u64, Result<Pass, Shed>)]) {
        let went = gone.iter().filter(|(_, what)| what.is_ok());
        let Some(lowest) = went.map(|(id, _)| self.requests[id].class).max() else { return };
        let mut left = self.waiting.values().map(|id| self.requests[id].class);
        assert!(left.all(|class| class >= lowest), "the_important_go_first");
    }

    fn check_deadlines(&self, gone: &[(u64, Result<Pass, Shed>)]) {
        let went = gone.iter().filter(|(_, what)| what.is_ok());
        let Some(first) = went.filter_map(|(id, _)| self.requests[id].deadline).min() else { return };
        let answer_ms = self.service.meter(Instant(self.now)).no_load_ms;
        let in_time = self.now + server::nanoseconds(answer_ms) <= first + 1_000;
        assert!(in_time, "nobody_waits_for_what_comes_too_late");
    }

    fn is_current(&self, id: u64, job: u32) -> bool {
        self.requests.get(&id).is_some_and(|request| request.job == job)
    }
}

fn endpoints(listed: &[bool], config: &Config) -> std::sync::Arc<Endpoints> {
    let endpoint = |id: EndpointId| Endpoint { id, weight: 1, identity: Rng::new(u64::from(id.0)).next_u64() };
    let list = ids(listed).into_iter().map(endpoint).collect();
    Endpoints::new(list, config.policy).expect("few endpoints with numbers of their own")
}

fn ids(listed: &[bool]) -> Vec<EndpointId> {
    (0u32..).zip(listed).filter(|(_, listed)| **listed).map(|(n, _)| EndpointId(n)).collect()
}

fn all_but_best(servers: &[Server]) -> Vec<EndpointId> {
    let numbered = || (0u32..).zip(servers);
    let best = numbered().min_by(|(_, a), (_, b)| a.expected().total_cmp(&b.expected())).map(|(n, _)| n);
    numbered().map(|(n, _)| n).filter(|n| Some(*n) != best).map(EndpointId).collect()
}

/// All counts are compared each so many steps; the sums at each.
const CHECK_EACH: u64 = 16;
/// How long a connection to nobody takes to be refused.
const REFUSED_NS: u64 = 200_000;
/// How long a check takes.
const CHECK_NS: u64 = 1_000_000;
/// After so long the gateway gives up a try.
const GIVES_UP_NS: u64 = 10_000 * NS_PER_MS;
