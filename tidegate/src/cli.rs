//! The command line.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// One binary that carries a service through its worst hour.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One node with embedded storage, ready in a second: redis-cli can use it at once.
    Dev(Dev),
    /// A load generator for any server that speaks RESP.
    Bench(Box<crate::bench::options::Options>),
}

/// Options of `tidegate dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct Dev {
    /// Where the data lives; made if it isn't there.
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub dir: PathBuf,
    /// RESP port on 127.0.0.1; 0 picks a free one.
    #[arg(long, value_name = "PORT", default_value_t = 6379)]
    pub port: u16,
    /// Data shards; fixed when DIR is made. With more than one, a command's keys must stand in one shard.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: u16,
    /// Lanes: threads that own shards and connections. More pay only when one is saturated.
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub lanes: u16,
    /// Password that clients must give by AUTH.
    #[arg(long, value_name = "PASSWORD")]
    pub requirepass: Option<String>,
    /// A snapshot is taken when the write-ahead log has grown by this many MiB since the last.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(64..))]
    pub snapshot_after_mib: u64,
}

/// Parses and runs; errors are told on stderr.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Dev(options) => crate::dev::run(&options),
        Command::Bench(options) => crate::bench::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}
