//! `tidegate server`: one node of a cluster, by its configuration file.
//!
//! The file is TOML; keys that don't exist are refused by name. `tidegate local` writes one for each of its nodes.

use crate::admin::limit;
use crate::cli::{Dev, Server};
use crate::dev::{self, Cluster, First};
use crate::peers::Member;
use crate::settings::OnLostLeader;
use base::NodeId;
use consensus::lock::GENERATION_MAX;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The whole file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub node: Node,
    pub cluster: ClusterConfig,
}

/// This node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// 16 hexadecimal digits, as the members' list names it.
    pub id: String,
    /// Where its data lives; relative to the file.
    pub dir: PathBuf,
    /// Ports on 127.0.0.1.
    pub resp: u16,
    pub admin: u16,
    pub peers: u16,
    /// For clients of a Redis Cluster; if not given: `resp` + 5, or 6381 beside 6379.
    #[serde(default)]
    pub cluster: Option<u16>,
    /// For clients of memcached; not served if not given.
    #[serde(default)]
    pub memcached: Option<u16>,
    /// What people call it; if not given: its id.
    #[serde(default)]
    pub name: Option<String>,
    /// What keys and values may take in memory, as "64mb"; no limit if not given. Alike on all nodes, for leaders alone evict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxmemory: Option<String>,
    /// What is done about more; "noeviction" if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxmemory_policy: Option<String>,
    /// What clients of the RESP port see of a write whose leader was lost: "error" (-INDOUBT), or "close" for their connection.
    #[serde(default)]
    pub on_lost_leader: OnLostLeader,
}

/// What all nodes must agree on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// 16 hexadecimal digits.
    pub id: String,
    /// At least 16 characters that nobody can guess: peers prove that they know it.
    pub secret: String,
    pub shards: u16,
    /// To be raised by one whenever all nodes are put back to older data, so that no lock's token is given out twice. Never lowered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lock_generation: u16,
    pub members: Vec<MemberConfig>,
}

/// A node of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    pub id: String,
    /// `host:port` where it listens for its peers.
    pub peers: SocketAddr,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// The default of the RESP port.
const RESP_PORT: u16 = 6379;
const SECRET_CHARS_MIN: usize = 16;
const MEMBERS_MAX: usize = 7;
const NAME_BYTES_MAX: usize = 64;

/// Runs a node until it is told to stop.
pub fn run(options: &Server) -> Result<(), Box<dyn Error>> {
    if let Some(parent) = options.with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // It may have died before the signal was asked for.
        if rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero).is_none_or(|pid| pid.get() != parent) {
            return Err("the process that started this node has ended already".into());
        }
    }
    let config = read(&options.config)?;
    let first = match (options.bootstrap, options.join) {
        (true, _) => First::Bootstrap,
        (false, true) => First::Join,
        (false, false) => First::No,
    };
    let cluster = cluster(&config, first).map_err(|why| format!("{}: {why}", options.config.display()))?;
    let (maxmemory, maxmemory_policy) =
        memory(&config.node).map_err(|why| format!("{}: {why}", options.config.display()))?;
    let folder = options.config.parent().unwrap_or(Path::new("."));
    let node = Dev {
        dir: folder.join(&config.node.dir),
        port: Some(config.node.resp).filter(|port| *port != RESP_PORT),
        admin_port: Some(config.node.admin),
        cluster_port: config.node.cluster,
        memcached_port: config.node.memcached,
        shards: config.cluster.shards,
        lanes: 1,
        requirepass: None,
        maxmemory,
        maxmemory_policy,
        on_lost_leader: config.node.on_lost_leader,
        lock_generation: config.cluster.lock_generation,
        snapshot_after_mib: options.snapshot_after_mib,
        log_level: options.log_level,
        log_format: options.log_format,
    };
    dev::run_node(&node, Some(&cluster))
}

fn read(path: &Path) -> Result<Config, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The limit on memory and the policy.
fn memory(node: &Node) -> Result<(u64, u8), String> {
    let size = node.maxmemory.as_deref().unwrap_or("0");
    let bytes = limit::bytes(size).ok_or_else(|| format!("node.maxmemory is {size}; give bytes, or as 64mb or 2gb"))?;
    let name = node.maxmemory_policy.as_deref().unwrap_or("noeviction");
    let policy = limit::policy(name);
    let policy =
        policy.ok_or_else(|| format!("node.maxmemory_policy is {name}; give one of {}", limit::NAMES.join(", ")))?;
    Ok((bytes, policy))
}

