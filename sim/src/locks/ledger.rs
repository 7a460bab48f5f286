//! What must hold of locks, whatever happens: invariants as functions whose names are the rule.
//!
//! The ledger sees what voters have durably accepted, so it knows what is chosen and since when, and it sees what clients
//! ask and are told, so it knows who may believe to hold what until when.

use base::codec::Reader;
use base::{Epoch, NodeId};
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Holder, Info, Lock, Outcome};
use consensus::register::{Ballot, Message, Record, RegisterWrite, View};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default, Hash)]
pub struct Ledger {
    views: BTreeMap<Epoch, View>,
    names: BTreeMap<Bytes, Name>,
    /// What each node has durably accepted, or brought along from a former epoch.
    accepted: BTreeMap<(NodeId, Bytes), Ballot>,
    /// Changes that were chosen.
    pub chosen: u64,
}

#[derive(Clone, Debug, Default, Hash)]
struct Name {
    /// What each ballot proposes, and who has durably accepted it.
    proposals: BTreeMap<Ballot, (Arc<Lock>, BTreeSet<NodeId>)>,
    /// What was chosen, by ballot, and since when it is the newest. A slow disk may make a ballot chosen when a higher one, which
    /// goes on from it, is chosen already: it was the newest until then.
    chosen: Vec<Chosen>,
    /// Whose each token is.
    grants: BTreeMap<u64, Grant>,
    /// The highest token that a client was told, and the highest fence.
    told: (u64, u64),
    /// Tokens that their owners have asked to release: whoever has asked holds the lock no more, whatever he is told.
    given_up: BTreeSet<u64>,
    /// The highest fence that one may have been raised to.
    raised: u64,
    /// The highest fence that the store has seen, and the highest token with it.
    stored: (u64, u64),
}

#[derive(Clone, Debug, Hash)]
struct Chosen {
    ballot: Ballot,
    at: u64,
    lock: Arc<Lock>,
}

#[derive(Clone, Debug, Hash)]
struct Grant {
    client: u64,
    claim: Claim,
    fence: u64,
    /// Until then, in true time, its client believes to hold it.
    until: u64,
}

/// A request as the ledger remembers it.
#[derive(Clone, Debug, Hash)]
pub struct Request {
    /// Who asks.
    pub client: u64,
    /// Of what.
    pub name: Bytes,
    /// What for.
    pub command: Command,
    /// True time of its sending, and what tokens and fences were told by then.
    begun: u64,
    told: (u64, u64),
}

impl Ledger {
    /// The placement names voters.
    pub fn add_view(&mut self, view: View) {
        self.views.insert(view.epoch(), view);
    }

    /// A node writes.
    pub fn on_written(&mut self, now: u64, write: &RegisterWrite) {
        match decoded(write) {
            Record::Cell { name, lock, .. } => {
                if let Some(ballot) = accepted(write) {
                    self.a_ballot_has_one_value(&name, ballot, &lock);
                }
            }
            Record::Forgotten { name, ballot } => self.counts(now, name, ballot),
            _ => {}
        }
    }

    /// A write is durable. A voter on its way into an epoch may bring along what others have accepted in that epoch already: it has
    /// accepted it too once it serves.
    pub fn on_durable(&mut self, now: u64, node: NodeId, write: &RegisterWrite) {
        match decoded(write) {
            Record::Cell { name, accepted: brought, .. } => {
                if let Some(ballot) = accepted(write) {
                    self.on_accepted(now, node, &name, ballot);
                }
                self.accepted.insert((node, name), brought);
            }
            Record::Swept { name, epoch } => self.on_swept(now, node, name, epoch),
            Record::Ready { epoch } => {
                let here = self.accepted.iter().filter(|((of, _), ballot)| *of == node && ballot.epoch == epoch);
                let here: Vec<(Bytes, Ballot)> = here.map(|((_, name), ballot)| (name.clone(), *ballot)).collect();
                here.into_iter().for_each(|(name, ballot)| self.on_accepted(now, node, &name, ballot));
            }
            Record::Forgotten { name, .. } => drop(self.accepted.remove(&(node, name))),
            Record::Sealed { .. } | Record::Floor { .. } | Record::Passed { .. } => {}
        }
    }

    fn a_ballot_has_one_value(&mut self, name: &Bytes, ballot: Ballot, lock: &Arc<Lock>) {
        let name = self.names.entry(name.clone()).or_default();
        let (known, _) = name.proposals.entry(ballot).or_insert_with(|| (Arc::clone(lock), BTreeSet::new()));
        assert_eq!(known, lock, "a_ballot_has_one_value");
    }

