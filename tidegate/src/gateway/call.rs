//! A request as its connection sees it: whose it is, its own bounds on time, and whom its end is told.
//!
//! A connection of HTTP/1.1 carries one request at a time: it has one call, and one watch, which each of its requests uses in turn, so
//! that a request costs it no allocation. One of HTTP/2 carries many at once, and gives each stream a call and a watch of its own.

use super::config::ClientTimes;
use super::headers::Told;
use super::inlet::InletState;
use super::refusal::{Code, Refusal};
use super::streams::Unsent;
use super::tls::Session;
use super::tunnel::Tunnel;
use super::visit::{LINGER_TIME, Visit};
use super::watch::{Phase, Watch, Wheel};
use base::Instant;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Call {
    visit: Rc<Visit>,
    /// The bounds of the request's phases.
    pub watch: Rc<Watch>,
    carrier: Carrier,
    /// What the connection is joined with, once hyper has let go of it.
    tunnel: RefCell<Option<Tunnel>>,
}

/// What carries it.
#[derive(Debug)]
enum Carrier {
    /// A connection that carries one at a time, and has carried so many.
    Connection { inlet: Rc<InletState>, number: Cell<u64> },
    /// One of many; what is wrong with its head, if something is.
    Stream {
        unsound: RefCell<Option<Refusal>>,
        /// The request wants to be joined, behind such an answer of the endpoint's (`Sec-WebSocket-Accept`).
        accept: Option<HeaderValue>,
    },
}

impl Call {
    /// The one call of a connection that carries one request at a time.
    pub fn of_connection(visit: Rc<Visit>, inlet: Rc<InletState>) -> Rc<Self> {
        let carrier = Carrier::Connection { inlet, number: Cell::new(0) };
        Rc::new(Self { watch: visit.watch.clone(), visit, carrier, tunnel: RefCell::default() })
    }

    /// That of a stream.
    pub fn of_stream(
        visit: Rc<Visit>,
        wheel: Rc<Wheel>,
        unsound: Option<Refusal>,
        accept: Option<HeaderValue>,
    ) -> Rc<Self> {
        let carrier = Carrier::Stream { unsound: RefCell::new(unsound), accept };
        Rc::new(Self { watch: Watch::new(wheel), visit, carrier, tunnel: RefCell::default() })
    }

    /// A call for what is done in the place of several requests: as this one's client would be told of, with bounds of its own.
    pub fn of_all(&self, watch: Rc<Watch>) -> Rc<Self> {
        let carrier = Carrier::Stream { unsound: RefCell::new(None), accept: None };
        Rc::new(Self { watch, visit: self.visit.clone(), carrier, tunnel: RefCell::default() })
    }

    /// How the client's URLs begin.
    pub fn scheme(&self) -> &'static str {
        self.visit.told.scheme()
    }

    pub fn peer(&self) -> SocketAddr {
        self.visit.peer
    }

    /// How its connection is secured; none in clear.
    pub fn session(&self) -> Option<&Rc<Session>> {
        self.visit.session.as_ref()
    }

    pub fn told(&self) -> &Told {
        &self.visit.told
    }

    /// A request begins; the refusal, if it stands in the place of one that could not be read.
    pub fn begin(&self) -> Option<Refusal> {
        match &self.carrier {
            Carrier::Connection { inlet, number } => {
                number.set(number.get() + 1);
                inlet.set_busy(true);
                inlet.refusal_of(number.get())
            }
            Carrier::Stream { unsound, .. } => {
                self.visit.on_stream();
                unsound.take()
            }
        }
    }

    /// What was wrong within the request's body, if its framing was.
    pub fn spoiled(&self) -> Option<Code> {
        match &self.carrier {
            Carrier::Connection { inlet, .. } => inlet.spoiled(),
            Carrier::Stream { .. } => None,
        }
    }

    /// What the endpoint must answer, where the request is of no use unless it is joined with it.
    pub fn accept(&self) -> Option<&HeaderValue> {
        if let Carrier::Stream { accept, .. } = &self.carrier { accept.as_ref() } else { None }
    }

    /// How long the client may take nothing of what is there for it.
    pub fn stall_time(&self) -> Duration {
        self.visit.times.body
    }

    /// The connection goes on so behind its 101.
    pub fn join(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Counts a piece of the response until it has left, where it may stay behind the request's end.
    pub fn unsent(&self) -> Option<Unsent> {
        matches!(self.carrier, Carrier::Stream { .. }).then(|| Unsent::new(self.visit.clone()))
    }

    /// The connection takes no more requests behind this one: where that is said by the headers of its response, it is.
    pub fn close(&self, headers: &mut HeaderMap) {
        if matches!(self.carrier, Carrier::Connection { .. }) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// An answer of the gateway's own is on its way.
    pub fn refuse(&self, headers: &mut HeaderMap) {
        if matches!(self.carrier, Carrier::Stream { .. }) {
            // A stream ends by itself, and its connection goes on.
            headers.remove(CONNECTION);
            self.watch.set_deadline(None);
            self.watch.begin(Phase::Linger, crate::clock::boot(), LINGER_TIME);
        }
    }

    /// Its response has ended, or will never begin.
    pub fn end(&self, now: Instant, answered: Answered) {
        let ClientTimes { header, .. } = self.visit.times;
        match &self.carrier {
            Carrier::Connection { inlet, number } => {
                inlet.set_busy(false);
                inlet.set_answered(number.get());
                self.watch.set_deadline(None);
                if inlet.in_head() {
                    self.watch.begin(Phase::Head, now, header);
                } else {
                    self.watch.begin(Phase::Idle, now, self.visit.idle());
                }
            }
            // Its watch goes on until the last of it has left: that is its task's affair.
            Carrier::Stream { .. } => self.visit.on_stream_end(now, answered),
        }
    }
}

/// Whether a request had an answer when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Yes,
    /// Its client went before, or took it back.
    No,
}
