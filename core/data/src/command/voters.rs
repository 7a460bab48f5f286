//! Commands of the meta shard about locks: blocks of tokens, and which nodes vote in which epoch.
//!
//! Locks themselves need no log. What must be agreed before they can be is this: who votes, so that two majorities share a node, and
//! which tokens a node may give out, so that they rise over all names. A new epoch is opened only when a majority of the present
//! one's voters have told that they serve it; until then a node that was replaced stays a voter in name.
//!
//! As bytes, under one key: `version u8 = 1 | next token varint | epoch varint | voters | 0, or 1 and former epoch varint and voters |
//! ready`, each list `count varint` and that many `id u64`. FORMAT.md has the same.

use super::nodes::{self, id};
use super::{Command, Outcome};
use crate::keyspace::Ttl;
use crate::{Context, Keyspace, Refused, Reply};
use base::codec::{DecodeError, Reader, put_varint};
use base::{Epoch, NodeId, Roster};

/// The rows of this family; ids 484 to 489, among those of [`nodes`].
pub static COMMANDS: &[Command] = &[
    nodes::row(
        "nodes.lease",
        484,
        2,
        "write admin",
        super::Run::Write(lease),
        "Hands a node a block of locks' tokens.",
    ),
    nodes::row("nodes.ready", 485, 3, "write admin", super::Run::Write(ready), "Says that a node votes on locks."),
];

/// Who votes on locks, and what they may give out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters {
    next_token: u64,
    pub epoch: Epoch,
    pub voters: Vec<NodeId>,
    /// The epoch before and its voters.
    pub before: Option<(Epoch, Vec<NodeId>)>,
    /// Voters that serve this epoch.
    pub ready: Vec<NodeId>,
}

/// More voters make locks slower, not safer.
const VOTER_COUNT_MAX: usize = 5;
const KEY: &[u8] = b"voters";
const VERSION: u8 = 1;
/// A block is no larger, and no block ends above this.
const TOKEN_MAX: u64 = 1 << 47;

/// Who votes as this keyspace, the meta shard's, has it; nothing if there is no roster yet.
#[must_use]
pub fn voters(keyspace: &Keyspace) -> Option<Voters> {
    let cx = Context::new(0, keyspace.applied_stamp());
    match keyspace.string(&cx, KEY).ok()? {
        Some(bytes) => Some(Voters::decode(bytes).expect("entries write what decodes")),
        None => nodes::roster(keyspace).map(|roster| Voters::first(&roster)),
    }
}

/// The roster is about to change from what the keyspace has to `roster`: voters that are gone are replaced, if that can be yet.
pub(super) fn follow(keyspace: &mut Keyspace, cx: &Context, roster: &Roster) {
    if let Some(mut voters) = voters(keyspace) {
        voters.follow(roster);
        write(keyspace, cx, &voters);
    }
}

/// `NODES.LEASE count` -> the first of so many tokens that nobody else gets.
fn lease(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let count = std::str::from_utf8(args[1]).ok().and_then(|text| text.parse::<u64>().ok());
    let count = count.filter(|count| (1..=TOKEN_MAX).contains(count)).ok_or(Refused::NotAnInteger)?;
    let mut voters = voters(keyspace).ok_or_else(nodes::unknown)?;
    let first = voters.next_token;
    if first + count > TOKEN_MAX {
        return Err(Refused::Text("ERR no tokens are left".to_owned()));
    }
    voters.next_token = first + count;
    write(keyspace, cx, &voters);
    Ok(Reply::Int(i64::try_from(first).expect("tokens have 47 bits")))
}

/// `NODES.READY id epoch`: the node serves the epoch, if that is the present one.
fn ready(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let node = id(args[1])?;
    let epoch = std::str::from_utf8(args[2]).ok().and_then(|text| text.parse().ok()).ok_or(Refused::NotAnInteger)?;
    let roster = nodes::roster(keyspace).ok_or_else(nodes::unknown)?;
    let mut voters = voters(keyspace).ok_or_else(nodes::unknown)?;
    if voters.epoch == Epoch(epoch) && voters.voters.contains(&node) && !voters.ready.contains(&node) {
        voters.ready.push(node);
        voters.follow(&roster);
        write(keyspace, cx, &voters);
    }
    Ok(Reply::Ok)
}

fn write(keyspace: &mut Keyspace, cx: &Context, voters: &Voters) {
    keyspace.set_owned(cx, KEY, voters.encode(), Ttl::Clear);
}

impl Voters {
    /// All tokens below this were given out to nodes, and none from here on.
    #[must_use]
    pub fn next_token(&self) -> u64 {
        self.next_token
    }

    fn first(roster: &Roster) -> Self {
        let voters = roster.cards().keys().copied().take(VOTER_COUNT_MAX).collect();
        Self { next_token: 1, epoch: Epoch(1), voters, before: None, ready: Vec::new() }
    }

