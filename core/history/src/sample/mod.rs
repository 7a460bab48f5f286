//! Histories made from a seed: of clients at a store that is right, or wrong in a chosen way.
//!
//! They try the checker where the truth is known, and measure it. Each operation takes effect at a moment drawn between
//! its call and its return; one of unknown outcome at any later moment, or never.

mod store;

pub use store::Store;

use crate::command::{Command, Word};
use crate::record::{History, Operation, Returned};
use crate::reply::Reply;
use crate::text::Text;
use base::rng::Rng;
use std::collections::BTreeMap;

/// What a sample is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub operations: usize,
    pub keys: u64,
    pub clients: u64,
    /// Of a thousand operations as many have an unknown outcome.
    pub unknown_per_mille: u64,
    /// Of a thousand operations as many are on several keys.
    pub tied_per_mille: u64,
    /// What is wrong, and from which operation on, by the order in which they take effect.
    pub flaw: Option<(Flaw, usize)>,
}

/// What may be wrong with a store. It happens once, where there is occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A read sees the value before the last one.
    StaleRead,
    /// A write is acknowledged and forgotten.
    LostWrite,
    /// A write of unknown outcome is seen, and then is gone.
    UndoneWrite,
}

/// An operation on its way.
struct Plan {
    operation: Operation,
    /// When it takes effect, if it does.
    effect_ns: Option<u64>,
    return_ns: Option<u64>,
}

impl Sample {
    /// The history of a seed.
    #[must_use]
    pub fn history(&self, seed: u64) -> History {
        let mut plans = self.plans(&mut Rng::new(seed));
        self.carry_out(&mut plans);
        let mut history = History::new();
        for (mut plan, line) in plans.into_iter().zip(1..) {
            plan.operation.line = line;
            history.push(plan.operation);
        }
        history
    }

    fn plans(&self, rng: &mut Rng) -> Vec<Plan> {
        let mut free_ns: Vec<u64> = (0..self.clients).map(|_| rng.below(TAKES_NS_MAX)).collect();
        let mut plans = Vec::with_capacity(self.operations);
        for number in 0..self.operations {
            let client = (0..free_ns.len()).min_by_key(|client| free_ns[*client]).expect("a sample has clients");
            let invoke_ns = free_ns[client];
            let return_ns = invoke_ns + 1 + rng.below(TAKES_NS_MAX);
            free_ns[client] = return_ns + 1 + rng.below(TAKES_NS_MAX / 10);
            let unknown = rng.below(1000) < self.unknown_per_mille;
            let effect_ns = match unknown {
                false => Some(invoke_ns + rng.below(return_ns - invoke_ns)),
                true => rng.one_in(2).then(|| invoke_ns + rng.below(20 * TAKES_NS_MAX)),
            };
            let words = self.words(number, rng);
            let command = command(&words);
            let client = client.to_string().into_boxed_str();
            let operation = Operation { client, command, invoke_ns, returned: None, line: 0 };
            plans.push(Plan { operation, effect_ns, return_ns: (!unknown).then_some(return_ns) });
        }
        plans
    }

    /// The words of an operation; those of a transaction are parted by a semicolon.
    fn words(&self, number: usize, rng: &mut Rng) -> String {
        let at = rng.below(self.keys);
        if rng.below(1000) < self.tied_per_mille {
            let (a, b) = (at, rng.below(self.keys));
            return match rng.below(4) {
                0 => format!("MSET key:{a} {number} key:{b} {number}"),
                1 => format!("MGET key:{a} key:{b}"),
                2 => format!("GET key:{a} ; SET key:{b} {number}"),
                _ => format!("EXISTS key:{a} key:{b}"),
            };
        }
        let key = format!("key:{at}");
        // A quarter of the keys each: registers, counters, texts, flags.
        match (at % 4, rng.below(8)) {
            (0, 0..3) => format!("SET {key} {number}"),
            (0, 3) => format!("GETSET {key} {number}"),
            (0, 4) => format!("CAS {key} {} {number}", rng.below(number as u64 + 1)),
            (1, 0..3) => format!("INCR {key}"),
            (1, 3) => format!("INCRBY {key} {}", rng.below(5)),
            (2, 0..2) => format!("APPEND {key} {number},"),
            (2, 2) => format!("STRLEN {key}"),
            (2, 3) => format!("DEL {key}"),
            (3, 0..2) => format!("SETNX {key} {number}"),
            (3, 2) => format!("DEL {key}"),
            (3, 3) => format!("EXISTS {key}"),
            _ => format!("GET {key}"),
        }
    }

