//! The gateway's cache, with a real gateway of two lanes between sockets: what is stored, for whom, and for how long.

mod support;

use support::gateway::{Answer, Gateway};
use support::origin::{Asked, Origin};

const ON: &str = "cache = true\n";

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

/// One request on a connection of its own, with these headers.
fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> Answer {
    gateway.connect().ask(&format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n{headers}\r\n"))
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    ask(gateway, "GET", path, "")
}

fn figures(gateway: &Gateway) -> serde_json::Value {
    let page = gateway.admin("GET", "/v1/gateway/cache", "");
    serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("no JSON: {page:?}"))
}

fn until(gateway: &Gateway, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
    let begun = std::time::Instant::now();
    while !wanted(&figures(gateway)) {
        assert!(begun.elapsed().as_secs() < 30, "{what}: {}", figures(gateway));
    }
}

/// Answers each request by its number, with these headers.
fn numbered(headers: &'static str) -> Origin {
    Origin::start(move |asked| {
        let body = format!("answer {} to {}", asked.number, asked.path());
        asked.answer(200, headers, &body);
    })
}

#[test]
fn what_is_fresh_is_not_asked_for_again() {
    let origin = numbered("cache-control: max-age=60\r\nage: 7\r\netag: \"a\"\r\nx-of: a\r\n");
    let gateway = origin.cached(ON);
    let first = get(&gateway, "/x?a=b");
    assert_eq!((first.status, status(&first)), (200, "tidegate; fwd=uri-miss; stored"), "{first:?}");
    for _ in 0..4 {
        let answer = get(&gateway, "/x?a=b");
        assert_eq!((answer.text(), status(&answer)), ("answer 0 to /x?a=b", "tidegate; hit"));
        assert_eq!((answer.header("x-of"), answer.header("date").is_some()), (Some("a"), true));
        assert!(answer.header("age").and_then(|age| age.parse::<u64>().ok()).is_some_and(|age| age >= 7), "{answer:?}");
    }
    let head = ask(&gateway, "HEAD", "/x?a=b", "");
    assert_eq!((head.header("content-length"), status(&head)), (Some("18"), "tidegate; hit"));
    assert_eq!(origin.count(), 1);
    for other in ["/x", "/x?a=c"] {
        assert_eq!(status(&get(&gateway, other)), "tidegate; fwd=uri-miss; stored", "{other}");
    }
    let elsewhere = gateway.connect().ask("GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(elsewhere.text(), "answer 3 to /x", "another host's is another");
    let same = gateway.connect().ask("GET /x HTTP/1.1\r\nHost: OTHER.test:80\r\n\r\n");
    assert_eq!(same.text(), "answer 3 to /x", "another spelling isn't");
}

#[test]
fn conditions_and_ranges_are_answered_from_what_is_stored() {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin =
        numbered("cache-control: max-age=60\r\netag: \"a\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let gateway = origin.cached(ON);
    let passed = ask(&gateway, "GET", "/x", "Range: bytes=0-1\r\n");
    assert_eq!((passed.status, status(&passed)), (200, "tidegate; fwd=miss"), "a part of what isn't stored passes by");
    let first = ask(&gateway, "GET", "/x", "If-None-Match: \"a\"\r\n");
    assert_eq!((first.status, first.body.len()), (304, 0), "the first is fetched for all, and answered so: {first:?}");
    assert_eq!(first.header("content-length"), None, "no length is that of the body which isn't sent: {first:?}");
    for (headers, wanted, body) in [
        ("If-None-Match: \"b\", W/\"a\"\r\n".to_owned(), 304, ""),
        ("If-None-Match: \"b\"\r\n".to_owned(), 200, "answer 1 to /x"),
        (format!("If-Modified-Since: {modified}\r\n"), 304, ""),
        ("Range: bytes=0-5\r\n".to_owned(), 206, "answer"),
        ("Range: bytes=-2\r\nIf-Range: \"a\"\r\n".to_owned(), 206, "/x"),
        ("Range: bytes=-2\r\nIf-Range: \"b\"\r\n".to_owned(), 200, "answer 1 to /x"),
        ("Range: bytes=99-\r\n".to_owned(), 416, ""),
    ] {
        let answer = ask(&gateway, "GET", "/x", &headers);
        assert_eq!((answer.status, answer.text(), status(&answer)), (wanted, body, "tidegate; hit"), "{headers}");
    }
    let part = ask(&gateway, "GET", "/x", "Range: bytes=0-5\r\n");
    assert_eq!((part.header("content-range"), part.header("content-length")), (Some("bytes 0-5/14"), Some("6")));
    assert_eq!(origin.count(), 2);
    assert!(!origin.heads()[1].to_ascii_lowercase().contains("if-none-match"), "{:?}", origin.heads());
}

#[test]
fn what_is_stale_is_validated() {
    let origin = Origin::start(|asked| match asked.header("if-none-match").map(str::to_owned) {
        Some(tag) if tag == "\"a\"" && asked.number == 1 => {
            asked.answer(304, "cache-control: max-age=60\r\nx-news: 1\r\netag: \"a\"\r\n", "");
        }
        _ => asked.answer(200, "cache-control: max-age=1\r\nage: 1\r\netag: \"a\"\r\n", "body"),
    });
    let gateway = origin.cached(ON);
    get(&gateway, "/x");
    let fresh = get(&gateway, "/x");
    assert_eq!((fresh.status, fresh.text(), fresh.header("x-news")), (200, "body", Some("1")), "{fresh:?}");
    assert_eq!(status(&fresh), "tidegate; fwd=stale; fwd-status=304; stored");
    assert_eq!(status(&get(&gateway, "/x")), "tidegate; hit");
    let wanted = ask(&gateway, "GET", "/x", "Cache-Control: no-cache\r\n");
    assert_eq!(status(&wanted), "tidegate; fwd=request; stored");
    assert_eq!(origin.count(), 3);
    let stored = ask(&gateway, "GET", "/y", "Cache-Control: only-if-cached\r\n");
    assert_eq!((stored.status, stored.error().as_str()), (504, "only_if_cached"));
}

#[test]
fn requests_that_a_response_varies_by_are_apart() {
    let origin = Origin::start(|asked| {
        let language = asked.header("accept-language").unwrap_or("none").to_owned();
        asked.answer(200, "cache-control: max-age=60\r\nvary: Accept-Language\r\n", &language);
    });
    let gateway = origin.cached(ON);
    let ask = |language: &str| ask(&gateway, "GET", "/x", &format!("Accept-Language: {language}\r\n"));
    for (language, wanted, count) in [
        ("de", "de", 1),
        ("fr", "fr", 2),
        ("de", "de", 2),
        ("DE", "de", 2),
        ("de , en", "de , en", 3),
        ("de,en", "de , en", 3),
    ] {
        assert_eq!((ask(language).text(), origin.count()), (wanted, count), "{language}");
    }
    assert_eq!(get(&gateway, "/x").text(), "none");
}

#[test]
fn stale_responses_are_given_while_they_are_fetched_anew() {
    let origin = Origin::start(|asked| {
        if asked.number == 1 {
            asked.hold();
        }
        let age = if asked.number == 0 { "age: 20\r\n" } else { "" };
        let body = format!("answer {}", asked.number);
        asked.answer(200, &format!("cache-control: max-age=10, stale-while-revalidate=100\r\n{age}"), &body);
    });
    let gateway = origin.cached(ON);
    get(&gateway, "/x");
    for _ in 0..5 {
        let stale = get(&gateway, "/x");
        assert_eq!((stale.text(), status(&stale)), ("answer 0", "tidegate; hit; detail=stale-while-revalidate"));
    }
    origin.await_count(2);
    origin.release();
    until(&gateway, "it is fetched", |figures| figures["fetching"] == 0);
    assert_eq!((get(&gateway, "/x").text(), origin.count()), ("answer 1", 2), "one refresh for all");
}

#[test]
fn stale_responses_stand_for_errors() {
    let origin = Origin::start(|asked| match (asked.number, asked.path()) {
        (0 | 1, _) => asked.answer(200, "cache-control: max-age=10\r\nage: 10\r\netag: \"a\"\r\n", "good"),
        (_, "/dies") => asked.close(),
        _ => asked.answer(503, "cache-control: no-store\r\n", "bad"),
    });
    let gateway = origin.cached("cache = { stale_if_error = \"1m\" }\n");
    for path in ["/dies", "/errs"] {
        assert_eq!(get(&gateway, path).text(), "good");
    }
    for path in ["/dies", "/errs"] {
        let answer = get(&gateway, path);
        assert_eq!((answer.text(), status(&answer)), ("good", "tidegate; fwd=stale; detail=stale-if-error"), "{path}");
        let before = origin.count();
        assert_eq!(get(&gateway, path).text(), "good");
        assert_eq!(origin.count(), before, "it isn't asked again at once");
    }
}

#[test]
fn what_is_one_users_is_given_to_nobody_else() {
    let origin = Origin::start(|asked| {
        let who = asked.header("authorization").or(asked.header("cookie")).unwrap_or("nobody").to_owned();
        let headers = match asked.path() {
            "/private" => "cache-control: private, max-age=60\r\n",
            "/no-store" => "cache-control: no-store, max-age=60\r\n",
            "/cookie" => "cache-control: max-age=60\r\nset-cookie: id=1\r\n",
            "/guessed" => "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "/all" => "cache-control: public, max-age=60\r\n",
            _ => "cache-control: max-age=60\r\n",
        };
        asked.answer(200, headers, &who);
    });
    let gateway = origin.cached(ON);
    for (path, headers) in [
        ("/private", "Cookie: ann\r\n"),
        ("/no-store", "Cookie: ann\r\n"),
        ("/cookie", "Cookie: ann\r\n"),
        ("/guessed", "Cookie: ann\r\n"),
        ("/plain", "Authorization: ann\r\n"),
    ] {
        for _ in 0..2 {
            assert_eq!(ask(&gateway, "GET", path, headers).text(), "ann", "{path}");
        }
        let other = get(&gateway, path);
        assert_eq!((other.text(), other.header("set-cookie").is_some()), ("nobody", path == "/cookie"), "{path}");
    }
    ask(&gateway, "GET", "/all", "Authorization: ann\r\n");
    assert_eq!(get(&gateway, "/all").text(), "ann", "what says that it is public is");
}

#[test]
fn a_page_for_cookies_that_says_nothing_is_given_to_nobody_else() {
    let origin = Origin::start(|asked| {
        let who = asked.header("cookie").unwrap_or("nobody").to_owned();
        match asked.path() {
            _ if who == "bob" => asked.answer(503, "cache-control: no-store\r\n", "bad"),
            "/zero" => asked.answer(200, "cache-control: max-age=0\r\netag: \"a\"\r\n", &who),
            "/past" => asked.answer(200, "expires: 0\r\netag: \"a\"\r\n", &who),
            _ => asked.answer(200, "etag: \"a\"\r\n", &who),
        }
    });
    for rest in ["cache = true\n", "cache = { stale_while_revalidate = \"30s\", stale_if_error = \"1m\" }\n"] {
        let gateway = origin.cached(rest);
        for path in ["/account", "/zero", "/past"] {
            assert_eq!(ask(&gateway, "GET", path, "Cookie: ann\r\n").text(), "ann");
            let stored = ask(&gateway, "GET", path, "Cache-Control: only-if-cached, max-stale\r\n");
            assert_eq!(stored.status, 504, "{rest}{path}: {stored:?}");
            assert_eq!(ask(&gateway, "GET", path, "Cookie: bob\r\n").text(), "bad", "{rest}{path}");
            assert_eq!(ask(&gateway, "GET", path, "Cache-Control: max-stale\r\n").text(), "nobody", "{rest}{path}");
        }
    }
}

#[test]
fn no_client_takes_what_is_fresh_from_the_others() {
    let origin = Origin::start(|asked| match asked.header("x-odd").map(str::to_owned).as_deref() {
        Some("private") => asked.answer(200, "cache-control: private\r\n", "odd"),
        Some(status) => asked.answer(status.parse().expect("a status"), "", "odd"),
        None => asked.answer(200, "cache-control: max-age=60\r\netag: \"a\"\r\n", "good"),
    });
    let gateway = origin.cached(ON);
    for odd in ["400", "403", "406", "431", "private"] {
        let path = format!("/{odd}");
        let headers = format!("Cache-Control: no-cache\r\nX-Odd: {odd}\r\n");
        // Before there is anything, too: an error says nothing of what others get.
        if odd != "private" {
            assert_eq!(ask(&gateway, "GET", &path, &headers).text(), "odd");
        }
        assert_eq!(status(&get(&gateway, &path)), "tidegate; fwd=uri-miss; stored", "{odd}");
        assert_eq!(ask(&gateway, "GET", &path, &headers).text(), "odd");
        assert_eq!(status(&get(&gateway, &path)), "tidegate; hit", "{odd}");
    }
}

#[test]
fn what_may_have_been_cut_off_is_not_stored() {
    let origin = Origin::start(|asked| {
        let body = format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\r\nanswer {}", asked.number);
        asked.write(&body);
        asked.close();
    });
    let gateway = origin.cached(ON);
    for wanted in ["answer 0", "answer 1"] {
        assert_eq!(get(&gateway, "/x").text(), wanted);
    }
}

#[test]
fn a_client_cannot_poison_what_others_get() {
    let origin = Origin::start(|asked| {
        let unseen = ["x-forwarded-host", "x-original-url", "x-http-method-override", "x-forwarded-port", "forwarded"];
        let body: Vec<&str> = unseen.iter().filter_map(|name| asked.header(name)).collect();
        let body = body.join(" ");
        asked.answer(200, "cache-control: max-age=60\r\n", &body);
    });
    let claims = "X-Forwarded-Host: evil.test\r\nX-Original-URL: /evil\r\nX-HTTP-Method-Override: POST\r\n\
                  X-Forwarded-Port: 666\r\nForwarded: for=1.1.1.1;host=evil.test\r\n";
    let gateway = origin.cached(ON);
    assert_eq!(ask(&gateway, "GET", "/x", claims).text(), "gateway.test for=127.0.0.1;proto=http");
    // A proxy that is trusted may say which host is meant, and that is another's then.
    let trusting = format!("trusted = [\"127.0.0.0/8\"]\n{}", origin.tables(ON));
    let gateway = Gateway::start(&trusting);
    assert_eq!(ask(&gateway, "GET", "/x", claims).text(), "evil.test for=127.0.0.1;proto=http");
    assert_eq!(get(&gateway, "/x").text(), "gateway.test for=127.0.0.1;proto=http");
}

#[test]
fn operators_and_changes_make_it_forget() {
    let origin = Origin::start(|asked| {
        let body = format!("answer {}", asked.number);
        let headers = if asked.head.starts_with("GET") {
            "cache-control: max-age=60\r\nsurrogate-key: shop all\r\nvary: accept\r\n"
        } else {
            "location: /moved\r\ncontent-location: http://other.test/y\r\n"
        };
        let status = if asked.path() == "/refused" && asked.head.starts_with("POST") { 409 } else { 201 };
        let status = if asked.head.starts_with("GET") { 200 } else { status };
        asked.answer(status, headers, &body);
    });
    let gateway = origin.cached(ON);
    let all = ["/x", "/y", "/moved", "/refused"];
    let fill = || all.iter().for_each(|path| drop(get(&gateway, path)));
    let hits = || all.map(|path| status(&get(&gateway, path)) == "tidegate; hit");
    let purge = |body: &str| {
        let page = gateway.admin("POST", "/v1/gateway/cache:purge", body);
        serde_json::from_str::<serde_json::Value>(&page.body).expect("it is JSON")
    };
    for (body, purged, wanted) in [
        (r#"{"url":"http://Gateway.test/x"}"#, 1, [false, true, true, true]),
        (r#"{"prefix":"http://gateway.test/m"}"#, 1, [true, true, false, true]),
        (r#"{"tag":"shop"}"#, 4, [false; 4]),
        (r#"{"tag":"sho"}"#, 0, [true; 4]),
        (r#"{"all":true}"#, 4, [false; 4]),
    ] {
        fill();
        assert_eq!(purge(body)["purged"], purged, "{body}");
        assert_eq!(hits(), wanted, "{body}");
    }
    for bad in ["{}", r#"{"url":"/x"}"#, r#"{"all":false}"#, "x"] {
        assert_eq!(purge(bad)["error"], "bad_request", "{bad}");
    }
    fill();
    for path in ["/x", "/refused"] {
        ask(&gateway, "POST", path, "Content-Length: 0\r\n");
    }
    assert_eq!(hits(), [false, true, false, true], "what was changed, and where it moved to; not what was refused");
}

#[test]
fn it_keeps_within_its_memory_and_to_what_is_asked_for_again() {
    let origin = Origin::start(|asked| asked.answer(200, "cache-control: max-age=600\r\n", &"x".repeat(4000)));
    let gateway = origin.cached("cache = true\n[cache]\nbytes = \"256kb\"\nobject_bytes = \"8kb\"\n");
    for _ in 0..3 {
        get(&gateway, "/hot");
    }
    let mut client = gateway.connect();
    for number in 0..400 {
        client.ask(&format!("GET /scan/{number} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"));
    }
    assert_eq!(status(&get(&gateway, "/hot")), "tidegate; hit", "a scan doesn't displace it");
    let figures = figures(&gateway);
    let bytes = figures["bytes"].as_u64().expect("a number");
    assert!((64 * 1024..=256 * 1024).contains(&bytes), "{figures}");
    assert!(figures["evicted"].as_u64().is_some_and(|evicted| evicted > 300), "{figures}");
    assert_eq!(status(&get(&gateway, "/scan/200")), "tidegate; fwd=uri-miss; stored");
}

#[test]
fn it_is_told_of_in_the_log_and_in_metrics() {
    let origin = numbered("cache-control: max-age=60\r\n");
    let gateway = Gateway::start_logging(&origin.tables(ON));
    for (method, path) in [("GET", "/x"), ("GET", "/x"), ("POST", "/x"), ("GET", "/x")] {
        ask(&gateway, method, path, "Content-Length: 0\r\n");
    }
    let page = gateway.admin("GET", "/metrics", "").body;
    for line in [
        "tidegate_gateway_cache_requests_total{result=\"hit\"} 1",
        "tidegate_gateway_cache_requests_total{result=\"miss\"} 2",
        "tidegate_gateway_cache_invalidated_total 1",
        "tidegate_gateway_cache_objects 1",
        "tidegate_gateway_requests_total{service=\"app\",status=\"2xx\"} 4",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
    let log = gateway.stop_and_read_log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let of = |key: &str| lines.iter().map(|line| line[key].as_str().unwrap_or("?").to_owned()).collect::<Vec<_>>();
    assert_eq!(of("cache"), ["miss", "hit", "", "miss"]);
    let endpoint = origin.address.to_string();
    assert_eq!(of("endpoint"), [endpoint.as_str(), "", endpoint.as_str(), endpoint.as_str()]);
}

#[test]
fn a_changed_file_keeps_what_is_stored() {
    let origin = numbered("cache-control: max-age=60\r\n");
    let gateway = origin.cached(ON);
    get(&gateway, "/x");
    gateway.rewrite(&origin.tables("cache = { stale_if_error = \"1m\" }\n"));
    gateway.until("the file is taken", |_| gateway.admin("GET", "/v1/gateway", "").body.contains("\"reloads\":1"));
    assert_eq!(status(&get(&gateway, "/x")), "tidegate; hit");
}

#[test]
fn what_another_cache_says_stays() {
    let origin = Origin::start(|asked: &mut Asked<'_>| {
        asked.answer(200, "cache-control: max-age=60\r\ncache-status: inner; hit\r\n", "x");
    });
    let gateway = origin.cached(ON);
    get(&gateway, "/x");
    let head = get(&gateway, "/x").head;
    let lines: Vec<&str> = head.lines().filter(|line| line.starts_with("cache-status")).collect();
    assert_eq!(lines, ["cache-status: inner; hit", "cache-status: tidegate; hit"]);
}
