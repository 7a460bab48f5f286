//! A service on one lane: the core's [`gateway::Service`], which decides, and what it takes to do what it says.
//!
//! Whoever is let in, and whoever is in flight, is held by a guard whose end tells the core, whatever ended it: a response, an error,
//! or a future that was dropped because its client went. So what is counted as inside is inside.

use super::check;
use super::config::{self, Service as Plan};
use super::line::Line;
use super::place::{self, Place, Places};
use super::pool::Pool;
use super::security::Security;
use super::timer::Timer;
use super::trunk::Trunks;
use super::want::{Unconnected, Wants};
use super::wire::Wire;
use crate::log;
use base::Instant;
use gateway::{Admit, Checked, Class, EndpointId, Endpoints, Event, Flight, Left, NoEndpoint, Outbox, Outcome, Pass};
use gateway::{Attempt, Retry, Shed, Ticket};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// See the module.
#[derive(Debug)]
pub struct Upstream {
    pub plan: Arc<Plan>,
    core: RefCell<gateway::Service>,
    out: RefCell<Outbox>,
    targets: RefCell<HashMap<EndpointId, Rc<Target>>>,
    waiting: RefCell<HashMap<Ticket, Rc<Waiter>>>,
    pub places: Places,
    timer: Rc<Timer>,
    /// Connections that carry another protocol, or ask for one.
    pub tunnels: Cell<u32>,
    pub counts: Counts,
}

/// An endpoint, and the connections to it.
#[derive(Debug)]
pub struct Target {
    pub id: EndpointId,
    pub name: String,
    pub address: SocketAddr,
    pub pool: Pool,
    pub trunks: Rc<Trunks>,
    security: Option<Arc<Security>>,
    /// Why it couldn't be connected to the last time, which is logged once.
    trouble: RefCell<String>,
}

/// What a lane counts of a service.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers by the first digit of their status, those that the gateway gave among them.
    pub answers: [Cell<u64>; 6],
    pub shed: Cell<u64>,
    pub retried: Cell<u64>,
    /// From the arrival of a request to the end of its response.
    pub time_ns: crate::meters::Histogram,
    pub connected: Cell<u64>,
    pub connect_failed: Cell<u64>,
    /// Connections that weren't made for want of something here.
    pub wants: Wants,
    pub reused: Cell<u64>,
    /// Copies of others' requests: sent, not sent, and under way.
    pub mirrored: Cell<u64>,
    pub mirror_skipped: Cell<u64>,
    pub copies: Cell<u64>,
}

/// The endpoints of a service as they are now, by the numbers that the process gave them.
#[derive(Clone, Debug)]
pub struct EndpointList {
    pub snapshot: Arc<Endpoints>,
    pub places: Arc<BTreeMap<EndpointId, config::Endpoint>>,
    /// TLS to them.
    pub security: Option<Arc<Security>>,
}

impl Upstream {
    pub fn new(plan: Arc<Plan>, list: &EndpointList, timer: Rc<Timer>, seed: u64) -> Rc<Self> {
        let now = crate::clock::boot();
        let core = gateway::Service::new(now, plan.core.clone(), list.snapshot.clone(), seed);
        let upstream = Rc::new(Self {
            plan,
            core: RefCell::new(core),
            out: RefCell::default(),
            targets: RefCell::default(),
            waiting: RefCell::default(),
            places: Places::default(),
            timer,
            tunnels: Cell::new(0),
            counts: Counts::default(),
        });
        upstream.set_targets(list);
        upstream.on_timer();
        upstream
    }

    /// Other endpoints from now on, or other TLS to them; requests that are at those that are gone end there.
    pub fn swap(self: &Rc<Self>, list: &EndpointList) {
        self.set_targets(list);
        self.with(|core, now, out| core.swap(now, list.snapshot.clone(), out));
    }

