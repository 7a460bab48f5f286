//! Connections that go on with another protocol, as WebSocket does: what passes then, what never does, and what it counts for.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use support::gateway::{Gateway, Raw, Upstream, header};
use support::tls::under_tls;

fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
    )
}

/// A client that is joined with an endpoint.
fn joined(gateway: &Gateway) -> Raw {
    let mut client = gateway.connect();
    client.send(handshake("/echo"));
    let answer = client.answer(false);
    assert_eq!(
        (answer.status, answer.header("upgrade"), answer.header("connection")),
        (101, Some("websocket"), Some("upgrade"))
    );
    assert_eq!(answer.header("x-key"), Some("ok"), "{answer:?}");
    expect(&mut client, "early");
    client
}

fn expect(client: &mut Raw, text: &str) {
    let mut got = vec![0; text.len()];
    client.stream.read_exact(&mut got).expect("it comes");
    assert_eq!(String::from_utf8_lossy(&got), text);
}

#[test]
fn a_websocket_passes_both_ways_until_each_side_has_ended() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = joined(&gateway);
    let head = &upstream.seen()[0].head;
    for (name, value) in
        [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x"), ("via", "1.1 tidegate")]
    {
        assert_eq!(header(head, name), Some(value), "{head}");
    }
    for text in ["hello", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\0\n\r not HTTP"] {
        client.send(text);
        expect(&mut client, text);
    }
    client.stream.get_ref().shutdown(Shutdown::Write).expect("it can end its half");
    let mut rest = String::new();
    client.stream.read_to_string(&mut rest).expect("the other half goes on");
    assert_eq!(rest, "bye");
    gateway.until("nothing is left", |app| app["endpoints"][0]["in_flight"] == 0 && app["inside"] == 0);
}

#[test]
fn a_websocket_passes_under_tls_on_both_sides() {
    let upstream = Upstream::start("a");
    let (behind, _folder, trust) = under_tls(&upstream);
    let before = Gateway::start(&format!(
        "[service.app]\nendpoints = [\"{}\"]\n{trust}\n[[route]]\nservice = \"app\"\n",
        behind.https
    ));
    let mut client = joined(&before);
    let text = "x".repeat(1_000_000);
    let mut writer = client.stream.get_ref().try_clone().expect("a descriptor is left");
    let of_thread = text.clone();
    let written = std::thread::spawn(move || {
        writer.write_all(of_thread.as_bytes()).expect("it is read");
        writer.shutdown(Shutdown::Write).expect("it can end its half");
    });
    expect(&mut client, &text);
    written.join().expect("it was written");
    expect(&mut client, "bye");
    assert!(client.ends());
}

#[test]
fn what_was_sent_before_the_answer_belongs_to_the_new_protocol() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    client.send(format!("{}\u{1}\u{2} frames", handshake("/echo")));
    assert_eq!(client.answer(false).status, 101);
    expect(&mut client, "early\u{1}\u{2} frames");
}

#[test]
fn much_passes_through_little_memory_and_a_stuck_reader_stops_its_writer() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = joined(&gateway);
    let before = gateway.peak_from_now();
    let mut writer = client.stream.get_ref().try_clone().expect("a descriptor is left");
    let written = std::thread::spawn(move || {
        let piece = [b'x'; 64 * 1024];
        (0..1024).for_each(|_| writer.write_all(&piece).expect("it is read"));
        writer.shutdown(Shutdown::Write).expect("it can end its half");
    });
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).expect("it comes");
    written.join().expect("it was written");
    assert_eq!(all.len(), 64 * 1024 * 1024 + 3);
    let grown = gateway.peak_bytes().saturating_sub(before);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes more for 64 MiB");
}

#[test]
fn a_claim_that_the_endpoint_does_not_take_up_hides_no_request() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    // The next bytes are the next request, and looked at as such.
    let mut client = gateway.connect();
    client.send(format!("{}GET /next HTTP/1.1\r\nHost: a\r\n\r\n", handshake("/first")));
    assert_eq!((client.answer(false).text(), client.answer(false).text()), ("a /first 0", "a /next 0"));
    // So what can be read in two ways is refused behind it.
    let mut client = gateway.connect();
    let smuggled = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.send(format!("{}{smuggled}", handshake("/status/403")));
    assert_eq!(client.answer(false).status, 403);
    let refused = client.answer(false);
    assert_eq!((refused.status, refused.error().as_str()), (400, "length_and_encoding"));
    assert!(client.ends());
    assert!(!upstream.seen().iter().any(|seen| seen.head.starts_with("POST")));
    // In pieces, and with a body.
    let mut client = gateway.connect();
    for byte in handshake("/slowly").as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.answer(false).text(), "a /slowly 0");
    let body =
        "POST /p HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.ask(body).text(), "a /p 5");
    assert_eq!(header(&upstream.seen().last().expect("it came").head, "upgrade"), None, "only a plain GET may");
    assert_eq!(client.ask("GET /last HTTP/1.1\r\nHost: a\r\n\r\n").text(), "a /last 0");
}

#[test]
fn only_what_was_asked_for_and_is_allowed_begins() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    let answer = client.ask(&handshake("/other"));
    assert_eq!((answer.status, answer.error().as_str()), (502, "bad_response"), "{answer:?}");
    for request in [
        "GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let answer = gateway.connect().ask(request);
        assert_eq!((answer.status, answer.error().as_str()), (502, "bad_response"), "{answer:?}");
        assert_eq!(header(&upstream.seen().last().expect("it came").head, "upgrade"), None);
    }
    let none = Gateway::with(&[&upstream], "upgrade = []");
    assert_eq!(none.connect().ask(&handshake("/x")).text(), "a /x 0");
    assert_eq!(header(&upstream.seen().last().expect("it came").head, "upgrade"), None);
}

#[test]
fn they_take_no_place_of_the_limit_but_are_counted_and_bounded() {
    let upstream = Upstream::start("a");
    let keys = "admission = { limit = 1, queue = 0 }\ntunnels = 2";
    let gateway = Gateway::start_with_one_lane(&support::gateway::service(&[&upstream], keys));
    let first = joined(&gateway);
    let _second = joined(&gateway);
    gateway.until("both are in flight, and neither is inside", |app| {
        app["endpoints"][0]["in_flight"] == 2 && app["inside"] == 0
    });
    assert_eq!(gateway.get("/meanwhile").status, 200);
    let refused = gateway.connect().ask(&handshake("/echo"));
    assert_eq!((refused.status, refused.error().as_str()), (503, "tunnels_full"));
    drop(first);
    gateway.until("its endpoint has lost it", |app| app["endpoints"][0]["in_flight"] == 1);
    joined(&gateway);
}

#[test]
fn one_that_is_silent_ends_and_so_does_a_drain() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::with(&[&upstream], "\n[timeouts]\ntunnel = \"200ms\"");
    assert!(joined(&gateway).ends(), "nothing passed for too long");
    let text = format!("drain = \"200ms\"\n{}", support::gateway::service(&[&upstream], ""));
    let gateway = Gateway::start_logging(&text);
    let mut client = joined(&gateway);
    client.send("hello");
    expect(&mut client, "hello");
    let log = gateway.stop_and_read_log();
    assert!(client.ends());
    assert!(log.contains("\"status\":101") && log.contains("\"bytes_in\":5,\"bytes_out\":10"), "{log}");
}
