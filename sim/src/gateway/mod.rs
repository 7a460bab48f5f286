//! The gateway under load: the real `core/gateway` between clients and servers in virtual time.

pub mod load;
pub mod report;
pub mod rivals;
pub mod scenarios;
pub mod server;
mod watch;
pub mod world;
