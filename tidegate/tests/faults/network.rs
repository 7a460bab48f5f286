//! A network of the test's own: each node in a network namespace, joined by a bridge in another one, where the clients are.
//!
//! A node listens on 127.0.0.1 alone, so its namespace hands what comes for its address on the bridge to that. A cut is a rule of
//! nftables at the receiver: packets of one sender are dropped, in one direction, and TCP finds that out as it would
//! anywhere. Nothing of the machine's own network is touched, and all of it goes with the namespaces.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The namespaces; gone when dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    nodes: usize,
}

impl Network {
    /// As many nodes as that, all connected.
    pub fn new(nodes: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tg{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let network = Self { name, nodes };
        let hub = network.hub();
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "addr", "add", &format!("{HUB}/24"), "dev", "br0"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        (0..nodes).for_each(|at| network.attach(at));
        network
    }

    fn attach(&self, at: usize) {
        let (hub, node, port) = (self.hub(), self.node(at), format!("port{at}"));
        ip(&["netns", "add", &node]);
        ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &node]);
        ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
        ip(&["-n", &node, "link", "set", "lo", "up"]);
        ip(&["-n", &node, "addr", "add", &format!("{}/24", address(at)), "dev", "eth0"]);
        ip(&["-n", &node, "link", "set", "eth0", "up"]);
        let mut sysctl = self.inside(at);
        let done = sysctl.args(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet"]).status();
        assert!(done.expect("nsenter is there").success(), "the namespace may route to its loopback");
        let mine = address(at);
        self.nft(
            at,
            &format!(
                "table ip door {{\n chain prerouting {{\n  type nat hook prerouting priority -100; policy accept;\n  \
                 ip daddr {mine} dnat to 127.0.0.1\n }}\n}}\n\
                 table ip cuts {{\n chain input {{\n  type filter hook input priority 0; policy accept;\n }}\n}}\n"
            ),
        );
    }

    /// Moves this thread, and what it will start, to where the clients are.
    pub fn enter(&self) {
        let file = std::fs::File::open(format!("/run/netns/{}", self.hub())).expect("the namespace is there");
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).expect("root may enter it");
    }

    /// A program that will run where a node is; the caller adds which.
    pub fn inside(&self, at: usize) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.node(at))).stdin(Stdio::null());
        command
    }

    /// What one node sends doesn't reach the other any more.
    pub fn cut(&self, from: usize, to: usize) {
        self.nft(to, &format!("add rule ip cuts input ip saddr {} drop\n", address(from)));
    }

    /// Neither reaches the other.
    pub fn cut_both(&self, one: usize, other: usize) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// All cuts end.
    pub fn heal(&self) {
        (0..self.nodes).for_each(|at| self.nft(at, "flush chain ip cuts input\n"));
    }

    fn nft(&self, at: usize, script: &str) {
        let mut child =
            self.inside(at).args(["nft", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft is installed");
        let mut stdin = child.stdin.take().expect("it was asked for");
        stdin.write_all(script.as_bytes()).expect("nft reads its script");
        drop(stdin);
        assert!(child.wait().expect("nft ends").success(), "nft refused {script}");
    }

    fn hub(&self) -> String {
        format!("{}hub", self.name)
    }

    fn node(&self, at: usize) -> String {
        format!("{}n{at}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (0..self.nodes).map(|at| self.node(at)).chain([self.hub()]) {
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

/// Where the clients are.
pub const HUB: &str = "10.99.0.254";

/// Where the others reach a node.
pub fn address(at: usize) -> String {
    format!("10.99.0.{}", at + 1)
}

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).status().expect("iproute2 is installed");
    assert!(done.success(), "ip {}", words.join(" "));
}
