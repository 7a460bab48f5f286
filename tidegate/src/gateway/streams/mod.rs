//! A client's connection of HTTP/2: each stream is a request with a call, a watch and a task of its own, answered as any other.
//!
//! h2 reads the frames, and bounds what it can know of: headers and what continues them, frames that want an answer, streams that
//! are reset before anybody has looked at them. What it lets pass is looked at by [`sound`] before it may become a request of
//! HTTP/1.1. Requests that are taken back as fast as they come are counted here, for they cost endpoints more than their clients.

mod outlet;
mod sound;
pub mod websocket;

use super::call::{Answered, Call};
use super::config::STREAMS_MOST;
use super::exchange;
use super::lane::Place;
use super::refusal::{Code, Refusal};
use super::stream::Stream;
use super::strict::HeadLimits;
use super::visit::Visit;
use super::watch::{Phase, Watch};
use base::Instant;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use outlet::{Outlet, Tail};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use websocket::{Asked, Half};

/// What a connection knows of its streams.
#[derive(Debug, Default)]
pub struct Streams {
    open: Cell<u32>,
    begun: Cell<u64>,
    /// Half of both counts is forgotten then.
    counts_until: Cell<Instant>,
    /// Those that their client took back before the head of an answer could leave, whoever would have given it.
    taken_back: Cell<u64>,
    leave: Cell<Leave>,
    /// Pieces of responses that h2 holds, whose requests may have ended.
    unsent: Cell<u32>,
    pub flooded: Cell<bool>,
}

/// Whether the connection is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leave {
    #[default]
    No,
    /// The client is to be told.
    Wanted,
    /// It was.
    Said,
}

/// A piece of a response, until it has left or was given up.
#[derive(Debug)]
pub struct Unsent(Rc<Visit>);

impl Unsent {
    pub fn new(visit: Rc<Visit>) -> Self {
        visit.streams.iter().for_each(|streams| streams.unsent.set(streams.unsent.get() + 1));
        Self(visit)
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.streams.iter().for_each(|streams| streams.unsent.set(streams.unsent.get() - 1));
    }
}

/// What a connection does behind the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Nothing,
    Idle,
    Linger,
    Close,
}

/// So many requests may be taken back, and half of all behind that.
const TAKEN_BACK_MIN: u64 = 100;
/// Unread bytes of one request's body. A connection's window holds that of all its streams, so that none which nobody reads stops
/// another. It is a trade: a body comes by so much in a round trip at most, which is 13 Mbit/s over 80 ms, and all requests that are
/// in progress together may hold it.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const _: () = assert!(STREAM_WINDOW_BYTES as u64 * STREAMS_MOST as u64 <= 0x7fff_ffff, "the largest window there is");
/// Bytes of a response that its client doesn't read: of each of a hundred streams.
const SEND_BYTES_MAX: usize = 16 * 1024;
/// Requests, and those that were taken back, are counted for so long.
const COUNTS_MS: u64 = 10_000;
/// Streams that came and were reset before anybody has looked at them: at once, as in one write.
const RESET_STREAMS_MAX: usize = 20;
/// Streams that were refused while their client sent on.
const REFUSED_STREAMS_MAX: usize = 128;
/// Behind the last response, for the client to hear that the connection ends. One that has not taken all of it has as long as any that
/// doesn't read.
pub const LEAVE_TIME: Duration = Duration::from_secs(3);
/// A client that sends nothing is asked so often whether it is there, and has so long to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIME_MAX: Duration = Duration::from_secs(20);

impl Streams {
    /// One more; true if the connection's own time is to stand still.
    pub fn begin(&self) -> bool {
        let now = crate::clock::boot();
        if now >= self.counts_until.get() {
            // Who changes his mind now and then is no flood, however long he stays; what was is forgotten by and by.
            self.counts_until.set(now.plus_ms(COUNTS_MS));
            self.begun.set((self.begun.get() / 2).max(self.open.get().into()));
            self.taken_back.set(self.taken_back.get() / 2);
        }
        self.open.set(self.open.get() + 1);
        self.begun.set(self.begun.get() + 1);
        self.leave.get() != Leave::Wanted
    }

    pub fn end(&self, answered: Answered) -> Next {
        self.open.set(self.open.get() - 1);
        if answered == Answered::No {
            self.taken_back.set(self.taken_back.get() + 1);
            let taken_back = self.taken_back.get();
            if taken_back > TAKEN_BACK_MIN && 2 * taken_back > self.begun.get() {
                self.flooded.set(true);
                return Next::Close;
            }
        }
        match (self.open.get(), self.leave.get()) {
            (0, Leave::No) => Next::Idle,
            (0, Leave::Said) => Next::Linger,
            _ => Next::Nothing,
        }
    }

    /// The client is to be told that the connection ends; true if that is new.
    pub fn leave(&self) -> bool {
        let new = self.leave.get() == Leave::No;
        if new {
            self.leave.set(Leave::Wanted);
        }
        new
    }
}

