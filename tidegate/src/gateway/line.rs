//! One connection to an endpoint, driven by whoever uses it.
//!
//! hyper's client is a handle and a connection that somebody must poll, usually a task of its own. Here the request's task polls both:
//! no wake from task to task on a request's way, and a request that is dropped, because its client went, closes its connection
//! with it at once. An idle connection is polled by nobody. So whether its peer has closed it is looked up in the socket when it is
//! to be used again.

use super::body::Upload;
use super::wire::Wire;
use base::Instant;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::future::Future;
use std::io::{IoSlice, Result};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
pub struct Line {
    sender: http1::SendRequest<Upload>,
    connection: Driven,
    wire: Rc<RefCell<Wire>>,
    /// When its last request ended.
    pub idle_since: Instant,
    /// When the endpoint, as it says, will close it.
    pub keep_until: Option<Instant>,
    /// Requests that it has carried.
    pub requests: u64,
}

/// What hyper may buffer of a message.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

impl Line {
    pub async fn over(wire: Wire) -> std::result::Result<Self, String> {
        let wire = Rc::new(RefCell::new(wire));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let outlet = TokioIo::new(Outlet(wire.clone()));
        let (sender, connection) = builder.handshake(outlet).await.map_err(|error| error.to_string())?;
        let connection = Driven::Open(Box::new(connection));
        let (idle_since, keep_until) = (Instant(0), None);
        Ok(Self { sender, connection, wire, idle_since, keep_until, requests: 0 })
    }

    /// True if its peer has neither closed it nor sent what nobody asked for.
    pub fn is_alive(&self) -> bool {
        self.wire.borrow_mut().is_quiet()
    }

    /// Sends a request, and drives the connection until the head of its response is there.
    ///
    /// `over` is asked at each poll whether to give up.
    pub async fn send<E>(
        &mut self,
        request: Request<Upload>,
        over: impl Fn() -> Option<E>,
    ) -> std::result::Result<std::result::Result<Response<Incoming>, TrySendError<Request<Upload>>>, E> {
        self.requests += 1;
        let mut response = pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        std::future::poll_fn(|context| {
            if let Some(error) = over() {
                return Poll::Ready(Err(error));
            }
            connection.drive(context);
            // It is the connection that makes the response ready: nobody else needs to be woken for it.
            let mut polled = response.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if polled.is_pending() && connection.end() {
                polled = response.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            polled.map(Ok)
        })
        .await
    }

    /// Behind a 101: the connection as it is, and what was read of what comes behind the response. Nothing if HTTP hasn't ended on it.
    pub fn into_upgraded(mut self) -> Option<(Wire, Bytes)> {
        self.connection.drive(&mut Context::from_waker(Waker::noop()));
        let Driven::Done(connection) = self.connection else { return None };
        let parts = connection.into_parts();
        let Outlet(kept) = parts.io.into_inner();
        drop(self.wire);
        Some((Rc::into_inner(kept)?.into_inner(), parts.read_buf))
    }

    /// Lets the connection do what it can.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        self.connection.drive(context);
        self.connection.end();
    }

    /// The response has been read to its end: whether the connection can carry another request. Nobody is woken for it until then.
    pub fn settle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        matches!(self.connection, Driven::Open(_)) && self.sender.is_ready()
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("open", &matches!(self.connection, Driven::Open(_)))
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// hyper's part of the connection.
enum Driven {
    Open(Box<Connection>),
    /// It has come to its end without an error: as by a 101, behind which it is taken apart.
    Done(Box<Connection>),
    /// It is gone: what waits for it has learnt that.
    Gone,
}

type Connection = http1::Connection<TokioIo<Outlet>, Upload>;

impl Driven {
    fn drive(&mut self, context: &mut Context<'_>) {
        let Self::Open(connection) = self else { return };
        let Poll::Ready(ended) = Pin::new(&mut **connection).poll(context) else { return };
        *self = match (std::mem::replace(self, Self::Gone), ended) {
            (Self::Open(connection), Ok(())) => Self::Done(connection),
            _ => Self::Gone,
        };
    }

    /// Lets go of a connection that has come to its end; true if it had.
    fn end(&mut self) -> bool {
        let done = matches!(self, Self::Done(_));
        if done {
            *self = Self::Gone;
        }
        done
    }
}

/// The wire for hyper, which can be looked at from outside too.
#[derive(Debug)]
struct Outlet(Rc<RefCell<Wire>>);

impl AsyncRead for Outlet {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, into)
    }
}

impl AsyncWrite for Outlet {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}
