//! TLS toward clients: which certificate they get, who may come in, what is remembered of them, and files that change meanwhile.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;
use support::Folder;
use support::gateway::{Gateway, Upstream, header, service};
use support::tls::{Authority, address, ask, connect, run, run_with, under_tls};

const GET: &str = "GET /x HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";

/// An authority in a folder of its own, with a certificate `shop` for shop.test and one `wild` for *.wild.test.
fn authority(folder: &Folder) -> Authority {
    let authority = Authority::new(folder.path(), "authority");
    authority.issue("shop", &["shop.test"]);
    authority.issue("wild", &["*.wild.test"]);
    authority
}

/// A listener with both, and more keys of its TLS.
fn listener(authority: &Authority, more: &str) -> String {
    let folder = authority.folder.display();
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[listener.tls]\ncertificates = [\n{{ certificate = \"{folder}/shop.pem\", \
         key = \"{folder}/shop.key\" }},\n{{ certificate = \"{folder}/wild.pem\", key = \"{folder}/wild.key\" }},\n]\n{more}\n"
    )
}

fn metric(gateway: &Gateway, line: &str) -> u64 {
    let page = gateway.admin("GET", "/metrics", "").body;
    let value = page.lines().find_map(|one| one.strip_prefix(line)?.trim().parse::<f64>().ok());
    let value = value.unwrap_or_else(|| panic!("no {line} in {page}"));
    format!("{value:.0}").parse().expect("a number")
}

#[test]
fn curl_is_served_and_the_upstream_is_told() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&format!("{}{}", listener(&authority, ""), service(&[&upstream], "")));
    let at = address(&gateway, 0);
    let port = at.rsplit(':').next().expect("a port");
    let (resolve, url) = (format!("shop.test:{port}:127.0.0.1"), format!("https://shop.test:{port}/x"));
    let ca = authority.file.to_str().expect("a path of letters");
    for version in ["1.2", "1.3"] {
        let words = ["-sS", "--http1.1", "--cacert", ca, "--resolve", &resolve, "--tls-max", version, &url];
        assert_eq!(run("curl", &words), (true, "a /x 0".to_owned()), "TLS {version}");
    }
    let (sound, told) = run("curl", &["-sS", "--cacert", ca, "--resolve", &resolve, "--tls-max", "1.1", &url]);
    assert!(!sound, "TLS 1.1: {told}");
    let head = &upstream.seen()[0].head;
    assert_eq!(header(head, "x-forwarded-proto"), Some("https"), "{head}");
    assert_eq!(header(head, "forwarded"), Some("for=127.0.0.1;proto=https"), "{head}");
    assert_eq!(gateway.get("/clear").status, 200, "the listener in clear is as it was");
    assert_eq!(header(&upstream.seen()[2].head, "x-forwarded-proto"), Some("http"));
}

#[test]
fn protocols_are_agreed_on() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let old = listener(&authority, "").replace("[listener.tls]", "protocols = [\"http/1.1\"]\n[listener.tls]");
    let gateway = Gateway::start(&format!("{}{old}{}", listener(&authority, ""), service(&[&upstream], "")));
    let ca = authority.file.to_str().expect("a path of letters").to_owned();
    let curl = |place: usize, words: &[&str]| {
        let port = address(&gateway, place).rsplit(':').next().expect("a port").to_owned();
        let (resolve, url) = (format!("shop.test:{port}:127.0.0.1"), format!("https://shop.test:{port}/bytes/70000"));
        let form = "%{http_version} %{response_code} %{size_download}\n";
        let usual = ["-sS", "-o", "/dev/null", "-w", form, "--cacert", &ca, "--resolve", &resolve];
        run("curl", &[&usual[..], words, &[&url]].concat())
    };
    assert_eq!(curl(0, &[]), (true, "2 200 70000\n".to_owned()));
    assert_eq!(curl(0, &["--http1.1"]), (true, "1.1 200 70000\n".to_owned()));
    assert_eq!(curl(1, &["--http2"]), (true, "1.1 200 70000\n".to_owned()));
    let head = upstream.seen().remove(0).head;
    assert_eq!(header(&head, "forwarded"), Some("for=127.0.0.1;proto=https"), "{head}");
    assert!(header(&head, "host").is_some_and(|host| host.starts_with("shop.test:")), "{head}");
    // Many at once on one connection.
    let accepted = metric(&gateway, "tidegate_gateway_accepted_total");
    let port = address(&gateway, 0).rsplit(':').next().expect("a port").to_owned();
    let (resolve, url) =
        (format!("shop.test:{port}:127.0.0.1"), format!("https://shop.test:{port}/bytes/70000?[1-40]"));
    let words = [
        "-sS",
        "-Z",
        "--no-progress-meter",
        "-o",
        "/dev/null",
        "-w",
        "%{response_code}\n",
        "--cacert",
        &ca,
        "--resolve",
        &resolve,
        &url,
    ];
    assert_eq!(run("curl", &words), (true, "200\n".repeat(40)));
    assert!(metric(&gateway, "tidegate_gateway_accepted_total") < accepted + 40);
    // Who knows none of them is told so.
    let (_, told) = run("openssl", &["s_client", "-connect", &address(&gateway, 0), "-alpn", "spdy/1"]);
    assert!(told.contains("no application protocol"), "{told}");
}

