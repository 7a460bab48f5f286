//! What locks need to be agreed of before they can be: who votes, and which tokens this node may give out. Both are state of the meta
//! shard ([`data::command::voters`]); a node that is alone votes alone, and its binary counts its tokens.

use super::Stage;
use crate::lane::{Lane, Part, waiter};
use crate::outbox::{Now, Outbox, Queued};
use crate::replica::Origin;
use crate::steward::NOBODY;
use base::limits::LOCK_BLOCK_COUNT;
use base::{Epoch, NodeId};
use consensus::lock::{self, Config, Plane, Tuning};
use consensus::register::View;
use data::Reply;
use data::command::voters::Voters;

/// What isn't heard of is asked for again after so long.
const ASK_AGAIN_MS: u64 = 1_000;
/// The number of the question for tokens, among those of nobody's client.
const LEASE: u64 = u64::MAX;

impl Lane {
    /// A node that is alone is the only voter.
    pub(super) fn vote_alone(&mut self, now: Now, out: &mut Outbox) {
        let view = View::new(Epoch(1), vec![self.config.node], None).expect("one node is a majority of itself");
        self.take_view(now, view, out);
    }

    /// What the meta shard knows of voters, looked at now and then.
    pub(crate) fn follow_voters(&mut self, now: Now, voters: Option<&Voters>, out: &mut Outbox) {
        if self.locks.as_deref().is_some_and(|locks| matches!(locks.stage, Stage::Early { .. })) {
            self.look_at_early(now, out);
        }
        let Some(voters) = voters else { return };
        let generation = self.locks.as_deref().map_or(0, |locks| locks.generation);
        self.bound_fences_below(lock::floor(generation) + voters.next_token(), out);
        let Some(locks) = self.locks.as_deref_mut() else { return };
        if locks.epoch_told < voters.epoch {
            locks.epoch_told = voters.epoch;
            let view = View::new(voters.epoch, voters.voters.clone(), voters.before.clone());
            self.take_view(now, view.expect("the meta shard names from one to five voters"), out);
        }
        self.tell_ready(now, voters, out);
    }

    /// Other voters than before, or the first.
    fn take_view(&mut self, now: Now, view: View, out: &mut Outbox) {
        let me = self.config.node;
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let voters = view.voters().to_vec();
        match &mut locks.stage {
            Stage::Running(plane) => plane.on_view(now.boot, view, &mut locks.out),
            Stage::Early { table, seed } => {
                let (table, seed) = (std::mem::take(table), *seed);
                let (incarnation, generation) = (locks.incarnation, locks.generation);
                let config = Config { me, incarnation, generation, view, seed, tuning: Tuning::default() };
                let mut plane = Box::new(Plane::new(&config, table, now.boot));
                plane.start(now.boot, &mut locks.out);
                locks.stage = Stage::Running(plane);
            }
        }
        self.settle_locks(now, out);
        let unlinked: Vec<NodeId> = voters
            .into_iter()
            .filter(|node| *node != me && self.spread.linked().all(|linked| linked != *node))
            .collect();
        for node in unlinked {
            self.locks_on_link(now, node, false, out);
        }
        self.look_at_early(now, out);
    }

    /// The meta shard is to know that this node serves the epoch.
    fn tell_ready(&mut self, now: Now, voters: &Voters, out: &mut Outbox) {
        let (me, meta) = (self.config.node, self.config.routing.meta_shard());
        let (Some(locks), Some(meta)) = (self.locks.as_deref_mut(), meta) else { return };
        let Stage::Running(plane) = &locks.stage else { return };
        let status = plane.status();
        let news = status.votes && status.epoch == voters.epoch && !voters.ready.contains(&me);
        if !news || now.boot < locks.ready_at {
            return;
        }
        locks.ready_at = now.boot.plus_ms(ASK_AGAIN_MS);
        let words = ["NODES.READY".to_owned(), format!("{:016x}", me.0), voters.epoch.0.to_string()];
        self.ask_meta_about_locks(now, meta, READY, &words, out);
    }

    /// Another block of tokens is wanted.
    pub(super) fn lease_tokens(&mut self, now: Now, out: &mut Outbox) {
        match self.config.routing.meta_shard() {
            Some(meta) => {
                let words = ["NODES.LEASE".to_owned(), LOCK_BLOCK_COUNT.to_string()];
                self.ask_meta_about_locks(now, meta, LEASE, &words, out);
            }
            None => out.wants_tokens = true,
        }
    }

    /// Regular work beside: asks again for tokens if that was in vain, and ends what takes too long.
    pub(crate) fn keep_tokens(&mut self, now: Now, out: &mut Outbox) {
        if self.locks.as_deref_mut().is_some_and(|locks| std::mem::take(&mut locks.lease_failed)) {
            self.with_plane(now, out, |plane, _| plane.on_block_failed());
        }
        self.look_at_fences(now, out);
        self.give_up_fences(now, out);
        self.tell_slot_floor(out);
    }

    /// A block of tokens that nobody else gives out, [`LOCK_BLOCK_COUNT`] from `first` on; nothing if none could be had.
    pub fn on_tokens(&mut self, first: Option<u64>, out: &mut Outbox) {
        if let (None, Some(first)) = (self.config.routing.meta_shard(), first) {
            let generation = self.locks.as_deref().map_or(0, |locks| locks.generation);
            self.bound_fences_below(lock::floor(generation) + first + LOCK_BLOCK_COUNT, out);
        }
        let Some(locks) = self.locks.as_deref_mut() else { return };
        match (&mut locks.stage, first) {
            (Stage::Running(plane), Some(first)) => plane.on_block(first, LOCK_BLOCK_COUNT),
            // Until there is one, tokens rise name by name.
            _ => locks.lease_failed = true,
        }
    }

    /// The meta shard has answered something that no client has asked.
    pub(crate) fn on_meta_answer(&mut self, seq: u64, reply: &Reply, out: &mut Outbox) {
        match seq {
            // A block whose answer is lost is lost; there are enough.
            LEASE => self.on_tokens(if let Reply::Int(first) = reply { Some(first.unsigned_abs()) } else { None }, out),
            READY => {}
            fence => self.on_fence_answer(fence, reply),
        }
    }

    fn ask_meta_about_locks(&mut self, now: Now, meta: base::ShardId, seq: u64, words: &[String], out: &mut Outbox) {
        let args: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let command = data::command::find(&args[0]).expect("it is a command of the meta shard");
        let waiter = waiter(Origin::Lane(self.config.lane), NOBODY, seq, Part::Yes);
        self.run(now, meta, waiter, false, &Queued { db: 0, command, args }, out);
    }
}

/// The number of what is said without a question.
const READY: u64 = u64::MAX - 1;
