//! What a node is to others, and what is safe: WAIT, ROLE, snapshots, and commands about both that have no use here.
//!
//! A write is answered when it is on the disks of a majority: what WAIT tells was so before it was asked.

use super::error;
use crate::shared::{Input, Shared, lock};
use data::{Refused, Reply};

/// One of the commands; `args` with the name.
pub fn standing(shared: &Shared, name: &str, args: &[&[u8]]) -> Reply {
    match name {
        "waitaof" => wait_disks(shared, args).unwrap_or_else(Reply::Error),
        "role" => role(shared),
        "lastsave" => {
            let last = shared.meters.snapshots.last_at_ms.get();
            let at_ms = if last == 0 { shared.started_at_ms } else { last };
            Reply::Int(i64::try_from(at_ms / 1000).unwrap_or(i64::MAX))
        }
        "bgsave" => match args {
            [_] => begin_snapshots(shared, Reply::Simple("Background saving started")),
            [_, word] if word.eq_ignore_ascii_case(b"schedule") => {
                begin_snapshots(shared, Reply::Simple("Background saving started"))
            }
            _ => Reply::Error(Refused::Syntax),
        },
        "save" => begin_snapshots(shared, Reply::Ok),
        "bgrewriteaof" => begin_snapshots(shared, Reply::Simple("Background append only file rewriting started")),
        "swapdb" => swap(args[1], args[2]).unwrap_or_else(Reply::Error),
        "failover" => error(
            "ERR FAILOVER isn't done by hand: shards elect their leaders, and those of a node that stops move first; \
             nothing was done",
        ),
        _ if args[1].eq_ignore_ascii_case(b"no") && args[2].eq_ignore_ascii_case(b"one") => Reply::Ok,
        _ => error(
            "ERR nodes replicate as their cluster places shards, not one after another: see 'tidegate local' and \
             'tidegate server'; nothing was done",
        ),
    }
}

/// Every write is on as many other nodes as a majority has beside the leader; of the shards, the least.
fn replicas(shared: &Shared) -> usize {
    let voters = |status: &node::ShardStatus| status.voters.len() / 2;
    lock(&shared.shards).values().map(voters).min().unwrap_or(0)
}

fn wait_disks(shared: &Shared, args: &[&[u8]]) -> Result<Reply, Refused> {
    if !(0..=1).contains(&integer(args[1])?) {
        return Err(Refused::Text("ERR value is out of range, value must between 0 and 1".to_owned()));
    }
    if integer(args[2])? < 0 {
        return Err(Refused::Text("ERR value is out of range, must be positive".to_owned()));
    }
    check_timeout(args[3])?;
    Ok(Reply::Array(vec![Reply::Int(1), Reply::count(replicas(shared))]))
}

fn check_timeout(timeout: &[u8]) -> Result<(), Refused> {
    let text = |text: &str| Err(Refused::Text(text.to_owned()));
    match integer(timeout) {
        Err(_) => text("ERR timeout is not an integer or out of range"),
        Ok(..0) => text("ERR timeout is negative"),
        Ok(_) => Ok(()),
    }
}

fn integer(text: &[u8]) -> Result<i64, Refused> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Refused::NotAnInteger)
}

/// To a client, any node is a server that takes writes.
fn role(shared: &Shared) -> Reply {
    let committed = lock(&shared.shards).values().map(|status| status.commit.0).sum::<u64>();
    let offset = Reply::Int(i64::try_from(committed).unwrap_or(i64::MAX));
    Reply::Array(vec![Reply::text("master"), offset, Reply::Array(Vec::new())])
}

fn begin_snapshots(shared: &Shared, reply: Reply) -> Reply {
    for mailbox in &shared.mailboxes {
        mailbox.put(Input::BeginSnapshots);
    }
    reply
}

fn swap(first: &[u8], second: &[u8]) -> Result<Reply, Refused> {
    let number = |text: &[u8], which: &str| {
        let number = integer(text).ok().and_then(|number| i32::try_from(number).ok());
        let number = number.ok_or_else(|| Refused::Text(format!("ERR invalid {which} DB index")))?;
        u8::try_from(number).ok().filter(|db| *db < base::limits::DATABASE_COUNT).ok_or(Refused::DbOutOfRange)
    };
    let (first, second) = (number(first, "first")?, number(second, "second")?);
    if first == second {
        return Ok(Reply::Ok);
    }
    Err(Refused::Text("ERR databases keep their numbers: SWAPDB isn't supported, and nothing was changed".to_owned()))
}
