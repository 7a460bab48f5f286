//! What a request does to a lock: a function of the lock's state and the request, with no time and no network in it. Who has
//! expired was judged before, by voters.

use super::command::{Acquire, Claim, Command, HolderInfo, Info, Invalid, Outcome};
use super::tokens::Tokens;
use super::value::{Holder, KEPT_COUNT_MAX, Lock, Mode};
use crate::register::Ballot;
use base::limits::{LOCK_HOLDER_COUNT_MAX, LOCK_LINE_COUNT_MAX};
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
    /// Grants that were given back, as is known here though nobody has written it yet: whoever is next was told so.
    pub(crate) over: Vec<u64>,
    /// Grants that were made ahead for somebody who doesn't wait here.
    pub(crate) strangers: Vec<u64>,
    /// Grants that were made ahead and have begun by this change.
    pub(crate) begun: Vec<u64>,
    /// The grant that was made ahead for the request that is looked at.
    pub(crate) ahead: Option<u64>,
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

/// Who is next in line and not known to wait has so long to say that he holds the lock.
const CLAIM_MS: u64 = 1_000;
/// No block of tokens ends above this, within a generation: what claims to have seen more is not believed.
const GIVEN_OUT_MAX: u64 = 1 << 47;

impl Holder {
    /// Its time begins again. It never gets shorter: an older request that comes late, or a copy of one, would else cut short what a
    /// later one was told.
    fn begin_anew(&mut self, ttl_ms: u64) {
        let shortens = mutation::on(Mutation::RenewalShortens);
        self.ttl_ms = if shortens { ttl_ms } else { self.ttl_ms.max(ttl_ms) };
        (self.renewal, self.since) = (self.renewal + 1, Ballot::ZERO);
    }
}

