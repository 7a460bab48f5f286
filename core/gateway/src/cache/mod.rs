//! What a shared cache of HTTP may store, and what it may answer from that (RFC 9111), as plain functions of headers.
//!
//! Reading order: [`Request`] and [`Response`] are what counts of headers; [`store`] says whether a response may be stored and gives
//! its [`Freshness`]; that says what it is of use for now; [`Conditions`] say which part of it is sent. [`Vary`] tells requests
//! apart, and [`origin`] names what is asked for. Bytes, keys in tables and who waits for whom are the caller's.

mod conditions;
pub mod date;
mod directives;
mod freshness;
mod head;
pub mod origin;
mod storing;
#[cfg(test)]
mod tests;
mod vary;

pub use conditions::{Conditions, Sent, Validators};
pub use directives::{Allowed, Wanted};
pub use freshness::{Freshness, Use};
pub use head::{Request, Response};
pub use storing::{Arrival, Rules, Unstored, store};
pub use vary::Vary;
