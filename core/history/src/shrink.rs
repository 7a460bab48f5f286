//! From a violation to a small one that anyone can follow.
//!
//! A part of a history that has an order may have none: a read without the write that it saw. So not whatever still
//! fails is a counterexample. Each step here weakens: if what is left has no order, what was there before had none.
//!
//! - **The end.** Take out what was called after some return, and let what returned after it take effect or not. An order of
//!   the whole, cut behind the last operation that had returned, is an order of the rest.
//! - **A window.** Take out what returned before some moment too, let the keys hold anything at first, and let what was under
//!   way take effect or not. An order of the whole from behind the last operation that was taken out is an order of the
//!   window; what was under way and stood before has had its effect on what the keys held.
//! - **A piece.** Without the operations that tied them, keys fall apart into pieces again, each with an order of its own if the
//!   whole has one.
//! - **What changes nothing.** An order without a read is an order.
//! - **What nobody sees.** In an order take the write's next neighbour on each of its keys. If none that is left could
//!   follow on the value written, but by replacing it unseen, there is no such neighbour, and the order holds
//!   without the write.

use crate::body::Body;
use crate::model::{step, written};
use crate::record::{OpId, Start};
use crate::search::{Depth, Outcome, Problem, Search};
use crate::split::{Entry, split};
use crate::state::{State, Val};
use crate::switch::{Switch, broken};
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};

/// Entries that have no order.
#[derive(Clone, Debug)]
pub(crate) struct Failing<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) start: Start,
}

/// The budget ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Tries to show, at little cost, that no order gets past `end_ns`: by windows that end there, each twice the last.
pub(crate) fn window<'a>(
    piece: &[Entry<'a>],
    end_ns: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Failing<'a>>, Stopped> {
    let known = piece.iter().filter(|entry| entry.return_ns.is_some() && entry.invoke_ns <= end_ns);
    let mut calls: Vec<u64> = known.map(|entry| entry.invoke_ns).collect();
    calls.sort_unstable();
    let mut count = 1;
    while count < 2 * calls.len() && count < WINDOW_OPERATIONS_MAX {
        let from_ns = calls[calls.len().saturating_sub(count)];
        let window = Failing { entries: piece.to_vec(), start: Start::Unknown }.between(from_ns, end_ns);
        if window.fails(go_on)? {
            return Ok(Some(window));
        }
        count *= 2;
    }
    Ok(None)
}

impl<'a> Failing<'a> {
    /// Without what returned before `from_ns`, which takes an unknown start, and without what was called after `end_ns`. What
    /// was under way at one of them may have taken effect between them.
    pub(crate) fn between(mut self, from_ns: u64, end_ns: u64) -> Self {
        self.entries
            .retain(|entry| entry.return_ns.is_none_or(|return_ns| return_ns >= from_ns) && entry.invoke_ns <= end_ns);
        for entry in &mut self.entries {
            let whole = entry.invoke_ns >= from_ns && entry.return_ns.is_some_and(|return_ns| return_ns <= end_ns);
            if !whole && !broken(Switch::Cut) {
                entry.return_ns = None;
            }
        }
        self.entries.retain(|entry| !entry.is_idle());
        self
    }

