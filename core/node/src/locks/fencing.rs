//! `LOCK.ACQUIRE .. FENCING key [key ..]`: a grant is told when the shards of these keys know its fence.
//!
//! Between a grant and the first fenced command the former holder's late write may still get in. Here the node sends that first command
//! itself, `FENCE name fence EXISTS key`, once to each shard, to whoever leads it. A shard that has seen a larger fence names it: where
//! the grant still stands, its fence is raised above that, for then no later holder can have been there; what was seen is a slot's
//! floor, or a number that no holder had. Where a fence can't be installed in time, the grant is given back, and its client is told.
//!
//! Also here: which fences this node's leaders take at all, namely those that can have been given out.

use super::{Call, LOCKS_LANE, Locks, Stage, answer};
use crate::lane::{Lane, Part, waiter};
use crate::outbox::{LaneMessage, Now, Outbox, OwnedRequest, Queued};
use crate::replica::Origin;
use crate::routing::Routing;
use crate::steward::NOBODY;
use base::limits::LOCK_BLOCK_COUNT;
use base::{Instant, ShardId};
use bytes::Bytes;
use consensus::lock::{Command, Outcome, Waiter};
use data::command::locks::Wish;
use data::command::prefix;
use data::fence::floor_told;
use data::{Refused, Reply};
use std::collections::BTreeMap;

/// A grant has so long until its fence must stand everywhere.
const PATIENCE_MS: u64 = 2_000;
/// A fence is raised so often for one grant.
const RAISES_MAX: u32 = 4;
/// So many tokens more than this node knows of may have been given out: what other nodes have leased since, at their start and later,
/// and what locks went on to name by name while no block could be had.
const SLACK: u64 = 16 * LOCK_BLOCK_COUNT;
/// Numbers of fences among what nobody's client asks: from here on.
const FIRST: u64 = 1 << 63;

/// What a call wants of fences, and how far that is.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// One key of each shard.
    keys: BTreeMap<ShardId, Bytes>,
    /// The lock's owner, if nobody else can know of the grant: it was asked for under no id, and for nothing that is held already.
    alone: Option<Bytes>,
    at: At,
}

#[derive(Debug, Default)]
enum At {
    /// The lock isn't granted yet.
    #[default]
    Wanted,
    Installing(Grant),
    /// The grant is to be given back, since this has happened.
    GivingBack(String),
}

#[derive(Debug)]
struct Grant {
    token: u64,
    fence: u64,
    remaining_ms: u64,
    since: Instant,
    /// Shards that haven't answered yet.
    left: BTreeMap<ShardId, Bytes>,
    raises: u32,
}

/// What the lane knows of fences on their way.
#[derive(Debug, Default)]
pub(super) struct Fences {
    last: u64,
    /// Fences that were sent to shards and aren't answered.
    asked: BTreeMap<u64, (Waiter, ShardId)>,
    answered: Vec<(u64, Reply)>,
    /// The largest fence that may have been given out, and the largest floor that some slot is known to have.
    bound: Option<u64>,
    slot_floor: u64,
}

impl Fencing {
    /// What a call wants; nothing if it named no keys.
    pub(super) fn of(wish: &Wish, routing: Routing) -> Option<Box<Self>> {
        let keyed = wish.fencing.iter().map(|key| (routing.shard_of_key(key), key.clone()));
        let keys: BTreeMap<ShardId, Bytes> = keyed.collect();
        let alone = (wish.id.is_empty() && wish.token.is_none()).then(|| wish.owner.clone());
        let wanted = !keys.is_empty();
        wanted.then(|| Box::new(Self { keys, alone, at: At::Wanted }))
    }

    /// What gives back a grant that its client wasn't told of.
    pub(super) fn give_back(&self) -> Option<Command> {
        let At::Installing(Grant { token, .. }) = self.at else { return None };
        // One that was waited for looks like one that is in use, which GIVEBACK leaves.
        Some(match self.alone.clone() {
            Some(owner) => Command::Release { owner, token },
            None => Command::GiveBack { token },
        })
    }
}

impl Call {
    /// True from its grant on, if it wants fences.
    pub(super) fn is_fenced(&self) -> bool {
        self.fencing.as_ref().is_some_and(|fencing| !matches!(fencing.at, At::Wanted))
    }
}

impl Fences {
    /// A grant's fence would be refused where its lock is forgotten.
    pub(super) fn is_low(&self, fence: u64) -> bool {
        (1..=self.slot_floor).contains(&fence) && self.bound.is_none_or(|bound| self.slot_floor < bound)
    }
}

