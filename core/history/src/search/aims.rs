//! When a chain of unknown operations can't lead any more to what the known one behind it was answered.
//!
//! Appends only make a value longer. Where nothing but they, writes to absent keys, and replacements are unknown on a key, a
//! value that isn't the beginning of the one that was read will never become it: whoever replaces it makes the
//! chain up to there useless, and a shorter chain begins with that replacement. Without this, k unknown appends would be
//! tried in k! orders at every wrong turn.

use super::problem::{Class, Op, Problem};
use crate::body::{Access, Action, Part, Shape, Tells, When};
use crate::reply::Reply;
use crate::state::{State, Val};
use crate::switch::{Switch, broken};
use std::collections::BTreeSet;

/// What a key must hold for an operation to be answered as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Aim {
    Value(Val),
    LengthMax(usize),
}

/// The aims of an operation, for the keys on which a chain can't turn back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aims {
    aims: Vec<(usize, Aim)>,
}

impl Aims {
    pub(crate) fn new(problem: &Problem<'_>, op: &Op<'_>, classes: impl Iterator<Item = usize> + Clone) -> Self {
        let turns_back = |class: &Class<'_>, key: usize| class.keys.contains(&key) && !class.replaces && !only_grows(class);
        let mut aims = aims(op);
        aims.retain(|(key, _)| {
            let mut on_key = classes.clone().map(|class| &problem.classes[class]);
            let spread = |class: &Class<'_>| class.keys.contains(key) && class.keys.len() > 1;
            broken(Switch::Aims) || !on_key.any(|class| turns_back(class, *key) || spread(class))
        });
        Self { aims }
    }

    /// False if a chain that has touched `touched` and led to `state` is in vain, however long it gets.
    pub(crate) fn are_in_reach(&self, state: &State, touched: &BTreeSet<usize>) -> bool {
        self.aims.iter().filter(|(key, _)| touched.contains(key)).all(|(key, aim)| match (aim, state.get(*key)) {
            (_, Val::Anything) => true,
            (Aim::Value(Val::Held(whole)), Val::Held(part)) => whole.starts_with(part),
            (Aim::Value(Val::Held(_)) | Aim::LengthMax(_), Val::Absent) => true,
            (Aim::Value(aim), value) => aim == value,
            (Aim::LengthMax(bytes), Val::Held(text)) => text.len() <= *bytes,
        })
    }
}

/// True if the value of its only key begins after it as it began before, if there was one.
fn only_grows(class: &Class<'_>) -> bool {
    let grows = |access: &Access<usize>| {
        matches!(access.action, Action::Append(_) | Action::Write { when: When::IfAbsent, .. })
    };
    class.body.accesses().count() == 1 && class.body.accesses().all(grows)
}

fn aims(op: &Op<'_>) -> Vec<(usize, Aim)> {
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
    // Of several accesses to a key only the first sees what the chain left.
    let all: Vec<(usize, Aim)> = pairs.into_iter().flat_map(of_part).collect();
    let alone = |key: usize| op.body.accesses().filter(|access| access.key == key).count() == 1;
    all.into_iter().filter(|(key, _)| alone(*key)).collect()
}

fn aim(access: &Access<usize>, reply: &Reply) -> Option<(usize, Aim)> {
    let number = reply.integer().and_then(|number| usize::try_from(number).ok());
    let aim = match &access.action {
        Action::Read | Action::Take | Action::Write { tells: Tells::Old, .. } => Aim::Value(match reply {
            Reply::Nil => Val::Absent,
            Reply::Int(number) => Val::Held(number.to_string().as_bytes().into()),
            Reply::Text(text) => Val::Held(text.clone()),
            Reply::Error(_) | Reply::List(_) => return None,
        }),
        Action::Length => Aim::LengthMax(number?),
        Action::Append(tail) => Aim::LengthMax(number?.checked_sub(tail.len())?),
        Action::Swap { old, .. } if number == Some(1) => {
            Aim::Value(old.clone().map_or(Val::Absent, Val::Held))
        }
        Action::Exists | Action::Delete if number == Some(0) => Aim::Value(Val::Absent),
        _ => return None,
    };
    Some((access.key, aim))
}
