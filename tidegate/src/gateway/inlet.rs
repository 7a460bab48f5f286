//! A client's connection as hyper sees it: bytes that the scanner let pass, and a made request in place of what it did not.
//!
//! A head that is refused never reaches hyper. Instead hyper is handed a whole, harmless request, whose number says that it is to be
//! answered by the refusal: so the answer keeps its place behind those of earlier requests in the pipeline, has a body that says what
//! was wrong, and the connection ends behind it. The same way answers a head that took too long. What is wrong within a body ends the
//! reading by an error, which ends the request to the upstream before the rest of it could be taken for another.

use super::refusal::{Code, Refusal};
use super::stream::Stream;
use super::strict::{HeadLimits, Scanned, Strict};
use super::visit::{LINGER_TIME, Visit};
use super::watch::{Phase, Watch};
use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The reading and writing ends, for hyper.
#[derive(Debug)]
pub struct Inlet {
    stream: Stream,
    strict: Strict,
    /// A head that has begun but not ended, or, if there is more ready than was asked for, the rest of that.
    held: Vec<u8>,
    /// So many bytes of it may pass, from the front.
    ready: usize,
    state: Rc<InletState>,
    watch: Rc<Watch>,
    visit: Rc<Visit>,
    ended: bool,
    /// Reads behind the end of writing; none if that isn't reached.
    lingering: Option<usize>,
}

/// What the connection's other parts know of it.
#[derive(Debug, Default)]
pub struct InletState {
    /// Which request is to be answered by a refusal, counted from one, and how.
    refusal: RefCell<Option<(u64, Refusal)>>,
    /// What was wrong within a body.
    spoiled: Cell<Option<Code>>,
    /// A head has begun and not ended.
    in_head: Cell<bool>,
    /// A request is being answered.
    busy: Cell<bool>,
    /// Bytes read and written.
    pub bytes_in: Cell<u64>,
    pub bytes_out: Cell<u64>,
    /// The head took too long: refuse it.
    late: Cell<bool>,
}

/// What hyper reads in the place of a head that is refused.
const MADE_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
const READ_BYTES: usize = 4096;
const LINGER_READS_MAX: usize = 256;

impl Inlet {
    pub fn new(stream: Stream, limits: HeadLimits, visit: Rc<Visit>) -> (Self, Rc<InletState>) {
        let state = Rc::new(InletState::default());
        let strict = Strict::new(limits);
        let (held, ready) = (Vec::new(), 0);
        let inlet = Self {
            stream,
            strict,
            held,
            ready,
            state: state.clone(),
            watch: visit.watch.clone(),
            visit,
            ended: false,
            lingering: None,
        };
        (inlet, state)
    }

