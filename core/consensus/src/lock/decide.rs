//! What a request does to a lock: a function of the lock's state and the request, with no time and no network in it. Who has
//! expired was judged before, by voters.

use super::command::{Acquire, Claim, Command, HolderInfo, Info, Invalid, Outcome};
use super::tokens::Tokens;
use super::value::{Holder, KEPT_COUNT_MAX, Lock, Mode};
use base::limits::LOCK_HOLDER_COUNT_MAX;
use base::mutation::{self, Mutation};

/// A lock that is being changed by a round's requests, one after the other.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) lock: Lock,
    pub(crate) changed: bool,
    pub(crate) tokens: &'a mut Tokens,
    /// Tokens of holders whom a quorum of voters found expired: they make room for whoever wants it, unless they renew first.
    pub(crate) expired: Vec<u64>,
    /// What is left of each grant in the voters' view, by token.
    pub(crate) remaining: &'a [(u64, u64)],
    /// Holders who lost the lock to another.
    pub(crate) stolen: u64,
    /// Somebody waits in front, so nobody who comes later overtakes him.
    pub(crate) line: bool,
    /// Something was given back.
    pub(crate) freed: bool,
    pub(crate) waiting: u64,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Done(Outcome),
    /// Nothing can be granted now.
    Blocked,
}

/// Whether a request was part of a proposal before, of which it isn't known whether it counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tried {
    Never,
    Perhaps,
}

/// No block of tokens ends above this, within a generation: what claims to have seen more is not believed.
const GIVEN_OUT_MAX: u64 = 1 << 47;

