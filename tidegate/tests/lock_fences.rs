//! Locks and the store's fences together, on real processes: `LOCK.ACQUIRE .. FENCING`, floors that a grant must exceed, and fences that
//! nobody can have been given.

mod support;

use std::time::{Duration, Instant};
use support::calls::{ask, await_number, begins, fenced, reply, send};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

/// The floors that shards tell of a lock.
fn floors(client: &mut Client, lock: &str) -> Vec<i64> {
    let Reply::Array(shards) = ask(client, &format!("FENCE.INFO {lock}")) else { panic!("FENCE.INFO is a list") };
    let floor = |shard: &Reply| match shard {
        Reply::Array(parts) => match parts[1] {
            Reply::Integer(floor) => floor,
            ref other => panic!("no floor: {other:?}"),
        },
        other => panic!("no shard: {other:?}"),
    };
    shards.iter().map(floor).collect()
}

fn is_free(client: &mut Client, name: &str) -> bool {
    let Reply::Array(all) = ask(client, &format!("LOCK.INFO {name}")) else { panic!("LOCK.INFO is a map") };
    let at = all.iter().position(|word| *word == Reply::bulk("holders")).expect("it names holders");
    all[at + 1] == Reply::Array(Vec::new())
}

fn release(client: &mut Client, name: &str, owner: &str, token: i64) {
    assert_eq!(ask(client, &format!("LOCK.RELEASE {name} {owner} {token}")), Reply::Integer(1));
}

/// Keys of all shards, whatever their number is.
const KEYS: &str = "a b c d e f g h i j k l m n o p q r s t u v w x y z";

#[test]
fn a_grant_comes_when_the_shards_of_its_keys_know_its_fence() {
    let folder = Folder::new("lock-fences");
    // Two lanes: some shards are not on the one that has the locks.
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "2", "--shards", "4"]));
    let (mut old, mut new) = (node.client(), node.client());
    let (token, fence) = fenced(ask(&mut old, "LOCK.ACQUIRE l old 60000"));
    assert_eq!(ask(&mut old, &format!("FENCE l {fence} SET a 1")), Reply::ok());
    release(&mut old, "l", "old", token);
    let (second, next) = fenced(ask(&mut new, &format!("LOCK.ACQUIRE l new 60000 WAIT 5 FENCING {KEYS}")));
    for key in KEYS.split(' ') {
        assert!(begins(&ask(&mut old, &format!("FENCE l {fence} SET {key} late")), "FENCED "), "{key}");
    }
    assert!(floors(&mut new, "l").iter().all(|floor| *floor == next));
    assert_eq!(ask(&mut new, "GET a"), Reply::bulk("1"));
    assert_eq!(ask(&mut old, &format!("LOCK.ACQUIRE l old 60000 FENCING {KEYS}")), Reply::Null, "it is held");
    assert_eq!(fenced(ask(&mut new, &format!("LOCK.ACQUIRE l new 60000 TOKEN {second} FENCING a"))), (second, next));
    release(&mut new, "l", "new", second);
}

#[test]
fn in_a_cluster_any_node_installs_fences_wherever_the_shards_are_led() {
    let folder = Folder::new("lock-fences-cluster");
    let mut cluster = Cluster::start(folder.path());
    let mut last = 0;
    for at in 0..2 * NODES {
        // In the second half one node is gone, and its shards find other leaders meanwhile.
        if at == NODES {
            cluster.kill(0);
        }
        let at = if at > NODES { at % NODES } else { at.min(1 + at % (NODES - 1)) };
        let at = if cluster.children[at].is_some() { at } else { 1 };
        let mut client = cluster.client(at);
        let words = format!("LOCK.ACQUIRE l o 60000 WAIT 5000 ID {last} FENCING {KEYS}");
        let deadline = Instant::now() + Duration::from_secs(60);
        let (token, fence) = loop {
            match ask(&mut client, &words) {
                Reply::Array(parts) => break fenced(Reply::Array(parts)),
                other => assert!(Instant::now() < deadline, "{other:?}"),
            }
        };
        assert!(fence > last);
        for key in KEYS.split(' ').step_by(5) {
            assert!(last == 0 || begins(&ask(&mut client, &format!("FENCE l {last} SET {key} late")), "FENCED "));
            assert_eq!(ask(&mut client, &format!("FENCE l {fence} SET {key} now")), Reply::ok());
        }
        release(&mut client, "l", "o", token);
        last = fence;
    }
}

