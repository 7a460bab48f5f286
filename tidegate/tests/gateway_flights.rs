//! Many who want the same from the gateway's cache at once, on both of its lanes: one request to the endpoint, whatever comes of it.

mod support;

use std::io::Read;
use std::sync::{Arc, RwLock};
use support::gateway::{Answer, Gateway, Raw};
use support::origin::{Asked, Origin};

const FRESH: &str = "cache-control: max-age=60\r\n";
/// Stored, and stale at once.
const EXPIRED: &str = "cache-control: max-age=10\r\nage: 10\r\netag: \"a\"\r\n";

/// So many clients that have asked for `path`; half of them on each lane.
fn asking(gateway: &Gateway, count: usize, path: &str, headers: &str) -> Vec<Raw> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{headers}\r\n");
    let ask = |_| {
        let mut client = gateway.connect();
        client.send(&request);
        client
    };
    (0..count).map(ask).collect()
}

fn figures(gateway: &Gateway) -> serde_json::Value {
    let page = gateway.admin("GET", "/v1/gateway/cache", "");
    serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("no JSON: {page:?}"))
}

/// Waits until so many wait for another's fetch.
fn until_waiting(gateway: &Gateway, count: usize) {
    let begun = std::time::Instant::now();
    while figures(gateway)["waiting"] != count {
        assert!(begun.elapsed().as_secs() < 30, "{count} should wait: {}", figures(gateway));
    }
}

fn answers(clients: &mut [Raw]) -> Vec<Answer> {
    clients.iter_mut().map(|client| client.answer(false)).collect()
}

