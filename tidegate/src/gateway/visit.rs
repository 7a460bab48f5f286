//! A client's connection, from accept to close.

use super::call::{Answered, Call};
use super::config::{ClientTimes, Config, Protocol};
use super::door::{self, Opened};
use super::exchange;
use super::headers::Told;
use super::inlet::{Inlet, InletState};
use super::lane::{Origin, Place};
use super::stream::Stream;
use super::streams::{self, Next, Streams};
use super::strict::HeadLimits;
use super::tls::Session;
use super::watch::{Phase, Watch};
use base::Instant;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub struct Visit {
    pub peer: SocketAddr,
    /// Of TLS; none in clear.
    pub session: Option<Rc<Session>>,
    pub told: Told,
    pub times: ClientTimes,
    /// The connection's own bounds: what it does without a request, and its end.
    pub watch: Rc<Watch>,
    /// How long it may be without a request: less when the gateway goes.
    idle: Cell<Duration>,
    /// Of HTTP/1.1, which doesn't read while it answers and holds what comes next.
    inlet: RefCell<Option<Rc<InletState>>>,
    /// Of one that carries many requests at once.
    pub streams: Option<Streams>,
}

/// What hyper may buffer of a connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
const READ_AHEAD_BYTES: usize = 8 * 1024;
/// For the last answer on a connection, and its end.
pub const LINGER_TIME: Duration = Duration::from_secs(2);

impl Visit {
    /// How long the connection may be without a request.
    pub fn idle(&self) -> Duration {
        self.idle.get()
    }

    /// Has it looked up whether its client has gone unnoticed.
    pub fn look(&self) {
        if self.inlet.borrow().as_ref().is_some_and(|inlet| inlet.set_look()) {
            self.watch.wake();
        }
    }

    /// A request has begun on a stream.
    pub fn on_stream(&self) {
        let Some(streams) = &self.streams else { return };
        if streams.begin() {
            self.watch.pause();
        }
    }

    /// A request on a stream has ended.
    pub fn on_stream_end(&self, now: Instant, answered: Answered) {
        let Some(streams) = &self.streams else { return };
        match streams.end(answered) {
            Next::Nothing => {}
            Next::Idle => self.watch.begin(Phase::Idle, now, self.idle.get()),
            Next::Linger => self.watch.begin(Phase::Linger, now, streams::LEAVE_TIME),
            Next::Close => self.watch.expire(Phase::Linger),
        }
    }

    /// The gateway goes: a connection without a request may stay for `time`. One of HTTP/2 says at once which requests it still takes.
    pub fn hurry(&self, now: Instant, time: Duration) {
        if let Some(streams) = &self.streams {
            if streams.leave() {
                self.watch.expire(Phase::Idle);
            }
            return;
        }
        self.idle.set(time);
        if self.watch.phase() == Phase::Idle {
            self.watch.begin(Phase::Idle, now, time);
        }
    }
}

/// Serves one connection to its end.
pub async fn serve(place: Place, stream: TcpStream, origin: Origin) {
    let lane = &place.lane;
    let Some(Opened { stream, peer, identity, session, speaks }) = door::open(lane, stream, origin).await else {
        return;
    };
    let table = lane.table();
    let config: &Config = &table.config;
    let watch = Watch::new(lane.wheel.clone());
    let times = config.client_times;
    watch.begin(Phase::Idle, crate::clock::boot(), times.header);
    let told = Told::new(peer, (stream.scheme(), identity, speaks), &config.trusted, config.forwarded);
    let (head, streams_max) = (config.head, config.streams_max);
    drop(table);
    let idle = Cell::new(times.idle);
    let streams = (speaks == Protocol::H2).then(Streams::default);
    let visit =
        Rc::new(Visit { peer, session, told, times, watch: watch.clone(), idle, inlet: RefCell::default(), streams });
    place.settle(visit.clone());
    match speaks {
        Protocol::H1 => serve_one_by_one(&place, visit, stream, head).await,
        Protocol::H2 => streams::serve(&place, visit, stream, (head, streams_max)).await,
    }
    watch.stop();
}

/// A connection that carries one request at a time.
async fn serve_one_by_one(place: &Place, visit: Rc<Visit>, stream: Stream, head: HeadLimits) {
    let (lane, watch) = (&place.lane, visit.watch.clone());
    let (inlet, state) = Inlet::new(stream, head, visit.clone());
    *visit.inlet.borrow_mut() = Some(state.clone());
    let call = Call::of_connection(visit, state.clone());
    let of_request = (lane.clone(), call.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (lane, call) = of_request.clone();
        async move { Ok::<_, Infallible>(exchange::answer(lane, call, request).await) }
    });
    let mut builder = http1::Builder::new();
    // A head is whole before it is read, so there must be room for the longest.
    builder.max_buf_size(BUFFER_BYTES_MAX.max(head.bytes_max + READ_AHEAD_BYTES)).max_headers(head.headers_max + 1);
    let mut connection = builder.serve_connection(TokioIo::new(inlet), service);
    let ended = std::future::poll_fn(|context| {
        watch.register(context);
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
                return Poll::Ready(ended.is_ok());
            }
            let Some(over) = watch.over() else { return Poll::Pending };
            match over.phase {
                Phase::Idle => Pin::new(&mut connection).graceful_shutdown(),
                Phase::Head => state.set_late(),
                // A request that is over is ended by itself, when it is polled. It wasn't, for its response goes to a client that
                // doesn't read.
                _ => return Poll::Ready(false),
            }
            watch.begin(Phase::Linger, crate::clock::boot(), LINGER_TIME);
        }
    });
    // What goes wrong on a connection is its peer's affair; what it means for a request is in its record.
    let well = ended.await;
    if let Some(tunnel) = call.take_tunnel().filter(|_| well) {
        let parts = connection.into_parts();
        let (stream, held) = parts.io.into_inner().into_parts();
        let first = [&parts.read_buf[..], &held].concat();
        tunnel.run(stream, Bytes::from(first), watch).await;
    }
}