impl Lane {
    /// The plane's outcome of a call that wants fences; the reply, if that is to be told now.
    pub(super) fn fence_outcome(
        &mut self,
        now: Now,
        waiter: Waiter,
        outcome: Outcome,
        out: &mut Outbox,
    ) -> Option<Reply> {
        let locks = self.locks.as_deref_mut()?;
        let fencing = locks.calls.get_mut(&waiter)?.fencing.as_mut()?;
        match (&mut fencing.at, outcome) {
            (At::Wanted, Outcome::Granted { token, fence, remaining_ms }) => {
                let grant = Grant { token, fence, remaining_ms, since: now.boot, left: BTreeMap::new(), raises: 0 };
                fencing.at = At::Installing(grant);
                self.install(now, waiter, out);
                None
            }
            (At::Wanted, other) => Some(answer::reply(other)),
            (At::Installing(grant), Outcome::Granted { fence, .. }) => {
                grant.fence = fence;
                self.install(now, waiter, out);
                None
            }
            (At::Installing(_), Outcome::Lost) => Some(answer::reply(Outcome::Lost)),
            (At::Installing(_), _) => {
                self.give_back_fenced(now, waiter, "the fence could not be raised", out);
                None
            }
            (At::GivingBack(why), Outcome::Released) => {
                Some(refusal(format!("NOQUORUM {why}; the lock was given back; send it again")))
            }
            (At::GivingBack(why), _) => Some(refusal(format!(
                "UNKNOWN {why}; the lock is held or not, and its fence is not known everywhere; ask again with the same owner and ID, \
                 or let the ttl pass"
            ))),
        }
    }

    /// Sends the grant's fence to all shards.
    fn install(&mut self, now: Now, waiter: Waiter, out: &mut Outbox) {
        let Some(Locks { calls, fences, .. }) = self.locks.as_deref_mut() else { return };
        let Some(fencing) = calls.get_mut(&waiter).and_then(|call| call.fencing.as_mut()) else { return };
        let keys = fencing.keys.clone();
        let At::Installing(grant) = &mut fencing.at else { return };
        if grant.raises == 0 && fences.is_low(grant.fence) {
            let above = fences.slot_floor;
            return self.raise(now, waiter, above, out);
        }
        grant.left.clone_from(&keys);
        keys.into_keys().for_each(|shard| self.install_in(now, waiter, shard, out));
        self.tell_if_installed(waiter, out);
    }

    fn raise(&mut self, now: Now, waiter: Waiter, above: u64, out: &mut Outbox) {
        let Some(call) = self.locks.as_deref_mut().and_then(|locks| locks.calls.get_mut(&waiter)) else { return };
        let owner = call.owner.clone();
        let Some(At::Installing(grant)) = call.fencing.as_mut().map(|fencing| &mut fencing.at) else { return };
        grant.raises += 1;
        let token = grant.token;
        self.ask_plane(now, waiter, Command::Raise { owner, token, above }, out);
    }

    fn install_in(&mut self, now: Now, call: Waiter, shard: ShardId, out: &mut Outbox) {
        let me = self.config.lane;
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let Some(Call { name, fencing: Some(fencing), .. }) = locks.calls.get(&call) else { return };
        let At::Installing(Grant { fence, left, .. }) = &fencing.at else { return };
        let Some(key) = left.get(&shard) else { return };
        let fence = fence.to_string();
        let words: [&[u8]; 5] = [b"FENCE", name, fence.as_bytes(), b"EXISTS", key];
        let args = words.iter().map(|word| word.to_vec()).collect();
        let queued = Queued { db: 0, command: prefix::fence_row(), args };
        locks.fences.last += 1;
        let seq = FIRST + locks.fences.last;
        locks.fences.asked.insert(seq, (call, shard));
        let owner = self.config.routing.lane_of(shard);
        if owner == me {
            self.run(now, shard, waiter(Origin::Lane(me), NOBODY, seq, Part::Yes), false, &queued, out);
        } else {
            let request = OwnedRequest { client: NOBODY, seq, joins: false, queued };
            out.sends.push((owner, LaneMessage::Part { from: me, shard, request }));
        }
    }

    /// A shard has answered; what follows from it waits for the end of the turn.
    pub(super) fn on_fence_answer(&mut self, seq: u64, reply: &Reply) {
        if let Some(locks) = self.locks.as_deref_mut() {
            locks.fences.answered.push((seq, reply.clone()));
        }
    }

    /// What shards have answered since is looked at.
    pub(crate) fn look_at_fences(&mut self, now: Now, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        if locks.fences.answered.is_empty() {
            return;
        }
        for (seq, reply) in std::mem::take(&mut locks.fences.answered) {
            self.on_fenced(now, seq, reply, out);
        }
    }

