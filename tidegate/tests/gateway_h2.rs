//! HTTP/2 from clients: what arrives at an upstream of HTTP/1.1, and what never does.

mod support;

use Heard::{Ended, Told};
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};
use support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GET, HEADERS, Outcome, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, get_but, get_with,
};
use support::gateway::{Event, Gateway, Upstream, header, service};
use support::tls::run;

const MB: u64 = 1024 * 1024;

/// A gateway whose second listener takes HTTP/2 in clear beside HTTP/1.1.
fn start(upstream: &Upstream, more: &str) -> (Gateway, String) {
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = [\"h2\", \"http/1.1\"]\n";
    let gateway = Gateway::start(&format!("{listener}{}", service(&[upstream], more)));
    let address = gateway.http.split(',').nth(1).expect("there are two").to_owned();
    (gateway, address)
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.admin("GET", "/metrics", "").body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
}

#[test]
fn both_protocols_are_spoken_where_the_listener_says_so() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "");
    let url = format!("http://{address}/x?y=z");
    let version = "\n%{http_version}";
    let curl = |words: &[&str]| run("curl", &[&["-sS", "-w", version, &url], words].concat());
    assert_eq!(curl(&["--http2-prior-knowledge"]), (true, "a /x?y=z 0\n2".to_owned()));
    assert_eq!(curl(&["--http1.1"]), (true, "a /x?y=z 0\n1.1".to_owned()));
    assert_eq!(curl(&["--http2-prior-knowledge", "-d", "hello"]), (true, "a /x?y=z 5\n2".to_owned()));
    assert_eq!(curl(&["--http2-prior-knowledge", "-I"]).1.lines().next(), Some("HTTP/2 200 "));
    let old = format!("http://{}/x", gateway.http.split(',').next().expect("there are two"));
    assert!(!run("curl", &["-sS", "--http2-prior-knowledge", &old]).0, "not where it isn't said");
    assert_eq!(metric(&gateway, "tidegate_gateway_http2_connections_total"), 3);
}

