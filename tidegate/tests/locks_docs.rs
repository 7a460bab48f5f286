//! What is told of locks is true: each command of docs/locks.md, as it stands there, against a fresh node; and the example in Rust, on
//! a cluster through kill -9. The examples in Python are run by tidegate/tests/recipes.sh.

#[path = "../examples/fenced_writer.rs"]
mod fenced_writer;
mod support;

use std::process::{Command, Stdio};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

const DOCS: &str = include_str!("../../docs/locks.md");

/// Between what one command prints and the next.
const END: &str = "-- that was one command --";

/// The blocks of the document that a shell runs: commands, and behind each what it prints, in lines that begin with "# ".
fn blocks() -> Vec<Vec<(String, Vec<String>)>> {
    let blocks = DOCS.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks
        .map(|block| {
            let mut commands: Vec<(String, Vec<String>)> = Vec::new();
            for line in block.lines().filter(|line| !line.is_empty()) {
                match (line.strip_prefix("# "), commands.last_mut()) {
                    (Some(printed), Some((_, wanted))) => wanted.push(printed.to_owned()),
                    (_, Some((command, wanted))) if wanted.is_empty() && command.ends_with('\\') => {
                        *command += &format!("\n{line}");
                    }
                    _ => commands.push((line.to_owned(), Vec::new())),
                }
            }
            commands
        })
        .collect()
}

/// True if a line is what the document shows, where `..` stands for anything.
fn is_like(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    for (at, part) in wanted.split("..").enumerate() {
        match (at, rest.find(part)) {
            (0, Some(0)) | (1.., Some(_)) => rest = &rest[rest.find(part).unwrap_or(0) + part.len()..],
            _ => return false,
        }
    }
    rest.is_empty() || wanted.ends_with("..")
}

#[test]
fn each_command_of_the_document_prints_what_stands_there() {
    let folder = Folder::new("locks-docs");
    let node = Node::start(folder.path());
    let (mut run, mut shown) = (0, 0);
    for block in blocks() {
        // The commands of a block share a shell, and so its variables.
        let script: String = block.iter().map(|(command, _)| format!("{command}\necho {END}\n")).collect();
        let script = script
            .replace("127.0.0.1:7379", node.admin())
            .replace("redis-cli ", &format!("redis-cli -p {} ", node.port()))
            .replace("tidegate locks ", &format!("{} locks ", env!("CARGO_BIN_EXE_tidegate")));
        let output = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().expect("bash is there");
        let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for ((command, wanted), printed) in block.iter().zip(printed.split(&format!("{END}\n"))) {
            let lines: Vec<&str> = printed.lines().collect();
            let same = lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, like)| is_like(line, like));
            assert!(same, "{command}\nprints\n{printed}{errors}\nand not\n{}", wanted.join("\n"));
            (run, shown) = (run + 1, shown + wanted.len());
        }
    }
    assert!(run >= 12 && shown >= 12, "{run} commands and {shown} lines were found");
}

#[test]
fn what_is_like_a_line_of_the_document_is_told_from_what_is_not() {
    assert!(is_like("a 17 b", "a .. b") && is_like("a b", "a b") && is_like("a 17", "a .."));
    assert!(!is_like("a 17 c", "a .. b") && !is_like("a b c", "a b") && !is_like("x a 17 b", "a .. b"));
}

#[test]
fn the_example_adds_up_through_the_death_of_a_node() {
    let folder = Folder::new("locks-docs");
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
