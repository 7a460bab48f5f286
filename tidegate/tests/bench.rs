//! `tidegate bench` as a user meets it: a real process against a real node, and against servers that misbehave.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use support::{Client, Folder, Node, Reply};

#[test]
fn a_closed_loop_counts_every_request_and_says_what_it_is() {
    let folder = Folder::new("bench-closed");
    let node = Node::start(folder.path());
    let args = ["--requests", "2003", "--warmup", "0s", "--connections", "7", "--threads", "2", "--pipeline", "3"];
    let json = stdout(&bench(&node, &[&args[..], &["--mix", "get=1,set=1", "--keys", "50", "--json"]].concat()));
    assert_eq!((number(&json, "replies"), number(&json, "errors_count")), (2003.0, 0.0), "{json}");
    assert!(json.contains("\"loop\":\"closed\"") && number(&json, "throughput_per_s") > 0.0, "{json}");
    let keys = ask(&mut node.client(), "DBSIZE");
    assert!(matches!(keys, Reply::Integer(1..=50)), "{keys:?}");
    let text = stdout(&bench(&node, &["--requests", "500", "--warmup", "0s"]));
    assert!(text.contains("closed loop") && text.contains("latency is service time"), "{text}");
    assert!(text.contains("errors      none") && text.contains("by L = λW"), "{text}");
}

#[test]
fn an_open_loop_sends_what_is_due_and_measures_from_then() {
    let folder = Folder::new("bench-open");
    let node = Node::start(folder.path());
    let args = ["--rate", "500", "--arrivals", "uniform", "--duration", "1s", "--warmup", "0s", "--threads", "2"];
    let json = stdout(&bench(&node, &[&args[..], &["--json"]].concat()));
    assert_eq!((number(&json, "replies"), number(&json, "unanswered")), (500.0, 0.0), "{json}");
    assert!(json.contains("\"loop\":\"open\",\"rate_per_s\":500"), "{json}");
    let text = stdout(&bench(&node, &args));
    assert!(text.contains("open loop, 500/s uniform") && text.contains("response"), "{text}");
    assert!(text.contains("behind its schedule") || text.contains("the generator was late by"), "{text}");
}

#[test]
fn errors_are_counted_by_their_first_word() {
    let folder = Folder::new("bench-errors");
    let node = Node::start(folder.path());
    assert_eq!(ask(&mut node.client(), "SET key:000000000000 word"), Reply::ok());
    let args = ["--requests", "100", "--warmup", "0s", "--keys", "2", "--command", "INCR key:{}"];
    let text = stdout(&bench(&node, &args));
    assert!(text.contains(" ERR, the first: ERR value is not an integer or out of range"), "{text}");
    let output = bench(&node, &["--requests", "100", "--warmup", "0s", "--command", "NOSUCH {}"]);
    assert!(!output.status.success() && stderr(&output).contains("every reply was an error"), "{}", stderr(&output));
}

#[test]
fn a_local_node_is_found_by_its_folder() {
    let folder = Folder::new("bench-dir");
    let _node = Node::start(folder.path());
    let dir = folder.path().to_str().expect("the folder's name is text");
    let text = stdout(&run(&["--dir", dir, "--requests", "10", "--warmup", "0s"]));
    assert!(text.contains("10 in all"), "{text}");
}

#[test]
fn a_password_is_given_and_a_missing_one_is_asked_for() {
    let mut proved = false;
    let server = serve(move |line, stream| {
        proved |= line == "AUTH";
        let reply = if proved { "+OK\r\n" } else { "-NOAUTH Authentication required.\r\n" };
        stream.write_all(reply.as_bytes()).is_ok()
    });
    refused(&["--target", &server], &["NOAUTH", "--password", &server]);
    let given = ["--target", &server, "--password", "secret", "--connections", "1", "--mix", "ping=1"];
    let text = stdout(&run(&[&given[..], &["--requests", "10", "--warmup", "0s"]].concat()));
    assert!(text.contains("10 in all"), "{text}");
}

#[test]
fn what_goes_wrong_before_the_run_is_told_with_its_remedy() {
    let loading = serve(|_, stream| stream.write_all(b"-LOADING it takes a while\r\n").is_ok());
    refused(&["--target", &loading], &["LOADING", &loading]);
    let web = serve(|_, stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").is_ok());
    refused(&["--target", &web], &["doesn't speak RESP", "HTTP/1.1 400 Bad Request"]);
    let closes = serve(|_, _| false);
    refused(&["--target", &closes], &["closed the connection"]);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    refused(&["--target", &nobody.to_string()], &["nobody can be reached at", &nobody.to_string(), "--target"]);
    refused(&["--dir", "/nowhere", "--mix", "hset=1"], &["--mix", "'hset' is none of get, set"]);
    refused(&["--duration", "10"], &["--duration", "500ms, 10s"]);
    refused(&["--rate", "0"], &["--rate"]);
    refused(&["--key-distribution", "pareto"], &["zipf:EXPONENT"]);
}

#[test]
fn lost_connections_are_told_and_their_requests_counted() {
    // The first PING is the greeting's.
    let mut answered = 0;
    let server = serve(move |_, stream| {
        answered += 1;
        answered <= 11 && stream.write_all(b"+PONG\r\n").is_ok()
    });
    let args = ["--target", &server, "--connections", "1", "--mix", "ping=1", "--warmup", "0s", "--requests", "100"];
    let text = stdout(&run(&args));
    assert!(text.contains("10 in all") && text.contains("unanswered  1;"), "{text}");
    assert!(text.contains("lost        1 of 1 connections: "), "{text}");
}

fn bench(node: &Node, args: &[&str]) -> Output {
    let target = format!("127.0.0.1:{}", node.port());
    run(&[&["--target", &target], args].concat())
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("bench").args(args).stdin(Stdio::null()).output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "it failed: {}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The run doesn't begin, and says each of the words.
fn refused(args: &[&str], words: &[&str]) {
    let output = run(args);
    let message = stderr(&output);
    assert!(!output.status.success() && output.stdout.is_empty(), "{args:?} fails: {message}");
    assert!(words.iter().all(|word| message.contains(word)), "{args:?} says {words:?}: {message}");
}

/// The value of `"name":value` in a JSON object.
fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {json}"));
    let end = rest.find([',', '}']).expect("a value ends");
    rest[..end].parse().unwrap_or_else(|_| panic!("{name} is a number in {json}"))
}

fn ask(client: &mut Client, command: &str) -> Reply {
    client.ask(&command.split(' ').collect::<Vec<_>>()).expect("the node answers")
}

/// A server of one connection at a time that answers each command's name by `answer`, until that says false.
fn serve(mut answer: impl FnMut(&str, &mut TcpStream) -> bool + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection comes");
            let lines = BufReader::new(stream.try_clone().expect("a socket can be shared")).lines();
            // Of `*n`, `$4`, `PING` and the rest, names are the words in capitals.
            for line in lines.map_while(Result::ok).filter(|line| line.chars().all(|c| c.is_ascii_uppercase())) {
                if !answer(&line, &mut stream) {
                    break;
                }
            }
        }
    });
    address
}
