//! A cluster of three real nodes, by their configuration files: each can be killed, stopped and started again.

use super::Client;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub const NODES: usize = 3;
const PORTS: usize = 5;
/// Shards with slots.
const SHARDS: u64 = 8;

/// Nodes by their configuration files; each runs or not.
#[derive(Debug)]
pub struct Cluster {
    /// RESP, admin, peers, cluster, memcached.
    pub ports: Vec<[u16; PORTS]>,
    /// Keep the ports ours while no node listens.
    held: Vec<Socket>,
    pub files: Vec<PathBuf>,
    pub children: Vec<Option<Child>>,
    /// Given to nodes that are started from now on.
    pub options: Vec<&'static str>,
    pub ready_in: Duration,
}

/// Whether a node may begin with an empty directory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum First {
    Bootstrap,
    Join,
    No,
}

impl Cluster {
    /// A fresh cluster whose shards all have leaders.
    pub fn start(folder: &Path) -> Self {
        let (ports, held): (Vec<_>, Vec<_>) = (0..NODES).map(|_| hold_ports()).unzip();
        let files = (0..NODES).map(|at| write_config(folder, at, ports[at], &ports)).collect();
        let held = held.into_iter().flatten().collect();
        let mut cluster =
            Self { ports, held, files, children: Vec::new(), options: Vec::new(), ready_in: Duration::ZERO };
        let begun = Instant::now();
        let children: Vec<Child> = (0..NODES).map(|at| cluster.spawn(at, First::Bootstrap)).collect();
        cluster.children = children.into_iter().map(Some).collect();
        for at in 0..NODES {
            cluster.must_be_ready(at);
        }
        cluster.ready_in = begun.elapsed();
        cluster
    }

    pub fn spawn(&self, at: usize, first: First) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.files[at].with_extension("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("server").arg("--config").arg(&self.files[at]).args(&self.options);
        match first {
            First::Bootstrap => drop(command.arg("--bootstrap")),
            First::Join => drop(command.arg("--join")),
            First::No => {}
        }
        command.stdout(Stdio::piped()).stderr(log.expect("a log can be written")).spawn().expect("the binary starts")
    }

