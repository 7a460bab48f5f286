//! A connection of HTTP/2 as h2 is given it, so that its end takes nothing from a client that reads slowly.
//!
//! A socket that is closed while its client still sends (as it does while it reads: windows, answers to pings) throws away what it
//! hasn't sent yet. So when the gateway ends a connection, its own half ends first, and what still comes is read and thrown away
//! until the client has ended too. How long that may take depends on whether anything of a response is still here, which is looked at
//! just before: behind the end nobody can tell.

use crate::gateway::stream::Stream;
use std::cell::Cell;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
#[derive(Debug)]
pub struct Outlet {
    stream: Stream,
    tail: Rc<Tail>,
    closed: bool,
}

/// What is known of the connection's last bytes.
#[derive(Debug, Default)]
pub struct Tail {
    /// Bytes that went out, and those that came behind the end.
    pub moved: Rc<Cell<u64>>,
    /// The gateway has told the client that it ends the connection.
    pub leaving: Cell<bool>,
    /// Whether something is unsent is to be looked up the next time that h2 is called.
    pub look: Cell<bool>,
    /// The client's machine has not taken all.
    pub unsent: Cell<bool>,
    /// The gateway's half has ended just now.
    pub closed: Cell<bool>,
}

const READ_BYTES: usize = 4096;

impl Outlet {
    pub fn new(mut stream: Stream) -> (Self, Rc<Tail>) {
        let tail = Rc::new(Tail { moved: stream.count(), ..Tail::default() });
        (Self { stream, tail: tail.clone(), closed: false }, tail)
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        if written.is_pending() {
            self.tail.unsent.set(true);
        }
        written
    }
}

impl AsyncRead for Outlet {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Outlet {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// It is called whenever h2 is and has nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if self.tail.look.take() {
            self.tail.unsent.set(flushed.is_pending() || self.stream.has_unsent());
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if !this.tail.leaving.get() {
            return Pin::new(&mut this.stream).poll_shutdown(context);
        }
        if !this.closed {
            this.tail.unsent.set(this.stream.has_unsent());
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.closed = true;
            this.tail.closed.set(true);
        }
        let mut bytes = [0; READ_BYTES];
        loop {
            let mut into = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut into))?;
            if into.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.tail.moved.set(this.tail.moved.get() + into.filled().len() as u64);
        }
    }
}
