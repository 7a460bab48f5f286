//! A node, alone or one of a cluster: recover, start the threads, say that it is ready, and stop in order.

use crate::cli::Dev;
use crate::descriptors;
use crate::http;
use crate::journal::Journal;
use crate::keeper::{self, Task};
use crate::lane::{Door, Driver, STACK_BYTES, WAKER};
use crate::locks;
use crate::log;
use crate::meters::nanos;
use crate::neighbours::{HOST, Neighbours};
use crate::peers::{Kinship, Member, Peers};
use crate::room::ROOM_BYTES_WANTED;
use crate::shared::{Endpoint, Identity, Input, Mailbox, Phase, Ports, Shared, lock};
use base::record::{RecoveredShard, SnapshotMark};
use base::roster::Card;
use base::{LaneId, NodeId, ShardId};
use mio::{Poll, Waker};
use node::{Founding, Lane, LaneConfig, LocksFound, Outbox, RecoveredReplica, Routing};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use storage::{Disk, RealDisk, Recovery, StorageError, Wal, WalOptions};

/// What makes a node one of a cluster.
#[derive(Debug)]
pub struct Cluster {
    pub id: u64,
    pub secret: Vec<u8>,
    pub me: NodeId,
    /// What people call the node.
    pub name: String,
    pub peers_port: u16,
    pub members: Vec<Member>,
    pub first: First,
}

/// Whether a node may begin with an empty directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The cluster is being made.
    Bootstrap,
    /// It is a new node of a cluster that exists, which will be told of it.
    Join,
    /// It exists: a node without its data has lost it.
    No,
}

impl Cluster {
    /// What the node knows of its cluster at its first start.
    fn founding(&self, ports: Ports) -> Founding {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let members = self.members.iter().map(|member| (member.id, member.address.to_string())).collect();
        let peers = self.members.iter().find(|member| member.id == self.me).map(|member| member.address.to_string());
        let peers = peers.unwrap_or_else(|| at(self.peers_port));
        Founding {
            members,
            card: Card { peers, resp: at(ports.resp), cluster: at(ports.cluster), admin: at(ports.admin) },
        }
    }
}

/// Runs `tidegate dev` until it is told to stop.
pub fn run(options: &Dev) -> Result<(), Box<dyn Error>> {
    run_node(options, None)
}

/// Runs a node until it is told to stop.
pub fn run_node(options: &Dev, cluster: Option<&Cluster>) -> Result<(), Box<dyn Error>> {
    set_up_process(options)?;
    let (doors, admin, ports) = bind_all(options)?;
    let peers_listener = cluster.map(|cluster| bind("peers", cluster.peers_port)).transpose()?;
    let disk = RealDisk::open(&options.dir)?;
    if let Some(cluster) = cluster {
        may_begin(&disk, cluster, &options.dir)?;
    }
    fix_shape(&disk, &options.dir, options.shards)?;
    let node = node_id(&disk, cluster)?;
    let kinship = cluster.map(|cluster| kinship(&disk, cluster)).transpose()?;
    let members = cluster.map_or(Ok(vec![node]), |cluster| founders(&disk, cluster))?;
    let ports = Ports { peers: peers_listener.as_ref().map(port).transpose()?, ..ports };
    let (shared, polls) = share(options, identity(node, cluster), ports)?;
    descriptors::fit(options, &shared.settings)?;
    http::start(admin, shared.clone())?;
    let begun = Instant::now();
    let (wal, recovery) = open_log(&disk).map_err(no_start)?;
    let known_roster = keeper::read_roster(&disk)?;
    let (keeper_in, keeper_out) = mpsc::channel();
    let journal = Arc::new(Journal::new(wal, shared.clone(), keeper_in.clone(), slow_sync()?, cluster.is_some()));
    let (durable, mut replicas) = recover(&disk, recovery.shards)?;
    let parts = Parts { shared: &shared, journal: &journal, keeper: &keeper_in, disk: &disk };
    let mut lanes = make_lanes(
        options,
        (node, &members, cluster.map(|cluster| cluster.founding(ports))),
        parts,
        polls,
        doors,
        (&mut replicas, locks::found(&disk, options.lock_generation, recovery.registers)?),
    )?;
    let (ready_in, ready_out) = mpsc::channel();
    if let (Some(listener), Some(kinship)) = (peers_listener, kinship) {
        let lane = lanes.first_mut().expect("a node has a lane");
        lane.neighbours = Some(Neighbours::new(node, ports));
        lane.peers = Some(Peers::new(kinship, listener, lane.poll.registry())?);
        lane.ready = Some(ready_in);
        known_roster.into_iter().for_each(|roster| lane.recall_roster(roster));
    }
    no_more_shards(&options.dir, replicas.len())?;

    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let writer = journal.clone();
        scope.spawn(|| writer.run(&shared));
        let (keeper_journal, keeper_shared) = (journal.clone(), shared.clone());
        let after = options.snapshot_after_mib * 1024 * 1024;
        let shards = options.shards + u16::from(cluster.is_some());
        scope.spawn(move || keeper::run(disk, keeper_journal, keeper_shared, &keeper_out, durable, shards, after));
        lanes.iter_mut().for_each(|lane| open_doors(lane, cluster));
        let spawn = |mut lane: Driver| {
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, move || lane.run())
        };
        let running = lanes.into_iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
        // The threads of the scope wait for their end: an error here ends the process, not the scope.
        if cluster.is_some() {
            await_ready(&ready_out);
        }
        serve_until_told(options, &shared, begun.elapsed()).unwrap_or_else(|error| die(&error.to_string()));
        shared.mailboxes.iter().for_each(|mailbox| mailbox.put(Input::Stop));
        for lane in running {
            lane.join().map_err(|_| "a lane ended by a panic")?;
        }
        journal.stop();
        keeper_in.send(Task::Stop)?;
        Ok(())
    })?;
    seal(&journal)?;
    log::info("node", "stopped", &[]);
    Ok(())
}

