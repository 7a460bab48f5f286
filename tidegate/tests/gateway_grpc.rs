//! gRPC through the gateway, by a client and a server that know nothing of it: calls of all four kinds, errors and deadlines.
//!
//! Messages are plain text under a codec of the test's own, so that no compiler of protocol files is needed.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::gateway::{Event, Gateway};
use support::h2c::H2Upstream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::codegen::{BoxFuture, BoxStream, Context, Poll, Service};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};

/// Messages of text.
#[derive(Clone, Copy, Debug, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(into, text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = bytes::Buf::copy_to_bytes(from, bytes::Buf::remaining(from));
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::internal("no text"))
    }
}

/// A method by its function.
struct By<F>(F);

impl<F, Asked, Told, Answer> Service<Asked> for By<F>
where
    F: FnMut(Asked) -> Answer,
    Answer: Future<Output = Result<Told, Status>>,
{
    type Response = Told;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Answer {
        (self.0)(asked)
    }
}

/// The server: `Echo`, `Count`, `Join`, `Chat`, `Fail` and `Wait`.
#[derive(Clone, Debug)]
struct Words {
    /// Calls of `Wait` that are there.
    waiting: Arc<AtomicUsize>,
}

/// Counts a call for as long as it is there.
struct Waits(Arc<AtomicUsize>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Asked = tonic::codegen::http::Request<tonic::body::Body>;
type Told = tonic::codegen::http::Response<tonic::body::Body>;

impl Service<Asked> for Words {
    type Response = Told;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Told, std::convert::Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Self::Future {
        let waiting = self.waiting.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Text);
            Ok(match asked.uri().path() {
                "/words/Echo" => grpc.unary(By(echo), asked).await,
                "/words/Count" => grpc.server_streaming(By(count), asked).await,
                "/words/Join" => grpc.client_streaming(By(join), asked).await,
                "/words/Chat" => grpc.streaming(By(chat), asked).await,
                "/words/Wait" => grpc.unary(By(|_| wait(waiting.clone())), asked).await,
                _ => grpc.unary(By(fail), asked).await,
            })
        })
    }
}

async fn echo(asked: Request<String>) -> Result<Response<String>, Status> {
    let mut told = Response::new(asked.get_ref().clone());
    if let Some(kept) = asked.metadata().get("x-kept") {
        told.metadata_mut().insert("x-kept", kept.clone());
    }
    Ok(told)
}

async fn count(asked: Request<String>) -> Result<Response<BoxStream<String>>, Status> {
    let most: u32 = asked.get_ref().parse().map_err(|_| Status::invalid_argument("no number"))?;
    let numbers = (0..most).map(|number| Ok(number.to_string()));
    // Behind what was sent, a failure: trailers behind data.
    Ok(Response::new(Box::pin(tokio_stream::iter(numbers.chain([Err(Status::out_of_range("no more"))])))))
}

async fn join(asked: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let mut all = String::new();
    let mut words = asked.into_inner();
    while let Some(word) = words.next().await {
        all.push_str(&word?);
    }
    Ok(Response::new(all))
}

async fn chat(asked: Request<Streaming<String>>) -> Result<Response<BoxStream<String>>, Status> {
    Ok(Response::new(Box::pin(asked.into_inner().map(|word| word.map(|word| format!("you said {word}"))))))
}

async fn fail(_: Request<String>) -> Result<Response<String>, Status> {
    Err(Status::not_found("there is nothing, \u{e4}nd \"why\""))
}

async fn wait(waiting: Arc<AtomicUsize>) -> Result<Response<String>, Status> {
    waiting.fetch_add(1, Ordering::SeqCst);
    let _waits = Waits(waiting);
    std::future::pending().await
}

fn start_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it has an address");
    listener.set_nonblocking(true).expect("it can be set");
    let words = Words { waiting: Arc::default() };
    let waiting = words.waiting.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it can be built");
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
            Server::builder().serve_with_incoming(words, TcpListenerStream::new(listener)).await
        })
    });
    (address, waiting)
}

fn before(address: SocketAddr, more: &str) -> Gateway {
    Gateway::start(&before_tables(address, more))
}

fn before_tables(address: SocketAddr, more: &str) -> String {
    let service = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = [\"h2\"]\n[service.app]\nendpoints = [\"{address}\"]\nprotocol = \"h2\"\n{more}\n"
    );
    format!("{service}[[route]]\nprefix = \"/words\"\nservice = \"app\"\n")
}

type Client = tonic::client::Grpc<Channel>;

async fn client(gateway: &Gateway) -> Client {
    let address = gateway.http.split(',').nth(1).expect("it has a second listener");
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("it is an address");
    let mut client = Client::new(endpoint.connect().await.expect("it takes connections"));
    client.ready().await.expect("it is ready");
    client
}

fn path(method: &str) -> PathAndQuery {
    PathAndQuery::try_from(format!("/words/{method}")).expect("it is a path")
}

async fn ask(client: &mut Client, method: &str, text: &str) -> Result<Response<String>, Status> {
    client.ready().await.expect("it is ready");
    client.unary(Request::new(text.to_owned()), path(method), Text).await
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it can be built");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it ends") });
}

