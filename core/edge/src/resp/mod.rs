//! RESP2 and RESP3: frames in, replies out, and the state of one connection.

mod about;
mod client;
mod cluster;
mod connection;
pub mod encode;
pub mod fences;
pub mod parse;
pub mod push;
pub mod session;
pub mod step;
pub mod subscribe;
pub mod tracking;
mod transaction;