    fn set_targets(&self, list: &EndpointList) {
        let mut targets = self.targets.borrow_mut();
        let mut old = std::mem::take(&mut *targets);
        for (id, endpoint) in list.places.iter() {
            let is_same = |target: &Target| target.address == endpoint.address && target.security == list.security;
            let same = old.get(id).is_some_and(|target| is_same(target)).then(|| old.remove(id)).flatten();
            let target = same.unwrap_or_else(|| Rc::new(Target::new(*id, endpoint, list.security.clone())));
            targets.insert(*id, target);
        }
        // Those that are gone need no idle connections; the ones in use end with their requests.
        old.values().for_each(|target| {
            target.pool.clear();
            target.trunks.clear();
        });
    }

    /// A call of the core, and what it asks for done.
    fn with<T>(self: &Rc<Self>, call: impl FnOnce(&mut gateway::Service, Instant, &mut Outbox) -> T) -> T {
        let now = crate::clock::boot();
        let mut out = self.out.take();
        let (result, due) = {
            let mut core = self.core.borrow_mut();
            let result = call(&mut core, now, &mut out);
            (result, core.next_deadline())
        };
        self.carry_out(&mut out);
        self.out.replace(out);
        if let Some(due) = due {
            self.timer.wants(due);
        }
        result
    }

    fn carry_out(self: &Rc<Self>, out: &mut Outbox) {
        for (ticket, pass) in out.go.drain(..) {
            let waiter = self.waiting.borrow_mut().remove(&ticket);
            waiter.expect("who is let in waits").answer(Ok(pass));
        }
        for (ticket, shed) in out.shed.drain(..) {
            let waiter = self.waiting.borrow_mut().remove(&ticket);
            waiter.expect("who is shed waits").answer(Err(shed));
        }
        for id in out.checks.drain(..) {
            let target = self.targets.borrow().get(&id).cloned();
            if let (Some(target), Some(probe)) = (target, &self.plan.probe) {
                tokio::task::spawn_local(check::run(self.clone(), target, probe.clone()));
            }
        }
        for event in out.events.drain(..) {
            self.tell(event);
        }
    }

    /// One line of the log for what an operator should know of.
    fn tell(&self, event: Event) {
        let name =
            |id: EndpointId| self.targets.borrow().get(&id).map_or_else(|| id.to_string(), |one| one.name.clone());
        let service = &self.plan.name;
        let told = |message: &str, id: EndpointId| {
            log::warn("gateway", message, &[("service", service), ("endpoint", &name(id))]);
        };
        match event {
            Event::CheckFailing(id) => told("an endpoint fails its checks and gets no requests", id),
            Event::CheckPassing(id) => told("an endpoint passes its checks and gets requests again", id),
            Event::Ejected { id, for_ms } => {
                let fields: log::Fields<'_> = &[("service", service), ("endpoint", &name(id)), ("for_ms", &for_ms)];
                log::warn("gateway", "an endpoint answers worse than the others and is left out for a while", fields);
            }
            Event::Returned(id) => told("an endpoint that was left out gets requests again", id),
            Event::BreakerOpened(id) => told("the breaker of an endpoint has opened", id),
            Event::BreakerClosed(id) => told("the breaker of an endpoint has closed", id),
            Event::Drained(id) => log::info(
                "gateway",
                "a removed endpoint has ended its last request",
                &[("service", service), ("id", &id)],
            ),
            Event::PanicBegun => {
                log::warn("gateway", "so many endpoints fail that all are used", &[("service", service)])
            }
            Event::PanicOver => log::info("gateway", "enough endpoints are sound again", &[("service", service)]),
            Event::OverloadBegun => {
                log::warn("gateway", "overloaded: requests wait or are shed", &[("service", service)])
            }
            Event::OverloadOver => log::info("gateway", "no longer overloaded", &[("service", service)]),
        }
    }

    pub fn on_timer(self: &Rc<Self>) {
        // Before anybody is shed who has waited for nothing but slow clients.
        let waits = self.core.borrow().waiting() > 0;
        self.places.press(|| waits);
        self.with(gateway::Service::on_timer);
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.borrow().next_deadline()
    }

