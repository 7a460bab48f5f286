//! The plan for people, and for programs.

use super::Plan;
use crate::status::table::{Cell, Paint, Tone, aligned, head};
use gateway::plan::{Forecast, Strain, Target, strains};
use serde_json::{Value, json};

const COLUMNS: [&str; 7] = ["load", "rate/s", "utilisation", "wait", "W", "servers wanted", "what breaks first"];

/// What is named of what breaks.
const NAMED_COUNT_MAX: usize = 3;

/// Lines for a terminal.
pub fn text(plan: &Plan, paint: Paint) -> String {
    let (demand, fleet) = (&plan.demand, &plan.fleet);
    let name = plan.measured.as_ref().map_or("the service", |known| &known.service);
    let mut out = format!(
        "{name}: {:.1} requests/s (cv2 {:.2}) of {:.2} ms (cv2 {:.2}) at {} servers with {} slots each\n",
        demand.rate_per_s, demand.arrival_cv2, demand.service_ms, demand.service_cv2, fleet.servers, fleet.slots_each
    );
    if let Some(law) = fleet.law {
        let peak = law.peak().map_or(String::new(), |peak| format!("; more than {peak:.0} servers do less"));
        out += &format!("servers: contention {:.3}, coherency {:.5}{peak}\n", law.contention, law.coherency);
    }
    if let Some(known) = &plan.measured {
        let little = known.rate_per_s * known.total_ms / 1e3;
        out += &format!(
            "measured: W {:.2} ms, of which {:.2} in the gateway's line; L {:.2}, λW {little:.2}\n",
            known.total_ms, known.wait_ms, known.total
        );
        if known.hides_waits(fleet.slots()) {
            // What would be predicted from it is what was measured.
            out += &format!(
                "the gateway lets in more than there are slots: {:.2} ms is the service that explains what was measured\n",
                demand.service_ms
            );
        } else if let Some(forecast) = demand.at(fleet.slots()) {
            let off = (forecast.inside_ms / known.total_ms - 1.0) * 100.0;
            out += &format!("predicted: W {:.2} ms, {off:+.1} %\n", forecast.inside_ms);
        }
    }
    let target = match plan.target {
        Some(Target::MeanMs(most)) => format!("wanted: W of at most {most} ms\n"),
        Some(Target::WaitMs { most, but }) => format!("wanted: all but {} % wait at most {most} ms\n", but * 100.0),
        None => String::new(),
    };
    out += &target;
    out.push('\n');
    let rows: Vec<Vec<Cell>> =
        std::iter::once(head(&COLUMNS)).chain(plan.times.iter().map(|t| row(plan, *t))).collect();
    out + &aligned(&rows, paint)
}

fn row(plan: &Plan, times: f64) -> Vec<Cell> {
    let forecast = plan.fleet.forecast(&plan.more(times), plan.fleet.servers);
    let ms = |of: fn(&Forecast) -> f64| {
        forecast.as_ref().map_or("without end".to_owned(), |one| format!("{:.2} ms", of(one)))
    };
    let tone = if forecast.is_some() { Tone::Usual } else { Tone::Broken };
    let busy = plan.more(times).load() / f64::from(plan.fleet.slots()) * 100.0;
    let servers = match plan.target {
        None => "-".to_owned(),
        Some(_) => plan.servers_at(times).map_or("no number".to_owned(), |servers| servers.to_string()),
    };
    let breaks = broken(plan, times);
    let (breaks, broken) = match breaks.is_empty() {
        true => (first(plan), Tone::Usual),
        false => (breaks, Tone::Broken),
    };
    vec![
        (format!("{times}x"), Tone::Usual),
        (format!("{:.1}", plan.more(times).rate_per_s), Tone::Usual),
        (format!("{busy:.1} %"), tone),
        (ms(|one| one.wait_ms), tone),
        (ms(|one| one.inside_ms), tone),
        (servers, Tone::Usual),
        (breaks, broken),
    ]
}

fn strained(plan: &Plan, times: f64) -> Vec<Strain> {
    let resources: Vec<_> = plan.resources.iter().map(|(_, resource)| *resource).collect();
    strains(&plan.demand, plan.fleet.slots(), &resources, times)
}

/// What is used up at so many times the load, first what is first.
fn broken(plan: &Plan, times: f64) -> String {
    let all = strained(plan, times);
    let broken = all.iter().filter(|strain| strain.utilisation >= 1.0).take(NAMED_COUNT_MAX);
    broken.map(|strain| named(plan, strain)).collect::<Vec<_>>().join(", ")
}

/// What will be, where nothing is yet.
fn first(plan: &Plan) -> String {
    strained(plan, 1.0).first().map_or("-".to_owned(), |strain| format!("nothing; first {}", named(plan, strain)))
}

fn named(plan: &Plan, strain: &Strain) -> String {
    let name = plan.resources.get(strain.id).map_or("?", |(name, _)| name);
    match strain.bears.is_finite() {
        true => format!("{name} (at {:.2}x)", strain.bears),
        false => format!("{name} (never)"),
    }
}

/// One object for programs; names end in their units.
pub fn json(plan: &Plan) -> Value {
    let forecast = |times: f64| {
        let forecast = plan.fleet.forecast(&plan.more(times), plan.fleet.servers);
        let strains = strained(plan, times).into_iter().map(|strain| {
            let name = plan.resources.get(strain.id).map(|(name, _)| name);
            json!({"resource": name, "utilisation": finite(strain.utilisation), "bears_times": finite(strain.bears)})
        });
        json!({
            "times": times,
            "rate_per_s": plan.more(times).rate_per_s,
            "utilisation": plan.more(times).load() / f64::from(plan.fleet.slots()),
            "waits": forecast.map(|one| one.waits),
            "wait_ms": forecast.map(|one| one.wait_ms),
            "inside_ms": forecast.map(|one| one.inside_ms),
            "inside": forecast.map(|one| one.inside),
            "wait_p99_ms": forecast.map(|one| one.wait_ms_of(0.01)),
            "servers_wanted": plan.servers_at(times),
            "strains": strains.collect::<Vec<_>>(),
        })
    };
    json!({
        "service": plan.measured.as_ref().map(|known| &known.service),
        "rate_per_s": plan.demand.rate_per_s,
        "service_ms": plan.demand.service_ms,
        "service_cv2": plan.demand.service_cv2,
        "arrival_cv2": plan.demand.arrival_cv2,
        "servers": plan.fleet.servers,
        "slots_each": plan.fleet.slots_each,
        "usl": plan.fleet.law.map(|law| json!({
            "one_per_s": law.one_per_s, "contention": law.contention, "coherency": law.coherency, "peak": law.peak(),
        })),
        "measured": plan.measured.as_ref().map(|known| json!({
            "inside_ms": known.total_ms, "wait_ms": known.wait_ms, "inside": known.total,
        })),
        "forecasts": plan.times.iter().map(|times| forecast(*times)).collect::<Vec<_>>(),
    })
}

/// JSON knows no infinity.
fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}
