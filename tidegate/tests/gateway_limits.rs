//! What the gateway tells of requests, and how it keeps clients within their limits.

mod support;

use std::time::{Duration, Instant};
use support::frames::{END_HEADERS, END_STREAM, Frames, GET, HEADERS, Outcome, RST_STREAM, block, get_but};
use support::gateway::{Answer, Event, Gateway, Upstream, header, service};

#[test]
fn each_request_has_a_line_in_the_access_log() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::start_logging(&service(&[&upstream], ""));
    let mut client = gateway.connect();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.ask(&format!("POST /p?q HTTP/1.1\r\nHost: a\r\nTraceparent: {trace}\r\nContent-Length: 5\r\n\r\nhello"));
    client.ask("GET /bytes/100 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"x\"\r\n\r\n");
    client.ask("GET /die HTTP/1.1\r\nHost: a\r\n\r\n");
    client.ask("GET / HTTP/1.1\r\n\r\n");
    let seen = upstream.seen();
    assert_eq!(header(&seen[0].head, "traceparent"), Some(trace), "a trace is kept");
    let begun = header(&seen[1].head, "traceparent").expect("a trace is begun").to_owned();
    let log = gateway.stop_and_read_log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("each is JSON")).collect();
    assert_eq!(lines.len(), 4, "{log}");
    let endpoint = upstream.address.to_string();
    let first = &lines[0];
    assert_eq!((&first["method"], &first["target"], &first["host"]), (&"POST".into(), &"/p?q".into(), &"a".into()));
    assert_eq!((&first["status"], &first["bytes_in"], &first["tries"]), (&200.into(), &5.into(), &1.into()));
    assert_eq!((&first["service"], &first["endpoint"]), (&"app".into(), &endpoint.into()));
    assert_eq!(first["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&lines[1]["bytes_out"], &lines[1]["agent"]), (&100.into(), &"\"x\"".into()));
    assert_eq!(lines[1]["trace"], begun[3..35]);
    assert_eq!(
        (&lines[2]["status"], &lines[2]["error"], &lines[2]["tries"]),
        (&502.into(), &"reset".into(), &1.into())
    );
    assert_eq!(
        (&lines[3]["status"], &lines[3]["error"], &lines[3]["target"]),
        (&400.into(), &"no_host".into(), &"".into())
    );
}

#[test]
fn clients_are_kept_within_their_limits_whichever_lane_they_come_to() {
    let upstream = Upstream::start("a");
    let limits = "[limit.user]\nby = \"header:x-user\"\nrequests = 5\nper = \"1h\"\n";
    let rest = service(&[&upstream], &format!("\n{limits}"))
        .replace("service = \"app\"", "limits = [\"user\"]\nservice = \"app\"");
    let gateway = Gateway::start(&rest);
    let ask = |user: &str| gateway.connect().ask(&format!("GET /x HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n"));
    let answers: Vec<Answer> = (0..8).map(|_| ask("ann")).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    assert_eq!(
        (answers[0].header("ratelimit-limit"), answers[0].header("ratelimit-remaining")),
        (Some("5"), Some("4"))
    );
    let refused = &answers[5];
    assert_eq!((refused.error().as_str(), refused.header("ratelimit-remaining")), ("too_many_requests", Some("0")));
    let seconds = refused.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=720).contains(&seconds)), "{refused:?}");
    assert_eq!(ask("bob").status, 200, "another's limit is another");
    assert_eq!(upstream.seen().len(), 6, "what is refused costs the upstream nothing");
    // A changed file keeps what is known.
    gateway.rewrite(&rest.replace("endpoints", "retries = { tries = 2 }\nendpoints"));
    gateway.until("the file is taken", |_| gateway.admin("GET", "/v1/gateway", "").body.contains("\"reloads\":1"));
    assert_eq!(ask("ann").status, 429);
}

#[test]
fn a_balancer_that_is_trusted_says_whose_request_it_is() {
    let upstream = Upstream::start("a");
    let limits = "[limit.client]\nby = \"address\"\nrequests = 2\nper = \"1h\"\n";
    let rest = service(&[&upstream], &format!("\n{limits}"))
        .replace("service = \"app\"", "limits = [\"client\"]\nservice = \"app\"");
    let statuses = |gateway: &Gateway| {
        let mut balancer = gateway.connect();
        let mut ask =
            |list: &str| balancer.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {list}\r\n\r\n")).status;
        // What stands before the last one is whatever he claims.
        ["1.1.1.1, 203.0.113.1", "2.2.2.2, 203.0.113.1", "3.3.3.3, 203.0.113.1", "203.0.113.2, 127.0.0.9"].map(&mut ask)
    };
    assert_eq!(statuses(&Gateway::start(&format!("trusted = [\"127.0.0.0/8\"]\n{rest}"))), [200, 200, 429, 200]);
    assert_eq!(statuses(&Gateway::start(&rest)), [200, 200, 429, 429], "another is one client, whatever it says");
}

#[test]
fn there_are_as_many_connections_as_the_process_can_bear() {
    let upstream = Upstream::start("a");
    // A quarter of the files is for endpoints, and a hundred are for what is none of a request's.
    let gateway = Gateway::start_with_files(168, &service(&[&upstream], ""));
    let told: serde_json::Value =
        serde_json::from_str(&gateway.admin("GET", "/v1/gateway", "").body).expect("it is JSON");
    assert_eq!((&told["connections_max"], &told["open_files_max"]), (&26.into(), &168.into()));
    let mut clients: Vec<_> = (0..26).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    assert!(gateway.connect().ends(), "one more is closed at once");
    assert_eq!(clients[0].ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200, "nobody else is hurt");
}

#[test]
fn requests_in_progress_are_bounded_over_all_connections_and_lanes() {
    let upstream = Upstream::start("a");
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocols = [\"h2\", \"http/1.1\"]\n";
    let limits = "\n[limits]\nrequests = 5\n";
    let gateway = Gateway::start(&format!("{listener}{}", service(&[&upstream], limits)));
    let address = gateway.http.split(',').nth(1).expect("there are two").to_owned();
    let hold = block(&get_but(":path", "/hold"));
    let mut many = Frames::connect(&address);
    for n in 0..3 {
        many.send(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &hold);
        assert_eq!(upstream.event(), Event::Held);
    }
    let mut others = [gateway.connect_to(&address), gateway.connect_to(&address)];
    for other in &mut others {
        other.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(upstream.event(), Event::Held);
    }
    let refused = gateway.connect_to(&address).ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((refused.status, refused.error().as_str()), (503, "requests_full"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let outcome = many.ask(7, GET);
    assert!(matches!(&outcome, Outcome::Answered(body) if body.contains("requests_full")), "{outcome:?}");
    let page = gateway.admin("GET", "/metrics", "").body;
    assert!(page.contains("\ntidegate_gateway_requests_refused_total 2\n"), "{page}");
    await_in_progress(&gateway, 5);
    // One that is taken back makes room, and what was refused took none.
    many.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    assert_eq!(upstream.event(), Event::Gone);
    await_in_progress(&gateway, 4);
    assert_eq!(gateway.connect_to(&address).ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    drop((many, others));
    await_in_progress(&gateway, 0);
}

fn await_in_progress(gateway: &Gateway, wanted: u32) {
    let wanted = format!("\ntidegate_gateway_requests_in_progress {wanted}\n");
    let begun = Instant::now();
    while !gateway.admin("GET", "/metrics", "").body.contains(&wanted) {
        assert!(begun.elapsed() < Duration::from_secs(30), "never {wanted}");
    }
}
