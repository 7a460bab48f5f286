//! Snapshots on their way from a leader to a replica that lacks entries which are gone.
//!
//! The leader sends the file of its last snapshot, or cuts a new one if what follows the last is gone too; entries
//! behind it are held meanwhile. Pieces go over the ordinary link, a window of them ahead of the answers: they delay what else
//! goes there by a bounded time, and nothing is sent that the other disk has not kept up with. Each answer names the
//! next byte that is wanted, so a transfer goes on where it was after a broken link, and from the beginning if its
//! receiver has forgotten it. Once the file is durable and read, the replica's state is replaced in one step.
//!
//! Reading, writing and loading are the driver's: see [`SnapshotStep`] and [`SnapshotNews`].

use crate::lane::Lane;
use crate::outbox::{Event, Now, Outbox, SnapshotNews, SnapshotStep};
use crate::peer::PeerMessage;
use crate::replica::{Replica, Waiter};
use base::limits::SNAPSHOT_PIECE_BYTES_MAX;
use base::record::SnapshotMark;
use base::{Index, Instant, NodeId, Term};
use bytes::Bytes;
use consensus::raft::{Membership, Position};
use data::{Keyspace, Reply, ShardState};
use std::collections::BTreeMap;

/// The transfers of one replica, as leader and as follower.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// The last finished snapshot of this node.
    durable: Option<SnapshotMark>,
    sending: BTreeMap<NodeId, Sending>,
    receiving: Option<Receiving>,
    /// A snapshot that is being cut, or was, for a peer that lags: what follows it is held.
    reserved: Option<Reserved>,
}

#[derive(Clone, Copy, Debug)]
struct Reserved {
    index: Index,
    /// When it was asked for last: a peer that is there asks with every heartbeat that it answers.
    asked_at: Instant,
}

#[derive(Debug)]
struct Sending {
    mark: SnapshotMark,
    /// Bytes of the file, once the first piece was read.
    total: Option<u64>,
    /// Up to here pieces are read or on their way.
    asked: u64,
    /// Up to here the peer has them.
    taken: u64,
    /// When an answer came last, or what was not answered was sent again.
    moved_at: Instant,
}

#[derive(Debug)]
struct Receiving {
    from: NodeId,
    term: Term,
    mark: SnapshotMark,
    total: u64,
    /// The next byte that is wanted.
    next: u64,
}

/// A piece of a snapshot, as it comes from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub mark: SnapshotMark,
    pub offset: u64,
    /// Bytes of the whole file.
    pub total: u64,
    pub bytes: Bytes,
}

/// Shards that send snapshots at a time.
const TRANSFERS_MAX: usize = 2;
/// Nobody has asked for so long for the snapshot that was cut for a peer.
const RESERVED_MS: u64 = 5_000;
/// Bytes that are on their way unanswered.
const WINDOW_BYTES: u64 = 4 * SNAPSHOT_PIECE_BYTES_MAX as u64;
/// Without an answer for so long, what was sent is sent again.
const STALL_MS: u64 = 1_000;
/// Without an answer for so long, the transfer is given up; the peer may ask for a new one.
const GIVE_UP_MS: u64 = 30_000;

impl Transfers {
    /// Of a replica whose log builds upon the snapshot `durable`.
    pub(crate) fn new(durable: Option<SnapshotMark>) -> Self {
        Self { durable, ..Self::default() }
    }
}

impl Sending {
    fn new(mark: SnapshotMark, now: Now) -> Self {
        Self { mark, total: None, asked: 0, taken: 0, moved_at: now.boot }
    }

    /// The offsets of the pieces that may be read now.
    fn due(&mut self) -> Vec<u64> {
        let mut offsets = Vec::new();
        let end = self.total.unwrap_or(self.taken + 1);
        while self.asked < end && self.asked < self.taken + WINDOW_BYTES {
            offsets.push(self.asked);
            self.asked += SNAPSHOT_PIECE_BYTES_MAX as u64;
        }
        offsets
    }

    /// The peer wants what stands at `offset` next.
    fn on_taken(&mut self, now: Now, offset: u64) {
        // Less than before: it has begun anew.
        self.asked = if offset < self.taken { offset } else { self.asked.max(offset) };
        self.taken = offset;
        self.moved_at = now.boot;
    }

