//! Who is let in: at most as many as the service can bear (`knee`), a few wait (`queue`), the others are shed at once.
//!
//! **Calm and overload.** A queue that empties now and then smooths a burst: the oldest goes first, and waiting some service times
//! is fine. A queue that has not been empty for that long is no burst; then waiting only makes everybody late. So the newest goes
//! first (its client is the most likely to be still there), and nobody waits for longer than about one service time (CoDel's idea with
//! LIFO, as Facebook's servers have it: "Fail at Scale", 2015). Those who are admitted see nearly no wait, those who aren't know soon.
//!
//! **Deadlines.** Nobody is let in, and nobody waits, who could not be answered before his deadline by the time that an answer takes
//! without load.
//!
//! **Retry-After** is a place in a line. Those who are shed stand in an imagined line behind those who wait; it moves on at the rate of
//! service that newcomers leave over. Those who have been told a time count as returning then, not as newcomers. While newcomers
//! alone are too many, no time would be true; then it is the longest, drawn from its second half, so that they don't return at once.

pub(crate) mod knee;
pub(crate) mod queue;
mod returns;

use crate::config::{Admission, Limit};
use crate::flow::{Admit, Class, Event, Left, Outbox, Pass, Shed, Ticket, Why};
use crate::meter::{Counts, Meter};
use crate::numbers::{real, whole};
use base::Instant;
use base::mutation::{self, Mutation};
use base::rng::Rng;
use base::time::NS_PER_MS;
use knee::Knee;
use queue::{Order, Queue, Waiting};
use returns::Returns;

/// The door of a service.
#[derive(Debug)]
pub(crate) struct Gate {
    config: Admission,
    bound: Bound,
    inside: u32,
    queue: Queue,
    counts: Counts,
    returns: Returns,
    rng: Rng,
    /// Since when somebody has been waiting all the time.
    waiting_since: Option<Instant>,
    overloaded: bool,
    /// A mean of the time inside over about a hundred requests.
    inside_us: Option<f64>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each service, and the large one is the usual one")]
enum Bound {
    Off,
    Fixed(u32),
    Adaptive(Knee),
}

impl Gate {
    pub(crate) fn new(now: Instant, config: Admission, rng: Rng) -> Self {
        let bound = match config.limit {
            Limit::Off => Bound::Off,
            Limit::Fixed(limit) => Bound::Fixed(limit),
            Limit::Adaptive { least, first, most } => Bound::Adaptive(Knee::new(now, least, first, most)),
        };
        Self {
            config,
            bound,
            inside: 0,
            queue: Queue::default(),
            counts: Counts::new(now),
            returns: Returns::default(),
            rng,
            waiting_since: None,
            overloaded: false,
            inside_us: None,
        }
    }

    pub(crate) fn arrive(&mut self, now: Instant, class: Class, deadline: Option<Instant>, out: &mut Outbox) -> Admit {
        self.counts.on_offered(now);
        self.returns.on_arrival(now);
        self.expire(now, out);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Admit::Shed(self.shed(now, Why::Deadline));
        }
        if self.is_open() {
            return Admit::Go(self.pass(now, now));
        }
        if let Bound::Adaptive(knee) = &mut self.bound {
            knee.on_bound();
        }
        if let Some(why) = self.vain(now, class, deadline) {
            return Admit::Shed(self.shed(now, why));
        }
        if self.queue.len() >= self.config.queue_max as usize && !mutation::on(Mutation::QueueUnbounded) {
            let gives_way = match self.order() {
                Order::NewestFirst => self.queue.lowest().is_some_and(|lowest| lowest >= class.index()),
                Order::OldestFirst => self.queue.lowest().is_some_and(|lowest| lowest > class.index()),
            };
            if !gives_way {
                return Admit::Shed(self.shed(now, Why::QueueFull));
            }
            let ticket = self.queue.pop_last(self.order()).expect("a full queue has a last one");
            let shed = self.shed(now, Why::Displaced);
            out.shed.push((ticket, shed));
        }
        let ticket = self.queue.push(class, Waiting { arrived: now, deadline });
        self.settle(now, out);
        Admit::Wait(ticket)
    }