    pub fn on_check(self: &Rc<Self>, id: EndpointId, checked: Checked) {
        self.with(|core, now, out| core.on_check(now, id, checked, out));
    }

    /// Waits until the request may come in.
    pub async fn enter(self: &Rc<Self>, class: Class, deadline: Option<Instant>) -> Result<Inside, Shed> {
        self.places.press(|| !self.has_room());
        let admit = self.with(|core, now, out| core.arrive(now, class, deadline, out));
        let pass = match admit {
            Admit::Go(pass) => Ok(pass),
            Admit::Shed(shed) => Err(shed),
            Admit::Wait(ticket) => {
                let waiter = Rc::new(Waiter::default());
                self.waiting.borrow_mut().insert(ticket, waiter.clone());
                Waiting { upstream: self.clone(), ticket, waiter }.await
            }
        };
        match pass {
            Ok(pass) => Ok(Inside { upstream: self.clone(), pass: Some(pass), left: Left::Cancelled }),
            Err(shed) => {
                add(&self.counts.shed, 1);
                Err(shed)
            }
        }
    }

    /// A request that gave its place back while its endpoint had it takes one again, whether there is room or not.
    pub fn enter_again(self: &Rc<Self>) -> Inside {
        let pass = self.with(|core, now, _| core.come_back(now));
        Inside { upstream: self.clone(), pass: Some(pass), left: Left::Cancelled }
    }

    /// Whether who comes now would be let in at once.
    pub fn has_room(&self) -> bool {
        self.core.borrow().has_room()
    }

    /// An endpoint for one try.
    pub fn pick(self: &Rc<Self>, key: Option<u64>, avoid: &[EndpointId]) -> Result<(Rc<Target>, Try), NoEndpoint> {
        let flight = self.with(|core, now, _| core.pick(now, key, avoid))?;
        let target = self.targets.borrow().get(&flight.endpoint()).cloned();
        let target = target.expect("the core knows the endpoints that it was given");
        Ok((target, Try { upstream: self.clone(), flight: Some(flight), outcome: Outcome::Cancelled }))
    }

    /// Whether a request that failed is tried again.
    pub fn retry(self: &Rc<Self>, attempt: &Attempt) -> Retry {
        let retry = self.with(|core, now, _| core.retry(now, attempt));
        if matches!(retry, Retry::After { .. }) {
            add(&self.counts.retried, 1);
        }
        retry
    }

    /// Lets idle connections go that are old or closed, and takes back the places of bodies that have become streams.
    pub fn sweep(&self, now: Instant) {
        self.places.sweep(now);
        self.targets.borrow().values().for_each(|target| {
            target.pool.sweep(now, self.plan.times.idle);
            target.trunks.sweep(now, self.plan.times.idle);
        });
    }

    /// The core itself, for those who look.
    pub fn look<T>(&self, look: impl FnOnce(&gateway::Service, Instant) -> T) -> T {
        look(&self.core.borrow(), crate::clock::boot())
    }

    pub fn target(&self, id: EndpointId) -> Option<Rc<Target>> {
        self.targets.borrow().get(&id).cloned()
    }
}

impl Target {
    fn new(id: EndpointId, endpoint: &config::Endpoint, security: Option<Arc<Security>>) -> Self {
        let (name, address) = (endpoint.name.clone(), endpoint.address);
        Self { id, name, address, pool: Pool::default(), trunks: Rc::default(), security, trouble: RefCell::default() }
    }

    /// A new connection to it.
    pub async fn connect(&self) -> Result<Wire, Unconnected> {
        let security = self.security.as_deref();
        let security = security.map(|one| one.name_of(&self.name).map(|name| (one, name))).transpose()?;
        Wire::open(self.address, security).await
    }

    /// What came of connecting to it, which is logged when it becomes another.
    pub fn note_trouble(&self, service: &str, why: &str) {
        let before = self.trouble.replace(why.to_owned());
        if !why.is_empty() && before != why {
            let fields: log::Fields<'_> = &[("service", &service), ("endpoint", &self.name), ("why", &why)];
            log::warn("gateway", "an endpoint can't be connected to", fields);
        }
    }

