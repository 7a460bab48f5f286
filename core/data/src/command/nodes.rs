//! Commands of the meta shard: the cluster's roster is state like any other, changed by entries of a log.
//!
//! Nodes give them to each other and administrators to any node. They take ids as 16 hexadecimal digits.

use super::{Command, Keys, Outcome, Run, voters};
use crate::keyspace::Ttl;
use crate::{Context, Keyspace, Refused, Reply};
use base::NodeId;
use base::roster::{Card, Roster};

/// The rows of this family; ids 480 to 489, with those of [`super::voters`].
pub static COMMANDS: &[Command] = &[
    row(
        "nodes.list",
        FIRST_ID,
        1,
        "readonly admin",
        Run::Read(list),
        "Returns the cluster's nodes and where they listen.",
    ),
    row("nodes.found", 481, -5, "write admin", Run::Write(found), "Writes a new cluster's nodes down, once."),
    row("nodes.announce", 482, 6, "write admin", Run::Write(announce), "Says where a node listens."),
    row(
        "nodes.replace",
        483,
        7,
        "write admin",
        Run::Write(replace),
        "Gives the place of a lost node to a new one, forever.",
    ),
];

/// The roster as this keyspace, the meta shard's, has it; nothing if it was not written yet.
#[must_use]
pub fn roster(keyspace: &Keyspace) -> Option<Roster> {
    let cx = Context::new(0, keyspace.applied_stamp());
    let bytes = keyspace.string(&cx, ROSTER).ok()??;
    Some(Roster::decode(bytes).expect("entries write what decodes"))
}

/// True for commands that the meta shard runs.
#[must_use]
pub fn is_meta(command: &Command) -> bool {
    (FIRST_ID..FIRST_ID + 10).contains(&command.id)
}

const FIRST_ID: u16 = 480;
const GROUP: &str = "nodes";
const ROSTER: &[u8] = b"roster";

pub(super) const fn row(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    run: Run,
    summary: &'static str,
) -> Command {
    Command { name, id, arity, flags, keys: Keys::NONE, run, summary, group: GROUP, since: "7.0.15" }
}

/// `NODES.LIST` -> epoch, then a map for each node.
fn list(keyspace: &Keyspace, _: &Context, _: &[&[u8]]) -> Outcome {
    let roster = roster(keyspace).ok_or_else(unknown)?;
    let node = |(node, card): (&NodeId, &Card)| {
        let pair = |name: &str, value: &str| (Reply::text(name), Reply::text(value));
        Reply::Map(vec![
            pair("id", &format!("{:016x}", node.0)),
            pair("peers", &card.peers),
            pair("resp", &card.resp),
            pair("cluster", &card.cluster),
            pair("admin", &card.admin),
        ])
    };
    let epoch = Reply::Int(i64::try_from(roster.epoch().0).unwrap_or(i64::MAX));
    Ok(Reply::Array(std::iter::once(epoch).chain(roster.cards().iter().map(node)).collect()))
}

/// `NODES.FOUND shards replicas id peers [id peers ..]`: does nothing if it was done before.
fn found(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if roster(keyspace).is_some() {
        return Ok(Reply::Ok);
    }
    let (pairs, rest) = args[3..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Refused::Arity("nodes.found".to_owned()));
    }
    let nodes: Vec<(NodeId, String)> =
        pairs.iter().map(|[id, peers]| Ok((self::id(id)?, text(peers)?))).collect::<Result<_, Refused>>()?;
    let made = Roster::first(&nodes, number(args[1])?, number(args[2])?).map_err(refused)?;
    write(keyspace, cx, &made);
    Ok(Reply::Ok)
}

/// `NODES.ANNOUNCE id peers resp cluster admin`
fn announce(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let mut roster = roster(keyspace).ok_or_else(unknown)?;
    if roster.announce(id(args[1])?, card(&args[2..])?).map_err(refused)? {
        write(keyspace, cx, &roster);
    }
    Ok(Reply::Ok)
}