    fn on_accepted(&mut self, now: u64, node: NodeId, name: &Bytes, ballot: Ballot) {
        let Some(view) = self.views.get(&ballot.epoch) else { panic!("a view is known before its ballots") };
        let name = self.names.entry(name.clone()).or_default();
        let Some((lock, voters)) = name.proposals.get_mut(&ballot) else { panic!("what is accepted was proposed") };
        assert!(view.has(node), "only_voters_accept");
        if voters.insert(node) && voters.len() == view.quorum() {
            let lock = Arc::clone(lock);
            self.chosen += 1;
            name.on_chosen(now, ballot, lock);
        }
    }

    /// A register stays behind: what all former voters had of it counts from now on, though it was perhaps never chosen. What they have
    /// accepted in the new epoch since is the affair of its quorums.
    fn on_swept(&mut self, now: u64, node: NodeId, name: Bytes, epoch: Epoch) {
        let own = self.accepted.remove(&(node, name.clone()));
        let former = self.views.get(&epoch).and_then(View::before).map_or(&[][..], |(_, voters)| voters);
        let of =
            |voter: &NodeId| if *voter == node { own } else { self.accepted.get(&(*voter, name.clone())).copied() };
        let Some(ballot) = former.first().and_then(of) else { return };
        if ballot.epoch < epoch && former.iter().all(|voter| of(voter) == Some(ballot)) {
            self.counts(now, name, ballot);
        }
    }

    /// What all voters have of a free register counts, though it was perhaps never chosen.
    fn counts(&mut self, now: u64, name: Bytes, ballot: Ballot) {
        let name = self.names.entry(name).or_default();
        let Some((lock, _)) = name.proposals.get(&ballot) else { return };
        let lock = Arc::clone(lock);
        if lock.holders.is_empty() && name.chosen.last().is_some_and(|last| last.ballot < ballot) {
            name.on_chosen(now, ballot, lock);
        }
    }

    /// A client asks.
    pub fn begin(&mut self, now: u64, client: u64, name: Bytes, command: Command) -> Request {
        let of = self.names.entry(name.clone()).or_default();
        match &command {
            Command::Raise { above, .. } => of.raised = of.raised.max(above + 1),
            Command::Release { token, .. } => drop(of.given_up.insert(*token)),
            _ => {}
        }
        let told = of.told;
        Request { client, name, command, begun: now, told }
    }

    /// A client asks the same again: it may be told what it was given before.
    pub fn begin_again(&mut self, now: u64, request: Request) -> Request {
        Request { begun: now, ..request }
    }

    /// A client is told. `until` is when its lease ends in true time, if it was granted or renewed.
    pub fn end(&mut self, now: u64, request: &Request, outcome: &Outcome, until: u64) {
        let name = self.names.entry(request.name.clone()).or_default();
        match (&request.command, outcome) {
            (Command::Acquire(acquire), Outcome::Granted { token, fence, .. }) => {
                name.only_what_is_chosen_is_told(*token);
                name.a_token_has_one_owner(request, *token, acquire);
                name.tokens_and_fences_grow(request, (*token, *fence), acquire.claim);
                let until = name.grants.get(token).map_or(until, |known| known.until.max(until));
                let grant = Grant { client: request.client, claim: acquire.claim, fence: *fence, until };
                name.grants.insert(*token, grant);
                name.told = (name.told.0.max(*token), name.told.1.max(*fence));
                name.those_who_hold_may_hold_together(now, *token);
            }
            (Command::Acquire(acquire), Outcome::Refused) => {
                name.a_refusal_has_a_holder(now, request);
                name.a_retry_finds_its_grant(now, request, acquire);
            }
            (Command::Renew { token, .. }, Outcome::Renewed { .. }) => {
                let grant = name.grants.get_mut(token).expect("only what was told is renewed");
                assert_eq!(grant.client, request.client, "a_token_has_one_owner");
                grant.until = grant.until.max(until);
                name.who_holds_has_the_highest_fence(*token);
                name.those_who_hold_may_hold_together(now, *token);
            }
            (Command::Raise { token, above, .. }, Outcome::Granted { fence, .. }) => {
                assert!(fence > above, "a_raised_fence_is_above_what_was_seen");
                let grant = name.grants.get_mut(token).expect("only what was told is raised");
                assert!(*fence >= grant.fence, "a_fence_never_goes_back");
                grant.fence = *fence;
                name.told.1 = name.told.1.max(*fence);
            }
            (
                Command::Renew { token, .. }
                | Command::Release { token, .. }
                | Command::Raise { token, .. }
                | Command::Acquire(Acquire { token: Some(token), .. }),
                Outcome::Lost,
            ) => {
                let held =
                    name.states(request.begun, now).all(|lock| lock.holders.iter().any(|one| one.token == *token));
                assert!(!held, "who_holds_is_not_told_otherwise: {request:?}");
            }
            (Command::Info, Outcome::Info(info)) => {
                name.a_read_tells_the_latest(now, request, info);
            }
            _ => {}
        }
    }

