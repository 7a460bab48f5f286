//! Those who wait: by class, and in each class by when they came; bounded, and each with the moment from which waiting is vain.

use crate::flow::{Class, Ticket};
use base::Instant;
use base::mutation::{self, Mutation};
use std::collections::{BTreeMap, BTreeSet};

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// A ticket's number tells its class and when it came.
    classes: [BTreeMap<Ticket, Waiting>; Class::COUNT],
    deadlines: BTreeSet<(Instant, Ticket)>,
    len: usize,
    serial: u64,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) arrived: Instant,
    pub(crate) deadline: Option<Instant>,
}

/// Who of a class goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many would go before a newcomer of this class, if the oldest go first.
    pub(crate) fn before(&self, class: Class) -> usize {
        self.classes[..=class.index()].iter().map(BTreeMap::len).sum()
    }

    pub(crate) fn push(&mut self, class: Class, waiting: Waiting) -> Ticket {
        self.serial += 1;
        let ticket = Ticket(self.serial * Class::COUNT as u64 + class.index() as u64);
        self.classes[class.index()].insert(ticket, waiting);
        self.deadlines.extend(waiting.deadline.map(|deadline| (deadline, ticket)));
        self.len += 1;
        ticket
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.classes[class_of(ticket)].remove(&ticket)?;
        if let Some(deadline) = waiting.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        self.len -= 1;
        Some(waiting)
    }

    /// Takes out who goes first: of the most important class that waits.
    pub(crate) fn pop(&mut self, order: Order) -> Option<(Ticket, Waiting)> {
        let mut classes = self.classes.iter().filter(|class| !class.is_empty());
        let class = match mutation::on(Mutation::LowClassFirst) {
            false => classes.next()?,
            true => classes.next_back()?,
        };
        let first = match order {
            Order::OldestFirst => class.first_key_value(),
            Order::NewestFirst => class.last_key_value(),
        };
        let ticket = *first?.0;
        Some((ticket, self.remove(ticket)?))
    }

    /// Takes out who has the least to lose: the least important, and of these the one that would go last.
    pub(crate) fn pop_last(&mut self, order: Order) -> Option<Ticket> {
        let class = self.classes.iter().rfind(|class| !class.is_empty())?;
        let last = match order {
            Order::OldestFirst => class.last_key_value(),
            Order::NewestFirst => class.first_key_value(),
        };
        let ticket = *last?.0;
        self.remove(ticket).map(|_| ticket)
    }

    /// The class of who would be taken out by [`Self::pop_last`].
    pub(crate) fn lowest(&self) -> Option<usize> {
        self.classes.iter().rposition(|class| !class.is_empty())
    }

    /// Takes out one who came at or before `arrived_max`.
    pub(crate) fn pop_older(&mut self, arrived_max: Instant) -> Option<Ticket> {
        let oldest = self.oldest().filter(|(_, arrived)| *arrived <= arrived_max)?.0;
        self.remove(oldest).map(|_| oldest)
    }

    /// Takes out one whose deadline is before `deadline_min`.
    pub(crate) fn pop_late(&mut self, deadline_min: Instant) -> Option<Ticket> {
        let (_, ticket) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline < deadline_min)?;
        self.remove(ticket).map(|_| ticket)
    }

    pub(crate) fn oldest(&self) -> Option<(Ticket, Instant)> {
        let firsts = self.classes.iter().filter_map(BTreeMap::first_key_value);
        firsts.map(|(ticket, waiting)| (*ticket, waiting.arrived)).min_by_key(|(ticket, _)| *ticket)
    }

    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

fn class_of(ticket: Ticket) -> usize {
    usize::try_from(ticket.0 % Class::COUNT as u64).expect("below the number of classes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_go_before_ages() {
        let mut queue = Queue::default();
        let at = |ms| Waiting { arrived: Instant(0).plus_ms(ms), deadline: None };
        let low = queue.push(Class::LOW, at(0));
        let old = queue.push(Class::NORMAL, at(1));
        let new = queue.push(Class::NORMAL, at(2));
        assert_eq!(queue.before(Class::NORMAL), 2);
        assert_eq!(queue.oldest().unwrap().0, low);
        assert_eq!(queue.pop(Order::NewestFirst).unwrap().0, new);
        assert_eq!(queue.pop_last(Order::OldestFirst), Some(low));
        assert_eq!(queue.pop(Order::OldestFirst).unwrap().0, old);
        assert_eq!((queue.len(), queue.lowest()), (0, None));
    }

    #[test]
    fn who_is_removed_is_gone_from_everywhere() {
        let mut queue = Queue::default();
        let deadline = Some(Instant(0).plus_ms(5));
        let ticket = queue.push(Class::NORMAL, Waiting { arrived: Instant(0), deadline });
        assert!(queue.remove(ticket).is_some() && queue.remove(ticket).is_none());
        assert_eq!((queue.first_deadline(), queue.len()), (None, 0));
        let late = queue.push(Class::NORMAL, Waiting { arrived: Instant(0), deadline });
        assert_eq!(queue.pop_late(Instant(0).plus_ms(5)), None);
        assert_eq!(queue.pop_late(Instant(0).plus_ms(6)), Some(late));
        assert_eq!(queue.first_deadline(), None);
    }
}
