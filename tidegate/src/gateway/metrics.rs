//! The gateway's /metrics.

use super::cache::page as cache;
use super::control::Control;
use super::report::{EndpointReport, LaneReport, ServiceReport};
use super::standing::{by_name, state_name};
use super::tls::Reason;
use super::want::Want;
use crate::meters::text::{Page, SECONDS, seconds};
use crate::meters::{Process, Sums, process};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// A family: its name, its help, and where its values come from.
type Row<T> = (&'static str, &'static str, fn(&ServiceReport) -> T);
type ByName<'a> = BTreeMap<&'a str, Vec<&'a ServiceReport>>;

/// The page.
pub fn page(control: &Control, reports: &[LaneReport]) -> String {
    let mut page = Page::default();
    let services = by_name(reports);
    own(&mut page, control, reports);
    requests(&mut page, &services);
    queueing(&mut page, &services);
    endpoints(&mut page, &services);
    let sums = cache::Sums::all(reports.iter().map(|report| report.cache));
    cache::metrics(&mut page, control.config.cache.as_deref(), &sums);
    resources(&mut page);
    page.finish()
}

fn own(page: &mut Page, control: &Control, reports: &[LaneReport]) {
    let sum = |of: fn(&LaneReport) -> u64| reports.iter().map(of).sum::<u64>();
    page.gauge("tidegate_gateway_connections", "Open connections of clients.").value(sum(|one| one.open as u64));
    page.counter("tidegate_gateway_accepted_total", "Connections of clients taken.").value(sum(|one| one.accepted));
    page.counter("tidegate_gateway_refused_total", "Connections closed at once, since there were too many.")
        .value(sum(|one| one.refused));
    page.counter("tidegate_gateway_reloads_total", "Changed files taken.").value(control.reloads);
    page.counter("tidegate_gateway_reloads_refused_total", "Changed files refused.").value(control.reloads_refused);
    let help = "Connections to the admin port that were too many at once.";
    page.counter("tidegate_gateway_admin_refused_total", help).value(control.port.refused());
    if let Some(access) = &control.access {
        let help = "Lines of the access log that were dropped, since its disk is too slow.";
        page.counter("tidegate_gateway_access_log_dropped_total", help).value(access.dropped());
    }
    let help = "Connections closed since no balancer that may do so had passed them on by a sound PROXY header.";
    page.counter("tidegate_gateway_proxy_refused_total", help).value(sum(|one| one.unproxied));
    let help = "Connections of clients that speak HTTP/2.";
    page.counter("tidegate_gateway_http2_connections_total", help).value(sum(|one| one.many_at_once));
    let help =
        "Connections of HTTP/2 that were ended since their client flooded them with frames or took back most requests.";
    page.counter("tidegate_gateway_http2_floods_total", help).value(sum(|one| one.floods));
    let in_progress = control.crew.requests.load(Ordering::Relaxed);
    page.gauge("tidegate_gateway_requests_in_progress", "Requests of clients, over all connections.")
        .value(in_progress);
    let help = "Requests refused since as many were in progress as limits.requests allows.";
    page.counter("tidegate_gateway_requests_refused_total", help).value(sum(|one| one.overfull));
    secured(page, control, reports);
    let help = "1 while the file on disk is refused and an older one is in force.";
    page.gauge("tidegate_gateway_file_refused", help).value(u8::from(control.refused.is_some()));
}

