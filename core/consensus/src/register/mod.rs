//! Paxos registers (CASPaxos, Rystsov 2018): each holds one value, which is changed by a function of its former value, by the
//! votes of a majority, without a leader.
//!
//! One change is two rounds: voters *promise* a ballot and tell what they have accepted, then they *accept* the function's
//! result under it. Whoever accepts a ballot also promises the next one to the same proposer, so the next change by the same node
//! is one round. A read asks a majority for what it has accepted; if all name one ballot of this epoch, that is chosen, and newer than
//! all that was chosen before the read, so the answer costs nobody a write.
//!
//! **Epochs.** Every message has the epoch of its sender's voters, and a voter of another takes no part. A new epoch's voter serves when
//! it has all registers from a majority of the former voters, each of whom has durably sealed the former epoch before it gave them.
//! What was accepted in a former epoch may be known to some of the new voters and not to others, so it never counts as chosen by being
//! reported by a majority: it is written again first. Ballots of a new epoch are above all older ones.
//!
//! **Sweep.** What nobody has used for long is forgotten when all voters have it in the same state ([`sweep`]); on the way into an epoch, too,
//! what all former voters had so stays behind. Its slot's floor is raised to the last token that it gave out.
//!
//! The value is a [`crate::lock::Lock`]: voters judge its holders' time, so they have to know it. What is asked of locks, and who proposes,
//! stands in [`crate::lock`].

pub(crate) mod acceptor;
pub mod ballot;
mod codec;
pub mod message;
mod record;
pub(crate) mod rescan;
pub(crate) mod sweep;
mod table;
pub mod view;

pub use ballot::Ballot;
pub use message::{Asker, Idle, Message, Parcel, RegisterWrite, Report, Scanned, Stand};
pub use record::Record;
pub use table::Table;
pub use view::{View, ViewRefused};
