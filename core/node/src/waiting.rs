//! Clients whose calls may wait, as one replica knows them: where each of their calls is.
//!
//! Who waits in which order is the shard's state ([`data::waits`]); this table says whom an answer is for. It holds the calls of this
//! node's own clients from their coming to their answer, wherever they are: here and in the log, with another node that leads, or
//! nowhere while nobody does. Of other nodes' clients it holds those whose calls are here while this node leads.
//!
//! What it takes for granted: a client whose call is in the table asks for nothing else, so that its call may be asked again at any
//! time, of any leader, without overtaking anything.

use crate::outbox::Queued;
use crate::peer::Asker;
use crate::replica::{Origin, Waiter};
use base::{ClientId, Instant, NodeId, Stamp, Term};
use data::waits::{How, WaitId};
use std::collections::{BTreeMap, BTreeSet};

/// A call that may wait.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) waiter: Waiter,
    pub(crate) queued: Queued,
    /// The life of the client's lane.
    pub(crate) life: u64,
    /// Read, not logged, unless something of its client that must be seen is.
    pub(crate) joins: bool,
    /// When it came first.
    pub(crate) since: Instant,
    /// How long it wants to wait in all; without end if nothing.
    pub(crate) timeout_ms: Option<u64>,
    /// Until when it waits here: by the clock of this node, and by that of the log.
    pub(crate) due: Option<(Instant, Stamp)>,
    pub(crate) at: At,
    /// The term that another node's call was for.
    pub(crate) term: Term,
    /// It was asked of a leader that may have done it, in vain, at this time for the first time.
    pub(crate) doubt_since: Option<Instant>,
    /// It is to be let go as soon as that can be done.
    pub(crate) let_go: Option<How>,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Nowhere: no leader is known, or none that would take it.
    Parked,
    /// With the leader of a term.
    Sent(NodeId, Term),
    /// Here: in the open entry, in one that was proposed, or behind a round of heartbeats.
    Asked,
    /// Here, in a line of the shard.
    Standing(WaitId),
}

/// How a call ends that its client or another client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client is gone: it needs no answer.
    Gone,
    /// It is answered: so, if nothing served it before.
    Told(How),
}

/// Names a call in the table; 0 is none.
pub(crate) type Number = u64;

/// The table; see the module.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    calls: BTreeMap<Number, Call>,
    by_client: BTreeMap<(Origin, ClientId, u64), Number>,
    standing: BTreeMap<WaitId, Number>,
    /// When the calls that stand here have waited long enough: those in the log, and reads.
    deadlines: [BTreeSet<(Instant, Number)>; 2],
    /// Parked calls, the oldest first.
    parked: BTreeSet<(Instant, Number)>,
    last: Number,
}

impl Waiting {
    /// Takes a call; one of the same client with the same seq gives way.
    pub(crate) fn insert(&mut self, mut call: Call) -> Number {
        let Waiter { origin, client, seq, .. } = call.waiter;
        if let Some(former) = self.of(origin, client, seq) {
            self.remove(former);
        }
        self.last += 1;
        let number = self.last;
        call.waiter.wait = number;
        self.by_client.insert((origin, client, seq), number);
        let at = std::mem::replace(&mut call.at, At::Asked);
        self.calls.insert(number, call);
        self.put(number, at);
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Call> {
        self.calls.get(&number)
    }

    /// Lets a call be changed, but for where it is and until when it stands there.
    pub(crate) fn get_mut(&mut self, number: Number) -> Option<&mut Call> {
        self.calls.get_mut(&number)
    }

    /// The call is asked here, and waits until then.
    pub(crate) fn ask(&mut self, number: Number, due: Option<(Instant, Stamp)>) {
        self.put(number, At::Asked);
        if let Some(call) = self.calls.get_mut(&number) {
            call.due = due;
        }
    }

    /// The call's time is over, and an operation of the log is to tell it so.
    pub(crate) fn leave_it_to_the_log(&mut self, number: Number) {
        if let Some(call) = self.calls.get_mut(&number)
            && let (At::Standing(id), Some((due, _))) = (call.at, call.due.take())
        {
            self.deadlines[kind(id)].remove(&(due, number));
        }
    }

    /// The call of a client.
    pub(crate) fn of(&self, origin: Origin, client: ClientId, seq: u64) -> Option<Number> {
        self.by_client.get(&(origin, client, seq)).copied()
    }

    /// True if a client's call is kept until it can be asked.
    pub(crate) fn is_parked(&self, origin: Origin, client: ClientId, seq: u64) -> bool {
        let call = self.of(origin, client, seq).and_then(|number| self.get(number));
        call.is_some_and(|call| call.at == At::Parked)
    }

    /// The call that stands somewhere in a line.
    pub(crate) fn standing(&self, id: WaitId) -> Option<Number> {
        self.standing.get(&id).copied()
    }

    /// Says where a call is by now.
    pub(crate) fn put(&mut self, number: Number, at: At) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let due = call.due.map(|(due, _)| (due, number));
        let (since, former) = (call.since, std::mem::replace(&mut call.at, at));
        match former {
            At::Parked => _ = self.parked.remove(&(since, number)),
            At::Standing(id) => {
                self.standing.remove(&id);
                due.iter().for_each(|due| _ = self.deadlines[kind(id)].remove(due));
            }
            At::Sent(..) | At::Asked => {}
        }
        match at {
            At::Parked => _ = self.parked.insert((since, number)),
            At::Standing(id) => {
                self.standing.insert(id, number);
                self.deadlines[kind(id)].extend(due);
            }
            At::Sent(..) | At::Asked => {}
        }
    }

