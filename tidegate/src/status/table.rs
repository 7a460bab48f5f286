//! The document for people: one node in detail, a cluster as two tables.
//!
//! On a terminal what is well is green, what needs a look yellow, and what is broken red.

use serde_json::Value;

/// Whether a terminal shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colours,
}

/// What a cell means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Head,
    Usual,
    Well,
    Look,
    Broken,
}

pub type Cell = (String, Tone);

/// The document as text.
pub fn table(document: &Value, paint: Paint) -> String {
    let (nodes, shards) = (list(&document["nodes"]), list(&document["shards"]));
    let mut out = String::new();
    if document["cluster"].is_null() {
        for node in nodes {
            let (state, tone) = state(node);
            let state = painted(&state, tone, paint);
            out += &format!("node {}  {state}  pid {}\n", word(&node["id"]), word(&node["pid"]));
            for (name, value) in facts(node) {
                out += &format!("  {name:<12} {value}\n");
            }
        }
    } else {
        let ready = nodes.iter().filter(|node| node["state"] == "ready").count();
        let led = shards.iter().filter(|shard| !shard["leader"].is_null()).count();
        let (id, epoch) = (word(&document["cluster"]), word(&document["epoch"]));
        let (all, groups) = (nodes.len(), shards.len());
        out += &format!(
            "cluster {id}, epoch {epoch}: {ready} of {all} nodes are ready, {led} of {groups} shards have a leader\n\n"
        );
        out += &aligned(&[&[head(&NODE_COLUMNS)], &node_rows(nodes, shards)[..]].concat(), paint);
        out.push('\n');
    }
    out + &aligned(&[&[head(&SHARD_COLUMNS)], &shard_rows(nodes, shards)[..]].concat(), paint)
}

const NODE_COLUMNS: [&str; 9] = ["node", "state", "leads", "keys", "memory", "resp", "cluster", "admin", "id"];
const SHARD_COLUMNS: [&str; 7] = ["shard", "leader", "term", "commit", "applied", "lag", "voters"];

pub fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| ((*name).to_owned(), Tone::Head)).collect()
}

fn node_rows(nodes: &[Value], shards: &[Value]) -> Vec<Vec<Cell>> {
    let row = |node: &Value| {
        let led = shards.iter().filter(|shard| shard["leader"] == node["id"]).count();
        let memory = node["resident_bytes"].as_u64().map_or("-".to_owned(), human);
        let usual = |text: String| (text, Tone::Usual);
        let mut row = vec![usual(name(nodes, &node["id"])), state(node), usual(led.to_string())];
        row.extend([usual(word(&node["keys"])), usual(memory)]);
        row.extend(["resp", "cluster", "admin", "id"].map(|field| usual(word(&node[field]))));
        row
    };
    nodes.iter().map(row).collect()
}

fn shard_rows(nodes: &[Value], shards: &[Value]) -> Vec<Vec<Cell>> {
    let row = |shard: &Value| {
        let leader = match &shard["leader"] {
            Value::Null => ("-".to_owned(), Tone::Broken),
            id => (name(nodes, id), Tone::Usual),
        };
        // Of those who answered; the others are marked in their own table.
        let commit = shard["commit"].as_u64().unwrap_or(0);
        let behind = list(&shard["replicas"]).iter().filter_map(|replica| replica["applied"].as_u64()).min();
        let lag = commit.saturating_sub(behind.unwrap_or(commit));
        let lag = (lag.to_string(), if lag > LAG_USUAL { Tone::Look } else { Tone::Usual });
        let voters: Vec<String> = list(&shard["voters"]).iter().map(|voter| name(nodes, voter)).collect();
        let [id, term, commit, applied] =
            ["id", "term", "commit", "applied"].map(|field| (word(&shard[field]), Tone::Usual));
        vec![id, leader, term, commit, applied, lag, (voters.join(","), Tone::Usual)]
    };
    shards.iter().map(row).collect()
}

