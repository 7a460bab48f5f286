//! The command line.

use crate::log::{Format, Level};
use crate::settings::OnLostLeader;
use clap::{CommandFactory, Parser, Subcommand};
use consensus::lock::GENERATION_MAX;
use gateway::plan::Grows;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// One binary that carries a service through its worst hour.
///
/// Today it is a durable store that speaks Redis' protocol: a write is on disk before it is acknowledged.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, after_long_help = TOP_EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One node with embedded storage, ready in a second: redis-cli can use it at once.
    ///
    /// It recovers what DIR holds, listens on 127.0.0.1 and prints one line on stdout when it serves, with its address
    /// and pid; logs go to stderr. A write is on disk before its reply, and no setting turns that off. SIGTERM or
    /// Ctrl-C ends it gracefully, with exit code 0.
    #[command(after_long_help = DEV_EXAMPLES)]
    Dev(Dev),
    /// A real cluster of child processes on this machine, in the foreground.
    ///
    /// Node i listens on 127.0.0.1 at BASE + 10i, and keeps its configuration, log and data in DIR/node-i. Any node serves
    /// any key. One line on stdout says when every shard has a leader. A node that dies stays dead until `tidegate server`
    /// starts it again; all end with this process.
    #[command(after_long_help = LOCAL_EXAMPLES)]
    Local(Local),
    /// One node of a cluster, by its configuration file.
    ///
    /// The nodes of a cluster know each other by id, and prove to each other that they know its secret. A node begins
    /// with an empty directory only when the cluster is being made, with --bootstrap; one that has lost its data must not
    /// come back under its old id, since it could forget what it voted for.
    #[command(after_long_help = SERVER_EXAMPLES)]
    Server(Server),
    /// Changes of a running cluster.
    ///
    /// A change is agreed on by the cluster and carried out by it, shard by shard; the command tells how far it is, and
    /// may be stopped at any time without stopping the change.
    #[command(subcommand, after_long_help = CLUSTER_EXAMPLES)]
    Cluster(ClusterCommand),
    /// The HTTP gateway: balances requests over the endpoints of services.
    ///
    /// It goes by a TOML file: where to listen, which requests go to which service, and the endpoints of each. One line on stdout
    /// says when it serves, with its addresses and pid; logs go to stderr. SIGTERM or Ctrl-C ends it gracefully: requests that
    /// run are answered.
    #[command(after_long_help = GATEWAY_EXAMPLES)]
    Gateway(Gateway),
    /// How many servers a service needs, how long its requests wait, and what breaks first when load grows.
    ///
    /// A running gateway measures a service: its rate, how long it takes and how unevenly. What is given here wins, so that it can
    /// be asked of what doesn't run too. Waits are Erlang's (M/M/c) with Allen's and Cunneen's correction; --throughput fits
    /// the universal scalability law, by which more servers are slower each.
    #[command(after_long_help = PLAN_EXAMPLES)]
    Plan(Box<Plan>),
    /// How a running node stands, or its whole cluster: nodes, shards, leaders, lag.
    ///
    /// In a cluster any node can be asked; who doesn't answer it is shown as unreachable, within a second.
    /// The node is found by DIR/endpoints.json, which it writes when it serves, or by the admin address of its ready line.
    /// If none runs there, that is said on stderr, and the exit code is 1.
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status(Status),
    /// Who holds which locks, who waits for them, and how long that lasts.
    ///
    /// The node that is asked names the locks that it knows to be held; how each stands, a majority is asked. The node is found as by
    /// `tidegate status`. For a lock whose holder's time is over, `left` is 0: whoever asks next gets it.
    #[command(after_long_help = LOCKS_EXAMPLES)]
    Locks(Locks),
    /// Load for any server that speaks RESP: throughput, latencies, errors.
    ///
    /// Without --rate the loop is closed: each connection sends when it has its reply, so the figures say what the target
    /// can do, and its latency is service time. With --rate the loop is open: requests are due at their times whatever
    /// the target does, and response time counts from then, so a stall counts for all that were due in it. The output
    /// says when the generator itself was late, or too busy to be trusted.
    #[command(after_long_help = BENCH_EXAMPLES)]
    Bench(Box<crate::bench::options::Options>),
    /// Whether a recorded history is linearizable; if not, a small part of it that shows why.
    ///
    /// FILE has one operation of a client on each line, as JSON: {"client","op","key","args","result","invoke_ns","return_ns"},
    /// with return_ns null where no reply came; FORMAT.md says more. The history is linearizable if all operations can be put
    /// in one order in which each stands between its call and its return and was answered as a single store would answer.
    ///
    /// The exit code is 0 if there is such an order, 1 if there is none, and 2 if the budget ended before either was
    /// certain, or FILE can't be understood.
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Prints a script that completes this command line in a shell.
    ///
    /// The script goes to stdout; where it belongs depends on the shell.
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell that will read the script.
        shell: Shell,
    },
}

