//! Messages as bytes: a kind, the fields in their order, and no length that is believed before it is held against its bound.

use super::ballot::Ballot;
use super::message::{Asker, Idle, Message, Parcel, Report, Scanned, Stand};
use super::record::{epoch, floor};
use crate::lock::value::{bounded, many};
use crate::lock::{Command, Lock, Outcome};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{LOCK_HOLDER_COUNT_MAX, LOCK_NAME_BYTES_MAX, LOCK_SWEEP_COUNT_MAX, SNAPSHOT_PIECE_BYTES_MAX};
use base::slot::SLOT_COUNT;
use base::{Epoch, NodeId};
use bytes::Bytes;
use std::sync::Arc;

const PREPARE: u8 = 1;
const PROMISE: u8 = 2;
const ACCEPT: u8 = 3;
const ACCEPTED: u8 = 4;
const REFUSED: u8 = 5;
const READ: u8 = 6;
const READ_REPLY: u8 = 7;
const SUBSCRIBE: u8 = 8;
const CHANGED: u8 = 9;
const ASK: u8 = 10;
const QUEUED: u8 = 11;
const ANSWER: u8 = 12;
const CANCEL: u8 = 13;
const PING: u8 = 14;
const PONG: u8 = 15;
const SCAN: u8 = 16;
const PART: u8 = 17;
const NOT_READY: u8 = 18;
const IDLE: u8 = 19;
const STANDS: u8 = 20;
const FORGET: u8 = 21;

impl Parcel {
    /// Appends what the receiver doesn't know by the link: epoch and message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.epoch.0);
        self.message.encode(out);
    }

    /// Takes a parcel off the front of `reader` that came over the link from a node.
    pub fn decode(reader: &mut Reader<'_>, from: NodeId, to: NodeId) -> Result<Self, DecodeError> {
        Ok(Self { from, to, epoch: epoch(reader)?, message: Message::decode(reader)? })
    }
}

