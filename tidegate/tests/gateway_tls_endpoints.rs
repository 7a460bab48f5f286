//! TLS between the gateway and endpoints: whom it believes, what it shows, and that connections are used again.

mod support;

use support::Folder;
use support::gateway::Gateway;
use support::secure::{SecureUpstream, server};
use support::tls::Authority;

fn service(upstream: &SecureUpstream, keys: &str) -> String {
    format!("[service.app]\nendpoints = [\"{}\"]\n{keys}\n[[route]]\nservice = \"app\"\n", upstream.address)
}

fn trust(authority: &Authority, more: &str) -> String {
    format!("tls = {{ ca = \"{}\", server_name = \"app.test\"{more} }}", authority.file.display())
}

#[test]
fn an_endpoint_of_a_known_authority_is_spoken_to_and_its_connection_kept() {
    let folder = Folder::new("tls");
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("app", &["app.test"]);
    let upstream = SecureUpstream::start("a", server(&authority, "app", None, &["http/1.1"]));
    let keys = format!("{}\nchecks = {{ path = \"/healthz\", interval = \"1h\" }}", trust(&authority, ""));
    let gateway = Gateway::start_with_one_lane(&service(&upstream, &keys));
    gateway.until("the check has passed", |app| app["endpoints"][0]["state"] == "active");
    let before = upstream.connections();
    let mut client = gateway.connect();
    for round in 0..5 {
        // A POST isn't sent on a connection that may be closed: so the tickets that came behind the handshake have to be seen through.
        let post = format!("POST /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.ask(&post).text(), format!("a /{round}"));
    }
    assert_eq!(upstream.connections(), before + 1, "one connection carries them all");
    // One that its endpoint closes isn't used, and the next one resumes the session.
    for _ in 0..3 {
        assert_eq!(client.ask("POST /close HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text(), "a /close");
        assert_eq!(client.ask("POST /next HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text(), "a /next");
    }
    assert!(upstream.resumed() >= 3, "{} of {} resumed", upstream.resumed(), upstream.connections());
}

#[test]
fn whom_it_cannot_believe_it_does_not_speak_to_and_says_why() {
    let folder = Folder::new("tls");
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    other.issue("forged", &["app.test"]);
    authority.issue("app", &["app.test"]);
    authority.issue("wrong", &["wrong.test"]);
    let upstream = SecureUpstream::start("a", server(&other, "forged", None, &[]));
    let named = SecureUpstream::start("b", server(&authority, "wrong", None, &[]));
    let h2 = SecureUpstream::start("c", server(&authority, "app", None, &["h2"]));
    for (upstream, keys, wanted) in [
        (&upstream, trust(&authority, ""), "UnknownIssuer"),
        (&named, trust(&authority, ""), "not valid for name"),
        (&h2, trust(&authority, ""), "NoApplicationProtocol"),
        (&named, "tls = { }".to_owned(), "TLS: invalid peer certificate"),
    ] {
        let answer = Gateway::start(&service(upstream, &keys)).get("/x");
        assert_eq!((answer.status, answer.error().as_str()), (502, "connect_failed"), "{}", answer.text());
        assert!(answer.text().contains(wanted), "{wanted}: {}", answer.text());
        assert_eq!(upstream.connections(), 0);
    }
    let insecure = Gateway::start(&service(&upstream, "tls = { insecure = true }"));
    assert_eq!(insecure.get("/x").text(), "a /x");
}

#[test]
fn it_shows_its_own_certificate_where_that_is_wanted() {
    let folder = Folder::new("tls");
    let (authority, clients) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "clients"));
    authority.issue("app", &["app.test"]);
    clients.issue("gateway", &["gateway.test"]);
    let upstream = SecureUpstream::start("a", server(&authority, "app", Some(&clients), &[]));
    let refused = Gateway::start(&service(&upstream, &trust(&authority, ""))).get("/x");
    assert_eq!((refused.status, refused.error().as_str()), (502, "reset"), "{refused:?}");
    assert!(refused.text().contains("CertificateRequired"), "{}", refused.text());
    let file = |kind: &str| folder.path().join(format!("gateway.{kind}")).display().to_string();
    let own = format!(", certificate = \"{}\", key = \"{}\"", file("pem"), file("key"));
    let gateway = Gateway::start(&service(&upstream, &trust(&authority, &own)));
    assert_eq!(gateway.get("/x").text(), "a /x");
}

#[test]
fn a_file_that_changes_is_gone_by_and_the_service_keeps_what_it_knows() {
    let folder = Folder::new("tls");
    let (authority, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    authority.issue("app", &["app.test"]);
    other.issue("new", &["app.test"]);
    let upstream = SecureUpstream::start("a", server(&authority, "app", None, &[]));
    let gateway = Gateway::start_with_one_lane(&service(&upstream, &trust(&authority, "")));
    assert_eq!(gateway.get("/x").text(), "a /x");
    let before = upstream.connections();
    upstream.set_config(server(&other, "new", None, &[]));
    // Whoever renews the authority puts its file in place of the old one.
    let beside = folder.path().join("beside");
    std::fs::copy(&other.file, &beside).expect("it can be copied");
    std::fs::rename(&beside, &authority.file).expect("it can be moved");
    gateway
        .until("the new authority is believed", |_| upstream.connections() > before || gateway.get("/y").status != 200);
    assert_eq!(gateway.get("/z").text(), "a /z");
    assert!(gateway.app()["endpoints"][0]["requests"].as_u64() >= Some(2), "{}", gateway.app());
    // One that is broken is refused, and the sound one stays.
    std::fs::write(&beside, "no certificate").expect("it can be written");
    std::fs::rename(&beside, &authority.file).expect("it can be moved");
    let page = gateway.admin("POST", "/v1/gateway:reload", "");
    assert!(page.body.contains("has no certificate"), "{page:?}");
    assert_eq!(gateway.get("/x").text(), "a /x");
}

#[test]
fn files_that_are_wrong_are_refused() {
    let folder = Folder::new("tls");
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("app", &["app.test"]);
    let upstream = SecureUpstream::start("a", server(&authority, "app", None, &[]));
    let gateway = Gateway::start(&service(&upstream, &trust(&authority, "")));
    for (keys, wanted) in [
        ("tls = { ca = \"/nowhere.pem\" }", "/nowhere.pem can't be read"),
        ("tls = { ca = \"gateway.toml\" }", "has no certificate"),
        ("tls = { insecure = true, ca = \"gateway.toml\" }", "give one of them"),
        ("tls = { insecure = true, key = \"gateway.toml\" }", "go together"),
        ("tls = { insecure = true, server_name = \"a b\" }", "is no name"),
        ("tls = { cert = \"x\" }", "no key 'cert'"),
        ("protocol = \"h3\"", "h3"),
    ] {
        gateway.rewrite(&service(&upstream, keys));
        let page = gateway.admin("POST", "/v1/gateway:reload", "");
        assert!(page.body.contains(wanted), "{keys}: {page:?}");
    }
    assert_eq!(gateway.get("/x").text(), "a /x", "the old file stays in force");
}