    /// Sends again what was not answered. A peer that has taken everything and still lacks it reads it, or has forgotten it
    /// in a restart: the last piece makes it say which.
    fn rewind(&mut self, now: Now) {
        let all = self.total == Some(self.taken);
        let last = self.taken.saturating_sub(1) / SNAPSHOT_PIECE_BYTES_MAX as u64 * SNAPSHOT_PIECE_BYTES_MAX as u64;
        self.asked = if all { last } else { self.taken };
        self.moved_at = now.boot;
    }
}

impl Lane {
    /// Peers that lack what is gone get snapshots, of a few shards at a time: what is held for each takes memory.
    pub(crate) fn send_snapshots(&mut self, now: Now, out: &mut Outbox) {
        for (shard, peer) in std::mem::take(&mut out.raft.lagging) {
            let busy = self.replicas.iter().flatten().filter(|replica| replica.is_transferring()).count();
            if busy < TRANSFERS_MAX || self.replica(shard).is_transferring() {
                self.replica(shard).on_lagging(now, peer, out);
            }
        }
    }
}

impl Replica {
    /// A peer lacks entries that are gone here; told again and again until it has them.
    pub(crate) fn on_lagging(&mut self, now: Now, to: NodeId, out: &mut Outbox) {
        let first_kept = self.group.first_kept();
        if let Some(reserved) = &mut self.transfers.reserved {
            reserved.asked_at = now.boot;
        }
        if let Some(sending) = self.transfers.sending.get_mut(&to) {
            if sending.mark.index >= first_kept {
                if now.boot >= sending.moved_at.plus_ms(STALL_MS) {
                    sending.rewind(now);
                }
                return self.send_pieces(to, out);
            }
            self.stop_sending(to, out);
        }
        match self.transfers.durable.clone().filter(|mark| mark.index >= first_kept) {
            Some(mark) => {
                out.events.push(Event::SnapshotSent { shard: self.shard, to, index: mark.index });
                self.transfers.sending.insert(to, Sending::new(mark, now));
                self.transfers.reserved = None;
                self.hold();
                self.send_pieces(to, out);
            }
            None => {
                // One that is cut but not durable yet is the one to wait for: another would let go of what follows it.
                if self.transfers.reserved.is_none() && self.begin_snapshot(out) {
                    let index = self.applied().1;
                    self.transfers.reserved = Some(Reserved { index, asked_at: now.boot });
                    self.hold();
                }
            }
        }
    }

    /// True while a snapshot is cut for a peer, or on its way.
    pub(crate) fn is_transferring(&self) -> bool {
        !self.transfers.sending.is_empty() || self.transfers.reserved.is_some()
    }

    /// A link to a peer is there again: what was on its way is lost.
    pub(crate) fn on_link_for_transfer(&mut self, now: Now, peer: NodeId, out: &mut Outbox) {
        if let Some(sending) = self.transfers.sending.get_mut(&peer) {
            sending.rewind(now);
            self.send_pieces(peer, out);
        }
    }

    /// Ends transfers that nobody needs any more.
    pub(crate) fn tidy_transfers(&mut self, now: Now, out: &mut Outbox) {
        if self.transfers.sending.is_empty() && self.transfers.reserved.is_none() {
            return;
        }
        let over = |to: NodeId, sending: &Sending| {
            !self.group.is_lagging(to) || now.boot >= sending.moved_at.plus_ms(GIVE_UP_MS)
        };
        let sendings = &self.transfers.sending;
        let ended: Vec<NodeId> = sendings.iter().filter(|(to, one)| over(**to, one)).map(|(to, _)| *to).collect();
        for to in ended {
            self.stop_sending(to, out);
        }
        let leads = self.group.leads();
        self.transfers.reserved.take_if(|one| !leads || now.boot >= one.asked_at.plus_ms(RESERVED_MS));
        self.hold();
    }