/// TLS toward clients.
fn secured(page: &mut Page, control: &Control, reports: &[LaneReport]) {
    let sum = |of: fn(&LaneReport) -> u64| reports.iter().map(of).sum::<u64>();
    page.counter("tidegate_gateway_handshakes_total", "TLS handshakes done.").value(sum(|one| one.handshakes));
    let help = "TLS handshakes of clients that came again.";
    page.counter("tidegate_gateway_handshakes_resumed_total", help).value(sum(|one| one.resumed));
    let help = "TLS handshakes that wait for their turn: each lane computes one at a time.";
    page.gauge("tidegate_gateway_handshakes_waiting", help).value(sum(|one| one.handshakes_waiting));
    let mut failed = page.counter("tidegate_gateway_handshakes_failed_total", "TLS handshakes that failed, by reason.");
    for (at, (_, reason)) in Reason::ALL.iter().enumerate() {
        failed.labelled("reason", reason, reports.iter().map(|one| one.handshakes_failed[at]).sum::<u64>());
    }
    let mut ends =
        page.gauge("tidegate_gateway_certificate_not_after_seconds", "Unix time of a certificate's end, by its file.");
    let ended: BTreeMap<&str, i64> = control
        .tls
        .iter()
        .flatten()
        .flat_map(|tls| &tls.shown)
        .map(|one| (one.file.as_str(), one.not_after_s))
        .collect();
    for (file, not_after_s) in ended {
        ends.labelled("file", file, not_after_s);
    }
}

fn requests(page: &mut Page, services: &ByName<'_>) {
    let mut answers =
        page.counter("tidegate_gateway_requests_total", "Requests answered, by service and class of status.");
    for (name, lanes) in services {
        for class in 1..6 {
            let count: u64 = lanes.iter().map(|lane| lane.answers[class]).sum();
            answers.labels(&[("service", name), ("status", &format!("{class}xx"))], count);
        }
        let cancelled: u64 = lanes.iter().map(|lane| lane.answers[0]).sum();
        answers.labels(&[("service", name), ("status", "cancelled")], cancelled);
    }
    let help = "From the arrival of a request to the end of its response.";
    let mut times = page.histogram("tidegate_gateway_request_seconds", help);
    for (name, lanes) in services {
        let mut sums = Sums::default();
        lanes.iter().for_each(|lane| sums.merge(&lane.time_ns));
        times.sums(&[("service", name)], &sums, SECONDS);
    }
    let counters: [Row<u64>; 7] = [
        ("tidegate_gateway_shed_total", "Requests shed.", |lane| lane.shed),
        ("tidegate_gateway_retries_total", "Requests tried again.", |lane| lane.retried),
        ("tidegate_gateway_upstream_connects_total", "Connections made to endpoints.", |lane| lane.connected),
        ("tidegate_gateway_upstream_connects_failed_total", "Connections that endpoints did not take.", |lane| {
            lane.connect_failed
        }),
        ("tidegate_gateway_upstream_reuses_total", "Requests sent on a connection that was there.", |lane| lane.reused),
        ("tidegate_gateway_mirrored_total", "Copies of requests to others that were sent to it.", |lane| lane.mirrored),
        (
            "tidegate_gateway_mirror_skipped_total",
            "Copies that were not: too long, broken off, or too many at once.",
            |lane| lane.mirror_skipped,
        ),
    ];
    for (name, help, of) in counters {
        let mut family = page.counter(name, help);
        for (service, lanes) in services {
            family.labelled("service", service, lanes.iter().map(|lane| of(lane)).sum::<u64>());
        }
    }
    let help = "Connections to endpoints, checks included, that weren't made for want of something of this machine's.";
    let mut family = page.counter("tidegate_gateway_upstream_connects_wanting_total", help);
    for (service, lanes) in services {
        for (at, (_, want)) in Want::ALL.iter().enumerate() {
            let count: u64 = lanes.iter().map(|lane| lane.wants[at]).sum();
            family.labels(&[("service", service), ("want", want)], count);
        }
    }
}

