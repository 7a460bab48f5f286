//! Locks on Paxos registers: granted by the votes of nodes, so no leader's death pauses them.
//!
//! One [`Plane`] per node is all of it: the voter ([`crate::register`]), the homes that propose for names, the edge that takes clients'
//! requests and brings them home, and the watchers. The caller's duties:
//!
//! 1. Build the node's [`crate::register::Table`] from its snapshot and log, raise and persist the incarnation, make the plane, and keep
//!    giving inputs with a `now` of the boot-time clock that was read *after* the input came.
//! 2. After each input carry out the [`Outbox`]: make [`Outbox::writes`] durable in their order; then deliver each one's `then`
//!    (to this node itself by [`Plane::on_message`]) and tell [`Plane::on_persisted`] the last one's number. Send
//!    [`Outbox::messages`] at once.
//! 3. Give messages of peers to [`Plane::on_message`] if [`Plane::judge`] lets them pass. Call [`Plane::on_timer`] when
//!    [`Plane::next_deadline`] has come. Tell which links are up and which are lost.
//! 4. Lease a block of tokens from the meta shard when [`Outbox::wants_block`] says so.
//! 5. Open an epoch only when a majority of the present one's voters have told [`Event::Ready`] of it.
//!
//! **Who holds.** A grant is named by its token. The holder counts its lease from before it sent, voters count from when they
//! accept, and wait a 64th longer than the ttl: clocks whose rates differ by less than that can't make two hold at once. A request that
//! waited gets no lease of its own view; its client renews first.
//!
//! **A steal** is two rounds: a majority, in the promises of the stealer's own ballot, each say that the holder's time is over.
//! Nothing that is cached will do, since the holder may have renewed since.
//!
//! **A home** serves a name's requests one round at a time, as many as there are with one round: a release and the grant to who is
//! first in line are one change. Any voter may act as home of any name: two at once are slow, not wrong.
//!
//! **A line.** The change that hands a lock over also makes the grants of those ahead who wait for it alone ([`Lock::line`]): each has its
//! token and its fence, which is that token, before it begins. When the holder gives the lock back, its home tells the next at once, and one
//! later round writes down all that happened since, after 2 ms or when few are left who can be told. That is safe: what is told was chosen; the next begins only when those before
//! it are over, whoever is home by then; the one who gave the lock back has stopped believing in it; and who waited has no lease of his own
//! view until he renews. A token from the line that is used proves that those before it were given back, for it was told to nobody before.
//! Who doesn't wait where the lock is taken over loses his place if it was stolen, and has a second to speak up if it was given back.
//!
//! **Departures from the design, with reasons.** A fence is the token of its grant, not one more than the last, for it must be above all that
//! were granted ahead, told or not. The fence grows with the first of sharers too: an exclusive holder of before must
//! not write beside them. A retry by id is written as a renewal, for its client counts from its sending. A peer that is silent for 20 ms
//! while requests are there is not asked for anything else until it is heard, so that a stopped node costs one hedge, not one each.

pub mod codec;
pub mod command;
pub(crate) mod decide;
mod edge;
mod home;
mod line;
mod outbox;
mod plane;
mod round;
pub(crate) mod shared;
#[cfg(test)]
mod tests;
mod tokens;
pub mod value;
mod watch;

pub use command::{Acquire, Claim, Command, HolderInfo, Info, Invalid, Outcome};
pub use outbox::{Event, Notice, Outbox, Waiter};
pub use plane::{Listed, PeerMisbehaved, Plane, Status};
pub use shared::{Config, Tuning};
pub use tokens::{GENERATION_MAX, floor};
pub use value::{Holder, Lock, Mode};