    /// Waits for a node's ready line; false if it ended before.
    pub fn await_ready(&mut self, at: usize) -> bool {
        let child = self.children[at].as_mut().expect("it was started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        line.starts_with("ready ")
    }

    pub fn restart(&mut self, at: usize) {
        self.children[at] = Some(self.spawn(at, First::No));
        self.must_be_ready(at);
    }

    fn must_be_ready(&mut self, at: usize) {
        if !self.await_ready(at) {
            let log = std::fs::read_to_string(self.files[at].with_extension("log"));
            panic!("node {at} ended before it was ready; its log:\n{}", log.unwrap_or_default());
        }
    }

    /// Starts a node that is in no file but its own, and waits until it can be asked for its status.
    pub fn join(&mut self) -> usize {
        let at = self.ports.len();
        let folder = self.files[0].parent().expect("a file has a folder").to_owned();
        let (mine, held) = hold_ports();
        self.files.push(write_config(&folder, at, mine, &self.ports));
        self.ports.push(mine);
        self.held.extend(held);
        self.children.push(Some(self.spawn(at, First::Join)));
        let deadline = Instant::now() + Duration::from_secs(30);
        while super::http(&self.admin(at), "GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n").is_none() {
            assert!(Instant::now() < deadline, "node {at} can be asked for its status");
        }
        at
    }

    pub fn kill(&mut self, at: usize) {
        let mut child = self.children[at].take().expect("it runs");
        child.kill().expect("the child is ours");
        child.wait().expect("the child can be waited for");
    }

    pub fn client(&self, at: usize) -> Client {
        Client::connect(&format!("127.0.0.1:{}", self.ports[at][0])).expect("a ready node takes connections")
    }

    /// A client of a node's cluster endpoint.
    pub fn cluster_client(&self, at: usize) -> Client {
        Client::connect(&format!("127.0.0.1:{}", self.ports[at][3])).expect("a ready node takes connections")
    }

    /// The admin address of a node.
    pub fn admin(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at][1])
    }

    /// How many shards with slots each node leads, as node `at` sees it; nothing if a shard has no leader.
    pub fn led(&self, at: usize) -> Option<[usize; NODES]> {
        let page = super::http(&self.admin(at), "GET /status/self HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let document: serde_json::Value = serde_json::from_str(&page.body).expect("it is JSON");
        let mut led = [0; NODES];
        for shard in document["shards"].as_array()?.iter().filter(|shard| shard["id"].as_u64() < Some(SHARDS)) {
            let id = u64::from_str_radix(shard["leader"].as_str()?, 16).expect("an id");
            led[usize::try_from(id - 0xa1).expect("a node of this cluster")] += 1;
        }
        Some(led)
    }

    /// Waits until leaders are spread as evenly as can be, as every node sees it.
    pub fn await_spread(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let even = |led: Option<[usize; NODES]>| {
            led.is_some_and(|led| led.iter().all(|count| [SHARDS / 3, SHARDS.div_ceil(3)].contains(&(*count as u64))))
        };
        while !(0..NODES).all(|at| even(self.led(at))) {
            assert!(Instant::now() < deadline, "leaders are spread as {:?}", self.led(0));
        }
    }

    /// Sends a signal to a node.
    pub fn signal(&self, at: usize, signal: &str) {
        let pid = self.children[at].as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill is there");
        assert!(sent.success(), "{signal} reached {pid}");
    }

    /// SIGSTOP, once no thread of the node runs any more: that takes until each has been on a processor.
    pub fn stop(&self, at: usize) {
        self.signal(at, "-STOP");
        let (pid, deadline) =
            (self.children[at].as_ref().expect("it runs").id(), Instant::now() + Duration::from_secs(20));
        while !is_stopped(pid) {
            assert!(Instant::now() < deadline, "node {at} stops");
        }
    }

    /// SIGTERM, and the end of the node.
    pub fn terminate(&mut self, at: usize) -> ExitStatus {
        self.signal(at, "-TERM");
        let mut child = self.children[at].take().expect("it runs");
        child.wait().expect("the child can be waited for")
    }

    pub fn data(&self, at: usize) -> PathBuf {
        self.files[at].parent().expect("a file has a folder").join(format!("data-{at}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports for a node, and what holds them: sockets that are bound, but don't listen. The system gives such a port to nobody who asks for any,
/// nor to a connection from here, however long the node is down; a node that asks for this very one gets it.
pub fn hold_ports() -> ([u16; PORTS], Vec<Socket>) {
    let held: Vec<Socket> = (0..PORTS).map(|_| hold_port().expect("a free port")).collect();
    let port = |socket: &Socket| socket.local_addr().ok()?.as_socket().map(|address| address.port());
    (std::array::from_fn(|at| port(&held[at]).expect("it is bound")), held)
}

fn hold_port() -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

fn write_config(folder: &Path, at: usize, mine: [u16; PORTS], ports: &[[u16; PORTS]]) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let [resp, admin, peers, cluster, memcached] = mine;
    let member = |(at, ports): (usize, &[u16; PORTS])| {
        format!("{{ id = '{:016x}', peers = '127.0.0.1:{}' }}", at + 0xa1, ports[2])
    };
    let members: Vec<String> = ports.iter().enumerate().map(member).collect();
    let text = format!(
        "[node]\nid = '{:016x}'\ndir = 'data-{at}'\nresp = {resp}\nadmin = {admin}\npeers = {peers}\ncluster = {cluster}\n\
         memcached = {memcached}\n[cluster]\nid = '00000000000000c1'\nsecret = 'a secret of this test'\nshards = 8\nmembers = [{}]\n",
        at + 0xa1,
        members.join(", ")
    );
    let path = folder.join(format!("node-{at}.toml"));
    std::fs::write(&path, text).expect("a configuration can be written");
    path
}

/// True once no thread of a process runs any more.
pub fn is_stopped(pid: impl std::fmt::Display) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state stands behind the name, which is in brackets.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T') || rest.starts_with('t'))
    })
}
