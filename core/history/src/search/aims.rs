//! When a chain of unknown operations can't lead any more to what the known one behind it was answered.
//!
//! Appends only make a value longer, increments only make it larger. Where nothing but one of these kinds, writes to absent
//! keys, and replacements are unknown on a key, a value that isn't the beginning of the one that was read, or is larger,
//! will never become it: whoever replaces it makes the chain up to there useless, and a shorter chain begins with that
//! replacement. Without this, k unknown appends would be tried in k! orders at every wrong turn.

use super::problem::{Class, Op, Problem};
use crate::body::{Access, Action, Part, Shape, Tells, When};
use crate::reply::Reply;
use crate::state::{State, Val};
use crate::switch::{Switch, broken};
use crate::text::integer;
use std::collections::BTreeSet;

/// What an operation needs its keys to hold, as far as a chain may be in vain because of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aims {
    aims: Vec<(usize, Way, Aim)>,
}

/// What a key must hold for an operation to be answered as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    Value(Val),
    /// Any text of at most so many bytes.
    LengthMax(usize),
}

/// How the value of a key may change, other than by being replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It doesn't.
    Stays,
    Longer,
    Larger,
    Smaller,
    /// As it likes.
    Any,
}

impl Aims {
    pub(crate) fn new(problem: &Problem<'_>, op: &Op<'_>, classes: impl Iterator<Item = usize> + Clone) -> Self {
        let way = |key: usize| {
            let on_key = classes.clone().map(|class| &problem.classes[class]);
            on_key.filter(|class| class.keys.contains(&key)).map(way).fold(Way::Stays, Way::or)
        };
        let aims = aims(op).into_iter().map(|(key, aim)| (key, way(key), aim));
        Self { aims: aims.filter(|(_, way, _)| *way != Way::Any).collect() }
    }

    /// False if a chain that has touched `touched` and led to `state` is in vain, however long it gets.
    pub(crate) fn are_in_reach(&self, state: &State, touched: &BTreeSet<usize>) -> bool {
        let on_way = self.aims.iter().filter(|(key, _, _)| touched.contains(key));
        on_way.into_iter().all(|(key, way, aim)| way.leads_to(aim, state.get(*key)))
    }
}

impl Way {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stays, way) | (way, Self::Stays) => way,
            (one, other) if one == other => one,
            _ => Self::Any,
        }
    }

    /// True if `value` may become the aim.
    fn leads_to(self, aim: &Aim, value: &Val) -> bool {
        let held = match value {
            Val::Anything => return true,
            // Whatever is written first to an absent key may be the beginning of anything.
            Val::Absent => return true,
            Val::Held(text) => text,
        };
        match (self, aim) {
            (_, Aim::Value(Val::Anything)) => true,
            (_, Aim::LengthMax(bytes)) => held.len() <= *bytes || matches!(self, Self::Larger | Self::Smaller),
            (_, Aim::Value(Val::Absent)) => false,
            (Self::Stays, Aim::Value(Val::Held(whole))) => held == whole,
            (Self::Longer, Aim::Value(Val::Held(whole))) => whole.starts_with(held),
            (Self::Larger | Self::Smaller, Aim::Value(Val::Held(whole))) => {
                let distance = integer(held).zip(integer(whole)).map(|(held, whole)| held.cmp(&whole));
                held == whole
                    || distance.is_some_and(|order| if self == Self::Larger { order.is_lt() } else { order.is_gt() })
            }
            (Self::Any, Aim::Value(_)) => true,
        }
    }
}

/// How a class may change the value of a key of its.
fn way(class: &Class<'_>) -> Way {
    let mut accesses = class.body.accesses();
    let (Some(access), None) = (accesses.next(), accesses.next()) else { return Way::Any };
    match &access.action {
        _ if broken(Switch::Aims) => Way::Stays,
        _ if class.replaces => Way::Stays,
        Action::Write { when: When::IfAbsent, .. } => Way::Stays,
        Action::Append(_) => Way::Longer,
        Action::Add(by) if *by >= 0 => Way::Larger,
        Action::Add(_) => Way::Smaller,
        _ => Way::Any,
    }
}

/// What an operation needs its keys to hold, for the keys of which its reply tells.
pub(crate) fn aims(op: &Op<'_>) -> Vec<(usize, Aim)> {
    let of_part = |(part, reply): (&Part<usize>, &Reply)| match (part.shape, reply) {
        (Shape::Alone, reply) => aim(&part.accesses[0], reply).into_iter().collect(),
        (Shape::Each, Reply::List(replies)) => {
            part.accesses.iter().zip(replies).filter_map(|(access, reply)| aim(access, reply)).collect()
        }
        _ => Vec::new(),
    };
    let parts = op.body.parts();
    let pairs: Vec<(&Part<usize>, &Reply)> = match op.reply {
        Reply::List(replies) if op.body.is_transaction() => parts.iter().zip(replies).collect(),
        reply => parts.iter().map(|part| (part, reply)).collect(),
    };
    // Of several accesses to a key only the first sees what was there before.
    let all: Vec<(usize, Aim)> = pairs.into_iter().flat_map(of_part).collect();
    let alone = |key: usize| op.body.accesses().filter(|access| access.key == key).count() == 1;
    all.into_iter().filter(|(key, _)| alone(*key)).collect()
}

fn aim(access: &Access<usize>, reply: &Reply) -> Option<(usize, Aim)> {
    let number = reply.integer();
    let length = number.and_then(|number| usize::try_from(number).ok());
    let decimal = |number: i64| Val::Held(number.to_string().as_bytes().into());
    let aim = match &access.action {
        Action::Read | Action::Take | Action::Write { tells: Tells::Old, .. } => Aim::Value(match reply {
            Reply::Nil => Val::Absent,
            Reply::Int(number) => decimal(*number),
            Reply::Text(text) => Val::Held(text.clone()),
            Reply::Error(_) | Reply::List(_) => return None,
        }),
        Action::Length => Aim::LengthMax(length?),
        Action::Append(tail) => Aim::LengthMax(length?.checked_sub(tail.len())?),
        // An absent key counts as 0.
        Action::Add(by) => Aim::Value(number?.checked_sub(*by).filter(|before| *before != 0).map(decimal)?),
        Action::Swap { old, .. } if number == Some(1) => Aim::Value(old.clone().map_or(Val::Absent, Val::Held)),
        Action::Exists | Action::Delete if number == Some(0) => Aim::Value(Val::Absent),
        _ => return None,
    };
    Some((access.key, aim))
}
