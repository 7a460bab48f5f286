//! The shapes of CLUSTER, and where commands run, on maps drawn by hand.

use super::check::Alone;
use super::*;
use data::command::find;
use data::{Refused, Reply};
use std::sync::Arc;

fn member(id: u64) -> Member {
    let port = 7000 + u16::try_from(id).expect("a small id");
    let link = if id == 1 { Link::Myself } else { Link::Up(5) };
    let address = Address { host: "h".to_owned(), port, peers_port: port + 1 };
    Member { id: NodeId(id), address: Some(address), link }
}

/// Three nodes and as many shards as leaders are named; 0 is nobody for a moment, 9 nobody for long.
fn map(leaders: &[u64]) -> Map {
    let hosts = |leader: &u64| Hosts {
        leader: match leader {
            0 => Leader::Awaited,
            9 => Leader::Nobody,
            id => Leader::Node(NodeId(*id)),
        },
        voters: [1, 2, 3].map(NodeId).into(),
        term: Term(4),
        applied: Index(6),
    };
    Map {
        me: NodeId(1),
        epoch: Epoch(1),
        members: [1, 2, 3].map(member).into(),
        shards: leaders.iter().map(hosts).collect(),
    }
}

fn answer(map: &Map, line: &str) -> Reply {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    map.answer(find(b"cluster").expect("a command"), &args).expect("the map answers")
}

/// CLUSTER SLOTS as (first, last, ids).
fn slots(map: &Map) -> Vec<(i64, i64, Vec<u64>)> {
    let Reply::Array(rows) = answer(map, "cluster slots") else { panic!("it is an array") };
    let id = |node: &Reply| match node {
        Reply::Array(node) => match &node[2] {
            Reply::Bulk(name) => {
                assert_eq!(name.as_bytes().len(), 40);
                u64::from_str_radix(std::str::from_utf8(name.as_bytes()).expect("hex"), 16).expect("hex")
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let row = |row: Reply| match row {
        Reply::Array(row) => match &row[..] {
            [Reply::Int(first), Reply::Int(last), nodes @ ..] => (*first, *last, nodes.iter().map(id).collect()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    rows.into_iter().map(row).collect()
}

fn check(map: Map, readonly: bool, line: &str, alone: Alone) -> Result<Place, String> {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let view = View { map: Arc::new(map), readonly };
    view.check(find(args[0]).expect("a command"), &args, alone).map_err(|refused: Refused| refused.to_string())
}

#[test]
fn neighbours_of_one_leader_are_one_range() {
    assert_eq!(
        slots(&map(&[1, 1, 2, 3])),
        [(0, 8191, vec![1]), (8192, 12_287, vec![2]), (12_288, 16_383, vec![3])],
        "who leads anything is a replica of nothing"
    );
    assert_eq!(slots(&map(&[2, 2, 2])), [(0, 16_383, vec![2, 1, 3])], "who leads nothing is a replica");
    let mut lost = map(&[2, 2, 2]);
    lost.members[2].link = Link::Down;
    assert_eq!(slots(&lost), [(0, 16_383, vec![2, 1])]);
}

#[test]
fn a_shard_without_a_leader_is_asked_for_here_until_that_takes_too_long() {
    assert_eq!(slots(&map(&[2, 0, 3])), [(0, 5461, vec![2]), (5462, 10_922, vec![1]), (10_923, 16_383, vec![3])]);
    assert_eq!(slots(&map(&[2, 9, 3])), [(0, 5461, vec![2, 1]), (10_923, 16_383, vec![3, 1])]);
    assert_eq!(check(map(&[0]), false, "set foo x", Alone::Yes), Ok(Place::Leader));
    let down = check(map(&[9]), false, "set foo x", Alone::Yes).expect_err("nobody leads");
    assert!(down.starts_with("CLUSTERDOWN Hash slot not served"), "{down}");
    let Reply::Verbatim(info) = answer(&map(&[1, 9, 9, 9]), "cluster info") else { panic!("it is text") };
    assert!(
        info.starts_with("cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:4096\r\n"),
        "{info}"
    );
}

#[test]
fn a_command_runs_at_the_leader_or_with_leave_on_a_replica() {
    let slot = Slot::of(b"foo");
    assert_eq!(slot.shard(4), ShardId(2));
    let moved = Err(format!("MOVED {} h:7002", slot.0));
    let here = [2, 2, 1, 2];
    let there = [1, 1, 2, 1];
    assert_eq!(check(map(&here), false, "get foo", Alone::Yes), Ok(Place::Leader));
    assert_eq!(check(map(&there), false, "get foo", Alone::Yes), moved);
    assert_eq!(check(map(&there), true, "get foo", Alone::Yes), Ok(Place::Replica(slot)));
    assert_eq!(check(map(&there), true, "get foo", Alone::No), moved, "a transaction is the leader's");
    assert_eq!(check(map(&there), true, "set foo x", Alone::Yes), moved);
    assert_eq!(check(map(&there), true, "watch foo", Alone::Yes), moved);
    assert_eq!(check(map(&there), false, "ping", Alone::Yes), Ok(Place::Leader));
    let crossed = Err("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
    assert_eq!(check(map(&here), false, "mget foo bar", Alone::Yes), crossed);
    assert_eq!(check(map(&here), false, "mget {foo}1 {foo}2", Alone::Yes), Ok(Place::Leader));
    let mut elsewhere = map(&there);
    elsewhere.shards[2].voters = [2, 3].map(NodeId).into();
    assert_eq!(check(elsewhere, true, "get foo", Alone::Yes), moved, "this node has no copy");
    let mut unknown = map(&there);
    unknown.members[1].address = None;
    let down = check(unknown, false, "get foo", Alone::Yes).expect_err("where to?");
    assert!(down.starts_with("CLUSTERDOWN ") && down.contains("0000000000000002"), "{down}");
}

#[test]
fn nodes_are_told_by_lines_that_clients_parse() {
    let mut map = map(&[2, 2, 1]);
    map.members[2].link = Link::Down;
    let Reply::Verbatim(text) = answer(&map, "CLUSTER NODES") else { panic!("it is text") };
    let name = |id: u64| format!("{id:040x}");
    let lines = [
        format!("{} h:7001@7002 myself,master - 0 0 4 connected 10923-16383\n", name(1)),
        format!("{} h:7002@7003 master - 0 5 4 connected 0-10922\n", name(2)),
        format!("{} h:7003@7004 slave,fail {} 0 0 4 disconnected\n", name(3), name(2)),
    ];
    assert_eq!(text, lines.concat());
    let replica = Reply::bulk(lines[2].trim_end().as_bytes());
    assert_eq!(answer(&map, &format!("cluster replicas {}", name(2))), Reply::Array(vec![replica]));
    assert_eq!(answer(&map, &format!("cluster slaves {}", name(1))), Reply::Array(Vec::new()));
    let refused = |text: &str| Reply::Error(Refused::Text(text.to_owned()));
    assert_eq!(answer(&map, "cluster replicas abc"), refused("ERR Unknown node abc"));
    let id = name(3);
    assert_eq!(answer(&map, &format!("cluster replicas {id}")), refused("ERR The specified node is not a master"));
    map.members[1].address = None;
    let Reply::Verbatim(text) = answer(&map, "CLUSTER NODES") else { panic!("it is text") };
    assert!(text.contains(&format!("{} :0@0 master,noaddr - ", name(2))), "{text}");
}
