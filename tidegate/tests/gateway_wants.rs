//! What the gateway's own machine lacks is no fault of its endpoints.

mod support;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::time::{Duration, Instant};
use support::gateway::{Gateway, Upstream, service};

/// Lets it have so many files open from now on; what is open stays.
fn allow_files(gateway: &Gateway, files: Option<u64>) {
    let pid = i32::try_from(gateway.pid()).ok().and_then(Pid::from_raw).expect("a process has a number");
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: files.or(maximum), maximum }).expect("it is ours");
}

#[test]
fn that_it_has_no_files_left_is_no_fault_of_endpoints() {
    let (one, two) = (Upstream::start("a"), Upstream::start("b"));
    let settings = "policy = \"round-robin\"\nejection = { errors = 1 }\nbreaker = { errors = 1 }\nretries = { tries = 3 }\n\
         checks = { interval = \"20ms\", fall = 1, rise = 1000 }\n";
    let gateway = Gateway::start_with_one_lane(&service(&[&one, &two], settings));
    let mut client = gateway.connect();
    assert_eq!(client.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    allow_files(&gateway, Some(3));
    // Connections that rest are used as ever, until `/close` leaves none. Meanwhile some checks are due.
    let (mut wanting, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_millis(500) || wanting < 20 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{wanting} in time");
        let answer = client.ask("GET /close HTTP/1.1\r\nHost: a\r\n\r\n");
        if answer.status == 200 {
            continue;
        }
        wanting += 1;
        assert_eq!((answer.status, answer.error().as_str()), (503, "no_means"), "{answer:?}");
        assert!(answer.text().contains("raise its limit") && answer.header("retry-after") == Some("1"), "{answer:?}");
    }
    allow_files(&gateway, None);
    let app = gateway.app();
    for endpoint in app["endpoints"].as_array().expect("there are endpoints") {
        assert_eq!((&endpoint["state"], &endpoint["errors"]), (&"active".into(), &0.into()), "{app}");
    }
    let page = gateway.admin("GET", "/metrics", "").body;
    let metric = |line: &str| page.lines().find_map(|one| one.strip_prefix(line)?.trim().parse::<u64>().ok());
    let counted = metric("tidegate_gateway_upstream_connects_wanting_total{service=\"app\",want=\"files\"}");
    assert!(counted.is_some_and(|counted| counted > wanting), "checks were in want too: {counted:?}, not {wanting}");
    assert_eq!(metric("tidegate_gateway_retries_total{service=\"app\"}"), Some(0), "they would have been in vain");
    assert_eq!(metric("tidegate_gateway_upstream_connects_failed_total{service=\"app\"}"), Some(0));
    assert_eq!(client.ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200, "there are files again");
}