#[test]
fn a_request_becomes_one_of_http_1() {
    let upstream = Upstream::start("a");
    let (_gateway, address) = start(&upstream, "");
    let mut client = Frames::connect(&address);
    let more = [
        ("cookie", "a=b"),
        ("x", "y"),
        ("cookie", "c=d"),
        ("te", "trailers"),
        ("x-forwarded-for", "1.2.3.4"),
        ("host", "A.TEST"),
    ];
    assert_eq!(client.ask(1, &get_with(&more)), Outcome::Answered("a /x 0".to_owned()));
    let head = upstream.seen().pop().expect("it came").head;
    assert!(head.starts_with("GET /x HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "a.test"),
        ("cookie", "a=b; c=d"),
        ("te", "trailers"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a.test"),
        ("via", "2.0 tidegate"),
    ] {
        assert_eq!(header(&head, name), Some(value), "{name} in {head}");
    }
    assert_eq!(head.matches("cookie").count(), 1);
    assert_eq!(header(&head, "transfer-encoding"), None);
    // A body without a length goes on in chunks, one with a length by its length.
    let post = get_but(":method", "POST");
    client.send(HEADERS, END_HEADERS, 3, &block(&post));
    client.send(DATA, 0, 3, b"hel");
    client.send(DATA, END_STREAM, 3, b"lo");
    assert_eq!(client.outcome(3), Outcome::Answered("a /x 5".to_owned()));
    assert_eq!(header(&upstream.seen()[1].head, "transfer-encoding"), Some("chunked"));
    client.send(HEADERS, END_HEADERS, 5, &block(&[&post[..], &[("content-length", "5")]].concat()));
    client.send(DATA, END_STREAM, 5, b"hello");
    assert_eq!(client.outcome(5), Outcome::Answered("a /x 5".to_owned()));
    let head = upstream.seen().pop().expect("it came").head;
    assert_eq!((header(&head, "content-length"), header(&head, "transfer-encoding")), (Some("5"), None), "{head}");
}

/// What a client hears of a request that must not arrive.
enum Heard {
    /// A refusal with this word.
    Told(&'static str),
    Ended(Outcome),
}

/// PROTOCOL_ERROR of its stream (RFC 9113, 8.1.1), or of its connection, where no header can be made of it at all.
const STREAM: Heard = Ended(Outcome::Reset(1));
const CONNECTION: Heard = Ended(Outcome::Gone(1));

/// Headers of a request that must not arrive.
type Unsound = (&'static str, Vec<(&'static str, &'static str)>, Heard);

fn unsound() -> Vec<Unsound> {
    let without = |name: &str| GET.iter().filter(|(other, _)| *other != name).copied().collect::<Vec<_>>();
    let mut late = get_with(&[("x", "y")]);
    late.swap(0, 4);
    vec![
        ("CR LF in a value", get_with(&[("x", "y\r\ntransfer-encoding: chunked")]), CONNECTION),
        ("LF in a value", get_with(&[("x", "y\ny: z")]), CONNECTION),
        ("NUL in a value", get_with(&[("x", "y\0z")]), CONNECTION),
        ("CR LF in a name", get_with(&[("x: y\r\nz", "y")]), CONNECTION),
        ("a colon in a name", get_with(&[("x:y", "z")]), CONNECTION),
        ("a blank in a name", get_with(&[("transfer-encoding ", "chunked")]), CONNECTION),
        ("capitals in a name", get_with(&[("Transfer-Encoding", "chunked")]), CONNECTION),
        ("an empty name", get_with(&[("", "y")]), CONNECTION),
        ("transfer-encoding", get_with(&[("transfer-encoding", "chunked")]), STREAM),
        ("connection", get_with(&[("connection", "x-secret")]), STREAM),
        ("keep-alive", get_with(&[("keep-alive", "timeout=5")]), STREAM),
        ("proxy-connection", get_with(&[("proxy-connection", "close")]), STREAM),
        ("upgrade", get_with(&[("upgrade", "websocket")]), STREAM),
        ("te with more than trailers", get_with(&[("te", "gzip")]), STREAM),
        ("a pseudo-header behind others", late, STREAM),
        ("a pseudo-header twice", get_with(&[(":path", "/admin")]), STREAM),
        ("a pseudo-header of responses", get_with(&[(":status", "200")]), STREAM),
        ("an unknown pseudo-header", get_with(&[(":x", "y")]), CONNECTION),
        ("no method", without(":method"), STREAM),
        ("no path", without(":path"), STREAM),
        ("no scheme", without(":scheme"), STREAM),
        ("an empty path", get_but(":path", ""), STREAM),
        ("a line break in the path", get_but(":path", "/ HTTP/1.1\r\nhost: b\r\n\r\nGET /hidden"), STREAM),
        ("a blank in the path", get_but(":path", "/x y"), STREAM),
        ("a line break in the method", get_but(":method", "GET / HTTP/1.1\r\n\r\n"), CONNECTION),
        ("a line break in the authority", get_but(":authority", "a\r\nx: y"), STREAM),
        ("a user in the authority", get_but(":authority", "user@a.test"), Told("bad_host")),
        ("a path in the host", [&without(":authority")[..], &[("host", "a/b")]].concat(), Told("bad_host")),
        ("another host", get_with(&[("host", "b.test")]), Told("host_mismatch")),
        ("two hosts", get_with(&[("host", "a.test"), ("host", "a.test")]), Told("many_hosts")),
        ("no host", without(":authority"), Told("no_host")),
        ("a path that is an address", get_but(":path", "http://b.test/"), STREAM),
        ("a star where none is", get_but(":path", "*"), Told("target")),
        ("letters that no target has", get_but(":path", "/\u{e9}"), Told("target")),
        ("another scheme", get_but(":scheme", "ftp"), Told("target")),
        ("a tunnel", vec![(":method", "CONNECT"), (":authority", "b.test:443")], Told("connect")),
        ("a length and no body", get_with(&[("content-length", "5")]), STREAM),
        ("two lengths", get_with(&[("content-length", "0"), ("content-length", "0")]), Told("length_twice")),
        ("a signed length", get_with(&[("content-length", "+0")]), STREAM),
    ]
}

/// The word of a refusal.
fn word_of(outcome: &Outcome) -> Option<String> {
    let Outcome::Answered(body) = outcome else { return None };
    let told: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(told["error"].as_str()?.to_owned())
}

#[test]
fn what_would_be_something_else_as_http_1_never_reaches_an_upstream() {
    let upstream = Upstream::start("a");
    let (_gateway, address) = start(&upstream, "");
    for (name, headers, heard) in unsound() {
        let mut client = Frames::connect(&address);
        let outcome = client.ask(1, &headers);
        match heard {
            Told(word) => assert_eq!(word_of(&outcome), Some(word.to_owned()), "{name}: {outcome:?}"),
            Ended(wanted) => assert_eq!(outcome, wanted, "{name}"),
        }
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[test]
fn a_body_is_as_long_as_it_is_said_to_be() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "");
    for (said, sent) in [("5", &b"hel"[..]), ("5", b"hello!"), ("0", b"hello"), ("5", b"")] {
        let mut client = Frames::connect(&address);
        let headers = [&get_but(":method", "POST")[..], &[("content-length", said)]].concat();
        client.send(HEADERS, END_HEADERS, 1, &block(&headers));
        client.send(DATA, END_STREAM, 1, sent);
        let outcome = client.outcome(1);
        assert_eq!(outcome, Outcome::Reset(1), "{said} {sent:?}: PROTOCOL_ERROR of its stream");
    }
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
    assert!(upstream.seen().is_empty(), "no request was whole: {:?}", upstream.seen());
    assert_eq!(gateway.connect_to(&address).ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").text(), "a /x 0");
}

#[test]
fn heads_are_bounded() {
    let upstream = Upstream::start("a");
    let limits = "\n[limits]\nheader = \"4kb\"\nheaders = 20\nuri = \"1kb\"\nbody = \"10kb\"\n";
    let (gateway, address) = start(&upstream, limits);
    let long = "a".repeat(5000);
    let (path, several) = (format!("/{}", &long[..2000]), vec![("x", "y"); 21]);
    for (name, headers, wanted) in [
        ("the path", get_but(":path", &path), "target_too_long"),
        ("how many there are", get_with(&several), "headers_too_many"),
    ] {
        let mut client = Frames::connect(&address);
        let outcome = client.ask(1, &headers);
        assert_eq!(word_of(&outcome).as_deref(), Some(wanted), "{name}: {outcome:?}");
    }
    let (url, header) = (format!("http://{address}/x"), format!("x: {long}"));
    let told = run("curl", &["-sS", "--http2-prior-knowledge", "-w", "%{http_code}", "-H", &header, &url]);
    assert_eq!(told, (true, "431".to_owned()), "what is too large to be read is told by its status alone");
    // One entry of the table, named again and again: small on the wire.
    let mut entry = block(&[("x", &long[..4000])]);
    entry[0] = 0x40;
    let bomb = [block(GET), entry, vec![0xbe; 10_000]].concat();
    let before = gateway.peak_from_now();
    let mut client = Frames::connect(&address);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    assert_eq!(client.outcome(1), Outcome::Gone(11), "ENHANCE_YOUR_CALM");
    let grown = gateway.peak_bytes().saturating_sub(before);
    assert!(grown < MB, "{grown} bytes more for 40 MB of headers");
    // A body that is too large ends its stream, and the connection goes on.
    let mut client = Frames::connect(&address);
    client.send(HEADERS, END_HEADERS, 1, &block(&get_but(":method", "POST")));
    for _ in 0..11 {
        client.send(DATA, 0, 1, &[b'x'; 1024]);
    }
    let outcome = client.outcome(1);
    assert!(matches!(&outcome, Outcome::Answered(body) if body.contains("body_too_large")), "{outcome:?}");
    assert_eq!(client.ask(3, GET), Outcome::Answered("a /x 0".to_owned()));
    assert_eq!(upstream.seen().len(), 1);
    gateway.until("nothing is inside", |app| app["inside"] == 0);
}

/// Sends until the gateway ends the connection or reads no more of it; how much it has grown by that.
fn flood(gateway: &Gateway, address: &str, first: &[u8], piece: &[u8], bytes_max: usize) -> u64 {
    let before = gateway.peak_from_now();
    let mut client = Frames::connect(address);
    client.stream.set_write_timeout(Some(Duration::from_millis(500))).expect("it can be set");
    let (mut sent, piece) = (0, piece.repeat(1 + 65_536 / piece.len()));
    let mut open = client.stream.write_all(first).is_ok();
    while open && sent < bytes_max {
        open = client.stream.write_all(&piece).is_ok();
        sent += piece.len();
    }
    gateway.peak_bytes().saturating_sub(before)
}

#[test]
fn floods_are_bounded() {
    let upstream = Upstream::start("a");
    let headers = frame(HEADERS, 0, 1, &block(GET));
    let open = frame(HEADERS, END_HEADERS, 1, &block(&get_but(":method", "POST")));
    let more = block(&[("x", &"y".repeat(1000))]);
    for (name, first, piece) in [
        ("CONTINUATION", &headers[..], frame(CONTINUATION, 0, 1, &more)),
        ("empty CONTINUATION", &headers, frame(CONTINUATION, 0, 1, &[])),
        ("PING", &[], frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", &[], frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("empty DATA", &open, frame(DATA, 0, 1, &[])),
        ("PRIORITY", &[], frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        ("unknown frames", &[], frame(0xbe, 0, 0, &[0; 100])),
    ] {
        // One of its own: what a flood took before isn't what the next one may take unseen.
        let (gateway, address) = start(&upstream, "");
        // What each lane takes by its first connections is no growth.
        for _ in 0..4 {
            assert_eq!(Frames::connect(&address).ask(1, GET), Outcome::Answered("a /x 0".to_owned()));
        }
        let grown = flood(&gateway, &address, first, &piece, 16 << 20);
        assert!(grown < 4 * MB, "{name}: {grown} bytes more");
        assert_eq!(Frames::connect(&address).ask(1, GET), Outcome::Answered("a /x 0".to_owned()), "behind {name}");
    }
}

#[test]
fn requests_that_are_taken_back_as_they_come_end_their_connection() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "");
    // At once, many in one write, and one by one behind their arrival at the upstream.
    let mut client = Frames::connect(&address);
    let hold = block(&get_but(":path", "/hold"));
    let cancel = 8u32.to_be_bytes();
    let pair =
        |stream| [frame(HEADERS, END_HEADERS | END_STREAM, stream, &hold), frame(RST_STREAM, 0, stream, &cancel)];
    let many: Vec<u8> = (0..5000).flat_map(|n| pair(2 * n + 1).concat()).collect();
    let _ = client.stream.write_all(&many);
    assert!(client.ends());
    let mut client = Frames::connect(&address);
    let mut taken_back = 0;
    // Whether the connection has ended meanwhile is seen by the next write.
    let in_flight = |wanted: u64| {
        let begun = Instant::now();
        while gateway.app()["endpoints"][0]["in_flight"] != wanted && begun.elapsed() < Duration::from_millis(500) {}
    };
    for n in 0..1000 {
        let [head, reset] = pair(2 * n + 1);
        if client.stream.write_all(&head).is_err() {
            break;
        }
        in_flight(1);
        if client.stream.write_all(&reset).is_err() {
            break;
        }
        in_flight(0);
        taken_back += 1;
    }
    assert!(taken_back < 200, "{taken_back} were borne");
    assert!(client.ends());
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
    assert!(metric(&gateway, "tidegate_gateway_http2_floods_total") >= 1);
    assert_eq!(Frames::connect(&address).ask(1, GET), Outcome::Answered("a /x 0".to_owned()));
}

#[test]
fn requests_that_are_reset_right_behind_their_heads_are_counted_however_they_come() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "");
    // One that the gateway answers itself costs no endpoint anything, but is taken back as well.
    for (path, at_once) in [("/hold", 1), ("/hold", 10), ("/x", 1), ("*", 1)] {
        let mut client = Frames::connect(&address);
        let head = block(&get_but(":path", path));
        let (mut reset, mut open) = (0, true);
        while open && reset < 2000 {
            let pairs = (reset..reset + at_once).flat_map(|n| {
                let stream = 2 * n + 1;
                let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head), cancel].concat()
            });
            let _ = client.stream.write_all(&pairs.collect::<Vec<u8>>());
            reset += at_once;
            // The answer to a ping says that all before it was looked at.
            client.send(PING, 0, 0, &[0; 8]);
            let answer = std::iter::from_fn(|| client.next()).find(|frame| (frame.kind, frame.flags) == (PING, 1));
            open = answer.is_some();
        }
        assert!(!open && reset <= 120, "{path}, {at_once} at once: {reset} were borne");
    }
    assert_eq!(metric(&gateway, "tidegate_gateway_http2_floods_total"), 4);
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn streams_at_once_are_bounded_and_each_has_its_own_time() {
    let upstream = Upstream::start("a");
    let times = "\n[limits]\nstreams = 10\n[timeouts]\nbody = \"300ms\"\ndownload = \"300ms\"\n";
    let (gateway, address) = start(&upstream, times);
    let mut client = Frames::connect(&address);
    let hold = block(&get_but(":path", "/hold"));
    for n in 0..11 {
        client.send(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &hold);
    }
    assert_eq!(client.outcome(21), Outcome::Reset(7), "REFUSED_STREAM");
    for _ in 0..10 {
        assert_eq!(upstream.event(), Event::Held);
    }
    upstream.release();
    // They may come in any order.
    let mut answered = 0;
    while answered < 10 {
        let frame = client.next().expect("it goes on");
        answered += usize::from(frame.kind == DATA && frame.payload == b"released");
    }
    // One that stops within its body, one whose response nobody reads, one whose endpoint sleeps: each ends alone.
    client.send(HEADERS, END_HEADERS, 31, &block(&get_but(":method", "POST")));
    client.send(DATA, 0, 31, b"hello");
    let outcome = client.outcome(31);
    assert!(matches!(&outcome, Outcome::Answered(body) if body.contains("body_late")), "{outcome:?}");
    client.send(HEADERS, END_HEADERS | END_STREAM, 33, &block(&get_but(":path", "/bytes/10000000")));
    assert_eq!(client.outcome(33), Outcome::Reset(8), "CANCEL: its window is full, and stays so");
    let more = u32::to_be_bytes(1_000_000);
    client.send(WINDOW_UPDATE, 0, 0, &more);
    let late = [&get_but(":path", "/hold")[..], &[("x-deadline-ms", "300")]].concat();
    let outcome = client.ask(35, &late);
    assert!(matches!(&outcome, Outcome::Answered(body) if body.contains("\"deadline\"")), "{outcome:?}");
    assert_eq!(client.ask(37, GET), Outcome::Answered("a /x 0".to_owned()));
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn streams_that_nobody_reads_stop_no_other() {
    let upstream = Upstream::start("a");
    let at = upstream.address;
    let busy = "admission = { limit = 1, queue = 100, wait = \"30s\" }";
    let services = format!("[service.busy]\nendpoints = [\"{at}\"]\n{busy}\n[service.app]\nendpoints = [\"{at}\"]\n");
    let routes = "[[route]]\npath = \"/hold\"\nservice = \"busy\"\n[[route]]\nservice = \"app\"\n";
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = [\"h2\"]\n";
    let gateway = Gateway::start(&format!("{listener}{services}{routes}"));
    let address = gateway.http.split(',').nth(1).expect("there are two").to_owned();
    let mut client = Frames::connect(&address);
    // One holds the only place that there is, and the bodies of the others are as long as their windows, and wait.
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get_but(":path", "/hold")));
    assert_eq!(upstream.event(), Event::Held);
    let waiting: Vec<(&str, &str)> = [&get_but(":path", "/hold")[1..], &[(":method", "POST")]].concat();
    let window = client.stream_window();
    for n in 1..99 {
        client.send(HEADERS, END_HEADERS, 2 * n + 1, &block(&waiting));
        let mut left = window;
        while left > 0 {
            let bytes = left.min(16_384);
            client.send(DATA, 0, 2 * n + 1, &vec![b'x'; bytes]);
            left -= bytes;
        }
    }
    client.send(HEADERS, END_HEADERS, 201, &block(&get_but(":method", "POST")));
    client.send(DATA, END_STREAM, 201, &[b'x'; 1000]);
    assert_eq!(client.outcome(201), Outcome::Answered("a /x 1000".to_owned()));
}

#[test]
fn connections_without_requests_end() {
    let upstream = Upstream::start("a");
    let times = "\n[timeouts]\nheader = \"1s\"\nidle = \"1s\"\n";
    let (gateway, address) = start(&upstream, times);
    // Nothing, half a preface, nothing behind it, half a head, nothing behind a request.
    assert!(gateway.connect_to(&address).ends());
    let mut half = gateway.connect_to(&address);
    half.send("PRI * HT");
    let mut told = Vec::new();
    half.stream.read_to_end(&mut told).expect("it ends, whatever it is told before");
    assert!(Frames::connect(&address).ends());
    let mut client = Frames::connect(&address);
    client.send(HEADERS, END_STREAM, 1, &block(GET));
    assert!(client.ends());
    let mut client = Frames::connect(&address);
    assert_eq!(client.ask(1, GET), Outcome::Answered("a /x 0".to_owned()));
    assert_eq!(client.outcome(0), Outcome::Gone(0), "it is told");
    assert!(client.ends());
}

#[test]
fn who_is_told_to_go_ends_the_streams_that_it_has() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "");
    let mut client = Frames::connect(&address);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get_but(":path", "/hold")));
    assert_eq!(upstream.event(), Event::Held);
    let mut idle = Frames::connect(&address);
    assert_eq!(idle.ask(1, GET), Outcome::Answered("a /x 0".to_owned()));
    gateway.signal("-TERM");
    assert_eq!(idle.outcome(0), Outcome::Gone(0), "NO_ERROR");
    assert_eq!(client.outcome(1), Outcome::Gone(0), "NO_ERROR");
    upstream.release();
    // It is told twice: that it is to go, and with what it has heard that, which was the last stream.
    let last = std::iter::repeat_with(|| client.outcome(1)).find(|outcome| *outcome != Outcome::Gone(0));
    assert_eq!(last, Some(Outcome::Answered("released".to_owned())));
    assert!(gateway.wait().success());
}

