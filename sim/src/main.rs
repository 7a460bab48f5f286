//! `sim --seed N` replays one run exactly; `sim --seeds A..B` runs many and says what happened in them.

use sim::hunt::hunt;
use sim::tally::{self, Tally};
use sim::{cluster, gateway, group, locks, world};
use std::process::ExitCode;

const HELP: &str = "\
usage: sim [WORLD] --seed N                    replay one run; a broken invariant is a panic that names it
       sim [WORLD] --seeds A..B [--threads N]  many runs, then a table of what happened
worlds:  node     one node: real lanes, storage and sessions over a faulty disk, against a model (the default)
         group    replicas of one shard: the real Raft core over a faulty network, disks and clocks
         locks    registers and locks: the real planes over a faulty network, disks and clocks, with clients that hold, pause and vanish
         storm    the same, with a lock or two that all want, while voters change and machines fail all the time
         gateway  the HTTP gateway's decisions between clients and servers that queue, die, slow down and come back
         cluster  whole nodes: real lanes, storage and peer messages over faulty links, disks and clocks; histories checked
options: --commands N (2000)  node, cluster (500): commands that take effect or are answered in a run
         --crashes N (5)      node: crashes in a run
         --steps N (10000)    group, locks, storm (4000): inputs to replicas or planes in a run
         --ms N (6000)        gateway: virtual milliseconds of a run
       sim gateway figures DIR      the pictures of docs/gateway-overload.md
       sim gateway compare          its table of other algorithms
       sim gateway theory N         its table of predictions, over N arrivals each
       sim gateway balance N        its table of balance, over N seeds each";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("sim: {why}\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// Which world is run, and how long.
#[derive(Clone, Copy)]
enum Kind {
    Node(world::Effort),
    Group(group::Effort),
    Locks(locks::Effort),
    Cluster(cluster::Effort),
    Gateway(gateway::Effort),
}

impl Kind {
    fn run(self, seed: u64) -> Tally {
        match self {
            Self::Node(effort) => world::World::run(seed, effort),
            Self::Group(effort) => group::World::run(seed, effort),
            Self::Locks(effort) => locks::World::run(seed, effort),
            Self::Cluster(effort) => cluster::World::run(seed, effort),
            Self::Gateway(effort) => gateway::run(seed, effort),
        }
    }

    /// With an option that this world has.
    fn with(mut self, option: &str, value: u64) -> Result<Self, String> {
        match (option, &mut self) {
            ("--commands", Self::Node(effort)) => effort.commands = value,
            ("--crashes", Self::Node(effort)) => effort.crashes = value,
            ("--steps", Self::Group(effort)) => effort.steps = value,
            ("--steps", Self::Locks(effort)) => effort.steps = value,
            ("--commands", Self::Cluster(effort)) => effort.commands = value,
            ("--ms", Self::Gateway(effort)) => effort.ms = value,
            _ => return Err(format!("this world has no option {option}")),
        }
        Ok(self)
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Node(_) => tally::OF_A_NODE,
            Self::Group(_) => group::REQUIRED,
            Self::Locks(_) => locks::REQUIRED,
            Self::Cluster(_) => cluster::REQUIRED,
            Self::Gateway(_) => gateway::REQUIRED,
        }
    }
}

const NODE: Kind = Kind::Node(world::Effort { commands: 2000, crashes: 5 });

fn run(args: &[String]) -> Result<ExitCode, String> {
    if let [world, what, rest @ ..] = args
        && world == "gateway"
        && !what.starts_with("--")
    {
        return draw(what, rest);
    }
    let (mut kind, options) = match args.first().map(String::as_str) {
        Some("cluster") => (Kind::Cluster(cluster::Effort { commands: 500 }), &args[1..]),
        Some("gateway") => (Kind::Gateway(gateway::Effort { ms: 6_000 }), &args[1..]),
        Some("locks") => (Kind::Locks(locks::Effort::USUAL), &args[1..]),
        Some("storm") => (Kind::Locks(locks::Effort::STORM), &args[1..]),
        Some("group") => (Kind::Group(group::Effort { steps: 10_000 }), &args[1..]),
        Some("node") => (NODE, &args[1..]),
        _ => (NODE, args),
    };
    let (mut seeds, mut threads, mut one) = (None, 2, None);
    for pair in options.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not '{value}'"));
        match name.as_str() {
            "--seed" => one = Some(number()?),
            "--seeds" => {
                let (from, to) = value.split_once("..").ok_or("--seeds needs a range such as 0..1000")?;
                let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is no number"));
                seeds = Some(parse(from)?..parse(to)?);
            }
            "--threads" => threads = usize::try_from(number()?).map_err(|_| "too many threads")?,
            option => kind = kind.with(option, number()?)?,
        }
    }
    if let Some(seed) = one {
        print!("{}", kind.run(seed));
        return Ok(ExitCode::SUCCESS);
    }
    let seeds = seeds.ok_or("give --seed or --seeds")?;
    let begun = std::time::Instant::now();
    let outcome = hunt(seeds, threads, 10, || {}, |seed| kind.run(seed));
    print!("{}", outcome.tally);
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    for caught in &outcome.caught {
        println!("seed {} broke: {}", caught.seed, caught.what);
    }
    let missing = if outcome.tally.runs >= 200 { outcome.tally.missing(kind.required()) } else { Vec::new() };
    if !missing.is_empty() {
        println!("never happened, so this does not count: {}", missing.join(", "));
    }
    Ok(if outcome.caught.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pictures and tables of the gateway, instead of a campaign.
fn draw(what: &str, rest: &[String]) -> Result<ExitCode, String> {
    match (what, rest) {
        ("figures", [dir]) => {
            let pictures = [
                ("gateway-overload.svg", gateway::figures::overload_picture()),
                ("gateway-policies.svg", gateway::figures::policy_picture()),
            ];
            for (name, picture) in pictures {
                let path = std::path::Path::new(dir).join(name);
                std::fs::write(&path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        ("compare", []) => print!("{}", gateway::figures::compare()),
        ("theory", [arrivals]) => {
            let arrivals = arrivals.parse().map_err(|_| format!("'{arrivals}' is no number"))?;
            print!("{}", gateway::figures::theory(arrivals));
        }
        ("balance", [seeds]) => {
            let seeds = seeds.parse().map_err(|_| format!("'{seeds}' is no number"))?;
            print!("{}", gateway::figures::balance(seeds));
        }
        _ => return Err(format!("gateway has no {what} with {} arguments", rest.len())),
    }
    Ok(ExitCode::SUCCESS)
}
