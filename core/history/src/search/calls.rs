//! The calls and returns that are still to be explained, in the order of time: a doubly linked list in an array.
//!
//! Placing an operation takes its call and its return out; taking the placement back puts them where they were, since
//! each still knows its neighbours (Knuth's dancing links). What stands before the first return in the list has been
//! called before anything left in it returned, so any of it may be next in the order.

use super::problem::Op;

#[derive(Debug)]
pub(crate) struct Calls {
    /// Node 0 is the head, the last one the tail; between them stand the events in the order of time.
    links: Vec<Link>,
    /// The nodes of each operation.
    nodes: Vec<Nodes>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    event: Event,
    before: usize,
    after: usize,
}

#[derive(Clone, Copy, Debug)]
struct Nodes {
    call: usize,
    ret: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // At the same moment calls come first: whether one returned before the other was called can't be told then.
    Call(usize),
    Return(usize),
    End,
}

impl Calls {
    pub(crate) fn new(ops: &[Op<'_>]) -> Self {
        let calls = ops.iter().enumerate().map(|(op, one)| (one.invoke_ns, Event::Call(op)));
        let returns = ops.iter().enumerate().map(|(op, one)| (one.return_ns, Event::Return(op)));
        let mut events: Vec<(u64, Event)> = calls.chain(returns).collect();
        events.sort_unstable();
        let mut nodes = vec![Nodes { call: 0, ret: 0 }; ops.len()];
        let mut links = vec![Link { event: Event::End, before: 0, after: 1 }];
        for (_, event) in events {
            let at = links.len();
            match event {
                Event::Call(op) => nodes[op].call = at,
                Event::Return(op) => nodes[op].ret = at,
                Event::End => {}
            }
            links.push(Link { event, before: at - 1, after: at + 1 });
        }
        let tail = links.len();
        links.push(Link { event: Event::End, before: tail - 1, after: tail });
        Self { links, nodes }
    }

    /// The operations that may be next, in the order of their calls.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = usize> {
        let mut at = self.links[0].after;
        std::iter::from_fn(move || {
            let Event::Call(op) = self.links[at].event else { return None };
            at = self.links[at].after;
            Some(op)
        })
    }

    /// The operation whose return comes first, and how far in the history that is; none if nothing is left.
    pub(crate) fn first_return(&self) -> Option<(usize, usize)> {
        let mut at = self.links[0].after;
        loop {
            match self.links[at].event {
                Event::Call(_) => at = self.links[at].after,
                Event::Return(op) => return Some((op, at)),
                Event::End => return None,
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links[0].after + 1 == self.links.len()
    }

    pub(crate) fn take_out(&mut self, op: usize) {
        let Nodes { call, ret } = self.nodes[op];
        for at in [call, ret] {
            let Link { before, after, .. } = self.links[at];
            self.links[before].after = after;
            self.links[after].before = before;
        }
    }

    /// Puts back what was taken out last.
    pub(crate) fn put_back(&mut self, op: usize) {
        let Nodes { call, ret } = self.nodes[op];
        for at in [ret, call] {
            let Link { before, after, .. } = self.links[at];
            self.links[before].after = at;
            self.links[after].before = at;
        }
    }
}
