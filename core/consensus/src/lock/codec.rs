//! Requests and answers as bytes. What is read is within the bounds that [`Command::check`] draws.

use super::command::{Acquire, Claim, Command, HolderInfo, Info, Invalid, Outcome};
use super::value::{Mode, TOKEN_MAX, bounded, many, permits, ttl};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{LOCK_HOLDER_COUNT_MAX, LOCK_ID_BYTES_MAX, LOCK_OWNER_BYTES_MAX, LOCK_WAIT_MS_MAX};
use bytes::Bytes;

const ACQUIRE: u8 = 1;
const RENEW: u8 = 2;
const RELEASE: u8 = 3;
const GIVE_BACK: u8 = 4;
const INFO: u8 = 5;
const RAISE: u8 = 6;
const TIDY: u8 = 7;

const EXCLUSIVE: u8 = 0;
const SHARED: u8 = 1;
const PERMITS: u8 = 2;

const GRANTED: u8 = 1;
const RENEWED: u8 = 2;
const RELEASED: u8 = 3;
const REFUSED: u8 = 4;
const LOST: u8 = 5;
const UNKNOWN: u8 = 6;
const NO_QUORUM: u8 = 7;
const OVERLOADED: u8 = 8;
const TOLD: u8 = 9;
const INVALID: u8 = 10;

impl Command {
    /// Appends the command to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Acquire(acquire) => {
                out.push(ACQUIRE);
                acquire.encode(out);
            }
            Self::Renew { owner, token, ttl_ms } => {
                out.push(RENEW);
                put_bytes(out, owner);
                put_varint(out, *token);
                put_varint(out, *ttl_ms);
            }
            Self::Release { owner, token } => {
                out.push(RELEASE);
                put_bytes(out, owner);
                put_varint(out, *token);
            }
            Self::GiveBack { token } => {
                out.push(GIVE_BACK);
                put_varint(out, *token);
            }
            Self::Tidy => out.push(TIDY),
            Self::Info => out.push(INFO),
            Self::Raise { owner, token, above } => {
                out.push(RAISE);
                put_bytes(out, owner);
                put_varint(out, *token);
                put_varint(out, *above);
            }
        }
    }

    /// Takes a command off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            ACQUIRE => Self::Acquire(Acquire::decode(reader)?),
            RENEW => Self::Renew { owner: owner(reader)?, token: reader.varint()?, ttl_ms: ttl(reader)? },
            RELEASE => Self::Release { owner: owner(reader)?, token: reader.varint()? },
            GIVE_BACK => Self::GiveBack { token: reader.varint()? },
            INFO => Self::Info,
            TIDY => Self::Tidy,
            RAISE => Self::Raise { owner: owner(reader)?, token: reader.varint()?, above: token(reader)? },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

impl Acquire {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.owner);
        put_varint(out, self.ttl_ms);
        put_varint(out, self.wait_ms);
        match self.claim {
            Claim::Exclusive => out.push(EXCLUSIVE),
            Claim::Shared => out.push(SHARED),
            Claim::Permits { count, of } => {
                out.push(PERMITS);
                put_varint(out, u64::from(count));
                put_varint(out, u64::from(of));
            }
        }
        out.push(u8::from(self.token.is_some()));
        self.token.iter().for_each(|token| put_varint(out, *token));
        put_bytes(out, &self.id);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (owner, ttl_ms) = (owner(reader)?, ttl(reader)?);
        let wait_ms = Some(reader.varint()?).filter(|ms| *ms <= LOCK_WAIT_MS_MAX).ok_or(DecodeError::Overlong)?;
        let claim = match reader.u8()? {
            EXCLUSIVE => Claim::Exclusive,
            SHARED => Claim::Shared,
            PERMITS => Claim::Permits { count: permits(reader)?, of: permits(reader)? },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let token = match reader.u8()? {
            0 => None,
            1 => Some(reader.varint()?),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        Ok(Self { owner, ttl_ms, wait_ms, claim, token, id: bounded(reader, LOCK_ID_BYTES_MAX)? })
    }
}