#[test]
fn a_name_has_its_certificate_and_other_names_the_first() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&format!("{}{}", listener(&authority, ""), service(&[&upstream], "")));
    let at = address(&gateway, 0);
    for (server, wanted) in [
        (Some("shop.test"), "shop"),
        (Some("SHOP.test"), "shop"),
        (Some("a.wild.test"), "wild"),
        (Some("a.b.wild.test"), "shop"),
        (Some("wild.test"), "shop"),
        (Some("nobody.test"), "shop"),
        (None, "shop"),
    ] {
        let words = ["s_client", "-connect", &at];
        let words: Vec<&str> = match server {
            Some(server) => words.into_iter().chain(["-servername", server]).collect(),
            None => words.into_iter().chain(["-noservername"]).collect(),
        };
        let (_, told) = run("openssl", &words);
        assert!(told.contains(&format!("subject=CN = {wanted}\n")), "{server:?}: {told}");
    }
}

#[test]
fn who_comes_again_resumes_but_not_where_more_is_demanded() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let demand = format!("client_ca = \"{}\"", authority.file.display());
    let listeners = format!("{}{}", listener(&authority, ""), listener(&authority, &demand));
    let gateway = Gateway::start(&format!("{listeners}{}", service(&[&upstream], "")));
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder.path().join(version).display().to_string();
        let open = address(&gateway, 0);
        let asked = |at: &str, how: &str| {
            let words = ["s_client", "-connect", at, "-servername", "shop.test", version, "-ign_eof", how, &session];
            run_with("openssl", &words, GET).1
        };
        assert!(asked(&open, "-sess_out").contains("New, TLSv1"), "{version}");
        for _ in 0..4 {
            // They go to whichever lane has fewer connections.
            let told = asked(&open, "-sess_in");
            assert!(told.contains("Reused, TLSv1") && told.contains("a /x 0"), "{version}: {told}");
        }
        let told = asked(&address(&gateway, 1), "-sess_in");
        assert!(!told.contains("a /x 0") && !told.contains("Reused"), "{version}: {told}");
    }
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_resumed_total"), 8);
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_failed_total{reason=\"no_certificate\"}"), 2);
}

