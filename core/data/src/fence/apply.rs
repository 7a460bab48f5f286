//! Operations of the log under fences, and under ids with or without fences.
//!
//! Whatever the order of the words in a call, the id is looked at first, then the fences, then what was watched, and the
//! command is run last. What a fence refuses is no outcome: it changes nothing, and its id may be used again.

use super::{Fences, read_fences};
use crate::shard::{
    BadEntry, Call, Covered, OP_COMMAND, OP_EFFECTS, OP_EXEC, OP_OUTCOME, OP_WAIT, ShardState, Told, fences_before,
    skip_covered,
};
use crate::{Refused, Reply};
use base::Stamp;
use base::codec::{DecodeError, Reader};
use base::mutation::{self, Mutation};

impl ShardState {
    /// An operation under fences alone.
    #[inline(never)]
    pub(crate) fn fenced(
        &mut self,
        stamp: Stamp,
        reader: &mut Reader<'_>,
        told: &mut impl FnMut(Told),
    ) -> Result<(), BadEntry> {
        let fences = read_fences(reader)?;
        let op = reader.u8()?;
        if op == OP_WAIT {
            return self.wait(stamp, reader, None, &fences, told);
        }
        let reply = match self.admit(stamp, &fences, op, *reader)? {
            Err(refused) => {
                skip_covered(op, reader)?;
                Reply::Error(refused)
            }
            Ok(()) => match op {
                OP_COMMAND => self.call(stamp, &Call::read(reader)?),
                OP_EXEC => self.transaction(stamp, reader)?,
                OP_EFFECTS => self.effects(stamp, reader)?,
                other => return Err(DecodeError::Unknown(u64::from(other)).into()),
            },
        };
        told(Told::Reply(reply));
        Ok(())
    }

    /// An operation under an id of which nothing is known: done and recorded, unless a fence refuses it.
    pub(crate) fn covered(
        &mut self,
        stamp: Stamp,
        reader: &mut Reader<'_>,
        covered: Covered<'_>,
        told: &mut impl FnMut(Told),
    ) -> Result<(), BadEntry> {
        let mut op = reader.u8()?;
        let fences = fences_before(&mut op, reader)?;
        if op == OP_WAIT {
            // What waits is recorded when it is served.
            self.set_recorded(true);
            let done = self.wait(stamp, reader, Some(covered), &fences, told);
            self.set_recorded(false);
            return done;
        }
        if let Err(refused) = self.admit(stamp, &fences, op, *reader)? {
            told(Told::Reply(Reply::Error(refused)));
            return Ok(());
        }
        let Covered { id, fingerprint, keep_ms } = covered;
        self.set_recorded(true);
        let reply = match op {
            OP_OUTCOME => {
                reader.u64()?;
                let reply = reader.bytes()?.into();
                let kept = self.effects(stamp, reader)?;
                self.set_recorded(false);
                self.keyspace_mut().outcomes_mut().record_bytes(id, fingerprint, reply, stamp, keep_ms);
                told(Told::Reply(kept));
                return Ok(());
            }
            OP_EXEC => self.transaction(stamp, reader)?,
            _ => self.call(stamp, &Call::read(reader)?),
        };
        self.set_recorded(false);
        self.keyspace_mut().outcomes_mut().record(id, fingerprint, &reply, stamp, keep_ms);
        told(Told::Reply(reply));
        Ok(())
    }

    /// Looks at the fences of the operation that `reader` stands before.
    fn admit(
        &mut self,
        stamp: Stamp,
        fences: &Fences<'_>,
        op: u8,
        mut reader: Reader<'_>,
    ) -> Result<Result<(), Refused>, BadEntry> {
        if mutation::on(Mutation::FenceAfterEffect)
            && op == OP_COMMAND
            && self.keyspace().floors().judge(fences).is_err()
        {
            self.call(stamp, &Call::read(&mut reader)?);
        }
        Ok(self.keyspace_mut().admit(fences))
    }
}
