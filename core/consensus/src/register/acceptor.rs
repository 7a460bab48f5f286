//! One voter: what it promises and accepts, and how long each holder has, by its own clock.
//!
//! A promise and an acceptance are answered when they are durable. A read promises nothing and writes nothing, but it is answered
//! no sooner than what it tells is durable. A holder's time starts again when its token, its renewal number or the proposal that
//! began it differs from what is here, and for no other reason: nobody who asks or proposes keeps a dead holder alive.

use super::ballot::Ballot;
use super::message::{Message, Parcel, RegisterWrite, Report};
use super::record::Record;
use super::table::{Cell, Lease, Table};
use crate::lock::{Holder, Lock, Outbox};
use base::mutation::{self, Mutation};
use base::time::NS_PER_MS;
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Acceptor {
    me: NodeId,
    pub(crate) table: Table,
    /// The number of the last write, and up to which they are durable.
    written: u64,
    durable: u64,
    /// Messages that tell of what isn't durable yet.
    held: Vec<(u64, Parcel)>,
    /// The highest count that was promised here in this epoch.
    pub(crate) highest: u64,
    /// Grants that stand in the registers here.
    pub(crate) holders: usize,
    subscribers: BTreeMap<Bytes, Vec<(NodeId, Instant)>>,
}

/// Who wants to be told of a register's changes says so again within this time.
pub(crate) const SUBSCRIPTION_MS: u64 = 15_000;
const SUBSCRIBERS_PER_NAME_MAX: usize = 64;
const SUBSCRIBED_NAMES_MAX: usize = 64 * 1024;

/// How long a voter waits before it takes a holder for dead: the holder's clock may be this much slower than the voter's.
pub(crate) fn patience_ms(ttl_ms: u64) -> u64 {
    ttl_ms + ttl_ms / 64 + 1
}

impl Acceptor {
    /// The acceptor as its records tell; every holder's time starts anew at `now`.
    pub(crate) fn new(me: NodeId, mut table: Table, now: Instant) -> Self {
        for cell in table.cells.values_mut() {
            cell.touched = now;
            let lock = Arc::clone(&cell.lock);
            cell.let_to(&lock, now);
            if mutation::on(Mutation::TimersForgottenAtStart) {
                cell.leases.iter_mut().for_each(|lease| lease.ends = now);
            }
        }
        let (held, subscribers) = (Vec::new(), BTreeMap::new());
        let mut acceptor = Self { me, table, written: 0, durable: 0, held, highest: 0, holders: 0, subscribers };
        acceptor.count_highest();
        acceptor.count_holders();
        acceptor
    }

    fn count_highest(&mut self) {
        let promised = || self.table.cells.values().map(|cell| cell.promised).chain([self.table.passed]);
        let latest = promised().max().unwrap_or_default();
        let counts = promised().filter(|ballot| ballot.epoch == latest.epoch);
        self.highest = counts.map(|ballot| ballot.counter).max().unwrap_or(0);
    }

    pub(crate) fn count_holders(&mut self) {
        self.holders = self.table.cells.values().map(|cell| cell.lock.holders.len()).sum();
    }

    /// A proposer asks for a promise.
    pub(crate) fn on_prepare(&mut self, now: Instant, from: NodeId, name: Bytes, ballot: Ballot, out: &mut Outbox) {
        let promised = self.table.promised(&name);
        if ballot < promised {
            return self.send(from, ballot.epoch, Message::Refused { name, ballot, promised }, out);
        }
        self.highest = self.highest.max(ballot.counter);
        let cell = self.table.cells.entry(name.clone()).or_insert_with(|| Cell { touched: now, ..Cell::default() });
        let again = cell.promised == ballot;
        cell.promised = ballot;
        let report = self.report(now, &name);
        let promise = Message::Promise { name: name.clone(), ballot, report };
        if again {
            self.send_durable(&name, from, ballot.epoch, promise, out);
        } else {
            self.write(&name, from, ballot.epoch, promise, out);
        }
    }

    /// A proposer asks to accept.
    pub(crate) fn on_accept(
        &mut self,
        now: Instant,
        from: NodeId,
        name: Bytes,
        (ballot, lock): (Ballot, Arc<Lock>),
        out: &mut Outbox,
    ) {
        if let Some(cell) = self.table.cells.get(&name).filter(|cell| cell.accepted == ballot) {
            assert_eq!(cell.lock, lock, "a_ballot_has_one_value");
            return self.send_durable(&name, from, ballot.epoch, Message::Accepted { name: name.clone(), ballot }, out);
        }
        let promised = self.table.promised(&name);
        if ballot < promised && !mutation::on(Mutation::AcceptBelowPromise) {
            return self.send(from, ballot.epoch, Message::Refused { name, ballot, promised }, out);
        }
        self.highest = self.highest.max(ballot.counter);
        let cell = self.table.cells.entry(name.clone()).or_default();
        cell.accepted = ballot;
        cell.promised = ballot.next();
        cell.touched = now;
        cell.let_to(&lock, now);
        self.holders = (self.holders + lock.holders.len()).saturating_sub(cell.lock.holders.len());
        cell.lock = Arc::clone(&lock);
        self.write(&name, from, ballot.epoch, Message::Accepted { name: name.clone(), ballot }, out);
        self.tell(now, name, ballot, lock, out);
    }

