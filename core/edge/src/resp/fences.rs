//! FENCE.SET and FENCE.CLEAR: the fences under which a connection stands.
//!
//! From FENCE.SET on, every command with keys and every EXEC of the connection goes to the core as if FENCE stood before it.
//! What no shard can judge goes as it is, but for what would remove keys of all shards: that is refused.

use super::parse::Args;
use super::session::{Session, error};
use super::step::{Call, QueuedCall, Step};
use data::command::{Scatter, prefix};
use data::fence::{self, Fence, Fences, OwnedFence, as_fences};
use data::{Command, Refused, Reply, Run};
use std::sync::Arc;

/// The fences of a connection; see the module.
#[derive(Debug)]
pub struct Under {
    fences: Vec<OwnedFence>,
    /// What stands before a command: FENCE, lock and number of each.
    words: Vec<Vec<u8>>,
}

impl Under {
    fn new(fences: Vec<OwnedFence>) -> Option<Arc<Self>> {
        let words = as_fences(&fences)
            .into_iter()
            .flat_map(|one| [b"FENCE".to_vec(), one.lock.to_vec(), one.number.to_string().into_bytes()])
            .collect();
        (!fences.is_empty()).then(|| Arc::new(Self { fences, words }))
    }
}

impl Call<'_> {
    /// The row and the words of the call as the core is to have it: under the fences of its connection.
    #[must_use]
    pub fn under_fences(&self) -> Option<(&'static Command, Args<'_>)> {
        let under = self.under.as_ref()?;
        let words = under.words.iter().map(Vec::as_slice).chain(self.args.iter().copied());
        Some((prefix::fence_row(), words.collect()))
    }
}

impl Session {
    /// FENCE.SET and FENCE.CLEAR.
    pub(super) fn fences_command<'a>(&mut self, command: &Command, args: &[&[u8]], out: &mut Vec<u8>) -> Step<'a> {
        let reply = match (command.name, args) {
            ("fence.set", [_, lock, number]) => Fence::parse(lock, number).and_then(|fence| self.set_fence(fence)),
            ("fence.clear", [_]) => Ok(Reply::count(self.keep_fences(|_| false))),
            ("fence.clear", [_, lock]) => Ok(Reply::count(self.keep_fences(|one| one.lock != *lock))),
            _ => Err(Refused::Arity(command.name.to_owned())),
        };
        self.answer(reply.into(), out)
    }

    /// Another fence, or another number of a lock.
    fn set_fence(&mut self, fence: Fence<'_>) -> Result<Reply, Refused> {
        let mut all: Fences<'_> = self.fences().into_iter().filter(|one| one.lock != fence.lock).collect();
        fence::add(&mut all, fence)?;
        self.under = Under::new(all.into_iter().map(Fence::to_owned).collect());
        Ok(Reply::Ok)
    }

    /// Takes fences away; how many.
    fn keep_fences(&mut self, keep: impl Fn(&Fence<'_>) -> bool) -> usize {
        let (before, kept) = (self.fences().len(), self.fences().into_iter().filter(keep));
        let kept: Vec<OwnedFence> = kept.map(Fence::to_owned).collect();
        let gone = before - kept.len();
        self.under = Under::new(kept);
        gone
    }

    fn fences(&self) -> Fences<'_> {
        self.under.as_ref().map_or_else(Fences::new, |under| as_fences(&under.fences))
    }

    /// The fences that a command goes under. What WATCH saw is judged with EXEC.
    pub(super) fn under(&self, command: &Command) -> Option<Arc<Under>> {
        let under = self.under.as_ref()?;
        let judged = match command.run {
            Run::Read(_) | Run::Write(_) => !command.keys.is_none() && command.name != "watch",
            Run::Script(_) | Run::Prefix(_) => true,
            Run::Scatter(_) | Run::Session | Run::Node | Run::Everywhere | Run::Lock => false,
        };
        judged.then(|| Arc::clone(under))
    }

    /// A holder that was late must not remove all keys.
    pub(super) fn check_fences(&self, command: &Command) -> Result<(), Refused> {
        match command.run {
            Run::Scatter(Scatter::FlushDb | Scatter::FlushAll) if self.under.is_some() => Err(Refused::Text(format!(
                "ERR '{}' concerns all shards and can't be judged by this connection's fences; nothing was changed; take them away \
                 by FENCE.CLEAR, or send it by another connection",
                command.name
            ))),
            _ => Ok(()),
        }
    }

    /// A command that FENCE stands before, within MULTI: its fences become the transaction's.
    pub(super) fn queue_fenced<'a>(
        &mut self,
        call: &prefix::Prefixed<'_>,
        args: &Args<'a>,
        out: &mut Vec<u8>,
    ) -> Step<'a> {
        let transaction = self.transaction.as_mut().expect("the caller looked");
        let added = {
            let mut all = as_fences(&transaction.fences);
            let added = call.fences.iter().try_for_each(|one| fence::add(&mut all, *one));
            added.map(|()| all.into_iter().map(Fence::to_owned).collect())
        };
        match added {
            Ok(all) => transaction.fences = all,
            Err(refused) => return self.refuse(refused, out),
        }
        self.queue(call.command, &args[call.at..].iter().copied().collect(), out)
    }

    /// All that EXEC goes under: fences that stood before it, those of queued commands and of the connection.
    pub(super) fn fences_of_exec(
        &self,
        before: &[Fence<'_>],
        queued: Vec<OwnedFence>,
        commands: &[QueuedCall],
    ) -> Result<Vec<OwnedFence>, Reply> {
        let judged = commands.iter().any(|one| self.can_be_judged(one));
        if !judged && !before.is_empty() {
            return Err(error(WITHOUT_KEY));
        }
        let mut all: Fences<'_> = as_fences(&queued);
        let of_connection = self.fences().into_iter().filter(|_| judged);
        match before.iter().copied().chain(of_connection).try_for_each(|one| fence::add(&mut all, one)) {
            Ok(()) => Ok(all.into_iter().map(Fence::to_owned).collect()),
            Err(refused) => {
                let why = refused.to_string();
                let why = why.strip_prefix("ERR ").unwrap_or(&why);
                Err(error(&format!("EXECABORT Transaction discarded because of: {why}")))
            }
        }
    }

    fn can_be_judged(&self, queued: &QueuedCall) -> bool {
        matches!(queued.command.run, Run::Script(_)) || queued.command.keys.positions(&queued.words()).next().is_some()
    }
}

const WITHOUT_KEY: &str = "EXECABORT Transaction discarded because of: FENCE needs a command with a key, whose shard knows \
                           the lock's last fence; send EXEC without it";
