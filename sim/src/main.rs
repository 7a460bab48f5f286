//! `sim --seed N` replays one run exactly; `sim --seeds A..B` runs many and says what happened in them.

use sim::hunt::hunt;
use sim::world::{Effort, World};
use std::process::ExitCode;

const HELP: &str = "\
usage: sim --seed N                 replay one run; a broken invariant is a panic that names it
       sim --seeds A..B [--threads N]   many runs, then a table of commands and faults
options: --commands N (2000)  commands that take effect in a run
         --crashes N (5)      crashes in a run";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("sim: {why}\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode, String> {
    let mut effort = Effort { commands: 2000, crashes: 5 };
    let (mut seeds, mut threads, mut one) = (None, 2, None);
    for pair in args.chunks(2) {
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
            "--commands" => effort.commands = number()?,
            "--crashes" => effort.crashes = number()?,
            other => return Err(format!("there is no option {other}")),
        }
    }
    if let Some(seed) = one {
        print!("{}", World::run(seed, effort));
        return Ok(ExitCode::SUCCESS);
    }
    let seeds = seeds.ok_or("give --seed or --seeds")?;
    let begun = std::time::Instant::now();
    let outcome = hunt(seeds, effort, threads, 10, || {});
    print!("{}", outcome.tally);
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    for caught in &outcome.caught {
        println!("seed {} broke: {}", caught.seed, caught.what);
    }
    let missing = if outcome.tally.runs >= 200 { outcome.tally.missing() } else { Vec::new() };
    if !missing.is_empty() {
        println!("never happened, so this does not count: {}", missing.join(", "));
    }
    Ok(if outcome.caught.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