impl Message {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Prepare { name, ballot } => about(out, PREPARE, name, ballot),
            Self::Promise { name, ballot, report } => {
                about(out, PROMISE, name, ballot);
                report.encode(out);
            }
            Self::Accept { name, ballot, lock } => {
                about(out, ACCEPT, name, ballot);
                lock.encode(out);
            }
            Self::Accepted { name, ballot } => about(out, ACCEPTED, name, ballot),
            Self::Refused { name, ballot, promised } => {
                about(out, REFUSED, name, ballot);
                promised.encode(out);
            }
            Self::Read { name, serial } => named(out, READ, name, *serial),
            Self::ReadReply { name, serial, report } => {
                named(out, READ_REPLY, name, *serial);
                report.encode(out);
            }
            Self::Subscribe { name } => {
                out.push(SUBSCRIBE);
                put_bytes(out, name);
            }
            Self::Changed { name, version, lock } => {
                named(out, CHANGED, name, *version);
                lock.encode(out);
            }
            Self::Ping => out.push(PING),
            Self::Pong => out.push(PONG),
            Self::Ask { .. } | Self::Queued { .. } | Self::Answer { .. } | Self::Cancel { .. } => {
                self.encode_request(out)
            }
            Self::Scan { .. } | Self::Part { .. } | Self::NotReady { .. } => self.encode_rescan(out),
            Self::Idle { .. } | Self::Stands { .. } | Self::Forget { .. } => self.encode_sweep(out),
            Self::Rescanned { .. } => unreachable!("what a node tells itself stays there"),
        }
    }

    fn encode_request(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ask { asker, name, command } => {
                asker.encode(out, ASK);
                put_bytes(out, name);
                command.encode(out);
            }
            Self::Answer { asker, name, outcome } => {
                asker.encode(out, ANSWER);
                put_bytes(out, name);
                outcome.encode(out);
            }
            Self::Cancel { asker, name } => {
                asker.encode(out, CANCEL);
                put_bytes(out, name);
            }
            Self::Queued { asker } => asker.encode(out, QUEUED),
            _ => unreachable!("the caller chose"),
        }
    }

    fn encode_rescan(&self, out: &mut Vec<u8>) {
        match self {
            Self::Scan { of, after } => {
                out.push(SCAN);
                put_varint(out, of.0);
                put_after(out, after.as_ref());
            }
            Self::Part { of, after, cells, floors, last } => {
                out.push(PART);
                put_varint(out, of.0);
                put_after(out, after.as_ref());
                put_varint(out, cells.len() as u64);
                cells.iter().for_each(|cell| cell.encode(out));
                put_varint(out, floors.len() as u64);
                for (slot, floor) in floors {
                    out.extend_from_slice(&slot.to_le_bytes());
                    put_varint(out, *floor);
                }
                out.push(u8::from(*last));
            }
            Self::NotReady { of } => {
                out.push(NOT_READY);
                put_varint(out, of.0);
            }
            _ => unreachable!("the caller chose"),
        }
    }

    fn encode_sweep(&self, out: &mut Vec<u8>) {
        match self {
            Self::Idle { serial, chosen, cells } => {
                out.push(IDLE);
                put_varint(out, *serial);
                out.push(u8::from(*chosen));
                put_varint(out, cells.len() as u64);
                cells.iter().for_each(|cell| cell.encode(out));
            }
            Self::Stands { serial, promised, stands } => {
                out.push(STANDS);
                put_varint(out, *serial);
                promised.encode(out);
                put_varint(out, stands.len() as u64);
                stands.iter().for_each(|stand| out.push(stand.number()));
            }
            Self::Forget { promised, cells } => {
                out.push(FORGET);
                promised.encode(out);
                put_varint(out, cells.len() as u64);
                for (name, ballot) in cells {
                    put_bytes(out, name);
                    ballot.encode(out);
                }
            }
            _ => unreachable!("the caller chose"),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            PREPARE => Self::Prepare { name: name(reader)?, ballot: ballot(reader)? },
            PROMISE => {
                let (name, ballot) = (name(reader)?, ballot(reader)?);
                Self::Promise { name, ballot, report: Report::decode(reader)? }
            }
            ACCEPT => {
                let (name, ballot) = (name(reader)?, ballot(reader)?);
                Self::Accept { name, ballot, lock: Arc::new(Lock::decode(reader)?) }
            }
            ACCEPTED => Self::Accepted { name: name(reader)?, ballot: ballot(reader)? },
            REFUSED => {
                let (name, ballot, promised) = (name(reader)?, ballot(reader)?, ballot(reader)?);
                Self::Refused { name, ballot, promised }
            }
            READ => Self::Read { name: name(reader)?, serial: reader.varint()? },
            READ_REPLY => {
                let (name, serial) = (name(reader)?, reader.varint()?);
                Self::ReadReply { name, serial, report: Report::decode(reader)? }
            }
            SUBSCRIBE => Self::Subscribe { name: name(reader)? },
            CHANGED => {
                let (name, version) = (name(reader)?, reader.varint()?);
                Self::Changed { name, version, lock: Arc::new(Lock::decode(reader)?) }
            }
            ASK => {
                let (asker, name) = (Asker::decode(reader)?, name(reader)?);
                Self::Ask { asker, name, command: Command::decode(reader)? }
            }
            QUEUED => Self::Queued { asker: Asker::decode(reader)? },
            ANSWER => {
                let (asker, name) = (Asker::decode(reader)?, name(reader)?);
                Self::Answer { asker, name, outcome: Outcome::decode(reader)? }
            }
            CANCEL => Self::Cancel { asker: Asker::decode(reader)?, name: name(reader)? },
            PING => Self::Ping,
            PONG => Self::Pong,
            SCAN => Self::Scan { of: epoch(reader)?, after: after(reader)? },
            PART => Self::decode_part(reader)?,
            NOT_READY => Self::NotReady { of: epoch(reader)? },
            IDLE => {
                let (serial, chosen) = (reader.varint()?, flag(reader)?);
                Self::Idle { serial, chosen, cells: many(reader, LOCK_SWEEP_COUNT_MAX, Idle::decode)? }
            }
            STANDS => {
                let (serial, promised) = (reader.varint()?, Ballot::decode(reader)?);
                Self::Stands { serial, promised, stands: many(reader, LOCK_SWEEP_COUNT_MAX, Stand::decode)? }
            }
            FORGET => {
                let forgotten = |reader: &mut Reader<'_>| Ok((name(reader)?, Ballot::decode(reader)?));
                let promised = Ballot::decode(reader)?;
                Self::Forget { promised, cells: many(reader, LOCK_SWEEP_COUNT_MAX, forgotten)? }
            }
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }

    fn decode_part(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (of, after) = (epoch(reader)?, after(reader)?);
        let cells: Vec<Scanned> = many(reader, SNAPSHOT_PIECE_BYTES_MAX, Scanned::decode)?;
        let rises = cells.windows(2).all(|pair| pair[0].name < pair[1].name);
        let behind = cells.first().is_none_or(|first| after.as_ref().is_none_or(|after| first.name > *after));
        if !rises || !behind {
            return Err(DecodeError::Unknown(0));
        }
        let floors = many(reader, usize::from(SLOT_COUNT), |reader| {
            let slot = reader.u16()?;
            if slot < SLOT_COUNT { Ok((slot, floor(reader)?)) } else { Err(DecodeError::Unknown(u64::from(slot))) }
        })?;
        Ok(Self::Part { of, after, cells, floors, last: flag(reader)? })
    }
}