/// Refuses a folder that holds shards which nobody asks for.
fn no_more_shards(dir: &Path, left: usize) -> Result<(), Box<dyn Error>> {
    match left {
        0 => Ok(()),
        left => Err(format!("{} holds {left} more shards than asked for", dir.display()).into()),
    }
}

/// Marks the log as complete.
fn seal(journal: &Journal) -> Result<(), StorageError> {
    let mut wal = lock(journal.wal());
    if wal.needs_seal() {
        wal.append(&[base::record::Record::Seal])?;
        wal.sync()?;
    }
    Ok(())
}

/// Lets clients in; on a node that is alone when everything is there, on another while it waits for the others.
fn open_doors(lane: &mut Driver, cluster: Option<&Cluster>) {
    if cluster.is_none() {
        lane.settle();
    }
    lane.listen().unwrap_or_else(|error| die(&error.to_string()));
}

/// What every lane of a node has a part in.
struct Parts<'a> {
    shared: &'a Arc<Shared>,
    journal: &'a Arc<Journal>,
    keeper: &'a mpsc::Sender<Task>,
    disk: &'a RealDisk,
}

fn make_lanes(
    options: &Dev,
    (node, members, founding): (NodeId, &[NodeId], Option<Founding>),
    parts: Parts<'_>,
    polls: Vec<Poll>,
    mut doors: Vec<Door>,
    (replicas, registers): (&mut BTreeMap<ShardId, RecoveredReplica>, LocksFound),
) -> Result<Vec<Driver>, Box<dyn Error>> {
    let routing = Routing::new(options.shards, options.lanes);
    let routing = if founding.is_some() { routing.with_meta() } else { routing };
    let (mut lanes, mut registers) = (Vec::new(), Some(registers));
    for (number, poll) in (0..options.lanes).zip(polls) {
        let config = LaneConfig { node, lane: LaneId(number), routing, seed: parts.disk.random()? };
        let mine = replicas.extract_if(.., |shard, _| routing.lane_of(*shard) == LaneId(number)).map(|(_, one)| one);
        let mut out = Outbox::default();
        let mut lane = Lane::start(crate::clock::now(), config, members, mine.collect(), &mut out);
        if let Some(founding) = &founding {
            lane.keep_roster(founding.clone());
        }
        // The first lane has the links.
        registers.take().map_or(Ok(()), |found| lane.keep_locks(crate::clock::now(), found, &mut out))?;
        if std::mem::take(&mut out.wants_tokens) {
            // A node that is alone has tokens before it has clients: they rise over all names from the first grant on.
            let leased = locks::lease_tokens(parts.disk).map_err(|error| locks::tell_unleased(&error));
            lane.on_tokens(leased.ok(), &mut out);
        }
        let (shared, journal, keeper) = (parts.shared.clone(), parts.journal.clone(), parts.keeper.clone());
        lanes.push(Driver::new(LaneId(number), shared, journal, keeper, poll, std::mem::take(&mut doors), lane, out));
    }
    Ok(lanes)
}

