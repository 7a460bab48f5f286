//! What `tidegate bench` can be told: the flags, and the small languages of their values.
//!
//! Each value is parsed into a type of its own here, so that what is wrong with a flag is said before anything is sent.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Options of `tidegate bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The server under load. Default: the node whose endpoints.json lies in --dir, else 127.0.0.1:6379.
    #[arg(long, value_name = "HOST:PORT")]
    pub target: Option<String>,
    /// Data directory of a local node, to find its port when there is no --target.
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub dir: PathBuf,
    /// Password, sent by AUTH on every connection.
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Connections, over all threads.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Threads of the generator. Default: half of this machine's CPUs, and at most 8.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: Option<u32>,
    /// Requests that one connection may have in flight.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub pipeline: u32,
    /// How long to measure: a number with its unit, ms, s, m or h.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, conflicts_with = "requests")]
    pub duration: Duration,
    /// Measure this many requests, instead of a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Load before the measurement, which no figure counts.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Different keys: key:000000000000 up to this many.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub keys: u64,
    /// How keys are chosen: uniform, or zipf:S with the exponent S (0.99 is what YCSB calls zipfian).
    #[arg(long, value_name = "LAW", default_value = "uniform")]
    pub key_distribution: KeyLaw,
    /// Bytes of a value.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=536_870_912))]
    pub value_bytes: u32,
    /// Commands and their weights: get, set, incr, del, exists, ping, mget, mset (ten keys each).
    #[arg(long, value_name = "NAME=WEIGHT,..", default_value = "get=90,set=10", conflicts_with = "command")]
    pub mix: String,
    /// One command instead of a mix. In a word, {} is a key's number; a word that is {} alone is a value.
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// Open loop: this many requests per second are due, whether or not the target keeps up.
    #[arg(long, value_name = "OPS", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: Option<u64>,
    /// When the requests of --rate are due: as independent users come (poisson), or at equal distances (uniform).
    #[arg(long, value_name = "LAW", default_value = "poisson", requires = "rate")]
    pub arrivals: Arrivals,
    /// Seed of all chance: keys, values, mix and arrivals.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object on stdout instead of the table.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Threads to use: never more than connections.
    #[must_use]
    pub fn threads(&self) -> u32 {
        let cpus = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        self.threads.unwrap_or((cpus / 2).clamp(1, 8)).min(self.connections)
    }
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyLaw {
    Uniform,
    /// With the exponent.
    Zipf(f64),
}

impl FromStr for KeyLaw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(exponent) = text.strip_prefix("zipf:") else {
            return match text {
                "uniform" => Ok(Self::Uniform),
                "zipf" => Ok(Self::Zipf(0.99)),
                _ => Err("uniform or zipf:EXPONENT, such as zipf:0.99".into()),
            };
        };
        match exponent.parse::<f64>() {
            Ok(exponent) if exponent > 0.0 && exponent <= 10.0 => Ok(Self::Zipf(exponent)),
            _ => Err("the exponent of zipf is above 0 and at most 10".into()),
        }
    }
}

/// When requests of an open loop are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Independent of each other, with exponential distances.
    Poisson,
    /// At equal distances.
    Uniform,
}

/// A time with its unit: `500ms`, `10s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a whole number and its unit: 500ms, 10s, 2m or 1h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a whole number and its unit: 500ms, 10s, 2m or 1h")?;
    let time = number.checked_mul(unit_ms).map(Duration::from_millis).filter(|time| *time <= TIME_MAX);
    time.ok_or_else(|| "at most 24h".into())
}

/// Latencies are histograms of nanoseconds since the start: a day keeps them far from any edge.
const TIME_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["10", "s", "-1s", "1.5s", "10 s", "25h", "99999999999999999999h", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_law_of_keys() {
        assert_eq!("uniform".parse(), Ok(KeyLaw::Uniform));
        assert_eq!("zipf:1.2".parse(), Ok(KeyLaw::Zipf(1.2)));
        for wrong in ["zipf:", "zipf:0", "zipf:nan", "zipf:inf", "zipf:-1", "pareto"] {
            assert!(wrong.parse::<KeyLaw>().is_err(), "{wrong}");
        }
    }
}