    /// Whether its owner has asked to release this.
    pub fn gave_up(&self, name: &Bytes, token: u64) -> bool {
        self.names.get(name).is_some_and(|name| name.given_up.contains(&token))
    }

    /// A client believes no more that it holds this.
    pub fn let_go(&mut self, name: &Bytes, token: u64) {
        let grant = self.names.get_mut(name).and_then(|name| name.grants.get_mut(&token));
        grant.into_iter().for_each(|grant| grant.until = 0);
    }

    /// A fenced write comes to the store, which takes it unless it saw a higher fence. True if it was taken.
    pub fn no_stale_write_is_stored(&mut self, name: &Bytes, token: u64) -> bool {
        let name = self.names.entry(name.clone()).or_default();
        let fence = name.grants[&token].fence;
        let taken = fence >= name.stored.0;
        assert!(!taken || token >= name.stored.1, "no_stale_write_is_stored");
        if taken {
            name.stored = (fence, token);
        }
        taken
    }

    /// Whether somebody holds the lock, by what is chosen.
    pub fn holders(&self, name: &Bytes) -> &[Holder] {
        let last = self.names.get(name).and_then(|name| name.chosen.last());
        last.map_or(&[], |one| &one.lock.holders)
    }
}

impl Name {
    fn on_chosen(&mut self, now: u64, ballot: Ballot, lock: Arc<Lock>) {
        let place = self.chosen.partition_point(|one| one.ballot < ballot);
        let (before, behind) = (&self.chosen[..place], &self.chosen[place..]);
        before.last().into_iter().for_each(|one| what_is_chosen_goes_on_from_what_was_chosen(&one.lock, &lock));
        behind.first().into_iter().for_each(|one| what_is_chosen_goes_on_from_what_was_chosen(&lock, &one.lock));
        if behind.is_empty() {
            self.nobody_loses_a_lock_while_its_lease_runs(now, &lock);
        }
        let at = behind.first().map_or(now, |one| one.at);
        self.chosen.insert(place, Chosen { ballot, at, lock });
    }

    fn nobody_loses_a_lock_while_its_lease_runs(&self, now: u64, lock: &Lock) {
        let Some(Chosen { lock: last, .. }) = self.chosen.last() else { return };
        for gone in last.holders.iter().filter(|one| lock.holders.iter().all(|other| other.token != one.token)) {
            let until = self.grants.get(&gone.token).map_or(0, |grant| grant.until);
            assert!(until <= now, "nobody_loses_a_lock_while_its_lease_runs: {gone:?} until {until} at {now}");
        }
    }

    fn only_what_is_chosen_is_told(&self, token: u64) {
        let holds = |lock: &Lock| lock.holders.iter().chain(&lock.line).any(|one| one.token == token);
        assert!(self.chosen.iter().rev().any(|one| holds(&one.lock)), "only_what_is_chosen_is_told: {token}");
    }

    fn a_token_has_one_owner(&self, request: &Request, token: u64, acquire: &Acquire) {
        let Some(known) = self.grants.get(&token) else { return };
        assert_eq!(known.client, request.client, "a_token_has_one_owner: {token} {acquire:?}");
    }

    fn tokens_and_fences_grow(&self, request: &Request, (token, fence): (u64, u64), claim: Claim) {
        if self.grants.contains_key(&token) {
            return;
        }
        assert!(token > request.told.0, "tokens_grow: {token} after {:?}", request.told);
        // Sharers that come before a fence is raised may be told of their grant behind it.
        let raised = if claim == Claim::Shared { self.raised } else { 0 };
        assert!(fence <= token.max(raised), "a fence is never above its token, unless it was raised");
        if claim == Claim::Exclusive {
            assert!(fence > request.told.1, "fences_grow: {fence} after {:?}", request.told);
        }
        let earlier = self.grants.range(..token).map(|(_, grant)| grant.fence).max().unwrap_or(0);
        // One may be told of its grant only behind another's raise, or be told of one ahead that a raise has taken back, and not hold it.
        let grows = fence >= earlier || earlier <= self.raised;
        assert!(grows || matches!(claim, Claim::Permits { .. }), "fences_grow_with_tokens");
    }

