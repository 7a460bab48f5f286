//! Three real processes, each on its place of the network, and what can be done to them.

use crate::delay::Delays;
use crate::disk::SmallDisk;
use crate::network::{Network, address};
use crate::pace::Pace;
use crate::support::cluster::is_stopped;
use crate::support::{Client, Page, Reply, http};
use base::Slot;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const NODES: usize = 3;
pub const SHARDS: u16 = 8;
/// The node whose disk is small.
pub const SMALL: usize = 2;
/// Without any help every node serves every shard so soon after the last fault has ended.
pub const SERVES_WITHIN: Duration = Duration::from_secs(10);

/// What a cluster is made with.
#[derive(Debug, Default)]
pub struct Setup {
    /// A program, with its options, that becomes the node at each place: strace.
    pub launcher: Vec<Vec<String>>,
    /// Between the nodes stand proxies that can be slow.
    pub slow_links: bool,
}

/// The cluster; killed when dropped.
#[derive(Debug)]
pub struct Nodes {
    children: Vec<Option<Child>>,
    folder: PathBuf,
    setup: Setup,
    delays: Option<Delays>,
    pub disk: SmallDisk,
    pub network: Network,
}

impl Nodes {
    /// A fresh cluster; it serves.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, Setup::default())
    }

    /// The same with something between.
    pub fn start_with(folder: &Path, setup: Setup) -> Self {
        let network = Network::new(NODES);
        network.enter();
        let disk = SmallDisk::new(&folder.join(format!("data-{SMALL}")), 256);
        let children = (0..NODES).map(|_| None).collect();
        let delays = setup.slow_links.then(Delays::between_all);
        let mut nodes = Self { children, folder: folder.to_owned(), setup, delays, disk, network };
        (0..NODES).for_each(|at| nodes.configure(at));
        (0..NODES).for_each(|at| nodes.launch(at, &["--bootstrap"]));
        nodes.await_service();
        nodes
    }

    fn configure(&self, at: usize) {
        let peers = |to: usize| match &self.delays {
            Some(delays) if to != at => delays.address(at, to),
            _ => format!("{}:7380", address(to)),
        };
        let members: Vec<String> =
            (0..NODES).map(|to| format!("{{ id = '{}', peers = '{}' }}", id(to), peers(to))).collect();
        let text = format!(
            "[node]\nid = '{}'\ndir = 'data-{at}/d'\nresp = 6379\nadmin = 7379\npeers = 7380\n\
             [cluster]\nid = '00000000000000c1'\nsecret = 'a secret of this test'\nshards = {SHARDS}\nmembers = [{}]\n",
            id(at),
            members.join(", ")
        );
        let folder = self.folder.join(format!("data-{at}"));
        std::fs::create_dir_all(folder).expect("a folder can be made");
        std::fs::write(self.config(at), text).expect("a configuration can be written");
        self.set_clock(at, 0);
    }

    fn config(&self, at: usize) -> PathBuf {
        self.folder.join(format!("node-{at}.toml"))
    }

    fn launch(&mut self, at: usize, options: &[&str]) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.config(at).with_extension("log"));
        let child = self
            .network
            .inside(at)
            .args(self.setup.launcher.get(at).into_iter().flatten())
            .args([env!("CARGO_BIN_EXE_tidegate"), "server", "--snapshot-after-mib", "64", "--config"])
            .arg(self.config(at))
            .args(options)
            .env("TIDEGATE_TEST_WALL_OFFSET_FILE", self.clock(at))
            .stdout(Stdio::null())
            .stderr(log.expect("a log can be written"))
            .spawn();
        self.children[at] = Some(child.expect("nsenter is there"));
    }

    /// Starts a node that has ended, on its own data.
    pub fn restart(&mut self, at: usize) {
        assert!(self.children[at].is_none(), "node {at} has ended");
        self.launch(at, &[]);
    }

    /// kill -9.
    pub fn kill(&mut self, at: usize) {
        let mut child = self.children[at].take().expect("it runs");
        child.kill().expect("the child is ours");
        child.wait().expect("the child can be waited for");
    }

    /// SIGTERM, and the end of the process.
    pub fn terminate(&mut self, at: usize, pace: &Pace) {
        self.signal(at, "TERM");
        let mut child = self.children[at].take().expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(20);
        while child.try_wait().expect("the child can be waited for").is_none() {
            assert!(Instant::now() < deadline, "node {at} does not stop");
            pace.wait(Duration::from_millis(5));
        }
    }

    /// Any signal, to the node itself.
    pub fn signal(&self, at: usize, name: &str) {
        let pid = self.children[at].as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill is there");
        assert!(sent.success(), "SIG{name} reached node {at}");
        if name == "STOP" {
            // Its threads stop once one of them has run and taken the signal; until then they may serve.
            while !is_stopped(&pid) {
                std::thread::yield_now();
            }
        }
    }

    /// Sets a node's wall clock that far off.
    pub fn set_clock(&self, at: usize, offset_ms: i64) {
        // Renamed over the old one, so that the node never reads half a number.
        let fresh = self.clock(at).with_extension("new");
        std::fs::write(&fresh, offset_ms.to_string()).expect("an offset can be written");
        std::fs::rename(&fresh, self.clock(at)).expect("a file can be renamed");
    }

    fn clock(&self, at: usize) -> PathBuf {
        self.folder.join(format!("clock-{at}"))
    }

    /// The node that leads most shards.
    pub fn leader(&self) -> usize {
        (0..NODES).max_by_key(|at| self.leads(*at)).expect("there are nodes")
    }

    /// True while the node on the small disk refuses writes.
    pub fn is_full(&self) -> bool {
        get(SMALL, "/readyz").status == 503
    }

    /// Delays all that nodes say to each other from now on.
    pub fn delay(&self, by: Duration) {
        self.delays.as_ref().expect("this cluster has slow links").set(by);
    }

    fn leads(&self, at: usize) -> usize {
        let page = get(at, "/status");
        let status: serde_json::Value = serde_json::from_str(&page.body).expect("the status is JSON");
        let shards = status["shards"].as_array().expect("it lists shards");
        shards.iter().filter(|shard| !shard["leader"].is_null()).count()
    }

    /// Waits until every node takes a write for every shard, and says how long that took.
    pub fn await_service(&mut self) -> Duration {
        let (begun, pace) = (Instant::now(), Pace::default());
        for at in 0..NODES {
            for shard in 0..SHARDS {
                let key = key_of_shard("probe", shard);
                let mut last = String::new();
                while !self.takes_a_write(at, &key, &mut last) {
                    let ended = self.children[at].as_mut().and_then(|child| child.try_wait().ok().flatten());
                    assert!(ended.is_none(), "node {at} has ended by itself: {ended:?}; see {}", self.folder.display());
                    let late = begun.elapsed() > SERVES_WITHIN;
                    assert!(!late, "node {at} doesn't serve shard {shard}: {last}; see {}", self.folder.display());
                    pace.wait(Duration::from_millis(10));
                }
            }
        }
        begun.elapsed()
    }

    fn takes_a_write(&self, at: usize, key: &str, last: &mut String) -> bool {
        let asked = Client::connect_within(&resp(at), Duration::from_secs(2))
            .and_then(|mut client| client.ask(&["SET", key, "1"]));
        *last = format!("{asked:?}");
        asked.is_ok_and(|reply| reply == Reply::ok())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where clients reach a node.
pub fn resp(at: usize) -> String {
    format!("{}:6379", address(at))
}

/// A key of a shard.
pub fn key_of_shard(prefix: &str, shard: u16) -> String {
    let mut keys = (0..).map(|number| format!("{prefix}:{number}"));
    keys.find(|key| Slot::of(key.as_bytes()).shard(SHARDS).0 == shard).expect("every shard has keys")
}

fn get(at: usize, path: &str) -> Page {
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    http(&format!("{}:7379", address(at)), &request).expect("a running node answers")
}

fn id(at: usize) -> String {
    format!("{:016x}", at + 0xa1)
}
