//! Locks over HTTP on real nodes: what LOCK.* means, in JSON; what is refused, with which status; and that docs/openapi.json is true.

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, NODES};
use support::schema::Document;
use support::{Folder, Node, Page, Reply, http};

fn post_text(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const JSON: &str = "content-type: application/json\r\n";

/// POST of a body to an admin address.
fn post(admin: &str, path: &str, body: &Value) -> Page {
    http(admin, &post_text(path, JSON, &body.to_string())).expect("the admin port takes connections")
}

fn get(admin: &str, path: &str) -> Page {
    http(admin, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).expect("the admin port takes connections")
}

fn value(page: &Page) -> Value {
    serde_json::from_str(&page.body).unwrap_or_else(|why| panic!("{why}: {}", page.body))
}

/// What the answer says, which must be well.
fn fine(page: &Page) -> Value {
    assert_eq!(page.status, 200, "{}", page.body);
    value(page)
}

fn told(page: &Page) -> (u16, String) {
    (page.status, value(page)["error"].as_str().unwrap_or_default().to_owned())
}

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn digits(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("digits: {value}"))
}

/// Waits until a lock's document is as wanted.
fn await_lock(admin: &str, path: &str, wanted: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let lock = fine(&get(admin, path));
        if wanted(&lock) {
            return;
        }
        assert!(Instant::now() < deadline, "{path} is {lock}");
    }
}

/// A request whose answer is read later.
fn begin(admin: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(admin).expect("the admin port takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    stream.write_all(request.as_bytes()).expect("the request can be written");
    stream
}

fn finish(mut stream: TcpStream) -> Value {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    serde_json::from_str(text.split_once("\r\n\r\n").expect("it is HTTP").1).expect("it is JSON")
}

#[test]
fn a_lock_is_taken_renewed_and_given_back() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let at = node.admin();
    let grant = fine(&post(at, "/v1/locks/a%2Fb:acquire", &json!({"owner": "w", "ttl_ms": 30000, "id": "r1"})));
    assert_eq!((&grant["name"], &grant["path"]), (&json!("a/b"), &json!("/v1/locks/a%2Fb")));
    assert_eq!(grant["remaining_ms"], 30_000);
    let token = digits(&grant["token"]);
    assert!(token > 0 && digits(&grant["fence"]) > 0);
    let again = fine(&post(at, "/v1/locks/a%2Fb:acquire", &json!({"owner": "w", "ttl_ms": 30000, "id": "r1"})));
    assert_eq!(again["token"], grant["token"], "the same id is the same grant");
    // One lock, whoever asks by whatever protocol.
    let mut client = node.client();
    let refused = client.ask(&["LOCK.ACQUIRE", "a/b", "x", "1000"]).expect("a reply");
    assert_eq!(refused, Reply::Null);
    let other = post(at, "/v1/locks/a%2fb:acquire", &json!({"owner": "x", "ttl_ms": "1000"}));
    assert_eq!(told(&other), problem(409, "refused"));
    let renewed = post(at, "/v1/locks/a%2Fb:renew", &json!({"owner": "w", "token": grant["token"], "ttl_ms": 20000}));
    assert_eq!(fine(&renewed), json!({"remaining_ms": 20_000}));
    let lock = fine(&get(at, "/v1/locks/a%2Fb"));
    assert_eq!((&lock["mode"], &lock["holders"][0]["owner"]), (&json!("exclusive"), &json!("w")));
    assert_eq!((&lock["holders"][0]["renewals"], &lock["holders"][0]["token"]), (&json!(2), &grant["token"]));
    let body = json!({"owner": "w", "token": token});
    assert_eq!(fine(&post(at, "/v1/locks/a%2Fb:release", &body)), json!({"released": true}));
    let renewed = post(at, "/v1/locks/a%2Fb:renew", &json!({"owner": "w", "token": token, "ttl_ms": 20000}));
    assert_eq!(told(&renewed), problem(410, "lost"));
    let lost = post(at, "/v1/locks/a%2Fb:release", &json!({"owner": "w", "token": token + 1}));
    assert_eq!(told(&lost), problem(410, "lost"));
    assert_eq!(fine(&get(at, "/v1/locks/a%2Fb"))["mode"], "free");
}