    /// What the disk has to say.
    pub(crate) fn on_snapshot_news(
        &mut self,
        now: Now,
        news: SnapshotNews,
        out: &mut Outbox,
        answered: impl FnMut(Waiter, Reply),
    ) {
        match news {
            SnapshotNews::Finished { mark } => self.transfers.durable = Some(mark),
            SnapshotNews::Failed => {
                self.abort_snapshot();
                self.transfers.reserved = None;
                self.hold();
            }
            SnapshotNews::Read { to, index, offset, total, bytes } => {
                let (shard, term) = (self.shard, self.group.term());
                let Some(sending) = self.transfers.sending.get_mut(&to).filter(|one| one.mark.index == index) else {
                    return;
                };
                sending.total = Some(total);
                let piece = Piece { mark: sending.mark.clone(), offset, total, bytes };
                out.peers.push((to, PeerMessage::SnapshotPiece { shard, term, piece }));
                self.send_pieces(to, out);
            }
            SnapshotNews::Unreadable { to } => {
                // A newer one has replaced it; or it is damaged, and then the next one is cut anew.
                self.transfers.durable = None;
                self.stop_sending(to, out);
            }
            SnapshotNews::Took { index, next } => {
                let (shard, term) = (self.shard, self.group.term());
                let receiving = self.transfers.receiving.as_ref().filter(|one| one.mark.index == index);
                if let Some(from) = receiving.map(|one| one.from) {
                    out.peers.push((from, PeerMessage::SnapshotTaken { shard, term, index, next }));
                }
            }
            SnapshotNews::NotTaken { index } => {
                self.transfers.receiving.take_if(|one| one.mark.index == index);
            }
            SnapshotNews::Arrived { mark, keyspace } => self.on_arrived(now, &mark, *keyspace, out, answered),
        }
    }

    /// A piece from the leader of `term`, or from one that was.
    pub(crate) fn on_piece(&mut self, from: NodeId, term: Term, piece: Piece, out: &mut Outbox) {
        let shard = self.shard;
        let Piece { mark, offset, total, bytes } = piece;
        let index = mark.index;
        if term < self.group.term() || index <= self.group.commit() {
            return;
        }
        let receiving = &mut self.transfers.receiving;
        if receiving.as_ref().is_none_or(|one| one.mark != mark || one.total != total) && offset == 0 {
            *receiving = Some(Receiving { from, term, mark: mark.clone(), total, next: 0 });
        }
        let wanted = receiving.as_mut().filter(|one| one.mark == mark && one.total == total);
        let next = wanted.as_ref().map_or(0, |one| one.next);
        let end = offset.saturating_add(bytes.len() as u64);
        match wanted {
            Some(one) if offset == next && end <= total && !bytes.is_empty() => {
                (one.from, one.term, one.next) = (from, term, end);
                let last = one.next == total;
                out.snapshots.push(SnapshotStep::Take { shard, mark, offset, bytes, last });
            }
            _ => out.peers.push((from, PeerMessage::SnapshotTaken { shard, term, index, next })),
        }
    }

    /// True if a peer that is sent the snapshot at `index` may want what stands at `next`.
    pub(crate) fn has_as_much(&self, peer: NodeId, index: Index, next: u64) -> bool {
        let sending = self.transfers.sending.get(&peer).filter(|one| one.mark.index == index);
        sending.and_then(|one| one.total).is_none_or(|total| next <= total)
    }

    /// A peer has kept a piece, and says which it wants next.
    pub(crate) fn on_piece_taken(&mut self, now: Now, from: NodeId, (index, next): (Index, u64), out: &mut Outbox) {
        if let Some(sending) = self.transfers.sending.get_mut(&from).filter(|one| one.mark.index == index) {
            sending.on_taken(now, next);
            self.send_pieces(from, out);
        }
    }

