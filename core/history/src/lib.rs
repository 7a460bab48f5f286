//! Whether what clients saw has an explanation: recorded histories, and a checker of linearizability.
//!
//! A history says of each operation who called it, when, what it was answered and when. It is linearizable (Herlihy and Wing,
//! 1990) if there is an order of all operations in which none stands before another that had returned when it was
//! called, and in which a store that carries them out one by one gives the replies that were seen.
//!
//! To find such an order is NP-hard, so the [`search`] is one over configurations, with a memo and a budget.
//! [`split`] takes the history apart first: keys that no operation ties together are checked apart. An operation of
//! unknown outcome took effect at any time after its call, or never; `search::chains` says why many of them are
//! bearable. What has no order is shrunk to a counterexample ([`shrink`]) that people can follow ([`report`]).
//!
//! ```
//! use history::{Command, History, Reply, Verdict, check, configurations};
//!
//! let mut history = History::new();
//! let set = history.invoke("a", Command::redis(&["SET", "x", "1"])?, 10);
//! let get = history.invoke("b", Command::redis(&["GET", "x"])?, 20);
//! history.returned(set, Reply::ok(), 30);
//! history.returned(get, Reply::Nil, 40);
//! assert!(matches!(check(&history, configurations(1000)), Verdict::Linearizable(_)));
//!
//! // The read that begins after the write has returned must see it.
//! let get = history.invoke("b", Command::redis(&["GET", "x"])?, 50);
//! history.returned(get, Reply::Nil, 60);
//! assert!(matches!(check(&history, configurations(1000)), Verdict::Violation(..)));
//! # Ok::<(), history::BadCommand>(())
//! ```
//!
//! What the caller owes: one clock for all clients, read before the call is sent and after the reply was received;
//! every operation that touched the keys; and no name of a client or store more than it knows: an operation whose
//! reply was lost has an unknown outcome, not none.

mod body;
mod check;
mod command;
pub mod lines;
mod model;
mod record;
mod reply;
pub mod report;
pub mod sample;
mod search;
mod shrink;
mod split;
mod state;
mod switch;
mod text;
mod verdict;

#[cfg(test)]
mod tests;

pub use check::{check, configurations};
pub use command::{BadCommand, Command, Dialect, Word};
pub use record::{History, OpId, Operation, Returned, Start};
pub use reply::Reply;
pub use text::Text;
pub use verdict::{Counts, Evidence, Extent, Hard, Outcome, Stuck, Verdict, Violation, Why};
