//! Pictures and tables of the gateway's behaviour, as the docs have them: `sim gateway figures DIR` and `sim gateway compare`.

use super::load::Load;
use super::rivals;
use super::scenarios::{self, STORM, capacity, measure_drift, measure_overload, plain, slots, with_limit, with_rival};
use super::server::Work;
use super::theory;
use super::world::{Picking, Setup, World};
use gateway::Policy;
use gateway::config::Limit;
use std::fmt::Write;

/// A curve: its name, its colour, its points.
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Goodput and the 99th percentile against offered load, for each way to limit, as one SVG.
#[must_use]
pub fn overload_picture() -> String {
    let work = Work::Exponential { ms: 10.0 };
    let mut ran = Vec::new();
    for (name, make) in ways() {
        let runs: Vec<Measured> = LOADS.iter().map(|times| offered(make(steady(work, *times)), *times)).collect();
        ran.push((name, runs));
    }
    beside_each_other(&ran)
}

/// Offered load, goodput, and the 99th percentile of answers.
type Measured = (f64, f64, f64);

/// Goodput and the 99th percentile of each, against offered load.
fn beside_each_other(ran: &[(&str, Vec<Measured>)]) -> String {
    let curves = |of: fn(&Measured) -> (f64, f64)| -> Vec<Curve> {
        ran.iter()
            .map(|(name, runs)| Curve { name: (*name).to_owned(), points: runs.iter().map(of).collect() })
            .collect()
    };
    let left = Panel { title: "goodput / capacity", unit: "offered / capacity", x0: 50.0, most: 1.1, steps: 11 };
    let right = Panel {
        title: "99th percentile of answers, ms",
        unit: "offered / capacity",
        x0: 470.0,
        most: 250.0,
        steps: 10,
    };
    picture(&[(left, curves(|run| (run.0, run.1))), (right, curves(|run| (run.0, run.2)))])
}

/// Goodput and the 99th percentile against offered load, for each policy over servers of speed 1, 1, 1 and 0.2.
#[must_use]
pub fn policy_picture() -> String {
    let work = Work::Exponential { ms: 10.0 };
    let policies = [
        ("peak EWMA", Policy::PeakEwma),
        ("least connections", Policy::LeastConnections),
        ("round robin", Policy::RoundRobin),
        ("random", Policy::Random),
        ("ring hash, bound 1.25", Policy::RingHash { bound_percent: 125 }),
        ("Maglev", Policy::Maglev),
    ];
    let mut ran = Vec::new();
    for (name, policy) in policies {
        let runs: Vec<Measured> = LOADS
            .iter()
            .map(|times| {
                let mut setup = scenarios::uneven(policy, Picking::Gateway, work, 10, *times, RUN_MS);
                setup.config = with_limit(setup.config, gateway::config::Admission::default().limit);
                setup.load.clients = STORM;
                offered(setup, *times)
            })
            .collect();
        ran.push((name, runs));
    }
    beside_each_other(&ran)
}

/// The table of ways to limit: overload and drift.
#[must_use]
pub fn compare() -> String {
    let mut out = String::from(
        "| service | limit | goodput at 3x | p99 / no load | recovered, s | goodput before, at and after half speed | .. and double speed |\n|---|---|---|---|---|---|---|\n",
    );
    for (service, work) in works() {
        for (name, make) in ways() {
            let found = measure_overload(make(scenarios::overload(work, 3.0, 5_000)), 1, 5_000);
            let thirds = |speed: f64| {
                let thirds = measure_drift(make(scenarios::drift(work, speed)), 1, speed);
                thirds.map(|(goodput, _)| format!("{goodput:.2}")).join(" ")
            };
            let (half, double) = (thirds(0.5), thirds(2.0));
            let scenarios::Overload { goodput, p99_times, recovered_s } = found;
            let _ = writeln!(
                out,
                "| {service} | {name} | {goodput:.3} | {p99_times:.2} | {recovered_s:.1} | {half} | {double} |"
            );
        }
    }
    out
}

/// The table of predictions, over so many arrivals each.
#[must_use]
pub fn theory(arrivals: u64) -> String {
    let mut out = String::from(
        "| service | slots | utilisation | arrivals | predicted W, ms | measured W, ms (95 %) | off |\n|---|---|---|---|---|---|---|\n",
    );
    let works = [
        ("exponential", Work::Exponential { ms: 10.0 }, 1.0),
        ("fixed", Work::Fixed { ms: 10.0 }, 0.0),
        ("lognormal", Work::LogNormal { ms: 10.0, cv2: 2.0 }, 2.0),
    ];
    for (name, work, cv2) in works {
        for slots in [4, 20] {
            for (seed, utilisation) in (1..).zip([0.5, 0.7, 0.85, 0.95]) {
                let held = theory::hold(work, cv2, slots, utilisation, arrivals, seed);
                let _ = writeln!(
                    out,
                    "| {name} | {slots} | {utilisation} | {} | {:.3} | {:.3} ± {:.3} | {:.1} % |",
                    held.arrivals,
                    held.predicted_ms,
                    held.measured_ms,
                    held.half_ms,
                    100.0 * held.error()
                );
            }
        }
    }
    out
}

