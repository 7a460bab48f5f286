//! A request's account: kept from its head to the end of its response, whatever that is, and given once.

use super::body::{Broken, Download};
use super::lane::Lane;
use super::refusal::Refusal;
use super::upstream::{Target, Upstream, add};
use super::visit::Visit;
use base::Instant;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, StatusCode};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// See the module. Its drop is the end of the request.
#[derive(Debug)]
pub struct Record {
    pub lane: Rc<Lane>,
    visit: Rc<Visit>,
    begun: Instant,
    status: Cell<u16>,
    upstream: RefCell<Option<Rc<Upstream>>>,
}

impl Record {
    pub fn new(lane: Rc<Lane>, visit: Rc<Visit>, _request: &Request<Incoming>) -> Self {
        Self { lane, visit, begun: crate::clock::boot(), status: Cell::new(0), upstream: RefCell::new(None) }
    }

    pub fn set_status(&self, status: StatusCode) {
        self.status.set(status.as_u16());
    }

    pub fn set_refused(&self, refusal: &Refusal) {
        self.set_status(refusal.status());
    }

    pub fn set_upstream(&self, upstream: Rc<Upstream>) {
        *self.upstream.borrow_mut() = Some(upstream);
    }

    pub fn set_target(&self, _target: &Rc<Target>, _tries: u32) {}
}

impl Drop for Record {
    fn drop(&mut self) {
        let now = crate::clock::boot();
        let class = usize::from(self.status.get() / 100).min(5);
        if let Some(upstream) = self.upstream.get_mut() {
            add(&upstream.counts.answers[class], 1);
            upstream.counts.time_ns.add(now.since_ns(self.begun), 1);
        }
        self.visit.end_request(now);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct Reply {
    source: Source,
    _record: Record,
}

#[derive(Debug)]
enum Source {
    Own(Option<Bytes>),
    Passed(Box<Download>),
}

impl Reply {
    pub fn own(body: Bytes, record: Record) -> Self {
        Self { source: Source::Own(Some(body).filter(|body| !body.is_empty())), _record: record }
    }

    pub fn passed(download: Download, record: Record) -> Self {
        Self { source: Source::Passed(Box::new(download)), _record: record }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.source {
            Source::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Source::Passed(download) => Pin::new(&mut **download).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(body) => body.is_none(),
            Source::Passed(download) => download.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Source::Passed(download) => download.size_hint(),
        }
    }
}
