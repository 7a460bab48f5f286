//! What is planned in a simulated world: the earliest first, and of the same time what was planned first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(crate) struct Agenda<T> {
    planned: BinaryHeap<Reverse<Planned<T>>>,
    serial: u64,
}

#[derive(Debug)]
struct Planned<T> {
    at: u64,
    serial: u64,
    what: T,
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}
impl<T> Eq for Planned<T> {}
impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { planned: BinaryHeap::new(), serial: 0 }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn plan(&mut self, at: u64, what: T) {
        self.serial += 1;
        self.planned.push(Reverse(Planned { at, serial: self.serial, what }));
    }

    /// The next thing, and when.
    pub(crate) fn take_next(&mut self) -> (u64, T) {
        let Reverse(Planned { at, what, .. }) = self.planned.pop().expect("faults and clients never end");
        (at, what)
    }

    pub(crate) fn next_at(&self) -> Option<u64> {
        self.planned.peek().map(|next| next.0.at)
    }
}
