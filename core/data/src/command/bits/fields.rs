//! BITFIELD: integers of 1 to 64 bits at any bit of a string.

use super::offset;
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::keyspace::{Changed, Class};
use crate::{Context, Keyspace, Refused, Reply};

/// The kind of an integer: `i` and 1 to 64 bits, or `u` and 1 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    signed: bool,
    bits: u32,
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// What an operation put in place of what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrote {
    Nothing,
    Same,
    Other,
}

/// One operation of a command.
#[derive(Clone, Copy, Debug)]
struct Step {
    act: Act,
    kind: Kind,
    at: u64,
}

pub(super) fn bitfield(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let steps = parse(&args[2..])?;
    let written = steps.iter().filter(|step| !matches!(step.act, Act::Get));
    let Some(end) = written.map(|step| step.at + u64::from(step.kind.bits)).max() else {
        return read(keyspace, cx, args[1], &steps);
    };
    let bytes_min = usize::try_from(end.div_ceil(8)).expect("offsets are below the largest string");
    let grows = keyspace.string(cx, args[1])?.is_none_or(|bytes| bytes.len() < bytes_min);
    let (replies, changed) = keyspace.edit_string(cx, args[1], bytes_min, |bytes| {
        let mut changed = false;
        let run = |step: &Step| {
            let (reply, wrote) = step.run(bytes);
            changed |= wrote == Wrote::Other || grows && wrote == Wrote::Same;
            reply
        };
        let replies = steps.iter().map(run).collect();
        ((replies, changed), Changed::from(changed))
    })?;
    if changed {
        keyspace.notify(cx.db, Class::String, "setbit", args[1]);
    }
    Ok(Reply::Array(replies))
}

pub(super) fn bitfield_ro(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let steps = parse(&args[2..])?;
    if steps.iter().any(|step| !matches!(step.act, Act::Get)) {
        return Err(Refused::Text("ERR BITFIELD_RO only supports the GET subcommand".to_owned()));
    }
    read(keyspace, cx, args[1], &steps)
}

fn read(keyspace: &Keyspace, cx: &Context, key: &[u8], steps: &[Step]) -> Outcome {
    let bytes = keyspace.string(cx, key)?.unwrap_or_default();
    Ok(Reply::Array(steps.iter().map(|step| step.kind.shown(load(bytes, step.at, step.kind.bits))).collect()))
}

fn parse(mut rest: &[&[u8]]) -> Result<Vec<Step>, Refused> {
    let (mut steps, mut overflow) = (Vec::new(), Overflow::Wrap);
    while let Some(word) = rest.first() {
        let word = word.to_ascii_lowercase();
        let used = match (word.as_slice(), rest.len()) {
            (b"get", 3..) => 3,
            (b"set" | b"incrby", 4..) => 4,
            (b"overflow", 2..) => 2,
            _ => return Err(Refused::Syntax),
        };
        if used == 2 {
            overflow = Overflow::of(rest[1])?;
        } else {
            let kind = Kind::of(rest[1])?;
            let at = offset(rest[2], Some(kind.bits))?;
            let act = match word.as_slice() {
                b"get" => Act::Get,
                b"set" => Act::Set(integer(rest[3])?, overflow),
                _ => Act::Add(integer(rest[3])?, overflow),
            };
            steps.push(Step { act, kind, at });
        }
        rest = &rest[used..];
    }
    Ok(steps)
}

impl Overflow {
    fn of(word: &[u8]) -> Result<Self, Refused> {
        match word.to_ascii_lowercase().as_slice() {
            b"wrap" => Ok(Self::Wrap),
            b"sat" => Ok(Self::Saturate),
            b"fail" => Ok(Self::Fail),
            _ => Err(Refused::Text("ERR Invalid OVERFLOW type specified".to_owned())),
        }
    }
}

impl Kind {
    fn of(word: &[u8]) -> Result<Self, Refused> {
        let parsed = word.split_first().and_then(|(sign, digits)| {
            let bits = u32::try_from(integer(digits).ok()?).ok()?;
            match sign {
                b'i' if (1..=64).contains(&bits) => Some(Self { signed: true, bits }),
                b'u' if (1..=63).contains(&bits) => Some(Self { signed: false, bits }),
                _ => None,
            }
        });
        let why = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        parsed.ok_or_else(|| Refused::Text(why.to_owned()))
    }

    /// The least and the largest number.
    fn ends(self) -> (i128, i128) {
        if self.signed { (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) } else { (0, (1 << self.bits) - 1) }
    }

    /// The number that these bits are.
    fn number(self, raw: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { (raw << unused).cast_signed() >> unused } else { raw.cast_signed() }
    }