    /// True if it soon shows that there is no order.
    fn fails(&self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, Stopped> {
        let problem = Problem::new(&self.entries, self.start);
        match Search::new(&problem, Depth::Full).run(EFFORT, go_on) {
            Outcome::Unexplained => Ok(true),
            Outcome::OutOfBudget => Err(Stopped),
            Outcome::Explained | Outcome::Paused | Outcome::OutOfMemory => Ok(false),
        }
    }

    /// Makes it as small as the steps can.
    pub(crate) fn shrink(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<(), Stopped> {
        let witness = Witness::new(&self.entries);
        loop {
            self.keep_one_piece(go_on)?;
            self.cut_off_the_end(go_on)?;
            let before = self.entries.len();
            let mut size = before.div_ceil(2);
            while size > 0 {
                let removed = self.remove_chunks(size, &witness, go_on)?;
                // Single ones are tried again as long as one goes: it may have been the only reader of another.
                if size > 1 || removed == 0 {
                    size /= 2;
                }
            }
            let end_ns = self.entries.iter().filter_map(|entry| entry.return_ns).max();
            match window(&self.entries, end_ns.unwrap_or(0), go_on)? {
                Some(smaller) if smaller.entries.len() < self.entries.len() => *self = smaller,
                _ if self.entries.len() < before => {}
                _ => return Ok(()),
            }
        }
    }

    /// What was called after the last return is needed at most where a cut would free what is under way there.
    fn cut_off_the_end(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<(), Stopped> {
        let end_ns = self.entries.iter().filter_map(|entry| entry.return_ns).max();
        let cut = self.clone().between(0, end_ns.unwrap_or(0));
        if cut.entries.len() < self.entries.len() && cut.fails(go_on)? {
            *self = cut;
        }
        Ok(())
    }

    /// Of pieces that share no key one that fails is enough.
    fn keep_one_piece(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<(), Stopped> {
        for entries in split(&self.entries) {
            let piece = Self { entries, start: self.start };
            if piece.entries.len() < self.entries.len() && piece.fails(go_on)? {
                *self = piece;
                break;
            }
        }
        Ok(())
    }

    /// Takes out what may be taken out, `size` at a time, the oldest first; says how many went.
    fn remove_chunks(
        &mut self,
        size: usize,
        witness: &Witness,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<usize, Stopped> {
        let before = self.entries.len();
        let ids = |chunk: &[Entry<'a>]| chunk.iter().map(|entry| entry.id).collect();
        let chunks: Vec<Vec<OpId>> = self.entries.chunks(size).map(ids).collect();
        for chunk in chunks {
            let mut smaller = self.clone();
            // Twice, since the writes that only reads of the chunk saw may go once these are gone.
            for id in chunk.iter().chain(&chunk) {
                witness.take_out(&mut smaller.entries, *id);
            }
            if smaller.entries.len() < self.entries.len() && smaller.fails(go_on)? {
                *self = smaller;
            }
        }
        Ok(before - self.entries.len())
    }
}

/// Who could see what.
struct Witness {
    bodies: BTreeMap<OpId, Body<usize>>,
    anything: State,
}

impl Witness {
    fn new(entries: &[Entry<'_>]) -> Self {
        let accesses = entries.iter().flat_map(|entry| entry.command.body().accesses());
        let keys: BTreeSet<&Text> = accesses.map(|access| &access.key).collect();
        let places: BTreeMap<&Text, usize> = keys.into_iter().zip(0..).collect();
        let body = |entry: &Entry<'_>| (entry.id, entry.command.body().rename(|key| places[key]));
        Self { bodies: entries.iter().map(body).collect(), anything: State::all(places.len(), &Val::Anything) }
    }

    /// Takes an entry out, if that is right.
    fn take_out(&self, entries: &mut Vec<Entry<'_>>, id: OpId) {
        let Some(at) = entries.iter().position(|entry| entry.id == id) else { return };
        if self.is_unseen(&entries[at], entries) || broken(Switch::Removal) {
            entries.remove(at);
        }
    }

    /// True if an order with the operation is one without it.
    fn is_unseen(&self, gone: &Entry<'_>, entries: &[Entry<'_>]) -> bool {
        gone.changes_nothing()
            || written(&self.bodies[&gone.id], gone.reply, &self.anything).into_iter().all(|(key, value, _)| {
                let mut state = self.anything.clone();
                state.set(key, value);
                !entries.iter().any(|other| other.id != gone.id && self.sees(other, key, &state))
            })
    }

    /// True if the operation may come next on `key` in this state, and tells or keeps something of the value.
    fn sees(&self, other: &Entry<'_>, key: usize, state: &State) -> bool {
        let body = &self.bodies[&other.id];
        let touches = body.accesses().any(|access| access.key == key);
        touches && !body.is_blind_to(&key, other.reply) && step(body, state, other.reply).is_some()
    }
}

/// Configurations that one attempt may try; those that need more count as no failure.
const EFFORT: u64 = 20_000;
/// A larger window would not be searched through with that effort.
const WINDOW_OPERATIONS_MAX: usize = 20_000;
