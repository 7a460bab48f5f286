//! The model's memory of ids: a list of what was answered, as the manual says, and what becomes of it with time.

use super::fences::{Bare, bare, too_old};
use super::{Asked, Model, Watch};
use crate::answer::{Answer, Expected};
use std::collections::{BTreeMap, VecDeque};

/// What a shard remembers of ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    kept_ms: u64,
    remembered: VecDeque<Remembered>,
    floors: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
struct Remembered {
    sender: String,
    number: u64,
    commands: Vec<Asked>,
    exec: bool,
    expected: Expected,
    until: u64,
}

/// The most that one entry lets a shard forget.
const FORGOTTEN_PER_ENTRY: usize = 64;
/// The largest reply that is kept.
const REPLY_BYTES_MAX: usize = 64 * 1024;

impl Model {
    /// Ids are remembered for so long.
    pub fn remember_for(&mut self, ms: u64) {
        self.memory.kept_ms = ms;
    }

    /// A command behind ONCE and FENCE: the id is looked at first, then the fences, and what they refuse is not remembered.
    pub(super) fn run_prefixed(&mut self, now: u64, asked: &Asked, told: Option<&Answer>) -> Expected {
        let Bare { once, fences, asked } = bare(asked);
        let known = once.as_ref().and_then(|id| self.known(id, std::slice::from_ref(&asked), false));
        known.unwrap_or_else(|| {
            let expected = self.under(&fences, |model| model.take_effect(now, &asked, told));
            match once {
                Some(id) if expected != too_old() => self.remember(&id, vec![asked], false, expected, told),
                _ => expected,
            }
        })
    }

    /// A transaction under fences, and under an id if it has one.
    pub fn exec_covered(
        &mut self,
        (once, fences): (Option<&str>, &[(Vec<u8>, u64)]),
        now: u64,
        watches: &[Watch],
        commands: &[Asked],
        told: Option<&Answer>,
    ) -> Expected {
        let known = once.and_then(|id| self.known(id, commands, true));
        known.unwrap_or_else(|| {
            let expected = self.under(fences, |model| model.exec(now, watches, commands, told));
            match once {
                Some(id) if expected != too_old() => self.remember(id, commands.to_vec(), true, expected, told),
                _ => expected,
            }
        })
    }

    pub(super) fn forget(&mut self, now: u64) {
        let Memory { remembered, floors, .. } = &mut self.memory;
        for _ in 0..FORGOTTEN_PER_ENTRY {
            let Some(gone) = remembered.pop_front_if(|one| one.until <= now) else { return };
            let floor = floors.entry(gone.sender).or_default();
            *floor = gone.number.max(*floor);
        }
    }

    /// What an id that has been used must be answered.
    fn known(&self, id: &str, commands: &[Asked], exec: bool) -> Option<Expected> {
        let (sender, number) = parts(id);
        let one = self.memory.remembered.iter().find(|one| one.sender == sender && one.number == number);
        match one {
            Some(one) if one.exec != exec || !same(&one.commands, commands) => {
                Some(Expected::ErrorWith("ONCEMISMATCH "))
            }
            Some(one) if bytes(&one.expected) > REPLY_BYTES_MAX => Some(Expected::ErrorWith("ONCEDONE ")),
            Some(one) => Some(one.expected.clone()),
            None if self.memory.floors.get(&sender).is_some_and(|floor| number <= *floor) => {
                Some(Expected::ErrorWith("UNKNOWN "))
            }
            None => None,
        }
    }

    fn remember(
        &mut self,
        id: &str,
        commands: Vec<Asked>,
        exec: bool,
        expected: Expected,
        told: Option<&Answer>,
    ) -> Expected {
        if super::scripts::is_ended(&expected) {
            // It has not happened.
            return expected;
        }
        let expected = settled(expected, told);
        let (sender, number) = parts(id);
        let until = self.stamp + self.memory.kept_ms;
        let one = Remembered { sender, number, commands, exec, expected: expected.clone(), until };
        self.memory.remembered.push_back(one);
        expected
    }
}

/// Of all that may be answered, what was.
fn settled(expected: Expected, told: Option<&Answer>) -> Expected {
    match told {
        Some(told) if expected.allows(told) => Expected::Is(told.clone()),
        _ => expected,
    }
}

fn parts(id: &str) -> (String, u64) {
    let (sender, number) = id.rsplit_once(':').expect("the workload sends ids");
    (sender.to_owned(), number.parse().expect("the workload sends numbers"))
}

/// True if these are the same commands in the same databases, however their names are spelled.
fn same(these: &[Asked], those: &[Asked]) -> bool {
    let alike = |(a, b): (&Asked, &Asked)| a.db == b.db && a.name() == b.name() && a.words[1..] == b.words[1..];
    these.len() == those.len() && these.iter().zip(those).all(alike)
}

/// How many bytes a reply has where it is kept, by FORMAT.md.
fn bytes(expected: &Expected) -> usize {
    match expected {
        Expected::Is(answer) => bytes_of(answer),
        Expected::All(parts) => 1 + varint(parts.len()) + parts.iter().map(bytes).sum::<usize>(),
        Expected::ErrorWith(text) => text.len(),
        Expected::ErrorOf(text) => text.len(),
        other => unreachable!("what was told is no longer {other:?}"),
    }
}

fn bytes_of(answer: &Answer) -> usize {
    let text = |len: usize| 1 + varint(len) + len;
    match answer {
        Answer::Simple(ok) if ok == "OK" => 1,
        Answer::Simple(other) => text(other.len()),
        Answer::Error(why) => text(why.len()),
        Answer::Int(_) => 9,
        Answer::Bulk(value) => text(value.len()),
        Answer::Nil | Answer::NilArray => 1,
        Answer::Array(parts) => 1 + varint(parts.len()) + parts.iter().map(bytes_of).sum::<usize>(),
    }
}

fn varint(n: usize) -> usize {
    1 + (n | 1).ilog2() as usize / 7
}

#[cfg(test)]
mod tests {
    use super::super::error;
    use super::*;

    #[test]
    fn an_id_is_remembered_for_its_time_and_refused_ever_after() {
        let mut model = Model::default();
        model.remember_for(100);
        model.name_bucket(0, b"n", 1);
        let asked = |text: &str| Asked { db: 0, words: text.split(' ').map(|word| word.into()).collect() };
        let incr = asked("once s:2 incr n");
        model.pass_time(10);
        for _ in 0..2 {
            assert_eq!(model.run(10, &incr), Expected::Is(Answer::Int(1)));
        }
        assert_eq!(model.run(10, &asked("once s:2 decr n")), Expected::ErrorWith("ONCEMISMATCH "));
        model.pass_time(110);
        assert_eq!(model.run(110, &incr), Expected::ErrorWith("UNKNOWN "));
        assert_eq!(model.run(110, &asked("once s:3 incr n")), Expected::Is(Answer::Int(2)));
        assert_eq!(bytes(&Expected::All(vec![Expected::Is(error("ERR")), Expected::Is(Answer::Int(1))])), 2 + 5 + 9);
    }
}