    /// Opens the next epoch if voters are gone and a majority of them all serves the present one.
    fn follow(&mut self, roster: &Roster) {
        let stay: Vec<NodeId> = self.voters.iter().copied().filter(|node| roster.cards().contains_key(node)).collect();
        if stay.len() == self.voters.len() || self.ready.len() <= self.voters.len() / 2 {
            return;
        }
        let fresh = roster.cards().keys().copied().filter(|node| !stay.contains(node));
        let next: Vec<NodeId> = stay.iter().copied().chain(fresh).take(self.voters.len()).collect();
        let former = std::mem::replace(&mut self.voters, next);
        self.before = Some((self.epoch, former));
        self.epoch = Epoch(self.epoch.0 + 1);
        self.ready.clear();
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let put = |out: &mut Vec<u8>, nodes: &[NodeId]| {
            put_varint(out, nodes.len() as u64);
            nodes.iter().for_each(|node| out.extend_from_slice(&node.0.to_le_bytes()));
        };
        put_varint(&mut out, self.next_token);
        put_varint(&mut out, self.epoch.0);
        put(&mut out, &self.voters);
        match &self.before {
            None => out.push(0),
            Some((epoch, voters)) => {
                out.push(1);
                put_varint(&mut out, epoch.0);
                put(&mut out, voters);
            }
        }
        put(&mut out, &self.ready);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let (next_token, epoch, voters) = (reader.varint()?, Epoch(reader.varint()?), nodes_of(&mut reader)?);
        let before = match reader.u8()? {
            0 => None,
            _ => Some((Epoch(reader.varint()?), nodes_of(&mut reader)?)),
        };
        let ready = nodes_of(&mut reader)?;
        if reader.is_empty() {
            Ok(Self { next_token, epoch, voters, before, ready })
        } else {
            Err(DecodeError::Overlong)
        }
    }
}

fn nodes_of(reader: &mut Reader<'_>) -> Result<Vec<NodeId>, DecodeError> {
    let count = reader.varint()?;
    if count > VOTER_COUNT_MAX as u64 {
        return Err(DecodeError::Overlong);
    }
    (0..count).map(|_| reader.u64().map(NodeId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Stamp;

    fn run(keyspace: &mut Keyspace, words: &str) -> Outcome {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let command = super::super::find(args[0]).expect("it is in the table");
        let super::super::Run::Write(run) = command.run else { unreachable!("the meta shard logs it") };
        run(keyspace, &Context::new(0, Stamp(1)), &args)
    }

    fn founded() -> Keyspace {
        let mut keyspace = Keyspace::new((1, 2));
        let found = "nodes.found 8 3 00000000000000a1 h:1 00000000000000a2 h:2 00000000000000a3 h:3";
        run(&mut keyspace, found).expect("it is the first");
        keyspace
    }

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn blocks_of_tokens_never_overlap() {
        let mut keyspace = founded();
        assert_eq!(run(&mut keyspace, "nodes.lease 1000"), Ok(Reply::Int(1)));
        assert_eq!(run(&mut keyspace, "nodes.lease 5"), Ok(Reply::Int(1001)));
        assert_eq!(run(&mut keyspace, "nodes.lease 5"), Ok(Reply::Int(1006)));
        for bad in ["nodes.lease 0", "nodes.lease x", "nodes.lease 999999999999999999"] {
            assert!(run(&mut keyspace, bad).is_err(), "{bad}");
        }
        assert!(run(&mut Keyspace::new((1, 2)), "nodes.lease 5").is_err(), "there is no cluster");
    }

    #[test]
    fn a_replaced_voter_gives_way_once_a_majority_serves_the_epoch() {
        let mut keyspace = founded();
        let replace = "nodes.replace 00000000000000a2 00000000000000a4 h:4 h:41 h:42 h:43";
        run(&mut keyspace, "nodes.ready 00000000000000a1 1").expect("it votes");
        run(&mut keyspace, "nodes.ready 00000000000000a1 1").expect("twice is once");
        run(&mut keyspace, "nodes.ready 00000000000000a3 2").expect("another epoch is passed over");
        run(&mut keyspace, replace).expect("both are known");
        let stands = voters(&keyspace).expect("there is a roster");
        assert_eq!((stands.epoch, stands.voters, stands.before), (Epoch(1), nodes(&[0xa1, 0xa2, 0xa3]), None));
        run(&mut keyspace, "nodes.ready 00000000000000a3 1").expect("it votes");
        let next = voters(&keyspace).expect("there is a roster");
        assert_eq!((next.epoch, &next.voters, &next.ready), (Epoch(2), &nodes(&[0xa1, 0xa3, 0xa4]), &Vec::new()));
        assert_eq!(next.before, Some((Epoch(1), nodes(&[0xa1, 0xa2, 0xa3]))));
        assert_eq!(Voters::decode(&next.encode()), Ok(next.clone()));
        for cut in 0..next.encode().len() {
            assert!(Voters::decode(&next.encode()[..cut]).is_err(), "cut at {cut}");
        }
    }
}
