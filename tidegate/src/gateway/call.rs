//! A request as its connection sees it: whose it is, its own bounds on time, and whom its end is told.
//!
//! A connection of HTTP/1.1 carries one request at a time: it has one call, and one watch, which each of its requests uses in turn, so
//! that a request costs it no allocation. What carries many at once gives each a call of its own.

use super::config::ClientTimes;
use super::headers::Told;
use super::inlet::InletState;
use super::refusal::{Code, Refusal};
use super::visit::Visit;
use super::watch::{Phase, Watch};
use base::Instant;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

/// See the module.
#[derive(Debug)]
pub struct Call {
    visit: Rc<Visit>,
    /// The bounds of the request's phases.
    pub watch: Rc<Watch>,
    inlet: Rc<InletState>,
    /// Requests so far.
    number: Cell<u64>,
}

impl Call {
    /// The one call of a connection that carries one request at a time.
    pub fn of_connection(visit: Rc<Visit>, inlet: Rc<InletState>) -> Rc<Self> {
        Rc::new(Self { watch: visit.watch.clone(), visit, inlet, number: Cell::new(0) })
    }

    /// A call for what is done in the place of several requests: as this one's client would be told of, with bounds of its own.
    pub fn of_all(&self, watch: Rc<Watch>) -> Rc<Self> {
        Rc::new(Self { visit: self.visit.clone(), watch, inlet: Rc::default(), number: Cell::new(0) })
    }

    /// How the client's URLs begin.
    pub fn scheme(&self) -> &'static str {
        "http"
    }

    pub fn peer(&self) -> SocketAddr {
        self.visit.peer
    }

    pub fn told(&self) -> &Told {
        &self.visit.told
    }

    /// A request begins; the refusal, if it stands in the place of one that could not be read.
    pub fn begin(&self) -> Option<Refusal> {
        self.number.set(self.number.get() + 1);
        self.inlet.set_busy(true);
        self.inlet.refusal_of(self.number.get())
    }

    /// What was wrong within the request's body, if its framing was.
    pub fn spoiled(&self) -> Option<Code> {
        self.inlet.spoiled()
    }

    /// Its response has ended: the connection waits for the next one.
    pub fn end(&self, now: Instant) {
        self.inlet.set_busy(false);
        self.watch.set_deadline(None);
        let ClientTimes { header, .. } = self.visit.times;
        if self.inlet.in_head() {
            self.watch.begin(Phase::Head, now, header);
        } else {
            self.watch.begin(Phase::Idle, now, self.visit.idle());
        }
    }
}