/// Waits until every shard has a leader. Meanwhile a signal ends the process at once: there is nothing to finish.
fn await_ready(ready: &mpsc::Receiver<()>) {
    log::info("node", "waiting until a majority of the cluster is there", &[]);
    if ready.recv().is_err() {
        die("the lane has ended before it was ready");
    }
}

/// A node of an existing cluster that has no data has lost it, and must not vote under its old name.
fn may_begin(disk: &RealDisk, cluster: &Cluster, dir: &Path) -> Result<(), Box<dyn Error>> {
    let empty = !disk.list()?.iter().any(|name| name.starts_with("wal-"));
    if empty && cluster.first == First::No {
        return Err(format!(
            "{} holds no data of node {:016x}; if the cluster is being made, give --bootstrap; if this node has lost its disk, it \
             must not come back under its old id, since it could forget what it voted for",
            dir.display(),
            cluster.me.0
        )
        .into());
    }
    Ok(())
}

/// The first voters of every shard. They are written down at the first start: a changed file must not change who votes, which
/// is agreed on, and stands in the log from the first change on.
fn founders(disk: &RealDisk, cluster: &Cluster) -> Result<Vec<NodeId>, Box<dyn Error>> {
    if !disk.list()?.iter().any(|name| name == FOUNDERS) {
        let ids: Vec<String> = cluster.members.iter().map(|member| format!("{:016x}", member.id.0)).collect();
        storage::write_label(disk, FOUNDERS, &ids.join(","))?;
    }
    let text = storage::read_label(disk, FOUNDERS)?.unwrap_or_default();
    text.split(',').map(|id| Ok(NodeId(u64::from_str_radix(id, 16)?))).collect()
}

const FOUNDERS: &str = "founders";

/// Who this node is to its peers, and what it knows of them.
fn kinship(disk: &RealDisk, cluster: &Cluster) -> Result<Kinship, Box<dyn Error>> {
    let number = |text: String| u64::from_str_radix(&text, 16);
    let life = match storage::read_label(disk, "life")? {
        Some(text) => number(text)?,
        None => {
            let life = disk.random()?;
            storage::write_label(disk, "life", &format!("{life:016x}"))?;
            life
        }
    };
    let mut lives = BTreeMap::new();
    for name in disk.list()?.iter().filter(|name| name.starts_with(keeper::LIFE_OF) && !name.ends_with(".tmp")) {
        if let Some(text) = storage::read_label(disk, name)? {
            let node = NodeId(u64::from_str_radix(&name[keeper::LIFE_OF.len()..], 16)?);
            lives.insert(node, number(text)?);
        }
    }
    let Cluster { id, secret, me, members, .. } = cluster;
    Ok(Kinship { cluster: *id, secret: secret.clone(), me: *me, life, members: members.clone(), lives })
}

/// Says that the node serves, and waits for the signal to stop.
fn serve_until_told(options: &Dev, shared: &Shared, recovery: Duration) -> Result<(), Box<dyn Error>> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])?;
    shared.meters.recovery_ns.set(nanos(recovery));
    let ms = recovery.as_millis();
    log::info("recovery", "the log is read", &[("shards", &options.shards), ("lanes", &options.lanes), ("ms", &ms)]);
    shared.enter(Phase::Ready);
    let Ports { resp, cluster, admin, .. } = shared.ports;
    let fields: log::Fields<'_> =
        &[("resp", &resp), ("cluster", &cluster), ("admin", &admin), ("pid", &std::process::id())];
    log::info("node", "ready", fields);
    announce(options, shared.ports)?;
    signals.forever().next();
    shared.enter(Phase::Stopping);
    log::info("node", "stopping: finishing what was begun", &[]);
    Ok(())
}

