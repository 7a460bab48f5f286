//! Locks under faults: clients that take a few locks from each other, write under their fences, and write down what they were told.
//!
//! Most of what is checked needs no search, for a lock's grants are numbered: a token belongs to one request for ever; who holds by his
//! own account, from the answer until his lease is over as he counts it, is alone; tokens and fences grow in the order of time, so a call
//! that succeeded or looked fits between the grants around it; and a key counts under fences that never go back. Beside that, grants
//! and what holders were told is a history of registers, each of which holds the token that was granted last, for the
//! checker of linearizability: a grant writes, a renewal or release that succeeds has read. What LOCK.INFO tells is left out there: a
//! hand-over is told before it is written, and a second home doesn't know of it yet.

use crate::nodes::{NODES, resp};
use crate::pace::{Ending, Pace};
use crate::support::{Client, Reply};
use base::rng::Rng;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const CROWD: usize = 9;
const LOCKS: u64 = 6;
const TTL: Duration = Duration::from_millis(400);
/// Between two calls of a client.
const THINKING: Duration = Duration::from_millis(3);
/// The checker tries no more states than this.
const CONFIGURATIONS_MAX: u64 = 20_000_000;
/// No reply for so long is none.
const SILENCE: Duration = Duration::from_secs(3);

/// What a client was told, or counted for itself. Times are nanoseconds of the test.
#[derive(Clone, Debug)]
struct Event {
    lock: u64,
    request: String,
    sent: u64,
    at: u64,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Granted {
        token: u64,
        fence: u64,
    },
    /// It was renewed or given back: it was held until then.
    Held(u64),
    /// The last token given out, as LOCK.INFO tells.
    Seen(u64),
    /// By its own account it held from `sent` to `at`.
    Interval(u64),
    /// A key that counts under the fence came to this.
    Counted {
        fence: u64,
        value: u64,
    },
}

/// What came of a load.
#[derive(Debug, Default)]
pub struct Outcome {
    events: Vec<Event>,
    pub refused: BTreeMap<String, u64>,
}

/// Runs `faults` under load; `prefix` names the locks, which nobody has held yet.
pub fn under_load(prefix: &str, seed: u64, faults: impl FnOnce(&Pace)) -> Outcome {
    let (pace, epoch) = (Pace::default(), Instant::now());
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let (pace, ending) = (&pace, Ending(&pace));
        let crowd: Vec<_> = (0..CROWD)
            .map(|at| {
                let mut worker = Worker {
                    prefix,
                    name: format!("c{at}"),
                    home: at % NODES,
                    link: None,
                    serial: 0,
                    rng: Rng::new(seed ^ (at as u64 + 1)),
                    epoch,
                    pace,
                    seen: Outcome::default(),
                };
                scope.spawn(move || {
                    while !pace.wait(THINKING) {
                        worker.take_one();
                    }
                    worker.seen
                })
            })
            .collect();
        faults(pace);
        drop(ending);
        for one in crowd {
            let seen = one.join().expect("a client ends");
            outcome.events.extend(seen.events);
            seen.refused.into_iter().for_each(|(code, count)| *outcome.refused.entry(code).or_default() += count);
        }
    });
    outcome
}

/// A client.
struct Worker<'a> {
    prefix: &'a str,
    name: String,
    home: usize,
    link: Option<Client>,
    serial: u64,
    rng: Rng,
    epoch: Instant,
    pace: &'a Pace,
    seen: Outcome,
}