#[test]
fn sharers_permits_and_lists_are_as_by_resp() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let at = node.admin();
    let share =
        |owner: &str| fine(&post(at, "/v1/locks/s:acquire", &json!({"owner": owner, "ttl_ms": 60000, "shared": true})));
    let (one, two) = (share("a"), share("b"));
    assert!(one["fence"] == two["fence"] && one["token"] != two["token"]);
    let permits = json!({"owner": "a", "ttl_ms": 60000, "permits": {"count": 2, "of": "3"}});
    let grant = fine(&post(at, "/v1/locks/p:acquire", &permits));
    assert_eq!(grant["fence"], Value::Null, "permits have no fence");
    assert_eq!(told(&post(at, "/v1/locks/p:acquire", &permits)), problem(409, "refused"));
    let again = json!({"owner": "a", "ttl_ms": 60000, "token": grant["token"], "permits": {"count": 3, "of": 3}});
    assert_eq!(fine(&post(at, "/v1/locks/p:acquire", &again))["name"], "p");
    let mut client = node.client();
    // Names are bytes; those that are no text have their path.
    client.send_raw(b"*4\r\n$12\r\nLOCK.ACQUIRE\r\n$2\r\n\xff:\r\n$1\r\no\r\n$5\r\n60000\r\n").expect("it is sent");
    client.reply().expect("a reply");
    let all = fine(&get(at, "/v1/locks"));
    let paths: Vec<&Value> = all["locks"].as_array().expect("a list").iter().map(|lock| &lock["path"]).collect();
    assert_eq!(paths, ["/v1/locks/p", "/v1/locks/s", "/v1/locks/%FF%3A"]);
    assert_eq!(fine(&get(at, "/v1/locks/%FF%3A"))["holders"][0]["owner"], "o");
    assert_eq!(all["locks"][0]["permits"], 3);
    assert_eq!(all["locks"][1]["holders"].as_array().map(Vec::len), Some(2));
    assert_eq!(fine(&get(at, "/v1/locks?match=[st]&count=5"))["locks"].as_array().map(Vec::len), Some(1));
    assert_eq!(fine(&get(at, "/v1/locks?count=1"))["locks"].as_array().map(Vec::len), Some(1));
}

#[test]
fn who_waits_is_served_in_turn_and_who_hangs_up_is_not() {
    let folder = Folder::new("locks-http");
    // Two lanes: the call goes to the one that has the locks.
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "2"]));
    let at = node.admin();
    let held = fine(&post(at, "/v1/locks/l:acquire", &json!({"owner": "a", "ttl_ms": 60000})));
    let waiting = |owner: &str| {
        let body = json!({"owner": owner, "ttl_ms": 60000, "wait_ms": 60000}).to_string();
        begin(at, &post_text("/v1/locks/l:acquire", JSON, &body))
    };
    let mut waiters = Vec::new();
    for (before, owner) in ["gone", "half", "b", "c"].into_iter().enumerate() {
        waiters.push(waiting(owner));
        await_lock(at, "/v1/locks/l", |lock| lock["waiting"] == before + 1);
    }
    drop(waiters.remove(0));
    await_lock(at, "/v1/locks/l", |lock| lock["waiting"] == 3);
    // Whoever says that it will send no more is taken to be gone, too.
    waiters.remove(0).shutdown(Shutdown::Write).expect("it is open");
    await_lock(at, "/v1/locks/l", |lock| lock["waiting"] == 2);
    let brief = post(at, "/v1/locks/l:acquire", &json!({"owner": "d", "ttl_ms": 60000, "wait_ms": 50}));
    assert_eq!(told(&brief), problem(409, "refused"), "its wait is over");
    for owner in ["b", "c"] {
        let lock = fine(&get(at, "/v1/locks/l"));
        let body = json!({"owner": lock["holders"][0]["owner"], "token": lock["holders"][0]["token"]});
        fine(&post(at, "/v1/locks/l:release", &body));
        let grant = finish(waiters.remove(0));
        assert!(digits(&grant["token"]) > digits(&held["token"]));
        assert_eq!(grant["remaining_ms"], 0, "its lease begins when it renews");
        let renew = json!({"owner": owner, "token": grant["token"], "ttl_ms": 60000});
        assert_eq!(fine(&post(at, "/v1/locks/l:renew", &renew)), json!({"remaining_ms": 60_000}));
    }
    assert_eq!(fine(&get(at, "/v1/locks/l"))["holders"][0]["owner"], "c");
}

