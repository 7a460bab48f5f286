//! What a client sees of a write whose leader was lost.
//!
//! The node knows that the outcome is in doubt, and says so by -INDOUBT, or that the write had no effect, by -TRYAGAIN. Programs made for Redis
//! know neither word: they meet a lost server as a connection that ends, and have their ways to go on from there. Where the node
//! is set to `close`, they get that instead. The replies before it leave first; nothing that was asked behind it is answered.

use super::conn::Conn;
use crate::settings::{OnLostLeader, Settings};
use crate::shared::Endpoint;
use data::{Refused, Reply};

impl Conn {
    /// The answer to the request `seq`, or the end of the connection.
    pub fn on_reply_or_end(&mut self, settings: &Settings, seq: u64, reply: Reply) {
        // Clients of a Redis Cluster know -TRYAGAIN, and where else to ask.
        let told = settings.on_lost_leader() == OnLostLeader::Error || self.endpoint() != Endpoint::Routing;
        if told || !speaks_of_lost_leader(&reply) {
            return self.on_reply(seq, reply);
        }
        // Its slot stays open, so nothing behind it leaves.
        (self.closing, self.cut) = (true, true);
    }
}

fn speaks_of_lost_leader(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(Refused::Text(text)) if text.starts_with("INDOUBT ") || text.starts_with("TRYAGAIN "))
}