    fn who_holds_has_the_highest_fence(&self, token: u64) {
        let mine = &self.grants[&token];
        let earlier = self.grants.range(..token).map(|(_, grant)| grant.fence).max().unwrap_or(0);
        let fenced = mine.claim == Claim::Exclusive;
        assert!(!fenced || mine.fence >= earlier, "who_holds_has_the_highest_fence: {mine:?} behind {earlier}");
    }

    /// By their own view, no two hold what can't be held together.
    fn those_who_hold_may_hold_together(&self, now: u64, token: u64) {
        let mine = &self.grants[&token];
        if mine.until <= now {
            return;
        }
        let others = self.grants.iter().filter(|(other, grant)| **other != token && grant.until > now);
        let mut taken = 0;
        for (_, other) in others {
            match (mine.claim, other.claim) {
                (Claim::Shared, Claim::Shared) => {}
                (Claim::Permits { .. }, Claim::Permits { count, .. }) => taken += count,
                _ => panic!("at_most_one_holds: {mine:?} and {other:?} at {now}"),
            }
        }
        if let Claim::Permits { count, of } = mine.claim {
            assert!(taken + count <= of, "no_more_permits_than_there_are");
        }
    }

    /// The states that were the latest at some time between these two.
    fn states(&self, from: u64, to: u64) -> impl Iterator<Item = &Lock> {
        let first = self.chosen.partition_point(|one| one.at < from).saturating_sub(1);
        self.chosen[first..].iter().filter(move |one| one.at <= to).map(|one| &*one.lock)
    }

    fn a_read_tells_the_latest(&self, now: u64, request: &Request, info: &Info) {
        let tells = |lock: &Lock| {
            let holders = || lock.holders.iter().map(|one| (one.token, one.renewal));
            holders().eq(info.holders.iter().map(|one| (one.token, one.renewal)))
        };
        let unused = self.chosen.first().is_none_or(|one| one.at > request.begun) && info.holders.is_empty();
        let found = self.states(request.begun, now).any(tells);
        assert!(unused || found, "a_read_tells_the_latest: {request:?} {info:?}");
    }

    fn a_refusal_has_a_holder(&self, now: u64, request: &Request) {
        let held = self.states(request.begun, now).any(|lock| !lock.holders.is_empty());
        assert!(held, "a_refusal_has_a_holder: {request:?} at {now}");
    }

    fn a_retry_finds_its_grant(&self, now: u64, request: &Request, acquire: &Acquire) {
        let mine = |one: &Holder| one.owner == acquire.owner && one.ids.contains(&acquire.id);
        let mut states = self.states(request.begun, now).peekable();
        let there = states.peek().is_some() && states.all(|lock| lock.holders.iter().any(mine));
        assert!(!there, "a_retry_finds_its_grant: {request:?}");
    }
}

fn what_is_chosen_goes_on_from_what_was_chosen(last: &Lock, lock: &Lock) {
    let grows = lock.token >= last.token && lock.fence >= last.fence;
    let goes_on = lock.version > last.version || lock == last;
    assert!(grows && goes_on, "what_is_chosen_goes_on_from_what_was_chosen: {last:?} then {lock:?}");
    for holder in &lock.holders {
        let known = last.holders.iter().chain(&last.line).any(|one| one.token == holder.token);
        assert!(known || holder.token > last.token, "no_token_comes_back: {last:?} then {lock:?}");
    }
    for next in &lock.line {
        let known = last.line.iter().any(|one| one.token == next.token);
        assert!(known || next.token > last.token, "nobody_comes_back_into_line: {last:?} then {lock:?}");
    }
    let tokens = || lock.holders.iter().chain(&lock.line).map(|one| one.token);
    assert!(lock.line.is_empty() || tokens().is_sorted(), "tokens_are_told_in_the_order_of_the_line: {lock:?}");
}

fn decoded(write: &RegisterWrite) -> Record {
    Record::decode(&mut Reader::new(&write.record)).expect("what is written can be read")
}

/// The ballot whose acceptance this write makes durable.
fn accepted(write: &RegisterWrite) -> Option<Ballot> {
    write.then.iter().find_map(|parcel| match &parcel.message {
        Message::Accepted { ballot, .. } => Some(*ballot),
        _ => None,
    })
}
