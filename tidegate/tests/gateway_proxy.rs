//! The PROXY protocol: balancers say who has connected, and nobody else may connect.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use support::Folder;
use support::frames::{END_HEADERS, END_STREAM, GET, HEADERS, SETTINGS, block, frame};
use support::gateway::{Gateway, Raw, Upstream, header, service};
use support::tls::Authority;

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n";

fn start(upstream: &Upstream, networks: &str, more: &str, services: &str) -> (Gateway, String) {
    let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [{networks}]\n{more}\n");
    let gateway = Gateway::start_logging(&format!("{listener}{}", service(&[upstream], services)));
    let all = format!("{},{}", gateway.http, gateway.https);
    let address = all.split(',').nth(1).expect("there are two").to_owned();
    (gateway, address)
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

fn refused(gateway: &Gateway) -> u64 {
    let page = gateway.admin("GET", "/metrics", "").body;
    let line = page.lines().find_map(|line| line.strip_prefix("tidegate_gateway_proxy_refused_total "));
    line.and_then(|value| value.parse().ok()).expect("it is counted")
}

#[test]
fn the_client_is_who_the_balancer_says() {
    let upstream = Upstream::start("a");
    let limit = "\n[limit.client]\nby = \"address\"\nrequests = 2\nper = \"1h\"\n";
    let services =
        service(&[&upstream], limit).replace("service = \"app\"", "limits = [\"client\"]\nservice = \"app\"");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = [\"127.0.0.0/8\"]\n\
                    protocols = [\"http/1.1\", \"h2\"]\n";
    let gateway = Gateway::start_logging(&format!("{listener}{services}"));
    let address = gateway.http.split(',').nth(1).expect("there are two").to_owned();
    let v4 = [203, 0, 113, 9, 127, 0, 0, 1, 0, 80, 1, 187];
    let mut v6 = [0; 36];
    (v6[0], v6[15]) = (0x20, 1);
    let heads = [
        (LINE.as_bytes().to_vec(), "192.0.2.1"),
        (LINE.as_bytes().to_vec(), "192.0.2.1"),
        (v2(0x21, 0x11, &v4), "203.0.113.9"),
        (v2(0x21, 0x11, &[&v4[..], &[1, 0, 2, b'h', b'2']].concat()), "203.0.113.9"),
        (v2(0x21, 0x21, &v6), "2000::1"),
        // The balancer says that it doesn't know, or that it is itself: whatever else it says is ignored.
        (b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(), "127.0.0.1"),
        (v2(0x20, 0x11, &[192, 0, 2, 8, 127, 0, 0, 1, 0, 80, 1, 187]), "127.0.0.1"),
    ];
    for (head, client) in &heads {
        let mut raw = Raw::connect(&address);
        raw.send([head, REQUEST.as_bytes()].concat());
        assert_eq!(raw.answer(false).status, 200, "{client}");
        let seen = upstream.seen().pop().expect("it came").head;
        assert_eq!(header(&seen, "x-forwarded-for"), Some(*client), "{seen}");
    }
    // In any pieces, with HTTP/2 behind it; and the limit is the client's own.
    let mut raw = Raw::connect(&address);
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET));
    let line = LINE.replace("192.0.2.1", "192.0.2.2");
    for byte in [line.as_bytes(), &preface, &head].concat() {
        raw.send([byte]);
    }
    gateway.until("it has arrived", |_| upstream.seen().len() == heads.len() + 1);
    let mut raw = Raw::connect(&address);
    raw.send(format!("{LINE}{REQUEST}"));
    assert_eq!(raw.answer(false).status, 429, "it is the third of 192.0.2.1");
    assert_eq!(refused(&gateway), 0);
    let log = gateway.stop_and_read_log();
    assert_eq!(log.matches("\"client\":\"192.0.2.1\"").count(), 3, "{log}");
}

#[test]
fn without_a_sound_header_nobody_is_served() {
    let upstream = Upstream::start("a");
    let (gateway, address) = start(&upstream, "\"127.0.0.1\"", "", "\n[timeouts]\nheader = \"300ms\"\n");
    let heads: [&[u8]; 8] = [
        b"",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324",
        b"proxy TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        b"PROXY TCP4 192.0.2.999 198.51.100.1 56324 443\r\n",
        b"PROXY UNKNOWN",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b",
    ];
    for head in &heads {
        let mut raw = Raw::connect(&address);
        raw.try_send([*head, REQUEST.as_bytes()].concat());
        assert!(raw.ends(), "{head:?}");
    }
    // One that says nothing for long is not waited for.
    assert!(Raw::connect(&address).ends());
    assert_eq!(refused(&gateway), heads.len() as u64 + 1);
    assert!(upstream.seen().is_empty());
    // A listener that isn't told to believe it takes it for what it is.
    let mut raw = Raw::connect(gateway.http.split(',').next().expect("there are two"));
    raw.send(format!("{LINE}{REQUEST}"));
    assert_eq!(raw.answer(false).status, 400);
    let (gateway, address) = start(&upstream, "\"10.0.0.0/8\", \"::1\"", "", "");
    let mut raw = Raw::connect(&address);
    raw.try_send(format!("{LINE}{REQUEST}"));
    assert!(raw.ends(), "it comes from elsewhere");
    assert_eq!(refused(&gateway), 1);
    assert!(upstream.seen().is_empty());
}

#[test]
fn tls_follows_the_header() {
    let folder = Folder::new("tls");
    let authority = Authority::new(folder.path(), "authority");
    authority.issue("shop", &["shop.test"]);
    let upstream = Upstream::start("a");
    let path = folder.path().display();
    let tls =
        format!("tls = {{ certificates = [{{ certificate = \"{path}/shop.pem\", key = \"{path}/shop.key\" }}] }}");
    let (_gateway, address) = start(&upstream, "\"127.0.0.1\"", &tls, "");
    let mut tcp = TcpStream::connect(&address).expect("it takes connections");
    tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    tcp.write_all(LINE.as_bytes()).expect("it is read");
    let server = rustls::pki_types::ServerName::try_from("shop.test").expect("it is a name");
    let client = authority.client(None, &["http/1.1"]);
    let tls = rustls::ClientConnection::new(client, server).expect("the client is sound");
    let mut stream = rustls::StreamOwned::new(tls, tcp);
    stream.write_all(REQUEST.replace("Host", "Connection: close\r\nHost").as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    assert!(answer.ends_with("a /x 0"), "{answer}");
    let head = upstream.seen().pop().expect("it came").head;
    assert_eq!(header(&head, "forwarded"), Some("for=192.0.2.1;proto=https"), "{head}");
}