/// The shells that completions are made for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
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
    /// Port for clients of a Redis Cluster on 127.0.0.1; 0 picks a free one. If not given: the RESP port + 5, or 6381 beside
    /// the default.
    #[arg(long, value_name = "PORT")]
    pub cluster_port: Option<u16>,
    /// Port for clients of memcached on 127.0.0.1, whose keys are those of database 0; 0 picks a free one. Not served if not given.
    #[arg(long, value_name = "PORT", conflicts_with = "requirepass")]
    pub memcached_port: Option<u16>,
    /// Data shards; fixed when DIR is made. With more than one, a command's keys must stand in one shard.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: u16,
    /// Lanes: threads that own shards and connections. More pay only when one is saturated.
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub lanes: u16,
    /// Password that clients must give by AUTH.
    #[arg(long, value_name = "PASSWORD")]
    pub requirepass: Option<String>,
    /// What keys and values may take in memory, as 64mb or 2gb; 0 for no limit.
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    pub maxmemory: u64,
    /// What is done about more: noeviction refuses writes; volatile-lru, volatile-lfu, volatile-random, volatile-ttl,
    /// allkeys-lru, allkeys-lfu and allkeys-random take keys out.
    #[arg(long, value_name = "POLICY", default_value = "noeviction", value_parser = policy)]
    pub maxmemory_policy: u8,
    /// To be raised by one whenever the data directory is put back to an older copy, so that no lock's token is given out twice. It is
    /// kept, and can't be lowered.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=i64::from(GENERATION_MAX)))]
    pub lock_generation: u16,
    /// There is no leader to lose but in a cluster.
    #[arg(skip)]
    pub on_lost_leader: OnLostLeader,
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

/// Options of `tidegate local`.
#[derive(Debug, Clone, clap::Args)]
pub struct Local {
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub nodes: u16,
    /// Node i listens at BASE + 10i.
    #[arg(long, value_name = "BASE", default_value_t = 7000, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    pub port: u16,
    /// Where the nodes' folders are; made if they aren't there.
    #[arg(long, value_name = "DIR", default_value = "tidegate-cluster")]
    pub dir: PathBuf,
    /// Data shards; fixed when the cluster is made.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: u16,
    /// Serve clients of memcached too, at BASE + 10i + 6.
    #[arg(long)]
    pub memcached: bool,
    /// What clients of the RESP ports see of a write whose leader was lost, as programs made for Redis know it: an error of
    /// which they know nothing (-INDOUBT), or their connection closed. Written when the cluster is made.
    #[arg(long, value_name = "HOW", default_value = "error")]
    pub on_lost_leader: OnLostLeader,
}

impl Local {
    /// The RESP port of a node, the first of its ports.
    pub fn base(&self, number: u16) -> u16 {
        self.port + 10 * number
    }
}

/// Options of `tidegate server`.
#[derive(Debug, Clone, clap::Args)]
pub struct Server {
    /// The node's configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The cluster is being made: this node may begin with an empty directory.
    #[arg(long)]
    pub bootstrap: bool,
    /// The cluster exists, and this is a new node of it: it waits until `tidegate cluster replace` gives it a place.
    #[arg(long, conflicts_with = "bootstrap")]
    pub join: bool,
    /// Ends when the process that started it, which has this id, does.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
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

/// What `tidegate cluster` changes.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClusterCommand {
    /// Gives the place of a lost node to a new one, forever.
    ///
    /// The new node runs already, started by `tidegate server --config FILE --join` with an id of its own and the cluster's id,
    /// secret and members in its file. It gets the data of every shard, votes once it has nearly all of it, and the lost
    /// one is out: should it come back, it is refused. Clients are served all the while.
    #[command(after_long_help = CLUSTER_EXAMPLES)]
    Replace(Replace),
}

/// Options of `tidegate cluster replace`.
#[derive(Debug, Clone, clap::Args)]
pub struct Replace {
    /// The lost node, as 16 hexadecimal digits.
    #[arg(long, value_name = "ID")]
    pub dead: String,
    /// The admin address of the new node.
    #[arg(long, value_name = "HOST:PORT")]
    pub with: String,
    /// The admin address of any node of the cluster.
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: String,
}

/// Options of `tidegate status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Status {
    /// The directory of the node.
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub dir: PathBuf,
    /// Its admin address, instead of the directory; any node of a cluster knows all of it.
    #[arg(long, value_name = "HOST:PORT", alias = "addr", conflicts_with = "dir")]
    pub admin: Option<String>,
    /// The node's document, as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `tidegate locks`.
