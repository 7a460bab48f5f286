//! The command line.

use crate::log::{Format, Level};
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
    /// How a running node stands: its shards, connections, memory and log.
    Status(Status),
}

/// Options of `tidegate dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct Dev {
    /// Where the data lives; made if it isn't there.
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub dir: PathBuf,
    /// RESP port on 127.0.0.1; 0 picks a free one. 6379 if not given.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Admin HTTP port on 127.0.0.1; 0 picks a free one. If not given: the RESP port + 1, or 7379 beside the default.
    #[arg(long, value_name = "PORT")]
    pub admin_port: Option<u16>,
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
    /// What is logged on stderr.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,
    /// How a line of the log looks.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,
}

/// Options of `tidegate status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// The directory of the node.
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub dir: PathBuf,
    /// Its admin address, instead of the directory.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "dir")]
    pub admin: Option<String>,
    /// The node's own document, as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Dev {
    /// The RESP port to listen on.
    pub fn resp_port(&self) -> u16 {
        self.port.unwrap_or(6379)
    }

    /// The admin port to listen on; none if there is none after the RESP port.
    pub fn admin_port(&self) -> Option<u16> {
        match (self.admin_port, self.port) {
            (Some(port), _) => Some(port),
            (None, None) => Some(7379),
            (None, Some(0)) => Some(0),
            (None, Some(resp)) => resp.checked_add(1),
        }
    }
}

/// Parses and runs; errors are told on stderr.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Dev(options) => crate::dev::run(&options),
        Command::Status(options) => crate::status::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}
