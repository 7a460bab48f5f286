//! How calls begin to wait, are served, and are let go: what `apply` does about them.

use super::lines::Line;
use super::{Asked, Cover, How, Patience, Wait, WaitId};
use crate::command::blocking::Kind;
use crate::fence::{Fence, as_fences};
use crate::shard::{BadEntry, Call, Covered, ShardState, Told, put_call};
use crate::{Context, Keyspace, Refused, Reply, Run};
use base::Stamp;
use base::codec::{DecodeError, Reader};
use base::limits::WAIT_COUNT_MAX;
use base::mutation::{self, Mutation};
use smallvec::SmallVec;
use std::sync::Arc;

impl ShardState {
    /// A call that waits if it finds nothing. Asked again, it is answered as it was, or stands where it stood; what it was
    /// answered comes before its fences, as an id's outcome does.
    pub(crate) fn wait(
        &mut self,
        stamp: Stamp,
        reader: &mut Reader<'_>,
        covered: Option<Covered<'_>>,
        fences: &[Fence<'_>],
        told: &mut impl FnMut(Told),
    ) -> Result<(), BadEntry> {
        let (cover, mut patience) = (head(reader, covered)?, Patience::decode(reader)?);
        let begins = reader.rest();
        let call = Call::read(reader)?;
        let bytes = &begins[..begins.len() - reader.rest().len()];
        if let Cover::Caller(caller) = cover {
            if let Some(reply) = self.keyspace().waits().answers.of(caller) {
                told(Told::Reply(reply));
                return Ok(());
            }
            let waits = self.keyspace_mut().waits_mut();
            if let Some(former) = waits.of_caller(caller).and_then(|id| waits.remove(id)) {
                patience.since = patience.since.min(former.patience.since);
            }
        }
        if let Err(refused) = self.keyspace_mut().admit(fences) {
            told(Told::Reply(Reply::Error(refused)));
            return Ok(());
        }
        let reply = self.call(stamp, &call);
        let wishes = Asked::read(bytes).is_ok();
        if !(is_nothing(&reply) && wishes) {
            self.keep(stamp, &cover, &reply);
            told(Told::Reply(reply));
        } else if patience.until.is_some_and(|until| until <= stamp) {
            told(Told::Reply(Reply::NilArray));
        } else if self.keyspace().waits().logged_count() >= WAIT_COUNT_MAX {
            told(Told::Reply(Reply::Error(Refused::Text(FULL.to_owned()))));
        } else {
            let cx = Context::new(call.db, stamp);
            let call = settled(self.keyspace(), &cx, &call).map_or_else(|| bytes.into(), Arc::from);
            let id = self.next_wait();
            let fences = fences.iter().map(|fence| Fence::to_owned(*fence)).collect();
            self.keyspace_mut().waits_mut().add(id, Wait { call, patience, cover, fences });
            told(Told::Waits(id));
        }
        Ok(())
    }

    /// Serves those who wait for what the last operation has done.
    pub(crate) fn serve(&mut self, stamp: Stamp, told: &mut impl FnMut(Told)) {
        if !self.keyspace().waits().has_ready() {
            return;
        }
        // What they take is not the operation's that has made it possible.
        self.keyspace_mut().begin_operation(None);
        while let Some((db, key)) = self.keyspace_mut().waits_mut().logged.next_ready() {
            for (kind, group) in self.keyspace().waits().logged.of(db, &key) {
                self.serve_line(stamp, (db, &key), Line { kind, group: &group }, told);
            }
        }
        while let Some((db, key)) = self.keyspace_mut().waits_mut().reads.next_ready() {
            self.serve_reads(stamp, db, &key, told);
        }
    }

    /// Serves one line until there is nothing left for it, or nobody.
    fn serve_line(&mut self, stamp: Stamp, (db, key): (u8, &[u8]), line: Line<'_>, told: &mut impl FnMut(Told)) {
        let mut behind = None;
        loop {
            let found = self.keyspace().kind_of(db, stamp, key);
            let gone = line.kind == Kind::Group && found != Some(Kind::Stream);
            if !gone && line.kind != Kind::Fill && found != Some(stands(line.kind)) {
                return;
            }
            let waits = self.keyspace().waits();
            let mut next = waits.logged.next(db, key, line, behind);
            if mutation::on(Mutation::NewestWaiterFirst) && line.kind != Kind::Stream {
                next = waits.logged.last(db, key, line);
            }
            let Some(place) = next else { return };
            if let Some(refused) = self.is_too_late(place.1) {
                self.keyspace_mut().waits_mut().remove(place.1);
                told(Told::Over(place.1, Reply::Error(refused)));
                continue;
            }
            let waits = self.keyspace().waits();
            let call = Arc::clone(&waits.get(place.1).expect("who stands in a line waits").call);
            let reply = if gone { unblocked(KEY_GONE) } else { self.retry(stamp, &call, key) };
            if !is_nothing(&reply) {
                if mutation::on(Mutation::WaiterServedTwice) {
                    self.retry(stamp, &call, key);
                }
                let wait = self.keyspace_mut().waits_mut().remove(place.1).expect("it was just there");
                self.keep(stamp, &wait.cover, &reply);
                told(Told::Over(place.1, reply));
            } else if line.kind != Kind::Stream {
                return;
            }
            behind = (line.kind == Kind::Stream).then_some(place);
        }
    }

    /// Why a call that waits can't be served: another holder of its lock has come meanwhile.
    fn is_too_late(&self, id: WaitId) -> Option<Refused> {
        let wait = self.keyspace().waits().get(id).expect("who stands in a line waits");
        if wait.fences.is_empty() || mutation::on(Mutation::WaiterServedUnderOldFence) {
            return None;
        }
        self.keyspace().floors().judge(&as_fences(&wait.fences)).err()
    }

    /// Runs a call that waits for the key that is ready.
    fn retry(&mut self, stamp: Stamp, call: &[u8], key: &[u8]) -> Reply {
        let Asked { call, blocking, wish } = Asked::of(call);
        let args: SmallVec<[&[u8]; 4]> = blocking.narrowed(&call.args, key).into_iter().collect();
        match self.call(stamp, &Call { db: call.db, command: call.command, args }) {
            Reply::Error(Refused::Text(text)) if wish.kind == Kind::Group && text.starts_with("NOGROUP ") => {
                unblocked(GROUP_GONE)
            }
            reply => reply,
        }
    }

    /// Lets those reads look that wait here. They leave no trace: other replicas know nothing of them.
    fn serve_reads(&mut self, stamp: Stamp, db: u8, key: &[u8], told: &mut impl FnMut(Told)) {
        let (line, mut behind) = (Line { kind: Kind::Stream, group: b"" }, None);
        while let Some(place) = self.keyspace().waits().reads.next(db, key, line, behind) {
            behind = Some(place);
            let call = Arc::clone(&self.keyspace().waits().get(place.1).expect("who stands in a line waits").call);
            let Asked { call, blocking, .. } = Asked::of(&call);
            let Run::Read(read) = call.command.run else { unreachable!("only reads wait here alone") };
            let args = blocking.narrowed(&call.args, key);
            let reply = Reply::from(read(self.keyspace(), &Context::new(db, stamp), &args));
            if !is_nothing(&reply) {
                self.keyspace_mut().waits_mut().forget_read(place.1);
                told(Told::Over(place.1, reply));
            }
        }
    }

    /// Calls whose time is over by `stamp` don't wait any more.
    pub(crate) fn time_out(&mut self, stamp: Stamp, told: &mut impl FnMut(Told)) {
        if !self.keyspace().waits().is_due(stamp) {
            return;
        }
        let waits = self.keyspace_mut().waits_mut();
        waits.answers.pass_time(stamp);
        if mutation::on(Mutation::WaitTimeIgnored) {
            return;
        }
        while let Some(id) = waits.next_timed_out(stamp) {
            told(Told::Over(id, Reply::NilArray));
        }
    }

    /// A call is let go before its time.
    pub(crate) fn let_go(&mut self, reader: &mut Reader<'_>, told: &mut impl FnMut(Told)) -> Result<(), BadEntry> {
        let (id, how) = (WaitId::decode(reader)?, How::of_code(reader.u8()?)?);
        let waits = self.keyspace_mut().waits_mut();
        let stood =
            if mutation::on(Mutation::WaiterLetGoStays) { waits.get(id).is_some() } else { waits.remove(id).is_some() };
        if stood {
            told(Told::Over(id, how.reply()));
        }
        Ok(())
    }

    /// A read that found nothing waits, on this replica alone: `$` stands for what it is now.
    pub fn wait_to_read(
        &mut self,
        cx: &Context,
        command: &'static crate::Command,
        args: &[&[u8]],
        since: Stamp,
    ) -> WaitId {
        let call = Call { db: cx.db, command, args: args.iter().copied().collect() };
        let bytes = settled(self.keyspace(), cx, &call).unwrap_or_else(|| {
            let mut bytes = Vec::new();
            put_call(&mut bytes, cx.db, command, args);
            bytes
        });
        self.keyspace_mut().waits_mut().add_read(bytes.into(), since)
    }

    /// A read doesn't wait any more.
    pub fn forget_read(&mut self, id: WaitId) {
        self.keyspace_mut().waits_mut().forget_read(id);
    }

    /// Keeps an outcome for who asks again.
    fn keep(&mut self, stamp: Stamp, cover: &Cover, reply: &Reply) {
        match cover {
            Cover::Nothing => {}
            Cover::Caller(caller) => self.keyspace_mut().waits_mut().answers.keep(*caller, reply, stamp),
            Cover::Once { id, fingerprint, keep_ms } => {
                if !self.keyspace_mut().settles_in_trial() {
                    self.keyspace_mut().outcomes_mut().record(id.as_id(), *fingerprint, reply, stamp, *keep_ms);
                }
            }
        }
    }
}

impl How {
    /// What the client is told.
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Self::Nil => Reply::NilArray,
            Self::Error => unblocked(UNBLOCKED),
        }
    }
}

