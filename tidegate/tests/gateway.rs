//! A real gateway before real sockets: what goes through, how it is changed on its way, and what it costs the upstreams.

mod support;

use std::io::{Read, Write};
use support::gateway::{Event, Gateway, Raw, Upstream, header};

#[test]
fn a_request_goes_through_and_is_told_of_its_client() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let answer = gateway.connect().ask(
        "GET /x?y=z HTTP/1.1\r\nHost: shop.test\r\nRange: bytes=0-4\r\nConnection: x-mine\r\nX-Mine: 1\r\nTE: gzip\r\n\
         Keep-Alive: 5\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text()), (200, "a /x?y=z 0"), "{answer:?}");
    assert_eq!(answer.header("x-of"), Some("a"));
    let head = &upstream.seen()[0].head;
    assert!(head.starts_with("GET /x?y=z HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "shop.test"),
        ("range", "bytes=0-4"),
        ("via", "1.1 tidegate"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.test"),
        ("forwarded", "for=127.0.0.1;proto=http"),
    ] {
        assert_eq!(header(head, name), Some(value), "{name} in {head}");
    }
    for gone in ["connection", "x-mine", "te", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"] {
        assert_eq!(header(head, gone), None, "{gone} in {head}");
    }
}

#[test]
fn bodies_of_both_kinds_go_both_ways() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    let counted = client.ask("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(counted.text(), "a /p 5");
    let chunked =
        "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).text(), "a /p 11");
    let search = "GET /search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(client.ask(search).text(), "a /search 5", "a body where none is usual");
    let answer = client.ask("GET /chunks/7 HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n");
    assert_eq!((answer.text(), answer.trailers.as_str()), ("yyyyyyy", "x-sum: done\r\n\r\n"));
    assert_eq!(header(&upstream.seen()[3].head, "te"), Some("trailers"));
    let none = client.ask("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(none.text(), "a /p 0");
}

#[test]
fn connections_to_upstreams_are_used_again() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::with(&[&upstream], "");
    let mut client = gateway.connect();
    for round in 0..10 {
        for request in [
            "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
            "HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /chunks/3 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
        ] {
            assert_eq!(client.ask(request).status, 200, "round {round}: {request}");
        }
    }
    assert_eq!(upstream.connections(), 1, "{:?}", gateway.app());
}

#[test]
fn answers_without_a_body_keep_their_length() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    let answer = client.ask("HEAD /bytes/12345 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("12345")), "{answer:?}");
    assert_eq!(client.ask("GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n").text(), "xxx", "the connection goes on");
}

#[test]
fn old_clients_are_served() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    let answer = client.ask("GET /chunks/5 HTTP/1.0\r\n\r\n");
    assert_eq!((answer.text(), answer.header("transfer-encoding")), ("yyyyy", None), "{answer:?}");
    assert!(client.ends(), "HTTP/1.0 ends its connection");
    assert_eq!(header(&upstream.seen()[0].head, "host"), Some(upstream.address.to_string().as_str()));
    let mut client = gateway.connect();
    for _ in 0..2 {
        let answer = client.ask("GET /bytes/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(answer.text(), "xxx");
    }
}

#[test]
fn a_client_that_expects_to_be_told_is_told_to_go_on() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    client.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer(true).status, 100);
    client.send("hello");
    assert_eq!(client.answer(false).text(), "a /p 5");
    let refused = client.ask("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: wonders\r\n\r\n");
    assert_eq!((refused.status, refused.error().as_str()), (417, "expectation"));
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let mut client = gateway.connect();
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..20 {
        assert_eq!(client.answer(false).text(), format!("a /{n} 0"));
    }
}

#[test]
fn large_bodies_pass_through_little_memory() {
    const BYTES: usize = 256 * 1024 * 1024;
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let before = gateway.peak_from_now();
    gateway.pass_large_bodies("a", BYTES);
    let grown = gateway.peak_bytes().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more for two bodies of {BYTES}");
}

#[test]
fn what_nobody_reads_is_not_fetched() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let before = gateway.peak_from_now();
    let mut clients: Vec<Raw> = (0..8).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
        client.stream.get_mut().flush().expect("it leaves");
        let mut first = [0; 1];
        client.stream.read_exact(&mut first).expect("it begins");
    }
    gateway.until("all are in flight", |app| app["endpoints"][0]["in_flight"] == 8);
    let grown = gateway.peak_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more for 800 MB that nobody reads");
}

#[test]
fn a_client_that_goes_takes_its_request_with_it() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    for _ in 0..20 {
        let mut client = gateway.connect();
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(upstream.event(), Event::Held);
        drop(client);
        assert_eq!(upstream.event(), Event::Gone, "the upstream learns of it");
    }
    // One that goes within its body, and one within the response's.
    let mut client = gateway.connect();
    client.send("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    gateway.until("it is in flight", |app| app["endpoints"][0]["in_flight"] == 1);
    drop(client);
    let mut client = gateway.connect();
    client.send("GET /bytes/100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.stream.read_exact(&mut [0; 1000]).expect("it begins");
    drop(client);
    gateway.until("nothing is inside any more", |app| {
        app["inside"] == 0 && app["waiting"] == 0 && app["endpoints"][0]["in_flight"] == 0
    });
    assert_eq!(gateway.get("/x").status, 200);
}

#[test]
fn routes_choose_by_host_path_method_and_header() {
    let upstreams = ["a", "b", "c", "d"].map(Upstream::start);
    let names = ["a", "b", "c", "d"].iter().zip(&upstreams);
    let services: String =
        names.map(|(name, upstream)| format!("[service.{name}]\nendpoints = [\"{}\"]\n", upstream.address)).collect();
    let gateway = Gateway::start(&format!(
        "{services}[[route]]\nhost = \"*.b.test\"\nservice = \"b\"\n[[route]]\nprefix = \"/c\"\nmethods = [\"POST\"]\nservice = \"c\"\n\
         [[route]]\nregex = \"/d/[0-9]+\"\nheaders = {{ x-kind = \"d\" }}\nservice = \"d\"\n[[route]]\nhost = \"a.test\"\nservice = \"a\"\n"
    ));
    let of = |request: &str| {
        let answer = gateway.connect().ask(request);
        if answer.status == 200 { answer.header("x-of").unwrap_or("none").to_owned() } else { answer.error() }
    };
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\nHost: x.B.test:80\r\n\r\n", "b"),
        ("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", "no_route"),
        ("POST /c/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", "c"),
        ("POST /cx HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", "a"),
        ("GET /c HTTP/1.1\r\nHost: a.test\r\n\r\n", "a"),
        ("GET /d/12 HTTP/1.1\r\nHost: q.test\r\nX-Kind: d\r\n\r\n", "d"),
        ("GET /d/1x HTTP/1.1\r\nHost: q.test\r\nX-Kind: d\r\n\r\n", "no_route"),
    ] {
        assert_eq!(of(request), wanted, "{request}");
    }
}

#[test]
fn the_demo_answers_by_both_of_its_upstreams() {
    let gateway = Gateway::demo();
    let mut seen = [gateway.get("/a"), gateway.get("/b")].map(|answer| answer.text().lines().next().map(str::to_owned));
    seen.sort();
    let told = |number: u8, path: &str| Some(format!("example upstream {number} got: GET {path}"));
    assert!(seen == [told(1, "/a"), told(2, "/b")] || seen == [told(1, "/b"), told(2, "/a")], "{seen:?}");
}
