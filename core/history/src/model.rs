//! The model: what a right store answers to each operation, and what its keys hold afterwards.
//!
//! It shares no code with the store. A step takes the recorded reply as well: what isn't as the model says has no next
//! state. An unknown reply fits everything.
//!
//! A value may be [`Val::Anything`], where a history begins on a store that holds something already. It fits every
//! reply, and becomes what the first telling reply says. It is an over-approximation: it also fits pairs of replies
//! that no one value would fit, such as a length and then a text of another length. So it can hide a violation,
//! never make one.

use crate::body::{Access, Action, Body, Part, Shape, Tells, When};
use crate::reply::{Answer, Reply};
use crate::state::{State, Val};
use crate::text::{Text, integer};
use std::collections::BTreeMap;

/// The state after `body`, if it could be answered so; an unknown reply is none.
pub(crate) fn step(body: &Body<usize>, state: &State, reply: Option<&Reply>) -> Option<State> {
    let mut after = state.clone();
    carry_out(body, &mut after, reply).then_some(after)
}

/// What each command of `body` answers in `state`, where that is sure.
pub(crate) fn answers(body: &Body<usize>, state: &State) -> Vec<Option<Answer>> {
    let mut state = state.clone();
    let mut found = Vec::new();
    for part in body.parts() {
        let answer = |access: &Access<usize>| execute(&access.action, state.get(access.key)).map(|(_, answer)| answer);
        match part.shape {
            Shape::Alone | Shape::Each => found.extend(part.accesses.iter().map(answer)),
            Shape::Sum => {
                let (low, high) = sum(part, &state);
                found.push((low == high).then_some(Answer::Int(low)));
            }
            Shape::Done => found.push(Some(Answer::Done)),
            Shape::AllAbsent => found.push(all_absent(part, &state).map(|all| Answer::Int(i64::from(all)))),
        }
        carry_out_part(part, &mut state, None);
    }
    found
}

/// The keys that an operation writes, and what they hold when it has had its effect; the action says more where that may be
/// anything.
pub(crate) fn written<'b>(
    body: &'b Body<usize>,
    reply: Option<&Reply>,
    anything: &State,
) -> Vec<(usize, Val, &'b Action)> {
    let after = step(body, anything, reply);
    let mut written: BTreeMap<usize, (Val, &Action)> = BTreeMap::new();
    for access in body.accesses() {
        let value = match &access.action {
            Action::Read | Action::Exists | Action::Length => continue,
            // Whatever the condition: if it did not hold, there is no effect to see.
            Action::Write { value, .. } | Action::Swap { new: value, .. } => Val::Held(value.clone()),
            _ => Val::Anything,
        };
        // Of several writes of a transaction any may have been the last that its condition let through.
        let several = (Val::Anything, &Action::Delete);
        let once = (value, &access.action);
        written.entry(access.key).and_modify(|value| *value = several).or_insert(once);
    }
    let sure = |key: usize| after.as_ref().map(|after| after.get(key)).filter(|sure| **sure != Val::Anything);
    let all = written.into_iter();
    all.map(|(key, (value, action))| (key, sure(key).cloned().unwrap_or(value), action)).collect()
}

fn carry_out(body: &Body<usize>, state: &mut State, reply: Option<&Reply>) -> bool {
    match (body, reply) {
        (Body::Single(part), reply) => carry_out_part(part, state, reply),
        (Body::Transaction(parts), None) => parts.iter().all(|part| carry_out_part(part, state, None)),
        (Body::Transaction(parts), Some(Reply::List(replies))) => {
            let mut pairs = parts.iter().zip(replies);
            parts.len() == replies.len() && pairs.all(|(part, reply)| carry_out_part(part, state, Some(reply)))
        }
        (Body::Transaction(_), Some(_)) => false,
    }
}

