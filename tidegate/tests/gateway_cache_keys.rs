//! What nobody can do to the others by the gateway's cache: choose what they get, end what they wait for, or keep what has changed.

mod support;

use support::gateway::{Answer, Gateway, header};
use support::origin::Origin;

fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> Answer {
    gateway.connect().ask(&format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n{headers}\r\n"))
}

#[test]
fn what_connection_takes_off_is_not_what_others_asked_for() {
    let origin = Origin::start(|asked| {
        let seen = header(&asked.head, "origin").unwrap_or("nobody").to_owned();
        asked.answer(200, "Cache-Control: max-age=60\r\nVary: Origin\r\n", &seen);
    });
    let gateway = origin.cached("cache = true\n");
    // The endpoint sees no Origin, so its answer is none for those who have one.
    let trick = "Origin: https://app.test\r\nConnection: origin\r\n";
    for _ in 0..2 {
        let tricked = ask(&gateway, "GET", "/x", trick);
        assert_eq!((tricked.text(), tricked.header("cache-status")), ("nobody", Some("tidegate; fwd=bypass")));
    }
    assert_eq!(ask(&gateway, "GET", "/x", "Origin: https://app.test\r\n").text(), "https://app.test");
    let again = ask(&gateway, "GET", "/x", "Origin: https://app.test\r\nConnection: keep-alive\r\n");
    assert_eq!((again.text(), again.header("cache-status")), ("https://app.test", Some("tidegate; hit")));
}

#[test]
fn a_purge_by_url_finds_what_came_without_tls_or_by_another_host() {
    let origin = Origin::start(|asked| asked.answer(200, "Cache-Control: max-age=60\r\nVary: accept\r\n", "x"));
    let gateway = Gateway::start(&format!("trusted = [\"127.0.0.0/8\"]\n{}", origin.tables("cache = true\n")));
    let fill = || {
        ask(&gateway, "GET", "/x", "");
        ask(&gateway, "GET", "/x", "X-Forwarded-Proto: https\r\n");
        ask(&gateway, "GET", "/x", "X-Forwarded-Proto: https\r\nX-Forwarded-Host: Shop.test\r\n");
    };
    for (purge, purged) in [
        (r#"{"url":"https://gateway.test/x"}"#, 3),
        (r#"{"url":"https://gateway.test:443/x"}"#, 3),
        (r#"{"prefix":"https://gateway.test"}"#, 3),
        (r#"{"url":"http://shop.test/x"}"#, 1),
        (r#"{"prefix":"https://shop.test/"}"#, 1),
        (r#"{"url":"https://gateway.test:8443/x"}"#, 0),
        (r#"{"url":"https://elsewhere.test/x"}"#, 0),
    ] {
        fill();
        let page = gateway.admin("POST", "/v1/gateway/cache:purge", purge);
        assert_eq!(page.body.trim(), format!("{{\"purged\":{purged}}}"), "{purge}");
    }
}

#[test]
fn the_spelling_of_a_host_is_nobodys_choice() {
    let origin = Origin::start(|asked| {
        let host = header(&asked.head, "host").unwrap_or("none").to_owned();
        let told = header(&asked.head, "x-forwarded-host").unwrap_or("none").to_owned();
        asked.answer(200, "Cache-Control: max-age=60\r\n", &format!("http://{host}/ {told}"));
    });
    let gateway = origin.cached("cache = true\n");
    for host in ["Gateway.TEST:80", "gateway.test"] {
        let answer = gateway.connect().ask(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.text(), "http://gateway.test/ gateway.test", "{host}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn nobody_elses_deadline_ends_a_fetch() {
    let origin = Origin::start(|asked| {
        assert_eq!(header(&asked.head, "grpc-timeout"), None);
        asked.hold();
        asked.answer(200, "Cache-Control: max-age=60\r\n", "body");
    });
    let gateway = origin.cached("cache = true\n");
    let mut hasty = gateway.connect();
    hasty.send("GET /x HTTP/1.1\r\nHost: gateway.test\r\nGrpc-Timeout: 50m\r\n\r\n");
    origin.await_count(1);
    let mut patient = gateway.connect();
    patient.send("GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(hasty.answer(false).status, 504);
    origin.release();
    assert_eq!((patient.answer(false).text(), origin.count()), ("body", 1));
}

#[test]
fn a_change_by_one_service_is_one_for_all() {
    let origin = Origin::start(|asked| {
        let body = asked.number.to_string();
        asked.answer(200, "Cache-Control: max-age=60\r\n", &body);
    });
    let address = origin.address;
    let gateway = Gateway::start(&format!(
        "[service.readers]\nendpoints = [\"{address}\"]\n[service.writers]\nendpoints = [\"{address}\"]\n\
         [[route]]\nmethods = [\"POST\"]\nservice = \"writers\"\n[[route]]\nservice = \"readers\"\ncache = true\n"
    ));
    let get = || ask(&gateway, "GET", "/x", "").text().to_owned();
    assert_eq!((get(), get()), ("0".to_owned(), "0".to_owned()));
    assert_eq!(ask(&gateway, "POST", "/x", "Content-Length: 0\r\n").text(), "1");
    assert_eq!(get(), "2");
}
