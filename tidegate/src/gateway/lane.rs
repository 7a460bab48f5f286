//! One lane: a thread with a runtime of its own, its connections and its services. Lanes share nothing but the listener's sockets,
//! which go to the lane that has the fewest, and the configuration, which is swapped whole.

use super::access::AccessLog;
use super::config::Config;
use super::timer::Timer;
use super::tls::{Handshakes, Tls};
use super::upstream::{EndpointList, Upstream};
use super::visit::{self, Visit};
use super::watch::Wheel;
use base::rng::Rng;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, oneshot};

/// What is told to a lane.
#[derive(Debug)]
pub enum Command {
    /// Goes by this from now on.
    Apply(Arc<Plan>),
    /// A connection that the first lane has accepted.
    Serve(std::net::TcpStream, Origin),
    /// Tells how it stands.
    Report(oneshot::Sender<super::report::LaneReport>),
    /// Takes no more connections, and ends when those that are there have ended.
    Drain(Duration),
    End,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    pub peer: SocketAddr,
    /// The place of its listener.
    pub listener: usize,
}

/// All that a lane goes by.
#[derive(Debug)]
pub struct Plan {
    pub config: Arc<Config>,
    /// The endpoints of each service, in the order of the configuration.
    pub lists: Vec<EndpointList>,
    /// The TLS of each listener that has it.
    pub tls: Vec<Option<Arc<Tls>>>,
}

/// The lanes as they see each other.
#[derive(Debug)]
pub struct Crew {
    pub mailboxes: Vec<UnboundedSender<Command>>,
    /// Connections of each.
    pub open: Vec<AtomicU32>,
    /// More than so many all together the process can't have.
    pub connections_most: u32,
    /// Requests in progress at all of them.
    pub requests: AtomicU32,
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    number: usize,
    crew: Arc<Crew>,
    table: RefCell<Rc<Table>>,
    /// Services of former files.
    former: RefCell<Vec<Weak<Upstream>>>,
    pub wheel: Rc<Wheel>,
    timer: Rc<Timer>,
    rng: RefCell<Rng>,
    pub draining: Cell<bool>,
    /// None for a connection that has not told yet what it speaks.
    visits: RefCell<BTreeMap<u64, Option<Rc<Visit>>>>,
    next_visit: Cell<u64>,
    stopped: Notify,
    /// Listeners that are accepted from.
    accepting: Cell<usize>,
    left: Notify,
    pub log: Option<AccessLog>,
    pub accepted: Cell<u64>,
    pub refused: Cell<u64>,
    pub cache: super::cache::Counts,
    pub handshakes: Handshakes,
    /// Connections that wanted a header of the PROXY protocol, and had none that is sound.
    pub unproxied: Cell<u64>,
    /// Connections of HTTP/2, and those that were ended since their client flooded them.
    pub many_at_once: Cell<u64>,
    pub floods: Cell<u64>,
    /// Requests that were refused since there were too many.
    pub overfull: Cell<u64>,
}

/// What requests are served by: looked up once by each.
#[derive(Debug)]
pub struct Table {
    pub config: Arc<Config>,
    pub upstreams: Vec<Rc<Upstream>>,
    pub tls: Vec<Option<Arc<Tls>>>,
}

/// After a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Idle upstream connections are looked at so often.
const SWEEP: Duration = Duration::from_secs(1);
/// When the gateway goes, a client's idle connection stays so long: a request may be on its way on it.
const IDLE_WHEN_DRAINING: Duration = Duration::from_secs(3);

/// Runs lane `number` until it is told to drain and has. The first lane has the listeners.
pub fn run(
    number: usize,
    crew: Arc<Crew>,
    mailbox: UnboundedReceiver<Command>,
    plan: &Plan,
    (listeners, log): (Vec<std::net::TcpListener>, Option<AccessLog>),
    seed: u64,
) -> std::io::Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().enable_time().build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<std::io::Result<Vec<_>>>()?;
        let lane = Rc::new(Lane::new(number, crew, plan, log, seed));
        tokio::task::spawn_local(lane.wheel.clone().run());
        tokio::task::spawn_local(lane.clone().ring());
        tokio::task::spawn_local(lane.clone().sweep());
        lane.accepting.set(listeners.len());
        for (place, listener) in listeners.into_iter().enumerate() {
            tokio::task::spawn_local(lane.clone().accept(place, listener));
        }
        lane.obey(mailbox).await;
        Ok(())
    })
}

