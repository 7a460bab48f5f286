//! One connection to an endpoint, driven by whoever uses it.
//!
//! hyper's client is a handle and a connection that somebody must poll, usually a task of its own. Here the request's task polls both:
//! no wake from task to task on a request's way, and a request that is dropped, because its client went, closes its connection
//! with it at once. An idle connection is polled by nobody. So whether its peer has closed it is looked up in the socket when it is
//! to be used again.

use super::body::Upload;
use base::Instant;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use std::cell::RefCell;
use std::future::Future;
use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// See the module.
pub struct Line {
    sender: http1::SendRequest<Upload>,
    connection: Driven,
    socket: Rc<RefCell<TcpStream>>,
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
    pub async fn open(address: SocketAddr) -> std::result::Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let socket = Rc::new(RefCell::new(stream));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let outlet = TokioIo::new(Outlet(socket.clone()));
        let (sender, connection) = builder.handshake(outlet).await.map_err(|error| error.to_string())?;
        let connection = Driven(Some(Box::pin(connection)));
        let (idle_since, keep_until) = (Instant(0), None);
        Ok(Self { sender, connection, socket, idle_since, keep_until, requests: 0 })
    }

    /// True if its peer has neither closed it nor sent what nobody asked for.
    pub fn is_alive(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = rustix::net::recv(&*self.socket.borrow(), &mut byte, flags);
        matches!(seen, Err(rustix::io::Errno::AGAIN))
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
            response.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(Ok)
        })
        .await
    }

    /// Lets the connection do what it can.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        self.connection.drive(context);
    }

    /// The response has been read to its end: whether the connection can carry another request. Nobody is woken for it until then.
    pub fn settle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.0.is_some() && self.sender.is_ready()
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("ended", &self.connection.0.is_none())
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// hyper's part of the connection, which is gone when it has ended: what waits for it learns that by its end.
struct Driven(Option<Pin<Box<Connection>>>);

type Connection = http1::Connection<TokioIo<Outlet>, Upload>;

impl Driven {
    fn drive(&mut self, context: &mut Context<'_>) {
        if self.0.as_mut().is_some_and(|connection| connection.as_mut().poll(context).is_ready()) {
            self.0 = None;
        }
    }
}

/// The socket for hyper, which can be looked at from outside too.
#[derive(Debug)]
struct Outlet(Rc<RefCell<TcpStream>>);

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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}