/// What the file says of the cluster, checked.
fn cluster(config: &Config, first: First) -> Result<Cluster, String> {
    let ClusterConfig { id, secret, shards, lock_generation, members } = &config.cluster;
    if secret.len() < SECRET_CHARS_MIN {
        return Err(format!("cluster.secret has {} characters; give at least {SECRET_CHARS_MIN}", secret.len()));
    }
    if *shards == 0 || *shards > base::limits::SHARD_COUNT_MAX {
        return Err(format!("cluster.shards is {shards}; give 1 to {}", base::limits::SHARD_COUNT_MAX));
    }
    if *lock_generation > GENERATION_MAX {
        return Err(format!("cluster.lock_generation is {lock_generation}; give 0 to {GENERATION_MAX}"));
    }
    if members.is_empty() || members.len() > MEMBERS_MAX {
        return Err(format!("cluster.members has {} nodes; give 1 to {MEMBERS_MAX}, best 3 or 5", members.len()));
    }
    let me = NodeId(hex("node.id", &config.node.id)?);
    let mut known: Vec<Member> = Vec::new();
    for member in members {
        let id = NodeId(hex("cluster.members.id", &member.id)?);
        if known.iter().any(|other| other.id == id || other.address == member.peers) {
            return Err(format!("cluster.members names {} or its address twice", member.id));
        }
        known.push(Member { id, address: member.peers });
    }
    let own = known.iter().find(|member| member.id == me);
    if own.is_none() && first == First::Bootstrap {
        return Err(format!(
            "cluster.members doesn't name this node, {}, so it can't be one of the first",
            config.node.id
        ));
    }
    if let Some(own) = own
        && own.address.port() != config.node.peers
    {
        return Err(format!(
            "cluster.members says port {} for this node, and node.peers {}",
            own.address, config.node.peers
        ));
    }
    let name = config.node.name.clone().unwrap_or_else(|| config.node.id.clone());
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(format!("node.name is '{name}'; give 1 to {NAME_BYTES_MAX} printable characters without blanks"));
    }
    let (id, secret) = (hex("cluster.id", id)?, secret.clone().into_bytes());
    Ok(Cluster { id, secret, me, name, peers_port: config.node.peers, members: known, first })
}

fn hex(key: &str, text: &str) -> Result<u64, String> {
    let number = u64::from_str_radix(text, 16).ok().filter(|number| text.len() == 16 && *number != 0);
    number.ok_or_else(|| format!("{key} is '{text}'; give 16 hexadecimal digits, not all zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
        [node]
        id = '00000000000000a1'
        dir = 'data'
        resp = 7000
        admin = 7001
        peers = 7002
        [cluster]
        id = '00000000000000c1'
        secret = 'nobody can guess this'
        shards = 8
        members = [{ id = '00000000000000a1', peers = '127.0.0.1:7002' }, { id = '00000000000000a2', peers = '127.0.0.1:7012' }]
    ";

    fn told(text: &str) -> Result<Cluster, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        cluster(&config, First::Bootstrap)
    }

    #[test]
    fn a_good_file_is_understood() {
        let cluster = told(GOOD).unwrap();
        assert_eq!((cluster.id, cluster.me, cluster.members.len()), (0xc1, NodeId(0xa1), 2));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, to, wanted) in [
            ("shards = 8", "shard = 8", "unknown field `shard`"),
            ("shards = 8", "shards = 0", "cluster.shards is 0"),
            ("nobody can guess this", "short", "cluster.secret has 5 characters"),
            ("id = '00000000000000c1'", "id = 'c1'", "cluster.id is 'c1'"),
            ("peers = 7002", "peers = 7003", "and node.peers 7003"),
            ("peers = 7002", "peers = 7002\n        name = 'a b'", "node.name is 'a b'"),
            ("id = '00000000000000a2'", "id = '00000000000000a1'", "twice"),
            ("127.0.0.1:7012", "127.0.0.1", "invalid socket address"),
        ] {
            let why = told(&GOOD.replace(from, to)).expect_err(wanted);
            assert!(why.contains(wanted), "{why}");
        }
        let stranger =
            GOOD.replace("[node]\n        id = '00000000000000a1'", "[node]\n        id = '00000000000000a9'");
        assert!(told(&stranger).expect_err("no member").contains("doesn't name this node"));
    }
}
