//! `tidegate local`: a real cluster of child processes on this machine, in the foreground.
//!
//! Node i listens at BASE + 10i, with the offsets of `dev`. A dead child stays dead: `tidegate server --config` starts it
//! again. The children die with this process, however it dies: the kernel ends them with it.

use crate::cli::Local;
use crate::server::{ClusterConfig, Config, MemberConfig, Node};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};

/// Runs the cluster until it is told to stop.
pub fn run(options: &Local) -> Result<(), Box<dyn Error>> {
    let signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    let made = lay_out(options)?;
    let (told, news) = mpsc::channel();
    listen_for_signals(signals, told.clone());
    let mut children = Vec::new();
    for number in 1..=options.nodes {
        let mut child = start(&folder(options, number), made)?;
        let stdout = child.stdout.take().expect("it was asked for");
        listen_to(number, stdout, told.clone());
        children.push(child);
    }
    let mut ready = 0;
    loop {
        match news.recv()? {
            News::Ready => {
                ready += 1;
                if ready == options.nodes {
                    announce(options)?;
                }
            }
            News::Ended(number) => eprintln!(
                "tidegate: node-{number} has ended; {} says why; `tidegate server --config {}` starts it again",
                folder(options, number).join("log").display(),
                folder(options, number).join("node.toml").display()
            ),
            News::Stop => break,
        }
    }
    stop(children)
}

/// What the cluster's life consists of.
enum News {
    /// A node serves.
    Ready,
    Ended(u16),
    Stop,
}

fn listen_for_signals(mut signals: signal_hook::iterator::Signals, told: Sender<News>) {
    std::thread::spawn(move || {
        signals.forever().next();
        // The receiver is gone only when the process is.
        let _ = told.send(News::Stop);
    });
}

fn listen_to(number: u16, stdout: ChildStdout, told: Sender<News>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if line.is_ok_and(|line| line.starts_with("ready ")) {
                let _ = told.send(News::Ready);
            }
        }
        let _ = told.send(News::Ended(number));
    });
}

/// One line, once every node says that every shard has a leader.
fn announce(options: &Local) -> Result<(), Box<dyn Error>> {
    let addresses = |offset: u16| {
        let all = (1..=options.nodes).map(|number| format!("127.0.0.1:{}", options.base(number) + offset));
        all.collect::<Vec<_>>().join(",")
    };
    let mut stdout = std::io::stdout().lock();
    let memcached = if options.memcached { format!(" memcached={}", addresses(6)) } else { String::new() };
    let (resp, cluster, pid) = (addresses(0), addresses(5), std::process::id());
    writeln!(stdout, "ready resp={resp} cluster={cluster}{memcached} pid={pid}")?;
    stdout.flush()?;
    Ok(())
}

fn start(folder: &Path, made: Made) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("server")
        .arg("--config")
        .arg(folder.join("node.toml"))
        .arg("--with-parent")
        .arg(std::process::id().to_string());
    if made == Made::Now {
        command.arg("--bootstrap");
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    std::fs::write(folder.join("pid"), format!("{}\n", child.id()))?;
    Ok(child)
}

/// Ends the children gracefully.
fn stop(children: Vec<Child>) -> Result<(), Box<dyn Error>> {
    for child in &children {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // One that has ended already is no error.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

fn folder(options: &Local, number: u16) -> PathBuf {
    options.dir.join(format!("node-{number}"))
}

/// When the cluster's folders were made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Now,
    Before,
}

/// Makes the nodes' folders, unless they are there.
fn lay_out(options: &Local) -> Result<Made, Box<dyn Error>> {
    let there = (1..=MEMBERS_MAX).filter(|number| folder(options, *number).join("node.toml").exists()).count();
    match there {
        0 => {}
        there if there == usize::from(options.nodes) => return Ok(Made::Before),
        there => {
            let dir = options.dir.display();
            return Err(format!("{dir} holds a cluster of {there} nodes; give --nodes {there} or another --dir").into());
        }
    }
    let ids = (0..options.nodes).map(|_| draw()).collect::<std::io::Result<Vec<u64>>>()?;
    let address = |number: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, options.base(number) + 2));
    let members = (1..).zip(&ids).map(|(number, id)| MemberConfig { id: format!("{id:016x}"), peers: address(number) });
    let cluster = ClusterConfig {
        id: format!("{:016x}", draw()?),
        secret: format!("{:016x}{:016x}", draw()?, draw()?),
        shards: options.shards,
        lock_generation: 0,
        members: members.collect(),
    };
    for (number, id) in (1..).zip(&ids) {
        let base = options.base(number);
        let node = Node {
            id: format!("{id:016x}"),
            dir: "data".into(),
            resp: base,
            admin: base + 1,
            peers: base + 2,
            cluster: Some(base + 5),
            memcached: options.memcached.then_some(base + 6),
            name: Some(format!("node-{number}")),
            maxmemory: None,
            maxmemory_policy: None,
            on_lost_leader: options.on_lost_leader,
        };
        let folder = folder(options, number);
        std::fs::create_dir_all(&folder)?;
        let text = toml::to_string(&Config { node, cluster: cluster.clone() })?;
        std::fs::write(folder.join("node.toml"), text)?;
    }
    Ok(Made::Now)
}

const MEMBERS_MAX: u16 = 7;

/// A number that is not zero, by the operating system's chance.
fn draw() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}
