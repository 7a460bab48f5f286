//! One thread of the generator: a readiness loop over its share of the connections.
//!
//! Each turn: notice which requests are due, hand them to free connections, write, wait for readiness, read replies. In
//! a closed loop a request is always due, so the pipelines of all connections stay full. In an open loop the schedule
//! decides; requests that find no free connection wait here, and their clock runs.

use super::connection::{Connection, Lost};
use super::load::Load;
use super::reply::Answer;
use super::schedule::Schedule;
use super::tally::Tally;
use super::window::Window;
use base::rng::Rng;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One thread.
#[derive(Debug)]
pub struct Worker<'a> {
    load: &'a Load,
    live: &'a Live,
    pipeline: usize,
    pace: Pace,
    window: Window,
    start: Instant,
    rng: Rng,
    poll: Poll,
    timer: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Connections with room in their pipelines, the longest free first.
    free: VecDeque<usize>,
    /// Connections with output that no write has been tried for.
    unwritten: Vec<usize>,
    in_flight: u64,
    /// Until when the number in flight has been integrated.
    counted_ns: u64,
    /// Time spent in polls.
    waited_ns: u64,
    /// The due time that the timer is set to.
    armed_ns: u64,
    tally: Tally,
}

/// What all threads tell the progress line.
#[derive(Debug, Default)]
pub struct Live {
    pub replies: AtomicU64,
    pub errors: AtomicU64,
}

/// When requests are due.
#[derive(Debug)]
pub enum Pace {
    /// As soon as there is room for one.
    Closed,
    /// `noticed` is ahead of `sent` by the requests that wait for a free connection.
    Open { noticed: Schedule, sent: Schedule, waiting: u64 },
}

impl Pace {
    #[must_use]
    pub fn open(schedule: Schedule) -> Self {
        Self::Open { noticed: schedule.clone(), sent: schedule, waiting: 0 }
    }

    fn waiting(&self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open { waiting, .. } => *waiting,
        }
    }
}