    fn on_fenced(&mut self, now: Now, seq: u64, reply: Reply, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let Some((waiter, shard)) = locks.fences.asked.remove(&seq) else { return };
        let bound = locks.fences.bound.unwrap_or(u64::MAX >> 1);
        let Some(fencing) = locks.calls.get_mut(&waiter).and_then(|call| call.fencing.as_mut()) else { return };
        let At::Installing(grant) = &mut fencing.at else { return };
        let Reply::Error(why) = reply else {
            grant.left.remove(&shard);
            return self.tell_if_installed(waiter, out);
        };
        let why = why.to_string();
        match floor_told(&why) {
            Some(floor) if floor < grant.fence => self.install_in(now, waiter, shard, out),
            Some(floor) if floor < bound && grant.raises < RAISES_MAX => {
                self.raise(now, waiter, floor, out);
            }
            // The lock's term at the leader is over, or nothing is known: the same fence twice is like once.
            None if passes(&why) && now.boot < grant.since.plus_ms(PATIENCE_MS) => {
                self.install_in(now, waiter, shard, out);
            }
            _ => self.give_back_fenced(now, waiter, &why, out),
        }
    }

    fn tell_if_installed(&mut self, waiter: Waiter, out: &mut Outbox) {
        let Some(Fencing { at: At::Installing(grant), keys, .. }) = self.fencing_of(waiter) else { return };
        if !grant.left.is_empty() {
            return;
        }
        let (&mut Grant { token, fence, remaining_ms, .. }, named) = (grant, !keys.is_empty());
        if let Some(locks) = self.locks.as_deref_mut() {
            locks.counts.fenced += u64::from(named);
        }
        self.end_call(waiter, answer::reply(Outcome::Granted { token, fence, remaining_ms }), out);
    }

    /// The fence doesn't stand: nobody is to hold the lock under it.
    fn give_back_fenced(&mut self, now: Now, waiter: Waiter, why: &str, out: &mut Outbox) {
        let Some(fencing) = self.fencing_of(waiter) else { return };
        let Some(back) = fencing.give_back() else { return };
        fencing.at =
            At::GivingBack(format!("the fence of the lock is not installed in all shards of the keys ({why})"));
        self.ask_plane(now, waiter, back, out);
    }

    /// Gives up what takes too long.
    pub(super) fn give_up_fences(&mut self, now: Now, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut().filter(|locks| !locks.fences.asked.is_empty()) else { return };
        let late = |call: &Call| {
            let since = call.fencing.as_ref().and_then(|fencing| match &fencing.at {
                At::Installing(grant) => Some(grant.since),
                _ => None,
            });
            since.is_some_and(|since| now.boot >= since.plus_ms(PATIENCE_MS))
        };
        let Locks { calls, fences, .. } = locks;
        fences.asked.retain(|_, (waiter, _)| calls.contains_key(waiter));
        let late: Vec<Waiter> = calls.iter().filter(|(_, call)| late(call)).map(|(waiter, _)| *waiter).collect();
        for waiter in late {
            self.give_back_fenced(now, waiter, "their leaders have not answered in time", out);
        }
    }

    fn fencing_of(&mut self, waiter: Waiter) -> Option<&mut Fencing> {
        self.locks.as_deref_mut()?.calls.get_mut(&waiter)?.fencing.as_deref_mut()
    }

    /// Another question of a call whose first one is answered.
    pub(super) fn ask_plane(&mut self, now: Now, waiter: Waiter, command: Command, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let (Some(call), Stage::Running(plane)) = (locks.calls.get_mut(&waiter), &mut locks.stage) else { return };
        let name = call.name.clone();
        call.number = plane.on_request(now.boot, waiter, name, command, &mut locks.out);
        self.settle_locks(now, out);
    }

    /// All tokens below `next` were given out, as far as this node knows.
    pub(super) fn bound_fences_below(&mut self, next: u64, out: &mut Outbox) {
        let bound = next.saturating_add(SLACK);
        let Some(locks) = self.locks.as_deref_mut() else { return };
        if locks.fences.bound.is_none_or(|known| known < bound) {
            locks.fences.bound = Some(bound);
            let others = self.config.routing.lanes().filter(|lane| *lane != self.config.lane);
            out.sends.extend(others.map(|lane| (lane, LaneMessage::FenceBound(bound))));
            self.bound_fences(bound);
        }
    }

    /// Tells the lane of the locks what forgotten locks have left in this lane's shards.
    pub(crate) fn tell_slot_floor(&mut self, out: &mut Outbox) {
        let floors = self.keyspaces().map(|(_, keyspace)| keyspace.floors().highest_of_slots());
        let floor = floors.max().unwrap_or(0);
        if floor == 0 {
            return;
        }
        if self.config.lane == LOCKS_LANE {
            self.on_slot_floor(floor);
        } else {
            out.sends.push((LOCKS_LANE, LaneMessage::SlotFloor(floor)));
        }
    }

    pub(crate) fn on_slot_floor(&mut self, floor: u64) {
        if let Some(locks) = self.locks.as_deref_mut() {
            locks.fences.slot_floor = locks.fences.slot_floor.max(floor);
        }
    }
}

/// Refusals that end by themselves.
fn passes(why: &str) -> bool {
    ["INDOUBT ", "TRYAGAIN ", "NOQUORUM ", "BUSY "].iter().any(|code| why.starts_with(code))
}

fn refusal(text: String) -> Reply {
    Reply::Error(Refused::Text(text))
}