#[test]
fn who_reads_slowly_is_told_all_before_a_drain_ends_his_connection() {
    let upstream = Upstream::start("a");
    // More than the kernel holds, as much as it holds, and what h2 holds for a window that is full.
    std::thread::scope(|scope| {
        for (bytes, window) in [(20_000_000, 0x7fff_ffff), (3_000_000, 0x7fff_ffff), (10, 3)] {
            let upstream = &upstream;
            scope.spawn(move || read_slowly_behind_a_drain(upstream, bytes, window));
        }
    });
}

fn read_slowly_behind_a_drain(upstream: &Upstream, bytes: usize, window: u32) {
    let (gateway, address) = start(upstream, "");
    let mut client = Frames::connect(&address);
    socket2::SockRef::from(&client.stream).set_recv_buffer_size(65_536).expect("it can be set");
    client.send(SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
    client.send(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes());
    let path = format!("/bytes/{bytes}");
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get_but(":path", &path)));
    while client.next().expect("it begins").kind != HEADERS {}
    gateway.signal("-TERM");
    client.rest(Duration::from_secs(5));
    let (mut got, mut ended, mut rested) = (0, false, false);
    let more = 1000_u32.to_be_bytes();
    while !ended {
        let frame = client.next().unwrap_or_else(|| panic!("only {got} of {bytes} came"));
        if frame.kind == DATA {
            got += frame.payload.len();
            ended = frame.flags & END_STREAM != 0;
        }
        // By now what is left waits in the gateway's kernel, and h2 has ended.
        if !rested && bytes - got < 300_000 {
            client.rest(Duration::from_secs(2));
            rested = true;
        }
        // It tells what it has taken, as clients do.
        client.send(WINDOW_UPDATE, 0, 0, &more);
        if window < 1000 && !ended {
            client.send(WINDOW_UPDATE, 0, 1, &more);
        }
    }
    assert_eq!(got, bytes);
    assert!(client.ends());
    drop(client);
    assert!(gateway.wait().success());
}

#[test]
fn an_endpoint_that_fails_ends_its_stream_alone() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "");
    let mut client = Frames::connect(&address);
    let outcome = client.ask(1, &get_but(":path", "/die"));
    assert!(matches!(&outcome, Outcome::Answered(body) if body.contains("\"reset\"")), "{outcome:?}");
    assert!(matches!(client.ask(3, &get_but(":path", "/die-in-body")), Outcome::Reset(_)), "half a body is no body");
    assert_eq!(client.ask(5, GET), Outcome::Answered("a /x 0".to_owned()));
    // A client that goes takes all of its requests with it.
    for stream in [7, 9, 11] {
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get_but(":path", "/hold")));
        assert_eq!(upstream.event(), Event::Held);
    }
    drop(client);
    for _ in 0..3 {
        assert_eq!(upstream.event(), Event::Gone);
    }
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}
