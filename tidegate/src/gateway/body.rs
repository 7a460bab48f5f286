//! Bodies on their way, both of them streams that hold no more than a piece: what has not been asked for is not read.

use super::config::ClientTimes;
use super::front::Front;
use super::headers;
use super::line::Line;
use super::mirror::Tee;
use super::place::Place;
use super::refusal::Code;
use super::trunk::stream::Stream;
use super::upstream::Flying;
use super::watch::{Phase, Watch};
use base::Instant;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, TRANSFER_ENCODING};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A request's body on its way to the upstream.
#[derive(Debug)]
pub struct Upload {
    /// None for a request without a body, which may be sent more than once.
    body: Option<Payload>,
    state: Rc<UploadState>,
}

/// Where it comes from.
#[derive(Debug)]
pub enum Payload {
    Client(Box<Front>),
    /// What another request's body was; none once it is read.
    Copy(Option<Bytes>),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Client(body) => Pin::new(&mut **body).poll_frame(context),
            Self::Copy(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            Self::Copy(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body) => body.size_hint(),
            Self::Copy(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}

/// What the request's other parts know of its body.
#[derive(Debug)]
pub struct UploadState {
    watch: Rc<Watch>,
    /// Without a byte for so long, it is given up, and if it comes too slowly.
    time: Duration,
    grace: Duration,
    rate: u64,
    /// When it has ended: how long the upstream has for the head of its response.
    response_time: Duration,
    bytes_max: u64,
    /// The endpoint's protocol asks for no more of a body that is whole by its length.
    by_length: bool,
    bytes: Cell<u64>,
    /// What was read and has not passed yet.
    ahead: Cell<u64>,
    ended: Cell<bool>,
    /// Since when the client is waited for, not the upstream.
    wants: Cell<Option<Instant>>,
    /// How long it was waited for before that, and before the last try began.
    waited_ns: Cell<u64>,
    waited_before_ns: Cell<u64>,
    /// What is given back while the body comes too slowly.
    place: RefCell<Weak<Place>>,
    /// Why it ended before its end.
    failed: Cell<Option<Code>>,
    /// Who sees it pass, for a copy.
    tee: Option<Rc<Tee>>,
}

/// What ends a body before its end; the reason is known elsewhere.
#[derive(Debug)]
pub struct Broken(&'static str);

impl Broken {
    pub fn new(what: &'static str) -> Self {
        Self(what)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl UploadState {
    pub fn new(
        watch: Rc<Watch>,
        times: &ClientTimes,
        response_time: Duration,
        (bytes_max, empty, by_length): (u64, bool, bool),
        tee: Option<Rc<Tee>>,
    ) -> Rc<Self> {
        let ClientTimes { body: time, body_grace: grace, body_rate: rate, .. } = *times;
        Rc::new(Self {
            watch,
            time,
            grace,
            rate,
            response_time,
            bytes_max,
            by_length,
            bytes: Cell::new(0),
            ahead: Cell::new(0),
            ended: Cell::new(empty),
            wants: Cell::new(None),
            waited_ns: Cell::new(0),
            waited_before_ns: Cell::new(0),
            place: RefCell::default(),
            failed: Cell::new(None),
            tee,
        })
    }

    /// Begins the phase that a request is in when it is sent.
    pub fn begin(&self) {
        let now = crate::clock::boot();
        self.waited_ns.set(self.waited_ns(now));
        self.waited_before_ns.set(self.waited_ns.get());
        self.wants.set(None);
        if self.ended.get() {
            self.watch.begin(Phase::Response, now, self.response_time);
        } else {
            self.watch.begin(Phase::Upload, now, self.time);
        }
    }

    /// So many bytes have come that are no body's.
    pub fn count(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// So many bytes of the body have come before they are asked for.
    pub fn read_ahead(&self, bytes: u64) {
        self.ahead.set(self.ahead.get() + bytes);
    }

    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    pub fn wants(&self) -> bool {
        self.wants.get().is_some()
    }

    /// How long the client was waited for.
    pub fn waited_ns(&self, now: Instant) -> u64 {
        self.waited_ns.get() + self.wants.get().map_or(0, |since| now.since_ns(since))
    }

    /// The same, since the last try began.
    pub fn waited_in_try_ns(&self, now: Instant) -> u64 {
        self.waited_ns(now) - self.waited_before_ns.get()
    }

    pub fn set_place(&self, place: Weak<Place>) {
        *self.place.borrow_mut() = place;
    }

    /// The client is waited for from now on: for a byte, and for as many as should have come by then.
    pub fn begin_wait(&self) {
        if self.wants.get().is_none() {
            let now = crate::clock::boot();
            self.wants.set(Some(now));
            self.watch.moved(Phase::Upload, now, self.time.min(self.allowance()));
        }
    }

    pub fn end_wait(&self) {
        let now = crate::clock::boot();
        self.waited_ns.set(self.waited_ns(now));
        self.wants.set(None);
        self.watch.moved(Phase::Upload, now, self.time);
        // What streams both ways moves while either does.
        self.watch.moved(Phase::Download, now, self.time.max(self.response_time));
    }

    /// How much longer the client may be waited for, as much as it has sent.
    fn allowance(&self) -> Duration {
        if self.rate == 0 {
            return Duration::MAX;
        }
        let bought_ms = (self.bytes.get() + self.ahead.get()).saturating_mul(1000) / self.rate;
        let allowed = self.grace.saturating_add(Duration::from_millis(bought_ms));
        allowed.saturating_sub(Duration::from_nanos(self.waited_ns.get()))
    }

    pub fn failed(&self) -> Option<Code> {
        self.failed.get()
    }

    fn end(&self) {
        if let Some(tee) = &self.tee {
            tee.end();
        }
        if self.ended.replace(true) {
            return;
        }
        if self.watch.phase() == Phase::Upload {
            self.watch.begin(Phase::Response, crate::clock::boot(), self.response_time);
        }
        let place = self.place.take().upgrade();
        place.iter().for_each(|place| place.on_uploaded());
    }
}

impl Upload {
    pub fn new(body: Option<Payload>, state: Rc<UploadState>) -> Self {
        Self { body, state }
    }

    /// The body, if nothing of it was read.
    pub fn into_body(self) -> Option<Payload> {
        self.body
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { body, state } = &mut *self;
        let Some(body) = body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        let Poll::Ready(frame) = polled else {
            state.begin_wait();
            return Poll::Pending;
        };
        state.end_wait();
        match frame {
            None => {
                state.end();
                Poll::Ready(None)
            }
            Some(Err(_)) => {
                state.failed.set(Some(Code::BodyBroken));
                Poll::Ready(Some(Err(Broken("the client's body broke off"))))
            }
            Some(Ok(mut frame)) => {
                let passed = frame.data_ref().map_or(0, |data| data.len() as u64);
                let bytes = state.bytes.get() + passed;
                state.bytes.set(bytes);
                state.ahead.set(state.ahead.get().saturating_sub(passed));
                if bytes > state.bytes_max {
                    state.failed.set(Some(Code::BodyTooLarge));
                    return Poll::Ready(Some(Err(Broken("the client's body is too large"))));
                }
                if let (Some(tee), Some(data)) = (&state.tee, frame.data_ref()) {
                    tee.push(data);
                }
                // A body of HTTP/2 that is whole by its length may not have said yet that it ends, and by HTTP/1.1 nobody asks it any more.
                let whole = state.by_length && body.size_hint().exact() == Some(0);
                let last = frame.is_trailers() || whole || body.is_end_stream();
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                if last {
                    state.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What says how to read a message can't come behind it.
fn strip_trailers(trailers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, HOST, CONTENT_ENCODING, CONTENT_TYPE] {
        trailers.remove(name);
    }
    headers::strip_claims(trailers);
}

/// A response's body, by what it comes; that is gone when it has ended.
#[derive(Debug)]
pub enum Arriving {
    Line(Incoming, Option<Line>),
    Stream(Option<Box<Stream>>),
}

impl Arriving {
    /// The next piece; an error if it breaks off.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        match self {
            Self::Line(body, line) => {
                // Asking for a piece lets the connection read it; so it is driven between two looks.
                let quiet = &mut Context::from_waker(Waker::noop());
                let mut polled = Pin::new(&mut *body).poll_frame(quiet);
                if polled.is_pending() {
                    if let Some(line) = line {
                        line.drive(context);
                    }
                    polled = Pin::new(body).poll_frame(quiet);
                }
                polled.map_err(drop)
            }
            Self::Stream(Some(stream)) => stream.poll_frame(context).map_err(drop),
            Self::Stream(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Line(body, _) => body.is_end_stream(),
            Self::Stream(stream) => stream.as_ref().is_none_or(|stream| stream.is_end_stream()),
        }
    }

    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Line(body, _) => body.size_hint(),
            Self::Stream(Some(_)) => SizeHint::default(),
            Self::Stream(None) => SizeHint::with_exact(0),
        }
    }

    /// It has ended: its connection, if that can carry another request.
    fn end(&mut self, upload: &UploadState) -> Option<Line> {
        match self {
            Self::Line(_, line) => {
                let mut line = line.take()?;
                // A request that was answered before it was read blocks its connection.
                (upload.ended() && line.settle()).then_some(line)
            }
            Self::Stream(stream) => {
                *stream = None;
                None
            }
        }
    }
}
/// With a response whose body ends when its connection does: nobody can tell whether that was its end.
#[derive(Clone, Copy, Debug)]
pub struct UntilClose;

/// A response's body on its way to the client.
#[derive(Debug)]
pub struct Download {
    body: Arriving,
    flying: Flying,
    watch: Rc<Watch>,
    time: Duration,
    upload: Rc<UploadState>,
    bytes: u64,
    ended: bool,
}

impl Download {
    pub fn new(body: Arriving, flying: Flying, watch: Rc<Watch>, time: Duration, upload: Rc<UploadState>) -> Self {
        watch.begin(Phase::Download, crate::clock::boot(), time);
        let mut download = Self { body, flying, watch, time, upload, bytes: 0, ended: false };
        if download.body.is_end_stream() {
            download.finish();
        }
        download
    }

    /// The body has come to its end: its connection is free for others, if it can carry another request.
    fn finish(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.flying.land(self.body.end(&self.upload));
        }
    }

    fn on_frame(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        let now = crate::clock::boot();
        if let Some(data) = frame.data_ref() {
            self.bytes += data.len() as u64;
            self.flying.passed(now, self.bytes);
        }
        let last = frame.is_trailers() || self.body.is_end_stream();
        if let Some(trailers) = frame.trailers_mut() {
            strip_trailers(trailers);
        }
        self.watch.moved(Phase::Download, now, self.time);
        if last {
            self.finish();
        }
        frame
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.flying.taken();
        // It may have been handed to another task since it was begun.
        this.watch.register(context);
        if let Some(over) = this.watch.over() {
            this.flying.timed_out(over.by_deadline);
            return Poll::Ready(Some(Err(Broken("the endpoint's body stopped"))));
        }
        match std::task::ready!(this.body.poll_frame(context)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(this.on_frame(frame)))),
            None => {
                this.finish();
                Poll::Ready(None)
            }
            Some(Err(_)) => {
                // A client whose upload broke off ended the response with it: the endpoint did nothing wrong.
                match this.upload.failed() {
                    Some(_) => this.flying.cancelled(),
                    None => this.flying.broke(),
                }
                Poll::Ready(Some(Err(Broken("the endpoint's body broke off"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
