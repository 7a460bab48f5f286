//! Those who wait, and what callers were answered, in snapshots and digests. FORMAT.md draws the bytes.

use super::answers::Answer;
use super::{Asked, Caller, Cover, Patience, Wait, WaitId, Waits};
use crate::Reply;
use crate::fence::{Fence, Kept, as_fences, put_fences, read_fences};
use crate::once::Id;
use crate::shard::Call;
use base::Stamp;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{WAIT_ANSWER_BYTES_MAX, WAIT_COUNT_MAX};
use bytes::Bytes;
use smallvec::SmallVec;
use std::hash::Hasher;

/// Tags of a snapshot's items.
pub(crate) const TAG_WAIT: u8 = 8;
pub(crate) const TAG_ANSWER: u8 = 9;
/// A wait under fences, which stand before it.
pub(crate) const TAG_FENCED_WAIT: u8 = 12;

const NOTHING: u8 = 0;
const CALLER: u8 = 1;
const ONCE: u8 = 2;

impl Waits {
    /// Appends all that is replicated.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for (id, wait) in self.logged() {
            if wait.fences.is_empty() {
                out.push(TAG_WAIT);
            } else {
                out.push(TAG_FENCED_WAIT);
                put_fences(out, &as_fences(&wait.fences));
            }
            id.encode(out);
            wait.encode(out);
        }
        for ((life, client), answer, until) in self.answers.all() {
            out.push(TAG_ANSWER);
            Caller { life: *life, client: *client, seq: answer.seq }.encode(out);
            put_varint(out, until.0);
            put_bytes(out, &answer.reply);
        }
    }

    /// Adds it to a digest.
    pub(crate) fn digest(&self, hasher: &mut impl Hasher) {
        if self.logged_count == 0 && self.answers.all().next().is_none() {
            return;
        }
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        hasher.write(&bytes);
    }

    fn logged(&self) -> impl Iterator<Item = (WaitId, &Wait)> {
        let logged = self.calls.iter().filter(|(id, _)| matches!(id, WaitId::Logged { .. }));
        logged.map(|(id, wait)| (*id, wait))
    }
}

impl Wait {
    fn encode(&self, out: &mut Vec<u8>) {
        self.patience.encode(out);
        match &self.cover {
            Cover::Nothing => out.push(NOTHING),
            Cover::Caller(caller) => {
                out.push(CALLER);
                caller.encode(out);
            }
            Cover::Once { id, fingerprint, keep_ms } => {
                out.push(ONCE);
                id.as_id().encode(out);
                out.extend_from_slice(&fingerprint.to_le_bytes());
                put_varint(out, *keep_ms);
            }
        }
        out.extend_from_slice(&self.call);
    }

    fn decode(reader: &mut Reader<'_>, fences: Kept) -> Result<Self, DecodeError> {
        let patience = Patience::decode(reader)?;
        let cover = match reader.u8()? {
            NOTHING => Cover::Nothing,
            CALLER => Cover::Caller(Caller::decode(reader)?),
            ONCE => {
                let id = Id::decode(reader)?.to_owned();
                Cover::Once { id, fingerprint: reader.u64()?, keep_ms: reader.varint()? }
            }
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let begins = reader.rest();
        Call::read(reader).map_err(|bad| bad.0)?;
        let call = &begins[..begins.len() - reader.rest().len()];
        Asked::read(call)?;
        Ok(Self { call: call.into(), patience, cover, fences })
    }
}

/// What a snapshot has said so far of those who wait.
#[derive(Debug, Default)]
pub struct Loading {
    waits: Waits,
}

impl Loading {
    /// A call that waits, behind its tag.
    pub fn wait(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.add(reader, Kept::default())
    }

    /// The same under fences.
    pub fn fenced_wait(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let fences = read_fences(reader)?.into_iter().map(Fence::to_owned).collect();
        self.add(reader, fences)
    }

    fn add(&mut self, reader: &mut Reader<'_>, fences: Kept) -> Result<(), DecodeError> {
        let (id, wait) = (WaitId::decode(reader)?, Wait::decode(reader, fences)?);
        let twice = match wait.cover {
            Cover::Caller(caller) => self.waits.of_caller(caller).is_some(),
            _ => false,
        };
        if twice || self.waits.get(id).is_some() || self.waits.logged_count() >= WAIT_COUNT_MAX {
            return Err(DecodeError::Unknown(u64::from(TAG_WAIT)));
        }
        self.waits.add(id, wait);
        Ok(())
    }

    /// What a caller was answered, behind its tag.
    pub fn answer(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (caller, until) = (Caller::decode(reader)?, Stamp(reader.varint()?));
        let reply: SmallVec<[u8; 32]> = SmallVec::from_slice(reader.bytes()?);
        let bytes = Bytes::copy_from_slice(&reply);
        let mut rest = Reader::new(&bytes);
        let readable = bytes.is_empty() || (Reply::decode(&mut rest, &bytes).is_ok() && rest.is_empty());
        let known = self.waits.answers.knows(caller);
        if !readable || bytes.len() > WAIT_ANSWER_BYTES_MAX || known {
            return Err(DecodeError::Unknown(u64::from(TAG_ANSWER)));
        }
        self.waits.answers.put(caller.who(), Answer { seq: caller.seq, until, reply });
        Ok(())
    }

    /// All is said.
    #[must_use]
    pub fn done(self) -> Waits {
        self.waits
    }
}