impl<'a> Worker<'a> {
    /// A thread with connections that are open already.
    pub fn new(
        load: &'a Load,
        live: &'a Live,
        pipeline: usize,
        pace: Pace,
        window: Window,
        seed: u64,
        streams: Vec<std::net::TcpStream>,
    ) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let mut connections = Vec::new();
        for (place, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
            let mut connection = Connection::new(stream);
            connection.queued = true;
            connections.push(Some(connection));
        }
        Ok(Self {
            load,
            live,
            pipeline,
            pace,
            window,
            start: Instant::now(),
            rng: Rng::new(seed),
            poll,
            timer,
            free: (0..connections.len()).collect(),
            connections,
            unwritten: Vec::new(),
            in_flight: 0,
            counted_ns: 0,
            waited_ns: 0,
            armed_ns: 0,
            tally: Tally::new(load.names().len()),
        })
    }

    /// Runs from `start` until the window is closed and all replies are here, or don't come any more.
    pub fn run(mut self, start: Instant) -> std::io::Result<Tally> {
        self.start = start;
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let now_ns = self.now_ns();
            self.notice(now_ns);
            self.issue(now_ns);
            if self.is_over(now_ns) {
                return Ok(self.finish());
            }
            let timeout = self.timeout()?;
            let before_ns = self.now_ns();
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            self.waited_ns += self.now_ns() - before_ns;
            for event in &events {
                let place = event.token().0;
                if event.token() == TIMER {
                    // Setting the timer anew takes its readiness back.
                    continue;
                }
                if event.is_writable() {
                    self.write(place);
                }
                if event.is_read_closed()
                    && let Some(Some(connection)) = self.connections.get_mut(place)
                {
                    connection.hung_up = true;
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read(place, &mut buffer);
                }
            }
        }
    }

    fn now_ns(&self) -> u64 {
        since(self.start)
    }

    /// Counts what has become due in an open loop.
    fn notice(&mut self, now_ns: u64) {
        let Pace::Open { noticed, waiting, .. } = &mut self.pace else { return };
        while noticed.peek_ns() <= now_ns && self.window.admits(noticed.peek_ns()) {
            if self.window.measures(noticed.peek_ns()) {
                self.tally.lag.saturating_record(now_ns - noticed.peek_ns());
            }
            self.window.on_request(noticed.peek_ns());
            noticed.advance();
            *waiting += 1;
        }
    }

    /// Hands due requests to free connections.
    fn issue(&mut self, now_ns: u64) {
        self.integrate(now_ns);
        while let Some(place) = self.free.front().copied() {
            let due = match &mut self.pace {
                Pace::Closed if self.window.admits(now_ns) => {
                    self.window.on_request(now_ns);
                    Some(now_ns)
                }
                Pace::Closed | Pace::Open { waiting: 0, .. } => None,
                Pace::Open { sent, waiting, .. } => {
                    let due_ns = sent.peek_ns();
                    sent.advance();
                    *waiting -= 1;
                    Some(due_ns)
                }
            };
            let Some(due_ns) = due else { break };
            self.send(place, due_ns, now_ns);
        }
        self.flush();
    }

    fn send(&mut self, place: usize, due_ns: u64, now_ns: u64) {
        let Some(connection) = &mut self.connections[place] else { return };
        if !connection.has_output() {
            self.unwritten.push(place);
        }
        connection.push(self.load, &mut self.rng, due_ns, now_ns);
        self.in_flight += 1;
        if connection.pending().len() >= self.pipeline {
            connection.queued = false;
            self.free.pop_front();
        }
    }

    fn flush(&mut self) {
        while let Some(place) = self.unwritten.pop() {
            self.write(place);
        }
    }

    fn write(&mut self, place: usize) {
        let Some(connection) = &mut self.connections[place] else { return };
        match connection.write() {
            Ok(bytes) => self.tally.sent_bytes += bytes,
            Err(lost) => self.lose(place, lost),
        }
    }

    fn read(&mut self, place: usize, buffer: &mut [u8]) {
        let Some(connection) = &mut self.connections[place] else { return };
        let start = self.start;
        let (mut now_ns, mut replies, mut errors) = (0, 0, 0);
        let result = connection.read(buffer, |pending, answer| {
            if replies == 0 {
                now_ns = since(start);
            }
            replies += 1;
            errors += u64::from(matches!(answer, Answer::Error(_)));
            if self.window.measures(pending.due_ns) {
                self.tally.record(pending, now_ns, answer);
            }
        });
        if replies > 0 {
            self.integrate(now_ns);
            self.in_flight -= replies;
            self.live.replies.fetch_add(replies, Ordering::Relaxed);
            self.live.errors.fetch_add(errors, Ordering::Relaxed);
        }
        match result {
            Ok(bytes) => self.tally.received_bytes += bytes,
            Err(lost) => return self.lose(place, lost),
        }
        let connection = self.connections[place].as_mut().expect("it was there before the read");
        if !connection.queued && connection.pending().len() < self.pipeline {
            connection.queued = true;
            self.free.push_back(place);
        }
    }

    /// A connection that ended is not opened again: the report says how many there were, and why.
    fn lose(&mut self, place: usize, lost: Lost) {
        let Some(mut connection) = self.connections[place].take() else { return };
        let _ = self.poll.registry().deregister(&mut connection.stream);
        self.free.retain(|free| *free != place);
        self.in_flight -= connection.pending().len() as u64;
        let now_ns = self.now_ns();
        self.give_up(connection.pending().iter().map(|pending| pending.due_ns), now_ns);
        self.tally.connections_lost += 1;
        self.tally.loss.get_or_insert(lost.0);
    }

    /// Requests without a reply count with their age: left out, the worst would be missing from the latencies.
    fn give_up(&mut self, due_ns: impl Iterator<Item = u64>, now_ns: u64) {
        for due_ns in due_ns.filter(|due_ns| self.window.measures(*due_ns)) {
            self.tally.unanswered += 1;
            self.tally.response.saturating_record(now_ns.saturating_sub(due_ns));
        }
    }

    /// Adds the time since the last change to the integral of the number in flight; called before each change.
    fn integrate(&mut self, now_ns: u64) {
        let spent_ns = self.window.overlap_ns(self.counted_ns, now_ns);
        self.tally.flight_area_ns += spent_ns as f64 * self.in_flight as f64;
        self.counted_ns = self.counted_ns.max(now_ns);
    }

    fn is_over(&self, now_ns: u64) -> bool {
        let next_ns = match &self.pace {
            Pace::Closed => now_ns,
            Pace::Open { noticed, .. } => noticed.peek_ns(),
        };
        let alive = self.connections.iter().any(Option::is_some);
        let owed = self.in_flight + self.pace.waiting() > 0;
        let patient = now_ns < self.window.end_ns(now_ns).saturating_add(DRAIN_NS_MAX);
        let goes_on = self.window.admits(next_ns) || (owed && patient);
        !alive || !goes_on
    }

    fn finish(mut self) -> Tally {
        let now_ns = self.now_ns();
        let places: Vec<Connection> = self.connections.drain(..).flatten().collect();
        for connection in places {
            self.give_up(connection.pending().iter().map(|pending| pending.due_ns), now_ns);
        }
        if let Pace::Open { sent, waiting, .. } = &mut self.pace {
            let (mut sent, count) = (sent.clone(), *waiting);
            let due_ns = (0..count).map(|_| {
                let due_ns = sent.peek_ns();
                sent.advance();
                due_ns
            });
            self.give_up(due_ns, now_ns);
        }
        self.tally.busy_max = 1.0 - self.waited_ns as f64 / now_ns.max(1) as f64;
        self.tally.last_ns = self.tally.last_ns.max(self.window.end_ns(now_ns));
        self.tally
    }

    /// How long the next poll may wait: a due time to come is left to the timer, as polls count in milliseconds.
    fn timeout(&mut self) -> std::io::Result<Duration> {
        let Pace::Open { noticed, .. } = &self.pace else { return Ok(POLL_TIME_MAX) };
        let due_ns = noticed.peek_ns();
        let wait_ns = due_ns.saturating_sub(self.now_ns());
        if !self.window.admits(due_ns) || wait_ns > POLL_TIME_MAX_NS {
            return Ok(POLL_TIME_MAX);
        }
        if wait_ns < SPIN_NS {
            return Ok(Duration::ZERO);
        }
        if self.armed_ns != due_ns {
            let value = Timespec { tv_sec: 0, tv_nsec: i64::try_from(wait_ns).expect("it is below a second") };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            self.armed_ns = due_ns;
        }
        Ok(POLL_TIME_MAX)
    }
}

fn since(start: Instant) -> u64 {
    u64::try_from(Instant::now().saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

const TIMER: Token = Token(usize::MAX);
const READ_BYTES: usize = 64 * 1024;
const POLL_TIME_MAX: Duration = Duration::from_millis(50);
const POLL_TIME_MAX_NS: u64 = 50_000_000;
/// A due time this near is not worth a sleep: waking up takes about as long.
const SPIN_NS: u64 = 20_000;
/// How long replies may take after the last request.
const DRAIN_NS_MAX: u64 = 10_000_000_000;
