//! Scripts and functions, run in Lua 5.1 against a shard's state that is lent for the time.
//!
//! [`Engine`] is one interpreter with the sandbox of Redis 7.0: no access to the outside, no globals of a script's own, library
//! tables that can't be changed. It takes a [`data::batch::Batch`], tries its scripts out one after the other on the state
//! as the log will find it, writes what they did into the entry, takes everything back and gives the state up. So nothing
//! here decides anything: the leader may throw the outcome away and run the same again.
//!
//! An engine knows no clock. What ends a script that does not end by itself is counted steps, a flag that another thread
//! may set, and a limit of memory; none of them can be caught by the script ([`guard`]). What the interpreter's own step
//! counter does not see, a long search in `string.find` or a deep comparison in `table.sort`, is done here and counted.
//!
//! Only the threads that run scripts have engines: neither a replica nor the log knows Lua.

mod batch;
mod call;
mod cjson;
mod cmsgpack;
mod compile;
mod convert;
mod engine;
mod errors;
mod guard;
mod library;
mod natives;
mod number;
mod pattern;
mod sandbox;
mod stage;
mod structs;

pub use engine::{Engine, Limits};