    /// Takes over what most voters have accepted long ago. No proposal that this voter has promised to take can be without it.
    pub(crate) fn take_over_chosen(
        &mut self,
        now: Instant,
        name: &Bytes,
        (ballot, lock): (Ballot, Arc<Lock>),
        out: &mut Outbox,
    ) {
        let cell = self.table.cells.entry(name.clone()).or_default();
        (cell.accepted, cell.promised) = (ballot, cell.promised.max(ballot.next()));
        cell.touched = now;
        cell.let_to(&lock, now);
        self.holders = (self.holders + lock.holders.len()).saturating_sub(cell.lock.holders.len());
        cell.lock = lock;
        cell.written = self.written + 1;
        let record = cell.record(name);
        self.keep(&record, Vec::new(), out);
    }

    /// Promises nobody anything below a ballot, in a register of which nothing was accepted.
    pub(crate) fn promise_beyond(&mut self, name: &Bytes, ballot: Ballot, out: &mut Outbox) {
        let Some(cell) = self.table.cells.get_mut(name).filter(|cell| cell.promised < ballot) else { return };
        cell.promised = ballot;
        cell.written = self.written + 1;
        let record = cell.record(name);
        self.highest = self.highest.max(ballot.counter);
        self.keep(&record, Vec::new(), out);
    }

    pub(crate) fn me(&self) -> NodeId {
        self.me
    }

    /// Somebody wants to know what is accepted here.
    pub(crate) fn on_read(
        &mut self,
        now: Instant,
        from: NodeId,
        (epoch, serial): (Epoch, u64),
        name: Bytes,
        out: &mut Outbox,
    ) {
        let report = self.report(now, &name);
        self.send_durable(&name, from, epoch, Message::ReadReply { name: name.clone(), serial, report }, out);
    }

    /// What is accepted here, durable or not.
    pub(crate) fn report(&self, now: Instant, name: &Bytes) -> Report {
        let floor = self.table.floor(name);
        let Some(cell) = self.table.cells.get(name) else { return Report { floor, ..Report::default() } };
        let left = |lease: &Lease| (lease.token, lease.ends.since_ns(now).div_ceil(NS_PER_MS));
        let alive = cell.leases.iter().filter(|lease| lease.ends > now).map(left).collect();
        Report { accepted: cell.accepted, lock: Arc::clone(&cell.lock), floor, alive }
    }

    /// The count of the highest ballot promised here for this register in an epoch.
    pub(crate) fn promised(&self, name: &Bytes, epoch: Epoch) -> u64 {
        Some(self.table.promised(name))
            .filter(|promised| promised.epoch == epoch)
            .map_or(0, |promised| promised.counter)
    }

    /// Remembers who wants to be told of changes.
    pub(crate) fn on_subscribe(&mut self, now: Instant, from: NodeId, name: Bytes) {
        if self.subscribers.len() >= SUBSCRIBED_NAMES_MAX {
            self.subscribers.retain(|_, list| list.iter().any(|(_, until)| *until > now));
        }
        if self.subscribers.len() >= SUBSCRIBED_NAMES_MAX && !self.subscribers.contains_key(&name) {
            return;
        }
        let list = self.subscribers.entry(name).or_default();
        list.retain(|(node, until)| *node != from && *until > now);
        if list.len() < SUBSCRIBERS_PER_NAME_MAX {
            list.push((from, now.plus_ms(SUBSCRIPTION_MS)));
        }
    }

    /// Tells those who subscribed, but for whoever changed it.
    fn tell(&mut self, now: Instant, name: Bytes, ballot: Ballot, lock: Arc<Lock>, out: &mut Outbox) {
        if self.subscribers.is_empty() {
            return;
        }
        let Some(list) = self.subscribers.get_mut(&name) else { return };
        list.retain(|(_, until)| *until > now);
        let others: Vec<NodeId> = list.iter().map(|(node, _)| *node).filter(|node| *node != ballot.node).collect();
        if list.is_empty() {
            self.subscribers.remove(&name);
        }
        for to in others {
            let changed = Message::Changed { name: name.clone(), version: lock.version, lock: Arc::clone(&lock) };
            self.send_durable(&name, to, ballot.epoch, changed, out);
        }
    }

    fn send(&self, to: NodeId, epoch: Epoch, message: Message, out: &mut Outbox) {
        out.send(Parcel { from: self.me, to, epoch, message });
    }

