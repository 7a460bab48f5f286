//! The roster: who belongs to the cluster, where each node listens, who hosts which shard, and who may never come back.
//!
//! It is agreed state, kept by the meta shard and changed by its commands alone; every node has a replica of it. Addresses are
//! text here: what they mean is the binary's business.
//!
//! As bytes: `version u8 = 1 | placement, length varint, bytes | cards varint`, then for each node, in rising order, `id u64` and
//! four addresses (length varint, bytes), then `gone varint` and that many `id u64`. FORMAT.md has the same.

use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::limits::NODE_COUNT_MAX;
use crate::placement::{Flaw, Refused};
use crate::{Epoch, NodeId, Placement};
use std::collections::{BTreeMap, BTreeSet};

/// The cluster's nodes; see the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    placement: Placement,
    cards: BTreeMap<NodeId, Card>,
    gone: BTreeSet<NodeId>,
}

/// Where a node listens, as `host:port`; empty if it has not said so yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    pub peers: String,
    pub resp: String,
    pub cluster: String,
    pub admin: String,
}

/// Why a roster can't be changed so; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterRefused {
    Placement(Refused),
    /// A removed node never comes back under its id.
    Gone(NodeId),
    /// Another node listens for peers there.
    Taken(NodeId),
    /// An address is too long.
    Address,
}

const VERSION: u8 = 1;
const ADDRESS_BYTES_MAX: usize = 256;

impl Roster {
    /// The roster of a new cluster, of which only the peers' addresses are known.
    pub fn first(nodes: &[(NodeId, String)], shards: u16, replicas: u8) -> Result<Self, RosterRefused> {
        let placement = Placement::first(nodes.iter().map(|(node, _)| *node), shards, replicas)?;
        let mut roster = Self { placement, cards: BTreeMap::new(), gone: BTreeSet::new() };
        for (node, peers) in nodes {
            let card = Card { peers: peers.clone(), ..Card::default() };
            roster.check(*node, &card)?;
            roster.cards.insert(*node, card);
        }
        Ok(roster)
    }

    /// A node says where it listens; true if that is news.
    pub fn announce(&mut self, node: NodeId, card: Card) -> Result<bool, RosterRefused> {
        self.check(node, &card)?;
        match self.cards.get_mut(&node) {
            Some(known) => Ok(std::mem::replace(known, card.clone()) != card),
            None if self.gone.contains(&node) => Err(RosterRefused::Gone(node)),
            None => Err(Refused::Absent(node).into()),
        }
    }

    /// Another node takes the place of `dead`, which never comes back.
    pub fn replace(&mut self, dead: NodeId, with: NodeId, card: Card) -> Result<(), RosterRefused> {
        if self.gone.contains(&with) {
            return Err(RosterRefused::Gone(with));
        }
        let placement = self.placement.replace(dead, with)?;
        let former = self.cards.remove(&dead);
        if let Err(refused) = self.check(with, &card) {
            self.cards.extend(former.map(|former| (dead, former)));
            return Err(refused);
        }
        self.placement = placement;
        self.cards.insert(with, card);
        self.gone.insert(dead);
        Ok(())
    }

    /// The nodes and where they listen.
    #[must_use]
    pub fn cards(&self) -> &BTreeMap<NodeId, Card> {
        &self.cards
    }

    /// Who hosts what.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Its number: it rises with each change of who hosts what.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.placement.epoch()
    }

    /// The ids that were removed.
    #[must_use]
    pub fn gone(&self) -> &BTreeSet<NodeId> {
        &self.gone
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_bytes(&mut out, &self.placement.encode());
        put_varint(&mut out, self.cards.len() as u64);
        for (node, Card { peers, resp, cluster, admin }) in &self.cards {
            out.extend_from_slice(&node.0.to_le_bytes());
            [peers, resp, cluster, admin].into_iter().for_each(|address| put_bytes(&mut out, address.as_bytes()));
        }
        put_varint(&mut out, self.gone.len() as u64);
        self.gone.iter().for_each(|node| out.extend_from_slice(&node.0.to_le_bytes()));
        out
    }

    /// The roster that all of `bytes` spell.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown(u64::from(version)).into());
        }
        let placement = Placement::decode(reader.bytes()?)?;
        let mut cards = BTreeMap::new();
        for _ in 0..count(&mut reader)? {
            let node = NodeId(reader.u64()?);
            let (peers, resp) = (address(&mut reader)?, address(&mut reader)?);
            let (cluster, admin) = (address(&mut reader)?, address(&mut reader)?);
            cards.insert(node, Card { peers, resp, cluster, admin });
        }
        let gone = (0..reader.varint()?).map(|_| reader.u64().map(NodeId)).collect::<Result<_, _>>()?;
        if !reader.is_empty() {
            return Err(Flaw::Tail);
        }
        if !cards.keys().eq(placement.nodes()) {
            return Err(Flaw::Nodes);
        }
        Ok(Self { placement, cards, gone })
    }

    fn check(&self, node: NodeId, card: &Card) -> Result<(), RosterRefused> {
        let Card { peers, resp, cluster, admin } = card;
        if [peers, resp, cluster, admin].into_iter().any(|address| address.len() > ADDRESS_BYTES_MAX) {
            return Err(RosterRefused::Address);
        }
        match self.cards.iter().find(|(other, known)| **other != node && known.peers == card.peers) {
            Some((other, _)) => Err(RosterRefused::Taken(*other)),
            None => Ok(()),
        }
    }
}

