//! CLUSTER and its subcommands, in the shapes of Redis 7.0.

use super::{Address, Hosts, Leader, Link, Map, Member};
use base::slot::SLOT_COUNT;
use base::{NodeId, ShardId, Slot, Term};
use data::command::containers;
use data::{Command, Refused, Reply};
use std::fmt::Write;

/// Ids are 40 digits to clients; a node's own has 16.
fn name(node: NodeId) -> String {
    format!("{:040x}", node.0)
}

impl Map {
    /// What CLUSTER answers; nothing for the subcommands that look into a slot. `args` with the name, checked by the
    /// table of subcommands.
    #[must_use]
    pub fn answer(&self, command: &Command, args: &[&[u8]]) -> Option<Reply> {
        let sub = String::from_utf8_lossy(args[1]).to_ascii_lowercase();
        Some(match sub.as_str() {
            "countkeysinslot" | "getkeysinslot" => return None,
            "slots" => self.slot_ranges(),
            "shards" => Reply::Array(self.all().map(|(shard, hosts)| self.shard(shard, hosts)).collect()),
            "nodes" => Reply::Verbatim(self.members.iter().map(|member| self.line(member) + "\n").collect()),
            "info" => Reply::Verbatim(self.info()),
            "keyslot" => Reply::Int(i64::from(Slot::of(args[2]).0)),
            "myid" => Reply::bulk(name(self.me).as_bytes()),
            "links" => Reply::Array(self.members.iter().filter_map(link).collect()),
            "replicas" | "slaves" => self.replicas(args[2]),
            "help" => containers::help(command),
            other => {
                let text = format!(
                    "ERR CLUSTER {} is not served: nodes find each other by their configuration, and shards find their leaders \
                     by themselves; nothing was changed",
                    other.to_ascii_uppercase()
                );
                Reply::Error(Refused::Text(text))
            }
        })
    }

    /// CLUSTER SLOTS: neighbours of one master and the same replicas together.
    fn slot_ranges(&self) -> Reply {
        let mut ranges: Vec<(u16, u16, &Member, Vec<&Member>)> = Vec::new();
        for (shard, hosts) in self.all() {
            let Some(owner) = self.owner(hosts).and_then(|owner| self.member(owner)) else { continue };
            if owner.address.is_none() {
                continue;
            }
            let (first, last) = self.slots(shard);
            let replicas = self.listed_replicas(hosts);
            match ranges.last_mut() {
                Some(range) if range.1 + 1 == first && range.2 == owner && range.3 == replicas => range.1 = last,
                _ => ranges.push((first, last, owner, replicas)),
            }
        }
        let row = |(first, last, owner, replicas): (u16, u16, &Member, Vec<&Member>)| {
            let nodes = [owner].into_iter().chain(replicas).filter_map(node);
            let numbers = [first, last].map(|slot| Reply::Int(i64::from(slot)));
            Reply::Array(numbers.into_iter().chain(nodes).collect())
        };
        Reply::Array(ranges.into_iter().map(row).collect())
    }

    /// The voters that can be reached and lead nothing.
    fn listed_replicas(&self, hosts: &Hosts) -> Vec<&Member> {
        let members = hosts.voters.iter().filter_map(|voter| self.member(*voter));
        let listed =
            |member: &&Member| member.link != Link::Down && member.address.is_some() && !self.is_master(member.id);
        members.filter(listed).collect()
    }

    /// One of CLUSTER SHARDS: all its nodes, whatever else they do.
    fn shard(&self, shard: ShardId, hosts: &Hosts) -> Reply {
        let (first, last) = self.slots(shard);
        let leader = match hosts.leader {
            Leader::Node(node) => Some(node),
            Leader::Awaited | Leader::Nobody => None,
        };
        let mut voters: Vec<&Member> = hosts.voters.iter().filter_map(|voter| self.member(*voter)).collect();
        voters.sort_by_key(|member| leader != Some(member.id));
        let node = |member: &&Member| {
            let host = member.address.as_ref().map_or("", |address| &address.host);
            let applied = if member.id == self.me { hosts.applied.0 } else { 0 };
            let text = |key: &str, value: &str| (Reply::text(key), Reply::text(value));
            let number =
                |key: &str, value: u64| (Reply::text(key), Reply::Int(i64::try_from(value).unwrap_or(i64::MAX)));
            Reply::Map(vec![
                text("id", &name(member.id)),
                number("port", member.address.as_ref().map_or(0, |address| u64::from(address.port))),
                text("ip", host),
                text("endpoint", host),
                text("role", if leader == Some(member.id) { "master" } else { "replica" }),
                number("replication-offset", applied),
                text("health", if member.link == Link::Down { "fail" } else { "online" }),
            ])
        };
        let slots = [first, last].map(|slot| Reply::Int(i64::from(slot)));
        Reply::Map(vec![
            (Reply::text("slots"), Reply::Array(slots.into())),
            (Reply::text("nodes"), Reply::Array(voters.iter().map(node).collect())),
        ])
    }