fn carry_out_part(part: &Part<usize>, state: &mut State, reply: Option<&Reply>) -> bool {
    match part.shape {
        Shape::Alone => carry_out_access(&part.accesses[0], state, reply),
        Shape::Each => match reply {
            None => true,
            Some(Reply::List(replies)) => {
                let mut pairs = part.accesses.iter().zip(replies);
                part.accesses.len() == replies.len()
                    && pairs.all(|(access, reply)| carry_out_access(access, state, Some(reply)))
            }
            Some(_) => false,
        },
        Shape::Sum => {
            let (low, high) = sum(part, state);
            part.accesses.iter().for_each(|access| carry_out_unseen(access, state));
            reply.is_none_or(|reply| reply.integer().is_some_and(|told| (low..=high).contains(&told)))
        }
        Shape::Done => {
            part.accesses.iter().for_each(|access| carry_out_unseen(access, state));
            reply.is_none_or(|reply| Answer::Done.is(reply))
        }
        Shape::AllAbsent => carry_out_if_all_absent(part, state, reply),
    }
}

fn carry_out_access(access: &Access<usize>, state: &mut State, reply: Option<&Reply>) -> bool {
    let after = act(&access.action, state.get(access.key), reply);
    let fits = after.is_some();
    if let Some(after) = after {
        state.set(access.key, after);
    }
    fits
}

/// An access whose own answer nobody learned.
fn carry_out_unseen(access: &Access<usize>, state: &mut State) {
    let fits = carry_out_access(access, state, None);
    assert!(fits, "an unknown reply fits everything");
}

/// What DEL or EXISTS may answer, at least and at most. A key that is named twice is deleted once and exists twice.
fn sum(part: &Part<usize>, state: &State) -> (i64, i64) {
    let (mut low, mut high) = (0, 0);
    for (at, access) in part.accesses.iter().enumerate() {
        let gone = access.action == Action::Delete && part.accesses[..at].iter().any(|one| one.key == access.key);
        match state.get(access.key) {
            _ if gone => {}
            Val::Absent => {}
            Val::Held(_) => (low, high) = (low + 1, high + 1),
            Val::Anything => high += 1,
        }
    }
    (low, high)
}

fn all_absent(part: &Part<usize>, state: &State) -> Option<bool> {
    let mut values = part.accesses.iter().map(|access| state.get(access.key));
    if values.clone().any(|value| matches!(value, Val::Held(_))) {
        Some(false)
    } else {
        values.all(|value| *value == Val::Absent).then_some(true)
    }
}

fn carry_out_if_all_absent(part: &Part<usize>, state: &mut State, reply: Option<&Reply>) -> bool {
    let told = match reply.map(Reply::integer) {
        None => None,
        Some(Some(number @ (0 | 1))) => Some(number == 1),
        Some(_) => return false,
    };
    let is = all_absent(part, state);
    if told.is_some() && is.is_some() && told != is {
        return false;
    }
    for access in &part.accesses {
        match told.or(is) {
            Some(true) => carry_out_unseen(access, state),
            Some(false) => {}
            None => state.set(access.key, Val::Anything),
        }
    }
    true
}

/// What a key holds after `action`, if the reply fits.
fn act(action: &Action, before: &Val, reply: Option<&Reply>) -> Option<Val> {
    match (execute(action, before), reply) {
        (Some((after, _)), None) => Some(after),
        (Some((after, answer)), Some(reply)) => answer.is(reply).then_some(after),
        (None, reply) => learn(action, reply),
    }
}