    /// The whole snapshot is durable here and loaded: it becomes the state, if the log doesn't hold all of it by now.
    fn on_arrived(
        &mut self,
        now: Now,
        mark: &SnapshotMark,
        keyspace: Keyspace,
        out: &mut Outbox,
        answered: impl FnMut(Waiter, Reply),
    ) {
        let Some(Receiving { from, term, .. }) = self.transfers.receiving.take_if(|one| one.mark == *mark) else {
            return;
        };
        let Ok(members) = Membership::decode(&mark.members) else { return };
        // The file must be what its mark says, and its sender still be one that this replica may follow.
        if keyspace.applied_index() != mark.index || self.group.judge_leader(from, term).is_err() {
            return;
        }
        let at = Position { index: mark.index, term: mark.term };
        if !self.group.install(now.boot, (from, term), at, members, &mut out.raft) {
            return;
        }
        if self.stop_cutting() {
            out.snapshots.push(SnapshotStep::Abort { shard: self.shard });
        }
        let old = self.state.replace(ShardState::with_keyspace(keyspace));
        out.garbage.extend(old.into_iter().flat_map(ShardState::into_garbage));
        self.listen_again();
        self.note_uses_again();
        self.hear_of_all(out);
        self.on_replaced(mark.index, answered);
        self.transfers.durable = Some(mark.clone());
        out.snapshots.push(SnapshotStep::Installed { shard: self.shard, mark: mark.clone() });
        out.events.push(Event::SnapshotInstalled { shard: self.shard, index: mark.index });
    }

    fn send_pieces(&mut self, to: NodeId, out: &mut Outbox) {
        let shard = self.shard;
        if !self.group.leads() {
            return self.stop_sending(to, out);
        }
        let Some(sending) = self.transfers.sending.get_mut(&to) else { return };
        let index = sending.mark.index;
        let steps = sending.due().into_iter().map(|offset| SnapshotStep::Send { shard, to, index, offset });
        out.snapshots.extend(steps);
    }

    fn stop_sending(&mut self, to: NodeId, out: &mut Outbox) {
        if self.transfers.sending.remove(&to).is_some() {
            out.snapshots.push(SnapshotStep::Sent { shard: self.shard, to });
        }
        self.hold();
    }

    /// Tells the group what must not be let go.
    fn hold(&mut self) {
        let marks = self.transfers.sending.values().map(|sending| sending.mark.index);
        self.group.hold(marks.chain(self.transfers.reserved.map(|one| one.index)).min());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = SNAPSHOT_PIECE_BYTES_MAX as u64;

    fn sending() -> Sending {
        Sending::new(SnapshotMark { index: Index(9), term: Term(1), members: Bytes::new() }, Now::default())
    }

    #[test]
    fn pieces_run_a_window_ahead_of_the_answers() {
        let mut one = sending();
        assert_eq!(one.due(), [0], "how long the file is shows with the first piece");
        one.total = Some(10 * PIECE);
        assert_eq!(one.due(), [PIECE, 2 * PIECE, 3 * PIECE]);
        assert!(one.due().is_empty());
        one.on_taken(Now::default(), PIECE);
        assert_eq!(one.due(), [4 * PIECE]);
        for taken in 2..=10 {
            one.on_taken(Now::default(), taken * PIECE);
            one.due();
        }
        assert!(one.due().is_empty() && one.taken == 10 * PIECE);
    }

    #[test]
    fn a_peer_that_has_forgotten_gets_it_from_the_beginning() {
        let mut one = sending();
        one.total = Some(3 * PIECE);
        assert_eq!(one.due().len(), 3);
        one.on_taken(Now::default(), 2 * PIECE);
        one.on_taken(Now::default(), 0);
        assert_eq!(one.due(), [0, PIECE, 2 * PIECE]);
    }

    #[test]
    fn a_peer_that_forgets_what_it_has_taken_to_the_end_is_asked() {
        let mut one = sending();
        one.total = Some(3 * PIECE - 7);
        one.due();
        one.on_taken(Now::default(), 3 * PIECE - 7);
        assert!(one.due().is_empty());
        one.rewind(Now::default());
        assert_eq!(one.due(), [2 * PIECE], "its last piece");
        one.on_taken(Now::default(), 3 * PIECE - 7);
        assert!(one.due().is_empty(), "it has it still");
        one.rewind(Now::default());
        one.due();
        one.on_taken(Now::default(), 0);
        assert_eq!(one.due(), [0, PIECE, 2 * PIECE], "it has forgotten it");
    }

    #[test]
    fn what_is_not_answered_is_sent_again() {
        let mut one = sending();
        one.total = Some(3 * PIECE);
        one.due();
        one.on_taken(Now::default(), PIECE);
        one.rewind(Now::default());
        assert_eq!(one.due(), [PIECE, 2 * PIECE]);
    }
}
