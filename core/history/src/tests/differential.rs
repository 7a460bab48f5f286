//! Thousands of small random histories, on which brute force and the checker must agree.

use super::{brute, is_linearizable};
use crate::command::{Command, Word};
use crate::sample::Store;
use crate::{History, Reply};
use base::rng::Rng;

#[test]
fn the_checker_agrees_with_brute_force() {
    let mut yes = 0;
    let mut no = 0;
    for seed in 0..SEEDS {
        let history = small(seed);
        let truth = brute::is_linearizable(&history);
        assert_eq!(is_linearizable(&history), truth, "seed {seed}: {:#?}", history.operations());
        *if truth { &mut yes } else { &mut no } += 1;
    }
    println!("{yes} histories have an order, {no} have none");
    assert!(yes > SEEDS / 4 && no > SEEDS / 4, "{yes} have an order, {no} have none");
}

/// Histories that are compared.
pub(super) const SEEDS: u64 = 12_000;

/// A history of up to seven operations on up to three keys: replies of a store that carries them out at random moments,
/// some of them exchanged for others; times and outcomes at random.
pub(super) fn small(seed: u64) -> History {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let count = 3 + rng.below(5);
    let keys = 1 + rng.below(2) + u64::from(rng.one_in(8));
    let mut plans: Vec<Plan> = (0..count).map(|_| Plan::draw(keys, rng)).collect();
    plans.sort_by_key(|plan| plan.effect);
    let mut store = Store::default();
    for plan in &mut plans {
        // Some unknown operations never happen.
        if plan.ret.is_some() || rng.one_in(2) {
            plan.reply = store.run(plan.command.words());
        }
        if rng.one_in(6) {
            plan.reply = other(&plan.reply, rng);
        }
    }
    recorded(plans)
}

fn recorded(mut plans: Vec<Plan>) -> History {
    plans.sort_by_key(|plan| plan.call);
    let mut history = History::new();
    for (client, plan) in plans.into_iter().enumerate() {
        let op = history.invoke(client, plan.command, plan.call);
        if let Some(ret) = plan.ret {
            history.returned(op, plan.reply, ret);
        }
    }
    history
}

/// What a right store may have been seen to do: a dozen operations on a key, all at once, half of them of unknown outcome.
pub(super) fn crowd(seed: u64) -> History {
    let mut rng = Rng::new(seed);
    let mut plans: Vec<Plan> = (0..14).map(|_| Plan::draw(1, &mut rng)).collect();
    for plan in plans.iter_mut().filter(|_| rng.one_in(2)) {
        plan.ret = None;
    }
    plans.sort_by_key(|plan| plan.effect);
    let mut store = Store::default();
    for plan in &mut plans {
        plan.reply = store.run(plan.command.words());
    }
    recorded(plans)
}

struct Plan {
    command: Command,
    call: u64,
    effect: u64,
    ret: Option<u64>,
    reply: Reply,
}

impl Plan {
    fn draw(keys: u64, rng: &mut Rng) -> Self {
        let (call, takes) = (rng.below(30), rng.below(20));
        let unknown = rng.one_in(5);
        let effect = call + if unknown { rng.below(40) } else { rng.below(takes + 1) };
        // Few times, so that many are equal.
        let ret = (!unknown).then_some(call + takes);
        Self { command: command(keys, rng), call, effect, ret, reply: Reply::Nil }
    }
}

fn command(keys: u64, rng: &mut Rng) -> Command {
    let key = |rng: &mut Rng| ["a", "b", "c"][usize::try_from(rng.below(keys)).expect("below three")];
    let value = |rng: &mut Rng| ["1", "2", "x", "1x"][usize::try_from(rng.below(4)).expect("below four")];
    let (a, b, v, w) = (key(rng), key(rng), value(rng), value(rng));
    let words: &[&str] = match rng.below(24) {
        0..5 => &["GET", a],
        5..9 => &["SET", a, v],
        9 => &["SET", a, v, "NX"],
        10 => &["SETNX", a, v],
        11 => &["GETSET", a, v],
        12 => &["GETDEL", a],
        13 | 14 => &["APPEND", a, v],
        15 => &["STRLEN", a],
        16 | 17 => &["INCR", a],
        18 => &["INCRBY", a, "2"],
        19 => &["DEL", a],
        20 => &["EXISTS", a],
        21 => return cas(a, v, w, rng),
        _ => return tying(a, b, v, w, rng),
    };
    Command::redis(words).expect("it is well formed")
}

fn cas(key: &str, old: &str, new: &str, rng: &mut Rng) -> Command {
    let text = |text: &str| Word::Text(text.as_bytes().into());
    let old = if rng.one_in(3) { Word::Nil } else { text(old) };
    Command::new(crate::Dialect::Redis, vec![text("CAS"), text(key), old, text(new)]).expect("it is well formed")
}

fn tying(a: &str, b: &str, v: &str, w: &str, rng: &mut Rng) -> Command {
    let words: &[&str] = match rng.below(8) {
        0 => &["MGET", a, b],
        1 => &["MSET", a, v, b, w],
        2 => &["MSETNX", a, v, b, w],
        3 => &["DEL", a, b],
        4 => &["EXISTS", a, b],
        5 => return Command::transaction(&[&["GET", a], &["SET", b, v]]).expect("it is well formed"),
        6 => return Command::transaction(&[&["INCR", a], &["GET", b]]).expect("it is well formed"),
        _ => return Command::transaction(&[&["DEL", a], &["SETNX", a, v], &["APPEND", b, w]]).expect("it is"),
    };
    Command::redis(words).expect("it is well formed")
}

/// Another reply, of the kind that could be expected.
fn other(reply: &Reply, rng: &mut Rng) -> Reply {
    match (reply, rng.below(3)) {
        (Reply::Int(number), _) => Reply::Int((number + 1) % 3),
        (Reply::List(replies), _) => Reply::List(replies.iter().map(|reply| other(reply, rng)).collect()),
        (_, 0) => Reply::Nil,
        (_, 1) => Reply::text("1"),
        (_, _) => Reply::Int(2),
    }
}