impl Report {
    fn encode(&self, out: &mut Vec<u8>) {
        self.accepted.encode(out);
        if self.accepted != Ballot::ZERO {
            self.lock.encode(out);
        }
        put_varint(out, self.floor);
        put_varint(out, self.alive.len() as u64);
        for (token, ms) in &self.alive {
            put_varint(out, *token);
            put_varint(out, *ms);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let accepted = Ballot::decode(reader)?;
        let lock = if accepted == Ballot::ZERO { Lock::default() } else { Lock::decode(reader)? };
        let floor = floor(reader)?;
        let alive = many(reader, LOCK_HOLDER_COUNT_MAX, |reader| Ok((reader.varint()?, reader.varint()?)))?;
        Ok(Self { accepted, lock: Arc::new(lock), floor, alive })
    }
}

impl Scanned {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.name);
        self.accepted.encode(out);
        self.lock.encode(out);
        out.push(u8::from(self.idle));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (name, accepted) = (name(reader)?, ballot(reader)?);
        Ok(Self { name, accepted, lock: Arc::new(Lock::decode(reader)?), idle: flag(reader)? })
    }
}

impl Idle {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.name);
        self.accepted.encode(out);
        self.lock.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (name, accepted, lock) = (name(reader)?, Ballot::decode(reader)?, Lock::decode(reader)?);
        if !lock.holders.is_empty() || !lock.line.is_empty() {
            return Err(DecodeError::Unknown(0));
        }
        Ok(Self { name, accepted, lock: Arc::new(lock) })
    }
}

impl Stand {
    fn number(self) -> u8 {
        match self {
            Self::Needs => 0,
            Self::Has => 1,
            Self::Lacks => 2,
            Self::Behind => 3,
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Needs),
            1 => Ok(Self::Has),
            2 => Ok(Self::Lacks),
            3 => Ok(Self::Behind),
            other => Err(DecodeError::Unknown(u64::from(other))),
        }
    }
}

impl Asker {
    fn encode(self, out: &mut Vec<u8>, kind: u8) {
        out.push(kind);
        out.extend_from_slice(&self.node.0.to_le_bytes());
        put_varint(out, self.incarnation);
        put_varint(out, self.number);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { node: NodeId(reader.u64()?), incarnation: reader.varint()?, number: reader.varint()? })
    }
}

fn about(out: &mut Vec<u8>, kind: u8, name: &Bytes, ballot: &Ballot) {
    out.push(kind);
    put_bytes(out, name);
    ballot.encode(out);
}

fn named(out: &mut Vec<u8>, kind: u8, name: &Bytes, number: u64) {
    out.push(kind);
    put_bytes(out, name);
    put_varint(out, number);
}

fn put_after(out: &mut Vec<u8>, after: Option<&Bytes>) {
    put_bytes(out, after.map_or(&[], |name| name));
}

fn after(reader: &mut Reader<'_>) -> Result<Option<Bytes>, DecodeError> {
    Ok(Some(bounded(reader, LOCK_NAME_BYTES_MAX)?).filter(|name| !name.is_empty()))
}

fn name(reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    Some(bounded(reader, LOCK_NAME_BYTES_MAX)?).filter(|name| !name.is_empty()).ok_or(DecodeError::Unknown(0))
}

/// A ballot of a proposal: not the one below all.
fn ballot(reader: &mut Reader<'_>) -> Result<Ballot, DecodeError> {
    let ballot = Ballot::decode(reader)?;
    if ballot.epoch == Epoch(0) || ballot.counter == 0 { Err(DecodeError::Unknown(0)) } else { Ok(ballot) }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DecodeError::Unknown(u64::from(other))),
    }
}