#[derive(Debug, Clone, clap::Args)]
pub struct Locks {
    /// The directory of the node.
    #[arg(long, value_name = "DIR", default_value = "tidegate-data")]
    pub dir: PathBuf,
    /// Its admin address, instead of the directory; any node of a cluster.
    #[arg(long, value_name = "HOST:PORT", alias = "addr", conflicts_with = "dir")]
    pub admin: Option<String>,
    /// Only locks with names like this, with * and ? as in KEYS.
    #[arg(long = "match", value_name = "PATTERN")]
    pub like: Option<String>,
    /// How many at most, by name.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub count: u16,
    /// Shows it anew each second, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// For programs: one JSON object on a line.
    #[arg(long)]
    pub json: bool,
    /// The node's password, if it has one.
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
}

/// Options of `tidegate check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Check {
    /// The history, as JSON lines; - for stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The verdict as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// How long to search before the verdict is undecided.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub budget: u64,
    /// What the operations mean.
    #[arg(long, value_name = "MODEL", default_value = "redis")]
    pub model: Model,
    /// What the keys held before the first operation.
    #[arg(long, value_name = "START", default_value = "empty")]
    pub start: StartState,
}

/// What the operations of a history mean.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Model {
    /// Commands on strings, as in Redis, without expiry: GET, SET, SETNX, GETSET, GETDEL, APPEND, STRLEN, INCR, DECR,
    /// INCRBY, DECRBY, DEL, EXISTS, MGET, MSET, MSETNX, MULTI, and CAS.
    Redis,
    /// READ, WRITE and CAS of single registers, as other tools record them.
    Register,
}

/// What the keys of a history held before it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum StartState {
    /// Nothing.
    Empty,
    /// Nobody knows; the first reply that tells is believed.
    Unknown,
}

fn size(text: &str) -> Result<u64, String> {
    crate::admin::limit::bytes(text).ok_or_else(|| "give a number of bytes, or one with kb, mb or gb".to_owned())
}

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

fn policy(text: &str) -> Result<u8, String> {
    use crate::admin::limit::{NAMES, policy};
    policy(text).ok_or_else(|| format!("give one of {}", NAMES.join(", ")))
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

    /// The port to listen on for clients of a Redis Cluster; none if there is none so far after the RESP port.
    pub fn cluster_port(&self) -> Option<u16> {
        match (self.cluster_port, self.port) {
            (Some(port), _) => Some(port),
            (None, None) => Some(6381),
            (None, Some(0)) => Some(0),
            (None, Some(resp)) => resp.checked_add(5),
        }
    }
}

/// Parses and runs; errors are told on stderr.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Dev(options) => crate::dev::run(&options),
        Command::Local(options) => crate::local::run(&options),
        Command::Server(options) => crate::server::run(&options),
        Command::Gateway(Gateway { command: Some(GatewayCommand::Top(options)), .. }) => {
            crate::gateway::top::run(&options)
        }
        Command::Gateway(options) => crate::gateway::run(&options),
        Command::Cluster(command) => crate::cluster::run(&command),
        Command::Status(options) => crate::status::run(&options),
        Command::Plan(options) => crate::plan::run(&options),
        Command::Locks(options) => crate::status::locks::run(&options),
        Command::Check(options) => return crate::check::run(&options),
        Command::Bench(options) => crate::bench::run(&options),
        Command::Completions { shell } => complete(shell, &mut std::io::stdout().lock()).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn complete(shell: Shell, out: &mut impl Write) -> std::io::Result<()> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // Into memory first: the crate panics where a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
    out.write_all(&script)
}

const TOP_EXAMPLES: &str = "\
Examples:
  tidegate dev                       a node on 127.0.0.1:6379, its data in ./tidegate-data
  tidegate status                    how it stands
  tidegate bench                     load for it
  tidegate help dev                  what a command does, with its options and their defaults";

const DEV_EXAMPLES: &str = "\
Examples:
  tidegate dev                                   on 127.0.0.1:6379
  tidegate dev --port 0 --dir /tmp/a             a free port, named by the ready line and DIR/endpoints.json
  tidegate dev --requirepass secret --lanes 2    clients give a password; two threads serve them";

const LOCAL_EXAMPLES: &str = "\
Examples:
  tidegate local                                  three nodes at 7010, 7020 and 7030
  tidegate local --nodes 5 --port 8000 --dir c    five, at 8010 to 8050, with their folders in ./c";

const SERVER_EXAMPLES: &str = "\
Examples:
  tidegate server --config node-2/node.toml                a node that was there before
  tidegate server --config node-2/node.toml --bootstrap    one of a cluster that is being made
  tidegate server --config node-4/node.toml --join         a new one, for `tidegate cluster replace`";

