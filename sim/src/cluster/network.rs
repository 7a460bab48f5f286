//! Links between nodes as TCP gives them: in order, whole, and gone at any moment with all that was under way.
//!
//! A cut link keeps what is sent until it is mended or breaks. Its ends learn of a break at times of their own; one may
//! be linked anew before it has noticed.

use super::machine::Input;
use super::{Happening, MS, World, one_of};
use base::NodeId;
use base::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug)]
pub(super) struct Network {
    delay_ns_max: u64,
    links: BTreeMap<(NodeId, NodeId), Link>,
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// What waits on cut links.
    held: BTreeMap<(NodeId, NodeId), VecDeque<Frame>>,
    next_epoch: u64,
}

/// The link of a pair, the smaller name first.
#[derive(Debug, Default)]
struct Link {
    /// The connection that stands, if any.
    epoch: Option<u64>,
    /// The connection that each end knows.
    known: BTreeMap<NodeId, u64>,
    /// When the last frame to each end arrives.
    arrives: BTreeMap<NodeId, u64>,
}

/// All that a turn has for a peer.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) epoch: u64,
    pub(super) bytes: Bytes,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl Network {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            delay_ns_max: one_of(rng, [MS / 5, 2 * MS, 20 * MS]),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            held: BTreeMap::new(),
            next_epoch: 1,
        }
    }

    /// The connection to `peer` that `node` knows.
    pub(super) fn known(&self, node: NodeId, peer: NodeId) -> Option<u64> {
        self.links.get(&pair(node, peer))?.known.get(&node).copied()
    }

    fn stands(&self, a: NodeId, b: NodeId, epoch: u64) -> bool {
        self.links.get(&pair(a, b)).is_some_and(|link| link.epoch == Some(epoch))
    }

    /// When something that leaves now arrives: never before what left earlier.
    fn arrival(&mut self, rng: &mut Rng, now: u64, from: NodeId, to: NodeId) -> u64 {
        let delay = MS / 50 + rng.below(self.delay_ns_max);
        let at = self.links.entry(pair(from, to)).or_default().arrives.entry(to).or_default();
        *at = (now + delay).max(*at);
        *at
    }

    pub(super) fn heal(&mut self) {
        self.delay_ns_max = MS;
    }
}

impl World {
    /// Sends a frame; false if the node knows of no link.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) -> bool {
        let Some(epoch) = self.network.known(from, to) else { return false };
        if self.network.stands(from, to, epoch) {
            let at = self.network.arrival(&mut self.rng, self.now, from, to);
            let frame = Frame { from, to, epoch, bytes: Bytes::from(bytes) };
            self.agenda.plan(at, Happening::Frame(frame));
        }
        true
    }

    pub(super) fn on_frame(&mut self, frame: Frame) {
        let Frame { from, to, epoch, .. } = frame;
        if !self.network.stands(from, to, epoch) {
            return self.count("frame lost");
        }
        if self.network.cut.contains(&(from, to)) {
            return self.network.held.entry((from, to)).or_default().push_back(frame);
        }
        self.input(to, Input::Frame(frame));
    }

    /// What waited on links that are whole again goes on.
    pub(super) fn mend(&mut self) {
        self.network.cut.clear();
        for ((from, to), frames) in std::mem::take(&mut self.network.held) {
            for frame in frames {
                let at = self.network.arrival(&mut self.rng, self.now, from, to);
                self.agenda.plan(at, Happening::Frame(frame));
            }
        }
    }

    /// A connection breaks, and what was under way is lost.
    pub(super) fn break_link(&mut self, a: NodeId, b: NodeId) {
        let Some(link) = self.network.links.get_mut(&pair(a, b)) else { return };
        if link.epoch.take().is_none() {
            return;
        }
        let known = link.known.clone();
        link.arrives.clear();
        self.network.held.remove(&(a, b));
        self.network.held.remove(&(b, a));
        self.count("link broken");
        for (node, epoch) in known {
            let peer = if node == a { b } else { a };
            let delay = if self.rng.one_in(3) { self.rng.below(1500 * MS) } else { self.rng.below(3 * MS) };
            self.plan(delay, Happening::Lost(node, peer, epoch));
        }
        let delay = self.rng.below(200 * MS);
        self.plan(delay, Happening::Dial(a, b));
    }

    /// Tries to connect.
    pub(super) fn dial(&mut self, a: NodeId, b: NodeId) {
        let reachable = !self.network.cut.contains(&(a, b)) && !self.network.cut.contains(&(b, a));
        let awake = [a, b].iter().all(|node| self.machines[node].is_awake());
        let link = self.network.links.entry(pair(a, b)).or_default();
        if link.epoch.is_some() {
            return;
        }
        if !reachable || !awake {
            let delay = 20 * MS + self.rng.below(200 * MS);
            return self.plan(delay, Happening::Dial(a, b));
        }
        let epoch = self.network.next_epoch;
        self.network.next_epoch += 1;
        link.epoch = Some(epoch);
        for (node, peer) in [(a, b), (b, a)] {
            let at = self.network.arrival(&mut self.rng, self.now, peer, node);
            self.agenda.plan(at, Happening::Up(node, peer, epoch));
        }
    }

    pub(super) fn on_up(&mut self, node: NodeId, peer: NodeId, epoch: u64) {
        if !self.network.stands(node, peer, epoch) || self.machines[&node].life().is_none() {
            return;
        }
        let link = self.network.links.get_mut(&pair(node, peer)).expect("it stands");
        if link.known.insert(node, epoch).is_some() {
            self.count("link replaced");
            self.input(node, Input::Lost(peer));
        }
        self.input(node, Input::Up(peer));
    }

    pub(super) fn on_lost(&mut self, node: NodeId, peer: NodeId, epoch: u64) {
        let Some(link) = self.network.links.get_mut(&pair(node, peer)) else { return };
        if link.known.get(&node) == Some(&epoch) {
            link.known.remove(&node);
            self.input(node, Input::Lost(peer));
        }
    }

    /// A node's process is gone, and with it its ends of all links.
    pub(super) fn drop_links(&mut self, node: NodeId) {
        for peer in self.nodes().into_iter().filter(|peer| *peer != node) {
            self.break_link(node, peer);
            if let Some(link) = self.network.links.get_mut(&pair(node, peer)) {
                link.known.remove(&node);
            }
        }
    }
}