/// Whether a call found nothing.
#[must_use]
pub fn is_nothing(reply: &Reply) -> bool {
    matches!(reply, Reply::Nil | Reply::NilArray)
}

fn head(reader: &mut Reader<'_>, covered: Option<Covered<'_>>) -> Result<Cover, DecodeError> {
    let cover = match reader.u8()? {
        0 => Cover::Nothing,
        1 => Cover::Caller(super::Caller::decode(reader)?),
        other => return Err(DecodeError::Unknown(u64::from(other))),
    };
    Ok(covered.map_or(cover, |once| Cover::Once {
        id: once.id.to_owned(),
        fingerprint: once.fingerprint,
        keep_ms: once.keep_ms,
    }))
}

/// The bytes of a call in which something meant "from now on", with what that is.
fn settled(keyspace: &Keyspace, cx: &Context, call: &Call<'_>) -> Option<Vec<u8>> {
    let args = crate::command::blocking::of(call.command)?.settled(&call.args, keyspace, cx)?;
    let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    put_call(&mut bytes, call.db, call.command, &args);
    Some(bytes)
}

fn stands(kind: Kind) -> Kind {
    if kind == Kind::Group { Kind::Stream } else { kind }
}

fn unblocked(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

/// What a client is told that CLIENT UNBLOCK lets go with an error.
pub const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
const KEY_GONE: &str = "UNBLOCKED the stream key no longer exists";
const GROUP_GONE: &str = "NOGROUP the consumer group this client was blocked on no longer exists";
const FULL: &str = "OVERLOADED too many calls wait in this shard; nothing was changed; try again later";
