//! Whether a command is for this node, and what a client is told whose command isn't.

use super::{Leader, Map};
use base::Slot;
use data::command::prefix;
use data::{Command, Refused, Run};
use std::sync::Arc;

/// How a connection of the cluster endpoint sees the cluster.
#[derive(Clone, Debug)]
pub struct View {
    pub map: Arc<Map>,
    /// READONLY: replicas may answer reads.
    pub readonly: bool,
}

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the shard's leader is, which is this node as far as is known here.
    Leader,
    /// On this node's own copy of the shard, unless that is too old: then it is as if there were no copy.
    Replica(Slot),
}

impl View {
    /// Where a command runs; its refusal if that is not this node. `alone` is false in a transaction.
    pub fn check(&self, command: &Command, args: &[&[u8]], alone: Alone) -> Result<Place, Refused> {
        if let Run::Prefix(_) = command.run
            && let Ok(call) = prefix::parse(args)
        {
            return self.check(call.command, &args[call.at..], alone);
        }
        let slot = slot_of(None, command, args)?;
        let place = slot.map_or(Ok(Place::Leader), |slot| self.place(slot, command, alone))?;
        other_database(command, args).map_or(Ok(place), Err)
    }

    /// The same for the commands of a transaction together.
    pub fn check_all<'a>(&self, commands: impl Iterator<Item = (&'a Command, Vec<&'a [u8]>)>) -> Result<(), Refused> {
        let mut found = None;
        for (command, args) in commands {
            found = slot_of(found, command, &args)?;
        }
        match found {
            Some(slot) => self.leader(slot),
            None => Ok(()),
        }
    }

    /// The refusal of a command whose slot this node doesn't serve.
    #[must_use]
    pub fn moved(&self, slot: Slot) -> Refused {
        let shard = self.map.shard_of(slot);
        let text = match self.map.hosts(shard).leader {
            Leader::Node(node) => match self.map.member(node).and_then(|member| member.address.as_ref()) {
                Some(address) => format!("MOVED {} {}", slot.0, address.endpoint()),
                None => format!(
                    "CLUSTERDOWN Hash slot not served: node {:016x}, which leads shard {shard}, has not told its address \
                     yet; nothing was changed; send it again",
                    node.0
                ),
            },
            Leader::Awaited | Leader::Nobody => format!(
                "CLUSTERDOWN Hash slot not served: shard {shard} has no leader, as fewer than a majority of its nodes can \
                 be reached; nothing was changed; see `tidegate status`, and send it again"
            ),
        };
        Refused::Text(text)
    }

    fn place(&self, slot: Slot, command: &Command, alone: Alone) -> Result<Place, Refused> {
        let (me, hosts) = (self.map.me, self.map.hosts(self.map.shard_of(slot)));
        // WATCH must see what EXEC will find, and that is at the leader.
        let reads = matches!(command.run, Run::Read(_)) && command.name != "watch";
        if self.readonly
            && reads
            && alone == Alone::Yes
            && hosts.leader != Leader::Node(me)
            && hosts.voters.contains(&me)
        {
            return Ok(Place::Replica(slot));
        }
        self.leader(slot).map(|()| Place::Leader)
    }

    fn leader(&self, slot: Slot) -> Result<(), Refused> {
        if self.map.is_served_here(self.map.shard_of(slot)) { Ok(()) } else { Err(self.moved(slot)) }
    }
}

/// Whether a command stands by itself, or in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    Yes,
    No,
}

/// The one slot of a command's keys, which must be `former` if there is one.
fn slot_of(former: Option<Slot>, command: &Command, args: &[&[u8]]) -> Result<Option<Slot>, Refused> {
    let mut found = former;
    for at in command.keys.positions(args) {
        let slot = Slot::of(args[at]);
        if found.is_some_and(|first| first != slot) {
            return Err(Refused::Text("CROSSSLOT Keys in request don't hash to the same slot".to_owned()));
        }
        found = Some(slot);
    }
    Ok(found)
}

/// A Redis Cluster has database 0 only.
fn other_database(command: &Command, args: &[&[u8]]) -> Option<Refused> {
    let text = match command.name {
        "move" => "ERR MOVE is not allowed in cluster mode",
        "copy" if args[3..].iter().any(|word| word.eq_ignore_ascii_case(b"db")) => {
            "ERR Copying to another database is not allowed in cluster mode"
        }
        _ => return None,
    };
    Some(Refused::Text(text.to_owned()))
}
