//! Three real nodes on this machine, by their configuration files.

use super::{Client, http};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many nodes it has at its start.
pub const NODES: usize = 3;

/// Nodes by their configuration files; each runs or not.
#[derive(Debug)]
pub struct Cluster {
    /// Of each node: RESP, admin, peers.
    pub ports: Vec<[u16; 3]>,
    pub files: Vec<PathBuf>,
    pub children: Vec<Option<Child>>,
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
        // A port that is free now may be taken by another test before the node binds it: then others are tried.
        for attempt in 0..10 {
            if let Some(cluster) = Self::try_start(&folder.join(attempt.to_string())) {
                return cluster;
            }
        }
        panic!("no free ports were found")
    }

    fn try_start(folder: &Path) -> Option<Self> {
        let ports: Vec<[u16; 3]> = (0..NODES).map(|_| free_ports()).collect();
        let files = (0..NODES).map(|at| write_config(folder, at, ports[at], &ports)).collect();
        let mut cluster = Self { ports, files, children: Vec::new(), ready_in: Duration::ZERO };
        let begun = Instant::now();
        let children: Vec<Child> = (0..NODES).map(|at| cluster.spawn(at, First::Bootstrap)).collect();
        cluster.children = children.into_iter().map(Some).collect();
        let ready = (0..NODES).all(|at| cluster.await_ready(at));
        cluster.ready_in = begun.elapsed();
        ready.then_some(cluster)
    }

    pub fn spawn(&self, at: usize, first: First) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.files[at].with_extension("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("server").arg("--config").arg(&self.files[at]);
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
        assert!(self.await_ready(at), "node {at} came back");
    }

    /// Starts a node that is in no file but its own, and waits until it can be asked for its status.
    pub fn join(&mut self) -> usize {
        let at = self.ports.len();
        let folder = self.files[0].parent().expect("a file has a folder").to_owned();
        for _ in 0..10 {
            let mine = free_ports();
            let file = write_config(&folder, at, mine, &self.ports);
            self.ports.push(mine);
            self.files.push(file);
            self.children.push(Some(self.spawn(at, First::Join)));
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline
                && self.children[at].as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
            {
                if http(&format!("127.0.0.1:{}", mine[1]), "GET /status HTTP/1.1\r\nhost: a\r\n\r\n").is_some() {
                    return at;
                }
            }
            self.children.pop();
            self.files.pop();
            self.ports.pop();
        }
        panic!("no free ports were found")
    }

    pub fn kill(&mut self, at: usize) {
        let mut child = self.children[at].take().expect("it runs");
        child.kill().expect("the child is ours");
        child.wait().expect("the child can be waited for");
    }

    pub fn client(&self, at: usize) -> Client {
        Client::connect(&format!("127.0.0.1:{}", self.ports[at][0])).expect("a ready node takes connections")
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

pub fn free_ports() -> [u16; 3] {
    let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let port = |at: usize| listeners[at].local_addr().expect("it is bound").port();
    [port(0), port(1), port(2)]
}

fn write_config(folder: &Path, at: usize, mine: [u16; 3], ports: &[[u16; 3]]) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let [resp, admin, peers] = mine;
    let member =
        |(at, ports): (usize, &[u16; 3])| format!("{{ id = '{:016x}', peers = '127.0.0.1:{}' }}", at + 0xa1, ports[2]);
    let members: Vec<String> = ports.iter().enumerate().map(member).collect();
    let text = format!(
        "[node]\nid = '{:016x}'\ndir = 'data-{at}'\nresp = {resp}\nadmin = {admin}\npeers = {peers}\n\
         [cluster]\nid = '00000000000000c1'\nsecret = 'a secret of this test'\nshards = 8\nmembers = [{}]\n",
        at + 0xa1,
        members.join(", ")
    );
    let path = folder.join(format!("node-{at}.toml"));
    std::fs::write(&path, text).expect("a configuration can be written");
    path
}
