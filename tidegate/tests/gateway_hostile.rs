//! Clients that mean no good, each over a raw socket, before an upstream that tells what arrived: nothing that can be read in two
//! ways, and nothing without bounds.

mod support;

use std::io::Write;
use support::gateway::{Event, Gateway, Raw, Upstream, service};

/// What a request must be refused with, over a connection that is closed behind it.
struct Case {
    name: &'static str,
    request: String,
    status: u16,
    error: &'static str,
}

fn case(name: &'static str, request: impl Into<String>, status: u16, error: &'static str) -> Case {
    Case { name, request: request.into(), status, error }
}

fn post(lines: &str) -> String {
    format!("POST /smuggled HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn ambiguous() -> Vec<Case> {
    vec![
        case("CL.TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked"), 400, "length_and_encoding"),
        case("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 6"), 400, "length_and_encoding"),
        case("two lengths", post("Content-Length: 5\r\nContent-Length: 6"), 400, "length_twice"),
        case("one length twice", post("Content-Length: 5\r\nContent-Length: 5"), 400, "length_twice"),
        case("a list of lengths", post("Content-Length: 5, 5"), 400, "bad_length"),
        case("a signed length", post("Content-Length: +5"), 400, "bad_length"),
        case("a negative length", post("Content-Length: -5"), 400, "bad_length"),
        case("a huge length", post("Content-Length: 18446744073709551616"), 400, "bad_length"),
        case("TE with a name that isn't one", post("Transfer-Encoding: xchunked"), 400, "bad_encoding"),
        case("TE with more than chunked", post("Transfer-Encoding: chunked, identity"), 400, "bad_encoding"),
        case("TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), 400, "bad_encoding"),
        case("TE with a blank before its colon", post("Transfer-Encoding : chunked"), 400, "header_name"),
        case("TE behind a control character", post("Transfer-Encoding: \u{b}chunked"), 400, "header_value"),
        case("TE in a folded line", post("X: y\r\n Transfer-Encoding: chunked"), 400, "folded_header"),
        case("TE behind a bare CR", post("X: y\rTransfer-Encoding: chunked"), 400, "bare_cr"),
        case("TE behind a bare LF", post("X: y\nTransfer-Encoding: chunked"), 400, "bare_lf"),
        case("TE of HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "old_encoding"),
        case("a zero byte in a value", post("X: y\0z"), 400, "header_value"),
        case("a name that is none", post("X Y: z"), 400, "header_name"),
        case("a header without a colon", post("Content-Length"), 400, "header_name"),
        case("two hosts", post("Host: b"), 400, "many_hosts"),
        case("no host", "GET / HTTP/1.1\r\n\r\n", 400, "no_host"),
        case("another host in the target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch"),
        case("a host with a path", "GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400, "bad_host"),
        case("a user in the target", "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400, "target"),
        case("a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare_lf"),
        case("a blank too many", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
        case("a target in two words", "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
        case("no version", "GET /\r\nHost: a\r\n\r\n", 400, "request_line"),
        case("HTTP/2 by surprise", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
        case("a tunnel", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "connect"),
    ]
}

#[test]
fn what_can_be_read_in_two_ways_never_reaches_an_upstream() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    for Case { name, request, status, error } in ambiguous() {
        let mut client = gateway.connect();
        client.send(&request);
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{name}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
        assert!(client.ends(), "{name}: nothing behind the refusal, and the end of the connection");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[test]
fn a_refusal_keeps_its_place_behind_sound_requests() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    for Case { name, request, status, error } in ambiguous() {
        let before = upstream.seen().len();
        let mut client = gateway.connect();
        client.send(format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{request}"));
        assert_eq!(client.answer(false).text(), "a /first 0", "{name}");
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{name}");
        assert!(client.ends(), "{name}");
        assert_eq!(upstream.seen().len(), before + 1, "{name}");
    }
}

#[test]
fn a_refused_head_may_come_in_any_pieces() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let request = post("Content-Length: 6\r\nTransfer-Encoding: chunked");
    let mut client = gateway.connect();
    let head = request.split("\r\n\r\n").next().expect("the head").to_owned() + "\r\n\r\n";
    for byte in head.as_bytes() {
        client.send([*byte]);
    }
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.error().as_str()), (400, "length_and_encoding"));
    let mut client = gateway.connect();
    for byte in b"GET /slowly HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.answer(false).text(), "a /slowly 0");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_broken_body_ends_its_request_and_nothing_of_it_is_taken_for_another() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    for (body, error) in [
        ("x\r\nhello\r\n0\r\n\r\n", "chunk_size"),
        ("-5\r\nhello\r\n0\r\n\r\n", "chunk_size"),
        ("0x5\r\nhello\r\n0\r\n\r\n", "chunk_size"),
        ("5 \r\nhello\r\n0\r\n\r\n", "chunk_size"),
        ("5\nhello\r\n0\r\n\r\n", "chunk_size"),
        ("ffffffffffffffff5\r\nhello\r\n0\r\n\r\n", "chunk_size"),
        ("5;a\u{1}b\r\nhello\r\n0\r\n\r\n", "chunk_extension"),
        ("4\r\nhello\r\n0\r\n\r\n", "chunk_end"),
        ("5\r\nhello\n0\r\n\r\n", "chunk_end"),
        ("0\r\nX: y\r\n folded\r\n\r\n", "trailer"),
        ("0\r\n\n", "bare_lf"),
    ] {
        let mut client = gateway.connect();
        client.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.try_send(format!("{body}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.error().as_str()), (400, error), "{body:?}");
        assert!(client.ends(), "{body:?}");
    }
    assert!(upstream.seen().is_empty(), "no request was whole: {:?}", upstream.seen());
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn everything_that_a_client_sends_has_a_bound() {
    let upstream = Upstream::start("a");
    let limits = "\n[limits]\nheader = \"4kb\"\nheaders = 20\nuri = \"1kb\"\nbody = \"10kb\"\n";
    let gateway = Gateway::with(&[&upstream], limits);
    let long = "a".repeat(100_000);
    for Case { name, request, status, error } in [
        case("a header", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}"), 431, "head_too_large"),
        case(
            "all headers",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: abcdefghi\r\n".repeat(400)),
            431,
            "headers_too_many",
        ),
        case("the name of a header", format!("GET / HTTP/1.1\r\nHost: a\r\n{long}"), 431, "head_too_large"),
        case("the target", format!("GET /{long}"), 414, "target_too_long"),
        case("a whole target", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..2000]), 414, "target_too_long"),
        case("the method", long.clone(), 414, "target_too_long"),
        case(
            "a body that is announced",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10241\r\n\r\n",
            413,
            "body_too_large",
        ),
    ] {
        let mut client = gateway.connect();
        client.try_send(&request);
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{name}: {answer:?}");
        assert!(client.ends(), "{name}");
    }
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        client.try_send(format!("400\r\n{}\r\n", &long[..1024]));
    }
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.error().as_str()), (413, "body_too_large"), "{answer:?}");
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    let fits = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10240\r\n\r\n{}", &long[..10240]);
    assert_eq!(gateway.connect().ask(&fits).status, 200);
}

#[test]
fn slow_clients_lose_their_connection_and_nobody_elses() {
    let upstream = Upstream::start("a");
    let times = "\n[timeouts]\nheader = \"300ms\"\nbody = \"300ms\"\nidle = \"400ms\"\n";
    let gateway = Gateway::with(&[&upstream], times);
    // A head that never ends, however it drips.
    let mut slow: Vec<Raw> = (0..50).map(|_| gateway.connect()).collect();
    for client in &mut slow {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX: y");
    }
    assert_eq!(gateway.get("/meanwhile").status, 200);
    for client in &mut slow {
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.error().as_str()), (408, "head_late"));
        assert!(client.ends());
    }
    // A body that stops.
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello");
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.error().as_str()), (408, "body_late"));
    assert!(client.ends());
    // Nothing at all, from the start and behind a request.
    assert!(gateway.connect().ends());
    let mut client = gateway.connect();
    assert_eq!(client.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert!(client.ends());
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn a_body_that_crawls_is_refused_and_holds_no_place_meanwhile() {
    let upstream = Upstream::start("a");
    let keys = "admission = { limit = 1, queue = 0 }\n[limits]\nbody_rate = \"1mb\"\n[timeouts]\nbody_grace = \"3s\"\n";
    let gateway = Gateway::start_with_one_lane(&service(&[&upstream], keys));
    let mut client = gateway.connect();
    // So much of it is waited for before it takes a place at all.
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(16 * 1024)));
    gateway.until("it is in flight, and its place another's", |app| {
        let _ = client.stream.get_ref().write_all(b"x");
        app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 1
    });
    assert_eq!(gateway.get("/meanwhile").status, 200);
    // Not one pause is too long, but all of them are.
    let short = Some(std::time::Duration::from_millis(10));
    client.stream.get_ref().set_read_timeout(short).expect("it can be set");
    while client.stream.get_ref().peek(&mut [0]).is_err() {
        client.try_send("x");
    }
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.error().as_str()), (408, "body_late"), "{answer:?}");
    // One that comes as fast as its client can is none of those, however long its endpoint takes.
    let body = "x".repeat(1_000_000);
    let whole = format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{body}");
    assert_eq!(gateway.connect().ask(&whole).text(), "a /p 1000000");
}

#[test]
fn a_client_that_goes_is_noticed_though_its_next_request_was_never_read() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    for behind in [
        "GET /next HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /unfinished HTTP/1.1\r\nHost".to_owned(),
        "GET /many HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000),
    ] {
        let mut client = gateway.connect();
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(upstream.event(), Event::Held);
        client.send(behind);
        drop(client);
        assert_eq!(upstream.event(), Event::Gone);
    }
    gateway.until("nothing is inside", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
    assert!(!upstream.seen().iter().any(|seen| !seen.head.contains("/hold")), "{:?}", upstream.seen());
}

#[test]
fn a_response_that_can_be_read_in_two_ways_is_not_passed_on() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let cut = gateway.get("/die");
    assert_eq!((cut.status, cut.error().as_str()), (502, "reset"));
    let mut client = gateway.connect();
    client.send("GET /die-in-body HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_answer(false).is_none(), "half a body is no body: the connection ends within it");
    let mut client = gateway.connect();
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.event(), Event::Held);
    upstream.kill();
    let answer = client.answer(false);
    assert_eq!((answer.status, answer.error().as_str()), (502, "reset"), "{answer:?}");
}