/// Serves one connection to its end.
pub async fn serve(place: &Place, visit: Rc<Visit>, stream: Stream, (head, streams_max): (HeadLimits, u32)) {
    super::upstream::add(&place.lane.many_at_once, 1);
    let (watch, tasks) = (visit.watch.clone(), Tasks::default());
    let (lane, next, of_visit) = (place.lane.clone(), tasks.next.clone(), visit.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let made = sound::make(&mut request, &head, || lane.chance());
        let (asked, unsound) =
            made.map_or_else(|why| (None, Some(Refusal::of(Code::Framing(why)))), |asked| (asked, None));
        let accept = asked.as_ref().map(Asked::accept);
        let call = Call::of_stream(of_visit.clone(), lane.wheel.clone(), unsound, accept);
        *next.borrow_mut() = Some(Bound::Request(call.watch.clone()));
        let (lane, next) = (lane.clone(), next.clone());
        async move {
            let response = exchange::answer(lane.clone(), call.clone(), request).await;
            let Some(asked) = asked else { return Ok(response) };
            let (response, half) = asked.join(&call, response, lane.wheel.clone());
            *next.borrow_mut() = half.map(Bound::Half);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(streams_max)
        .max_header_list_size(u32::try_from(head.bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(Some(RESET_STREAMS_MAX))
        .max_local_error_reset_streams(Some(REFUSED_STREAMS_MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES.saturating_mul(streams_max))
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIME_MAX);
    let (outlet, tail) = Outlet::new(stream);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(outlet), service));
    let mut end = End { visit: visit.clone(), tail, seen: 0 };
    let ended = std::future::poll_fn(|context| {
        watch.register(context);
        loop {
            // What is left of responses is looked up while h2 is called.
            let looks = watch.over().is_some();
            end.tail.look.set(looks);
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            end.note();
            let Some(over) = watch.over() else { return Poll::Pending };
            if !looks {
                continue;
            }
            match end.step(over.phase) {
                Step::Tell => connection.as_mut().graceful_shutdown(),
                Step::Wait => {}
                Step::Close => return Poll::Ready(Ok(())),
            }
        }
    });
    let ended = ended.await;
    let flooded = visit.streams.as_ref().is_some_and(|streams| streams.flooded.get());
    if flooded || ended.is_err_and(|error| is_flood(&error)) {
        super::upstream::add(&place.lane.floods, 1);
    }
}

/// How the gateway ends a connection: it tells the client, waits until the streams have ended and what is left of them has left, and
/// closes.
struct End {
    visit: Rc<Visit>,
    tail: Rc<Tail>,
    /// Bytes that had moved when it was looked at last.
    seen: u64,
}

/// What is to be done at the end of a phase.
enum Step {
    Tell,
    Wait,
    Close,
}

impl End {
    /// Behind each call of h2: a client that takes something has its time anew, and one that all was sent to less.
    fn note(&mut self) {
        let (watch, stall_time) = (&self.visit.watch, self.visit.times.body);
        let moved = std::mem::replace(&mut self.seen, self.tail.moved.get()) != self.tail.moved.get();
        if self.tail.closed.take() {
            let (phase, time) =
                if self.tail.unsent.get() { (Phase::Flush, stall_time) } else { (Phase::Linger, LEAVE_TIME) };
            watch.begin(phase, crate::clock::boot(), time);
        } else if moved && watch.phase() == Phase::Flush && self.is_quiet() {
            watch.begin(Phase::Flush, crate::clock::boot(), stall_time);
        }
    }

    fn step(&mut self, phase: Phase) -> Step {
        let Some(streams) = self.visit.streams.as_ref().filter(|streams| !streams.flooded.get()) else {
            // Without a GOAWAY: hyper has that of a graceful end alone, which says that all streams are still heard, with no error.
            return Step::Close;
        };
        let (watch, now) = (&self.visit.watch, crate::clock::boot());
        match phase {
            Phase::Linger if streams.unsent.get() > 0 || self.tail.unsent.get() => {
                watch.begin(Phase::Flush, now, self.visit.times.body);
                Step::Wait
            }
            Phase::Linger | Phase::Flush => Step::Close,
            _ => {
                streams.leave.set(Leave::Said);
                self.tail.leaving.set(true);
                if self.is_quiet() {
                    watch.begin(Phase::Linger, now, LEAVE_TIME);
                } else {
                    watch.pause();
                }
                Step::Tell
            }
        }
    }

    /// No stream is open.
    fn is_quiet(&self) -> bool {
        self.visit.streams.as_ref().is_none_or(|streams| streams.open.get() == 0)
    }
}

/// h2 has ended the connection since its client sent too much of what costs nothing to send.
fn is_flood(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// Runs streams, each within the time that its watch gives it.
///
/// hyper hands a stream's task over right behind the call of the service that makes it, and that of a joined stream's half behind the
/// answer that joins it: so what was left there last is its own.
#[derive(Clone, Debug, Default)]
struct Tasks {
    next: Rc<RefCell<Option<Bound>>>,
}

/// What bounds a task.
#[derive(Debug)]
enum Bound {
    Request(Rc<Watch>),
    Half(Rc<Half>),
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        match self.next.take() {
            Some(Bound::Request(watch)) => drop(tokio::task::spawn_local(bounded(watch, task))),
            Some(Bound::Half(half)) => drop(tokio::task::spawn_local(half.run(task))),
            None => drop(tokio::task::spawn_local(task)),
        }
    }
}

/// A request that is over is ended by itself, when it is polled. A stream that is over nevertheless goes to a client that doesn't read
/// it, and is reset by being dropped.
async fn bounded(watch: Rc<Watch>, task: impl Future<Output = ()>) {
    let mut task = pin!(task);
    std::future::poll_fn(|context| {
        watch.register(context);
        match task.as_mut().poll(context) {
            Poll::Pending if watch.over().is_none() => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
    watch.stop();
}
