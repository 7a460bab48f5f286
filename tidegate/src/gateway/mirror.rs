//! Copies of requests to another service, whose answers nobody sees: how a new version bears what really comes.
//!
//! A copy is a request of its own, let in last and never waited for: its original is sent, and answered, as if there were none. A body
//! is copied as it passes. Where it is longer than it may be, or breaks off, there is no copy; nor where too many are under way.

use super::body::Payload;
use super::call::Call;
use super::exchange::{self, Way};
use super::lane::{Lane, Table};
use super::record::Notes;
use super::upstream::{Upstream, add};
use super::watch::Watch;
use bytes::{Bytes, BytesMut};
use gateway::Class;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::header::UPGRADE;
use hyper::http::request::Parts;
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use tokio::sync::oneshot;

/// Of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The service's place.
    pub service: usize,
    /// Of all requests.
    pub percent: u64,
    pub body_bytes_max: usize,
}

/// What has passed of a request's body.
#[derive(Debug)]
pub struct Tee {
    bytes: RefCell<BytesMut>,
    bytes_max: usize,
    /// Who waits for all of it; none once that can't come.
    whole: RefCell<Option<oneshot::Sender<Bytes>>>,
}

/// A copy, until its answer has been read. So many of a service are under way at most, on one lane.
struct Copy {
    lane: Rc<Lane>,
    table: Rc<Table>,
    call: Rc<Call>,
    upstream: Rc<Upstream>,
    parts: Parts,
}

const COPIES_MAX: u64 = 256;

/// Begins a copy of a request, if it is among those that are copied. What is returned is to see its body pass.
pub fn begin(way: &Way<'_>, mirror: &Mirror, parts: &Parts, body: &Incoming) -> Option<Rc<Tee>> {
    if way.lane.draw(100) >= mirror.percent {
        return None;
    }
    let upstream = &way.table.upstreams[mirror.service];
    let has_body = !body.is_end_stream();
    let too_long = has_body && body.size_hint().lower() > mirror.body_bytes_max as u64;
    if too_long || parts.headers.contains_key(UPGRADE) || upstream.counts.copies.get() >= COPIES_MAX {
        add(&upstream.counts.mirror_skipped, 1);
        return None;
    }
    let (mut copied, ()) = Request::new(()).into_parts();
    (copied.method, copied.uri) = (parts.method.clone(), parts.uri.clone());
    copied.headers = parts.headers.clone();
    add(&upstream.counts.copies, 1);
    let copy = Copy {
        lane: way.lane.clone(),
        table: way.table.clone(),
        call: way.call.of_all(Watch::new(way.lane.wheel.clone())),
        upstream: upstream.clone(),
        parts: copied,
    };
    if !has_body {
        tokio::task::spawn_local(copy.run(None));
        return None;
    }
    let (whole, comes) = oneshot::channel();
    tokio::task::spawn_local(copy.run(Some(comes)));
    Some(Rc::new(Tee { bytes: RefCell::default(), bytes_max: mirror.body_bytes_max, whole: RefCell::new(Some(whole)) }))
}

impl Tee {
    pub fn push(&self, piece: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.len() + piece.len() > self.bytes_max {
            *bytes = BytesMut::new();
            self.whole.borrow_mut().take();
        } else if self.whole.borrow().is_some() {
            bytes.extend_from_slice(piece);
        }
    }

    /// All has passed.
    pub fn end(&self) {
        if let Some(whole) = self.whole.borrow_mut().take() {
            // The copy may have gone with its lane.
            let _ = whole.send(std::mem::take(&mut *self.bytes.borrow_mut()).freeze());
        }
    }
}

impl Copy {
    async fn run(mut self, body: Option<oneshot::Receiver<Bytes>>) {
        let body = match body {
            None => None,
            Some(whole) => match whole.await {
                Ok(whole) => Some(Payload::Copy(Some(whole))),
                Err(_) => return add(&self.upstream.counts.mirror_skipped, 1),
            },
        };
        add(&self.upstream.counts.mirrored, 1);
        let begun = crate::clock::boot();
        let (empty, ()) = Request::new(()).into_parts();
        let parts = std::mem::replace(&mut self.parts, empty);
        let way = Way {
            lane: &self.lane,
            table: &self.table,
            call: &self.call,
            upstream: &self.upstream,
            class: Class::new(u8::MAX),
            tee: None,
        };
        let notes = Notes::default();
        let mut sent = pin!(exchange::send(&way, parts, body, &notes, begun));
        let watch = &self.call.watch;
        let sent = std::future::poll_fn(|context| {
            watch.register(context);
            sent.as_mut().poll(context)
        });
        let (status, mut download) = match sent.await {
            Ok((response, passed)) => (response.status().as_u16(), passed.into_body()),
            Err(refusal) => (refusal.status().as_u16(), None),
        };
        while let Some(body) = download.as_mut() {
            let frame = std::future::poll_fn(|context| {
                watch.register(context);
                Pin::new(&mut *body).poll_frame(context)
            });
            if !matches!(frame.await, Some(Ok(_))) {
                break;
            }
        }
        let counts = &self.upstream.counts;
        add(&counts.answers[usize::from(status / 100).min(5)], 1);
        counts.time_ns.add(crate::clock::boot().since_ns(begun), 1);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.call.watch.stop();
        let copies = &self.upstream.counts.copies;
        copies.set(copies.get() - 1);
    }
}
