//! A real gateway while things change around it: endpoints die and come back, the file changes, operators act, the process is told to
//! go; and what clients see of it.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::gateway::{Answer, Event, Gateway, Raw, Upstream, service};

/// Clients that ask one request behind another, each on its own connection, as long as it is there.
struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<()>>,
    begun: Instant,
}

#[derive(Default)]
struct Counts {
    sound: AtomicU64,
    failed: AtomicU64,
    /// Milliseconds from the beginning to the last failure.
    last_failure_ms: AtomicU64,
}

impl Load {
    fn start(address: &str, clients: usize) -> Self {
        let (stop, counts, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()), Instant::now());
        let client = |_| {
            let (stop, counts, address) = (stop.clone(), counts.clone(), address.to_owned());
            std::thread::spawn(move || {
                let mut client: Option<Raw> = None;
                while !stop.load(Ordering::Relaxed) {
                    let raw = client.get_or_insert_with(|| Raw::connect(&address));
                    let sent = raw.try_send("GET /load HTTP/1.1\r\nHost: a\r\n\r\n");
                    let answer = sent.then(|| raw.try_answer(false)).flatten();
                    let sound = answer.as_ref().is_some_and(|answer| answer.status == 200);
                    if sound {
                        counts.sound.fetch_add(1, Ordering::Relaxed);
                    } else {
                        counts.failed.fetch_add(1, Ordering::Relaxed);
                        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                        counts.last_failure_ms.fetch_max(ms, Ordering::Relaxed);
                    }
                    if !answer.is_some_and(|answer| goes_on(&answer)) {
                        client = None;
                    }
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, counts, clients, begun }
    }

    fn sound(&self) -> u64 {
        self.counts.sound.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests were answered.
    fn run(&self, more: u64) {
        let (until, begun) = (self.sound() + more, Instant::now());
        while self.sound() < until {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} of {until} in time", self.sound());
            std::thread::yield_now();
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until it has run so long, and is answered then.
    fn run_until_ms(&self, ms: u64) {
        while self.elapsed_ms() < ms {
            self.run(1);
        }
    }

    /// Ends it: how many were answered, and how many failed.
    fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client ends");
        }
        (self.counts.sound.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed))
    }
}

fn goes_on(answer: &Answer) -> bool {
    answer.header("connection") != Some("close")
}

fn upstreams(count: usize) -> Vec<Upstream> {
    (0..count).map(|number| Upstream::start(&format!("u{number}"))).collect()
}

#[test]
fn one_of_ten_endpoints_dies_under_load_and_hardly_anybody_notices() {
    let upstreams = upstreams(10);
    let all: Vec<&Upstream> = upstreams.iter().collect();
    let gateway =
        Gateway::with(&all, "policy = \"round-robin\"\nchecks = { interval = \"100ms\", timeout = \"100ms\" }\n");
    let load = Load::start(&gateway.http, 8);
    load.run(500);
    upstreams[3].kill();
    let killed_ms = load.elapsed_ms();
    load.run(4000);
    // What fails later than a second behind it shows only if there is more than a second of it.
    load.run_until_ms(killed_ms + 2_000);
    let last_failure_ms = load.counts.last_failure_ms.load(Ordering::Relaxed);
    let (sound, failed) = load.end();
    assert!(failed * 1000 <= sound, "{failed} of {sound} failed");
    assert!(last_failure_ms <= killed_ms + 1_000, "killed at {killed_ms} ms, failing at {last_failure_ms} ms");
    gateway.until("its checks fail", |app| app["endpoints"][3]["state"] != "active");
}

#[test]
fn an_endpoint_that_comes_back_is_used_again() {
    let upstreams = upstreams(2);
    let all: Vec<&Upstream> = upstreams.iter().collect();
    let checks = "policy = \"round-robin\"\nejection = { errors = 0 }\nchecks = { path = \"/status/204\", interval = \"50ms\", timeout = \"200ms\", rise = 2, fall = 2 }\n";
    let gateway = Gateway::with(&all, checks);
    gateway.until("both are sound", |app| {
        app["endpoints"][0]["state"] == "active" && app["endpoints"][1]["state"] == "active"
    });
    let address = upstreams[1].address;
    upstreams[1].kill();
    gateway.until("one fails its checks", |app| app["endpoints"][1]["state"] == "failing");
    for _ in 0..10 {
        assert_eq!(gateway.get("/x").status, 200);
    }
    let again = Upstream::start_at("again", address);
    gateway.until("it passes them again", |app| app["endpoints"][1]["state"] == "active");
    let answers: Vec<Answer> = (0..10).map(|_| gateway.get("/x")).collect();
    assert!(answers.iter().any(|answer| answer.header("x-of") == Some("again")), "{answers:?}");
    drop(again);
}

#[test]
fn the_file_changes_under_load_and_nobody_notices() {
    let upstreams = upstreams(4);
    let all: Vec<&Upstream> = upstreams.iter().collect();
    let gateway = Gateway::with(&all, "policy = \"round-robin\"\n");
    let load = Load::start(&gateway.http, 6);
    for round in 0..10 {
        load.run(100);
        // Fewer and more endpoints, and settings with which the service begins anew.
        let some = &all[round % 3..];
        let tries = 2 + round % 2;
        gateway.rewrite(&service(some, &format!("policy = \"round-robin\"\nretries = {{ tries = {tries} }}\n")));
        gateway.until("it goes by the new file", |app| app["endpoints"].as_array().map(Vec::len) == Some(some.len()));
    }
    load.run(200);
    let (sound, failed) = load.end();
    assert_eq!(failed, 0, "of {sound}");
}

#[test]
fn a_bad_file_is_refused_with_line_and_reason_and_the_old_one_stays() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    gateway.rewrite(&service(&[&upstream], "polizy = \"random\"\n"));
    let told = |page: support::Page| page.body;
    let begun = Instant::now();
    let refused = loop {
        let page = told(gateway.admin("GET", "/v1/gateway", ""));
        if page.contains("no key 'polizy'") {
            break page;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{page}");
    };
    assert!(refused.contains("line 7") && refused.contains("did you mean 'policy'?"), "{refused}");
    assert_eq!(gateway.get("/x").status, 200, "the old one stays in force");
    assert!(told(gateway.admin("GET", "/metrics", "")).contains("tidegate_gateway_file_refused 1"));
    let again = gateway.admin("POST", "/v1/gateway:reload", "");
    assert_eq!(again.status, 422, "{again:?}");
    gateway.rewrite(&service(&[&upstream], "policy = \"random\"\n"));
    gateway.until("it is taken", |_| {
        told(gateway.admin("GET", "/metrics", "")).contains("tidegate_gateway_file_refused 0")
    });
}

#[test]
fn operators_add_drain_and_remove_endpoints_under_load() {
    let upstreams = upstreams(3);
    let gateway = Gateway::with(&[&upstreams[0], &upstreams[1]], "policy = \"round-robin\"\n");
    let load = Load::start(&gateway.http, 4);
    load.run(100);
    let path = "/v1/gateway/services/app/endpoints";
    let add = format!("{{\"address\":\"{}\"}}", upstreams[2].address);
    assert_eq!(gateway.admin("POST", path, &add).status, 200);
    load.run(200);
    assert!(!upstreams[2].seen().is_empty(), "the new one is used");
    let first = upstreams[0].address;
    assert_eq!(gateway.admin("POST", &format!("{path}/{first}:drain"), "").status, 200);
    gateway.until("it has ended what it had", |app| app["endpoints"][0]["in_flight"] == 0);
    let before = upstreams[0].seen().len();
    load.run(200);
    assert_eq!(upstreams[0].seen().len(), before, "it gets no new requests");
    assert_eq!(gateway.admin("DELETE", &format!("{path}/{first}"), "").status, 200);
    gateway.until("it is gone", |app| app["endpoints"].as_array().map(Vec::len) == Some(2));
    let (sound, failed) = load.end();
    assert_eq!(failed, 0, "of {sound}");
    for (method, path, body, status, word) in [
        ("DELETE", format!("{path}/{first}"), "", 404, "no_endpoint"),
        ("POST", "/v1/gateway/services/none/endpoints".to_owned(), add.as_str(), 404, "no_service"),
        ("POST", path.to_owned(), "{\"address\":\"x\"}", 400, "bad_request"),
        ("POST", path.to_owned(), "{\"adress\":\"x\"}", 400, "bad_request"),
        ("GET", "/v1/nothing".to_owned(), "", 404, "not_found"),
    ] {
        let page = gateway.admin(method, &path, body);
        assert!(page.status == status && page.body.contains(word), "{method} {path}: {page:?}");
    }
}

#[test]
fn who_is_told_to_go_ends_what_it_has_begun() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let (mut busy, mut idle) = (gateway.connect(), gateway.connect());
    assert_eq!(idle.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.event(), Event::Held);
    gateway.signal("-TERM");
    let page = loop {
        let page = gateway.admin("GET", "/readyz", "");
        if page.status != 200 {
            break page;
        }
    };
    assert!(page.body.starts_with("stopping"), "{page:?}");
    // What comes on a connection is answered, and told to go elsewhere as soon as its lane knows.
    loop {
        let answer = idle.ask("GET /y HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer.status, 200, "{answer:?}");
        if !goes_on(&answer) {
            break;
        }
    }
    upstream.release();
    let answer = busy.answer(false);
    assert_eq!((answer.status, answer.text(), goes_on(&answer)), (200, "released", false));
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_new_process_takes_over_under_load_and_nobody_notices() {
    let upstreams = upstreams(2);
    let rest = service(&upstreams.iter().collect::<Vec<_>>(), "");
    let mut gateway = Gateway::start_in_turn(&rest);
    let load = Load::start(&gateway.http, 6);
    for _ in 0..3 {
        load.run(200);
        let next = gateway.successor();
        assert_eq!((&next.http, &next.admin), (&gateway.http, &gateway.admin));
        let old = std::mem::replace(&mut gateway, next);
        assert_eq!(old.wait().code(), Some(0), "the old one ends when it has nothing left");
    }
    load.run(200);
    let (sound, failed) = load.end();
    assert_eq!(failed, 0, "of {sound}");
}

#[test]
fn what_may_be_sent_again_is_and_nothing_else() {
    let (dying, sound) = (Upstream::start("dying"), Upstream::start("sound"));
    let gateway = Gateway::with(&[&dying, &sound], "policy = \"round-robin\"\nejection = { errors = 0 }\n");
    let gone: Vec<u16> = (0..6).map(|_| gateway.get("/die").status).collect();
    assert_eq!(gone, [502; 6], "both die of it: {:?}", gateway.app());
    dying.kill();
    for _ in 0..6 {
        assert_eq!(gateway.get("/x").status, 200, "a connection that is refused is no request that was sent");
        let post = gateway.connect().ask("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(post.status, 200, "nothing of it was sent");
    }
    let before = sound.seen().iter().filter(|seen| seen.head.starts_with("POST /die")).count();
    let post = gateway.connect().ask("POST /die HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((post.status, post.error().as_str()), (502, "reset"));
    let after = sound.seen().iter().filter(|seen| seen.head.starts_with("POST /die")).count();
    assert_eq!(after, before + 1, "it may have taken effect: it is sent once");
}

#[test]
fn a_connection_that_its_endpoint_closed_is_not_used_for_what_cant_be_sent_again() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::with(&[&upstream], "retries = { tries = 1 }\n");
    let mut client = gateway.connect();
    for _ in 0..200 {
        // The endpoint says nothing of it and closes: the next request finds an idle connection that is none.
        assert_eq!(client.ask("GET /close HTTP/1.1\r\nHost: a\r\n\r\n").text(), "last");
        assert_eq!(upstream.event(), Event::Closed);
        let post = client.ask("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(post.text(), "a /p 5");
    }
}

#[test]
fn what_takes_too_long_is_said_to() {
    let (silent, closed) = (Upstream::start("silent"), Upstream::start("closed"));
    closed.kill();
    let gateway = Gateway::with(&[&silent], "response = \"200ms\"\n");
    let late = gateway.get("/hold");
    assert_eq!((late.status, late.error().as_str()), (504, "response_late"), "{late:?}");
    let asked = gateway.connect().ask("GET /hold HTTP/1.1\r\nHost: a\r\nX-Deadline-Ms: 50\r\n\r\n");
    assert_eq!((asked.status, asked.error().as_str()), (504, "deadline"), "{asked:?}");
    let told = silent
        .seen()
        .last()
        .and_then(|seen| support::gateway::header(&seen.head, "x-deadline-ms")?.parse::<u64>().ok());
    assert!(told.is_some_and(|left| left <= 50), "the endpoint knows how long it has: {told:?}");
    let gateway = Gateway::before(&[&closed]);
    let failed = gateway.get("/x");
    assert_eq!((failed.status, failed.error().as_str()), (502, "connect_failed"), "{failed:?}");
    assert!(failed.text().contains(&closed.address.to_string()), "{failed:?}");
    let gateway = Gateway::start("[service.app]\nendpoints = []\n[[route]]\nservice = \"app\"\n");
    let none = gateway.get("/x");
    assert_eq!((none.status, none.error().as_str()), (503, "no_endpoint"), "{none:?}");
}

#[test]
fn more_than_a_service_can_bear_is_shed_with_a_time_to_come_back() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::with(&[&upstream], "admission = { limit = 1, queue = 0 }\n");
    // Two lanes, one place in each.
    let mut held: Vec<Raw> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut held {
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(upstream.event(), Event::Held);
    }
    let shed = gateway.get("/x");
    assert_eq!((shed.status, shed.error().as_str()), (503, "overloaded"), "{shed:?}");
    let seconds = shed.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "{shed:?}");
    upstream.release();
    for client in &mut held {
        assert_eq!(client.answer(false).text(), "released");
    }
    assert_eq!(gateway.get("/x").status, 200, "there is room again");
}

#[test]
fn streams_that_go_on_for_long_take_no_places() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::with(&[&upstream], "admission = { limit = 1, queue = 0 }\n");
    let mut streams: Vec<Raw> = (0..2).map(|_| gateway.connect()).collect();
    for client in &mut streams {
        client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(upstream.event(), Event::Held);
    }
    // One place in each of two lanes: until the lanes have looked, all are taken.
    let begun = Instant::now();
    for _ in 0..8 {
        while gateway.get("/x").status != 200 {
            assert!(begun.elapsed() < Duration::from_secs(20), "streams keep their places: {}", gateway.app());
        }
    }
}
