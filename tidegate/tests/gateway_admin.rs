//! The gateway's port for operators: whom it answers, and that nobody can hold it.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::gateway::{Gateway, Upstream, service};
use support::{Page, http};

const JSON: &str = "content-type: application/json\r\n";
const LIST: &str = "/v1/gateway/services/app/endpoints";

fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str, body: &str) -> Page {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}");
    http(&gateway.admin, &request).expect("the admin port takes connections")
}

fn word(page: &Page) -> (u16, String) {
    let told: serde_json::Value = serde_json::from_str(&page.body).unwrap_or_default();
    (page.status, told["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn pages_of_a_browser_change_nothing_and_read_nothing() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let own = format!("host: {}\r\n", gateway.admin);
    let (add, drain) = ("{\"address\":\"127.0.0.1:9\"}", format!("{LIST}/{}:drain", upstream.address));
    let delete = format!("{LIST}/{}", upstream.address);
    // What a form of another page sends, with an origin and, as old browsers do, without.
    let form = "content-type: text/plain\r\n";
    let remote = "origin: http://evil.test\r\n";
    for (method, path, headers, body, wanted) in [
        ("POST", LIST, format!("{own}{form}"), add, (415, "not_json")),
        ("POST", LIST, format!("{own}{form}{remote}"), add, (403, "forbidden")),
        ("POST", LIST, format!("{own}{JSON}{remote}"), add, (403, "forbidden")),
        ("POST", LIST, format!("{own}{JSON}origin: null\r\n"), add, (403, "forbidden")),
        ("POST", LIST, own.clone(), add, (415, "not_json")),
        ("POST", &drain, own.clone(), "", (415, "not_json")),
        ("POST", &drain, format!("{own}content-type: application/x-www-form-urlencoded\r\n"), "", (415, "not_json")),
        ("POST", "/v1/gateway:reload", own.clone(), "", (415, "not_json")),
        ("POST", "/v1/gateway/cache:purge", own.clone(), "{\"all\":true}", (415, "not_json")),
        ("DELETE", &delete, format!("{own}{remote}"), "", (403, "forbidden")),
        // A page whose name has come to stand for this address.
        ("GET", "/v1/gateway", "host: evil.test\r\n".to_owned(), "", (421, "wrong_host")),
        ("GET", "/metrics", "host: evil.test:7379\r\n".to_owned(), "", (421, "wrong_host")),
        ("POST", &drain, format!("host: evil.test\r\n{JSON}"), "", (421, "wrong_host")),
        ("DELETE", &delete, "host: evil.test\r\n".to_owned(), "", (421, "wrong_host")),
    ] {
        let page = ask(&gateway, method, path, &headers, body);
        assert_eq!(word(&page), (wanted.0, wanted.1.to_owned()), "{method} {path} {headers}: {page:?}");
        assert!(!page.head.contains("access-control"), "{page:?}");
    }
    let app = gateway.app();
    assert_eq!((app["endpoints"].as_array().map(Vec::len), &app["endpoints"][0]["weight"]), (Some(1), &1.into()));
    // Operators' programs do.
    assert_eq!(ask(&gateway, "POST", &drain, &format!("{own}{JSON}"), "").status, 200);
    assert_eq!(ask(&gateway, "DELETE", &delete, &own, "").status, 200);
    let page = http(&gateway.admin, "GET /healthz HTTP/1.0\r\n\r\n").expect("it takes connections");
    assert!(page.status == 200 && page.head.contains("x-content-type-options: nosniff"), "{page:?}");
}

#[test]
fn it_answers_to_the_names_that_it_is_given() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let get = |path: &str, host: &str| ask(&gateway, "GET", path, &format!("host: {host}\r\n"), "").status;
    let read = |host: &str| get("/metrics", host);
    assert_eq!((read("localhost:7379"), read("[::1]"), read("gateway.internal:7379")), (200, 200, 421));
    assert_eq!(get("/readyz", "gateway.internal:7379"), 200, "probes are told by any name");
    gateway.rewrite(&format!("admin_names = [\"Gateway.internal\"]\n{}", service(&[&upstream], "")));
    gateway.until("it goes by the file", |_| read("gateway.internal:7379") == 200);
    gateway.rewrite(&format!("admin_names = [\"gateway.internal:7379\"]\n{}", service(&[&upstream], "")));
    gateway.until("it refuses the file", |_| {
        gateway.admin("GET", "/v1/gateway", "").body.contains("'gateway.internal:7379', which is no name")
    });
}

#[test]
fn nobody_can_hold_it_and_one_too_many_is_told_so() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let begin = |text: &str| {
        let mut stream = TcpStream::connect(&gateway.admin).expect("it takes connections");
        stream.write_all(text.as_bytes()).expect("it can be written");
        stream
    };
    let begun = Instant::now();
    let body = format!("POST {LIST} HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 100\r\n\r\n{{");
    // Some say nothing, some half of a head, some half of a body.
    let held: Vec<TcpStream> =
        (0..64).map(|number| begin(["", "GET /metrics HTTP/1.1\r\nho", &body][number % 3])).collect();
    let page = ask(&gateway, "GET", "/metrics", "host: localhost\r\n", "");
    assert_eq!(word(&page), (503, "too_many".to_owned()), "{page:?}");
    assert!(page.head.contains("retry-after: 1"), "{page:?}");
    assert_eq!(gateway.get("/x").status, 200, "clients don't notice");
    for mut stream in held {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it is closed in time");
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    let page = ask(&gateway, "GET", "/metrics", "host: localhost\r\n", "");
    assert!(page.body.contains("tidegate_gateway_admin_refused_total 1\n"), "{page:?}");
}
