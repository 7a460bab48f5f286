//! The example in Rust of a leader that writes under its fence, on a real cluster through kill -9. The examples in Python are run by
//! tidegate/tests/recipes.sh.

#[path = "../examples/fenced_writer.rs"]
mod fenced_writer;
mod support;

use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Reply};

#[test]
fn the_example_adds_up_through_the_death_of_a_node() {
    let folder = Folder::new("locks-example");
    let mut cluster = Cluster::start(folder.path());
    let nodes: Vec<String> = (0..NODES).map(|at| format!("127.0.0.1:{}", cluster.ports[at][0])).collect();
    let begin = |owner: &'static str, first: usize| {
        let mut nodes = nodes.clone();
        nodes.rotate_left(first);
        std::thread::spawn(move || fenced_writer::run(owner, 150, &nodes.join(",")))
    };
    let threads = [begin("ada", 0), begin("bob", 1), begin("eve", 2)];
    let mut client = Client::connect(&nodes[1]).expect("a node takes connections");
    let mut total = || match client.ask(&["GET", "ledger"]) {
        Ok(Reply::Bulk(text)) => String::from_utf8_lossy(&text).parse::<u64>().expect("a number"),
        _ => 0,
    };
    while total() < 20 {}
    cluster.kill(0);
    for thread in threads {
        assert!(thread.join().expect("it ends").expect("it adds all") >= 1);
    }
    assert_eq!(total(), 450, "nothing was added twice, and nothing was written over");
}
