//! `tidegate status`: asks a running node how it is, and prints a table, or the node's own document.
//!
//! The node is found by its admin address: the one that is given, or that of DIR/endpoints.json. The file outlives a
//! killed node, so what answers there must have the pid that the file names.

pub mod document;

use crate::cli::Status;
use serde_json::Value;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// How long a node may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// What a sane node answers with is far below this.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Prints the status of a node.
pub fn run(options: &Status) -> Result<(), Box<dyn Error>> {
    let text = match &options.admin {
        Some(address) => ask(address).map_err(|error| {
            format!("no node answers at {address}: {error}; give the admin address of its ready line")
        })?,
        None => ask_of_dir(&options.dir)?,
    };
    let mut stdout = std::io::stdout().lock();
    if options.json {
        stdout.write_all(text.as_bytes())?;
    } else {
        stdout.write_all(table(&serde_json::from_str(&text)?).as_bytes())?;
    }
    Ok(())
}

/// Asks the node that runs on a directory.
fn ask_of_dir(dir: &Path) -> Result<String, Box<dyn Error>> {
    let path = dir.join("endpoints.json");
    let start = format!("start one by `tidegate dev --dir {}`, or name another by --dir or --admin", dir.display());
    let file = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Value>(&text)
            .map_err(|error| format!("{} can't be understood: {error}; give --admin", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("no node runs on {}: there is no endpoints.json; {start}", dir.display()).into());
        }
        Err(error) => return Err(format!("{} can't be read: {error}", path.display()).into()),
    };
    let address = file["admin"].as_str().ok_or_else(|| format!("{} names no admin address", path.display()))?;
    let gone =
        |why: String| format!("no node runs on {}: {why} at {address}, where the last one was; {start}", dir.display());
    let text = ask(address).map_err(|error| gone(error.to_string()))?;
    let pid = serde_json::from_str::<Value>(&text).map_or(Value::Null, |value| value["nodes"][0]["pid"].clone());
    if pid != file["pid"] {
        return Err(gone("another program answers".to_owned()).into());
    }
    Ok(text)
}

/// GET /status.
pub fn ask(address: &str) -> Result<String, Box<dyn Error>> {
    let socket: SocketAddr = address.to_socket_addrs()?.next().ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&socket, ANSWER_TIME_MAX)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
    write!(stream, "GET /status HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("what answers is no node")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(format!("it answers with HTTP status {status}").into()),
        None => Err("what answers is no node".into()),
    }
}

/// The document for people.
fn table(document: &Value) -> String {
    let mut out = String::new();
    for node in document["nodes"].as_array().into_iter().flatten() {
        out += &format!("node {}  {}  pid {}\n", word(&node["id"]), word(&node["state"]), word(&node["pid"]));
        for (name, value) in facts(node) {
            out += &format!("  {name:<12} {value}\n");
        }
    }
    let head = ["shard", "leader", "term", "commit", "applied", "voters"];
    let mut rows: Vec<[String; 6]> = vec![head.map(str::to_owned)];
    for shard in document["shards"].as_array().into_iter().flatten() {
        let voters: Vec<String> = shard["voters"].as_array().into_iter().flatten().map(word).collect();
        let [id, leader, term, commit, applied] =
            ["id", "leader", "term", "commit", "applied"].map(|name| word(&shard[name]));
        rows.push([id, leader, term, commit, applied, voters.join(",")]);
    }
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn facts(node: &Value) -> [(&'static str, String); 10] {
    let bytes = |name: &str| node[name].as_u64().map_or_else(|| "-".to_owned(), human);
    [
        ("resp", word(&node["resp"])),
        ("admin", word(&node["admin"])),
        ("version", word(&node["version"])),
        ("directory", word(&node["dir"])),
        ("uptime", format!("{} s", word(&node["uptime_seconds"]))),
        ("connections", word(&node["connections"])),
        ("commands", format!("{}, of which {} failed", word(&node["commands"]), word(&node["errors"]))),
        ("keys", format!("{} in {}", word(&node["keys"]), bytes("keyspace_bytes"))),
        ("memory", bytes("resident_bytes")),
        ("log", bytes("wal_bytes")),
    ]
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Bytes in a unit that leaves some digits.
fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = units.iter().enumerate().rev().find(|(at, _)| bytes >> (10 * at) >= 10).map_or(0, |(at, _)| at);
    format!("{} {}", bytes >> (10 * step), units[step])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_aligns_and_knows_what_is_not_there() {
        let document = serde_json::json!({
            "nodes": [{"id": "ab", "state": "ready", "pid": 7, "keys": 3, "keyspace_bytes": 20_480}],
            "shards": [
                {"id": 0, "leader": "ab", "term": 1, "commit": 1000, "applied": 1000, "voters": ["ab", "cd"]},
                {"id": 1, "leader": null, "term": 1, "commit": 2, "applied": 2, "voters": []},
            ],
        });
        let text = table(&document);
        assert!(text.starts_with("node ab  ready  pid 7\n  resp         -\n"), "{text}");
        assert!(text.contains("  keys         3 in 20 KiB\n"), "{text}");
        let shards = "shard  leader  term  commit  applied  voters\n\
                      0      ab      1     1000    1000     ab,cd\n\
                      1      -       1     2       2\n";
        assert!(text.ends_with(shards), "{text}");
        assert_eq!([human(0), human(9_999), human(10 << 20)], ["0 B", "9999 B", "10 MiB"]);
    }
}