/// Entries that a replica may lack because it was asked a moment before the leader.
const LAG_USUAL: u64 = 1_000;

/// What people call a node: its name, if the document has one for it.
fn name(nodes: &[Value], id: &Value) -> String {
    let named = nodes.iter().find(|node| node["id"] == *id).and_then(|node| node["name"].as_str());
    // Nodes of `dev` are all called the same, and are alone.
    named.filter(|name| *name != "dev").map_or_else(|| word(id), str::to_owned)
}

fn state(node: &Value) -> Cell {
    let tone = match node["state"].as_str() {
        Some("ready") => Tone::Well,
        Some("unreachable") | None => Tone::Broken,
        Some(_) => Tone::Look,
    };
    (word(&node["state"]), tone)
}

/// Rows with their columns in line.
pub fn aligned(rows: &[Vec<Cell>], paint: Paint) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].0.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (text, tone)) in row.iter().enumerate() {
            let last = at + 1 == row.len();
            let gap = if last { 0 } else { width(at) - text.chars().count() + 2 };
            line += &painted(text, *tone, paint);
            line += &" ".repeat(gap);
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

fn painted(text: &str, tone: Tone, paint: Paint) -> String {
    let code = match tone {
        Tone::Usual => return text.to_owned(),
        Tone::Head => "1",
        Tone::Well => "32",
        Tone::Look => "33",
        Tone::Broken => "31",
    };
    if paint == Paint::Plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn facts(node: &Value) -> [(&'static str, String); 11] {
    let bytes = |name: &str| node[name].as_u64().map_or_else(|| "-".to_owned(), human);
    [
        ("resp", word(&node["resp"])),
        ("cluster", word(&node["cluster"])),
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

pub fn word(value: &Value) -> String {
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
        let text = table(&document, Paint::Plain);
        assert!(text.starts_with("node ab  ready  pid 7\n  resp         -\n"), "{text}");
        assert!(text.contains("  keys         3 in 20 KiB\n"), "{text}");
        let shards = "shard  leader  term  commit  applied  lag  voters\n\
                      0      ab      1     1000    1000     0    ab,cd\n\
                      1      -       1     2       2        0\n";
        assert!(text.ends_with(shards), "{text}");
        assert_eq!([human(0), human(9_999), human(10 << 20)], ["0 B", "9999 B", "10 MiB"]);
    }

    #[test]
    fn a_cluster_is_told_by_names_and_what_is_broken_is_red() {
        let document = serde_json::json!({
            "cluster": "c1", "epoch": 4,
            "nodes": [
                {"id": "a", "name": "node-1", "state": "ready", "keys": 3, "resp": "h:1", "cluster": "h:6", "admin": "h:2"},
                {"id": "b", "name": "node-2", "state": "unreachable", "resp": "h:11", "cluster": "h:16", "admin": "h:12"},
            ],
            "shards": [{
                "id": 0, "leader": "a", "term": 3, "commit": 5000, "applied": 5000, "voters": ["a", "b"],
                "replicas": [{"node": "a", "applied": 5000}, {"node": "b", "applied": 10}],
            }],
        });
        let plain = "cluster c1, epoch 4: 1 of 2 nodes are ready, 1 of 1 shards have a leader\n\n\
                     node    state        leads  keys  memory  resp  cluster  admin  id\n\
                     node-1  ready        1      3     -       h:1   h:6      h:2    a\n\
                     node-2  unreachable  0      -     -       h:11  h:16     h:12   b\n\n\
                     shard  leader  term  commit  applied  lag   voters\n\
                     0      node-1  3     5000    5000     4990  node-1,node-2\n";
        assert_eq!(table(&document, Paint::Plain), plain);
        let colours = table(&document, Paint::Colours);
        for painted in
            ["\x1b[32mready\x1b[0m ", "\x1b[31munreachable\x1b[0m ", "\x1b[33m4990\x1b[0m ", "\x1b[1mnode\x1b[0m "]
        {
            assert!(colours.contains(painted), "{colours:?}");
        }
    }
}
