//! Files: what is understood, what isn't, and how that is told.

use super::*;

const GOOD: &str = "
[gateway]
listen = \"127.0.0.1:8080\"
lanes = 2
[limits]
header = \"16kb\"
[timeouts]
response = \"5s\"
[service.shop]
endpoints = [\"127.0.0.1:9001\", { address = \"127.0.0.1:9002\", weight = 3 }]
policy = \"ring-hash\"
key = \"header:x-user\"
deadline = \"2s\"
checks = { path = \"/healthz\", interval = \"500ms\" }
retries = { tries = 2 }
admission = { limit = 10, queue = 5, wait = '2s' }
[service.other]
endpoints = [\"127.0.0.1:9003\"]
response = \"1m\"
[limit.client]
by = \"address\"
requests = 100
per = \"1s\"
[[route]]
host = \"shop.test\"
methods = [\"GET\", \"POST\"]
limits = [\"client\"]
service = \"shop\"
[[route]]
prefix = \"/\"
split = [{ service = \"shop\", weight = 1 }, { service = \"other\", weight = 9 }]
";

fn parse(text: &str) -> Result<Config, Wrong> {
    Config::parse(Path::new(""), text)
}

#[test]
fn paths_go_from_the_folder_of_the_file() {
    let tls = "[[listener]]\naddress = \"127.0.0.1:0\"\n[listener.tls]\nclient_ca = \"tls/ca.pem\"\n\
               certificates = [{ certificate = \"a.pem\", key = \"/run/a.key\" }]\n";
    let endpoints =
        "policy = \"ring-hash\"\ntls = { ca = \"../ca.pem\", certificate = \"own.pem\", key = \"/own.key\" }";
    let text = GOOD.replace("policy = \"ring-hash\"", endpoints).replace("[limits]", &format!("{tls}[limits]"));
    let text = text.replace("lanes = 2", "lanes = 2\naccess_log = \"a.log\"\nhandover = \"h.sock\"");
    let config = Config::of_text(Some(Path::new("/etc/gateway/x.toml")), &text).unwrap();
    let files: Vec<String> = config.files().map(|path| path.display().to_string()).collect();
    let wanted = ["a.pem", "/run/a.key", "tls/ca.pem", "../ca.pem", "own.pem", "/own.key"];
    assert_eq!(files, wanted.map(|path| Path::new("/etc/gateway").join(path).display().to_string()));
    assert_eq!(config.access_log.as_deref(), Some(Path::new("/etc/gateway/a.log")));
    assert_eq!(config.handover.as_deref(), Some(Path::new("/etc/gateway/h.sock")));
    let config = Config::of_text(Some(Path::new("/etc/x.toml")), &text.replace("a.log", "-")).unwrap();
    assert_eq!(config.access_log.as_deref(), Some(Path::new("-")), "that is stdout");
    let config = Config::of_text(Some(Path::new("x.toml")), &text).unwrap();
    assert_eq!(config.access_log.as_deref(), Some(Path::new("a.log")));
}

#[test]
fn a_good_file_is_understood() {
    let config = parse(GOOD).unwrap();
    assert_eq!((config.lanes, config.head.bytes_max, config.limits.len()), (2, 16 * 1024, 1));
    assert_eq!(config.requests_max, 20_000, "twice the connections");
    let [other, shop] = config.services.as_slice() else { panic!("there are two services") };
    assert_eq!((other.name.as_str(), other.times.response), ("other", Duration::from_secs(60)));
    assert_eq!((shop.times.response, shop.times.deadline), (Duration::from_secs(5), Some(Duration::from_secs(2))));
    let weights: Vec<u32> = shop.endpoints.iter().map(|endpoint| endpoint.weight).collect();
    assert_eq!(weights, [1, 3]);
    assert_eq!((shop.core.checks.interval_ms, shop.core.retries.tries_max), (500, 2));
    assert_eq!((shop.core.admission.limit, shop.core.admission.queue_max), (core::Limit::Fixed(10), 5));
    assert_eq!(shop.core.admission.wait_max_ms, 2_000);
    assert_eq!(shop.probe, Some(Probe { path: Some("/healthz".to_owned()), time: Duration::from_secs(1) }));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (from, to, line, wanted) in [
        ("lanes = 2", "lane = 2", 4, "no key 'lane'; did you mean 'lanes'?"),
        ("lanes = 2", "lanes = 0", 0, "gateway.lanes is 0"),
        ("lanes = 2", "lanes = \"two\"", 4, "invalid type"),
        ("127.0.0.1:8080", "127.0.0.1", 3, "'127.0.0.1' is no address"),
        ("127.0.0.1:8080", "0.0.0.0:8080", 0, "gateway.public"),
        ("[limits]", "[limits]\nstreams = 0", 0, "limits.streams is 0; give 1 to 10000"),
        ("[limits]", "[limits]\nrequests = 0", 0, "limits.requests is 0"),
        ("[limits]", "[limitz]", 5, "no key 'limitz'; did you mean"),
        ("16kb", "16 miles", 6, "'16 miles' is no size"),
        ("response = \"5s\"", "response = \"5 s\"", 8, "'5 s' is no time"),
        ("127.0.0.1:9001", "127.0.0.1:9002", 10, "names 127.0.0.1:9002 twice"),
        ("weight = 3 }", "wait = 3 }", 10, "no key 'wait'"),
        ("weight = 3 }", "weight = 3000 }", 10, "the weight of 127.0.0.1:9002 is 3000"),
        ("ring-hash", "ring", 11, "'ring' is no policy; give one of round-robin"),
        ("header:x-user", "x-user", 12, "'x-user' is no key"),
        ("limit = 10", "limit = \"some\"", 16, "is no limit"),
        ("requests = 100", "requests = 0", 22, "lets nothing through"),
        ("\"POST\"", "\"post\"", 26, "'post' is no method"),
        ("limits = [\"client\"]", "limits = [\"clients\"]", 27, "no [limit.clients]; did you mean 'client'?"),
        (
            "service = \"shop\"\n[[route]]",
            "service = \"shob\"\n[[route]]",
            28,
            "no [service.shob]; did you mean 'shop'?",
        ),
        ("prefix = \"/\"", "prefix = \"x\"", 30, "'x' is no path"),
        ("prefix = \"/\"", "regex = \"(\"", 30, "regex"),
        ("prefix = \"/\"\n", "prefix = \"/\"\npath = \"/\"\n", 29, "one of path, prefix and regex"),
        ("host = \"shop.test\"", "host = \"http://shop\"", 25, "is no host"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let told = parse(&GOOD.replacen(from, to, 1)).map_err(|wrong| wrong.to_string());
        let told = told.expect_err(to);
        assert!(told.contains(wanted), "{to}: {told}");
        if line > 0 {
            assert!(told.starts_with(&format!("line {line}: ")), "{to}: {told}");
        }
    }
    let listener = "[[listener]]\naddress = \"127.0.0.1:8080\"\n";
    let told = parse(&format!("{GOOD}{listener}")).unwrap_err().to_string();
    assert_eq!(told, "line 33: 127.0.0.1:8080 is listened on twice");
    assert!(parse(&GOOD.replace("listen =", "# ")).unwrap_err().to_string().contains("nowhere"));
    assert!(parse("[gateway]\nlisten = \"127.0.0.1:0\"\n").unwrap_err().to_string().contains("no [[route]]"));
}