/// `NODES.REPLACE dead id peers resp cluster admin`
fn replace(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let mut roster = roster(keyspace).ok_or_else(unknown)?;
    roster.replace(id(args[1])?, id(args[2])?, card(&args[3..])?).map_err(refused)?;
    voters::follow(keyspace, cx, &roster);
    write(keyspace, cx, &roster);
    Ok(Reply::Ok)
}

fn write(keyspace: &mut Keyspace, cx: &Context, roster: &Roster) {
    keyspace.set_owned(cx, ROSTER, roster.encode(), Ttl::Clear);
}

fn card(args: &[&[u8]]) -> Result<Card, Refused> {
    Ok(Card { peers: text(args[0])?, resp: text(args[1])?, cluster: text(args[2])?, admin: text(args[3])? })
}

pub(super) fn id(arg: &[u8]) -> Result<NodeId, Refused> {
    let digits = std::str::from_utf8(arg).ok().filter(|text| text.len() == 16);
    let id = digits.and_then(|text| u64::from_str_radix(text, 16).ok()).filter(|id| *id != 0);
    id.map(NodeId).ok_or_else(|| Refused::Text("ERR a node's id has 16 hexadecimal digits, not all zero".to_owned()))
}

fn number<N: std::str::FromStr>(arg: &[u8]) -> Result<N, Refused> {
    std::str::from_utf8(arg).ok().and_then(|text| text.parse().ok()).ok_or(Refused::NotAnInteger)
}

fn text(arg: &[u8]) -> Result<String, Refused> {
    let known = std::str::from_utf8(arg).ok().filter(|text| text.chars().all(|one| one.is_ascii_graphic()));
    known.map(str::to_owned).ok_or_else(|| Refused::Text("ERR an address is host:port".to_owned()))
}

fn refused(why: base::roster::RosterRefused) -> Refused {
    Refused::Text(format!("ERR the cluster's nodes were not changed: {why}"))
}

pub(super) fn unknown() -> Refused {
    Refused::Text("ERR this node is in no cluster, or the cluster is just being made".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Stamp;

    fn run(keyspace: &mut Keyspace, words: &str) -> Outcome {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let command = super::super::find(args[0]).expect("it is in the table");
        assert!(command.accepts(args.len()), "{words}");
        let cx = Context::new(0, Stamp(1));
        match command.run {
            Run::Write(run) => run(keyspace, &cx, &args),
            Run::Read(run) => run(keyspace, &cx, &args),
            _ => unreachable!("the meta shard runs it"),
        }
    }

    #[test]
    fn a_cluster_is_founded_once_announced_and_repaired() {
        let mut keyspace = Keyspace::new((1, 2));
        let found = "nodes.found 8 3 00000000000000a1 h:1 00000000000000a2 h:2 00000000000000a3 h:3";
        assert!(run(&mut keyspace, "nodes.list").is_err());
        assert_eq!(run(&mut keyspace, found), Ok(Reply::Ok));
        assert_eq!(run(&mut keyspace, "nodes.found 9 1 00000000000000b1 h:9"), Ok(Reply::Ok));
        assert_eq!(roster(&keyspace).unwrap().cards().len(), 3);
        assert_eq!(run(&mut keyspace, "nodes.announce 00000000000000a1 h:1 h:11 h:12 h:13"), Ok(Reply::Ok));
        assert_eq!(roster(&keyspace).unwrap().cards()[&NodeId(0xa1)].admin, "h:13");
        let replace = "nodes.replace 00000000000000a2 00000000000000a4 h:4 h:41 h:42 h:43";
        assert_eq!(run(&mut keyspace, replace), Ok(Reply::Ok));
        let again = run(&mut keyspace, replace).unwrap_err().to_string();
        assert!(again.contains("not changed"), "{again}");
        assert!(run(&mut keyspace, "nodes.announce a1 h:1 h:11 h:12 h:13").is_err());
        assert!(matches!(run(&mut keyspace, "nodes.list"), Ok(Reply::Array(all)) if all.len() == 4));
    }
}
