//! RESP2 and RESP3: frames in, replies out, and the state of one connection.

mod client;
mod cluster;
pub mod encode;
pub mod parse;
pub mod session;
mod transaction;
