//! Commands under an id and under fences, on their way into a shard's open entry.
//!
//! The id stands in the entry as its own operation before the one that it covers, with the time for which the outcome is
//! kept: replicas agree on that, whatever their nodes are told.

use crate::lane::Lane;
use crate::outbox::Request;
use crate::replica::{Replica, Waiter};
use crate::scripts::misspelled;
use data::command::prefix;
use data::once::Id;
use data::{Refused, Run};

impl Replica {
    /// Puts a client's command into the open entry. One with prefixes that make no sense is refused.
    pub(crate) fn log_request(&mut self, waiter: Waiter, request: &Request<'_>) -> Result<(), Refused> {
        let Request { db, command, args, .. } = *request;
        if let Some(refused) = misspelled(request).or_else(|| self.refused_fence(command, args)) {
            return Err(refused);
        }
        if self.joins_line(waiter, request) {
            return Ok(());
        }
        if let Run::Prefix(_) = command.run {
            return self.log_prefixed(waiter, db, args);
        }
        self.log(waiter, db, command, args);
        Ok(())
    }

    /// Apart, so that other commands' way stays short.
    #[cold]
    #[inline(never)]
    fn log_prefixed(&mut self, waiter: Waiter, db: u8, args: &[&[u8]]) -> Result<(), Refused> {
        let call = prefix::parse(args)?;
        let (Run::Write(_) | Run::Read(_)) = call.command.run else {
            return Err(Refused::Text(format!("ERR '{}' does not come as a command of its own", call.command.name)));
        };
        if let Some(id) = call.once {
            self.open_once(id);
        }
        self.open.fences(&call.fences);
        self.log(waiter, db, call.command, &args[call.at..]);
        Ok(())
    }

    /// What joins the open entry next takes effect once under `id`.
    pub(crate) fn open_once(&mut self, id: Id<'_>) {
        self.open.once(id, self.once_kept_ms);
    }
}

impl Lane {
    /// How long this lane's leaders let the outcomes of new commands be kept: [`base::limits::ONCE_KEPT_MS`] unless told.
    pub fn keep_outcomes_for(&mut self, ms: u64) {
        self.replicas.iter_mut().flatten().for_each(|replica| replica.once_kept_ms = ms);
    }
}