    /// A node's line in CLUSTER NODES.
    fn line(&self, member: &Member) -> String {
        let nowhere = Address { host: String::new(), port: 0, peers_port: 0 };
        let Address { host, port, peers_port } = member.address.as_ref().unwrap_or(&nowhere);
        let master = self.master_of(member.id);
        let mut flags = if member.link == Link::Myself { "myself,".to_owned() } else { String::new() };
        flags += if master.is_some() { "slave" } else { "master" };
        flags += if member.link == Link::Down { ",fail" } else { "" };
        flags += if member.address.is_none() { ",noaddr" } else { "" };
        let heard_ms = if let Link::Up(since_ms) = member.link { since_ms } else { 0 };
        let state = if member.link == Link::Down { "disconnected" } else { "connected" };
        let mut line = format!(
            "{} {host}:{port}@{peers_port} {flags} {} 0 {heard_ms} {} {state}",
            name(member.id),
            master.map_or("-".to_owned(), name),
            self.term_of(master.unwrap_or(member.id)).0,
        );
        for (first, last) in self.ranges_of(member.id) {
            let _ = if first == last { write!(line, " {first}") } else { write!(line, " {first}-{last}") };
        }
        line
    }

    /// Whose replica a node is shown as, if it leads nothing and holds something.
    fn master_of(&self, node: NodeId) -> Option<NodeId> {
        if self.is_master(node) {
            return None;
        }
        let held = self.shards.iter().find(|hosts| hosts.voters.contains(&node) && self.owner(hosts).is_some())?;
        self.owner(held)
    }

    /// The latest term in which a node leads a shard.
    fn term_of(&self, node: NodeId) -> Term {
        let led = self.shards.iter().filter(|hosts| hosts.leader == Leader::Node(node));
        led.map(|hosts| hosts.term).max().unwrap_or_default()
    }

    /// The slots of a node, neighbours together.
    fn ranges_of(&self, node: NodeId) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for (shard, _) in self.all().filter(|(_, hosts)| self.owner(hosts) == Some(node)) {
            let (first, last) = self.slots(shard);
            match ranges.last_mut() {
                Some(range) if range.1 + 1 == first => range.1 = last,
                _ => ranges.push((first, last)),
            }
        }
        ranges
    }

    fn info(&self) -> String {
        let width = |shard: ShardId| {
            let (first, last) = self.slots(shard);
            u32::from(last - first) + 1
        };
        let down: u32 =
            self.all().filter(|(_, hosts)| hosts.leader == Leader::Nobody).map(|(shard, _)| width(shard)).sum();
        let masters = self.members.iter().filter(|member| self.is_master(member.id)).count();
        let term = self.shards.iter().map(|hosts| hosts.term).max().unwrap_or_default();
        let lines: [(&str, &dyn std::fmt::Display); 9] = [
            ("cluster_state", if down == 0 { &"ok" } else { &"fail" }),
            ("cluster_slots_assigned", &SLOT_COUNT),
            ("cluster_slots_ok", &(u32::from(SLOT_COUNT) - down)),
            ("cluster_slots_pfail", &0),
            ("cluster_slots_fail", &down),
            ("cluster_known_nodes", &self.members.len()),
            ("cluster_size", &masters),
            ("cluster_current_epoch", &term),
            ("cluster_my_epoch", &self.term_of(self.me)),
        ];
        lines.map(|(key, value)| format!("{key}:{value}\r\n")).concat()
    }

    fn replicas(&self, id: &[u8]) -> Reply {
        let id = String::from_utf8_lossy(id);
        let Some(of) = self.members.iter().find(|member| id.eq_ignore_ascii_case(&name(member.id))) else {
            return Reply::Error(Refused::Text(format!("ERR Unknown node {id}")));
        };
        if self.master_of(of.id).is_some() {
            return Reply::Error(Refused::Text("ERR The specified node is not a master".to_owned()));
        }
        let replicas = self.members.iter().filter(|member| self.master_of(member.id) == Some(of.id));
        Reply::Array(replicas.map(|member| Reply::bulk(self.line(member).as_bytes())).collect())
    }
}

/// A node in CLUSTER SLOTS; the map at its end is for names that Redis may prefer to addresses.
fn node(member: &Member) -> Option<Reply> {
    let address = member.address.as_ref()?;
    let id = Reply::bulk(name(member.id).as_bytes());
    let port = Reply::Int(i64::from(address.port));
    Some(Reply::Array(vec![Reply::bulk(address.host.as_bytes()), port, id, Reply::Map(Vec::new())]))
}

/// One of CLUSTER LINKS. A pair of nodes has one link here, for both directions.
fn link(member: &Member) -> Option<Reply> {
    let Link::Up(since_ms) = member.link else { return None };
    let pair = |key: &str, value: Reply| (Reply::text(key), value);
    Some(Reply::Map(vec![
        pair("direction", Reply::text("to")),
        pair("node", Reply::text(name(member.id))),
        pair("create-time", Reply::Int(i64::try_from(since_ms).unwrap_or(i64::MAX))),
        pair("events", Reply::text("rw")),
        pair("send-buffer-allocated", Reply::Int(0)),
        pair("send-buffer-used", Reply::Int(0)),
    ]))
}
