//! Bitmaps and bit fields, kept in strings. Bit 0 is the highest of byte 0.

mod fields;
mod scan;

use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Changed, Class, Ttl};
use crate::{Context, Keyspace, Refused, Reply};
use base::limits::STRING_BYTES_MAX;

/// The rows of this family; ids 710 to 719.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "setbit",
        id: 710,
        arity: 4,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(setbit),
        summary: "Sets or clears the bit at an offset of a string value.",
        group: "bitmap",
        since: "2.2.0",
    },
    Command {
        name: "getbit",
        id: 711,
        arity: 3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(getbit),
        summary: "Returns the bit at an offset of a string value.",
        group: "bitmap",
        since: "2.2.0",
    },
    Command {
        name: "bitcount",
        id: 712,
        arity: -2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(bitcount),
        summary: "Counts the bits that are set in a string value.",
        group: "bitmap",
        since: "2.6.0",
    },
    Command {
        name: "bitpos",
        id: 713,
        arity: -3,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(bitpos),
        summary: "Finds the first bit that is set, or clear, in a string value.",
        group: "bitmap",
        since: "2.8.7",
    },
    Command {
        name: "bitop",
        id: 714,
        arity: -4,
        flags: "write denyoom",
        keys: Keys::at(2, -1, 1),
        run: Run::Write(bitop),
        summary: "Combines string values bit by bit and stores the result.",
        group: "bitmap",
        since: "2.6.0",
    },
    Command {
        name: "bitfield",
        id: 715,
        arity: -2,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(fields::bitfield),
        summary: "Reads and changes integers of any width in a string value.",
        group: "bitmap",
        since: "3.2.0",
    },
    Command {
        name: "bitfield_ro",
        id: 716,
        arity: -2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(fields::bitfield_ro),
        summary: "Reads integers of any width in a string value.",
        group: "bitmap",
        since: "6.0.0",
    },
];

/// A bit offset; `#n` is the `n`th field of `width` bits where that is given.
fn offset(text: &[u8], width: Option<u32>) -> Result<u64, Refused> {
    let bad = || Refused::Text("ERR bit offset is not an integer or out of range".to_owned());
    let (digits, unit) = match (text.strip_prefix(b"#"), width) {
        (Some(digits), Some(width)) => (digits, i64::from(width)),
        _ => (text, 1),
    };
    let number = integer(digits).map_err(|_| bad())?.checked_mul(unit).ok_or_else(bad)?;
    u64::try_from(number).ok().filter(|bit| bit / 8 < STRING_BYTES_MAX as u64).ok_or_else(bad)
}

/// The byte of a bit, and the bit alone in it.
fn place(bit: u64) -> (usize, u8) {
    let byte = usize::try_from(bit / 8).expect("offsets are below the largest string");
    (byte, 0x80 >> (bit % 8))
}

fn setbit(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (byte, mask) = place(offset(args[2], None)?);
    let on = match args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(Refused::Text("ERR bit is not an integer or out of range".to_owned())),
    };
    let missing = keyspace.string(cx, args[1])?.is_none_or(|bytes| bytes.len() <= byte);
    let was = keyspace.edit_string(cx, args[1], byte + 1, |bytes| {
        let was = bytes[byte] & mask != 0;
        bytes[byte] = if on { bytes[byte] | mask } else { bytes[byte] & !mask };
        (was, Changed::from(was != on))
    })?;
    if missing || was != on {
        keyspace.notify(cx.db, Class::String, "setbit", args[1]);
    }
    Ok(Reply::Int(i64::from(was)))
}

fn getbit(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (byte, mask) = place(offset(args[2], None)?);
    let bytes = keyspace.string(cx, args[1])?.unwrap_or_default();
    Ok(Reply::Int(i64::from(bytes.get(byte).is_some_and(|found| found & mask != 0))))
}

fn bitcount(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    // As in Redis 7.0, the options are looked at only where there is a value.
    let Some(bytes) = keyspace.string(cx, args[1])? else { return Ok(Reply::Int(0)) };
    let range = match args.len() {
        2 => scan::Range::whole(bytes),
        4 | 5 => {
            let (start, end) = (integer(args[2])?, integer(args[3])?);
            if end < 0 && start < 0 && start > end {
                return Ok(Reply::Int(0));
            }
            scan::Range::between(bytes, start, end, scan::Unit::of(args.get(4))?)
        }
        _ => return Err(Refused::Syntax),
    };
    Ok(Reply::Int(range.map_or(0, |range| range.count(bytes))))
}

fn bitpos(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let wanted = match integer(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Refused::Text("ERR The bit argument must be 1 or 0.".to_owned())),
    };
    let Some(bytes) = keyspace.string(cx, args[1])? else { return Ok(Reply::Int(if wanted { -1 } else { 0 })) };
    let range = match args.len() {
        3 => scan::Range::whole(bytes),
        4..=6 => {
            let start = integer(args[3])?;
            let unit = scan::Unit::of(args.get(5))?;
            let end = args.get(4).map_or(Ok(i64::MAX), |end| integer(end))?;
            scan::Range::between(bytes, start, end, unit)
        }
        _ => return Err(Refused::Syntax),
    };
    let Some(range) = range else { return Ok(Reply::Int(-1)) };
    // Without an end the string goes on in zeros, and there is always a clear bit behind it.
    let open = !wanted && args.len() < 5;
    let found = range.find(bytes, wanted).or_else(|| open.then_some(range.end));
    Ok(Reply::Int(found.map_or(-1, |bit| i64::try_from(bit).unwrap_or(i64::MAX))))
}

fn bitop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let join: fn(u8, u8) -> u8 = match args[1].to_ascii_lowercase().as_slice() {
        b"and" => |a, b| a & b,
        b"or" => |a, b| a | b,
        b"xor" => |a, b| a ^ b,
        b"not" if args.len() != 4 => {
            return Err(Refused::Text("ERR BITOP NOT must be called with a single source key.".to_owned()));
        }
        b"not" => |a, _| !a,
        _ => return Err(Refused::Syntax),
    };
    let mut longest = 0;
    for key in &args[3..] {
        longest = keyspace.string(cx, key)?.map_or(0, <[u8]>::len).max(longest);
    }
    let source = |key: &[u8]| keyspace.string(cx, key).ok().flatten().unwrap_or_default();
    let mut result = source(args[3]).to_vec();
    result.resize(longest, 0);
    if args.len() == 4 && join(0, 0) != 0 {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for key in &args[4..] {
        let other = source(key);
        let (both, behind) = result.split_at_mut(other.len());
        both.iter_mut().zip(other).for_each(|(byte, other)| *byte = join(*byte, *other));
        behind.iter_mut().for_each(|byte| *byte = join(*byte, 0));
    }
    if longest > 0 {
        keyspace.set_owned(cx, args[2], result, Ttl::Clear);
        keyspace.notify(cx.db, Class::String, "set", args[2]);
    } else if keyspace.remove(cx, args[2]) {
        keyspace.notify(cx.db, Class::Generic, "del", args[2]);
    }
    Ok(Reply::count(longest))
}
