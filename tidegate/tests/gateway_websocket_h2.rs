//! WebSockets on streams of HTTP/2 (RFC 8441): what an endpoint of HTTP/1.1 is asked for them, what passes, and what is refused.

mod support;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use hyper::{HeaderMap, Method, Request, StatusCode};
use sha1_smol::Sha1;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use support::gateway::{Gateway, header};

const TIME_MAX: Duration = Duration::from_secs(30);

/// An endpoint that knows WebSockets: `/echo` sends back what comes, and `bye` at its end · `/wrong` answers as to another key · `/plain`
/// knows none · `/403` refuses · `/deaf`
/// answers and reads nothing · else it answers, and reads until its client goes.
struct Endpoint {
    address: SocketAddr,
    heads: Receiver<String>,
    ended: Receiver<()>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let ((tell, heads), (end, ended)) = (channel(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), tell, end) = (stream, tell.clone(), end.clone()) else { return };
                std::thread::spawn(move || {
                    let _ = answer(stream, &tell);
                    let _ = end.send(());
                });
            }
        });
        Self { address, heads, ended }
    }

    fn head(&self) -> String {
        self.heads.recv_timeout(TIME_MAX).expect("a request comes")
    }
}

fn answer(mut stream: TcpStream, tell: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let key = header(&head, "sec-websocket-key").unwrap_or("none").to_owned();
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let _ = tell.send(head);
    let key = if path == "/wrong" { "another" } else { &key };
    let accept = base64(&Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest().bytes());
    let told = match path.as_str() {
        "/403" => "HTTP/1.1 403 No\r\nconnection: close\r\ncontent-length: 3\r\nx-why: no\r\n\r\nno!".to_owned(),
        "/plain" => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nplain".to_owned(),
        _ => format!(
            "HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\nsec-websocket-protocol: chat\r\n\r\nearly"
        ),
    };
    stream.write_all(told.as_bytes()).ok()?;
    if path == "/deaf" {
        loop {
            std::thread::park();
        }
    }
    if path == "/echo" {
        std::io::copy(&mut reader, &mut stream).ok()?;
        stream.write_all(b"bye").ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
    } else {
        // Until its client goes.
        while !reader.fill_buf().ok()?.is_empty() {
            let bytes = reader.buffer().len();
            reader.consume(bytes);
        }
    }
    Some(())
}

fn base64(bytes: &[u8]) -> String {
    let letters = [('A'..='Z'), ('a'..='z'), ('0'..='9')].into_iter().flatten().chain(['+', '/']).collect::<Vec<_>>();
    let four = |three: &[u8]| {
        let bits = three.iter().fold(0, |bits, byte| (bits << 8) | usize::from(*byte)) << (8 * (3 - three.len()));
        let letter = |place| if place <= three.len() { letters[(bits >> (18 - 6 * place)) & 63] } else { '=' };
        [0, 1, 2, 3].map(letter)
    };
    bytes.chunks(3).flat_map(four).collect()
}

fn start(endpoint: &Endpoint, more: &str) -> Gateway {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = [\"h2\"]\n";
    let service = format!("[service.app]\nendpoints = [\"{}\"]\n{more}", endpoint.address);
    Gateway::start_with_one_lane(&format!("{listener}{service}\n[[route]]\nservice = \"app\"\n"))
}

/// A client's connection, which has heard that CONNECT may name a protocol.
struct Client(h2::client::SendRequest<Bytes>);

struct Opened {
    status: StatusCode,
    headers: HeaderMap,
    sent: SendStream<Bytes>,
    got: RecvStream,
}

impl Client {
    async fn connect(gateway: &Gateway) -> Self {
        let address = gateway.http.split(',').nth(1).expect("there are two");
        let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let (sender, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        tokio::task::spawn_local(async { drop(connection.await) });
        // The settings come before any answer.
        let mut client = Self(sender);
        assert_eq!(client.open("/403", None).await.status, 403);
        assert!(client.0.is_extended_connect_protocol_enabled());
        client
    }

    async fn open(&mut self, path: &str, protocol: Option<&str>) -> Opened {
        let request = Request::builder().uri(format!("http://a.test{path}")).header("sec-websocket-version", "13");
        let mut request = request.body(()).expect("it is one");
        if let Some(protocol) = protocol {
            *request.method_mut() = Method::CONNECT;
            request.extensions_mut().insert(Protocol::from(protocol));
        }
        let mut ready = self.0.clone().ready().await.expect("it is open");
        let (response, sent) = ready.send_request(request, protocol.is_none()).expect("it is open");
        let (parts, got) = response.await.expect("it is answered").into_parts();
        Opened { status: parts.status, headers: parts.headers, sent, got }
    }
}

impl Opened {
    async fn text(&mut self, bytes: usize) -> String {
        let mut text = Vec::new();
        while text.len() < bytes {
            let Some(data) = self.got.data().await else { break };
            let data = data.expect("it comes");
            self.got.flow_control().release_capacity(data.len()).expect("it was taken");
            text.extend_from_slice(&data);
        }
        String::from_utf8(text).expect("it is text")
    }

    /// Waits until it has ended, however that is.
    async fn end(&mut self) {
        while let Some(Ok(data)) = self.got.data().await {
            assert!(data.is_empty(), "{data:?}");
        }
    }

    async fn error(&mut self) -> String {
        let body = self.text(usize::MAX).await;
        let body: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
        format!("{} {}", self.status.as_u16(), body["error"].as_str().unwrap_or(""))
    }

    fn send(&mut self, text: &str, last: bool) {
        self.sent.send_data(Bytes::from(text.to_owned()), last).expect("it is open");
    }
}

fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default());
    let bounded = async { tokio::time::timeout(2 * TIME_MAX, test).await.expect("it doesn't hang") };
    runtime.expect("it can be built").block_on(bounded);
}

