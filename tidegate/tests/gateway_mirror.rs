//! Copies of requests to another service: what it gets, and that nobody notices.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};
use support::gateway::{Gateway, Seen, Upstream, header};

const TIME_MAX: Duration = Duration::from_secs(30);

/// A route to `main` whose requests are copied to `next`, with what else stands in its mirror.
fn mirrored(main: &Upstream, next: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[service.main]\nendpoints = [\"{}\"]\n[service.next]\nendpoints = [\"{next}\"]\nretries = {{ tries = 1 }}\n\
         [[route]]\nservice = \"main\"\nmirror = {{ service = \"next\"{more} }}\n",
        main.address
    ))
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.admin("GET", "/metrics", "").body;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name}{{service=\"next\"}} ")));
    line.expect("it is there").parse().expect("a number")
}

fn until(what: &str, wanted: impl Fn() -> bool) {
    let begun = Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < TIME_MAX, "{what}");
    }
}

fn seen(next: &Upstream, gateway: &Gateway, count: usize) -> Vec<Seen> {
    until("the copies arrive", || {
        let _ = gateway.admin("GET", "/healthz", "");
        next.seen().len() >= count
    });
    next.seen()
}

#[test]
fn a_copy_has_all_that_its_original_has_and_its_answer_goes_nowhere() {
    let (main, next) = (Upstream::start("main"), Upstream::start("next"));
    let gateway = mirrored(&main, &next.address.to_string(), "");
    let mut client = gateway.connect();
    let answer = client.ask("GET /y?x=1 HTTP/1.1\r\nHost: a\r\nX-Mine: 7\r\n\r\n");
    assert_eq!(answer.text(), "main /y?x=1 0");
    let copy = &seen(&next, &gateway, 1)[0];
    assert!(copy.head.starts_with("GET /y?x=1 HTTP/1.1\r\n"), "{}", copy.head);
    let main_head = &main.seen()[0].head;
    for name in ["host", "x-mine", "x-forwarded-for", "via"] {
        assert_eq!(header(&copy.head, name), header(main_head, name), "{name}");
    }
    let bodies = [
        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ];
    assert_eq!(client.ask(bodies[0]).text(), "main /p 5");
    assert_eq!(seen(&next, &gateway, 2)[1].body_bytes, 5);
    assert_eq!(client.ask(bodies[1]).text(), "main /p 11");
    assert_eq!(seen(&next, &gateway, 3)[2].body_bytes, 11);
    until("all copies are counted", || metric(&gateway, "tidegate_gateway_mirrored_total") == 3);
    assert_eq!(metric(&gateway, "tidegate_gateway_mirror_skipped_total"), 0);
}

#[test]
fn what_is_too_long_is_not_copied() {
    let (main, next) = (Upstream::start("main"), Upstream::start("next"));
    let gateway = mirrored(&main, &next.address.to_string(), ", body = \"8\"");
    let mut client = gateway.connect();
    for (count, body) in [
        "Content-Length: 9\r\n\r\n123456789",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(client.ask(&format!("POST /p HTTP/1.1\r\nHost: a\r\n{body}")).status, 200);
        let skipped = count as u64 + 1;
        until("it is counted", || metric(&gateway, "tidegate_gateway_mirror_skipped_total") == skipped);
    }
    assert_eq!((metric(&gateway, "tidegate_gateway_mirrored_total"), next.seen().len()), (0, 0));
}

#[test]
fn a_service_that_is_dead_or_stands_still_holds_up_nobody() {
    let main = Upstream::start("main");
    // One takes connections and says nothing; at the other's port nobody listens.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let dead = TcpListener::bind("127.0.0.1:0").expect("there is a free port").local_addr().expect("it has one");
    for next in [silent.local_addr().expect("it has one"), dead] {
        let gateway = mirrored(&main, &next.to_string(), "");
        let before = main.seen().len();
        let mut client = gateway.connect();
        for _ in 0..300 {
            assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        }
        assert_eq!(main.seen().len() - before, 300);
        let count = |what| metric(&gateway, &format!("tidegate_gateway_mirror{what}_total"));
        until("each was sent or left out", || count("ed") + count("_skipped") == 300);
    }
}

#[test]
fn only_a_part_is_copied_if_the_file_says_so() {
    let (main, next) = (Upstream::start("main"), Upstream::start("next"));
    let gateway = mirrored(&main, &next.address.to_string(), ", percent = 20");
    for _ in 0..500 {
        assert_eq!(gateway.get("/").status, 200);
    }
    // A hundred, give or take five standard deviations.
    let copied = || metric(&gateway, "tidegate_gateway_mirrored_total");
    until("the last has been sent", || next.seen().len() as u64 >= copied());
    assert!((55..=145).contains(&copied()), "{}", copied());
}
