//! An HTTP service of known capacity, and open load for whatever stands before it.
//!
//! `bench upstream` works on so many requests at a time, and lets others wait in the order of their coming, whether their clients
//! still wait or not, as services do that read a request and then queue for a worker. `bench load` sends requests at their times whatever
//! becomes of them, with clients that give up and try again: what makes an overloaded service collapse. Both are one thread each.

mod exchange;
mod figures;
mod load;
mod upstream;

use clap::{Parser, Subcommand};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A service on 127.0.0.1; its port is printed. It ends when its stdin does.
    Upstream(Upstream),
    /// Open load, with a line for each second and one for each phase.
    Load(Load),
}

/// Options of `bench upstream`.
#[derive(Clone, Debug, clap::Args)]
pub struct Upstream {
    /// Requests that it works on at a time.
    #[arg(long)]
    pub slots: usize,
    /// The mean time that it works on one.
    #[arg(long)]
    pub service_ms: f64,
    /// That time is drawn: exponential. Else all take the same.
    #[arg(long)]
    pub exponential: bool,
    /// Zero picks a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// Options of `bench load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Load {
    #[arg(long)]
    pub target: SocketAddr,
    /// Requests a second for so many seconds, one phase after the other: `6000x60,1600x20`.
    #[arg(long, value_delimiter = ',', value_parser = phase)]
    pub phases: Vec<Phase>,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    pub path: String,
    /// A client gives up after so long, and closes its connection.
    #[arg(long, default_value_t = 1000)]
    pub timeout_ms: u64,
    /// What failed is tried so many times more, each after 50 to 150 ms times the number of the try.
    #[arg(long, default_value_t = 0)]
    pub retries: u32,
    /// Clients beyond this number don't come: a guard for the machine, and an error.
    #[arg(long, default_value_t = 60_000)]
    pub clients_max: usize,
    /// No line for each second.
    #[arg(long)]
    pub quiet: bool,
}

/// A rate for a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    pub per_s: f64,
    pub seconds: u64,
}

fn phase(text: &str) -> Result<Phase, String> {
    let parsed = text.split_once('x').and_then(|(per_s, seconds)| {
        let per_s: f64 = per_s.parse().ok().filter(|rate: &f64| *rate > 0.0 && *rate < 1e6)?;
        Some(Phase { per_s, seconds: seconds.parse().ok().filter(|seconds| (1..=3600).contains(seconds))? })
    });
    parsed.ok_or_else(|| format!("'{text}' is no phase: a rate and seconds, as 6000x60"))
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Upstream(options) => in_runtime(upstream::run(options)),
        Command::Load(options) => in_runtime(load::run(options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = Result<(), Box<dyn Error>>>) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_rates_and_seconds() {
        assert_eq!(phase("6000x60"), Ok(Phase { per_s: 6000.0, seconds: 60 }));
        for bad in ["6000", "0x5", "5x0", "x", "5x99999"] {
            assert!(phase(bad).is_err(), "{bad}");
        }
    }
}