impl Draft<'_> {
    /// Does what the request asks for.
    pub(crate) fn decide(&mut self, command: &Command, tried: Tried) -> Decision {
        match command {
            Command::Acquire(acquire) => self.acquire(acquire),
            Command::Renew { owner, token, ttl_ms } => Decision::Done(self.renew(owner, *token, *ttl_ms)),
            Command::Release { owner, token } => Decision::Done(self.release(owner, *token, tried)),
            Command::Raise { owner, token, above } => Decision::Done(self.raise(owner, *token, *above)),
            Command::GiveBack { token } => Decision::Done(self.give_back(*token)),
            Command::Tidy => self.tidy(),
            Command::Info => Decision::Done(Outcome::Info(self.info())),
        }
    }

    fn acquire(&mut self, acquire: &Acquire) -> Decision {
        let again = |one: &Holder| one.owner == acquire.owner && one.ids.contains(&acquire.id);
        let retries = !mutation::on(Mutation::LockRetryForgotten);
        let holder = self.lock.holders.iter().find(|one| again(one)).map(|holder| holder.token);
        if let Some(token) = holder.filter(|token| self.over.contains(token)) {
            self.release(&acquire.owner, token, Tried::Never);
            return Decision::Done(Outcome::Lost);
        }
        if let Some(token) = holder.filter(|token| self.ahead == Some(*token) && self.begun.contains(token)) {
            return Decision::Done(self.take_up(token, acquire.ttl_ms, 1));
        }
        if let Some(holder) = self.lock.holders.iter_mut().find(|one| again(one)).filter(|_| retries) {
            // A retry is a renewal: the client counts from its sending, so voters must count anew.
            holder.begin_anew(acquire.ttl_ms);
            let token = holder.token;
            self.lives_on(token);
            return Decision::Done(self.granted(token, acquire.ttl_ms));
        }
        if self.lock.line.iter().any(again) {
            return self.wait_ahead(acquire);
        }
        match acquire.token {
            Some(token) => self.reenter(acquire, token),
            None => self.enter(acquire),
        }
    }

    /// A request whose grant is made ahead: it begins now, if those before it are over.
    fn wait_ahead(&mut self, acquire: &Acquire) -> Decision {
        if !self.line {
            self.evict();
        }
        // In line it is asked for no more than once, for what holds the lock isn't in it.
        let waits = self.lock.line.iter().any(|one| one.owner == acquire.owner && one.ids.contains(&acquire.id));
        if waits { Decision::Blocked } else { self.acquire(acquire) }
    }

    /// A grant that was made ahead begins, and its client waits for it here. It is told, so another home that told another connection of the
    /// client can't give it back: that counts as one renewal.
    fn take_up(&mut self, token: u64, ttl_ms: u64, told: u64) -> Outcome {
        self.begun.retain(|begun| *begun != token);
        for one in self.lock.holders.iter_mut().filter(|one| one.token == token) {
            (one.ttl_ms, one.renewal, one.since) = (one.ttl_ms.max(ttl_ms), one.renewal + told, Ballot::ZERO);
        }
        self.granted(token, ttl_ms)
    }

    /// A request leaves the line whose grant may be made ahead. What has begun by this very change and nobody has taken up is its own;
    /// what holds the lock else was told to one who asked again. Whose client still waits is refused by what is found now, like all others.
    pub(crate) fn leave(&mut self, acquire: &Acquire, waits: bool) -> Decision {
        let its = |one: &Holder| one.owner == acquire.owner && one.ids.contains(&acquire.id);
        if let Some(token) = self.lock.holders.iter().find(|one| its(one)).map(|one| one.token) {
            return match self.begun.contains(&token) {
                true => Decision::Done(self.take_up(token, acquire.ttl_ms, u64::from(waits))),
                false if waits => self.acquire(acquire),
                false => Decision::Done(Outcome::Refused),
            };
        }
        let before = self.lock.line.len();
        self.lock.line.retain(|one| !its(one));
        self.changed |= self.lock.line.len() < before;
        if waits { self.acquire(acquire) } else { Decision::Done(Outcome::Refused) }
    }

    /// Makes the grant of a request ahead, which waits behind all who are in line; false if there is no room.
    pub(crate) fn grant_ahead(&mut self, acquire: &Acquire) -> bool {
        let lock = &mut self.lock;
        let alone = lock.mode == Mode::Exclusive && lock.holders.len() == 1;
        if !alone || lock.line.len() >= LOCK_LINE_COUNT_MAX {
            return false;
        }
        lock.token = self.tokens.next(lock.token);
        let (token, ids, owner) = (lock.token, vec![acquire.id.clone()], acquire.owner.clone());
        let since = Ballot::ZERO;
        lock.line.push(Holder { owner, token, renewal: 0, ttl_ms: acquire.ttl_ms, weight: 1, since, ids });
        self.changed = true;
        true
    }

    /// Where nobody holds the lock any more, the next in line does. Until he says something, or is known to wait here, he has little
    /// time: he may be gone.
    fn go_on(&mut self) {
        let lock = &mut self.lock;
        if !lock.holders.is_empty() || lock.line.is_empty() {
            return;
        }
        let next = lock.line.remove(0);
        lock.fence = Lock::fence_behind(lock.fence, &next);
        lock.token = lock.token.max(lock.fence);
        self.begun.push(next.token);
        lock.holders.push(Holder { ttl_ms: next.ttl_ms.min(CLAIM_MS), since: Ballot::ZERO, ..next });
        (self.changed, self.freed) = (true, true);
    }

    /// Who uses a token that was granted ahead was told of it, so those before him have given the lock back.
    fn prove(&mut self, owner: &[u8], token: u64) {
        let lock = &mut self.lock;
        let Some(at) = lock.line.iter().position(|one| one.owner == owner && one.token == token) else { return };
        let over: Vec<u64> = lock.holders.drain(..).chain(lock.line.drain(..at)).map(|one| one.token).collect();
        over.into_iter().for_each(|token| self.note_released(token));
        self.go_on();
    }

    fn note_released(&mut self, token: u64) {
        let released = &mut self.lock.released;
        released.push(token);
        if released.len() > KEPT_COUNT_MAX {
            released.remove(0);
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
        if gone > 0 && self.lock.holders.is_empty() {
            // Who was told of his grant but has not used it has no lease yet; and most likely nobody was, for nothing was given back.
            let strangers = &self.strangers;
            self.lock.line.retain(|one| !strangers.contains(&one.token));
        }
        self.go_on();
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
        let first = lock.holders.is_empty();
        lock.mode = mode;
        lock.token = self.tokens.next(lock.token);
        // Sharers who come later share the fence of the first. The first one's is new: an exclusive holder of before must not
        // write beside them. It is above all tokens, for whoever left the line may have been told of one.
        if first && !matches!(mode, Mode::Permits { .. }) {
            let below = mutation::on(Mutation::FenceBelowThoseAhead);
            lock.fence = if below { lock.fence.max(self.tokens.floor()) + 1 } else { lock.token };
        }
        let (token, ids) = (lock.token, vec![acquire.id.clone()]);
        let owner = acquire.owner.clone();
        let since = Ballot::ZERO;
        lock.holders.push(Holder { owner, token, renewal: 0, ttl_ms: acquire.ttl_ms, weight, since, ids });
        self.granted(token, acquire.ttl_ms)
    }

    fn granted(&mut self, token: u64, remaining_ms: u64) -> Outcome {
        self.changed = true;
        let fence = if matches!(self.lock.mode, Mode::Permits { .. }) { 0 } else { self.lock.fence };
        Outcome::Granted { token, fence, remaining_ms }
    }

    /// The owner of a grant asks again, for as much or for another mode.
    fn reenter(&mut self, acquire: &Acquire, token: u64) -> Decision {
        self.prove(&acquire.owner, token);
        let Some(mut at) = self.held(&acquire.owner, token) else { return Decision::Done(Outcome::Lost) };
        if !self.turns_into(acquire.claim, at) {
            self.lives_on(self.lock.holders[at].token);
            self.evict();
            at = match self.held(&acquire.owner, token) {
                Some(at) => at,
                None => return Decision::Done(Outcome::Lost),
            };
            if !self.turns_into(acquire.claim, at) {
                return Decision::Blocked;
            }
        }
        let holder = &mut self.lock.holders[at];
        let token = holder.token;
        holder.begin_anew(acquire.ttl_ms);
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
                // Who waits for it alone was not told yet: its holder is here.
                lock.line.clear();
                true
            }
            (Claim::Exclusive, Mode::Shared) if alone => {
                lock.mode = Mode::Exclusive;
                // Who shared it before must not write beside the one who has it alone now.
                lock.token = self.tokens.next(lock.token);
                lock.fence = lock.token;
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

    /// Where a grant stands that its owner has not given back. If he has, that is written now: whoever is told that it is lost need not wait for it.
    fn held(&mut self, owner: &[u8], token: u64) -> Option<usize> {
        let at = self.place(owner, token)?;
        if !self.over.contains(&token) {
            return Some(at);
        }
        self.release(owner, token, Tried::Never);
        None
    }

    fn place(&self, owner: &[u8], token: u64) -> Option<usize> {
        let blind = mutation::on(Mutation::LockTokenIgnored);
        self.lock.holders.iter().position(|one| one.owner == owner && (one.token == token || blind))
    }

    fn renew(&mut self, owner: &[u8], token: u64, ttl_ms: u64) -> Outcome {
        self.prove(owner, token);
        let Some(at) = self.held(owner, token) else { return Outcome::Lost };
        let holder = &mut self.lock.holders[at];
        let before = (holder.renewal, holder.since);
        holder.begin_anew(ttl_ms);
        if mutation::on(Mutation::RenewalUncounted) {
            (holder.renewal, holder.since) = before;
        }
        let token = holder.token;
        self.lives_on(token);
        self.changed = true;
        Outcome::Renewed { remaining_ms: ttl_ms }
    }

    fn release(&mut self, owner: &[u8], token: u64, tried: Tried) -> Outcome {
        self.prove(owner, token);
        if let Some(at) = self.place(owner, token) {
            let gone = self.lock.holders.remove(at);
            self.note_released(gone.token);
            (self.changed, self.freed) = (true, true);
            self.go_on();
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
        self.prove(owner, token);
        let Some(at) = self.held(owner, token) else { return Outcome::Lost };
        let ttl_ms = self.lock.holders[at].ttl_ms;
        let above = above.min(self.tokens.floor() + GIVEN_OUT_MAX);
        if self.lock.fence <= above && !matches!(self.lock.mode, Mode::Permits { .. }) {
            self.lock.fence = above + 1;
            self.lock.token = self.lock.token.max(self.lock.fence);
            // Grants made ahead may be below that now. Nobody counts on one: the holder is here. Those who wait get others at once.
            if !mutation::on(Mutation::RaisedAboveThoseAhead) {
                self.lock.line.clear();
            }
            self.changed = true;
        }
        let fence = self.lock.fence;
        Outcome::Granted { token, fence, remaining_ms: ttl_ms }
    }

    /// Nobody was told of this grant: it is given back, unless its owner has asked again and so knows it.
    fn give_back(&mut self, token: u64) -> Outcome {
        let asked_again = |one: &Holder| one.renewal > 0 && !mutation::on(Mutation::GiveBackAfterRetry);
        if let Some(at) = self.lock.line.iter().position(|one| one.token == token) {
            self.lock.line.remove(at);
            self.note_released(token);
            self.changed = true;
            return Outcome::Released;
        }
        let untold = |one: &&Holder| one.token == token && !asked_again(one);
        match self.lock.holders.iter().find(untold).map(|one| one.owner.clone()) {
            Some(owner) => self.release(&owner, token, Tried::Never),
            None => Outcome::Lost,
        }
    }

    /// Those whose time is over go. Nobody took the lock from them, so they are not counted as stolen from.
    fn tidy(&mut self) -> Decision {
        let stolen = self.stolen;
        self.evict();
        self.stolen = stolen;
        if self.lock.holders.is_empty() { Decision::Done(Outcome::Released) } else { Decision::Blocked }
    }

    /// Whether this token holds the lock or is next in line.
    pub(crate) fn knows(&self, token: u64) -> bool {
        self.lock.holders.iter().chain(&self.lock.line).any(|one| one.token == token)
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
