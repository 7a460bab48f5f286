//! Connections of HTTP/2 to one endpoint, each shared by many requests.
//!
//! A [`Trunk`] carries as many streams as its endpoint allows, and a hundred at most; where that isn't enough another is opened, up to
//! a few, and beyond those requests wait for a stream that ends. One is opened at a time: those who come meanwhile wait for it, as
//! its streams are most likely enough for them all.
//!
//! A trunk is used once its first ping was answered: by then the endpoint's settings are known, and that it speaks HTTP/2 at all, while
//! nothing of a request has been sent. Pings go on, so that a peer that vanished is noticed.
//!
//! What a stream may have unread is bounded, and the window of the connection holds that of all its streams: one that nobody reads
//! stops none of the others.

pub mod stream;

use super::want::Unconnected;
use super::wire::Wire;
use base::Instant;
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant as Moment, Sleep};

/// The connections to one endpoint from one lane.
#[derive(Debug, Default)]
pub struct Trunks {
    open: RefCell<Vec<Rc<Trunk>>>,
    opening: Cell<bool>,
    /// A stream has ended, or an opening.
    changed: Notify,
}

/// One connection.
#[derive(Debug)]
pub struct Trunk {
    sender: SendRequest<Bytes>,
    streams: Cell<usize>,
    /// No more streams can begin on it.
    closed: Cell<bool>,
    idle_since: Cell<Instant>,
}

/// A stream's place on a trunk, until it ends.
#[derive(Debug)]
pub struct Place {
    trunks: Rc<Trunks>,
    trunk: Rc<Trunk>,
    /// Other streams had been on it before.
    pub reused: bool,
}

const TRUNKS_MAX: usize = 8;
const STREAMS_MAX: usize = 100;
/// What of one stream may be unread.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
const TRUNK_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const _: () =
    assert!(STREAM_WINDOW_BYTES as usize * STREAMS_MAX <= TRUNK_WINDOW_BYTES as usize, "no stream starves another");
const HEADERS_BYTES_MAX: u32 = 64 * 1024;
/// What of a request's body waits to be written.
const SEND_BYTES_MAX: usize = 64 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PONG_TIME_MAX: Duration = Duration::from_secs(10);

impl Trunks {
    /// A place for one stream: on the connection that has the fewest, or a new one that `connect` makes.
    pub async fn place<C: Future<Output = Result<Wire, Unconnected>>>(
        self: &Rc<Self>,
        connect: impl Fn() -> C,
    ) -> Result<Place, Unconnected> {
        loop {
            if let Some(place) = self.free_place() {
                return Ok(place);
            }
            if self.opening.get() || self.open.borrow().len() >= TRUNKS_MAX {
                self.changed.notified().await;
                continue;
            }
            let opening = Opening::new(self);
            let trunk = Trunk::open(connect().await?).await?;
            self.open.borrow_mut().push(trunk);
            drop(opening);
        }
    }

    /// True if it has as many connections as it may, and no room on any.
    pub fn is_full(&self) -> bool {
        let open = self.open.borrow();
        open.len() >= TRUNKS_MAX && open.iter().all(|trunk| trunk.streams.get() >= trunk.streams_max())
    }

    fn free_place(self: &Rc<Self>) -> Option<Place> {
        let mut open = self.open.borrow_mut();
        open.retain(|trunk| !trunk.closed.get());
        let with_room = open.iter().filter(|trunk| trunk.streams.get() < trunk.streams_max());
        let trunk = with_room.min_by_key(|trunk| trunk.streams.get())?.clone();
        trunk.streams.set(trunk.streams.get() + 1);
        let reused = trunk.idle_since.get() != Instant(0) || trunk.streams.get() > 1;
        Some(Place { trunks: self.clone(), trunk, reused })
    }

    /// Lets go of those that were closed, or had no stream for too long.
    pub fn sweep(&self, now: Instant, idle_max: Duration) {
        self.open.borrow_mut().retain(|trunk| {
            let rested_ns = if trunk.streams.get() == 0 { now.since_ns(trunk.idle_since.get()) } else { 0 };
            !trunk.closed.get() && u128::from(rested_ns) <= idle_max.as_nanos()
        });
    }

