//! Replies and commands as bytes, for their way between nodes; FORMAT.md draws them.
//!
//! A refusal travels as its text: whoever asked a remote shard learns what happened, not by which rule.

use crate::command::{self, Command};
use crate::{Blob, Refused, Reply, Watched};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{ARGS_COUNT_MAX, DATABASE_COUNT};
use base::{ShardId, Stamp};
use bytes::Bytes;

const OK: u8 = 1;
const SIMPLE: u8 = 2;
const NIL: u8 = 3;
const NIL_ARRAY: u8 = 4;
const INT: u8 = 5;
const DOUBLE: u8 = 6;
const BOOL: u8 = 7;
const BULK: u8 = 8;
const VERBATIM: u8 = 9;
const ARRAY: u8 = 10;
const SET: u8 = 11;
const MAP: u8 = 12;
const ERROR: u8 = 13;
const WATCHED: u8 = 14;
const PAIRS: u8 = 15;
const COUPLES: u8 = 16;
const FORMATTED: u8 = 17;
const DECIMAL: u8 = 18;
const BIG_NUMBER: u8 = 19;

/// Lists in lists, and no deeper: what commands answer is flatter, and scripts may not answer more.
pub const DEPTH_MAX: u32 = 64;

/// Simple strings that commands about keys answer.
const SIMPLE_TEXTS: [&str; 8] = ["none", "string", "list", "set", "zset", "hash", "stream", "PONG"];

impl Reply {
    /// Appends the reply to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ok => out.push(OK),
            Self::Simple(text) => tagged(out, SIMPLE, text.as_bytes()),
            Self::Status(text) => tagged(out, SIMPLE, text),
            Self::BigNumber(digits) => tagged(out, BIG_NUMBER, digits),
            Self::Formatted(format, text) => {
                out.push(FORMATTED);
                out.extend_from_slice(format);
                put_bytes(out, text);
            }
            Self::Kept => unreachable!("the lane has put the answer in its place"),
            Self::Nil => out.push(NIL),
            Self::NilArray => out.push(NIL_ARRAY),
            Self::Int(n) => {
                out.push(INT);
                out.extend_from_slice(&n.to_le_bytes());
            }
            Self::Double(value) | Self::Decimal(value) => {
                out.push(if matches!(self, Self::Double(_)) { DOUBLE } else { DECIMAL });
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            Self::Bool(value) => out.extend_from_slice(&[BOOL, u8::from(*value)]),
            Self::Bulk(blob) => tagged(out, BULK, blob.as_bytes()),
            Self::Verbatim(text) => tagged(out, VERBATIM, text.as_bytes()),
            Self::Array(items) => list(out, ARRAY, items),
            Self::Strings(strings) => {
                out.push(ARRAY);
                put_varint(out, strings.len() as u64);
                strings.iter().for_each(|string| tagged(out, BULK, string));
            }
            Self::Set(items) => list(out, SET, items),
            Self::Map(pairs) => put_pairs(out, MAP, pairs),
            Self::Couples(pairs) => put_pairs(out, COUPLES, pairs),
            Self::Pairs(pairs) => put_pairs(out, PAIRS, pairs),
            Self::Error(refused) => tagged(out, ERROR, refused.to_string().as_bytes()),
            Self::Watched(watched) => {
                out.push(WATCHED);
                put_watched(out, watched);
            }
        }
    }

    /// Takes a reply off the front of `reader`, which reads in `frame`: large strings share its bytes.
    pub fn decode(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        decode(reader, frame, DEPTH_MAX)
    }
}

fn decode(reader: &mut Reader<'_>, frame: &Bytes, depth: u32) -> Result<Reply, DecodeError> {
    let deeper = depth.checked_sub(1).ok_or(DecodeError::Overlong);
    Ok(match reader.u8()? {
        OK => Reply::Ok,
        SIMPLE => {
            let text = reader.bytes()?;
            let known = SIMPLE_TEXTS.into_iter().find(|known| known.as_bytes() == text);
            known.map_or_else(|| Reply::Status(text.into()), Reply::Simple)
        }
        NIL => Reply::Nil,
        NIL_ARRAY => Reply::NilArray,
        INT => Reply::Int(reader.u64()?.cast_signed()),
        DOUBLE => Reply::Double(f64::from_bits(reader.u64()?)),
        DECIMAL => Reply::Decimal(f64::from_bits(reader.u64()?)),
        BOOL => Reply::Bool(reader.u8()? != 0),
        BULK => {
            let bytes = reader.bytes()?;
            let small = bytes.len() <= crate::reply::INLINE_BYTES;
            Reply::Bulk(if small { Blob::from(bytes) } else { Blob::Shared(frame.slice_ref(bytes)) })
        }
        VERBATIM => Reply::Verbatim(text(reader)?),
        ARRAY => Reply::Array(items(reader, frame, deeper?)?),
        SET => Reply::Set(items(reader, frame, deeper?)?),
        MAP => Reply::Map(pairs(reader, frame, deeper?)?),
        COUPLES => Reply::Couples(pairs(reader, frame, deeper?)?),
        PAIRS => Reply::Pairs(pairs(reader, frame, deeper?)?),
        ERROR => Reply::Error(Refused::Text(text(reader)?)),
        WATCHED => Reply::Watched(watched(reader)?),
        BIG_NUMBER => Reply::BigNumber(reader.bytes()?.into()),
        FORMATTED => Reply::Formatted(reader.array()?, reader.bytes()?.into()),
        other => return Err(DecodeError::Unknown(u64::from(other))),
    })
}

