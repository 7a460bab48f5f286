//! A request's account: kept from its head to the end of its response, whatever that is, and given once.

use super::access::Line;
use super::body::{Broken, Download, UploadState};
use super::cache::Sent;
use super::call::{Answered, Call};
use super::config::Protocol;
use super::lane::Lane;
use super::refusal::{Code, Refusal};
use super::streams::Unsent;
use super::upstream::{Target, Upstream, add};
use super::{limit, trace};
use base::Instant;
use bytes::{Buf, Bytes};
use gateway::quota::Verdict;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// See the module. Its drop is the end of the request.
#[derive(Debug)]
pub struct Record {
    pub lane: Rc<Lane>,
    call: Rc<Call>,
    begun: Instant,
    status: Cell<u16>,
    bytes_out: Cell<u64>,
    upstream: RefCell<Option<Rc<Upstream>>>,
    notes: Notes,
    limited: Cell<Option<Verdict>>,
    /// It is among the requests that are counted as in progress.
    joined: Cell<bool>,
    /// Its client was there for the answer.
    told: Cell<bool>,
}

/// What the access log wants to know; nothing if there is no log. Whoever does a part of the request's work notes it here.
#[derive(Clone, Debug, Default)]
pub struct Notes(Option<Rc<RefCell<Line>>>);

impl Notes {
    pub fn set_target(&self, target: &Rc<Target>, protocol: Protocol, tries: u32) {
        self.note(|line| {
            line.endpoint.clone_from(&target.name);
            line.endpoint_protocol = protocol_name(protocol);
            line.endpoint_secure = target.is_secure();
            line.tries = tries;
        });
    }

    pub fn set_sent(&self, headers: &HeaderMap, upload: &Rc<UploadState>) {
        self.note(|line| {
            line.trace = trace::id(headers).unwrap_or_default().to_owned();
            line.upload = Some(upload.clone());
        });
    }

    fn note(&self, note: impl FnOnce(&mut Line)) {
        if let Some(line) = &self.0 {
            note(&mut line.borrow_mut());
        }
    }
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H1 => "HTTP/1.1",
        Protocol::H2 => "HTTP/2",
    }
}

impl Record {
    pub fn new(lane: Rc<Lane>, call: Rc<Call>, request: &Request<Incoming>) -> Self {
        let notes =
            Notes(lane.log.as_ref().map(|_| Rc::new(RefCell::new(Line::new(call.peer(), call.session(), request)))));
        let (status, bytes_out, upstream) = (Cell::new(0), Cell::new(0), RefCell::new(None));
        let (begun, limited, joined) = (crate::clock::boot(), Cell::new(None), Cell::new(false));
        let told = Cell::new(false);
        Self { lane, call, begun, status, bytes_out, upstream, notes, limited, joined, told }
    }

    /// Counts it as in progress until its end, unless there are as many as may be.
    pub fn join(&self, requests_max: u32) -> Result<(), Refusal> {
        self.joined.set(self.lane.join(requests_max));
        if self.joined.get() { Ok(()) } else { Err(Refusal::of(Code::RequestsFull).retry_after(FULL_RETRY_AFTER_S)) }
    }

    pub fn set_status(&self, status: StatusCode) {
        self.status.set(status.as_u16());
    }

    pub fn set_refused(&self, refusal: &Refusal) {
        self.set_status(refusal.status());
        self.notes.note(|line| line.set_refused(refusal));
    }

    pub fn set_upstream(&self, upstream: Rc<Upstream>) {
        self.notes.note(|line| line.service.clone_from(&upstream.plan.name));
        *self.upstream.borrow_mut() = Some(upstream);
    }

    /// How the cache dealt with it, in a word.
    pub fn set_cache(&self, word: &'static str) {
        self.notes.note(|line| line.cache = word);
    }

    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// When it came.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// The request was refused before it could be read: what stands in its place is not its client's.
    pub fn set_unread(&self) {
        self.notes.note(Line::set_unread);
    }

    /// What a limit says of it.
    pub fn set_limited(&self, verdict: Verdict) {
        self.limited.set(Some(limit::stricter(self.limited.get(), verdict)));
    }

    /// The answer has begun to leave, or has nothing but a head.
    pub fn set_told(&self) {
        self.told.set(true);
    }

    /// So many bytes have gone to the client.
    pub fn count_out(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
    }

    /// Tells the client of its limits.
    pub fn tell_limits(&self, headers: &mut HeaderMap) {
        if let Some(verdict) = self.limited.get() {
            limit::tell(headers, &verdict);
        }
    }
}

/// Where there are too many requests, many end each second.
const FULL_RETRY_AFTER_S: u64 = 1;
const TAKEN_BACK_NS: u64 = 500_000_000;

impl Drop for Record {
    fn drop(&mut self) {
        let now = crate::clock::boot();
        if self.joined.get() {
            self.lane.leave();
        }
        let class = usize::from(self.status.get() / 100).min(5);
        if let Some(upstream) = self.upstream.get_mut() {
            add(&upstream.counts.answers[class], 1);
            upstream.counts.time_ns.add(now.since_ns(self.begun), 1);
        }
        if let (Some(line), Some(log)) = (&self.notes.0, &self.lane.log) {
            log.put(line.borrow().text(self.status.get(), self.bytes_out.get(), now.since_ns(self.begun)));
        }
        // One whose client gave up waiting wasn't taken back as it came.
        let at_once = now.since_ns(self.begun) < TAKEN_BACK_NS;
        let unheard = self.status.get() == 0 || !self.told.get();
        let answered = if unheard && at_once { Answered::No } else { Answered::Yes };
        self.call.end(now, answered);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct Reply {
    source: Source,
    /// None behind a 101, whose record goes on with what was joined.
    record: Option<Record>,
}

/// Where it comes from.
#[derive(Debug)]
pub enum Source {
    Own(Option<Bytes>),
    Passed(Box<Download>),
    Cached(Box<Sent>),
}

impl Reply {
    pub fn own(body: Bytes, record: Record) -> Self {
        Self::of(Source::Own(Some(body).filter(|body| !body.is_empty())), record)
    }

    /// Nothing, as another protocol begins.
    pub fn joined() -> Self {
        Self { source: Source::Own(None), record: None }
    }

    pub fn of(source: Source, record: Record) -> Self {
        let reply = Self { source, record: Some(record) };
        if reply.is_end_stream() {
            reply.record.iter().for_each(Record::set_told);
        }
        reply
    }
}

/// Bytes of an answer's body on their way to the client.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    _unsent: Option<Unsent>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
    }

    fn copy_to_bytes(&mut self, bytes: usize) -> Bytes {
        self.bytes.copy_to_bytes(bytes)
    }
}

impl Body for Reply {
    type Data = Piece;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Broken>>> {
        // Who has taken his request back isn't there for the head, and the body isn't asked for.
        self.record.iter().for_each(Record::set_told);
        let polled = match &mut self.source {
            Source::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Source::Passed(download) => Pin::new(&mut **download).poll_frame(context),
            Source::Cached(sent) => Pin::new(&mut **sent).poll_frame(context),
        };
        if let (Poll::Ready(Some(Ok(frame))), Some(record)) = (&polled, &self.record) {
            record.count_out(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        let unsent = || self.record.as_ref().and_then(|record| record.call.unsent());
        polled.map_ok(|frame| frame.map_data(|bytes| Piece { bytes, _unsent: unsent() }))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(body) => body.is_none(),
            Source::Passed(download) => download.is_end_stream(),
            Source::Cached(sent) => sent.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Source::Passed(download) => download.size_hint(),
            Source::Cached(sent) => sent.size_hint(),
        }
    }
}