    fn carry_out(&self, plans: &mut [Plan]) {
        let mut order: Vec<(u64, usize)> =
            plans.iter().zip(0..).filter_map(|(plan, at)| Some((plan.effect_ns?, at))).collect();
        order.sort_unstable();
        let mut world = World::default();
        for (number, (_, at)) in order.into_iter().enumerate() {
            if let Some((flaw, from)) = self.flaw
                && from == number
            {
                world.flaw = Some(flaw);
            }
            let Plan { operation, return_ns, .. } = &mut plans[at];
            let reply = world.run(operation, *return_ns);
            operation.returned = return_ns.map(|at_ns| Returned { reply, at_ns });
        }
    }
}

/// The store, and what it takes to get it wrong.
#[derive(Default)]
struct World {
    store: Store,
    changes: BTreeMap<Text, Change>,
    flaw: Option<Flaw>,
}

/// The last change of a key.
struct Change {
    before: Reply,
    return_ns: Option<u64>,
}

impl World {
    /// Carries out an operation, rightly or wrongly.
    fn run(&mut self, operation: &Operation, return_ns: Option<u64>) -> Reply {
        let words = operation.command.words();
        let [Word::Text(name), Word::Text(key), ..] = words else { return self.store.run(words) };
        let before = self.store.value(key);
        if let Some(flaw) = self.flaw
            && let Some(reply) = self.run_wrongly(flaw, operation, return_ns)
        {
            self.flaw = None;
            return reply;
        }
        let reply = self.store.run(words);
        if self.store.value(key) != before || **name == *b"SET" {
            self.changes.insert(key.clone(), Change { before, return_ns });
        }
        reply
    }

    /// The reply of an operation that goes wrong; nothing if it is no occasion for the flaw.
    fn run_wrongly(&mut self, flaw: Flaw, operation: &Operation, return_ns: Option<u64>) -> Option<Reply> {
        let words = operation.command.words();
        let [Word::Text(name), Word::Text(key), ..] = words else { return None };
        let change = self.changes.get(key);
        let reads_change_of = |ends: fn(Option<u64>, u64) -> bool| {
            let change = change.filter(|change| ends(change.return_ns, operation.invoke_ns));
            change.filter(|change| **name == *b"GET" && change.before != self.store.value(key))
        };
        match flaw {
            Flaw::StaleRead => {
                let change = reads_change_of(|ended, now| ended.is_some_and(|ended| ended < now))?;
                Some(change.before.clone())
            }
            Flaw::LostWrite => (**name == *b"SET" && words.len() == 3 && return_ns.is_some()).then(Reply::ok),
            Flaw::UndoneWrite => {
                let before = reads_change_of(|ended, _| ended.is_none())?.before.clone();
                let reply = self.store.run(words);
                self.store.put_back(key, &before);
                Some(reply)
            }
        }
    }
}

fn command(words: &str) -> Command {
    let commands: Vec<Vec<&str>> = words.split(" ; ").map(|words| words.split(' ').collect()).collect();
    let command = match commands.as_slice() {
        [words] => Command::redis(words),
        many => Command::transaction(&many.iter().map(Vec::as_slice).collect::<Vec<_>>()),
    };
    command.expect("samples are well formed")
}

/// How long an operation takes.
const TAKES_NS_MAX: u64 = 1_000_000;