/// Appends `count`, then each watched key's shard, bucket, revision and death.
pub fn put_watched(out: &mut Vec<u8>, watched: &[Watched]) {
    put_varint(out, watched.len() as u64);
    for one in watched {
        put_varint(out, u64::from(one.shard.0));
        put_varint(out, u64::from(one.bucket));
        put_varint(out, one.revision);
        put_varint(out, one.dies_at.map_or(0, |at| at.0.saturating_add(1)));
    }
}

/// What [`put_watched`] wrote.
pub fn watched(reader: &mut Reader<'_>) -> Result<Vec<Watched>, DecodeError> {
    let count = reader.varint()?;
    let mut out = Vec::new();
    for _ in 0..count {
        out.push(Watched {
            shard: ShardId(u16::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?),
            bucket: u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?,
            revision: reader.varint()?,
            dies_at: reader.varint()?.checked_sub(1).map(Stamp),
        });
    }
    Ok(out)
}

/// Appends a command: database, id, arguments.
pub fn put_command(out: &mut Vec<u8>, db: u8, command: &Command, args: &[Vec<u8>]) {
    out.push(db);
    put_varint(out, u64::from(command.id));
    put_varint(out, args.len() as u64);
    args.iter().for_each(|arg| put_bytes(out, arg));
}

/// What [`put_command`] wrote, if the command exists and takes so many arguments.
pub fn read_command(reader: &mut Reader<'_>) -> Result<(u8, &'static Command, Vec<Vec<u8>>), DecodeError> {
    let (db, id, count) = (reader.u8()?, reader.varint()?, reader.len()?);
    let command = command::by_id(id).ok_or(DecodeError::Unknown(id))?;
    if db >= DATABASE_COUNT || count > ARGS_COUNT_MAX || !command.accepts(count) {
        return Err(DecodeError::Unknown(count as u64));
    }
    let mut args = Vec::new();
    for _ in 0..count {
        args.push(reader.bytes()?.to_vec());
    }
    Ok((db, command, args))
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_bytes(out, bytes);
}

fn list(out: &mut Vec<u8>, tag: u8, items: &[Reply]) {
    out.push(tag);
    put_varint(out, items.len() as u64);
    items.iter().for_each(|item| item.encode(out));
}

fn put_pairs(out: &mut Vec<u8>, tag: u8, pairs: &[(Reply, Reply)]) {
    out.push(tag);
    put_varint(out, pairs.len() as u64);
    for (key, value) in pairs {
        key.encode(out);
        value.encode(out);
    }
}

fn pairs(reader: &mut Reader<'_>, frame: &Bytes, depth: u32) -> Result<Vec<(Reply, Reply)>, DecodeError> {
    let count = reader.varint()?;
    let mut out = Vec::new();
    for _ in 0..count {
        out.push((decode(reader, frame, depth)?, decode(reader, frame, depth)?));
    }
    Ok(out)
}

fn items(reader: &mut Reader<'_>, frame: &Bytes, depth: u32) -> Result<Vec<Reply>, DecodeError> {
    let count = reader.varint()?;
    let mut out = Vec::new();
    for _ in 0..count {
        out.push(decode(reader, frame, depth)?);
    }
    Ok(out)
}

fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    Ok(String::from_utf8_lossy(reader.bytes()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Reply {
        let watched = Watched { shard: ShardId(3), bucket: 9, revision: 1 << 40, dies_at: Some(Stamp(7)) };
        Reply::Array(vec![
            Reply::Ok,
            Reply::Simple("none"),
            Reply::Status(b"by a script".as_slice().into()),
            Reply::BigNumber(b"-1234567890123456789012".as_slice().into()),
            Reply::Formatted(*b"mkd", b"# text".as_slice().into()),
            Reply::Nil,
            Reply::NilArray,
            Reply::Int(i64::MIN),
            Reply::Double(-1.5),
            Reply::Decimal(2.25),
            Reply::Bool(true),
            Reply::bulk(b"small"),
            Reply::Bulk(Blob::Shared(Bytes::from(vec![7; 1000]))),
            Reply::Verbatim("text".to_owned()),
            Reply::Set(vec![Reply::Int(1)]),
            Reply::Map(vec![(Reply::Int(1), Reply::Nil)]),
            Reply::Couples(vec![(Reply::Int(1), Reply::Nil)]),
            Reply::Pairs(vec![(Reply::Int(1), Reply::Nil)]),
            Reply::Error(Refused::Text("ERR why".to_owned())),
            Reply::Watched(vec![watched]),
        ])
    }

    #[test]
    fn what_is_sent_is_what_arrives_and_a_cut_is_noticed() {
        let mut bytes = Vec::new();
        all().encode(&mut bytes);
        let frame = Bytes::from(bytes);
        let mut reader = Reader::new(&frame);
        assert_eq!(Reply::decode(&mut reader, &frame), Ok(all()));
        assert!(reader.is_empty());
        for cut in 0..frame.len() {
            let frame = frame.slice(..cut);
            assert!(Reply::decode(&mut Reader::new(&frame), &frame).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn lists_in_lists_end() {
        let bytes = [&[ARRAY, 1].repeat(1000)[..], &[NIL]].concat();
        let frame = Bytes::from(bytes);
        assert_eq!(Reply::decode(&mut Reader::new(&frame), &frame), Err(DecodeError::Overlong));
    }
}