#[test]
fn a_websocket_on_a_stream_passes_both_ways_until_each_side_has_ended() {
    let endpoint = Endpoint::start();
    let gateway = start(&endpoint, "");
    run(async {
        let mut client = Client::connect(&gateway).await;
        endpoint.head();
        let mut one = client.open("/echo", Some("websocket")).await;
        assert_eq!(one.status, 200);
        assert_eq!(one.headers.get("sec-websocket-protocol").map(|value| value.as_bytes()), Some(&b"chat"[..]));
        assert!(!one.headers.contains_key("sec-websocket-accept"), "{:?}", one.headers);
        let head = endpoint.head();
        assert!(head.starts_with("GET /echo HTTP/1.1\r\n"), "{head}");
        for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")] {
            assert_eq!(header(&head, name), Some(value), "{head}");
        }
        assert_eq!((header(&head, "host"), header(&head, "via")), (Some("a.test"), Some("2.0 tidegate")));
        assert_eq!(one.text(5).await, "early");
        // Two on one connection, and much on one of them.
        let mut two = client.open("/echo", Some("websocket")).await;
        assert_eq!(two.text(5).await, "early");
        one.send("hello", false);
        two.send("HELLO", false);
        assert_eq!((one.text(5).await.as_str(), two.text(5).await.as_str()), ("hello", "HELLO"));
        let much = "x".repeat(1_000_000);
        one.send(&much, true);
        assert_eq!(one.text(1_000_003).await, format!("{much}bye"));
        one.end().await;
        // One that is taken back is so for the endpoint.
        endpoint.ended.try_iter().for_each(drop);
        two.sent.send_reset(Reason::CANCEL);
        let ended = tokio::task::spawn_blocking(move || endpoint.ended.recv_timeout(TIME_MAX));
        assert_eq!(ended.await.expect("it waits"), Ok(()));
        // And where that hears nothing, it is so here; also behind an end, where nobody reads any more, and behind data in the same write.
        for before in [None, Some(("", true)), Some(("x", false)), Some(("x", true))] {
            let mut deaf = client.open("/deaf", Some("websocket")).await;
            assert_eq!(deaf.text(5).await, "early");
            before.iter().for_each(|(text, last)| deaf.send(text, *last));
            deaf.sent.send_reset(Reason::CANCEL);
            while gateway.app()["endpoints"][0]["in_flight"] != 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    gateway.until("nothing is left", |app| app["endpoints"][0]["in_flight"] == 0 && app["inside"] == 0);
}

#[test]
fn only_a_websocket_that_the_endpoint_takes_up_begins() {
    let endpoint = Endpoint::start();
    let gateway = start(&endpoint, "tunnels = 1");
    run(async {
        let mut client = Client::connect(&gateway).await;
        let mut refused = client.open("/403", Some("websocket")).await;
        assert_eq!((refused.status.as_u16(), refused.headers["x-why"].as_bytes()), (403, &b"no"[..]));
        assert_eq!(refused.text(usize::MAX).await, "no!", "what the endpoint says is passed on");
        for (path, protocol, wanted) in [
            ("/wrong", "websocket", "502 bad_response"),
            ("/plain", "websocket", "502 bad_response"),
            ("/echo", "connect-udp", "501 protocol"),
            ("/echo", "h2c", "501 protocol"),
        ] {
            assert_eq!(client.open(path, Some(protocol)).await.error().await, wanted, "{path} {protocol}");
        }
        let one = client.open("/echo", Some("websocket")).await;
        assert_eq!(client.open("/echo", Some("websocket")).await.error().await, "503 tunnels_full");
        drop(one);
    });
    let none = start(&endpoint, "upgrade = []");
    run(async {
        let mut client = Client::connect(&none).await;
        assert_eq!(client.open("/echo", Some("websocket")).await.error().await, "501 no_upgrade");
    });
}

#[test]
fn one_that_is_silent_ends_alone_and_one_that_is_not_read_stops_its_writer() {
    let endpoint = Endpoint::start();
    let gateway = start(&endpoint, "\n[timeouts]\ntunnel = \"300ms\"\nbody = \"300ms\"");
    run(async {
        let mut client = Client::connect(&gateway).await;
        let mut silent = client.open("/silent", Some("websocket")).await;
        assert_eq!(silent.text(5).await, "early");
        // Nothing passed for too long.
        silent.end().await;
        let before = gateway.peak_bytes();
        // Nobody reads what comes back of this one, so that it stops, and is given up.
        let mut stuck = client.open("/echo", Some("websocket")).await;
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        loop {
            stuck.sent.reserve_capacity(piece.len());
            let room = std::future::poll_fn(|context| stuck.sent.poll_capacity(context)).await;
            let Some(Ok(room)) = room else { break };
            if stuck.sent.send_data(piece.slice(..room), false).is_err() {
                break;
            }
        }
        let grown = gateway.peak_bytes().saturating_sub(before);
        assert!(grown < 4 * 1024 * 1024, "{grown} bytes more");
        assert_eq!(client.open("/403", None).await.status, 403, "the connection goes on");
    });
    gateway.until("nothing is left", |app| app["endpoints"][0]["in_flight"] == 0 && app["inside"] == 0);
}