impl Draft<'_> {
    /// Does what the request asks for.
    pub(crate) fn decide(&mut self, command: &Command, tried: Tried) -> Decision {
        match command {
            Command::Acquire(acquire) => self.acquire(acquire),
            Command::Renew { owner, token, ttl_ms } => Decision::Done(self.renew(owner, *token, *ttl_ms)),
            Command::Release { owner, token } => Decision::Done(self.release(owner, *token, tried)),
            Command::Raise { owner, token, above } => Decision::Done(self.raise(owner, *token, *above)),
            Command::GiveBack { token } => Decision::Done(self.give_back(*token)),
            Command::Info => Decision::Done(Outcome::Info(self.info())),
        }
    }

    fn acquire(&mut self, acquire: &Acquire) -> Decision {
        let again = |one: &&mut Holder| one.owner == acquire.owner && one.ids.contains(&acquire.id);
        let retries = !mutation::on(Mutation::LockRetryForgotten);
        if let Some(holder) = self.lock.holders.iter_mut().find(again).filter(|_| retries) {
            // A retry is a renewal: the client counts from its sending, so voters must count anew.
            holder.renewal += 1;
            holder.ttl_ms = acquire.ttl_ms;
            let token = holder.token;
            self.lives_on(token);
            return Decision::Done(self.granted(token, acquire.ttl_ms));
        }
        match acquire.token {
            Some(token) => self.reenter(acquire, token),
            None => self.enter(acquire),
        }
    }

    fn enter(&mut self, acquire: &Acquire) -> Decision {
        let twin = |one: &Holder| one.owner == acquire.owner;
        let inherited = self.lock.holders.iter().find(|one| mutation::on(Mutation::LockTwinInherits) && twin(one));
        if let Some(token) = inherited.map(|holder| holder.token) {
            return self.reenter(acquire, token);
        }
        if self.line {
            return Decision::Blocked;
        }
        if !self.fits(acquire.claim) {
            self.evict();
        }
        match (acquire.claim, self.lock.mode) {
            (Claim::Permits { of, .. }, Mode::Permits { of: here }) if of != here && !self.lock.holders.is_empty() => {
                Decision::Done(Outcome::Invalid(Invalid::PermitsDiffer { of: here }))
            }
            _ if self.fits(acquire.claim) => Decision::Done(self.grant(acquire)),
            _ => Decision::Blocked,
        }
    }

    /// Whether there is room beside the present holders.
    fn fits(&self, claim: Claim) -> bool {
        let lock = &self.lock;
        let room = lock.holders.len() < LOCK_HOLDER_COUNT_MAX;
        lock.holders.is_empty()
            || room
                && match (claim, lock.mode) {
                    (Claim::Shared, Mode::Shared) => true,
                    (Claim::Permits { count, of }, Mode::Permits { of: here }) => {
                        of == here && lock.taken().saturating_add(count) <= of
                    }
                    _ => false,
                }
    }

    /// Lets those go whose time is over.
    fn evict(&mut self) {
        let before = self.lock.holders.len();
        self.lock.holders.retain(|holder| !self.expired.contains(&holder.token));
        let gone = before - self.lock.holders.len();
        self.stolen += gone as u64;
        self.changed |= gone > 0;
    }

    /// Who renews in a round isn't stolen from in the same one: he will be told that he holds.
    fn lives_on(&mut self, token: u64) {
        if !mutation::on(Mutation::StealFromRenewer) {
            self.expired.retain(|expired| *expired != token);
        }
    }

    fn grant(&mut self, acquire: &Acquire) -> Outcome {
        let lock = &mut self.lock;
        let (mode, weight) = match acquire.claim {
            Claim::Exclusive => (Mode::Exclusive, 1),
            Claim::Shared => (Mode::Shared, 1),
            Claim::Permits { count, of } => (Mode::Permits { of }, count),
        };
        // Sharers who come later share the fence of the first. The first one's is new: an exclusive holder of before must not
        // write beside them.
        if lock.holders.is_empty() && !matches!(mode, Mode::Permits { .. }) {
            lock.fence = lock.fence.max(self.tokens.floor()) + 1;
        }
        lock.mode = mode;
        lock.token = self.tokens.next(lock.token);
        let (token, ids) = (lock.token, vec![acquire.id.clone()]);
        let owner = acquire.owner.clone();
        lock.holders.push(Holder { owner, token, renewal: 0, ttl_ms: acquire.ttl_ms, weight, ids });
        self.granted(token, acquire.ttl_ms)
    }

    fn granted(&mut self, token: u64, remaining_ms: u64) -> Outcome {
        self.changed = true;
        let fence = if matches!(self.lock.mode, Mode::Permits { .. }) { 0 } else { self.lock.fence };
        Outcome::Granted { token, fence, remaining_ms }
    }

    /// The owner of a grant asks again, for as much or for another mode.
    fn reenter(&mut self, acquire: &Acquire, token: u64) -> Decision {
        let Some(mut at) = self.place(&acquire.owner, token) else { return Decision::Done(Outcome::Lost) };
        if !self.turns_into(acquire.claim, at) {
            self.lives_on(self.lock.holders[at].token);
            self.evict();
            at = match self.place(&acquire.owner, token) {
                Some(at) => at,
                None => return Decision::Done(Outcome::Lost),
            };
            if !self.turns_into(acquire.claim, at) {
                return Decision::Blocked;
            }
        }
        let holder = &mut self.lock.holders[at];
        let token = holder.token;
        holder.renewal += 1;
        holder.ttl_ms = acquire.ttl_ms;
        holder.ids.push(acquire.id.clone());
        if holder.ids.len() > KEPT_COUNT_MAX {
            holder.ids.remove(0);
        }
        self.lives_on(token);
        Decision::Done(self.granted(token, acquire.ttl_ms))
    }

    /// Changes the mode to what a holder claims; false if others are in the way.
    fn turns_into(&mut self, claim: Claim, at: usize) -> bool {
        let lock = &mut self.lock;
        let alone = lock.holders.len() == 1;
        match (claim, lock.mode) {
            (Claim::Exclusive, Mode::Exclusive) | (Claim::Shared, Mode::Shared) => true,
            (Claim::Shared, Mode::Exclusive) => {
                lock.mode = Mode::Shared;
                true
            }
            (Claim::Exclusive, Mode::Shared) if alone => {
                lock.mode = Mode::Exclusive;
                // Who shared it before must not write beside the one who has it alone now.
                lock.fence += 1;
                lock.token = lock.token.max(lock.fence);
                true
            }
            (Claim::Permits { count, of }, Mode::Permits { of: here }) => {
                let others = lock.taken() - lock.holders[at].weight;
                let fits = of == here && others.saturating_add(count) <= of;
                if fits {
                    lock.holders[at].weight = count;
                }
                fits
            }
            _ => false,
        }
    }

    fn place(&self, owner: &[u8], token: u64) -> Option<usize> {
        let blind = mutation::on(Mutation::LockTokenIgnored);
        self.lock.holders.iter().position(|one| one.owner == owner && (one.token == token || blind))
    }

    fn renew(&mut self, owner: &[u8], token: u64, ttl_ms: u64) -> Outcome {
        let Some(at) = self.place(owner, token) else { return Outcome::Lost };
        let holder = &mut self.lock.holders[at];
        holder.ttl_ms = ttl_ms;
        if !mutation::on(Mutation::RenewalUncounted) {
            holder.renewal += 1;
        }
        let token = holder.token;
        self.lives_on(token);
        self.changed = true;
        Outcome::Renewed { remaining_ms: ttl_ms }
    }

    fn release(&mut self, owner: &[u8], token: u64, tried: Tried) -> Outcome {
        if let Some(at) = self.place(owner, token) {
            let gone = self.lock.holders.remove(at);
            self.lock.released.push(gone.token);
            if self.lock.released.len() > KEPT_COUNT_MAX {
                self.lock.released.remove(0);
            }
            (self.changed, self.freed) = (true, true);
            return Outcome::Released;
        }
        match tried {
            _ if self.lock.released.contains(&token) => Outcome::Released,
            Tried::Never => Outcome::Lost,
            // It was given back by this very request, or lost before: who knows?
            Tried::Perhaps => Outcome::Unknown,
        }
    }

    /// The fence of a grant becomes larger than one that was seen. Whoever shares the lock has to ask for his fence again.
    fn raise(&mut self, owner: &[u8], token: u64, above: u64) -> Outcome {
        let Some(at) = self.place(owner, token) else { return Outcome::Lost };
        let ttl_ms = self.lock.holders[at].ttl_ms;
        let above = above.min(self.tokens.floor() + GIVEN_OUT_MAX);
        if self.lock.fence <= above && !matches!(self.lock.mode, Mode::Permits { .. }) {
            self.lock.fence = above + 1;
            self.lock.token = self.lock.token.max(self.lock.fence);
            self.changed = true;
        }
        let fence = self.lock.fence;
        Outcome::Granted { token, fence, remaining_ms: ttl_ms }
    }

    /// Nobody was told of this grant: it is given back, unless its owner has asked again and so knows it.
    fn give_back(&mut self, token: u64) -> Outcome {
        let asked_again = |one: &Holder| one.renewal > 0 && !mutation::on(Mutation::GiveBackAfterRetry);
        let untold = |one: &&Holder| one.token == token && !asked_again(one);
        match self.lock.holders.iter().find(untold).map(|one| one.owner.clone()) {
            Some(owner) => self.release(&owner, token, Tried::Never),
            None => Outcome::Lost,
        }
    }

    pub(crate) fn info(&self) -> Info {
        let lock = &self.lock;
        let left = |token| self.remaining.iter().find(|(known, _)| *known == token).map_or(0, |(_, ms)| *ms);
        let holders = lock.holders.iter().map(|one| HolderInfo {
            owner: one.owner.clone(),
            token: one.token,
            renewal: one.renewal,
            ttl_ms: one.ttl_ms,
            weight: one.weight,
            remaining_ms: left(one.token),
        });
        Info {
            version: lock.version,
            fence: lock.fence,
            token: lock.token,
            mode: lock.mode,
            holders: holders.collect(),
            waiting: self.waiting,
        }
    }
}
