//! Whom a place in a service is for: those who wait for its endpoints. Clients that are waited for themselves take none from others.

mod support;

use std::time::{Duration, Instant};
use support::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, WINDOW_UPDATE, block, get_but};
use support::gateway::{Event, Gateway, Raw, Upstream, service};

/// One may be inside at a time, and nobody waits.
const ONE_PLACE: &str = "admission = { limit = 1, queue = 0 }\n";
/// Another listener, which takes HTTP/2 in clear.
const H2: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = [\"h2\", \"http/1.1\"]\n";

fn with_one_place(upstream: &Upstream) -> Gateway {
    Gateway::start_with_one_lane(&service(&[upstream], ONE_PLACE))
}

fn post(path: &str, lines: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

/// Asks until somebody is let in.
fn get_in(gateway: &Gateway) -> Duration {
    let begun = Instant::now();
    let address = gateway.http.split(',').next().expect("there is one");
    loop {
        let answer = gateway.connect_to(address).ask("GET /meanwhile HTTP/1.1\r\nHost: a\r\n\r\n");
        match answer.status {
            200 => return begun.elapsed(),
            503 => assert!(begun.elapsed() < Duration::from_secs(30), "nobody is let in: {answer:?}"),
            _ => panic!("{answer:?}"),
        }
    }
}

#[test]
fn a_body_that_is_not_there_takes_no_place() {
    let upstream = Upstream::start("a");
    let gateway = with_one_place(&upstream);
    let mut slow: Vec<Raw> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut slow {
        client.send(post("/slow", "Content-Length: 20000") + "x");
    }
    for _ in 0..20 {
        assert_eq!(gateway.get("/meanwhile").status, 200);
    }
    assert!(!upstream.seen().iter().any(|seen| seen.head.contains("/slow")), "{:?}", upstream.seen());
    for (at, client) in slow.iter_mut().enumerate() {
        // In pieces, and the last of them behind what is waited for.
        let rest = "x".repeat(19_998);
        rest.as_bytes().chunks(700).for_each(|piece| client.send(piece));
        client.send("y");
        assert_eq!(client.answer(false).text(), "a /slow 20000", "client {at}");
    }
    gateway.until("nothing is inside", |app| app["inside"] == 0);
}

#[test]
fn who_asks_before_it_sends_is_told_no_sooner_than_there_is_room() {
    let upstream = Upstream::start("a");
    let gateway = with_one_place(&upstream);
    let asked = post("/asked", "Content-Length: 5\r\nExpect: 100-continue");
    let mut client = gateway.connect();
    assert_eq!(client.ask(&asked).status, 100);
    assert_eq!(gateway.get("/meanwhile").status, 200, "it takes no place before it sends");
    client.send("hello");
    assert_eq!(client.answer(false).text(), "a /asked 5");
    let mut holder = gateway.connect();
    holder.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.event(), Event::Held);
    let refused = gateway.connect().ask(&asked);
    assert_eq!((refused.status, refused.error().as_str()), (503, "overloaded"));
}

#[test]
fn a_body_that_stops_gives_its_place_to_others_and_takes_it_again() {
    let upstream = Upstream::start("a");
    let gateway = with_one_place(&upstream);
    let mut slow = gateway.connect();
    // How long it will be isn't known, so it isn't waited for.
    slow.send(post("/hold", "Transfer-Encoding: chunked") + "5\r\nhello\r\n");
    gateway.until("it is in flight", |app| app["endpoints"][0]["in_flight"] == 1);
    get_in(&gateway);
    slow.send("5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(upstream.event(), Event::Held);
    assert_eq!(upstream.seen().last().map(|seen| seen.body_bytes), Some(10));
    gateway.until("it is inside again", |app| app["inside"] == 1);
    let refused = gateway.get("/meanwhile");
    assert_eq!((refused.status, refused.error().as_str()), (503, "overloaded"));
    upstream.release();
    assert_eq!(slow.answer(false).text(), "released");
    gateway.until("nothing is inside", |app| app["inside"] == 0);
}

/// By HTTP/2 a body may be whole by its length before its stream ends; an endpoint of HTTP/1.1 has it then.
#[test]
fn a_body_that_is_whole_by_its_length_takes_its_place_again() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::start_with_one_lane(&format!("{H2}{}", service(&[&upstream], ONE_PLACE)));
    let mut client = Frames::connect(gateway.http.split(',').nth(1).expect("there are two"));
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/hold")];
    let head: Vec<_> = head.into_iter().chain([("content-length", "20000")]).collect();
    client.send(HEADERS, END_HEADERS, 1, &block(&head));
    client.send(DATA, 0, 1, &[b'x'; 16_384]);
    gateway.until("it is in flight", |app| app["endpoints"][0]["in_flight"] == 1);
    get_in(&gateway);
    client.send(DATA, 0, 1, &[b'x'; 3_616]);
    assert_eq!(upstream.event(), Event::Held);
    gateway.until("it is inside again", |app| app["inside"] == 1);
    upstream.release();
    assert_eq!(client.outcome(1), Outcome::Answered("released".to_owned()));
    gateway.until("nothing is inside", |app| app["inside"] == 0);
}

#[test]
fn a_response_that_is_not_read_gives_its_place_to_others() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::start_with_one_lane(&format!("{H2}{}", service(&[&upstream], ONE_PLACE)));
    let address = gateway.http.split(',').nth(1).expect("there are two");
    let mut client = Frames::connect(address);
    let mut soonest = Duration::MAX;
    // A second behind its beginning every response gives it, read or not; only sooner shows something.
    for stream in (1..20).step_by(2) {
        // Of each the client lets come what fits the window of a stream, and reads on when others were let in.
        client.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get_but(":path", "/bytes/500000")));
        gateway.until("it is in flight", |app| app["endpoints"][0]["in_flight"] == 1);
        soonest = soonest.min(get_in(&gateway));
        for of in [0, stream] {
            client.send(WINDOW_UPDATE, 0, of, &500_000u32.to_be_bytes());
        }
        let Outcome::Answered(body) = client.outcome(stream) else { panic!("it is not answered") };
        assert_eq!(body.len(), 500_000, "nothing is lost to who reads late");
        if soonest < Duration::from_millis(800) {
            return;
        }
    }
    panic!("others were let in no sooner than after {soonest:?}");
}