#[test]
fn who_came_by_authorities_of_before_does_not_come_again_by_a_ticket() {
    let (folder, others) = (Folder::new("tls"), Folder::new("tls"));
    let (authority, other) = (authority(&folder), Authority::new(others.path(), "other"));
    authority.issue("ada", &["ada.test"]);
    let upstream = Upstream::start("a");
    let clients = folder.path().join("clients.pem");
    // Replaced at once, as those do it who renew files.
    let believe = |authority: &Authority| {
        std::fs::copy(&authority.file, clients.with_extension("new")).expect("it can be copied");
        std::fs::rename(clients.with_extension("new"), &clients).expect("it can be moved");
    };
    believe(&authority);
    for auth in ["required", "optional"] {
        let demand = format!("client_ca = \"{}\"\nclient_auth = \"{auth}\"", clients.display());
        let gateway = Gateway::start(&format!("{}{}", listener(&authority, &demand), service(&[&upstream], "")));
        let at = address(&gateway, 0);
        let file = |kind: &str| folder.path().join(format!("ada.{kind}")).display().to_string();
        let (certificate, key) = (file("pem"), file("key"));
        let asked = |version: &str, how: &str| {
            let session = folder.path().join(version).display().to_string();
            let who = ["-servername", "shop.test", "-cert", &certificate, "-key", &key];
            let how = [version, "-ign_eof", how, &session];
            run_with("openssl", &[&["s_client", "-connect", &at][..], &who, &how].concat(), GET).1
        };
        let versions = ["-tls1_2", "-tls1_3"];
        for version in versions {
            assert!(asked(version, "-sess_out").contains("a /x 0"), "{version}");
            let told = asked(version, "-sess_in");
            assert!(told.contains("Reused, TLSv1") && told.contains("a /x 0"), "{version}: {told}");
        }
        for (believed, reloads) in [(&other, 1), (&authority, 2)] {
            believe(believed);
            let wanted = format!("\"reloads\":{reloads}");
            gateway.until("it is taken", |_| gateway.admin("GET", "/v1/gateway", "").body.contains(&wanted));
            for version in versions {
                let told = asked(version, "-sess_in");
                assert!(!told.contains("Reused, TLSv1"), "{auth} {version}: {told}");
                assert_eq!(told.contains("a /x 0"), reloads == 2, "{auth} {version}: {told}");
            }
        }
        let resumed = metric(&gateway, "tidegate_gateway_handshakes_resumed_total");
        assert_eq!(resumed, 2, "none since the authorities have changed, not by those of before either");
    }
}

#[test]
fn clients_prove_who_they_are_and_claims_are_worth_nothing() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    authority.issue("ada", &["ada.test"]);
    let others = Folder::new("tls");
    let other = Authority::new(others.path(), "other");
    other.issue("eve", &["eve.test"]);
    std::fs::copy(&authority.file, other.folder.join("other.pem")).expect("eve trusts the server");
    let upstream = Upstream::start("a");
    let demand = format!("client_ca = \"{}\"", authority.file.display());
    let optional = format!("{demand}\nclient_auth = \"optional\"");
    let listeners = format!("{}{}", listener(&authority, &demand), listener(&authority, &optional));
    let gateway = Gateway::start(&format!("{listeners}{}", service(&[&upstream], "")));
    let claims =
        GET.replace("Host:", "Client-Cert: :AAAA:\r\nX-Client-Cert-Subject: CN=root\r\nClient-Cert-Chain: x\r\nHost:");
    let (ada, nobody, eve) =
        (authority.client(Some("ada"), &[]), authority.client(None, &[]), other.client(Some("eve"), &[]));
    for place in [0, 1] {
        let at = address(&gateway, place);
        let answer = ask(&ada, &at, "shop.test", &claims).expect("ada is served");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let head = upstream.seen().pop().expect("it came").head;
        assert_eq!(header(&head, "x-client-cert-subject"), Some("CN=ada"), "{head}");
        let certificate = header(&head, "client-cert").expect("RFC 9440");
        assert!(certificate.len() > 300 && certificate.starts_with(":MII") && certificate.ends_with(':'), "{head}");
        assert_eq!(header(&head, "client-cert-chain"), None);
        let seen = upstream.seen().len();
        assert!(ask(&eve, &at, "shop.test", GET).is_err(), "what is shown must be sound");
        assert_eq!(upstream.seen().len(), seen);
    }
    assert!(ask(&nobody, &address(&gateway, 0), "shop.test", GET).is_err());
    let answer = ask(&nobody, &address(&gateway, 1), "shop.test", &claims).expect("it is served");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = upstream.seen().pop().expect("it came").head;
    for name in ["client-cert", "x-client-cert-subject", "client-cert-chain"] {
        assert_eq!(header(&head, name), None, "{head}");
    }
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_failed_total{reason=\"bad_certificate\"}"), 2);
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_failed_total{reason=\"no_certificate\"}"), 1);
}