impl Lane {
    fn new(number: usize, crew: Arc<Crew>, plan: &Plan, log: Option<AccessLog>, seed: u64) -> Self {
        let timer = Rc::new(Timer::default());
        let mut rng = Rng::new(seed);
        let upstreams = plan.config.services.iter().zip(&plan.lists);
        let upstreams =
            upstreams.map(|(service, list)| Upstream::new(service.clone(), list, timer.clone(), rng.next_u64()));
        let table = Table { config: plan.config.clone(), upstreams: upstreams.collect(), tls: plan.tls.clone() };
        Self {
            number,
            crew,
            table: RefCell::new(Rc::new(table)),
            former: RefCell::default(),
            wheel: Rc::default(),
            timer,
            rng: RefCell::new(rng),
            draining: Cell::new(false),
            visits: RefCell::default(),
            next_visit: Cell::new(0),
            stopped: Notify::new(),
            accepting: Cell::new(0),
            left: Notify::new(),
            log,
            accepted: Cell::new(0),
            refused: Cell::new(0),
            cache: super::cache::Counts::default(),
            handshakes: Handshakes::default(),
            unproxied: Cell::new(0),
            many_at_once: Cell::new(0),
            floods: Cell::new(0),
            overfull: Cell::new(0),
        }
    }

    pub fn table(&self) -> Rc<Table> {
        self.table.borrow().clone()
    }

    /// One more request is in progress, over all lanes, until [`Lane::leave`]; false if there are so many already.
    pub fn join(&self, requests_max: u32) -> bool {
        let before = self.crew.requests.fetch_add(1, Ordering::Relaxed);
        if before >= requests_max {
            self.leave();
            self.overfull.set(self.overfull.get() + 1);
        }
        before < requests_max
    }

    pub fn leave(&self) {
        self.crew.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// A number below `bound`, by chance.
    pub fn draw(&self, bound: u64) -> u64 {
        self.rng.borrow_mut().below(bound)
    }

    /// 64 bits by chance.
    pub fn chance(&self) -> u64 {
        self.rng.borrow_mut().next_u64()
    }

    /// Does what it is told, until it has drained.
    async fn obey(self: Rc<Self>, mut mailbox: UnboundedReceiver<Command>) {
        while let Some(command) = mailbox.recv().await {
            match command {
                Command::Apply(plan) => self.apply(&plan),
                Command::Serve(stream, origin) => {
                    let place = self.enter();
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        tokio::task::spawn_local(visit::serve(place, stream, origin));
                    }
                }
                Command::Report(answer) => drop(answer.send(super::report::LaneReport::of(&self))),
                Command::Drain(time) => drop(tokio::task::spawn_local(self.clone().drain(time))),
                Command::End => return,
            }
        }
    }

    /// Takes no more connections, and ends the lane when its last one has ended, or the time is over.
    ///
    /// The lane that accepts is told first. It tells the others when it has accepted its last connection, so that none comes to a
    /// lane that has ended.
    async fn drain(self: Rc<Self>, time: Duration) {
        self.draining.set(true);
        self.stopped.notify_waiters();
        let now = crate::clock::boot();
        self.visits.borrow().values().flatten().for_each(|visit| visit.hurry(now, IDLE_WHEN_DRAINING));
        while self.accepting.get() > 0 {
            self.left.notified().await;
        }
        if self.number == 0 {
            let others = self.crew.mailboxes.iter().skip(1);
            others.for_each(|mailbox| drop(mailbox.send(Command::Drain(time))));
        }
        let empty = async {
            while !self.visits.borrow().is_empty() {
                self.left.notified().await;
            }
        };
        if tokio::time::timeout(time, empty).await.is_err() {
            let open = self.visits.borrow().len();
            crate::log::warn("gateway", "the time to drain is over: connections are closed", &[("open", &open)]);
        }
        let _ = self.crew.mailboxes[self.number].send(Command::End);
    }

