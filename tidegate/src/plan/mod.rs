//! `tidegate plan`: how long requests wait at how many servers, how many a target wants, and what breaks first when load grows.
//!
//! What is known of a service comes from a running gateway, which measures it, and from the command line, which wins: so it answers
//! for what runs, and for what might. The maths is `gateway::plan`.

mod measured;
mod page;

use crate::cli::Plan as Options;
use gateway::plan::{Demand, Fleet, Grows, Point, Resource, Target, Usl};
use measured::Measured;
use std::error::Error;
use std::io::{IsTerminal, Write};

/// All that is planned with.
#[derive(Debug)]
struct Plan {
    demand: Demand,
    fleet: Fleet,
    target: Option<Target>,
    /// Times the load of today.
    times: Vec<f64>,
    resources: Vec<(String, Resource)>,
    measured: Option<Measured>,
}

/// Prints the plan.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let plan = Plan::of(options)?;
    let mut stdout = std::io::stdout().lock();
    let text = if options.json {
        format!("{}\n", page::json(&plan))
    } else {
        page::text(&plan, crate::status::paint(stdout.is_terminal()))
    };
    stdout.write_all(text.as_bytes())?;
    Ok(())
}

/// Beyond these numbers nobody plans, and below them nothing is measured.
const LEAST: f64 = 1e-9;
const MOST: f64 = 1e12;

impl Plan {
    fn of(options: &Options) -> Result<Self, Box<dyn Error>> {
        let measured = options
            .admin
            .as_deref()
            .map(|admin| Measured::ask(admin, options.service.as_deref()).map_err(|error| format!("{admin}: {error}")))
            .transpose()?;
        let servers = options.servers.or(measured.as_ref().map(|known| known.servers)).unwrap_or(1);
        let slots_each = options.slots_each;
        let rate_per_s = given("--rate", options.rate, measured.as_ref().map(|known| known.rate_per_s))?;
        let arrival_cv2 = options.arrival_cv2.or(measured.as_ref().map(|known| known.arrival_cv2)).unwrap_or(1.0);
        let service_cv2 = options.service_cv2.or(measured.as_ref().map(|known| known.inside_cv2)).unwrap_or(1.0);
        let slots = servers.saturating_mul(slots_each);
        let unserved = Demand { rate_per_s, service_ms: 0.0, service_cv2, arrival_cv2 };
        let known = measured.as_ref().map(|known| known.service_ms(&unserved, slots));
        let service_ms = given("--service-ms", options.service_ms, known)?;
        let demand = Demand { service_ms, ..unserved };
        let uneven = [service_cv2, arrival_cv2].iter().all(|cv2| (0.0..=MOST).contains(cv2));
        if !uneven {
            return Err("--service-cv2 and --arrival-cv2 are 0 or more: 0 if all are alike, 1 if exponential".into());
        }
        let law = law(&options.throughput)?;
        let fleet = Fleet { servers, slots_each, law };
        let target = target(options)?;
        let mut resources = vec![("slots".to_owned(), demand.load(), f64::from(fleet.slots()), Grows::WithRate)];
        resources.extend(measured.iter().flat_map(Measured::resources));
        resources.extend(options.resource.iter().cloned());
        let numbered = resources.into_iter().enumerate();
        let resources = numbered.map(|(id, (name, used, most, grows))| (name, Resource { id, used, most, grows }));
        Ok(Self { demand, fleet, target, times: options.times.clone(), resources: resources.collect(), measured })
    }

    /// The fewest servers that meet the target at so many times the load.
    fn servers_at(&self, times: f64) -> Option<u32> {
        self.fleet.servers_for(&self.more(times), self.target?)
    }

    fn more(&self, times: f64) -> Demand {
        Demand { rate_per_s: self.demand.rate_per_s * times, ..self.demand }
    }
}

/// What was given, or else is known.
fn given(name: &str, given: Option<f64>, known: Option<f64>) -> Result<f64, Box<dyn Error>> {
    match given.or(known) {
        Some(value) if (LEAST..=MOST).contains(&value) => Ok(value),
        Some(value) if given.is_some() => Err(format!("{name} is {value}, which can't be").into()),
        Some(_) => {
            Err(format!("the gateway has measured nothing in the last ten seconds: put load on it, or give {name}")
                .into())
        }
        None => {
            Err(format!("{name} is not known: give it, or --admin with the address of a gateway that measures").into())
        }
    }
}

fn target(options: &Options) -> Result<Option<Target>, Box<dyn Error>> {
    let target = match (options.mean_ms, options.wait_ms) {
        (Some(most), _) => Target::MeanMs(most),
        (None, Some(most)) => Target::WaitMs { most, but: options.but },
        (None, None) => return Ok(None),
    };
    let sound = match target {
        Target::MeanMs(most) => (LEAST..=MOST).contains(&most),
        Target::WaitMs { most, but } => (0.0..=MOST).contains(&most) && but > 0.0 && but < 1.0,
    };
    if sound { Ok(Some(target)) } else { Err("a target is a time above 0 ms, and --but a part between 0 and 1".into()) }
}

fn law(points: &[(f64, f64)]) -> Result<Option<Usl>, Box<dyn Error>> {
    if points.is_empty() {
        return Ok(None);
    }
    let points: Vec<Point> = points.iter().map(|(n, per_s)| Point { n: *n, per_s: *per_s }).collect();
    let law = Usl::fit(&points);
    law.map(Some)
        .ok_or_else(|| "--throughput tells too little: give at least three different numbers of servers".into())
}
