//! The model's floors: of each lock the largest fence that the shard has let in, as the manual says.

use super::{Asked, Model};
use crate::answer::{Answer, Expected};
use std::collections::BTreeMap;

/// Locks and numbers.
pub type Fences = Vec<(Vec<u8>, u64)>;

/// What a shard has seen. It forgets nothing: simulated clients know few locks.
#[derive(Clone, Debug, Default)]
pub(super) struct Floors(BTreeMap<Vec<u8>, u64>);

/// A call without the words before it.
#[derive(Clone, Debug)]
pub struct Bare {
    pub once: Option<String>,
    pub fences: Fences,
    pub asked: Asked,
}

/// Takes ONCE and FENCE off a call.
#[must_use]
pub fn bare(asked: &Asked) -> Bare {
    let (mut once, mut fences, mut words) = (None, Fences::new(), asked.words.as_slice());
    loop {
        match words {
            [name, id, rest @ ..] if name.eq_ignore_ascii_case(b"once") => {
                once = Some(String::from_utf8_lossy(id).into_owned());
                words = rest;
            }
            [name, lock, number, rest @ ..] if name.eq_ignore_ascii_case(b"fence") => {
                let fence =
                    (lock.clone(), String::from_utf8_lossy(number).parse().expect("the workload sends numbers"));
                if !fences.contains(&fence) {
                    fences.push(fence);
                }
                words = rest;
            }
            _ => return Bare { once, fences, asked: Asked { db: asked.db, words: words.to_vec() } },
        }
    }
}

/// What a fence that is too old is told.
pub(super) fn too_old() -> Expected {
    Expected::ErrorWith("FENCED ")
}

impl Model {
    /// True if one of these is below what was let in.
    pub(super) fn is_too_old(&self, fences: &[(Vec<u8>, u64)]) -> bool {
        fences.iter().any(|(lock, number)| self.floors.0.get(lock).is_some_and(|floor| number < floor))
    }

    /// Does something under fences: all of them rise, or it is not done.
    pub(super) fn under(&mut self, fences: &[(Vec<u8>, u64)], act: impl FnOnce(&mut Self) -> Expected) -> Expected {
        if self.is_too_old(fences) {
            return too_old();
        }
        let before = self.floors.clone();
        self.floors.0.extend(fences.iter().cloned());
        let expected = act(self);
        if super::scripts::is_ended(&expected) {
            // It has not happened.
            self.floors = before;
        }
        expected
    }

    /// FENCE.RESET.
    pub(super) fn reset_floor(&mut self, asked: &Asked) -> Answer {
        let number = asked.words.get(2).map(|word| String::from_utf8_lossy(word).parse().expect("a number"));
        self.floors.0.insert(asked.words[1].clone(), number.unwrap_or(0));
        Answer::ok()
    }

    /// All locks that it knows, with their floors.
    pub fn floors(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.floors.0.iter().map(|(lock, floor)| (lock.as_slice(), *floor))
    }
}