    fn shown(self, raw: u64) -> Reply {
        Reply::Int(self.number(raw))
    }

    /// The bits of a number, if it has a place here.
    fn fit(self, number: i128, overflow: Overflow) -> Option<u64> {
        let (least, most) = self.ends();
        let fitted = match overflow {
            _ if (least..=most).contains(&number) => number,
            Overflow::Wrap => number,
            Overflow::Saturate => number.clamp(least, most),
            Overflow::Fail => return None,
        };
        let low = fitted & ((1 << self.bits) - 1);
        Some(u64::try_from(low).expect("64 bits were cut"))
    }
}

impl Step {
    fn run(&self, bytes: &mut [u8]) -> (Reply, Wrote) {
        let Self { act, kind, at } = *self;
        let old = load(bytes, at, kind.bits);
        let (new, sets) = match act {
            Act::Get => return (kind.shown(old), Wrote::Nothing),
            // A number for an unsigned field counts as its 64 bits.
            Act::Set(number, overflow) if !kind.signed => {
                (kind.fit(i128::from(number.cast_unsigned()), overflow), true)
            }
            Act::Set(number, overflow) => (kind.fit(i128::from(number), overflow), true),
            Act::Add(by, overflow) => (kind.fit(i128::from(kind.number(old)) + i128::from(by), overflow), false),
        };
        let Some(new) = new else { return (Reply::Nil, Wrote::Nothing) };
        store(bytes, at, kind.bits, new);
        (kind.shown(if sets { old } else { new }), if new == old { Wrote::Same } else { Wrote::Other })
    }
}

/// The bytes that a field of `bits` bits at bit `at` touches, and how many of their lowest bits are behind it.
fn span(at: u64, bits: u32) -> (usize, usize, u32) {
    let end = at + u64::from(bits);
    let place = |byte: u64| usize::try_from(byte).expect("offsets are below the largest string");
    (place(at / 8), place(end.div_ceil(8)), u32::try_from(end.div_ceil(8) * 8 - end).expect("less than a byte"))
}

/// The bits of a field; what is behind the string's end is zero.
fn load(bytes: &[u8], at: u64, bits: u32) -> u64 {
    let (first, end, behind) = span(at, bits);
    let whole = (first..end).fold(0, |sum: u128, byte| sum << 8 | u128::from(bytes.get(byte).copied().unwrap_or(0)));
    u64::try_from(whole >> behind & ((1 << bits) - 1)).expect("at most 64 bits")
}

/// Puts the bits of a field that lies in the string.
fn store(bytes: &mut [u8], at: u64, bits: u32, value: u64) {
    let (first, end, behind) = span(at, bits);
    let mask = ((1_u128 << bits) - 1) << behind;
    let value = u128::from(value) << behind;
    for (byte, shift) in bytes[first..end].iter_mut().rev().zip((0..).step_by(8)) {
        let cut = |from: u128| (from >> shift).to_le_bytes()[0];
        *byte = *byte & !cut(mask) | cut(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_put_and_touch_nothing_else() {
        let mut rng = base::rng::Rng::new(3);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..20).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
            let bits = u32::try_from(1 + rng.below(64)).expect("small");
            let at = rng.below(160 - u64::from(bits));
            let value = rng.next_u64() >> (64 - bits);
            let before = bytes.clone();
            store(&mut bytes, at, bits, value);
            assert_eq!(load(&bytes, at, bits), value);
            let other = rng.below(160);
            if !(at..at + u64::from(bits)).contains(&other) {
                assert_eq!(load(&bytes, other, 1), load(&before, other, 1));
            }
        }
        assert_eq!(load(&[0xff], 4, 8), 0xf0);
        assert_eq!(load(&[], 1000, 64), 0);
    }

    #[test]
    fn numbers_that_do_not_fit_wrap_saturate_or_fail() {
        let signed = Kind { signed: true, bits: 8 };
        let unsigned = Kind { signed: false, bits: 8 };
        for (kind, number, wrapped, saturated) in [
            (signed, 127, 127, 127),
            (signed, 128, -128, 127),
            (signed, -129, 127, -128),
            (unsigned, 256, 0, 255),
            (unsigned, -1, 255, 0),
        ] {
            let shown = |overflow| kind.fit(number, overflow).map(|raw| kind.number(raw));
            assert_eq!(shown(Overflow::Wrap), Some(wrapped));
            assert_eq!(shown(Overflow::Saturate), Some(saturated));
            let fits = number == i128::from(wrapped);
            assert_eq!(shown(Overflow::Fail), fits.then_some(wrapped));
        }
        let wide = Kind { signed: true, bits: 64 };
        assert_eq!(wide.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(1 << 63));
        assert_eq!(wide.number(u64::MAX), -1);
    }
}