#[test]
fn renewed_certificates_are_taken_and_bad_pairs_are_not() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&format!("{}{}", listener(&authority, ""), service(&[&upstream], "")));
    let at = address(&gateway, 0);
    let client = authority.client(None, &["http/1.1"]);
    let shown = || {
        let mut stream = connect(&client, &at, "shop.test");
        stream.conn.complete_io(&mut stream.sock).expect("the handshake succeeds");
        stream.conn.peer_certificates().expect("it shows one")[0].to_vec()
    };
    let told = |wanted: &str| {
        gateway.until("the file is looked at", |_| gateway.admin("GET", "/v1/gateway", "").body.contains(wanted));
        gateway.admin("GET", "/v1/gateway", "").body
    };
    let mut kept = connect(&client, &at, "shop.test");
    kept.conn.complete_io(&mut kept.sock).expect("the handshake succeeds");
    let first = shown();
    assert_eq!(shown(), first);
    // Its key alone is another's.
    let (pem, key) = (folder.path().join("shop.pem"), folder.path().join("shop.key"));
    let old_key = std::fs::read(&key).expect("it is there");
    for (text, wanted) in [
        (std::fs::read(folder.path().join("wild.key")).expect("it is there"), "is not that of the certificate in"),
        (
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec(),
            "is encrypted",
        ),
        (std::fs::read(&pem).expect("it is there"), "has a certificate where its key should be"),
        (b"nothing".to_vec(), "has no private key in PEM"),
    ] {
        std::fs::write(&key, text).expect("it can be written");
        let page = told(wanted);
        assert!(page.contains("shop.key"), "{page}");
        assert_eq!(shown(), first, "the old pair stays");
    }
    std::fs::write(&key, old_key).expect("it can be written");
    authority.issue_until("shop", &["shop.test"], 2080);
    let begun = std::time::Instant::now();
    while shown() == first {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", gateway.admin("GET", "/v1/gateway", "").body);
    }
    told("\"why\":null");
    let line = format!("tidegate_gateway_certificate_not_after_seconds{{file=\"{}\"}}", pem.display());
    assert_eq!(metric(&gateway, &line), 3_471_292_800);
    // Connections that are there go on.
    use std::io::Write;
    kept.write_all(GET.as_bytes()).expect("it is open");
    let mut answer = String::new();
    kept.read_to_string(&mut answer).expect("it is answered");
    assert!(answer.ends_with("a /x 0"), "{answer}");
}

#[test]
fn bad_files_are_told_before_anything_runs() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    authority.issue_until("old", &["old.test"], 2021);
    let file = folder.path().join("gateway.toml");
    let good = format!("[gateway]\n{}{}", listener(&authority, ""), service(&[&upstream], ""));
    let validate = |text: &str| {
        std::fs::write(&file, text).expect("it can be written");
        let path = file.to_str().expect("a path of letters");
        run(env!("CARGO_BIN_EXE_tidegate"), &["gateway", "--config", path, "--validate"])
    };
    let (sound, told) = validate(&good);
    assert!(sound, "{told}");
    for (from, to, wanted) in [
        ("shop.key", "wild.key", "is not that of the certificate"),
        ("shop.pem", "none.pem", "none.pem can't be read"),
        ("shop.pem", "shop.key", "has no certificate"),
        (
            "\n[[route]]",
            "\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = { certificates = [] }\n[[route]]",
            "wants a certificate",
        ),
    ] {
        let (sound, told) = validate(&good.replacen(from, to, 1));
        assert!(!sound && told.contains(wanted), "{to}: {told}");
    }
    let (sound, told) = validate(&good.replace("shop.", "old."));
    assert!(sound && told.contains("old.pem: a certificate has expired"), "{told}");
}

#[test]
fn handshakes_are_bounded_and_strangers_are_counted() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let gateway =
        Gateway::start(&format!("{}{}", listener(&authority, "handshake = \"1s\""), service(&[&upstream], "")));
    let at = address(&gateway, 0);
    let ends = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    };
    ends(TcpStream::connect(&at).expect("it takes connections"));
    let mut stranger = TcpStream::connect(&at).expect("it takes connections");
    std::io::Write::write_all(&mut stranger, GET.as_bytes()).expect("it is read");
    ends(stranger);
    drop(TcpStream::connect(&at).expect("it takes connections"));
    let reason =
        |reason: &str| metric(&gateway, &format!("tidegate_gateway_handshakes_failed_total{{reason=\"{reason}\"}}"));
    gateway.until("they are counted", |_| reason("late") == 1 && reason("not_tls") == 1 && reason("closed") == 1);
    gateway.until("they are gone", |_| metric(&gateway, "tidegate_gateway_connections") == 0);
}

