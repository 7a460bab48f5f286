//! `tidegate cluster`: changes of a running cluster.
//!
//! `replace` gives a lost node's place to a new one, which waits for it. It asks the new node who it is and where it listens,
//! has the roster changed by one entry of the meta shard's log, and then watches until every shard has carried that out. Nothing
//! depends on this process from the moment the roster has changed.

use crate::cli::{ClusterCommand, Replace};
use crate::status;
use serde_json::Value;
use std::error::Error;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Runs a change.
pub fn run(command: &ClusterCommand) -> Result<(), Box<dyn Error>> {
    match command {
        ClusterCommand::Replace(options) => replace(options),
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

fn replace(options: &Replace) -> Result<(), Box<dyn Error>> {
    let cluster = look(&options.admin)?;
    let new = look(&options.with)?;
    let known = |document: &Value| document["cluster"].as_str().map(str::to_owned);
    let Some(id) = known(&cluster) else {
        return Err(format!("the node at {} is in no cluster", options.admin).into());
    };
    if known(&new) != Some(id) {
        return Err(format!(
            "the node at {} doesn't belong to the cluster of {}: its configuration must have the same cluster.id",
            options.with, options.admin
        )
        .into());
    }
    let word = |name: &str| new["nodes"][0][name].as_str().unwrap_or_default().to_owned();
    let (fresh, dead) = (word("id"), options.dead.as_str());
    let mut words = vec!["NODES.REPLACE".to_owned(), dead.to_owned(), fresh.clone()];
    // An address that isn't there yet is announced by its node later.
    words.extend(
        ["peers", "resp", "cluster", "admin"]
            .map(|name| if word(name).is_empty() { "-".to_owned() } else { word(name) }),
    );
    let resp = cluster["nodes"][0]["resp"].as_str().ok_or("the node doesn't say where it serves clients")?.to_owned();
    let answer = ask(&resp, &words)?;
    if answer != "+OK" {
        return Err(answer.trim_start_matches(['-', '+']).to_owned().into());
    }
    watch(&options.admin, dead, &fresh)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "node {fresh} has the place of {dead} in every shard")?;
    Ok(())
}

/// Follows the change until no shard has anything left to do.
fn watch(admin: &str, dead: &str, fresh: &str) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let document = look(admin)?;
        let shards = document["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
        let done = shards.iter().filter(|shard| is_done(shard, dead, fresh)).count();
        let progress = format!("{done} of {} shards", shards.len());
        if done == shards.len() && done > 0 {
            return Ok(());
        }
        if std::io::stderr().is_terminal() && progress != said {
            eprint!("\r{progress}, {} s ", begun.elapsed().as_secs());
            said = progress;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// True if a shard has the one node and not the other, for good.
fn is_done(shard: &Value, dead: &str, fresh: &str) -> bool {
    let has = |node: &str| shard["voters"].as_array().is_some_and(|voters| voters.iter().any(|voter| voter == node));
    has(fresh) && !has(dead) && shard["changing"] == false
}

fn look(admin: &str) -> Result<Value, Box<dyn Error>> {
    let text = status::ask(admin).map_err(|error| {
        format!(
            "no node answers at {admin}: {error}; give the admin address of a node, as its status and its log name it"
        )
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// One command whose answer is one line.
fn ask(address: &str, words: &[String]) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_done_when_the_new_node_votes_and_the_old_one_is_out() {
        let shard = |voters: &[&str], changing: bool| serde_json::json!({ "voters": voters, "changing": changing });
        assert!(is_done(&shard(&["a", "c"], false), "b", "c"));
        assert!(!is_done(&shard(&["a", "b"], false), "b", "c"));
        assert!(!is_done(&shard(&["a", "b", "c"], false), "b", "c"));
        assert!(!is_done(&shard(&["a", "c"], true), "b", "c"));
    }
}
