//! A client's connection, from accept to close.

use super::config::{ClientTimes, Config};
use super::exchange;
use super::headers::Told;
use super::inlet::{Inlet, InletState};
use super::lane::Lane;
use super::watch::{Phase, Watch};
use base::Instant;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// See the module.
#[derive(Debug)]
pub struct Visit {
    pub peer: SocketAddr,
    pub watch: Rc<Watch>,
    pub inlet: Rc<InletState>,
    pub told: Told,
    times: ClientTimes,
    /// How long it may be without a request: less when the gateway goes.
    idle: Cell<Duration>,
    requests: Cell<u64>,
}

/// What hyper may buffer of a connection.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// For the last answer on a connection, and its end.
pub const LINGER_TIME: Duration = Duration::from_secs(2);

impl Visit {
    /// A request has begun; its number, from one.
    pub fn begin_request(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        self.inlet.set_busy(true);
        self.requests.get()
    }

    /// Its response has ended: the connection waits for the next one.
    pub fn end_request(&self, now: Instant) {
        self.inlet.set_busy(false);
        self.watch.set_deadline(None);
        if self.inlet.in_head() {
            self.watch.begin(Phase::Head, now, self.times.header);
        } else {
            self.watch.begin(Phase::Idle, now, self.idle.get());
        }
    }

    /// The gateway goes: a connection without a request may stay for `time`.
    pub fn hurry(&self, now: Instant, time: Duration) {
        self.idle.set(time);
        if self.watch.phase() == Phase::Idle {
            self.watch.begin(Phase::Idle, now, time);
        }
    }
}

/// Serves one connection to its end.
pub async fn serve(lane: Rc<Lane>, stream: TcpStream, peer: SocketAddr) {
    let table = lane.table();
    let config: &Config = &table.config;
    let _ = stream.set_nodelay(true);
    let watch = Watch::new(lane.wheel.clone());
    let times = config.client_times;
    watch.begin(Phase::Idle, crate::clock::boot(), times.header);
    let (inlet, state) = Inlet::new(stream, config.head, watch.clone(), times.header);
    let trusted = config.trusted.iter().any(|network| network.holds(peer.ip()));
    let told = Told::new(peer, trusted, config.forwarded);
    let headers_max = config.head.headers_max;
    drop(table);
    let visit = Rc::new(Visit {
        peer,
        watch: watch.clone(),
        inlet: state,
        told,
        times,
        idle: Cell::new(times.idle),
        requests: Cell::new(0),
    });
    let _place = lane.enter(visit.clone());
    let of_request = (lane.clone(), visit.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (lane, visit) = of_request.clone();
        async move { Ok::<_, Infallible>(exchange::answer(lane, visit, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_BYTES_MAX).max_headers(headers_max + 1);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(inlet), service));
    let ended = std::future::poll_fn(|context| {
        watch.register(context);
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let Some(over) = watch.over() else { return Poll::Pending };
            match over.phase {
                Phase::Idle => connection.as_mut().graceful_shutdown(),
                Phase::Head => visit.inlet.set_late(),
                // A request that is over is ended by itself, when it is polled. It wasn't, for its response goes to a client that
                // doesn't read.
                _ => return Poll::Ready(Ok(())),
            }
            watch.begin(Phase::Linger, crate::clock::boot(), LINGER_TIME);
        }
    });
    // What goes wrong on a connection is its peer's affair; what it means for a request is in its record.
    let _ = ended.await;
    watch.stop();
}