    pub fn is_secure(&self) -> bool {
        self.security.is_some()
    }
}

pub fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}

/// A request that waits.
#[derive(Debug, Default)]
struct Waiter {
    answer: RefCell<Option<Result<Pass, Shed>>>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    fn answer(&self, answer: Result<Pass, Shed>) {
        *self.answer.borrow_mut() = Some(answer);
        self.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
    }
}

/// The wait itself; dropped before its end, it takes the request out of the line.
#[derive(Debug)]
struct Waiting {
    upstream: Rc<Upstream>,
    ticket: Ticket,
    waiter: Rc<Waiter>,
}

impl Future for Waiting {
    type Output = Result<Pass, Shed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.waiter.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                *self.waiter.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(Ok(pass)) = self.waiter.answer.take() {
            // It was let in and never heard of it.
            self.upstream.with(|core, now, out| core.leave(now, pass, Left::Cancelled, out));
        } else if self.upstream.waiting.borrow_mut().remove(&self.ticket).is_some() {
            self.upstream.with(|core, now, out| core.cancel(now, self.ticket, out));
        }
    }
}

/// A request that was let in; its end gives the place to the next.
#[derive(Debug)]
pub struct Inside {
    upstream: Rc<Upstream>,
    pass: Option<Pass>,
    pub left: Left,
}

impl Inside {
    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.upstream
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let pass = self.pass.take().expect("it is given back here alone");
        self.upstream.with(|core, now, out| core.leave(now, pass, self.left, out));
    }
}

/// One try at one endpoint.
#[derive(Debug)]
pub struct Try {
    upstream: Rc<Upstream>,
    flight: Option<Flight>,
    pub outcome: Outcome,
}

impl Try {
    /// It ended so.
    pub fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let flight = self.flight.take().expect("it is ended here alone");
        self.upstream.with(|core, now, out| core.on_end(now, flight, self.outcome, out));
    }
}

/// A request whose response has begun: until its body has ended.
#[derive(Debug)]
pub struct Flying {
    target: Rc<Target>,
    tried: Option<Try>,
    place: Rc<Place>,
    /// Its deadline is its client's own.
    impatient: bool,
}

impl Flying {
    pub fn new(target: Rc<Target>, tried: Try, place: Rc<Place>, impatient: bool) -> Self {
        tried.upstream.places.answer(&place, crate::clock::boot());
        Self { target, tried: Some(tried), place, impatient }
    }

    /// The body has ended well; its connection, if it can carry another request.
    pub fn land(&mut self, line: Option<Line>) {
        if let Some(line) = line {
            self.target.pool.put(crate::clock::boot(), line);
        }
        self.tried = None;
        self.place.leave();
    }

    /// It queues nowhere any more, and another may come in.
    pub fn leave(&self) {
        self.place.leave();
    }

    /// So much of the body has passed, the last piece of it now.
    pub fn passed(&mut self, now: Instant, bytes: u64) {
        self.place.hand(now);
        if bytes > place::STREAM_BYTES {
            self.place.leave();
        }
    }

    /// The client has taken all that has passed.
    pub fn taken(&self) {
        self.place.ask();
    }

    pub fn timed_out(&mut self, by_deadline: bool) {
        if by_deadline && self.impatient {
            self.fail(Outcome::Cancelled, Left::Cancelled);
        } else {
            self.fail(Outcome::TimedOut, Left::TimedOut);
        }
    }

    pub fn cancelled(&mut self) {
        self.fail(Outcome::Cancelled, Left::Cancelled);
    }

    pub fn broke(&mut self) {
        self.fail(Outcome::Reset, Left::Failed);
    }

    fn fail(&mut self, outcome: Outcome, left: Left) {
        if let Some(tried) = self.tried.take() {
            tried.end(outcome);
        }
        self.place.set_left(left);
        self.place.leave();
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.place.leave();
    }
}
