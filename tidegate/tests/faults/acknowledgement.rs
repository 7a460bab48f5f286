//! What an acknowledgement rests on: a majority of the nodes, and the disks of a majority.

use crate::nodes::{NODES, Nodes, SHARDS, Setup, key_of_shard, resp};
use crate::support::{Client, Folder, Reply};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn with_two_of_three_nodes_stopped_no_write_is_acknowledged() {
    let _alone = crate::alone();
    let folder = Folder::new("faults-minority");
    let mut nodes = Nodes::start(folder.path());
    for left in 0..NODES {
        let stopped: Vec<usize> = (0..NODES).filter(|at| *at != left).collect();
        stopped.iter().for_each(|at| nodes.signal(*at, "STOP"));
        let told: Vec<String> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..SHARDS).map(|shard| scope.spawn(move || write(left, shard))).collect();
            asked.into_iter().map(|one| one.join().expect("a client ends")).collect()
        });
        println!("only node {left} runs: {told:?}");
        assert!(told.iter().all(|told| told != "OK"), "{told:?}");
        stopped.iter().for_each(|at| nodes.signal(*at, "CONT"));
        let back = nodes.await_service();
        println!("a majority runs again, and serves within {back:?}");
    }
}

/// What a node says of a write to a shard.
fn write(at: usize, shard: u16) -> String {
    let asked = Client::connect_within(&resp(at), Duration::from_secs(3))
        .and_then(|mut client| client.ask(&["SET", &key_of_shard("alone", shard), "1"]));
    match asked {
        Ok(Reply::Simple(text)) => text,
        Ok(Reply::Error(text)) => text.split(' ').next().unwrap_or_default().to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Sequential SETs of the run under strace.
const SETS: usize = 200;

#[test]
fn an_acknowledgement_follows_the_syncs_of_two_nodes() {
    let _alone = crate::alone();
    let folder = Folder::new("faults-syncs");
    let trace = |at: usize| folder.path().join(format!("trace-{at}"));
    let calls = ["strace", "-D", "-f", "-ttt", "-T", "-s", "9000", "-e", "trace=fdatasync,pwrite64", "-o"];
    let launcher = (0..NODES)
        .map(|at| calls.iter().map(ToString::to_string).chain([trace(at).display().to_string()]).collect())
        .collect();
    let mut nodes = Nodes::start_with(folder.path(), Setup { launcher, slow_links: false });
    let mut acknowledged = Vec::new();
    let mut clients: Vec<Client> =
        (0..NODES).map(|at| Client::connect_within(&resp(at), Duration::from_secs(20)).expect("it serves")).collect();
    for at in 0..SETS {
        let reply = clients[at % NODES].ask(&["SET", &format!("key-{at:06}-end"), "v"]).expect("a node answers");
        assert_eq!(reply, Reply::ok());
        acknowledged.push(SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs_f64());
    }
    (0..NODES).for_each(|at| nodes.terminate(at, &crate::pace::Pace::default()));
    let durable: Vec<BTreeMap<usize, f64>> = (0..NODES).map(|at| syncs(&trace(at))).collect();
    let mut third = 0;
    for (at, acknowledged) in acknowledged.iter().enumerate() {
        let before = durable.iter().filter(|node| node.get(&at).is_some_and(|synced| synced <= acknowledged)).count();
        assert!(before >= 2, "SET {at} was acknowledged when {before} nodes had it on disk");
        third += usize::from(before == NODES);
    }
    println!("{SETS} acknowledgements, each behind the syncs of at least two nodes, {third} of them behind three");
}

/// When the first sync had returned that covers each key, by the wall clock, as a trace tells.
fn syncs(trace: &Path) -> BTreeMap<usize, f64> {
    let (mut written, mut syncing) = (BTreeMap::<String, Vec<usize>>::new(), BTreeMap::<String, Vec<usize>>::new());
    let mut durable = BTreeMap::new();
    for line in std::fs::read_to_string(trace).expect("strace has written its trace").lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else { continue };
        let Ok(time) = time.parse::<f64>() else { continue };
        if rest.starts_with("pwrite64(") {
            let keys =
                rest.match_indices("key-").filter_map(|(at, _)| rest.get(at + 4..at + 10)?.parse::<usize>().ok());
            written.entry(thread.to_owned()).or_default().extend(keys);
            continue;
        }
        if rest.starts_with("fdatasync(") {
            syncing.entry(thread.to_owned()).or_default().extend(written.remove(thread).unwrap_or_default());
        }
        let took = rest.rsplit_once('<').and_then(|(_, took)| took.strip_suffix('>')?.parse::<f64>().ok());
        if let (true, Some(took)) = (rest.contains("= 0"), took) {
            // A line that resumes has the time of its end, any other that of its beginning.
            let end = if rest.starts_with("<...") { time } else { time + took };
            for key in syncing.remove(thread).unwrap_or_default() {
                durable.entry(key).or_insert(end);
            }
        }
    }
    durable
}