impl Worker<'_> {
    /// Takes a lock, if it can be had, counts under its fence while it holds by its own account, and gives it back or forgets it.
    fn take_one(&mut self) {
        self.serial += 1;
        let lock = self.rng.below(LOCKS);
        let (name, owner) = (self.lock(lock), format!("{}-{}", self.name, self.serial));
        let key = format!("{}:counter", self.lock(lock));
        let wait = if self.rng.one_in(2) { " WAIT 300" } else { "" };
        let fencing = if self.rng.one_in(3) { format!(" FENCING {key}") } else { String::new() };
        let words = format!("LOCK.ACQUIRE {name} {owner} {} ID r{wait}{fencing}", TTL.as_millis());
        let Some((mut sent, reply)) = self.ask(&words) else { return };
        let answered = self.now();
        let Some((token, fence, left)) = granted(&reply) else { return self.look(lock) };
        self.note(lock, &owner, sent, What::Granted { token, fence });
        let renew = format!("LOCK.RENEW {name} {owner} {token} {}", TTL.as_millis());
        if left == 0 {
            let Some((renewed, Reply::Integer(_))) = self.ask(&renew) else { return };
            sent = renewed;
            self.note(lock, &owner, renewed, What::Held(token));
        }
        let from = if left == 0 { self.now() } else { answered };
        let mut until = sent + nanos(TTL);
        for _ in 0..self.rng.below(6) {
            let (asked, reply) = match self.rng.below(3) {
                0 => match self.ask(&renew) {
                    Some((renewed, Reply::Integer(_))) if renewed < until => {
                        self.note(lock, &owner, renewed, What::Held(token));
                        until = renewed + nanos(TTL);
                        continue;
                    }
                    _ => break,
                },
                _ => self.ask(&format!("FENCE {name} {fence} INCR {key}")).unwrap_or((0, Reply::Null)),
            };
            let Reply::Integer(value) = reply else { break };
            let value = u64::try_from(value).expect("it counts up");
            self.note(lock, &owner, asked, What::Counted { fence, value });
        }
        // Some die with the lock in their hands; the others may not say that they held it once they give it back.
        let given_up = self.now();
        if !self.rng.one_in(25)
            && let Some((gave, Reply::Integer(_))) = self.ask(&format!("LOCK.RELEASE {name} {owner} {token}"))
        {
            self.note(lock, &owner, gave, What::Held(token));
        }
        let at = until.min(given_up);
        if from < at {
            self.seen.events.push(Event { lock, request: owner, sent: from, at, what: What::Interval(token) });
        }
    }

    fn look(&mut self, lock: u64) {
        let Some((sent, Reply::Array(all))) = self.ask(&format!("LOCK.INFO {}", self.lock(lock))) else { return };
        let at = all.iter().position(|word| *word == Reply::bulk("token")).expect("it names the last token");
        let Reply::Integer(token) = all[at + 1] else { panic!("a token is a number") };
        self.note(lock, "", sent, What::Seen(token.unsigned_abs()));
    }

    fn lock(&self, lock: u64) -> String {
        format!("{}:lock:{lock}", self.prefix)
    }

    fn note(&mut self, lock: u64, request: &str, sent: u64, what: What) {
        let at = self.now();
        self.seen.events.push(Event { lock, request: request.to_owned(), sent, at, what });
    }

    /// When it was sent, and the answer. Errors are counted; after silence the next node is asked.
    fn ask(&mut self, words: &str) -> Option<(u64, Reply)> {
        if self.link.is_none() {
            self.link = Client::connect_within(&resp(self.home), SILENCE).ok();
        }
        let sent = self.now();
        let answer = self.link.as_mut().map(|link| link.ask(&words.split(' ').collect::<Vec<_>>()));
        match answer {
            Some(Ok(Reply::Error(text))) => {
                let code = text.split(' ').next().unwrap_or_default().to_owned();
                *self.seen.refused.entry(code).or_default() += 1;
                None
            }
            Some(Ok(reply)) => Some((sent, reply)),
            Some(Err(_)) | None => {
                self.link = None;
                self.home = (self.home + 1) % NODES;
                self.pace.wait(Duration::from_millis(5));
                None
            }
        }
    }

    fn now(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }
}

impl Outcome {
    pub fn grants(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.what, What::Granted { .. })).count()
    }

    pub fn counted(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.what, What::Counted { .. })).count()
    }

    /// What breaks the rules of a lock.
    pub fn wrongs(&self) -> Vec<String> {
        let locks = (0..LOCKS).map(|lock| self.events.iter().filter(|one| one.lock == lock).collect::<Vec<_>>());
        let mut wrongs: Vec<String> = locks.flat_map(|events| wrongs_of(&events)).collect();
        match history::check(&history_of(&self.events), history::configurations(CONFIGURATIONS_MAX)) {
            history::Verdict::Linearizable(_) => {}
            other => wrongs.push(format!("as registers: {other:?}")),
        }
        wrongs
    }
}

/// Grants, and what their holders were told, as operations on registers.
fn history_of(events: &[Event]) -> history::History {
    let mut history = history::History::new();
    for event in events {
        let (words, reply) = match event.what {
            What::Granted { token, .. } => (vec!["WRITE".to_owned(), token.to_string()], history::Reply::ok()),
            What::Held(token) => (vec!["READ".to_owned()], history::Reply::text(token.to_string())),
            What::Seen(_) | What::Interval(_) | What::Counted { .. } => continue,
        };
        let words = [&words[..1], &[format!("lock:{}", event.lock)], &words[1..]].concat();
        let words = words.iter().map(|word| history::Word::Text(word.as_bytes().into())).collect();
        let command = history::Command::new(history::Dialect::Register, words).expect("it is a command of the model");
        let op = history.invoke(&event.request, command, event.sent);
        history.returned(op, reply, event.at);
    }
    history
}

fn wrongs_of(events: &[&Event]) -> Vec<String> {
    let mut wrongs = Vec::new();
    let mut owners: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    for event in events {
        if let What::Granted { token, fence } = event.what {
            let known = *owners.entry(token).or_insert((&event.request, fence));
            if known.0 != event.request {
                wrongs.push(format!("one token for two: {event:?} and {known:?}"));
            }
        }
    }
    let fences: Vec<u64> = owners.values().map(|(_, fence)| *fence).collect();
    if !fences.is_sorted_by(|one, next| one < next) {
        wrongs.push(format!("fences don't grow with tokens: {owners:?}"));
    }
    wrongs.extend(out_of_order(events));
    let mut held: Vec<&Event> = events.iter().copied().filter(|one| matches!(one.what, What::Interval(_))).collect();
    held.sort_by_key(|event| event.sent);
    for pair in held.windows(2).filter(|pair| pair[1].sent < pair[0].at) {
        wrongs.push(format!("two hold at once: {:?} and {:?}", pair[0], pair[1]));
    }
    let mut counted: Vec<(u64, u64)> = Vec::new();
    for event in events {
        if let What::Counted { fence, value } = event.what {
            counted.push((value, fence));
        }
    }
    counted.sort_unstable();
    if !counted.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1) {
        wrongs.push(format!("an older fence was let in behind a newer one: {counted:?}"));
    }
    wrongs
}