fn count(reader: &mut Reader<'_>) -> Result<u64, Flaw> {
    let count = reader.varint()?;
    if count > u64::from(NODE_COUNT_MAX) { Err(Flaw::Nodes) } else { Ok(count) }
}

fn address(reader: &mut Reader<'_>) -> Result<String, Flaw> {
    let bytes = reader.bytes()?;
    if bytes.len() > ADDRESS_BYTES_MAX {
        return Err(DecodeError::Overlong.into());
    }
    Ok(std::str::from_utf8(bytes).map_err(|_| DecodeError::Overlong)?.to_owned())
}

impl From<Refused> for RosterRefused {
    fn from(refused: Refused) -> Self {
        Self::Placement(refused)
    }
}

impl std::fmt::Display for RosterRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Placement(refused) => refused.fmt(f),
            Self::Gone(node) => write!(
                f,
                "node {:016x} was removed and never comes back under that id; a node made anew has another",
                node.0
            ),
            Self::Taken(node) => write!(f, "node {:016x} listens for peers at that address", node.0),
            Self::Address => write!(f, "an address is longer than {ADDRESS_BYTES_MAX} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(port: u16) -> Card {
        let at = |offset: u16| format!("127.0.0.1:{}", port + offset);
        Card { peers: at(2), resp: at(0), cluster: at(5), admin: at(1) }
    }

    fn three() -> Roster {
        let nodes: Vec<_> = (1..=3).map(|id| (NodeId(id), format!("127.0.0.1:{}", 7002 + 10 * id))).collect();
        Roster::first(&nodes, 8, 3).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_is_noticed() {
        let mut roster = three();
        roster.announce(NodeId(2), card(7020)).unwrap();
        roster.replace(NodeId(3), NodeId(9), card(7090)).unwrap();
        let bytes = roster.encode();
        assert_eq!(Roster::decode(&bytes).unwrap(), roster);
        for cut in 0..bytes.len() {
            assert!(Roster::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_node_announces_itself_once() {
        let mut roster = three();
        assert_eq!(roster.announce(NodeId(1), card(7010)), Ok(true));
        assert_eq!(roster.announce(NodeId(1), card(7010)), Ok(false));
        assert_eq!(roster.announce(NodeId(5), card(7050)), Err(Refused::Absent(NodeId(5)).into()));
        assert_eq!(roster.announce(NodeId(2), card(7010)), Err(RosterRefused::Taken(NodeId(1))));
        assert_eq!(roster.epoch(), Epoch(1));
    }

    #[test]
    fn who_was_replaced_never_comes_back() {
        let mut roster = three();
        roster.replace(NodeId(2), NodeId(4), card(7040)).unwrap();
        assert_eq!(roster.epoch(), Epoch(2));
        assert!(roster.placement().shards().all(|(_, hosts)| hosts.voters == [NodeId(1), NodeId(3), NodeId(4)]));
        assert_eq!(roster.announce(NodeId(2), card(7020)), Err(RosterRefused::Gone(NodeId(2))));
        let before = roster.clone();
        assert_eq!(roster.replace(NodeId(1), NodeId(2), card(7050)), Err(RosterRefused::Gone(NodeId(2))));
        assert_eq!(roster.replace(NodeId(2), NodeId(5), card(7050)), Err(Refused::Absent(NodeId(2)).into()));
        assert_eq!(roster.replace(NodeId(1), NodeId(5), card(7040)), Err(RosterRefused::Taken(NodeId(4))));
        assert_eq!(roster, before, "a refusal changes nothing");
    }
}
