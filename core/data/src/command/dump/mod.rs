//! DUMP and RESTORE: a value as one string, in the format of Redis' own files, version 10.
//!
//! ```text
//! [type u8][value][version u16 le][crc64 u64 le of all before it]
//! ```
//!
//! What DUMP gives, Redis 7 restores; RESTORE takes what any Redis up to 7.0 has dumped, in every encoding that one of them
//! has used. The bytes come from clients: every length is checked against what is there, every order and every invariant
//! that a value here relies on, and nothing is allocated for what a length merely promises.

mod crc;
mod listpack;
mod load;
mod lzf;
mod old;
mod save;
mod source;
mod streams;
#[cfg(test)]
mod tests;

use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Ttl, Value};
use crate::{Blob, Context, Keyspace, Refused, Reply};
use base::Stamp;
use load::Restored;
use source::Source;

/// The rows of this family; ids 735 to 739.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "dump",
        id: 735,
        arity: 2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(dump),
        summary: "Returns the value of a key as one string, for RESTORE.",
        group: "generic",
        since: "2.6.0",
    },
    Command {
        name: "restore",
        id: 736,
        arity: -4,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(restore),
        summary: "Makes a key of what DUMP has returned.",
        group: "generic",
        since: "2.6.0",
    },
    Command {
        name: "restore-asking",
        id: 737,
        arity: -4,
        flags: "write denyoom asking",
        keys: Keys::ONE,
        run: Run::Write(restore),
        summary: "Makes a key of what DUMP has returned, where the key is on its way.",
        group: "server",
        since: "3.0.0",
    },
];

/// The version of the format: that of Redis 7.0.
const VERSION: u16 = 10;
const FOOTER_BYTES: usize = 10;

/// What RESTORE may be told besides the value.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

/// A payload with its version and checksum.
#[must_use]
pub fn sealed(mut payload: Vec<u8>) -> Vec<u8> {
    payload.extend_from_slice(&VERSION.to_le_bytes());
    let sum = crc::crc64(&payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// What is sealed, if it is whole and of a version that is known.
fn unsealed(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_BYTES)?)?;
    let (version, sum) = footer.split_first_chunk::<2>()?;
    let summed = &payload[..payload.len() - sum.len()];
    (u16::from_le_bytes(*version) <= VERSION && *sum == crc::crc64(summed).to_le_bytes()).then_some(body)
}

/// How long the payload of a value is, its type and its footer not counted.
pub(super) fn size(value: Value<'_>) -> usize {
    save::value(value).len() - 1
}

fn dump(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(live) = keyspace.get(cx, args[1]) else { return Ok(Reply::Nil) };
    let payload = sealed(save::value(live.value));
    Ok(Reply::Bulk(Blob::Shared(payload.into())))
}

fn restore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let options = Options::parse(&args[4..])?;
    let taken = keyspace.contains(cx, args[1]);
    if taken && !options.replace {
        return Err(Refused::Text("BUSYKEY Target key name already exists.".to_owned()));
    }
    let ttl = u64::try_from(integer(args[2])?)
        .map_err(|_| Refused::Text("ERR Invalid TTL value, must be >= 0".to_owned()))?;
    let payload =
        unsealed(args[3]).ok_or_else(|| Refused::Text("ERR DUMP payload version or checksum are wrong".to_owned()))?;
    let value = load::value(Source::new(payload), keyspace.index_seed())
        .map_err(|_| Refused::Text("ERR Bad data format".to_owned()))?;
    let dies_at = match ttl {
        0 => None,
        _ if options.absolute => Some(ttl),
        // What would be beyond the end of time has passed, as in Redis.
        _ => Some(cx.stamp.0.checked_add(ttl).filter(|at| i64::try_from(*at).is_ok()).unwrap_or(0)),
    };
    if dies_at.is_some_and(|at| at <= cx.stamp.0) {
        if taken {
            keyspace.remove(cx, args[1]);
            keyspace.notify(cx.db, Class::Generic, "del", args[1]);
        }
        return Ok(Reply::Ok);
    }
    let ttl = dies_at.map_or(Ttl::Clear, |at| Ttl::At(Stamp(at)));
    match value {
        Restored::String(bytes) => keyspace.set_owned(cx, args[1], bytes, ttl),
        Restored::Object(object) => keyspace.set_object(cx, args[1], object, ttl),
    }
    keyspace.notify(cx.db, Class::Generic, "restore", args[1]);
    Ok(Reply::Ok)
}

impl Options {
    /// How long a key was idle, or how often it was read, is checked and then forgotten: nothing here depends on it.
    fn parse(mut rest: &[&[u8]]) -> Result<Self, Refused> {
        let (mut options, mut idle, mut often) = (Self::default(), false, false);
        let text = |text: &str| Err(Refused::Text(text.to_owned()));
        while let Some(word) = rest.first() {
            let mut used = 1;
            match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
                (b"replace", _) => options.replace = true,
                (b"absttl", _) => options.absolute = true,
                (b"idletime", Some(number)) if !often => {
                    if integer(number)? < 0 {
                        return text("ERR Invalid IDLETIME value, must be >= 0");
                    }
                    (idle, used) = (true, 2);
                }
                (b"freq", Some(number)) if !idle => {
                    if !(0..=255).contains(&integer(number)?) {
                        return text("ERR Invalid FREQ value, must be >= 0 and <= 255");
                    }
                    (often, used) = (true, 2);
                }
                _ => return Err(Refused::Syntax),
            }
            rest = &rest[used..];
        }
        Ok(options)
    }
}