#[test]
fn calls_of_all_kinds_pass() {
    let (address, _) = start_server();
    let gateway = before(address, "");
    run(async {
        let mut client = client(&gateway).await;
        let mut asked = Request::new("hello".to_owned());
        asked.metadata_mut().insert("x-kept", "yes".parse().expect("it is a value"));
        let told = client.unary(asked, path("Echo"), Text).await.expect("it answers");
        assert_eq!((told.get_ref().as_str(), told.metadata().get("x-kept").is_some()), ("hello", true));
        let large = "x".repeat(3_000_000);
        assert_eq!(ask(&mut client, "Echo", &large).await.expect("it answers").into_inner(), large);

        client.ready().await.expect("it is ready");
        let counted = client.server_streaming(Request::new("1000".to_owned()), path("Count"), Text).await;
        let mut numbers = counted.expect("it answers").into_inner();
        for number in 0..1000 {
            assert_eq!(numbers.message().await.expect("it goes on"), Some(number.to_string()));
        }
        let end = numbers.message().await.expect_err("it ends by a failure");
        assert_eq!((end.code(), end.message()), (Code::OutOfRange, "no more"));

        client.ready().await.expect("it is ready");
        let words = tokio_stream::iter((0..1000).map(|number| format!("{number},")));
        let joined = client.client_streaming(Request::new(words), path("Join"), Text).await.expect("it answers");
        assert_eq!(joined.get_ref().matches(',').count(), 1000);

        client.ready().await.expect("it is ready");
        let (say, words) = tokio::sync::mpsc::channel(1);
        let chat = client.streaming(Request::new(ReceiverStream::new(words)), path("Chat"), Text).await;
        let mut chat = chat.expect("it answers before anything was said").into_inner();
        for round in 0..100 {
            say.send(round.to_string()).await.expect("it is read");
            assert_eq!(chat.message().await.expect("it goes on"), Some(format!("you said {round}")));
        }
        drop(say);
        assert_eq!(chat.message().await.expect("it ends well"), None);
    });
    gateway.until("nothing is left", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn failures_are_told_as_calls_tell_them() {
    let (address, _) = start_server();
    let gateway = before(address, "");
    run(async {
        let mut client = client(&gateway).await;
        let failed = ask(&mut client, "Fail", "").await.expect_err("it fails");
        assert_eq!((failed.code(), failed.message()), (Code::NotFound, "there is nothing, \u{e4}nd \"why\""));
        // What the gateway says itself.
        client.ready().await.expect("it is ready");
        let elsewhere = PathAndQuery::from_static("/other/Echo");
        let refused = client.unary(Request::new(String::new()), elsewhere, Text).await.expect_err("no route");
        assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
        assert!(refused.message().contains("no route"), "{refused:?}");
        assert_eq!(ask(&mut client, "Echo", "on").await.expect("the connection goes on").into_inner(), "on");
    });
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a free port");
    let gateway = before(nobody, "");
    run(async {
        let failed = ask(&mut client(&gateway).await, "Echo", "").await.expect_err("nobody is there");
        assert_eq!(failed.code(), Code::Unavailable, "{failed:?}");
    });
}

#[test]
fn a_deadline_ends_a_call_everywhere() {
    let (address, waiting) = start_server();
    let gateway = before(address, "");
    run(async {
        // The gateway's header, which says nothing to the client's own clock.
        let mut client = client(&gateway).await;
        let mut asked = Request::new(String::new());
        asked.metadata_mut().insert("x-deadline-ms", "200".parse().expect("it is a value"));
        let failed = client.unary(asked, path("Wait"), Text).await.expect_err("it takes too long");
        assert_eq!(failed.code(), Code::DeadlineExceeded, "{failed:?}");
        // One that goes.
        client.ready().await.expect("it is ready");
        let gone = client.unary(Request::new(String::new()), path("Wait"), Text);
        assert!(tokio::time::timeout(Duration::from_millis(200), gone).await.is_err());
    });
    gateway.until("nothing is left", |app| {
        waiting.load(Ordering::SeqCst) == 0 && app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0
    });
}

/// Between a client and a server that don't look at their own clocks: this library's would tell CANCELLED, whichever of them is first.
#[test]
fn grpcs_own_deadline_is_told_by_the_gateway() {
    let upstream = H2Upstream::start(100);
    let gateway =
        Gateway::start(&before_tables(upstream.address, "").replace("prefix = \"/words\"", "prefix = \"/hold\""));
    let address = gateway.http.split(',').nth(1).expect("it has a second listener").to_owned();
    run(async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("it takes connections");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        let ended = tokio::spawn(connection);
        let asked = tonic::codegen::http::Request::post("http://a.test/hold")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "200m")
            .body(())
            .expect("it is a request");
        let (told, mut body) = client.send_request(asked, false).expect("there is room");
        body.send_data(vec![0, 0, 0, 0, 0].into(), true).expect("it is open");
        let told = told.await.expect("it is answered");
        let header = |name: &str| told.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!((told.status().as_u16(), header("grpc-status")), (200, Some("4")), "DEADLINE_EXCEEDED: {told:?}");
        assert!(header("grpc-message").is_some_and(|message| message.contains("deadline")), "{told:?}");
        ended.abort();
    });
    assert_eq!([upstream.event(), upstream.event()], [Event::Held, Event::Gone], "the endpoint's stream is reset");
    let seen = upstream.seen();
    let told = seen[0].split("\"grpc-timeout\": \"").nth(1).and_then(|rest| rest.split('"').next());
    let left_ms: u64 = told.and_then(|told| told.strip_suffix('m')).and_then(|ms| ms.parse().ok()).expect("it is told");
    assert!((1..=200).contains(&left_ms), "no more than is left: {seen:?}");
    gateway.until("nothing is left", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}
