//! The requests of one turn, counted without an atomic or a clock of their own.
//!
//! Most requests are answered in the turn that parsed them: for those a turn is one number per command. What waits for
//! the journal thread or another lane is remembered by its connection as [`Asked`] and timed when its reply comes.

use super::LaneMeters;
use crate::lane::Mark;
use base::Instant;
use data::command::ID_MAX;

/// What a turn has seen so far; the lane's own.
#[derive(Debug)]
pub struct Turn {
    began: Instant,
    serving: bool,
    /// By the command's id, how many were asked and answered in this turn.
    answered: Box<[u32]>,
    /// The ids whose number isn't zero.
    touched: Vec<u16>,
    /// Of former turns, answered in this one.
    late: Vec<(u16, Instant)>,
}

/// A request whose reply has not come yet.
#[derive(Debug)]
pub struct Asked {
    pub seq: u64,
    pub id: u16,
    at: Instant,
    /// Its arguments, should it turn out slow.
    pub mark: Option<Mark>,
    /// The commands of a transaction.
    pub inner: Box<[u16]>,
}

impl Turn {
    pub fn new() -> Self {
        Self {
            began: Instant(0),
            serving: false,
            answered: vec![0; ID_MAX].into_boxed_slice(),
            touched: Vec::new(),
            late: Vec::new(),
        }
    }

    /// The lane is about to serve requests; it looked at its clock.
    pub fn begin(&mut self, now: Instant) {
        if !self.serving {
            (self.began, self.serving) = (now, true);
        }
    }

    /// A request of this turn was answered.
    pub fn answered(&mut self, id: u16) {
        let count = &mut self.answered[usize::from(id)];
        if *count == 0 {
            self.touched.push(id);
        }
        *count += 1;
    }

    /// A request of this turn has to wait.
    pub fn asked(&self, seq: u64, id: u16, mark: Option<Mark>, inner: Box<[u16]>) -> Asked {
        Asked { seq, id, at: self.began, mark, inner }
    }

    /// The reply has come.
    pub fn released(&mut self, asked: &Asked) {
        for id in asked.inner.iter().chain([&asked.id]) {
            if self.serving && asked.at == self.began {
                self.answered(*id);
            } else {
                self.late.push((*id, asked.at));
            }
        }
    }

    /// The lane is about to write its replies; it looked at its clock.
    pub fn end(&mut self, now: Instant, meters: &LaneMeters) {
        if self.serving {
            let took_ns = now.since_ns(self.began);
            for id in self.touched.drain(..) {
                let count = std::mem::take(&mut self.answered[usize::from(id)]);
                meters.command(id).latency_ns.add(took_ns, u64::from(count));
            }
            meters.turns.add(1);
            self.serving = false;
        }
        for (id, at) in self.late.drain(..) {
            meters.command(id).latency_ns.add(now.since_ns(at), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meters::Sums;

    #[test]
    fn answers_are_timed_from_the_turn_that_asked() {
        let (mut turn, meters) = (Turn::new(), LaneMeters::new());
        turn.begin(Instant(1_000));
        turn.begin(Instant(1_500));
        turn.answered(1);
        turn.answered(1);
        let same = turn.asked(7, 2, None, Box::default());
        let later = turn.asked(8, 3, None, Box::new([1]));
        turn.released(&same);
        turn.end(Instant(3_000), &meters);
        turn.begin(Instant(9_000));
        turn.released(&later);
        turn.end(Instant(11_000), &meters);
        let sums = |id| Sums::from(&meters.command(id).latency_ns);
        assert_eq!((sums(1).count(), sums(1).sum), (3, 2 * 2_000 + 10_000));
        assert_eq!((sums(2).count(), sums(2).sum), (1, 2_000));
        assert_eq!((sums(3).count(), sums(3).sum), (1, 10_000));
        assert_eq!(meters.turns.get(), 2);
    }
}
