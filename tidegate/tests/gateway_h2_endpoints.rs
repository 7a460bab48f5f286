//! HTTP/2 between the gateway and endpoints: what is shared, what is bounded, and whose end is whose.

mod support;

use std::io::Read;
use support::gateway::{Event, Gateway, Raw, Upstream, header};
use support::h2c::H2Upstream;
use support::tls::under_tls;

fn service(endpoint: &std::net::SocketAddr, more: &str) -> String {
    format!("[service.app]\nendpoints = [\"{endpoint}\"]\nprotocol = \"h2\"\n{more}\n[[route]]\nservice = \"app\"\n")
}

fn before(upstream: &H2Upstream) -> Gateway {
    Gateway::start_with_one_lane(&service(&upstream.address, ""))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n")
}

#[test]
fn requests_share_a_connection_and_are_what_they_were() {
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    let mut clients: Vec<Raw> = (0..20).map(|_| gateway.connect()).collect();
    for _ in 0..5 {
        clients.iter_mut().for_each(|client| client.send(get("/x?y=z")));
        clients.iter_mut().for_each(|client| assert_eq!(client.answer(false).text(), "h2 /x 0"));
    }
    let post = "POST /p HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(clients[0].ask(post).text(), "h2 /p 11");
    assert_eq!(upstream.connections(), 1);
    let seen = upstream.seen();
    assert!(seen[0].starts_with("GET http://shop.test/x?y=z "), "{}", seen[0]);
    assert!(!seen.iter().any(|line| line.contains("\"host\"") || line.contains("transfer-encoding")), "{seen:?}");
    gateway.until("all is counted back", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn an_endpoint_gets_no_more_streams_than_it_allows() {
    let upstream = H2Upstream::start(3);
    let gateway = Gateway::start_with_one_lane(&service(&upstream.address, "admission = { limit = \"off\" }"));
    assert_eq!(gateway.get("/first").status, 200);
    let mut held: Vec<Raw> = (0..12).map(|_| gateway.connect()).collect();
    held.iter_mut().for_each(|client| client.send(get("/hold")));
    (0..12).for_each(|_| assert_eq!(upstream.event(), Event::Held));
    assert_eq!((upstream.connections(), upstream.streams_most()), (4, 12), "three on each");
    // Eight connections are the most: beyond 24 requests wait, and go on when one ends.
    let mut more: Vec<Raw> = (0..13).map(|_| gateway.connect()).collect();
    more.iter_mut().for_each(|client| client.send(get("/hold")));
    (0..12).for_each(|_| assert_eq!(upstream.event(), Event::Held));
    assert_eq!((upstream.connections(), upstream.streams_most()), (8, 24));
    drop(held.pop());
    let mut last = [upstream.event(), upstream.event()];
    last.sort_by_key(|event| *event == Event::Held);
    assert_eq!(last, [Event::Gone, Event::Held]);
}

#[test]
fn a_client_that_goes_resets_its_stream_alone() {
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    let mut stays = gateway.connect();
    stays.send(get("/hold"));
    assert_eq!(upstream.event(), Event::Held);
    for _ in 0..20 {
        let mut goes = gateway.connect();
        goes.send(get("/hold"));
        assert_eq!(upstream.event(), Event::Held);
        drop(goes);
        assert_eq!(upstream.event(), Event::Gone);
    }
    gateway.until("one is left", |app| app["endpoints"][0]["in_flight"] == 1 && app["inside"] == 1);
    assert_eq!((gateway.get("/x").status, upstream.connections()), (200, 1));
}

#[test]
fn trailers_pass_and_an_answer_may_be_nothing_else() {
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    let answer = gateway.get("/trailers");
    assert_eq!((answer.status, answer.text()), (200, "data"));
    let only = gateway.get("/only");
    assert_eq!((only.status, only.header("grpc-status"), only.text()), (200, Some("5"), ""));
    let echo = "POST /echo HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(gateway.connect().ask(echo).text(), "more");
    assert!(upstream.seen().last().expect("it came").contains("\"te\": \"trailers\""));
    assert_eq!(gateway.connect().ask("HEAD /bytes/0 HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn both_ways_stream_at_once() {
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).expect("the head comes before the body has ended");
        head.push(char::from(byte[0]));
    }
    for round in 0..10 {
        client.send(format!("5\r\nping{round}\r\n"));
        let mut got = [0; 10];
        client.stream.read_exact(&mut got).expect("it comes back");
        assert_eq!(String::from_utf8_lossy(&got), format!("5\r\nping{round}\r\n"));
    }
}

#[test]
fn what_was_not_processed_is_sent_again() {
    let (upstream, other) = (H2Upstream::start_refusing(2), H2Upstream::start(100));
    let endpoints = format!("{}\", \"{}", upstream.address, other.address);
    let gateway = Gateway::start_with_one_lane(&format!(
        "[service.app]\nendpoints = [\"{endpoints}\"]\nprotocol = \"h2\"\npolicy = \"round-robin\"\n[[route]]\nservice = \"app\"\n"
    ));
    for round in 0..8 {
        let post = "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(gateway.connect().ask(post).text(), "h2 /refuse 0", "round {round}");
    }
    let asked = |upstream: &H2Upstream| upstream.seen().len();
    assert_eq!(asked(&upstream) + asked(&other), 10, "two were sent twice");
    // A connection that its endpoint wants to end is left, and nobody notices.
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    let mut stays = gateway.connect();
    stays.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for round in 1..=20 {
        let post = "POST /leave HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(gateway.connect().ask(post).text(), "h2 /leave 5", "round {round}");
    }
    assert!(upstream.connections() >= 20, "{}", upstream.connections());
    stays.send("2\r\nhi\r\n0\r\n\r\n");
    assert_eq!(stays.answer(false).text(), "hi", "a stream from before the GOAWAY goes on to its end");
    let broken = gateway.connect().ask("POST /broken HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((broken.status, broken.error().as_str()), (502, "reset"), "{}", broken.text());
}

#[test]
fn an_early_answer_ends_its_request() {
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    for _ in 0..10 {
        let mut client = gateway.connect();
        let begun = "x".repeat(20_000);
        client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{begun}"));
        assert_eq!(client.answer(false).text(), "early");
    }
    gateway.until("nothing is left", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
}

#[test]
fn an_answer_that_is_reset_without_an_error_is_not_whole() {
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    for _ in 0..10 {
        let mut client = gateway.connect();
        client.send(get("/cut"));
        // No last chunk tells a client of HTTP/1.1 that it was all; if nothing of it had come yet, it is an error.
        let answer = client.try_answer(false);
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 502), "{answer:?}");
    }
}

#[test]
fn bodies_pass_both_ways_through_little_memory() {
    const BYTES: usize = 64 * 1024 * 1024;
    let upstream = H2Upstream::start(100);
    let gateway = before(&upstream);
    let peak = gateway.peak_from_now();
    // Those that nobody reads stop none of the others.
    let mut unread: Vec<Raw> = (0..50).map(|_| gateway.connect()).collect();
    for client in &mut unread {
        client.send(get("/bytes/100000000"));
        client.stream.read_exact(&mut [0; 1]).expect("it begins");
    }
    gateway.pass_large_bodies("h2", BYTES);
    let grown = gateway.peak_bytes().saturating_sub(peak);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn under_tls_it_is_agreed_on() {
    let upstream = Upstream::start("a");
    let (behind, _folder, trust) = under_tls(&upstream);
    let address = behind.https.parse().expect("it is an address");
    let gateway = Gateway::start_with_one_lane(&service(&address, &trust));
    let mut client = gateway.connect();
    for round in 0..5 {
        let post = format!("POST /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(client.ask(&post).text(), format!("a /{round} 5"));
    }
    let head = &upstream.seen()[0].head;
    assert_eq!(header(head, "via"), Some("1.1 tidegate, 2.0 tidegate"), "{head}");
}

#[test]
fn an_endpoint_that_speaks_something_else_is_told_apart() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&service(&upstream.address, ""));
    let answer = gateway.get("/x");
    assert_eq!((answer.status, answer.error().as_str()), (502, "connect_failed"), "{}", answer.text());
    assert!(answer.text().contains("does it speak HTTP/2 there?"), "{}", answer.text());
    let h2 = H2Upstream::start(100);
    let checked =
        Gateway::start(&service(&h2.address, "checks = { path = \"/healthz\", interval = \"50ms\", fall = 1 }"));
    assert_eq!(checked.get("/x").status, 200);
    checked.until("its checks pass", |_| h2.seen().iter().filter(|line| line.contains("/healthz")).count() > 3);
    assert_eq!(checked.app()["endpoints"][0]["state"], "active");
}