/// What a key holds after `action` and what that answers; nothing where the value before isn't known.
fn execute(action: &Action, before: &Val) -> Option<(Val, Answer)> {
    let held = match before {
        Val::Absent => None,
        Val::Held(text) => Some(text),
        Val::Anything => return None,
    };
    let old = || held.map_or(Answer::Nil, |text| Answer::Text(text.clone()));
    let flag = |yes: bool| Answer::Int(i64::from(yes));
    Some(match action {
        Action::Read => (before.clone(), old()),
        Action::Exists => (before.clone(), flag(held.is_some())),
        Action::Length => (before.clone(), length(held.map_or(0, |text| text.len()))),
        Action::Write { value, when, tells } => {
            let happens = when.holds(held.is_some());
            let after = if happens { Val::Held(value.clone()) } else { before.clone() };
            let answer = match tells {
                Tells::Old => old(),
                Tells::Flag => flag(happens),
                Tells::Done if happens => Answer::Done,
                Tells::Done => Answer::Nil,
            };
            (after, answer)
        }
        Action::Append(tail) => {
            let whole = match held {
                Some(text) => Text::from([text, tail.as_ref()].concat()),
                None => tail.clone(),
            };
            let answer = length(whole.len());
            (Val::Held(whole), answer)
        }
        Action::Add(by) => add(before, held, *by),
        Action::Delete => (Val::Absent, flag(held.is_some())),
        Action::Take => (Val::Absent, old()),
        Action::Swap { old, new } if held == old.as_ref() => (Val::Held(new.clone()), flag(true)),
        Action::Swap { .. } => (before.clone(), flag(false)),
    })
}

fn add(before: &Val, held: Option<&Text>, by: i64) -> (Val, Answer) {
    let Some(number) = held.map_or(Some(0), |text| integer(text)) else {
        return (before.clone(), Answer::NotAnInteger);
    };
    match number.checked_add(by) {
        Some(sum) => (Val::Held(sum.to_string().as_bytes().into()), Answer::Int(sum)),
        None => (before.clone(), Answer::Overflow),
    }
}

/// What a key that held anything holds after `action`, as far as the reply tells.
fn learn(action: &Action, reply: Option<&Reply>) -> Option<Val> {
    let Some(reply) = reply else {
        return Some(match action {
            Action::Write { value, when: When::Always, .. } => Val::Held(value.clone()),
            Action::Delete | Action::Take => Val::Absent,
            _ => Val::Anything,
        });
    };
    let number = reply.integer();
    match action {
        Action::Read | Action::Take | Action::Write { tells: Tells::Old, .. } => {
            act(action, &value_told(reply)?, Some(reply))
        }
        Action::Exists => match number? {
            0 => Some(Val::Absent),
            1 => Some(Val::Anything),
            _ => None,
        },
        Action::Length => (number? >= 0).then_some(Val::Anything),
        Action::Write { value, when, tells } => match (happened(*tells, reply)?, when) {
            (true, _) => Some(Val::Held(value.clone())),
            (false, When::Always) => None,
            (false, When::IfAbsent) => Some(Val::Anything),
            (false, When::IfPresent) => Some(Val::Absent),
        },
        Action::Append(tail) => (usize::try_from(number?).ok()? >= tail.len()).then_some(Val::Anything),
        Action::Add(_) => match reply {
            reply if Answer::NotAnInteger.is(reply) || Answer::Overflow.is(reply) => Some(Val::Anything),
            _ => Some(Val::Held(number?.to_string().as_bytes().into())),
        },
        Action::Delete => matches!(number?, 0 | 1).then_some(Val::Absent),
        Action::Swap { new, .. } => match number? {
            0 => Some(Val::Anything),
            1 => Some(Val::Held(new.clone())),
            _ => None,
        },
    }
}

/// Whether a write was carried out, as its reply says; nothing if it is no reply of a write.
fn happened(tells: Tells, reply: &Reply) -> Option<bool> {
    match tells {
        Tells::Flag => [Some(0), Some(1)].contains(&reply.integer()).then(|| reply.integer() == Some(1)),
        Tells::Done | Tells::Old => match reply {
            Reply::Nil => Some(false),
            reply => Answer::Done.is(reply).then_some(true),
        },
    }
}

fn value_told(reply: &Reply) -> Option<Val> {
    match reply {
        Reply::Nil => Some(Val::Absent),
        Reply::Text(text) => Some(Val::Held(text.clone())),
        Reply::Int(number) => Some(Val::Held(number.to_string().as_bytes().into())),
        Reply::Error(_) | Reply::List(_) => None,
    }
}

fn length(bytes: usize) -> Answer {
    Answer::Int(i64::try_from(bytes).expect("a text in memory is shorter than 2^63 bytes"))
}

impl When {
    fn holds(self, present: bool) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => !present,
            Self::IfPresent => present,
        }
    }
}