    /// Streams that run end as they will; none begins on these connections.
    pub fn clear(&self) {
        self.open.borrow_mut().clear();
    }

    pub fn idle_count(&self) -> usize {
        self.open.borrow().iter().filter(|trunk| trunk.streams.get() == 0).count()
    }
}

/// That a connection is being opened, until it is, or isn't.
struct Opening<'a>(&'a Trunks);

impl<'a> Opening<'a> {
    fn new(trunks: &'a Trunks) -> Self {
        trunks.opening.set(true);
        Self(trunks)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.changed.notify_waiters();
    }
}

impl Trunk {
    async fn open(wire: Wire) -> Result<Rc<Self>, String> {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(TRUNK_WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_send_buffer_size(SEND_BYTES_MAX);
        let shaken = builder.handshake::<_, Bytes>(wire).await;
        let (sender, mut connection) = shaken.map_err(|error| format!("HTTP/2: {error}"))?;
        let ping = connection.ping_pong().expect("it is asked for once");
        let (ready, proven) = oneshot::channel();
        let (streams, closed, idle_since) = (Cell::new(0), Cell::new(false), Cell::new(Instant(0)));
        let trunk = Rc::new(Self { sender, streams, closed, idle_since });
        let driver = Driver::new(connection, ping, ready);
        // It ends when nobody has a sender any more: so it may not keep the trunk.
        let of_task = Rc::downgrade(&trunk);
        tokio::task::spawn_local(async move {
            driver.await;
            of_task.upgrade().iter().for_each(|trunk| trunk.closed.set(true));
        });
        let proven = proven.await.map_err(|_| "HTTP/2: the connection ended at once".to_owned());
        proven?.map_err(|why| format!("HTTP/2: {why}; does it speak HTTP/2 there?"))?;
        Ok(trunk)
    }

    fn streams_max(&self) -> usize {
        self.sender.current_max_send_streams().min(STREAMS_MAX)
    }
}

impl Place {
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.trunk.sender.clone()
    }

    /// The endpoint wants no more streams on this connection.
    pub fn close(&self) {
        self.trunk.closed.set(true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.trunk.streams.set(self.trunk.streams.get() - 1);
        self.trunk.idle_since.set(crate::clock::boot());
        self.trunks.changed.notify_one();
    }
}

/// Moves the bytes of one connection, and sees that its peer is there.
struct Driver {
    connection: Connection<Wire, Bytes>,
    ping: PingPong,
    /// A ping isn't answered.
    asked: bool,
    /// When to ask, or to give up.
    bell: Pin<Box<Sleep>>,
    /// Who waits for the first answer.
    ready: Option<oneshot::Sender<Result<(), String>>>,
}

impl Driver {
    fn new(connection: Connection<Wire, Bytes>, ping: PingPong, ready: oneshot::Sender<Result<(), String>>) -> Self {
        let bell = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { connection, ping, asked: false, bell, ready: Some(ready) }
    }

    fn tell(&mut self, proven: Result<(), String>) {
        self.ready.take().into_iter().for_each(|ready| drop(ready.send(proven.clone())));
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Poll::Ready(ended) = Pin::new(&mut this.connection).poll(context) {
            let why = ended.err().map_or_else(|| "it closed the connection".to_owned(), |error| error.to_string());
            this.tell(Err(why));
            return Poll::Ready(());
        }
        if this.asked
            && let Poll::Ready(answered) = this.ping.poll_pong(context)
        {
            if answered.is_err() {
                return Poll::Ready(());
            }
            this.asked = false;
            this.bell.as_mut().reset(Moment::now() + PING_INTERVAL);
            this.tell(Ok(()));
        }
        while this.bell.as_mut().poll(context).is_ready() {
            if this.asked || this.ping.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            this.asked = true;
            this.bell.as_mut().reset(Moment::now() + PONG_TIME_MAX);
            // Sending has woken this task, so the answer is looked for.
        }
        Poll::Pending
    }
}