/// Holds each request until it is released, and then answers so.
fn holding(answer: impl Fn(&mut Asked<'_>) + Send + Sync + 'static) -> Origin {
    Origin::start(move |asked| {
        asked.hold();
        answer(asked);
    })
}

fn cached(origin: &Origin) -> Gateway {
    origin.cached("cache = true\n[cache]\nbytes = \"1mb\"\nobject_bytes = \"64kb\"\n")
}

#[test]
fn those_who_want_the_same_wait_for_one() {
    let origin = holding(|asked| asked.answer(200, FRESH, "body"));
    let gateway = cached(&origin);
    let mut clients = asking(&gateway, 20, "/x", "");
    until_waiting(&gateway, 19);
    origin.await_count(1);
    assert_eq!(gateway.app()["inside"], 1, "those who wait take no place of the service's");
    origin.release();
    let answers = answers(&mut clients);
    let mut told: Vec<&str> = answers.iter().map(|answer| answer.header("cache-status").unwrap_or("none")).collect();
    told.sort_unstable();
    assert_eq!((told[0], told[19]), ("tidegate; fwd=uri-miss; collapsed", "tidegate; fwd=uri-miss; stored"));
    assert!(answers.iter().all(|answer| answer.text() == "body"), "{answers:?}");
    assert_eq!((origin.count(), figures(&gateway)["requests"]["coalesced"].as_u64()), (1, Some(19)));
}

#[test]
fn a_leader_that_goes_leaves_its_fetch_to_the_others() {
    let origin = holding(|asked| asked.answer(200, FRESH, "body"));
    let gateway = cached(&origin);
    let leader = asking(&gateway, 1, "/x", "");
    origin.await_count(1);
    let mut others = asking(&gateway, 4, "/x", "");
    until_waiting(&gateway, 4);
    drop(leader);
    others.truncate(2);
    until_waiting(&gateway, 2);
    origin.release();
    assert!(answers(&mut others).iter().all(|answer| answer.text() == "body"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_nobody_wants_any_more_is_given_up() {
    let origin = holding(|asked| asked.answer(200, FRESH, "body"));
    let gateway = cached(&origin);
    let mut clients = asking(&gateway, 4, "/x", "");
    until_waiting(&gateway, 3);
    origin.await_count(1);
    clients.clear();
    gateway.until("the request is gone", |app| app["inside"] == 0 && app["endpoints"][0]["in_flight"] == 0);
    assert_eq!(figures(&gateway)["fetching"], 0);
    let mut again = asking(&gateway, 1, "/x", "");
    origin.await_count(2);
    // The first is held still, and its connection has ended.
    origin.release();
    origin.release();
    assert_eq!(answers(&mut again)[0].text(), "body");
}

#[test]
fn what_is_not_for_others_is_not_waited_for_in_line() {
    let origin = holding(|asked| asked.answer(200, "cache-control: private\r\n", "own"));
    let gateway = cached(&origin);
    let mut clients = asking(&gateway, 8, "/x", "");
    until_waiting(&gateway, 7);
    origin.await_count(1);
    assert_eq!(origin.count(), 1);
    origin.release();
    // All of the others ask at once, and so does whoever comes later.
    origin.await_count(8);
    let mut later = asking(&gateway, 4, "/x", "");
    origin.await_count(12);
    (0..11).for_each(|_| origin.release());
    let answers: Vec<Answer> = answers(&mut clients).into_iter().chain(answers(&mut later)).collect();
    assert!(answers.iter().all(|answer| answer.text() == "own"), "{answers:?}");
    assert_eq!((origin.count(), figures(&gateway)["waiting"].as_u64()), (12, Some(0)));
}

#[test]
fn requests_with_credentials_do_not_hold_up_those_without() {
    let origin = holding(|asked| {
        let who = asked.header("authorization").unwrap_or("nobody").to_owned();
        asked.answer(200, FRESH, &who);
    });
    let gateway = cached(&origin);
    let mut ann = asking(&gateway, 1, "/x", "Authorization: ann\r\n");
    origin.await_count(1);
    let mut others = asking(&gateway, 3, "/x", "");
    origin.await_count(2);
    until_waiting(&gateway, 2);
    origin.release();
    origin.release();
    assert_eq!(answers(&mut ann)[0].text(), "ann");
    assert!(answers(&mut others).iter().all(|answer| answer.text() == "nobody"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn requests_with_cookies_do_not_scatter_those_without() {
    let origin = holding(|asked| {
        let who = asked.header("cookie").unwrap_or("nobody").to_owned();
        asked.answer(200, "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", &who);
    });
    let gateway = cached(&origin);
    let mut leader = asking(&gateway, 1, "/x", "Cookie: ann\r\n");
    origin.await_count(1);
    let mut cookies = asking(&gateway, 2, "/x", "Cookie: bob\r\n");
    let mut others = asking(&gateway, 4, "/x", "");
    until_waiting(&gateway, 6);
    origin.release();
    // Those with cookies for themselves, and one for all the others.
    origin.await_count(4);
    until_waiting(&gateway, 3);
    (0..3).for_each(|_| origin.release());
    assert_eq!(answers(&mut leader)[0].text(), "ann");
    assert!(answers(&mut cookies).iter().all(|answer| answer.text() == "bob"));
    assert!(answers(&mut others).iter().all(|answer| answer.text() == "nobody"));
    assert_eq!(origin.count(), 4);
}

#[test]
fn requests_with_credentials_do_not_wait_in_line_for_what_is_their_own() {
    let origin = holding(|asked| {
        let who = asked.header("authorization").unwrap_or("nobody").to_owned();
        asked.answer(200, FRESH, &who);
    });
    let gateway = cached(&origin);
    origin.release();
    assert_eq!(answers(&mut asking(&gateway, 1, "/x", "Authorization: ann\r\n"))[0].text(), "ann");
    // All at once, and those without are still one.
    let mut own = asking(&gateway, 4, "/x", "Authorization: ann\r\n");
    origin.await_count(5);
    let mut others = asking(&gateway, 3, "/x", "");
    until_waiting(&gateway, 2);
    origin.await_count(6);
    (0..5).for_each(|_| origin.release());
    assert!(answers(&mut own).iter().all(|answer| answer.text() == "ann"));
    assert!(answers(&mut others).iter().all(|answer| answer.text() == "nobody"));
    assert_eq!(origin.count(), 6);
}

#[test]
fn those_who_want_another_variant_ask_for_it() {
    let origin = holding(|asked| {
        let language = asked.header("accept-language").unwrap_or("none").to_owned();
        asked.answer(200, "cache-control: max-age=60\r\nvary: accept-language\r\n", &language);
    });
    let gateway = cached(&origin);
    let mut german = asking(&gateway, 3, "/x", "Accept-Language: de\r\n");
    until_waiting(&gateway, 2);
    let mut french = asking(&gateway, 3, "/x", "Accept-Language: fr\r\n");
    until_waiting(&gateway, 5);
    origin.release();
    assert!(answers(&mut german).iter().all(|answer| answer.text() == "de"));
    until_waiting(&gateway, 2);
    origin.release();
    assert!(answers(&mut french).iter().all(|answer| answer.text() == "fr"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn those_who_wait_read_it_as_it_comes() {
    let origin = Origin::start(|asked| {
        asked.hold();
        asked.write(&format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: 8\r\n\r\nhalf"));
        asked.hold();
        asked.write("done");
    });
    let gateway = cached(&origin);
    let mut clients = asking(&gateway, 6, "/x", "");
    until_waiting(&gateway, 5);
    origin.release();
    for client in &mut clients {
        let mut head = Vec::new();
        while !head.ends_with(b"half") {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).expect("it comes before the rest");
            head.push(byte[0]);
        }
    }
    let mut late = asking(&gateway, 2, "/x", "");
    let mut gone = asking(&gateway, 1, "/x", "");
    gone.clear();
    origin.release();
    for client in &mut clients {
        let mut rest = [0; 4];
        client.stream.read_exact(&mut rest).expect("it comes");
        assert_eq!(&rest, b"done");
    }
    for client in &mut late {
        assert_eq!(client.answer(false).text(), "halfdone");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_body_that_is_too_large_is_not_stored_and_reaches_all() {
    let large = 300_000;
    let origin = Origin::start(move |asked| {
        let body = "x".repeat(large);
        asked.hold();
        if asked.path() == "/known" {
            return asked.answer(200, FRESH, &body);
        }
        asked.write(&format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n"));
        for piece in body.as_bytes().chunks(10_000) {
            asked.write(&format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)));
        }
        asked.write("0\r\nx-sum: done\r\n\r\n");
    });
    let gateway = cached(&origin);
    for (round, path) in ["/known", "/unknown"].into_iter().enumerate() {
        let mut clients = asking(&gateway, 4, path, "");
        until_waiting(&gateway, 3);
        (0..4).for_each(|_| origin.release());
        for answer in answers(&mut clients) {
            assert_eq!((answer.status, answer.body.len()), (200, large), "{path}");
        }
        assert_eq!(origin.count(), 4 * (round + 1), "each got his own");
    }
    assert_eq!(
        (figures(&gateway)["fetching"].as_u64(), figures(&gateway)["fetching_bytes"].as_u64()),
        (Some(0), Some(0))
    );
}

#[test]
fn a_body_of_unknown_length_is_stored_at_its_end() {
    let origin = Origin::start(|asked| {
        asked.write(&format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n3\r\none\r\n"));
        asked.hold();
        asked.write("3\r\ntwo\r\n0\r\n\r\n");
    });
    let gateway = cached(&origin);
    let mut clients = asking(&gateway, 4, "/x", "");
    until_waiting(&gateway, 3);
    origin.release();
    assert!(answers(&mut clients).iter().all(|answer| answer.text() == "onetwo"));
    let stored = gateway.get("/x");
    assert_eq!((stored.text(), stored.header("content-length"), origin.count()), ("onetwo", Some("6"), 1));
}

#[test]
fn a_body_of_unknown_length_is_stored_for_one_too() {
    let origin = Origin::start(|asked| {
        asked.write(&format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n3\r\none\r\n"));
        asked.hold();
        asked.write("3\r\ntwo\r\n0\r\n\r\n");
    });
    let gateway = cached(&origin);
    origin.release();
    let first = gateway.get("/x");
    assert_eq!((first.text(), first.header("cache-status")), ("onetwo", Some("tidegate; fwd=uri-miss; stored")));
    assert_eq!((gateway.get("/x").header("cache-status"), origin.count()), (Some("tidegate; hit"), 1));
    // One who comes while it is on its way waits for its end, though who began it has gone.
    let mut first = asking(&gateway, 1, "/y", "");
    let mut head = Vec::new();
    while !head.ends_with(b"one\r\n") {
        let mut byte = [0];
        first[0].stream.read_exact(&mut byte).expect("it comes before the rest");
        head.push(byte[0]);
    }
    first.clear();
    let mut late = asking(&gateway, 1, "/y", "");
    until_waiting(&gateway, 1);
    origin.release();
    assert_eq!((answers(&mut late)[0].text(), origin.count()), ("onetwo", 2));
}

/// An endpoint that holds requests for `/x` until it is their turn, and the rest of all other bodies while the gate is shut.
fn gated(gate: &Arc<RwLock<()>>) -> Origin {
    let gate = gate.clone();
    Origin::start(move |asked| {
        if asked.path() == "/x" {
            asked.wait_for_turn();
            return asked.answer(200, FRESH, "body");
        }
        asked.write(&format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: 65536\r\n\r\nhalf"));
        drop(gate.read());
        asked.write(&"x".repeat(65532));
    })
}

/// Has half of the cache's memory come in: as much as may.
fn take_all_room(gateway: &Gateway) -> Vec<Raw> {
    let large = (0..8).flat_map(|number| asking(gateway, 1, &format!("/{number}"), "")).collect();
    let begun = std::time::Instant::now();
    while figures(gateway)["fetching_bytes"] != 8 * 65536 {
        assert!(begun.elapsed().as_secs() < 30, "they should come in: {}", figures(gateway));
    }
    large
}

#[test]
fn where_there_is_no_room_at_all_each_asks_once_and_few_at_a_time() {
    const CLIENTS: usize = 300;
    let gate = Arc::new(RwLock::new(()));
    let shut = gate.write().expect("nobody failed with it");
    let origin = gated(&gate);
    let tables = origin.tables("cache = true\n[cache]\nbytes = \"1mb\"\nobject_bytes = \"64kb\"\n");
    let gateway = Gateway::start(&tables.replace("[[route]]", "admission = { limit = \"off\" }\n[[route]]"));
    let mut large = take_all_room(&gateway);
    let mut clients = asking(&gateway, CLIENTS, "/x", "");
    until_waiting(&gateway, CLIENTS - 1);
    // The one who asks for all, those who ask with him, and those who wait.
    let (mut batch, mut waiting) = (1, CLIENTS - 1);
    let mut batches = Vec::new();
    while batch > 0 {
        origin.await_count(8 + CLIENTS - waiting);
        until_waiting(&gateway, waiting);
        assert_eq!(origin.count(), 8 + CLIENTS - waiting, "nobody asks out of turn");
        batches.push(batch);
        origin.open(8 + CLIENTS - waiting);
        batch = (CLIENTS - waiting).min(64).min(waiting);
        waiting -= batch;
    }
    assert_eq!(batches, [1, 1, 2, 4, 8, 16, 32, 64, 64, 64, 44]);
    assert!(answers(&mut clients).iter().all(|answer| answer.text() == "body"));
    assert_eq!(origin.count(), 8 + CLIENTS);
    drop(shut);
    assert!(answers(&mut large).iter().all(|answer| answer.body.len() == 65536));
}

#[test]
fn where_there_is_no_room_they_go_one_after_another() {
    let gate = Arc::new(RwLock::new(()));
    let shut = gate.write().expect("nobody failed with it");
    let origin = gated(&gate);
    let gateway = cached(&origin);
    let mut large = take_all_room(&gateway);
    let mut clients = asking(&gateway, 5, "/x", "");
    until_waiting(&gateway, 4);
    origin.open(9);
    origin.await_count(10);
    until_waiting(&gateway, 3);
    assert_eq!(origin.count(), 10, "one more asks, and the others wait for it");
    drop(shut);
    assert!(answers(&mut large).iter().all(|answer| answer.body.len() == 65536));
    let begun = std::time::Instant::now();
    while figures(&gateway)["fetching_bytes"] != 0 {
        assert!(begun.elapsed().as_secs() < 30, "the room is given back: {}", figures(&gateway));
    }
    origin.open(10);
    assert!(answers(&mut clients).iter().all(|answer| answer.text() == "body"));
    assert_eq!(origin.count(), 10);
}

#[test]
fn a_fetch_that_fails_fails_once_for_all() {
    let origin = holding(|asked| match asked.path() {
        "/dies" => asked.close(),
        "/half" => {
            asked.write(&format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: 8\r\n\r\nhalf"));
            asked.close();
        }
        _ => asked.answer(503, "", "ann's own trouble"),
    });
    let gateway =
        Gateway::start(&origin.tables("cache = true\n").replace("[[route]]", "retries = { tries = 1 }\n[[route]]"));
    for (path, own, others) in [("/dies", 502, "reset"), ("/errs", 503, "fetch_failed")] {
        let before = origin.count();
        let mut clients = asking(&gateway, 5, path, "");
        until_waiting(&gateway, 4);
        origin.release();
        let answers = answers(&mut clients);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 502).count(), if own == 502 { 5 } else { 4 }, "{path}");
        assert!(answers.iter().filter(|answer| answer.error() == others).count() >= 4, "{answers:?}");
        assert_eq!(origin.count(), before + 1, "{path}");
    }
    let mut clients = asking(&gateway, 3, "/half", "");
    until_waiting(&gateway, 2);
    origin.release();
    for client in &mut clients {
        assert!(client.try_answer(false).is_none(), "half of a body is none");
    }
}

#[test]
fn who_waits_goes_by_his_own_deadline() {
    let origin = holding(|asked| asked.answer(200, FRESH, "body"));
    let gateway = cached(&origin);
    let mut leader = asking(&gateway, 1, "/x", "X-Deadline-Ms: 100\r\n");
    origin.await_count(1);
    let mut hasty = asking(&gateway, 2, "/x", "X-Deadline-Ms: 50\r\n");
    let mut patient = asking(&gateway, 2, "/x", "");
    for answer in answers(&mut hasty).iter().chain(&answers(&mut leader)) {
        assert_eq!((answer.status, answer.error().as_str()), (504, "deadline"));
    }
    origin.release();
    assert!(answers(&mut patient).iter().all(|answer| answer.text() == "body"));
    assert_eq!(origin.count(), 1, "the leader's haste isn't the others'");
}

#[test]
fn what_was_changed_meanwhile_is_not_stored() {
    let origin = Origin::start(|asked| {
        if asked.head.starts_with("GET") && asked.number == 0 {
            asked.hold();
        }
        let body = format!("answer {}", asked.number);
        asked.answer(200, FRESH, &body);
    });
    let gateway = cached(&origin);
    let mut clients = asking(&gateway, 1, "/x", "");
    origin.await_count(1);
    gateway.connect().ask("POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(gateway.get("/x").text(), "answer 2", "nobody joins what began before");
    origin.release();
    assert_eq!(answers(&mut clients)[0].text(), "answer 0");
    assert_eq!(gateway.get("/x").text(), "answer 2");
}

#[test]
fn ten_thousand_requests_for_an_expired_key_are_one_request_to_the_endpoint() {
    const CLIENTS: usize = 10_000;
    let origin = Origin::start(|asked| {
        if asked.number == 0 {
            return asked.answer(200, EXPIRED, "old");
        }
        asked.hold();
        asked.work(std::time::Duration::from_millis(200));
        asked.answer(200, FRESH, "new");
    });
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).expect("one may have what one may have");
    // Where fewer are allowed, fewer ask.
    let allowed = files.maximum.map_or(CLIENTS, |most| usize::try_from(most).unwrap_or(CLIENTS).saturating_sub(300));
    let count = CLIENTS.min(allowed);
    let gateway = origin.cached("cache = true\n[limits]\nconnections = 10100\n");
    assert_eq!(gateway.get("/x").text(), "old");
    let mut clients = asking(&gateway, count, "/x", "");
    until_waiting(&gateway, count - 1);
    origin.release();
    let answers = answers(&mut clients);
    assert!(
        answers.iter().all(|answer| answer.text() == "new"),
        "{:?}",
        answers.iter().find(|one| one.text() != "new")
    );
    assert_eq!(origin.count(), 2, "one that filled the cache, and one for {count}");
    assert_eq!(figures(&gateway)["requests"]["coalesced"], count - 1);
}