#[test]
fn a_grant_jumps_above_floors_and_what_nobody_was_given_is_refused() {
    let folder = Folder::new("lock-fences");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let (token, fence) = fenced(ask(&mut client, "LOCK.ACQUIRE l o 60000 FENCING k"));
    // A number that no holder had, but could have.
    assert_eq!(ask(&mut client, "FENCE l 5000 GET k"), Reply::Null);
    assert!(begins(&ask(&mut client, &format!("FENCE l {fence} GET k")), "FENCED "));
    let (same, raised) = fenced(ask(&mut client, &format!("LOCK.ACQUIRE l o 60000 TOKEN {token} FENCING k")));
    assert!(same == token && raised == 5001, "{same} {raised}");
    assert_eq!(ask(&mut client, &format!("FENCE l {raised} SET k v")), Reply::ok());
    release(&mut client, "l", "o", token);
    let (token, next) = fenced(ask(&mut client, "LOCK.ACQUIRE l p 60000"));
    assert!(next > raised && token >= next, "it goes on from there");
    release(&mut client, "l", "p", token);
    let beyond = 1_i64 << 60;
    assert!(begins(&ask(&mut client, &format!("FENCE l {beyond} GET k")), "ERR the fence"));
    // An administrator may poison a name. Nobody is told that he holds it under a fence that is refused.
    assert_eq!(ask(&mut client, &format!("FENCE.RESET l {beyond}")), Reply::ok());
    assert!(begins(&ask(&mut client, "LOCK.ACQUIRE l q 60000 FENCING k"), "NOQUORUM "));
    assert!(is_free(&mut client, "l"), "it was given back");
    // So is a grant that was waited for.
    let (held, _) = fenced(ask(&mut client, "LOCK.ACQUIRE l p 60000"));
    let mut waits = node.client();
    send(&mut waits, "LOCK.ACQUIRE l w 60000 WAIT 30000 FENCING k");
    await_number(&mut client, "locks", "locks_waiting", |count| count == 1);
    release(&mut client, "l", "p", held);
    let told = reply(&mut waits);
    assert!(begins(&told, "NOQUORUM "), "{told:?}");
    assert!(is_free(&mut client, "l"), "it was given back");
    let (token, _) = fenced(ask(&mut client, "LOCK.ACQUIRE l q 60000"));
    let again = ask(&mut client, &format!("LOCK.ACQUIRE l q 60000 TOKEN {token} FENCING k"));
    assert!(begins(&again, "UNKNOWN ") && !is_free(&mut client, "l"), "what was held before stays held");
    assert_eq!(ask(&mut client, "FENCE.RESET l"), Reply::ok());
    fenced(ask(&mut client, &format!("LOCK.ACQUIRE l q 60000 TOKEN {token} FENCING k")));
}

#[test]
fn locks_whose_shard_has_forgotten_them_come_above_what_it_takes() {
    let folder = Folder::new("lock-fences");
    let node = Node::start(folder.path());
    let mut client = node.client();
    // More names than a shard knows: the first are forgotten, and leave their floors to their slots.
    let names = 70_000;
    for at in 0..names {
        let (name, fence) = (format!("n{at}"), (900_000 + at).to_string());
        client.send(&["FENCE", &name, &fence, "EXISTS", "k"]).expect("a node takes commands");
        if at % 500 == 499 {
            (0..500).for_each(|_| assert_eq!(client.reply().expect("a node answers"), Reply::Integer(0)));
        }
    }
    assert!(floors(&mut client, "n0")[0] >= 900_000);
    assert!(begins(
        &ask(&mut client, "FENCE n0 899999 EXISTS k"),
        "FENCED the fence 899999 of the lock 'n0' is too old"
    ));
    let (_, fence) = fenced(ask(&mut client, "LOCK.ACQUIRE n0 o 60000 FENCING k"));
    assert!(fence > 900_000);
    // The lane tells now and then what its slots have; from then on no grant is below.
    let deadline = Instant::now() + Duration::from_secs(30);
    for at in 1.. {
        let name = format!("n{at}");
        let (_, fence) = fenced(ask(&mut client, &format!("LOCK.ACQUIRE {name} o 60000")));
        if !begins(&ask(&mut client, &format!("FENCE {name} {fence} EXISTS k")), "FENCED ") {
            break;
        }
        assert!(Instant::now() < deadline, "{fence} is too old");
    }
}
