//! What a lock's register holds: who holds the lock, by which tokens, and what was given out last.
//!
//! A free lock keeps its fence and its last token, so neither starts again. It also keeps the last tokens that were given
//! back: whoever asks again whether his release took effect gets the truth.

use crate::register::Ballot;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{
    LOCK_HOLDER_COUNT_MAX, LOCK_ID_BYTES_MAX, LOCK_LINE_COUNT_MAX, LOCK_OWNER_BYTES_MAX, LOCK_TTL_MS_MAX,
};
use bytes::Bytes;

/// The state of one lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Grows with each write: what a watcher compares.
    pub version: u64,
    /// Grows with each exclusive grant, to its token, and when sharers take over; never above `token`.
    pub fence: u64,
    /// The last token given out.
    pub token: u64,
    pub mode: Mode,
    pub holders: Vec<Holder>,
    /// The last tokens that were given back, newest last.
    pub released: Vec<u64>,
    /// Who gets it next, in this order: grants that are made ahead while one holds it alone. Each begins when those before it are over.
    pub line: Vec<Holder>,
}

/// How the present holders share a lock; of no meaning while there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    #[default]
    Exclusive,
    Shared,
    /// A semaphore of so many permits.
    Permits {
        of: u32,
    },
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub owner: Bytes,
    /// Names the grant; RENEW and RELEASE need it.
    pub token: u64,
    /// Grows with each renewal: acceptors start their wait anew when it changes, and only then.
    pub renewal: u64,
    pub ttl_ms: u64,
    /// Permits taken; 1 but for semaphores.
    pub weight: u32,
    /// The proposal that began its present time; zero until it is proposed. Tokens and renewals count from what a proposer knew, so
    /// proposals of two homes may share them; this no two share.
    pub since: Ballot,
    /// The last requests that this grant answered, newest last.
    pub ids: Vec<Bytes>,
}

/// Ids that are kept per holder, and released tokens per lock.
pub const KEPT_COUNT_MAX: usize = 8;
/// The most permits of a semaphore.
pub const PERMIT_COUNT_MAX: u32 = 1 << 20;

/// No lock comes to such a token, and the next ones are numbers too.
pub const TOKEN_MAX: u64 = 1 << 62;

const EXCLUSIVE: u8 = 0;
const SHARED: u8 = 1;
const PERMITS: u8 = 2;

impl Lock {
    /// A lock that nobody ever held, where tokens and fences up to `floor` may have been given out.
    #[must_use]
    pub fn fresh(floor: u64) -> Self {
        Self { version: floor, fence: floor, token: floor, ..Self::default() }
    }

    /// The grant of this token to this owner.
    #[must_use]
    pub fn holder(&self, owner: &[u8], token: u64) -> Option<&Holder> {
        self.holders.iter().find(|one| one.token == token && one.owner == owner)
    }

    /// The fence of a grant that was made ahead, when it begins behind one with this fence.
    #[must_use]
    pub(crate) fn fence_behind(fence: u64, next: &Holder) -> u64 {
        next.token.max(fence + 1)
    }

    /// Permits taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.holders.iter().map(|one| one.weight).sum()
    }

    /// Appends the lock to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        [self.version, self.fence, self.token].into_iter().for_each(|number| put_varint(out, number));
        match self.mode {
            Mode::Exclusive => out.push(EXCLUSIVE),
            Mode::Shared => out.push(SHARED),
            Mode::Permits { of } => {
                out.push(PERMITS);
                put_varint(out, u64::from(of));
            }
        }
        put_varint(out, self.holders.len() as u64);
        self.holders.iter().for_each(|holder| holder.encode(out));
        put_varint(out, self.released.len() as u64);
        self.released.iter().for_each(|token| put_varint(out, *token));
        put_varint(out, self.line.len() as u64);
        self.line.iter().for_each(|holder| holder.encode(out));
    }

    /// Takes a lock off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (version, fence, token) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let mode = match reader.u8()? {
            EXCLUSIVE => Mode::Exclusive,
            SHARED => Mode::Shared,
            PERMITS => Mode::Permits { of: permits(reader)? },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let holders = many(reader, LOCK_HOLDER_COUNT_MAX, Holder::decode)?;
        let released = many(reader, KEPT_COUNT_MAX, Reader::varint)?;
        let sound = fence <= token && token <= TOKEN_MAX && version <= TOKEN_MAX;
        let line = many(reader, LOCK_LINE_COUNT_MAX, Holder::decode)?;
        let known = holders.iter().chain(&line).all(|holder| holder.token <= token);
        let waits = line.is_empty() || holders.len() == 1 && mode == Mode::Exclusive;
        if sound && known && waits {
            Ok(Self { version, fence, token, mode, holders, released, line })
        } else {
            Err(DecodeError::Unknown(token))
        }
    }
}

impl Holder {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.owner);
        [self.token, self.renewal, self.ttl_ms, u64::from(self.weight)].iter().for_each(|n| put_varint(out, *n));
        put_varint(out, self.ids.len() as u64);
        self.ids.iter().for_each(|id| put_bytes(out, id));
        self.since.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let owner = bounded(reader, LOCK_OWNER_BYTES_MAX)?;
        let (token, renewal, ttl_ms) = (reader.varint()?, reader.varint()?, ttl(reader)?);
        if renewal > TOKEN_MAX {
            return Err(DecodeError::Overlong);
        }
        let weight = permits(reader)?;
        let ids = many(reader, KEPT_COUNT_MAX, |reader| bounded(reader, LOCK_ID_BYTES_MAX))?;
        Ok(Self { owner, token, renewal, ttl_ms, weight, since: Ballot::decode(reader)?, ids })
    }
}

/// So many values behind their count.
pub(crate) fn many<'a, T>(
    reader: &mut Reader<'a>,
    count_max: usize,
    one: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.len()?;
    if count > count_max {
        return Err(DecodeError::Overlong);
    }
    (0..count).map(|_| one(reader)).collect()
}

/// Bytes behind their length, no more than so many.
pub(crate) fn bounded(reader: &mut Reader<'_>, bytes_max: usize) -> Result<Bytes, DecodeError> {
    let bytes = reader.bytes()?;
    if bytes.len() > bytes_max { Err(DecodeError::Overlong) } else { Ok(Bytes::copy_from_slice(bytes)) }
}

pub(crate) fn ttl(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    Some(reader.varint()?).filter(|ms| *ms <= LOCK_TTL_MS_MAX).ok_or(DecodeError::Overlong)
}

pub(crate) fn permits(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let count = u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?;
    Some(count).filter(|count| *count <= PERMIT_COUNT_MAX).ok_or(DecodeError::Overlong)
}
