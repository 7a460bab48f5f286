//! The command line of the gateway, and of planning with what it measures.

use crate::log::{Format, Level};
use gateway::plan::Grows;
use std::path::PathBuf;

/// What `tidegate gateway` does but serving.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum GatewayCommand {
    /// A running gateway, each second anew: for every service what comes, Little's law, what is shed, and how its endpoints stand.
    ///
    /// Up and down choose the service whose endpoints are shown; q ends. Where stdout is no terminal it is shown once.
    #[command(after_long_help = GATEWAY_TOP_EXAMPLES)]
    Top(GatewayTop),
}

/// Options of `tidegate gateway top`.
#[derive(Debug, Clone, clap::Args)]
pub struct GatewayTop {
    /// The gateway's admin address.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7379")]
    pub admin: String,
    /// Shows it once.
    #[arg(long)]
    pub once: bool,
}

/// Options of `tidegate gateway`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Gateway {
    #[command(subcommand)]
    pub command: Option<GatewayCommand>,
    /// The configuration, in TOML; followed while it runs.
    #[arg(long, value_name = "FILE", required_unless_present = "demo")]
    pub config: Option<PathBuf>,
    /// Says whether the file is sound, and ends.
    #[arg(long, conflicts_with = "demo")]
    pub validate: bool,
    /// Without a file: before two example upstreams that tell what they get, on 127.0.0.1:8080.
    #[arg(long, conflicts_with = "config")]
    pub demo: bool,
    /// Port of the demo on 127.0.0.1; 0 picks a free one.
    #[arg(long, value_name = "PORT", requires = "demo")]
    pub port: Option<u16>,
    /// What is logged on stderr.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,
    /// How a line of the log looks.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: Format,
}

/// Options of `tidegate plan`.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// The admin address of a gateway that measures the service; it is asked twice, a second apart.
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// Which service, if the gateway has several.
    #[arg(long, value_name = "NAME", requires = "admin")]
    pub service: Option<String>,
    /// Requests a second.
    #[arg(long, value_name = "PER_S")]
    pub rate: Option<f64>,
    /// How long a server works on a request, on average, when it doesn't wait.
    #[arg(long, value_name = "MS")]
    pub service_ms: Option<f64>,
    /// How uneven that is: the variance over the square of the mean. 0 if all take the same, 1 if exponential. 1 if nobody knows.
    #[arg(long, value_name = "CV2")]
    pub service_cv2: Option<f64>,
    /// The same of the times between arrivals: 1 if requests come by chance, more if in bursts. 1 if nobody knows.
    #[arg(long, value_name = "CV2")]
    pub arrival_cv2: Option<f64>,
    /// Servers; the gateway's endpoints of the service, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub servers: Option<u32>,
    /// Requests that one server works on at a time: its workers, threads, or connections to what it waits for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots_each: u32,
    /// Wanted: the mean time from arrival to answer, at most.
    #[arg(long, value_name = "MS", conflicts_with = "wait_ms")]
    pub mean_ms: Option<f64>,
    /// Wanted: nearly nobody waits longer; --but says how many may.
    #[arg(long, value_name = "MS")]
    pub wait_ms: Option<f64>,
    /// The part of requests that may wait longer: 0.01 for the 99th percentile.
    #[arg(long, value_name = "PART", default_value_t = 0.01)]
    pub but: f64,
    /// What so many servers do at most, measured; three of them or more.
    #[arg(long, value_name = "N=PER_S", value_parser = throughput)]
    pub throughput: Vec<(f64, f64)>,
    /// Times the load to plan for.
    #[arg(long, value_name = "TIMES", value_delimiter = ',', default_values_t = [1.0, 2.0, 3.0], value_parser = times)]
    pub times: Vec<f64>,
    /// Another thing that has an end: what is used of how much, growing with the rate, or with the requests inside.
    #[arg(long, value_name = "NAME=USED/MOST[:inside]", value_parser = resource)]
    pub resource: Vec<NamedResource>,
    /// For programs: one JSON object on a line.
    #[arg(long)]
    pub json: bool,
}

/// A name, what is used, how much there is, and with what the use grows.
pub type NamedResource = (String, f64, f64, Grows);

fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
}

fn times(text: &str) -> Result<f64, String> {
    positive(text).filter(|times| *times <= 1e6).ok_or_else(|| "give a number above 0, as 2 or 1.5".to_owned())
}

fn throughput(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once('=').and_then(|(n, per_s)| Some((positive(n)?, positive(per_s)?)));
    parts.ok_or_else(|| "give a number of servers and what they do in a second, as 4=3100".to_owned())
}

fn resource(text: &str) -> Result<NamedResource, String> {
    let (rest, grows) = text.strip_suffix(":inside").map_or((text, Grows::WithRate), |rest| (rest, Grows::WithInside));
    let parts = rest.split_once('=').and_then(|(name, use_of)| {
        let (used, most) = use_of.split_once('/')?;
        Some((name.to_owned(), positive(used)?, positive(most)?, grows))
    });
    parts
        .filter(|(name, ..)| !name.is_empty())
        .ok_or_else(|| "give a name, what is used and of how much, as db=300/500".to_owned())
}

pub const GATEWAY_EXAMPLES: &str = "\
Examples:
  tidegate gateway --demo                              a first look, then `curl -i http://127.0.0.1:8080/`
  tidegate gateway --config gateway.toml               serves by the file
  tidegate gateway --config gateway.toml --validate    says whether the file is sound
  tidegate gateway top                                 how a running one does, each second";

pub const PLAN_EXAMPLES: &str = "\
Examples:
  tidegate plan --rate 1700 --service-ms 20 --slots-each 8 --servers 5 --mean-ms 25
      on paper: W today, the servers that keep it at 25 ms, and what breaks at 2 and 3 times the load
  tidegate plan --admin 127.0.0.1:7379 --service shop --slots-each 8 --wait-ms 10
      as a gateway measures it, so that all but 1 % wait no longer than 10 ms
  tidegate plan --rate 900 --service-ms 8 --slots-each 4 --servers 2 --mean-ms 12 --throughput 1=480 --throughput 2=900 --throughput 4=1500
      with servers that slow each other down";

const GATEWAY_TOP_EXAMPLES: &str = "\
Examples:
  tidegate gateway top                           the gateway whose admin endpoint is at 127.0.0.1:7379
  tidegate gateway top --admin 10.0.0.7:7379     another
  tidegate gateway top --once                    one look, for a script";
