//! What an acceptor has in the log and in snapshots: records that each say all of one fact, so that the last one counts and
//! repeating an older one changes nothing.

use super::ballot::Ballot;
use crate::lock::Lock;
use crate::lock::value::{TOKEN_MAX, bounded};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::LOCK_NAME_BYTES_MAX;
use base::slot::SLOT_COUNT;
use base::{Epoch, Slot};
use bytes::Bytes;
use std::sync::Arc;

/// One durable fact about this node's registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// All of one register.
    Cell { name: Bytes, promised: Ballot, accepted: Ballot, lock: Arc<Lock> },
    /// Nothing of this epoch or an older one is promised or accepted any more.
    Sealed { epoch: Epoch },
    /// All that older epochs have chosen is here: this one may be served.
    Ready { epoch: Epoch },
    /// No token or fence up to this is given out again for a name of the slot.
    Floor { slot: Slot, floor: u64 },
    /// The register was swept, unless it was written in this epoch or a later one.
    Swept { name: Bytes, epoch: Epoch },
    /// The register was forgotten, as it was accepted under this ballot.
    Forgotten { name: Bytes, ballot: Ballot },
    /// Nothing below this ballot is promised or accepted for a register that isn't there.
    Passed { ballot: Ballot },
}

const CELL: u8 = 1;
const SEALED: u8 = 2;
const READY: u8 = 3;
const FLOOR: u8 = 4;
const SWEPT: u8 = 5;
const FORGOTTEN: u8 = 6;
const PASSED: u8 = 7;

impl Record {
    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Cell { name, promised, accepted, lock } => {
                out.push(CELL);
                put_bytes(out, name);
                promised.encode(out);
                accepted.encode(out);
                lock.encode(out);
            }
            Self::Sealed { epoch } => {
                out.push(SEALED);
                put_varint(out, epoch.0);
            }
            Self::Ready { epoch } => {
                out.push(READY);
                put_varint(out, epoch.0);
            }
            Self::Floor { slot, floor } => {
                out.push(FLOOR);
                out.extend_from_slice(&slot.0.to_le_bytes());
                put_varint(out, *floor);
            }
            Self::Swept { name, epoch } => {
                out.push(SWEPT);
                put_bytes(out, name);
                put_varint(out, epoch.0);
            }
            Self::Forgotten { name, ballot } => {
                out.push(FORGOTTEN);
                put_bytes(out, name);
                ballot.encode(out);
            }
            Self::Passed { ballot } => {
                out.push(PASSED);
                ballot.encode(out);
            }
        }
    }

    /// Takes a record off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            CELL => {
                let name = bounded(reader, LOCK_NAME_BYTES_MAX)?;
                let (promised, accepted) = (Ballot::decode(reader)?, Ballot::decode(reader)?);
                Self::Cell { name, promised, accepted, lock: Arc::new(Lock::decode(reader)?) }
            }
            SEALED => Self::Sealed { epoch: epoch(reader)? },
            READY => Self::Ready { epoch: epoch(reader)? },
            FLOOR => {
                let slot = reader.u16()?;
                if slot >= SLOT_COUNT {
                    return Err(DecodeError::Unknown(u64::from(slot)));
                }
                Self::Floor { slot: Slot(slot), floor: floor(reader)? }
            }
            SWEPT => Self::Swept { name: bounded(reader, LOCK_NAME_BYTES_MAX)?, epoch: epoch(reader)? },
            FORGOTTEN => {
                Self::Forgotten { name: bounded(reader, LOCK_NAME_BYTES_MAX)?, ballot: Ballot::decode(reader)? }
            }
            PASSED => Self::Passed { ballot: Ballot::decode(reader)? },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

pub(crate) fn epoch(reader: &mut Reader<'_>) -> Result<Epoch, DecodeError> {
    Some(Epoch(reader.varint()?)).filter(|epoch| *epoch <= Epoch::MAX).ok_or(DecodeError::Overlong)
}

/// A number above which tokens can still rise.
pub(crate) fn floor(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    Some(reader.varint()?).filter(|floor| *floor <= TOKEN_MAX).ok_or(DecodeError::Overlong)
}
