//! How outsiders speak: bytes in, requests out; replies in, bytes out. No socket, no clock.
//!
//! [`resp`] is Redis' protocol, versions 2 and 3; [`cluster`] makes a node look like one of a Redis Cluster; [`caches`] knows what
//! the clients of a lane keep of what they have read; [`memcached`] is memcached's protocol; [`proxy`] is what a
//! balancer says of the clients whose connections it passes on.

pub mod caches;
pub mod cluster;
pub mod memcached;
pub mod proxy;
pub mod resp;

pub use caches::Caches;
pub use resp::push::Push;
pub use resp::session::{Session, SessionConfig};
pub use resp::step::{Call, EverywhereCall, ExecCall, Fate, LockCall, QueuedCall, Step};
pub use resp::subscribe::Listens;
pub use resp::tracking::{Mode, Tracking};
