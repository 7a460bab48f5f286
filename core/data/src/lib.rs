//! What a shard is: its replicated state, the command table as data, and one `apply()`.
//!
//! A command is a row of [`command::COMMANDS`] with a plain function from the [`keyspace::Keyspace`], a
//! [`context::Context`] and its arguments to a [`reply::Reply`]; it never sees a connection, a clock or a disk.

pub mod batch;
mod calls;
pub mod command;
pub mod context;
pub mod effects;
pub mod fence;
pub mod keyspace;
pub mod once;
pub mod refused;
pub mod reply;
pub mod reply_codec;
pub mod scripts;
pub mod shard;
mod strings;
pub mod trial;
pub mod value;
pub mod waits;

pub use command::{Command, Run};
pub use context::Context;
pub use effects::Effects;
pub use keyspace::Garbage;
pub use keyspace::Keyspace;
pub use refused::Refused;
pub use reply::{Blob, Reply, Watched};
pub use shard::{ShardState, Told};
pub use strings::Strings;
pub use trial::Trial;
