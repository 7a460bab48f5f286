//! How outsiders speak: bytes in, requests out; replies in, bytes out. No socket, no clock.
//!
//! [`resp`] is Redis' protocol, versions 2 and 3; [`cluster`] makes a node look like one of a Redis Cluster.

pub mod cluster;
pub mod resp;

pub use resp::session::{Call, ExecCall, Fate, QueuedCall, Session, SessionConfig, Step};
