//! A server of HTTP/2 by prior knowledge, which does what its paths say and tells what it saw.

use super::gateway::Event;
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use hyper::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// `/bytes/N` N bytes · `/echo` the body as it comes, and its trailers · `/trailers` data, and trailers · `/only` trailers alone ·
/// `/hold` nothing, until it is reset · `/early` an answer before the body is read · `/cut` half of one, and RST_STREAM with NO_ERROR · `/refuse` REFUSED_STREAM, as often as it
/// is to ·
/// `/broken` INTERNAL_ERROR · `/leave` an answer, and GOAWAY · else its name, the path, and the bytes of the body.
#[derive(Debug)]
pub struct H2Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
    told: Mutex<mpsc::Receiver<Event>>,
}

#[derive(Debug)]
struct State {
    seen: Mutex<Vec<String>>,
    connections: AtomicUsize,
    streams: AtomicUsize,
    streams_most: AtomicUsize,
    /// Streams that are still to be refused.
    refusals: AtomicUsize,
    events: Mutex<mpsc::Sender<Event>>,
}

impl H2Upstream {
    /// One that allows so many streams on a connection.
    pub fn start(streams_max: u32) -> Self {
        Self::serve(streams_max, 0)
    }

    /// One that refuses so many streams for `/refuse`.
    pub fn start_refusing(streams: usize) -> Self {
        Self::serve(100, streams)
    }

    fn serve(streams_max: u32, refusals: usize) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        listener.set_nonblocking(true).expect("it can be set");
        let (events, told) = mpsc::channel();
        let state = Arc::new(State {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            streams_most: AtomicUsize::new(0),
            refusals: AtomicUsize::new(refusals),
            events: Mutex::new(events),
        });
        let of_thread = state.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it can be built");
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("it listens");
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(of_thread.clone().serve(stream, streams_max));
                }
            });
        });
        Self { address, state, told: Mutex::new(told) }
    }

    /// The requests so far: their lines and headers.
    pub fn seen(&self) -> Vec<String> {
        self.state.seen.lock().expect("no thread fails with it").clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Streams that were open at once, at most.
    pub fn streams_most(&self) -> usize {
        self.state.streams_most.load(Ordering::SeqCst)
    }

    /// The next event.
    pub fn event(&self) -> Event {
        let told = self.told.lock().expect("no thread fails with it");
        told.recv_timeout(Duration::from_secs(30)).expect("something happens")
    }
}

type Answer = Result<(), h2::Error>;

impl State {
    async fn serve(self: Arc<Self>, stream: TcpStream, streams_max: u32) {
        let mut builder = h2::server::Builder::new();
        let shaken = builder.max_concurrent_streams(streams_max).handshake(stream).await;
        let Ok(mut connection): Result<Connection<TcpStream, Bytes>, _> = shaken else { return };
        self.connections.fetch_add(1, Ordering::SeqCst);
        while let Some(Ok((request, respond))) = connection.accept().await {
            if request.uri().path() == "/leave" {
                connection.graceful_shutdown();
            }
            let state = self.clone();
            tokio::spawn(async move {
                let open = state.streams.fetch_add(1, Ordering::SeqCst) + 1;
                state.streams_most.fetch_max(open, Ordering::SeqCst);
                let _ = state.answer(request, respond).await;
                state.streams.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    fn tell(&self, event: Event) {
        let _ = self.events.lock().expect("no thread fails with it").send(event);
    }

    fn refuses(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    async fn answer(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Answer {
        let (parts, mut body) = request.into_parts();
        let line = format!("{} {} {:?}", parts.method, parts.uri, parts.headers);
        self.seen.lock().expect("no thread fails with it").push(line);
        let path = parts.uri.path().to_owned();
        match path.split('/').nth(1).unwrap_or("") {
            "bytes" => {
                let bytes: usize = path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(0);
                let mut send = respond.send_response(Response::new(()), bytes == 0)?;
                return write(&mut send, bytes).await;
            }
            "echo" => {
                let mut send = respond.send_response(Response::new(()), false)?;
                while let Some(data) = body.data().await {
                    let data = data?;
                    body.flow_control().release_capacity(data.len())?;
                    send.send_data(data, false)?;
                }
                let trailers = body.trailers().await?.unwrap_or_default();
                return send.send_trailers(trailers);
            }
            "trailers" => {
                let mut send = respond.send_response(Response::new(()), false)?;
                send.send_data(Bytes::from_static(b"data"), false)?;
                return send.send_trailers(status("0"));
            }
            "only" => {
                let mut response = Response::new(());
                *response.headers_mut() = status("5");
                return respond.send_response(response, true).map(drop);
            }
            "hold" => {
                self.tell(Event::Held);
                std::future::poll_fn(|context| respond.poll_reset(context)).await?;
                self.tell(Event::Gone);
                return Ok(());
            }
            "early" => {
                let mut send = respond.send_response(Response::new(()), false)?;
                // Behind that, as the body is dropped unread, comes RST_STREAM with NO_ERROR.
                return send.send_data(Bytes::from_static(b"early"), true);
            }
            "cut" => {
                let mut send = respond.send_response(Response::new(()), false)?;
                send.send_data(Bytes::from_static(b"half"), false)?;
                // What was given to the connection goes out before the reset does.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                send.send_reset(Reason::NO_ERROR);
                return Ok(());
            }
            "refuse" if self.refuses() => {
                respond.send_reset(Reason::REFUSED_STREAM);
                return Ok(());
            }
            "broken" => {
                respond.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            _ => {}
        }
        let mut bytes = 0;
        while let Some(data) = body.data().await {
            let data = data?;
            bytes += data.len();
            body.flow_control().release_capacity(data.len())?;
        }
        let mut send = respond.send_response(Response::new(()), false)?;
        send.send_data(Bytes::from(format!("h2 {path} {bytes}")), true)
    }
}

fn status(text: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", text.parse().expect("it is a value"));
    headers
}

async fn write(send: &mut SendStream<Bytes>, bytes: usize) -> Answer {
    let piece = Bytes::from(vec![b'x'; 16 * 1024]);
    let mut left = bytes;
    while left > 0 {
        send.reserve_capacity(left.min(piece.len()));
        let room = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        let room = room.transpose()?.unwrap_or(0).min(left).min(piece.len());
        left -= room;
        send.send_data(piece.slice(..room), left == 0)?;
    }
    Ok(())
}