const CLUSTER_EXAMPLES: &str = "\
Examples:
  tidegate cluster replace --dead 00000000000000a2 --with 127.0.0.1:7041 --admin 127.0.0.1:7011";

const GATEWAY_EXAMPLES: &str = "\
Examples:
  tidegate gateway --demo                              a first look, then `curl -i http://127.0.0.1:8080/`
  tidegate gateway --config gateway.toml               serves by the file
  tidegate gateway --config gateway.toml --validate    says whether the file is sound
  tidegate gateway top                                 how a running one does, each second";

const PLAN_EXAMPLES: &str = "\
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

const STATUS_EXAMPLES: &str = "\
Examples:
  tidegate status                              the node on ./tidegate-data
  tidegate status --dir /tmp/a --json          another, for a program to read
  tidegate status --admin 127.0.0.1:7379       by its admin address";

const LOCKS_EXAMPLES: &str = "\
Examples:
  tidegate locks                                       of the node on ./tidegate-data
  tidegate locks --match 'room:*' --watch              some, each second anew
  tidegate locks --admin 127.0.0.1:7379 --json | jq    for programs";

const BENCH_EXAMPLES: &str = "\
Examples:
  tidegate bench
      the node in ./tidegate-data: 50 connections, 90 % GET and 10 % SET of 100 bytes, for 10 s
  tidegate bench --target db:6379 --rate 20000 --duration 30s --key-distribution zipf:0.99
      20,000 requests a second from independent users, some keys hot: response times
  tidegate bench --command 'SET key:{} {}' --value-bytes 1000 --pipeline 16 --requests 1000000
      one command, a million times, 16 in flight on each connection
  tidegate bench --mix get=1 --json | jq .response_us.p99
      for programs; the names end in their units";

const CHECK_EXAMPLES: &str = "\
Examples:
  tidegate check history.jsonl                        a verdict, and a picture of what went wrong
  tidegate check history.jsonl --budget 600           ten minutes for a hard one
  tidegate check history.jsonl --start unknown        recorded on a store that held something already
  tidegate check history.jsonl --json | jq .verdict   for programs

A line of a history, and one whose outcome nobody knows:
  {\"client\":1,\"op\":\"set\",\"key\":\"x\",\"args\":[\"5\"],\"result\":\"OK\",\"invoke_ns\":10,\"return_ns\":20}
  {\"client\":2,\"op\":\"incr\",\"key\":\"x\",\"args\":[],\"result\":null,\"invoke_ns\":15,\"return_ns\":null}";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tidegate completions bash > /etc/bash_completion.d/tidegate
  tidegate completions zsh > \"${fpath[1]}/_tidegate\"
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish";

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Vec<clap::Command> {
        let mut top = Cli::command();
        top.build();
        let below: Vec<_> = top.get_subcommands().filter(|one| one.get_name() != "help").cloned().collect();
        below.into_iter().chain([top]).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_examples_that_parse() {
        for command in commands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says what it does");
            assert!(command.get_long_about().is_some(), "{name} says more in --help");
            let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  tidegate ")).collect();
            assert!(!examples.is_empty(), "{name} shows an example");
            for example in examples {
                let words = words(example);
                let parsed = Cli::try_parse_from(std::iter::once("tidegate".to_owned()).chain(words));
                let fine = parsed.as_ref().map_or_else(|error| !error.use_stderr(), |_| true);
                assert!(fine, "tidegate {example}: {parsed:?}");
            }
        }
    }

    /// What a shell hands over: up to a pipe, a redirection or the explaining text, which stands after two blanks.
    fn words(example: &str) -> Vec<String> {
        let example = example.split("  ").next().unwrap_or(example);
        let example = example.split(['|', '>']).next().unwrap_or(example);
        let pieces = example.split('\'').enumerate();
        pieces
            .flat_map(|(number, piece)| match number % 2 {
                0 => piece.split_whitespace().map(str::to_owned).collect(),
                _ => vec![piece.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_argument_has_help() {
        for command in commands() {
            for argument in command.get_arguments() {
                let what = format!("{} {}", command.get_name(), argument.get_id());
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() > 10, "{what} has a help text: {help:?}");
            }
        }
    }

    #[test]
    fn each_shell_gets_a_script_that_knows_every_command_and_flag() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            complete(shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for command in commands() {
                assert!(script.contains(command.get_name()), "{shell:?}: {}", command.get_name());
                let flags = command.get_arguments().filter_map(clap::Arg::get_long);
                flags.for_each(|flag| assert!(script.contains(flag), "{shell:?}: --{flag}"));
            }
        }
    }
}
