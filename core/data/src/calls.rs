//! Calls as log entries hold them: a database, a command and its arguments.

use crate::command::{self, Command};
use crate::shard::BadEntry;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::DATABASE_COUNT;
use smallvec::SmallVec;
use std::hash::Hasher;

/// Appends a call.
pub(crate) fn put_call(out: &mut Vec<u8>, db: u8, command: &Command, args: &[&[u8]]) {
    out.push(db);
    put_varint(out, u64::from(command.id));
    put_varint(out, args.len() as u64);
    for arg in args {
        put_bytes(out, arg);
    }
}

/// One command of an entry.
pub(crate) struct Call<'a> {
    pub(crate) db: u8,
    pub(crate) command: &'static Command,
    pub(crate) args: SmallVec<[&'a [u8]; 4]>,
}

impl<'a> Call<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, BadEntry> {
        let db = reader.u8()?;
        if db >= DATABASE_COUNT {
            return Err(DecodeError::Unknown(u64::from(db)).into());
        }
        let id = reader.varint()?;
        let command = command::by_id(id).ok_or(DecodeError::Unknown(id))?;
        let argc = reader.len()?;
        let mut args = SmallVec::new();
        for _ in 0..argc {
            args.push(reader.bytes()?);
        }
        if !command.accepts(args.len()) {
            return Err(DecodeError::Unknown(args.len() as u64).into());
        }
        Ok(Self { db, command, args })
    }

    pub(crate) fn fingerprint(&self, hasher: &mut impl Hasher) {
        hasher.write_u8(self.db);
        hasher.write_u16(self.command.id);
        hasher.write_u64(self.args.len() as u64);
        for arg in self.args.iter().skip(1) {
            hasher.write_u64(arg.len() as u64);
            hasher.write(arg);
        }
    }

    pub(crate) fn first_key(&self) -> Option<(u8, &'a [u8])> {
        let at = self.command.keys.positions(&self.args).next()?;
        Some((self.db, self.args[at]))
    }
}