/// Whatever tells of a token may not be asked once a larger one was told, and nobody is told of a later grant's token before it is asked for.
fn out_of_order(events: &[&Event]) -> Vec<String> {
    let grants = || events.iter().filter(|event| matches!(event.what, What::Granted { .. }));
    let token_of = |event: &Event| match event.what {
        What::Granted { token, .. } | What::Held(token) | What::Seen(token) => Some(token),
        What::Interval(_) | What::Counted { .. } => None,
    };
    let mut told: Vec<(u64, u64)> = grants().filter_map(|grant| Some((grant.at, token_of(grant)?))).collect();
    told.sort_unstable();
    let mut largest = 0;
    for (_, token) in &mut told {
        largest = largest.max(*token);
        *token = largest;
    }
    let mut wrongs = Vec::new();
    for event in events {
        let Some(token) = token_of(event) else { continue };
        let before = told.partition_point(|(at, _)| *at < event.sent);
        if before > 0 && told[before - 1].1 > token {
            wrongs.push(format!("{event:?} after {} was told", told[before - 1].1));
        }
    }
    wrongs
}

/// Token, fence, and milliseconds that are left.
fn granted(reply: &Reply) -> Option<(u64, u64, u64)> {
    let Reply::Array(parts) = reply else { return None };
    match parts[..] {
        [Reply::Integer(token), Reply::Integer(fence), Reply::Integer(left)] => {
            Some((token.unsigned_abs(), fence.unsigned_abs(), left.unsigned_abs()))
        }
        _ => None,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a test takes less than centuries")
}

/// Asks every node for a lock that nobody holds, as soon as service is back: it must be granted within that time.
pub fn await_locks(prefix: &str, within: Duration) {
    let pace = Pace::default();
    for at in 0..NODES {
        let (begun, words) = (Instant::now(), format!("LOCK.ACQUIRE {prefix}:probe:{at} probe 1000 ID p"));
        loop {
            let asked = Client::connect_within(&resp(at), SILENCE)
                .and_then(|mut client| client.ask(&words.split(' ').collect::<Vec<_>>()));
            if asked.as_ref().is_ok_and(|reply| granted(reply).is_some()) {
                break;
            }
            assert!(begun.elapsed() < within, "node {at} grants no lock: {asked:?}");
            pace.wait(Duration::from_millis(10));
        }
    }
}

#[test]
fn the_rules_are_seen_to_be_broken() {
    let event = |request: &str, (sent, at), what| Event { lock: 0, request: request.into(), sent, at, what };
    let first = event("a", (1, 2), What::Granted { token: 5, fence: 1 });
    let second = event("b", (3, 4), What::Granted { token: 9, fence: 2 });
    let good = [first.clone(), event("a", (2, 3), What::Held(5)), second.clone(), event("", (4, 5), What::Seen(9))];
    assert_eq!(wrongs_of(&good.iter().collect::<Vec<_>>()), Vec::<String>::new());
    let told = |events: &[Event]| Outcome { events: events.to_vec(), refused: BTreeMap::new() };
    assert_eq!(told(&good).wrongs(), Vec::<String>::new());
    let late = told(&[first.clone(), second.clone(), event("a", (5, 6), What::Held(5))]).wrongs();
    assert!(late.iter().any(|wrong| wrong.starts_with("as registers")), "{late:?}");
    for wrong in [
        event("b", (0, 9), What::Granted { token: 5, fence: 1 }),
        event("c", (0, 9), What::Granted { token: 7, fence: 2 }),
        event("c", (5, 6), What::Granted { token: 8, fence: 3 }),
        event("a", (5, 6), What::Held(5)),
        event("", (5, 6), What::Seen(8)),
    ] {
        assert_ne!(wrongs_of(&[&first, &second, &wrong]), Vec::<String>::new(), "{wrong:?}");
    }
    let holds = |request, from, to| event(request, (from, to), What::Interval(1));
    assert_ne!(wrongs_of(&[&holds("a", 1, 5), &holds("b", 4, 6)]), Vec::<String>::new());
    assert_eq!(wrongs_of(&[&holds("a", 1, 5), &holds("b", 5, 6)]), Vec::<String>::new());
    let counts = |fence, value| event("a", (1, 2), What::Counted { fence, value });
    assert_ne!(wrongs_of(&[&counts(2, 1), &counts(1, 2)]), Vec::<String>::new());
    assert_ne!(wrongs_of(&[&counts(2, 1), &counts(2, 1)]), Vec::<String>::new());
}