/// The table of balance: how much worse than one who knows all, by the part of the capacity.
#[must_use]
pub fn balance(seeds: u64) -> String {
    let parts = [0.5, 0.6, 0.7, 0.8, 0.9];
    let mut out = String::from("| service | slots | 0.5 | 0.6 | 0.7 | 0.8 | 0.9 |\n|---|---|---|---|---|---|---|\n");
    for (name, work) in works() {
        for slots in [1, 4, 20] {
            let ratio = |part: f64| {
                let (ours, best) = scenarios::balance(work, slots, part, 0..seeds, 60_000);
                format!("{:.2}", ours / best)
            };
            let _ = writeln!(out, "| {name} | {slots} | {} |", parts.map(ratio).join(" | "));
        }
    }
    out
}

fn works() -> [(&'static str, Work); 3] {
    [
        ("fixed", Work::Fixed { ms: 10.0 }),
        ("exponential", Work::Exponential { ms: 10.0 }),
        ("lognormal, cv² 4", Work::LogNormal { ms: 10.0, cv2: 4.0 }),
    ]
}

type Way = (&'static str, Box<dyn Fn(Setup) -> Setup>);

/// Ours, none, a fixed one, and the others'.
fn ways() -> Vec<Way> {
    let mut ways: Vec<Way> = vec![
        ("Tidegate", Box::new(|setup| setup)),
        ("none", Box::new(|setup: Setup| Setup { config: with_limit(setup.config.clone(), Limit::Off), ..setup })),
    ];
    for (name, make) in rivals::ALL {
        ways.push((name, Box::new(move |setup| with_rival(setup, make()))));
    }
    ways
}

fn steady(work: Work, times: f64) -> Setup {
    let servers = slots(work)[..1].to_vec();
    let load = Load::steady(times * capacity(&servers), STORM);
    plain(Policy::LeastConnections, servers, load, RUN_MS)
}

/// What is offered, the goodput, and the 99th percentile, of the second half of a run.
fn offered(setup: Setup, times: f64) -> Measured {
    let capacity = capacity(&setup.servers);
    let world = World::run(setup, 1);
    let report = world.report();
    (times, report.goodput(RUN_MS / 2, RUN_MS) / capacity, report.latency_ms(RUN_MS / 2, RUN_MS, 0.99))
}

struct Panel {
    title: &'static str,
    unit: &'static str,
    x0: f64,
    most: f64,
    steps: u32,
}

fn picture(panels: &[(Panel, Vec<Curve>)]) -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 390\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"860\" height=\"390\" fill=\"#fff\"/>\n",
    );
    for (n, curve) in panels[0].1.iter().enumerate() {
        let x = 50 + n * 800 / panels[0].1.len();
        let _ = writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"20\" r=\"4\" fill=\"{}\"/><text x=\"{}\" y=\"24\">{}</text>",
            COLOURS[n],
            x + 8,
            curve.name
        );
    }
    for (panel, curves) in panels {
        panel.draw(&mut out, curves);
    }
    out.push_str("</svg>\n");
    out
}

impl Panel {
    fn draw(&self, out: &mut String, curves: &[Curve]) {
        let x0 = self.x0;
        let _ = writeln!(out, "<text x=\"{x0}\" y=\"56\" font-weight=\"bold\">{}</text>", self.title);
        for step in 0..=self.steps {
            let value = self.most * f64::from(step) / f64::from(self.steps);
            let y = self.y(value);
            let _ = writeln!(
                out,
                "<path d=\"M{x0} {y:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.*}</text>",
                x0 + WIDTH,
                x0 - 6.0,
                y + 4.0,
                usize::from(self.most < 10.0)
            );
        }
        for times in LOADS {
            let _ = writeln!(out, "<text x=\"{:.1}\" y=\"348\" text-anchor=\"middle\">{times}</text>", self.x(times));
        }
        let _ =
            writeln!(out, "<text x=\"{:.1}\" y=\"368\" text-anchor=\"middle\">{}</text>", x0 + WIDTH / 2.0, self.unit);
        for (curve, colour) in curves.iter().zip(COLOURS) {
            let place = |(x, y): &(f64, f64)| format!("{:.1} {:.1}", self.x(*x), self.y(y.min(self.most)));
            let path = curve.points.iter().map(place).collect::<Vec<_>>().join("L");
            let _ = writeln!(out, "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
    }

    fn x(&self, times: f64) -> f64 {
        self.x0 + WIDTH * times / LOADS[LOADS.len() - 1]
    }

    fn y(&self, value: f64) -> f64 {
        330.0 - 260.0 * value / self.most
    }
}

const WIDTH: f64 = 360.0;
const LOADS: [f64; 8] = [0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0];
const RUN_MS: u64 = 6_000;
const COLOURS: [&str; 7] = ["#0072b2", "#999999", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
