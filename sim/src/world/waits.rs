//! Clients that wait, and how that ends when nothing serves them.

use super::World;
use super::ledger::{Effect, Ledger};
use base::{ClientId, LaneId, ShardId};
use data::waits::How;
use node::Ending;

impl World {
    /// A client that waits goes, or another one ends its wait by CLIENT UNBLOCK.
    pub(crate) fn end_a_wait(&mut self, id: ClientId) {
        let ending = match self.rng.below(3) {
            0 => Ending::Told(How::Nil),
            1 => Ending::Told(How::Error),
            _ => Ending::Gone,
        };
        self.tally.event(if ending == Ending::Gone { "clients left while they waited" } else { "waits let go" });
        self.let_go(id, ending);
        if ending == Ending::Gone {
            let mut client = self.clients.remove(&id).expect("it was just chosen");
            self.promises.lost(client.open_promises());
        }
    }

    /// The node stops: nobody waits any more.
    pub(crate) fn let_everybody_go(&mut self) {
        let waiting = self.clients.values().filter(|client| client.session.waits().is_some());
        let waiting: Vec<ClientId> = waiting.map(|client| client.id).collect();
        waiting.into_iter().for_each(|id| self.let_go(id, Ending::Told(How::Nil)));
    }

    /// Ends a client's wait, once.
    fn let_go(&mut self, id: ClientId, ending: Ending) {
        let lane = self.lane_of_client(id);
        let client = self.clients.get_mut(&id).expect("it waits");
        let Some(seq) = client.session.waits() else { return };
        if client.let_go.replace(seq) == Some(seq) && ending != Ending::Gone {
            return;
        }
        self.let_go_in(lane, id, seq, ending);
        let now = self.now();
        self.call(lane, now, Vec::new(), |lane, out| lane.let_go(now, id, seq, ending, out));
    }

    /// What that does in the shards of a lane.
    pub(crate) fn let_go_in(&mut self, lane: usize, client: ClientId, seq: u64, ending: Ending) {
        let how = match ending {
            Ending::Told(how) => how,
            Ending::Gone => How::Nil,
        };
        let from = LaneId(u16::try_from(self.lane_of_client(client)).expect("few lanes"));
        if self.machine.lanes[lane].holds_back(from, client, seq) {
            self.tally.event("waits let go that were held back");
            let ended: Vec<(ShardId, Effect)> = self
                .ledgers_of(lane)
                .filter_map(|one| Some((one.shard(), one.end_held_back(client, seq, how)?)))
                .collect();
            for (shard, effect) in ended.into_iter().filter(|_| ending != Ending::Gone) {
                self.on_effect(shard, effect);
            }
        } else {
            self.ledgers_of(lane).for_each(|ledger| ledger.let_go(client, seq, how));
        }
    }

    pub(crate) fn ledgers_of(&mut self, lane: usize) -> impl Iterator<Item = &mut Ledger> {
        let routing = self.machine.routing;
        let here = move |shard: u16| usize::from(routing.lane_of(ShardId(shard)).0) == lane;
        (0..).zip(&mut self.ledgers).filter(move |(shard, _)| here(*shard)).map(|(_, ledger)| ledger)
    }
}