    /// Services whose settings stay keep what they know, and get their new endpoints; the others begin anew. Requests that run end
    /// where they are.
    fn apply(&self, plan: &Plan) {
        let old = self.table();
        let upstreams = plan.config.services.iter().zip(&plan.lists).map(|(service, list)| {
            let same = old.upstreams.iter().find(|upstream| upstream.plan.has_settings_of(service));
            match same {
                Some(upstream) => {
                    upstream.swap(list);
                    upstream.clone()
                }
                None => Upstream::new(service.clone(), list, self.timer.clone(), self.rng.borrow_mut().next_u64()),
            }
        });
        let table = Table { config: plan.config.clone(), upstreams: upstreams.collect(), tls: plan.tls.clone() };
        let kept = |one: &Rc<Upstream>| table.upstreams.iter().any(|other| Rc::ptr_eq(one, other));
        let mut former = self.former.borrow_mut();
        former.retain(|one| one.strong_count() > 0);
        former.extend(old.upstreams.iter().filter(|one| !kept(one)).map(Rc::downgrade));
        drop(former);
        *self.table.borrow_mut() = Rc::new(table);
    }

    /// Services of the file in force, and those of former ones that still have requests.
    fn upstreams(&self) -> Vec<Rc<Upstream>> {
        let former = self.former.borrow();
        self.table().upstreams.iter().cloned().chain(former.iter().filter_map(Weak::upgrade)).collect()
    }

    /// Calls services when they have something to do.
    async fn ring(self: Rc<Self>) {
        loop {
            self.timer.ring().await;
            let now = crate::clock::boot();
            for upstream in self.upstreams() {
                match upstream.next_deadline() {
                    Some(due) if due <= now => upstream.on_timer(),
                    Some(due) => self.timer.wants(due),
                    None => {}
                }
            }
        }
    }

    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = crate::clock::boot();
            self.upstreams().iter().for_each(|upstream| upstream.sweep(now));
            self.visits.borrow().values().flatten().for_each(|visit| visit.look());
        }
    }

    async fn accept(self: Rc<Self>, place: usize, listener: TcpListener) {
        let mut stopped = std::pin::pin!(self.stopped.notified());
        loop {
            let mut next = std::pin::pin!(listener.accept());
            let accepted = std::future::poll_fn(|context| match stopped.as_mut().poll(context) {
                std::task::Poll::Ready(()) => std::task::Poll::Ready(None),
                std::task::Poll::Pending => next.as_mut().poll(context).map(Some),
            });
            match accepted.await {
                None => break,
                Some(Ok((stream, peer))) => self.place(stream, Origin { peer, listener: place }),
                Some(Err(_)) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
        self.accepting.set(self.accepting.get() - 1);
        self.left.notify_one();
    }

    /// Gives a connection to the lane that has the fewest; closes it if there are as many as may be.
    fn place(self: &Rc<Self>, stream: TcpStream, origin: Origin) {
        let open: Vec<u32> = self.crew.open.iter().map(|open| open.load(Ordering::Relaxed)).collect();
        let most = self.table.borrow().config.connections_max.min(self.crew.connections_most);
        if open.iter().sum::<u32>() >= most {
            self.refused.set(self.refused.get() + 1);
            return;
        }
        self.accepted.set(self.accepted.get() + 1);
        let fewest = (0..open.len()).min_by_key(|at| open[*at]).unwrap_or(self.number);
        if fewest == self.number {
            self.crew.open[fewest].fetch_add(1, Ordering::Relaxed);
            tokio::task::spawn_local(visit::serve(self.enter(), stream, origin));
        } else if let Ok(stream) = stream.into_std() {
            self.crew.open[fewest].fetch_add(1, Ordering::Relaxed);
            let _ = self.crew.mailboxes[fewest].send(Command::Serve(stream, origin));
        }
    }

    /// A connection that was counted for this lane begins.
    fn enter(self: &Rc<Self>) -> Place {
        let number = self.next_visit.get();
        self.next_visit.set(number + 1);
        self.visits.borrow_mut().insert(number, None);
        Place { lane: self.clone(), number }
    }

    /// Its connections.
    pub fn open(&self) -> usize {
        self.visits.borrow().len()
    }
}

/// A connection's place in its lane, until it ends.
#[derive(Debug)]
pub struct Place {
    pub lane: Rc<Lane>,
    number: u64,
}

impl Place {
    /// The connection speaks HTTP from now on.
    pub fn settle(&self, visit: Rc<Visit>) {
        if self.lane.draining.get() {
            visit.hurry(crate::clock::boot(), IDLE_WHEN_DRAINING);
        }
        self.lane.visits.borrow_mut().insert(self.number, Some(visit));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.visits.borrow_mut().remove(&self.number);
        self.lane.crew.open[self.lane.number].fetch_sub(1, Ordering::Relaxed);
        self.lane.left.notify_one();
    }
}