#[test]
fn those_who_wait_take_no_place_of_those_who_probe() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let at = node.admin();
    fine(&post(at, "/v1/locks/l:acquire", &json!({"owner": "a", "ttl_ms": 60000})));
    // More than there are places for requests that are answered at once.
    let watching = "GET /v1/locks/l?newer_than=1&wait_ms=60000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut watchers: Vec<TcpStream> = Vec::new();
    let waiting = |node: &Node| {
        let page = node.get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix("tidegate_locks_waiting ")).expect("it is told");
        line.parse::<usize>().expect("a number")
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    for count in 1..=100 {
        watchers.push(begin(at, watching));
        while count % 50 == 0 && waiting(&node) != count {
            assert!(Instant::now() < deadline, "{} of {count} wait", waiting(&node));
        }
    }
    assert_eq!(node.get("/healthz").status, 200);
    let mut client = node.client();
    client.ask(&["CONFIG", "SET", "maxclients", "50"]).expect("a reply");
    assert_eq!(told(&get(at, "/v1/locks/l?newer_than=1&wait_ms=60000")), problem(503, "overloaded"));
    assert_eq!(fine(&get(at, "/v1/locks/l"))["mode"], "exclusive", "who doesn't wait is no client");
}

#[test]
fn a_watch_ends_with_the_next_change_or_with_its_time() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let at = node.admin();
    let free = fine(&get(at, "/v1/locks/l"));
    assert_eq!((&free["mode"], &free["version"]), (&json!("free"), &json!("0")));
    let begun = Instant::now();
    let watch = begin(at, "GET /v1/locks/l?newer_than=0&wait_ms=60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let grant = fine(&post(at, "/v1/locks/l:acquire", &json!({"owner": "a", "ttl_ms": 60000})));
    let seen = finish(watch);
    assert_eq!((&seen["version"], &seen["holders"][0]["token"]), (&json!("1"), &grant["token"]));
    // What is newer already is told at once, what isn't when the time is over.
    assert_eq!(fine(&get(at, "/v1/locks/l?newer_than=0&wait_ms=60000"))["version"], "1");
    assert_eq!(fine(&get(at, "/v1/locks/l?newer_than=1&wait_ms=100"))["version"], "1");
    assert_eq!(fine(&get(at, "/v1/locks/l?newer_than=1"))["version"], "1");
    let mut client = node.client();
    client.send(&["LOCK.WATCH", "l", "1", "WAIT", "60000"]).expect("it is sent");
    fine(&post(at, "/v1/locks/l:release", &json!({"owner": "a", "token": grant["token"]})));
    let Reply::Array(info) = client.reply().expect("a reply") else { panic!("LOCK.WATCH is a map") };
    assert!(info.windows(2).any(|pair| pair == [Reply::bulk("version"), Reply::Integer(2)]), "{info:?}");
    assert!(begun.elapsed() < Duration::from_secs(50), "nobody has waited in full");
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let at = node.admin();
    let sound = json!({"owner": "a", "ttl_ms": 1000}).to_string();
    let acquire = "/v1/locks/l:acquire";
    let long = "n".repeat(513);
    for (request, status, code, why) in [
        (post_text(acquire, JSON, "{"), 400, "bad_request", "EOF"),
        (post_text(acquire, JSON, r#"{"owner":"a","ttl_ms":1}"#), 400, "bad_request", "from 10 to 86400000"),
        (
            post_text(acquire, JSON, r#"{"owner":"","ttl_ms":1000}"#),
            400,
            "bad_request",
            "owner of a lock can't be empty",
        ),
        (post_text(&format!("/v1/locks/{long}:acquire"), JSON, &sound), 400, "bad_request", "at most 512 bytes"),
        (post_text("/v1/locks/:acquire", JSON, &sound), 400, "bad_request", "can't be empty"),
        (
            post_text(acquire, JSON, r#"{"owner":"a","ttl_ms":1000,"wait_ms":86400001}"#),
            400,
            "bad_request",
            "a wait has at most",
        ),
        (post_text(acquire, JSON, &format!("{{\"owner\":\"{}\"", "a".repeat(70_000))), 413, "too_large", "65536 bytes"),
        (post_text(acquire, "content-type: text/plain\r\n", &sound), 415, "not_json", "application/json"),
        (post_text(acquire, "", &sound), 415, "not_json", "application/json"),
        (post_text(acquire, &format!("{JSON}origin: http://evil\r\n"), &sound), 403, "forbidden", "Origin"),
        (post_text("/v1/locks/l:steal", JSON, &sound), 404, "not_found", "acquire, renew and release"),
        (post_text("/v1/locks/l", JSON, &sound), 405, "read_only", "answers GET"),
        ("PUT /v1/locks/l:renew HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 405, "post_only", "answers POST"),
        ("GET /v1/locks/a/b HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 404, "not_found", "%2F"),
        (
            "GET /v1/locks/l?newer=1 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            400,
            "bad_request",
            "newer_than and wait_ms",
        ),
        (
            "GET /v1/locks/l?newer_than=x HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            400,
            "bad_request",
            "whole number",
        ),
        ("GET /v1/locks?count=0 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 400, "bad_request", "COUNT is from 1"),
    ] {
        let page = node.http(&request);
        assert_eq!(told(&page), problem(status, code), "{request}");
        assert!(value(&page)["message"].as_str().is_some_and(|text| text.contains(why)), "{}", page.body);
    }
    // A page that has made its name stand for this address is of its own origin; the name tells it.
    for (path, status) in [("/v1/locks", 421), ("/metrics", 421), ("/status", 421), ("/healthz", 200), ("/readyz", 200)]
    {
        let page = node.http(&format!("GET {path} HTTP/1.1\r\nhost: evil.test\r\n\r\n"));
        assert_eq!(page.status, status, "{path}: {page:?}");
    }
    let refused = node.http("DELETE /v1/locks/l HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(refused.head.contains("allow: get, head"), "{}", refused.head);
    assert_eq!(fine(&get(at, "/v1/locks/l"))["version"], "0", "none of that has changed anything");
    // Half a body takes a place for seconds, and changes nothing.
    drop(begin(at, &format!("POST {acquire} HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 100\r\n\r\n{{")));
    assert_eq!(node.get("/healthz").status, 200);
}

#[test]
fn a_node_with_a_password_asks_for_it_here_too() {
    let folder = Folder::new("locks-http");
    let node = Node::start_with(folder.path(), |command| command.args(["--requirepass", "secret"]));
    let body = json!({"owner": "a", "ttl_ms": 1000}).to_string();
    for authorization in ["", "authorization: Bearer secre\r\n", "authorization: Basic secret\r\n"] {
        let page = node.http(&post_text("/v1/locks/l:acquire", &format!("{JSON}{authorization}"), &body));
        assert_eq!(told(&page), problem(401, "unauthorized"));
        assert!(page.head.contains("www-authenticate: bearer"), "{}", page.head);
    }
    let granted =
        node.http(&post_text("/v1/locks/l:acquire", &format!("{JSON}authorization: Bearer secret\r\n"), &body));
    fine(&granted);
    assert_eq!(node.get("/v1/locks").status, 401);
    assert_eq!(node.get("/v1/openapi.json").status, 200, "what is possible is no secret");
}

#[test]
fn a_node_that_stops_lets_those_go_who_wait() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let at = node.admin().to_owned();
    fine(&post(&at, "/v1/locks/l:acquire", &json!({"owner": "a", "ttl_ms": 600_000})));
    let body = json!({"owner": "b", "ttl_ms": 60000, "wait_ms": 600_000}).to_string();
    let mut waiter = begin(&at, &post_text("/v1/locks/l:acquire", JSON, &body));
    await_lock(&at, "/v1/locks/l", |lock| lock["waiting"] == 1);
    assert_eq!(node.terminate().code(), Some(0));
    // Its answer may not have left before the process did; a grant it is not.
    let mut text = String::new();
    let _ = waiter.read_to_string(&mut text);
    assert!(!text.contains("token"), "{text}");
    let node = Node::start(folder.path());
    let lock = fine(&get(node.admin(), "/v1/locks/l"));
    assert_eq!((&lock["holders"][0]["owner"], &lock["waiting"]), (&json!("a"), &json!(0)));
}

/// Each path of the document is served as it says, with the answers that can be had from a node that is well.
#[test]
fn the_document_is_true() {
    let folder = Folder::new("locks-http");
    let node = Node::start(folder.path());
    let page = node.get("/v1/openapi.json");
    let document = Document(fine(&page));
    let mut tokens = Vec::new();
    for (name, owner, shared) in [("l", "a", false), ("s", "b", true)] {
        let body = json!({"owner": owner, "ttl_ms": 60000, "shared": shared, "id": "r"});
        document.check_body("/v1/locks/{name}:acquire", &body.to_string());
        let granted = post(node.admin(), &format!("/v1/locks/{name}:acquire"), &body);
        document.check("post", "/v1/locks/{name}:acquire", &granted);
        tokens.push(digits(&fine(&granted)["token"]));
    }
    let body = json!({"owner": "a", "ttl_ms": "60000", "wait_ms": 1, "permits": {"count": 1, "of": 2}});
    document.check_body("/v1/locks/{name}:acquire", &body.to_string());
    let mut checked = std::collections::BTreeSet::new();
    let mut check = |method: &str, path: &str, name: &str, body: &Value| {
        let real = path.replace("{name}", name);
        let answered = if method == "post" {
            document.check_body(path, &body.to_string());
            post(node.admin(), &real, body)
        } else {
            get(node.admin(), &real)
        };
        document.check(method, path, &answered);
        checked.insert((path.to_owned(), method.to_owned()));
        answered.status
    };
    assert_eq!(check("post", "/v1/locks/{name}:acquire", "p", &body), 200);
    assert_eq!(check("post", "/v1/locks/{name}:acquire", "l", &json!({"owner": "z", "ttl_ms": 10})), 409);
    let renew = json!({"owner": "a", "token": "9", "ttl_ms": 10});
    assert_eq!(check("post", "/v1/locks/{name}:renew", "l", &renew), 410);
    assert_eq!(check("post", "/v1/locks/{name}:release", "l", &json!({"owner": "z", "token": 9})), 410);
    assert_eq!(check("post", "/v1/locks/{name}:release", "l", &json!({"owner": "a", "token": tokens[0]})), 200);
    for name in ["l", "s", "p"] {
        assert_eq!(check("get", "/v1/locks/{name}", name, &Value::Null), 200);
    }
    for path in ["/v1/locks", "/v1/openapi.json", "/status", "/status/self", "/metrics", "/healthz", "/readyz"] {
        assert_eq!(check("get", path, "", &Value::Null), 200, "{path}");
    }
    for (path, methods) in document.0["paths"].as_object().expect("there are paths") {
        for method in methods.as_object().expect("with methods").keys() {
            assert!(checked.contains(&(path.clone(), method.clone())), "{method} {path} was tried");
            let wrong =
                node.http(&format!("DELETE {} HTTP/1.1\r\nhost: localhost\r\n\r\n", path.replace("{name}", "l")));
            assert_eq!(wrong.status, 405);
            document.check(method, path, &wrong);
        }
    }
    let renew = json!({"owner": "b", "token": tokens[1], "ttl_ms": 5000});
    document.check("post", "/v1/locks/{name}:renew", &post(node.admin(), "/v1/locks/s:renew", &renew));
}

#[test]
fn any_node_of_a_cluster_takes_calls_over_http_and_one_death_stops_none() {
    let folder = Folder::new("locks-http-cluster");
    let mut cluster = Cluster::start(folder.path());
    // A voter that is busy with its start may make a call's effect unknown; under its id it may be sent again.
    let acquire = |at: &str, name: &str, owner: &str| {
        let body = json!({"owner": owner, "ttl_ms": 60000, "id": owner});
        let pages = std::iter::repeat_with(|| post(at, &format!("/v1/locks/{name}:acquire"), &body));
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut pages = pages.skip_while(|page| page.status >= 500 && Instant::now() < deadline);
        pages.next().expect("it has no end")
    };
    let admin: Vec<String> = (0..NODES).map(|at| cluster.admin(at)).collect();
    let grant = fine(&acquire(&admin[0], "l", "a"));
    for at in &admin {
        assert_eq!(told(&acquire(at, "l", "b")), problem(409, "refused"));
        assert_eq!(fine(&get(at, "/v1/locks/l"))["holders"][0]["token"], grant["token"]);
    }
    // One that watches and one that waits, at a node that lives on; whoever gives the lock back, they are told.
    let watch = begin(&admin[1], "GET /v1/locks/l?newer_than=1&wait_ms=60000 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let body = json!({"owner": "c", "ttl_ms": 60000, "wait_ms": 60000, "id": "c"}).to_string();
    let waiter = begin(&admin[1], &post_text("/v1/locks/l:acquire", JSON, &body));
    await_lock(&admin[1], "/v1/locks/l", |lock| lock["waiting"] == 1);
    cluster.kill(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    let release = json!({"owner": "a", "token": grant["token"]});
    // The first may meet the moment of the death: it says so, and may be sent again.
    while post(&admin[2], "/v1/locks/l:release", &release).status != 200 {
        assert!(Instant::now() < deadline, "it is released at last");
    }
    let next = finish(waiter);
    assert!(digits(&next["token"]) > digits(&grant["token"]), "{next}");
    assert!(digits(&finish(watch)["version"]) > 1);
    cluster.kill(1);
    let alone = get(&admin[2], "/v1/locks/l");
    assert_eq!(told(&alone), problem(503, "no_quorum"));
    assert!(alone.head.contains("retry-after: 1"), "{}", alone.head);
}
