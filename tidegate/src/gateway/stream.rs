//! A client's connection as bytes: in clear or by TLS, with what was read of it before it was known what it speaks.

use rustix::event::{PollFd, PollFlags, Timespec};
use std::cell::Cell;
use std::future::Future;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// See the module.
#[derive(Debug)]
pub enum Stream {
    Clear(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// The socket, and what is to be read before it.
#[derive(Debug)]
pub struct Socket {
    pub tcp: TcpStream,
    pub early: Vec<u8>,
    /// Bytes that have left, where somebody wants to know.
    written: Option<Rc<Cell<u64>>>,
}

impl Stream {
    /// True if the client has ended its half, whether or not what it sent before was read.
    pub fn has_ended(&self) -> bool {
        let looked = std::pin::pin!(self.tcp().ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(looked, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// True if the kernel holds what it couldn't send yet, since the client's machine takes no more.
    ///
    /// A socket is said to be writable where less is unsent than its low-water mark: so with a mark of one byte that is the answer.
    /// Behind the end of this half it always is.
    pub fn has_unsent(&self) -> bool {
        let socket = socket2::SockRef::from(self.tcp());
        let mut polled = [PollFd::new(self.tcp(), PollFlags::OUT)];
        // Where it can't be told, nothing is waited for.
        if socket.set_tcp_notsent_lowat(1).is_err() {
            return false;
        }
        let ready = rustix::event::poll(&mut polled, Some(&Timespec::default()));
        let _ = socket.set_tcp_notsent_lowat(0);
        ready == Ok(0)
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(socket) => &socket.tcp,
            Self::Tls(tls) => &tls.get_ref().0.tcp,
        }
    }

    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Clear(_) => "http",
            Self::Tls(_) => "https",
        }
    }
}

impl Stream {
    /// Counts what leaves from now on.
    pub fn count(&mut self) -> Rc<Cell<u64>> {
        let written = Rc::default();
        let socket = match self {
            Self::Clear(socket) => socket,
            Self::Tls(tls) => tls.get_mut().0,
        };
        socket.written = Some(Rc::clone(&written));
        written
    }
}

impl Socket {
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, early: Vec::new(), written: None }
    }
}

impl Socket {
    fn count(&self, polled: &Poll<Result<usize>>) {
        if let (Some(written), Poll::Ready(Ok(bytes))) = (&self.written, polled) {
            written.set(written.get() + *bytes as u64);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(context, into);
        }
        let bytes = self.early.len().min(into.remaining());
        into.put_slice(&self.early[..bytes]);
        self.early.drain(..bytes);
        if self.early.is_empty() {
            // It is not used again: nothing of it stays.
            self.early = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.count(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.count(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_read(context, into),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut *self {
            Self::Clear(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut *self {
            Self::Clear(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}