    pub(crate) fn cancel(&mut self, now: Instant, ticket: Ticket, out: &mut Outbox) -> bool {
        let waited = self.queue.remove(ticket).is_some();
        self.settle(now, out);
        waited
    }

    /// Who comes need not wait.
    pub(crate) fn is_open(&self) -> bool {
        self.queue.len() == 0 && self.has_room()
    }

    pub(crate) fn come_back(&mut self, now: Instant) -> Pass {
        self.pass(now, now)
    }

    pub(crate) fn leave(&mut self, now: Instant, pass: &Pass, left: Left, out: &mut Outbox) {
        self.inside = self.inside.checked_sub(1).expect("each pass is given back once");
        let stay_us = real(now.since_ns(pass.admitted)) / 1e3;
        let mean = self.inside_us.unwrap_or(stay_us);
        self.inside_us = Some(mean + (stay_us - mean) * 0.02);
        self.counts.on_left(now, pass.admitted);
        self.note_inside(now);
        let sample_us = match left {
            Left::Served { first_byte_us } => Some(first_byte_us),
            Left::TimedOut => Some(whole(stay_us)),
            Left::Failed | Left::Cancelled => None,
        };
        if let (Bound::Adaptive(knee), Some(us)) = (&mut self.bound, sample_us) {
            knee.on_sample(now, us);
        }
        self.settle(now, out);
    }

    pub(crate) fn on_timer(&mut self, now: Instant, out: &mut Outbox) {
        self.settle(now, out);
    }

