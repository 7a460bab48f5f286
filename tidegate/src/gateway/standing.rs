//! How the gateway stands, as JSON: the lanes' reports added up.

use super::control::Control;
use super::report::{EndpointReport, LaneReport, ServiceReport};
use crate::meters::Process;
use crate::meters::process::TICKS_PER_SECOND;
use gateway::State;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The process.
pub fn process(control: &Control, reports: &[LaneReport]) -> Value {
    let sum = |of: fn(&LaneReport) -> u64| reports.iter().map(of).sum::<u64>();
    let process = Process::look();
    json!({
        "pid": std::process::id(),
        "state": if control.draining { "draining" } else { "serving" },
        "lanes": control.config.lanes,
        "connections": sum(|report| report.open as u64),
        "connections_max": control.config.connections_max.min(control.crew.connections_most),
        "cpu_ms": process.cpu_ticks().map(|ticks| ticks * 1000 / TICKS_PER_SECOND),
        "open_files": process.open_files,
        "open_files_max": crate::descriptors::limit(),
        "accepted": sum(|report| report.accepted),
        "refused": sum(|report| report.refused),
        "file": {
            "path": control.file.as_ref().map(|file| file.display().to_string()),
            "reloads": control.reloads,
            "refused": control.reloads_refused,
            "why": control.refused,
        },
    })
}

/// All services, over all lanes.
pub fn services(reports: &[LaneReport]) -> Vec<Value> {
    by_name(reports).into_iter().map(|(name, lanes)| service(name, &lanes)).collect()
}

/// The reports of each service.
pub fn by_name(reports: &[LaneReport]) -> BTreeMap<&str, Vec<&ServiceReport>> {
    let mut all: BTreeMap<&str, Vec<&ServiceReport>> = BTreeMap::new();
    for service in reports.iter().flat_map(|report| &report.services) {
        all.entry(&service.name).or_default().push(service);
    }
    all
}

fn service(name: &str, lanes: &[&ServiceReport]) -> Value {
    let count = |of: fn(&ServiceReport) -> u64| lanes.iter().map(|lane| of(lane)).sum::<u64>();
    let rate = |of: fn(&ServiceReport) -> f64| lanes.iter().map(|lane| of(lane)).sum::<f64>();
    // The means over lanes, weighted by what was admitted there.
    let admitted = rate(|lane| lane.meter.admitted_per_s);
    let mean = |of: fn(&ServiceReport) -> f64| match admitted > 0.0 {
        true => lanes.iter().map(|lane| of(lane) * lane.meter.admitted_per_s).sum::<f64>() / admitted,
        false => 0.0,
    };
    let mut endpoints: BTreeMap<u32, Vec<&EndpointReport>> = BTreeMap::new();
    for endpoint in lanes.iter().flat_map(|lane| &lane.endpoints) {
        endpoints.entry(endpoint.view.id.0).or_default().push(endpoint);
    }
    json!({
        "name": name,
        "inside": count(|lane| u64::from(lane.inside)),
        "waiting": count(|lane| lane.waiting as u64),
        "limit": lanes.iter().map(|lane| lane.meter.limit).fold(0u32, u32::saturating_add),
        "offered_per_s": rate(|lane| lane.meter.offered_per_s),
        "admitted_per_s": admitted,
        "shed_per_s": rate(|lane| lane.meter.shed_per_s),
        "mean_inside": rate(|lane| lane.meter.inside),
        "mean_inside_ms": mean(|lane| lane.meter.inside_ms),
        "mean_wait_ms": mean(|lane| lane.meter.wait_ms),
        "mean_waiting": rate(|lane| lane.meter.waiting),
        "no_load_ms": mean(|lane| lane.meter.no_load_ms),
        "inside_cv2": mean(|lane| lane.meter.inside_cv2),
        "arrival_cv2": mean(|lane| lane.meter.arrival_cv2),
        "residual": lanes.iter().map(|lane| lane.meter.residual).fold(0.0, f64::max),
        "answers": (1..6).map(|class| (format!("{class}xx"), lanes.iter().map(|lane| lane.answers[class]).sum::<u64>().into())).collect::<serde_json::Map<String, Value>>(),
        "shed": count(|lane| lane.shed),
        "retries": count(|lane| lane.retried),
        "endpoints": endpoints.values().map(|lanes| endpoint(lanes)).collect::<Vec<_>>(),
    })
}

/// An endpoint over all lanes; its state is the worst that a lane sees.
fn endpoint(lanes: &[&EndpointReport]) -> Value {
    let count = |of: fn(&EndpointReport) -> u64| lanes.iter().map(|lane| of(lane)).sum::<u64>();
    let worst = lanes.iter().map(|lane| lane.view.state).max_by_key(|state| badness(*state)).unwrap_or(State::Active);
    json!({
        "address": lanes[0].name,
        "weight": lanes[0].view.weight,
        "state": state_name(worst),
        "in_flight": count(|lane| u64::from(lane.view.in_flight)),
        "requests": count(|lane| lane.view.requests),
        "errors": count(|lane| lane.view.errors),
        "latency_us": lanes.iter().map(|lane| lane.view.latency_us).max(),
        "idle_connections": count(|lane| lane.idle as u64),
    })
}

fn badness(state: State) -> u8 {
    match state {
        State::Active => 0,
        State::Draining => 1,
        State::BreakerOpen => 2,
        State::Ejected => 3,
        State::Failing => 4,
    }
}

pub fn state_name(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Failing => "failing",
        State::Ejected => "ejected",
        State::BreakerOpen => "breaker_open",
        State::Draining => "draining",
    }
}
