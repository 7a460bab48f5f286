//! What the HTTP gateway decides, as plain functions: which endpoint gets a request, whether it may come in at all, whether it is
//! tried again. The binary moves the bytes; nothing here knows a socket, a clock or HTTP.
//!
//! A [`Service`] is one service on one lane: one owner, no lock. Time is an argument, chance is seeded, effects are values. The
//! duties of the caller, for each request:
//!
//! 1. [`Service::arrive`]: `Go` with a [`Pass`], `Wait` with a [`Ticket`] (an [`Outbox`] will say `go` or `shed` for it; whose client
//!    vanishes is told by [`Service::cancel`]), or `Shed`: answer 503.
//! 2. [`Service::pick`]: an endpoint, with a [`Flight`]. Each flight ends by [`Service::on_end`], whatever happened; neither flights
//!    nor passes can be copied, so none ends twice. Another try (asked for by [`Service::retry`]) is another flight under the same
//!    pass.
//! 3. [`Service::leave`] gives the pass back when the response has ended. A response that has become a stream (a WebSocket, a body of
//!    gigabytes) queues nowhere any more: its pass should be given back when it does, while its flight goes on.
//!
//! Besides: [`Service::on_timer`] at [`Service::next_deadline`] (look again after each call), [`Service::swap`] when endpoints change,
//! [`Service::on_check`] for each check that an Outbox asked for. After any call that takes an Outbox, carry it out whole.
//!
//! Apart from services: [`quota`] has limits per key, [`cache`] the rules of RFC 9111, [`plan`] the maths of `tidegate plan`.

mod admission;
mod breaker;
pub mod cache;
mod checks;
pub mod config;
mod ejection;
mod endpoints;
mod flow;
mod latency;
mod meter;
mod numbers;
mod pick;
pub mod plan;
pub mod quota;
mod retries;
mod seat;
mod service;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use endpoints::{ENDPOINT_COUNT_MAX, Endpoint, EndpointId, Endpoints, Policy, Refused};
pub use flow::{Admit, Attempt, Checked, Class, Event, Flight, Left, NoEndpoint, Outbox, Outcome, Pass, Retry, Safety};
pub use flow::{Shed, Ticket, Why, WhyNot};
pub use meter::Meter;
pub use seat::{EndpointView, State};
pub use service::Service;