/// Little's law, as measured over the last ten seconds.
fn queueing(page: &mut Page, services: &ByName<'_>) {
    let gauges: [Row<f64>; 8] = [
        ("tidegate_gateway_inside", "Requests inside now.", |lane| f64::from(lane.inside)),
        ("tidegate_gateway_waiting", "Requests that wait to be let in.", |lane| count(lane.waiting)),
        ("tidegate_gateway_limit", "How many may be inside.", |lane| f64::from(lane.meter.limit)),
        ("tidegate_gateway_offered_per_second", "Requests that came.", |lane| lane.meter.offered_per_s),
        ("tidegate_gateway_arrival_rate_per_second", "Lambda: requests let in.", |lane| lane.meter.admitted_per_s),
        ("tidegate_gateway_shed_per_second", "Requests shed.", |lane| lane.meter.shed_per_s),
        ("tidegate_gateway_mean_inside", "L: requests inside, on average.", |lane| lane.meter.inside),
        ("tidegate_gateway_mean_waiting", "Requests that wait, on average.", |lane| lane.meter.waiting),
    ];
    for (name, help, of) in gauges {
        let mut family = page.gauge(name, help);
        for (service, lanes) in services {
            family.labelled("service", service, lanes.iter().map(|lane| of(lane)).sum::<f64>());
        }
    }
    // What can't be added up is told as the lane says that has it worst.
    let worst: [Row<f64>; 5] = [
        ("tidegate_gateway_inside_seconds", "W: the mean time inside.", |lane| lane.meter.inside_ms / 1e3),
        ("tidegate_gateway_wait_seconds", "The mean wait of those let in.", |lane| lane.meter.wait_ms / 1e3),
        ("tidegate_gateway_no_load_seconds", "W without load, as far as known.", |lane| lane.meter.no_load_ms / 1e3),
        ("tidegate_gateway_utilisation", "L over the limit.", |lane| lane.meter.utilisation),
        ("tidegate_gateway_little_residual", "|L - lambda W| / L.", |lane| lane.meter.residual),
    ];
    for (name, help, of) in worst {
        let mut family = page.gauge(name, help);
        for (service, lanes) in services {
            family.labelled("service", service, lanes.iter().map(|lane| of(lane)).fold(0.0, f64::max));
        }
    }
}

fn endpoints(page: &mut Page, services: &ByName<'_>) {
    let rows: Vec<(&str, &EndpointReport)> = services
        .iter()
        .flat_map(|(name, lanes)| lanes.iter().flat_map(|lane| lane.endpoints.iter().map(|endpoint| (*name, endpoint))))
        .collect();
    let mut sums: BTreeMap<(&str, &str), [u64; 4]> = BTreeMap::new();
    let mut states: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for (service, endpoint) in rows {
        let sum = sums.entry((service, &endpoint.name)).or_default();
        let view = &endpoint.view;
        let more = [u64::from(view.in_flight), view.requests, view.errors, endpoint.idle as u64];
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        *states.entry((service, &endpoint.name, state_name(view.state))).or_default() += 1;
    }
    let gauges = [
        (0, "tidegate_gateway_endpoint_in_flight", "Requests in flight at an endpoint."),
        (3, "tidegate_gateway_endpoint_idle_connections", "Idle connections to an endpoint."),
    ];
    for (at, name, help) in gauges {
        let mut family = page.gauge(name, help);
        sums.iter().for_each(|((service, endpoint), sum)| {
            family.labels(&[("service", service), ("endpoint", endpoint)], sum[at])
        });
    }
    let counters = [
        (1, "tidegate_gateway_endpoint_requests_total", "Tries at an endpoint."),
        (2, "tidegate_gateway_endpoint_errors_total", "Tries that ended by an error."),
    ];
    for (at, name, help) in counters {
        let mut family = page.counter(name, help);
        sums.iter().for_each(|((service, endpoint), sum)| {
            family.labels(&[("service", service), ("endpoint", endpoint)], sum[at])
        });
    }
    let mut family = page.gauge("tidegate_gateway_endpoint_state", "Lanes that see an endpoint in a state.");
    for ((service, endpoint, state), lanes) in &states {
        family.labels(&[("service", service), ("endpoint", endpoint), ("state", state)], lanes);
    }
}

fn resources(page: &mut Page) {
    let process = Process::look();
    if let Some(bytes) = process.resident_bytes {
        page.gauge("process_resident_memory_bytes", "Resident memory.").value(bytes);
    }
    if let Some(ticks) = process.cpu_ticks() {
        let spent = seconds(ticks.saturating_mul(1_000_000_000 / process::TICKS_PER_SECOND));
        page.counter("process_cpu_seconds_total", "CPU time, of user and system.").value(spent);
    }
    if let Some(files) = process.open_files {
        page.gauge("process_open_fds", "Open file descriptors.").value(files);
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format knows doubles only")]
fn count(number: usize) -> f64 {
    number as f64
}