    /// When somebody will have waited in vain.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tired = self.queue.oldest().map(|(_, arrived)| Instant(arrived.0 + self.wait_max_ns() + 1));
        let late = self
            .queue
            .first_deadline()
            .filter(|_| !mutation::on(Mutation::AdmittedPastDeadline))
            .map(|deadline| Instant(deadline.0.saturating_sub(self.answer_ns()) + 1));
        [tired, late].into_iter().flatten().min()
    }

    pub(crate) fn limit(&self) -> u32 {
        match &self.bound {
            Bound::Off => u32::MAX,
            Bound::Fixed(limit) => *limit,
            Bound::Adaptive(knee) => knee.limit(),
        }
    }

    pub(crate) fn set_limit(&mut self, now: Instant, limit: u32, out: &mut Outbox) {
        self.bound = Bound::Fixed(limit);
        self.settle(now, out);
    }

    pub(crate) fn inside(&self) -> u32 {
        self.inside
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_overloaded(&self) -> bool {
        self.overloaded
    }

    /// The time that an answer takes without load, as far as known.
    pub(crate) fn answer_ns(&self) -> u64 {
        let known = match &self.bound {
            Bound::Adaptive(knee) => knee.no_load_us(),
            Bound::Off | Bound::Fixed(_) => self.inside_us,
        };
        known.map_or(0, |us| whole(us * 1e3))
    }

    pub(crate) fn meter(&self, now: Instant) -> Meter {
        let meter = self.counts.read(now);
        let limit = self.limit();
        let utilisation = meter.inside / f64::from(limit.max(1));
        Meter { limit, utilisation, no_load_ms: real(self.answer_ns()) / 1e6, ..meter }
    }

    /// Lets in who has room, sheds who waits in vain, and sees whether the queue has stood for too long.
    fn settle(&mut self, now: Instant, out: &mut Outbox) {
        self.expire(now, out);
        while self.has_room() {
            let Some((ticket, waiting)) = self.queue.pop(self.order()) else { break };
            let pass = self.pass(now, waiting.arrived);
            out.go.push((ticket, pass));
        }
        self.judge(now, out);
        self.note_inside(now);
    }

    fn has_room(&self) -> bool {
        self.inside < self.limit() || mutation::on(Mutation::LimitIgnored)
    }

    fn pass(&mut self, now: Instant, arrived: Instant) -> Pass {
        self.inside += 1;
        self.counts.on_admitted(now, arrived);
        self.note_inside(now);
        Pass { admitted: now }
    }

    fn note_inside(&mut self, now: Instant) {
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.counts.set(now, self.inside, waiting);
        if let Bound::Adaptive(knee) = &mut self.bound {
            knee.on_inside(now, self.inside);
        }
    }

    /// Why a newcomer need not wait, if so.
    fn vain(&self, now: Instant, class: Class, deadline: Option<Instant>) -> Option<Why> {
        if mutation::on(Mutation::QueueUnbounded) {
            return None;
        }
        let wait_ns = match self.order() {
            Order::OldestFirst => self.wait_ns(self.queue.before(class)),
            Order::NewestFirst => 0,
        };
        let late = |deadline: Instant| now.0 + wait_ns + self.answer_ns() > deadline.0;
        match () {
            () if deadline.is_some_and(late) && !mutation::on(Mutation::AdmittedPastDeadline) => Some(Why::Deadline),
            () if wait_ns > self.wait_max_ns() => Some(Why::QueueFull),
            () => None,
        }
    }

    fn expire(&mut self, now: Instant, out: &mut Outbox) {
        if !mutation::on(Mutation::AdmittedPastDeadline) {
            let answered = Instant(now.0 + self.answer_ns());
            while let Some(ticket) = self.queue.pop_late(answered) {
                out.shed.push((ticket, self.shed(now, Why::Deadline)));
            }
        }
        let Some(arrived_max) = now.0.checked_sub(self.wait_max_ns() + 1) else { return };
        while let Some(ticket) = self.queue.pop_older(Instant(arrived_max)) {
            out.shed.push((ticket, self.shed(now, Why::WaitedTooLong)));
        }
    }

    fn judge(&mut self, now: Instant, out: &mut Outbox) {
        self.waiting_since = match self.queue.len() {
            0 => None,
            _ => self.waiting_since.or(Some(now)),
        };
        let overloaded = self.waiting_since.is_some_and(|since| now.since_ns(since) > self.patience_ns());
        if overloaded != self.overloaded {
            self.overloaded = overloaded;
            out.events.push(if overloaded { Event::OverloadBegun } else { Event::OverloadOver });
        }
        match self.waiting_since {
            None => self.returns.on_calm(now),
            Some(_) => self.returns.on_waiting(),
        }
    }

    fn order(&self) -> Order {
        match self.overloaded && !mutation::on(Mutation::OldestFirstInOverload) {
            true => Order::NewestFirst,
            false => Order::OldestFirst,
        }
    }

    /// For how long a burst may be smoothed.
    fn patience_ns(&self) -> u64 {
        match self.config.wait_max_ms {
            0 => (self.answer_ns() * PATIENCE_TIMES).clamp(PATIENCE_NS_LEAST, PATIENCE_NS_MOST),
            ms => ms.saturating_mul(NS_PER_MS),
        }
    }

    /// How long anybody waits.
    fn wait_max_ns(&self) -> u64 {
        match self.order() {
            Order::OldestFirst => self.patience_ns(),
            Order::NewestFirst => self.answer_ns().clamp(HURRY_NS_LEAST, self.patience_ns().max(HURRY_NS_LEAST)),
        }
    }

    /// How long it takes to let so many in: by L = λW, the service ends `limit / W` per second.
    fn wait_ns(&self, ahead: usize) -> u64 {
        self.rate_per_s().map_or(0, |rate| whole(real(ahead as u64) / rate * 1e9))
    }

    fn rate_per_s(&self) -> Option<f64> {
        let inside_s = self.inside_us? / 1e6;
        Some(f64::from(self.limit().clamp(1, self.inside.max(1))) / inside_s.max(1e-6))
    }

    fn shed(&mut self, now: Instant, why: Why) -> Shed {
        self.counts.on_shed(now);
        let queue_ns = self.wait_ns(self.queue.len()) + self.answer_ns();
        let retry_after_ms = self.returns.place(now, queue_ns, self.rate_per_s(), &mut self.rng);
        Shed { retry_after_ms, why }
    }
}

/// How many service times a burst may wait, within bounds.
const PATIENCE_TIMES: u64 = 10;
const PATIENCE_NS_LEAST: u64 = 20 * NS_PER_MS;
const PATIENCE_NS_MOST: u64 = 1_000 * NS_PER_MS;
/// How long anybody waits under overload at least.
const HURRY_NS_LEAST: u64 = 5 * NS_PER_MS;
