//! The protocol of memcached 1.6, as text: the meta commands (mg, ms, md, ma, mn, me) and those of every old client.
//!
//! Keys are those of database 0, values its strings. [`parse`] frames, [`ask`] makes commands of [`data::command::memcache`] of what was
//! asked, [`tell`] makes the answer's bytes, and [`session`] keeps the order of a connection's answers.

pub mod ask;
mod meta;
pub mod parse;
pub mod session;
mod tell;
mod text;