    /// The call is answered, or nobody waits for its answer any more.
    pub(crate) fn remove(&mut self, number: Number) -> Option<Call> {
        let at = self.calls.get(&number)?.at;
        self.put(number, At::Asked);
        let call = Call { at, ..self.calls.remove(&number)? };
        let Waiter { origin, client, seq, .. } = call.waiter;
        self.by_client.remove(&(origin, client, seq));
        Some(call)
    }

    /// The parked calls, the oldest first.
    pub(crate) fn parked(&self) -> Vec<Number> {
        self.parked.iter().map(|(_, number)| *number).collect()
    }

    /// The calls for which `which` holds, the oldest first.
    pub(crate) fn all(&self, which: impl Fn(&Call) -> bool) -> Vec<Number> {
        let found = self.calls.iter().filter(|(_, call)| which(call));
        let mut found: Vec<(Instant, Number)> = found.map(|(number, call)| (call.since, *number)).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, number)| number).collect()
    }

    /// When the first call that stands here has waited long enough; reads alone, if those in the log must not be told yet.
    pub(crate) fn first_deadline(&self, logged: Logged) -> Option<Instant> {
        self.timed(logged).filter_map(|deadlines| deadlines.first()).map(|(due, _)| *due).min()
    }

    /// The calls that stand here and have waited long enough at `now`.
    pub(crate) fn due(&self, now: Instant, logged: Logged) -> Vec<Number> {
        let due = |(due, _): &&(Instant, Number)| *due <= now;
        self.timed(logged).flat_map(|deadlines| deadlines.iter().take_while(due)).map(|(_, number)| *number).collect()
    }

    fn timed(&self, logged: Logged) -> impl Iterator<Item = &BTreeSet<(Instant, Number)>> {
        self.deadlines.iter().skip(if logged == Logged::Too { 0 } else { 1 })
    }
}

/// Whether calls in the log are meant too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    Too,
    Not,
}

/// Which deadlines are those of a call that stands so.
fn kind(id: WaitId) -> usize {
    usize::from(matches!(id, WaitId::Read(_)))
}

impl Call {
    /// How long ago it came.
    pub(crate) fn age_ms(&self, now: Instant) -> u64 {
        now.since_ns(self.since) / base::time::NS_PER_MS
    }

    /// True if it is a call of this node's own clients.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.waiter.origin, Origin::Lane(_))
    }

    /// True if it waits with the node `peer`, for an answer or for being served.
    pub(crate) fn is_with(&self, peer: NodeId) -> bool {
        matches!(self.at, At::Sent(to, _) if to == peer)
    }

    /// True if it is here.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.at, At::Asked | At::Standing(_))
    }

    /// How it is called between nodes.
    pub(crate) fn asker(&self) -> Asker {
        let Waiter { origin: Origin::Lane(lane) | Origin::Node(_, lane), client, seq, part, .. } = self.waiter;
        Asker { lane, client, seq, part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Index, LaneId};

    fn call(client: u64, since: u64, at: At) -> Call {
        let waiter = Waiter {
            origin: Origin::Lane(LaneId(0)),
            client: ClientId(client),
            seq: 1,
            part: false,
            read: false,
            wait: 0,
        };
        let command = data::command::find(b"blpop").expect("it exists");
        let args = [b"BLPOP".to_vec(), b"k".to_vec(), b"0".to_vec()].into();
        Call {
            waiter,
            queued: Queued { db: 0, command, args },
            life: 1,
            joins: false,
            since: Instant(since),
            timeout_ms: None,
            due: None,
            at,
            term: Term(0),
            doubt_since: None,
            let_go: None,
        }
    }

    fn id(nth: u64) -> WaitId {
        WaitId::Logged { index: Index(9), nth }
    }

    #[test]
    fn a_call_is_found_by_where_it_is() {
        let mut waiting = Waiting::default();
        let a = waiting.insert(call(1, 50, At::Parked));
        let b = waiting.insert(call(2, 40, At::Parked));
        assert_eq!(waiting.parked(), [b, a], "the oldest first");
        waiting.put(a, At::Sent(NodeId(2), Term(3)));
        assert_eq!((waiting.parked(), waiting.all(|call| call.is_with(NodeId(2)))), (vec![b], vec![a]));
        for (number, nth, due) in [(a, 1, 70), (b, 2, 60)] {
            waiting.ask(number, Some((Instant(due), Stamp(due))));
            waiting.put(number, At::Standing(id(nth)));
        }
        assert_eq!(waiting.first_deadline(Logged::Too), Some(Instant(60)));
        assert_eq!((waiting.due(Instant(69), Logged::Too), waiting.due(Instant(69), Logged::Not)), (vec![b], vec![]));
        assert_eq!(waiting.standing(id(1)), Some(a));
        waiting.put(b, At::Parked);
        assert_eq!((waiting.due(Instant(69), Logged::Too), waiting.standing(id(2))), (vec![], None));
        assert_eq!(waiting.remove(a).map(|call| call.waiter.client), Some(ClientId(1)));
        assert_eq!((waiting.standing(id(1)), waiting.first_deadline(Logged::Too), waiting.len()), (None, None, 1));
        assert!(waiting.remove(a).is_none());
    }

    #[test]
    fn a_call_that_is_asked_again_takes_the_place_of_the_former() {
        let mut waiting = Waiting::default();
        let a = waiting.insert(call(1, 50, At::Standing(id(1))));
        let again = waiting.insert(call(1, 50, At::Asked));
        assert_ne!(a, again);
        assert_eq!((waiting.len(), waiting.standing(id(1))), (1, None), "nobody is told of the former any more");
        assert_eq!(waiting.of(Origin::Lane(LaneId(0)), ClientId(1), 1), Some(again));
        assert_eq!(waiting.get(again).map(|call| call.waiter.wait), Some(again));
    }
}