/// The log and the clock; and a write beyond what the process's files may hold is an error to be handled, not the end of it by
/// SIGXFSZ.
fn set_up_process(options: &Dev) -> std::io::Result<()> {
    log::start(options.log_level, options.log_format);
    crate::clock::follow_tests();
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(drop)
}

/// Recovers the log and makes room in it; a full disk lets the node start if its term can be written.
fn open_log(disk: &RealDisk) -> Result<(Wal<RealDisk>, Recovery), StorageError> {
    let (mut wal, recovery) = Wal::open(disk.clone(), WalOptions::default())?;
    for line in &recovery.cut {
        log::warn("recovery", line, &[]);
    }
    match wal.prepare(ROOM_BYTES_WANTED) {
        Err(error @ StorageError::NoSpace { .. }) if wal.fits_batch(START_BYTES) => {
            log::warn("recovery", "the disk is nearly full", &[("error", &error)]);
        }
        prepared => prepared?,
    }
    Ok((wal, recovery))
}

/// What a lack of room means to a node that isn't there yet.
fn no_start(error: StorageError) -> Box<dyn Error> {
    match error {
        StorageError::NoSpace { file, source } => format!(
            "no room on the disk for {file}: {source}; the log needs some to begin: make room, then start again"
        )
        .into(),
        other => other.into(),
    }
}

/// Ends the process at once, with a reason: what is on disk is the truth from here.
pub fn die(reason: &str) -> ! {
    log::error("node", "stopped at once", &[("reason", &reason)]);
    std::process::exit(70)
}

/// Takes the ports before anything else, so that a taken one costs nothing.
fn bind_all(options: &Dev) -> Result<(Vec<Door>, TcpListener, Ports), Box<dyn Error>> {
    let resp = bind("--port", options.resp_port())?;
    let admin = options.admin_port().ok_or("there is no port after 65535 for admin: give one by --admin-port")?;
    let admin = bind("--admin-port", admin)?;
    let cluster =
        options.cluster_port().ok_or("there are no five ports after the RESP port: give one by --cluster-port")?;
    let cluster = bind("--cluster-port", cluster)?;
    let memcached = options.memcached_port.map(|port| bind("--memcached-port", port)).transpose()?;
    let ports = Ports {
        resp: port(&resp)?,
        cluster: port(&cluster)?,
        admin: port(&admin)?,
        memcached: memcached.as_ref().map(port).transpose()?,
        peers: None,
    };
    let door = |endpoint, listener| Door { endpoint, listener: mio::net::TcpListener::from_std(listener) };
    let doors = [(Endpoint::Routing, Some(resp)), (Endpoint::Cluster, Some(cluster)), (Endpoint::Memcached, memcached)];
    let doors = doors.into_iter().filter_map(|(endpoint, listener)| Some(door(endpoint, listener?)));
    Ok((doors.collect(), admin, ports))
}

fn port(listener: &TcpListener) -> std::io::Result<u16> {
    listener.local_addr().map(|address| address.port())
}

fn bind(flag: &str, port: u16) -> Result<TcpListener, Box<dyn Error>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).and_then(|()| socket.listen(1024)).map_err(|error| {
        format!("{address} can't be listened on: {error}; choose another port by {flag}, or {flag} 0 for a free one")
    })?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn identity(node: NodeId, cluster: Option<&Cluster>) -> Identity {
    let name = cluster.map_or("dev".to_owned(), |cluster| cluster.name.clone());
    Identity { cluster: cluster.map(|cluster| cluster.id), node, name }
}

fn share(options: &Dev, identity: Identity, ports: Ports) -> Result<(Arc<Shared>, Vec<Poll>), Box<dyn Error>> {
    let mut polls = Vec::new();
    let mut mailboxes = Vec::new();
    for _ in 0..options.lanes {
        let poll = Poll::new()?;
        mailboxes.push(Mailbox::new(Waker::new(poll.registry(), WAKER)?));
        polls.push(poll);
    }
    let shared = Shared::new(options, identity, ports, mailboxes);
    shared.settings.set_memory_bytes_max(options.maxmemory);
    shared.settings.set_memory_policy(options.maxmemory_policy);
    shared.settings.set_on_lost_leader(options.on_lost_leader);
    Ok((Arc::new(shared), polls))
}