    /// Sends what tells of a register once that is durable.
    fn send_durable(&mut self, name: &Bytes, to: NodeId, epoch: Epoch, message: Message, out: &mut Outbox) {
        let written = self.table.cells.get(name).map_or(0, |cell| cell.written);
        let at_once = written <= self.durable || mutation::on(Mutation::ReadBeforeDurable);
        self.send_behind(if at_once { 0 } else { written }, Parcel { from: self.me, to, epoch, message }, out);
    }

    /// Sends a message once a write is durable.
    pub(crate) fn send_behind(&mut self, write: u64, parcel: Parcel, out: &mut Outbox) {
        if write <= self.durable {
            out.send(parcel);
        } else {
            self.held.push((write, parcel));
        }
    }

    /// All writes up to this one are durable.
    pub(crate) fn on_persisted(&mut self, upto: u64, out: &mut Outbox) {
        self.durable = self.durable.max(upto);
        let durable = self.durable;
        let told = self.held.extract_if(.., |(write, _)| *write <= durable);
        told.for_each(|(_, parcel)| out.send(parcel));
    }

    /// The number of the last write.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    fn write(&mut self, name: &Bytes, to: NodeId, epoch: Epoch, answer: Message, out: &mut Outbox) {
        let serial = self.written + 1;
        let cell = self.table.cells.get_mut(name).expect("it was just changed");
        cell.written = serial;
        let record = cell.record(name);
        let answer = Parcel { from: self.me, to, epoch, message: answer };
        if mutation::on(Mutation::AnswerBeforeDurable) {
            out.send(answer);
            return self.keep(&record, Vec::new(), out);
        }
        self.keep(&record, vec![answer], out);
    }

    /// Has a record made durable.
    pub(crate) fn keep(&mut self, record: &Record, then: Vec<Parcel>, out: &mut Outbox) {
        self.written += 1;
        if let Record::Ready { epoch } = record {
            self.table.ready_written = self.table.ready_written.max(*epoch);
        }
        let mut bytes = Vec::with_capacity(160);
        record.encode(&mut bytes);
        out.writes.push(RegisterWrite { serial: self.written, record: Bytes::from(bytes), then });
    }

    /// What each state must keep.
    pub(crate) fn validate(&self) {
        for cell in self.table.cells.values() {
            assert!(cell.accepted <= cell.promised, "what is accepted was promised");
            assert!(cell.lock.fence <= cell.lock.token, "a fence is never above the last token");
            assert_eq!(cell.leases.len(), cell.lock.holders.len(), "every holder's time is counted");
        }
    }
}

impl Cell {
    /// Starts the time of holders whose present time another proposal has begun than the one that is known here.
    pub(crate) fn let_to(&mut self, lock: &Lock, now: Instant) {
        let old = std::mem::take(&mut self.leases);
        self.leases = Vec::with_capacity(lock.holders.len());
        for holder in &lock.holders {
            let Holder { token, renewal, since, .. } = *holder;
            let fresh = Lease { token, renewal, since, ends: now.plus_ms(patience_ms(holder.ttl_ms)) };
            let numbers_alone = mutation::on(Mutation::LeaseByNumbersAlone);
            let same =
                |one: &&Lease| (one.token, one.renewal) == (token, renewal) && (one.since == since || numbers_alone);
            let restarts = mutation::on(Mutation::PollingProlongs);
            let known = old.iter().find(same).filter(|_| !restarts);
            self.leases.push(known.copied().unwrap_or(fresh));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(renewal: u64, since: u64) -> Lock {
        let since = Ballot { epoch: Epoch(1), counter: since, node: NodeId(1), incarnation: 1 };
        let (owner, ids) = (Bytes::from_static(b"x"), vec![Bytes::from_static(b"id")]);
        let holder = Holder { owner, token: 2, renewal, ttl_ms: 100, weight: 1, since, ids };
        Lock { version: 1, fence: 2, token: 2, holders: vec![holder], ..Lock::default() }
    }

    /// What the holder has in all behind `lock`, accepted 60 ms after `before`, of a lease that lasts 102 ms.
    fn left(before: &Lock, lock: &Lock) -> u64 {
        let mut cell = Cell::default();
        cell.let_to(before, Instant(0));
        cell.let_to(lock, Instant(0).plus_ms(60));
        cell.leases[0].ends.since_ns(Instant(0)) / NS_PER_MS
    }

    #[test]
    fn what_another_proposal_began_has_time_of_its_own() {
        assert_eq!(left(&held(1, 7), &held(1, 7)), 102, "it is the same");
        assert_eq!(left(&held(1, 7), &held(2, 8)), 162, "it was renewed");
        // Two homes proposed the same token, or the same renewal; this voter had accepted the one that came to nothing.
        assert_eq!(left(&held(1, 7), &held(1, 8)), 162);
    }
}