impl Outcome {
    /// Appends the outcome to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Granted { token, fence, remaining_ms } => {
                out.push(GRANTED);
                [*token, *fence, *remaining_ms].into_iter().for_each(|number| put_varint(out, number));
            }
            Self::Renewed { remaining_ms } => {
                out.push(RENEWED);
                put_varint(out, *remaining_ms);
            }
            Self::Released => out.push(RELEASED),
            Self::Refused => out.push(REFUSED),
            Self::Lost => out.push(LOST),
            Self::Unknown => out.push(UNKNOWN),
            Self::NoQuorum => out.push(NO_QUORUM),
            Self::Overloaded => out.push(OVERLOADED),
            Self::Info(info) => {
                out.push(TOLD);
                info.encode(out);
            }
            Self::Invalid(invalid) => {
                out.push(INVALID);
                let (kind, of) = invalid.number();
                out.push(kind);
                put_varint(out, u64::from(of));
            }
        }
    }

    /// Takes an outcome off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            GRANTED => {
                let (token, fence, remaining_ms) = (token(reader)?, token(reader)?, ttl(reader)?);
                Self::Granted { token, fence, remaining_ms }
            }
            RENEWED => Self::Renewed { remaining_ms: ttl(reader)? },
            RELEASED => Self::Released,
            REFUSED => Self::Refused,
            LOST => Self::Lost,
            UNKNOWN => Self::Unknown,
            NO_QUORUM => Self::NoQuorum,
            OVERLOADED => Self::Overloaded,
            TOLD => Self::Info(Info::decode(reader)?),
            INVALID => Self::Invalid(Invalid::of_number(reader.u8()?, permits(reader)?)?),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

impl Info {
    fn encode(&self, out: &mut Vec<u8>) {
        [self.version, self.fence, self.token, self.waiting].into_iter().for_each(|number| put_varint(out, number));
        let (kind, of) = match self.mode {
            Mode::Exclusive => (EXCLUSIVE, 0),
            Mode::Shared => (SHARED, 0),
            Mode::Permits { of } => (PERMITS, of),
        };
        out.push(kind);
        put_varint(out, u64::from(of));
        put_varint(out, self.holders.len() as u64);
        for one in &self.holders {
            put_bytes(out, &one.owner);
            let numbers = [one.token, one.renewal, one.ttl_ms, u64::from(one.weight), one.remaining_ms];
            numbers.into_iter().for_each(|number| put_varint(out, number));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (version, fence, last) = (token(reader)?, token(reader)?, token(reader)?);
        let waiting = reader.varint()?;
        let mode = match (reader.u8()?, permits(reader)?) {
            (EXCLUSIVE, 0) => Mode::Exclusive,
            (SHARED, 0) => Mode::Shared,
            (PERMITS, of) => Mode::Permits { of },
            (other, _) => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let holders = many(reader, LOCK_HOLDER_COUNT_MAX, HolderInfo::decode)?;
        Ok(Self { version, fence, token: last, mode, holders, waiting })
    }
}

impl HolderInfo {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            owner: owner(reader)?,
            token: token(reader)?,
            renewal: token(reader)?,
            ttl_ms: ttl(reader)?,
            weight: permits(reader)?,
            remaining_ms: reader.varint()?,
        })
    }
}

impl Invalid {
    fn number(self) -> (u8, u32) {
        match self {
            Self::NameEmpty => (0, 0),
            Self::NameTooLong => (1, 0),
            Self::OwnerEmpty => (2, 0),
            Self::OwnerTooLong => (3, 0),
            Self::IdTooLong => (4, 0),
            Self::TtlOutOfRange => (5, 0),
            Self::WaitTooLong => (6, 0),
            Self::PermitsOutOfRange => (7, 0),
            Self::PermitsDiffer { of } => (8, of),
            Self::TooManyLocks => (9, 0),
        }
    }

    fn of_number(kind: u8, of: u32) -> Result<Self, DecodeError> {
        let plain = match kind {
            0 => Self::NameEmpty,
            1 => Self::NameTooLong,
            2 => Self::OwnerEmpty,
            3 => Self::OwnerTooLong,
            4 => Self::IdTooLong,
            5 => Self::TtlOutOfRange,
            6 => Self::WaitTooLong,
            7 => Self::PermitsOutOfRange,
            8 => return Ok(Self::PermitsDiffer { of }),
            9 => Self::TooManyLocks,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        if of == 0 { Ok(plain) } else { Err(DecodeError::Unknown(u64::from(of))) }
    }
}

fn owner(reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    bounded(reader, LOCK_OWNER_BYTES_MAX)
}

fn token(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    Some(reader.varint()?).filter(|token| *token <= TOKEN_MAX).ok_or(DecodeError::Overlong)
}