/// Room in the log without which a node can't even begin its term.
const START_BYTES: u64 = 256 * 1024;

type Found = (BTreeMap<ShardId, SnapshotMark>, BTreeMap<ShardId, RecoveredReplica>);

/// Loads the snapshots that the log builds upon.
fn recover(disk: &RealDisk, shards: BTreeMap<ShardId, RecoveredShard>) -> Result<Found, Box<dyn Error>> {
    let mut durable = BTreeMap::new();
    let mut replicas = BTreeMap::new();
    for (shard, log) in shards {
        let keyspace = log.snapshot.as_ref().map(|mark| keeper::load(disk, shard, mark)).transpose()?;
        if let Some(mark) = log.snapshot.clone() {
            durable.insert(shard, mark);
        }
        replicas.insert(shard, RecoveredReplica { shard, log, keyspace });
    }
    Ok((durable, replicas))
}

/// The number of shards is fixed when the directory is made.
fn fix_shape(disk: &RealDisk, dir: &Path, shards: u16) -> Result<(), Box<dyn Error>> {
    match storage::read_label(disk, "shards")? {
        Some(text) if text == shards.to_string() => Ok(()),
        Some(text) => {
            let dir = dir.display();
            Err(format!("{dir} was made with --shards {text}, not {shards}; give that number or another --dir").into())
        }
        None => Ok(storage::write_label(disk, "shards", &shards.to_string())?),
    }
}

/// This node's id: random, made at its first start, or the one that its cluster knows it by.
fn node_id(disk: &RealDisk, cluster: Option<&Cluster>) -> Result<NodeId, Box<dyn Error>> {
    let wanted = cluster.map(|cluster| cluster.me);
    match storage::read_label(disk, "node-id")? {
        Some(text) => {
            let id = NodeId(u64::from_str_radix(&text, 16)?);
            match wanted.filter(|wanted| *wanted != id) {
                Some(wanted) => Err(format!("the directory is of node {:016x}, not {:016x}", id.0, wanted.0).into()),
                None => Ok(id),
            }
        }
        None => {
            let id = wanted.map_or_else(|| disk.random(), |wanted| Ok(wanted.0))?;
            storage::write_label(disk, "node-id", &format!("{id:016x}"))?;
            Ok(NodeId(id))
        }
    }
}

/// Writes a small file so that it is there in whole or not at all.
fn store(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    std::fs::File::open(path.parent().expect("a file has a directory"))?.sync_all()
}

/// Says where the node serves: on stdout, and in the directory for `tidegate status`.
fn announce(options: &Dev, ports: Ports) -> Result<(), Box<dyn Error>> {
    let pid = std::process::id();
    let [resp, cluster, admin] = [ports.resp, ports.cluster, ports.admin].map(|port| format!("{HOST}:{port}"));
    let memcached = ports.memcached.map(|port| format!("{HOST}:{port}"));
    let mut endpoints = serde_json::json!({ "resp": resp, "cluster": cluster, "admin": admin, "pid": pid });
    if let Some(memcached) = &memcached {
        endpoints["memcached"] = memcached.as_str().into();
    }
    let endpoints = format!("{endpoints}\n");
    for (name, text) in [("endpoints.json", endpoints), ("pid", format!("{pid}\n"))] {
        if let Err(error) = store(&options.dir.join(name), &text) {
            // A full disk is no reason not to serve: the ready line says the same.
            log::warn("node", "where the node serves can't be written", &[("file", &name), ("error", &error)]);
        }
    }
    let mut stdout = std::io::stdout().lock();
    let memcached = memcached.map_or(String::new(), |at| format!(" memcached={at}"));
    writeln!(stdout, "ready resp={resp} cluster={cluster} admin={admin}{memcached} pid={pid}")?;
    stdout.flush()?;
    Ok(())
}

/// A test hook: `TIDEGATE_SLOW_SYNC_US` is added to every sync.
fn slow_sync() -> Result<Duration, Box<dyn Error>> {
    match std::env::var("TIDEGATE_SLOW_SYNC_US") {
        Ok(text) => Ok(Duration::from_micros(text.parse().map_err(|_| "TIDEGATE_SLOW_SYNC_US is no number")?)),
        Err(_) => Ok(Duration::ZERO),
    }
}