    /// Hands out what is ready of what is held; false if there is none.
    fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let bytes = self.ready.min(into.remaining());
        if bytes == 0 {
            return false;
        }
        into.put_slice(&self.held[..bytes]);
        self.held.drain(..bytes);
        self.ready -= bytes;
        true
    }

    /// The scanner's word about bytes that were read: how many may pass, or the end of all reading.
    fn judge(&mut self, scanned: Scanned) -> Result<usize> {
        let Scanned { passed, refused } = scanned;
        let Some(refused) = refused else { return Ok(passed) };
        self.ended = true;
        if self.strict.in_body() {
            self.state.spoiled.set(Some(Code::Framing(refused)));
            // What hyper has of the body so far is enough for it to fail.
            return if passed > 0 { Ok(passed) } else { Err(spoiled()) };
        }
        self.refuse(Refusal::of(Code::Framing(refused)));
        Ok(passed)
    }

    /// The next request that hyper reads is a made one, to be answered so.
    fn refuse(&mut self, refusal: Refusal) {
        *self.state.refusal.borrow_mut() = Some((self.strict.heads() + 1, refusal));
        self.ended = true;
    }

    /// After the last head that may pass: the made request.
    fn hold_made_request(&mut self) {
        self.held.truncate(self.ready);
        self.held.extend_from_slice(MADE_REQUEST);
        self.ready = self.held.len();
    }

    /// Looks at `fresh` bytes at the end of `into`, which is all that there is: takes back what may not pass yet.
    fn filter(&mut self, into: &mut ReadBuf<'_>, before: usize) -> Result<()> {
        let scanned = self.strict.scan(&into.filled()[before..]);
        let passed = self.judge(scanned)?;
        let keep = before + passed;
        if self.ended {
            into.set_filled(keep);
            if !self.strict.in_body() {
                self.hold_made_request();
            }
        } else if keep < into.filled().len() {
            self.held.extend_from_slice(&into.filled()[keep..]);
            into.set_filled(keep);
        }
        self.note_head();
        Ok(())
    }

    /// The time for a head begins with its first byte, unless a request is still being answered.
    fn note_head(&mut self) {
        let in_head = !self.ended && self.held.len() > self.ready;
        if in_head && !self.state.in_head.replace(true) && !self.state.busy.get() {
            self.watch.begin(Phase::Head, crate::clock::boot(), self.visit.times.header);
        }
        self.state.in_head.set(in_head);
    }

    fn on_write(&mut self, polled: Poll<Result<usize>>) -> Poll<Result<usize>> {
        self.note_flush(polled.is_pending());
        if let Poll::Ready(Ok(written)) = &polled {
            self.state.count_out(*written);
        }
        polled
    }

    /// A request has ended when its last bytes are hyper's: a connection is not idle before its client has taken them.
    fn note_flush(&mut self, waits: bool) {
        let phase = self.watch.phase();
        if waits && phase == Phase::Idle {
            self.watch.begin(Phase::Flush, crate::clock::boot(), self.visit.times.body);
        } else if !waits && phase == Phase::Flush {
            // Each byte that is taken begins the time anew: what is left of them is written next.
            self.watch.begin(Phase::Idle, crate::clock::boot(), self.visit.idle());
        }
    }

    /// Reads behind what is held; false if nothing came but the end of the stream.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<bool>> {
        let mut bytes = [0; READ_BYTES];
        let mut more = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut more))?;
        let fresh = more.filled().len();
        self.state.count_in(fresh);
        self.held.extend_from_slice(more.filled());
        if fresh == 0 {
            return Poll::Ready(Ok(false));
        }
        let scanned = self.strict.scan(&self.held[self.ready..]);
        let passed = self.judge(scanned)?;
        self.ready += passed;
        if self.ended && !self.strict.in_body() {
            self.hold_made_request();
        }
        self.note_head();
        Poll::Ready(Ok(true))
    }
}

fn spoiled() -> Error {
    Error::new(ErrorKind::InvalidData, "the framing of a body is broken")
}

impl AsyncRead for Inlet {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        loop {
            if this.give(into) {
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                // A broken body is an error; behind a made request there is silence until its answer has closed the connection.
                return if this.state.spoiled.get().is_some() { Poll::Ready(Err(spoiled())) } else { Poll::Pending };
            }
            if this.state.late.get() {
                this.refuse(Refusal::of(Code::HeadLate));
                this.hold_made_request();
                continue;
            }
            if this.held.is_empty() {
                let before = into.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
                let fresh = into.filled().len() - before;
                this.state.count_in(fresh);
                if fresh == 0 {
                    return Poll::Ready(Ok(()));
                }
                this.filter(into, before)?;
                if into.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            } else if !ready!(this.poll_more(context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Inlet {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.on_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.on_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.note_flush(polled.is_pending());
        polled
    }

    /// A socket that is closed with unread bytes takes its last answer with it: so what the client still sends is read and thrown
    /// away, for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.watch.begin(Phase::Linger, crate::clock::boot(), LINGER_TIME);
        }
        let mut bytes = [0; READ_BYTES];
        for reads in this.lingering.unwrap_or(0).. {
            this.lingering = Some(reads);
            let mut into = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut into))?;
            if into.filled().is_empty() || reads >= LINGER_READS_MAX {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl InletState {
    /// The refusal that request number `number` is to be answered by, if it is a made one.
    pub fn refusal_of(&self, number: u64) -> Option<Refusal> {
        let mut refusal = self.refusal.borrow_mut();
        refusal.as_ref().filter(|(refused, _)| *refused == number)?;
        refusal.take().map(|(_, refusal)| refusal)
    }

    /// What was wrong within the body, if something was.
    pub fn spoiled(&self) -> Option<Code> {
        self.spoiled.get()
    }

    pub fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
    }

    pub fn in_head(&self) -> bool {
        self.in_head.get()
    }

    /// A head that has begun is refused for its lateness at the next reading.
    pub fn set_late(&self) {
        self.late.set(true);
    }

    fn count_in(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    fn count_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }
}