#[test]
fn the_access_log_tells_what_was_spoken_and_how_it_was_secured() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    authority.issue("ada", &["ada.test"]);
    let upstream = Upstream::start("a");
    let (beyond, _certificates, trust) = under_tls(&upstream);
    let endpoint = format!("[service.app]\nendpoints = [\"{}\"]\n{trust}\n", address(&beyond, 0));
    let demand = format!("client_ca = \"{}\"\nclient_auth = \"optional\"", authority.file.display());
    let listener = listener(&authority, &demand);
    let gateway = Gateway::start_logging(&format!("{listener}{endpoint}[[route]]\nservice = \"app\"\n"));
    let at = address(&gateway, 0);
    let ada = authority.client(Some("ada"), &["http/1.1"]);
    for _ in 0..2 {
        let answer = ask(&ada, &at, "shop.test", GET).expect("she is served");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let url = format!("https://{at}/x");
    let words = ["-sSk", "-o", "/dev/null", "-w", "%{http_version}", "--http2", "--tls-max", "1.2", &url];
    assert_eq!(run("curl", &words), (true, "2".to_owned()));
    assert_eq!(gateway.connect().ask("GET /x HTTP/1.0\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(gateway.connect().ask("GET /x HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n\r\n").status, 417);
    let log = gateway.stop_and_read_log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("each is JSON")).collect();
    let told = |line: &serde_json::Value| {
        let fields =
            ["protocol", "tls", "tls_resumed", "tls_server_name", "tls_client", "endpoint_protocol", "endpoint_tls"];
        fields.map(|field| line[field].to_string().replace('"', "")).join(" ")
    };
    let mut told: Vec<String> = lines.iter().map(told).collect();
    // Each lane hands over its own.
    told.sort();
    assert_eq!(
        told,
        [
            "HTTP/1.0  null null null HTTP/1.1 true",
            "HTTP/1.1  null null null  false",
            "HTTP/1.1 TLSv1.3 false shop.test CN=ada HTTP/1.1 true",
            "HTTP/1.1 TLSv1.3 true shop.test CN=ada HTTP/1.1 true",
            "HTTP/2 TLSv1.2 false   HTTP/1.1 true",
        ]
    );
}

#[test]
fn many_handshakes_at_once_all_have_their_turn() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&format!("{}{}", listener(&authority, ""), service(&[&upstream], "")));
    let at = address(&gateway, 0);
    // Some say nothing: they hold up nobody.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&at).expect("it takes connections")).collect();
    let answers: Vec<String> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..40)
            .map(|_| {
                let client = authority.client(None, &["http/1.1"]);
                let at = at.as_str();
                scope.spawn(move || ask(&client, at, "shop.test", GET).expect("it is served"))
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().expect("it ends")).collect()
    });
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200")), "{answers:?}");
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_total"), 40);
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_waiting"), 0);
    assert_eq!(metric(&gateway, "tidegate_gateway_handshakes_failed_total{reason=\"crowded\"}"), 0);
    drop(silent);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_by_tls_too() {
    let folder = Folder::new("tls");
    let authority = authority(&folder);
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&format!("{}{}", listener(&authority, ""), service(&[&upstream], "")));
    let client = authority.client(None, &["http/1.1"]);
    for (lines, error) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", "length_and_encoding"),
        ("X: y\n Transfer-Encoding: chunked", "bare_lf"),
        ("Transfer-Encoding : chunked", "header_name"),
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = ask(&client, &address(&gateway, 0), "shop.test", &request).expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(error), "{answer}");
    }
    assert!(upstream.seen().is_empty());
    // What comes in many records is one request, and bodies of any size pass.
    let request = "GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(&client, &address(&gateway, 0), "shop.test", request).expect("it is answered");
    assert!(answer.len() > 3_000_000 && answer.ends_with("xxx"), "{}", answer.len());
}
