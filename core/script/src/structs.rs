//! `struct` and `bit`, as Redis 7.0.15 has them: bytes in a layout, and bits of 32-bit integers.

use crate::errors::{argument, text};
use crate::guard::Guard;
use crate::natives::{Native, integer, lua_room, must, one, string};
use crate::number::{double, truncated};
use mlua::{Lua, MultiValue, Result, Value};

/// The largest integer in bytes, and the widest alignment that is taken without a number.
const INT_BYTES_MAX: usize = 32;
const ALIGN_DEFAULT: usize = 8;

/// Adds `pack`, `unpack` and `size`.
pub(crate) fn register_struct(native: &Native<'_>) -> Result<()> {
    native.add("pack", pack)?;
    native.add("unpack", unpack)?;
    native.add("size", size)
}

/// One item of a layout.
struct Item {
    option: u8,
    bytes: usize,
    /// Bytes to skip before it.
    skip: usize,
}

/// Walks over a layout.
struct Layout<'a> {
    format: &'a [u8],
    at: usize,
    big: bool,
    align: usize,
}

impl<'a> Layout<'a> {
    fn new(format: &'a [u8]) -> Self {
        Self { format, at: 0, big: false, align: 1 }
    }

    /// The next item; `len` bytes were laid before it.
    fn next(&mut self, lua: &Lua, len: usize) -> Result<Option<Item>> {
        while let Some(option) = self.format.get(self.at).copied() {
            self.at += 1;
            let bytes = match option {
                b'B' | b'b' | b'x' => 1,
                b'H' | b'h' => 2,
                b'f' => 4,
                b'L' | b'l' | b'T' | b'd' => 8,
                b's' => 0,
                b'c' => self.number(lua, 1)?,
                b'i' | b'I' => {
                    let bytes = self.number(lua, 4)?;
                    if bytes > INT_BYTES_MAX {
                        let why = format!("integral size {bytes} is larger than limit of {INT_BYTES_MAX}");
                        return Err(text(lua, why));
                    }
                    bytes
                }
                control => {
                    self.control(lua, control)?;
                    continue;
                }
            };
            let to = if bytes == 0 || option == b'c' { 1 } else { bytes.min(self.align) };
            let skip = (to - (len & (to - 1))) & (to - 1);
            return Ok(Some(Item { option, bytes, skip }));
        }
        Ok(None)
    }

    fn control(&mut self, lua: &Lua, option: u8) -> Result<()> {
        match option {
            b' ' => {}
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let align = self.number(lua, ALIGN_DEFAULT)?;
                if !align.is_power_of_two() {
                    return Err(text(lua, format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => {
                return Err(argument(lua, 1, "pack", format_args!("invalid format option '{}'", char::from(other))));
            }
        }
        Ok(())
    }

    fn number(&mut self, lua: &Lua, default: usize) -> Result<usize> {
        let digits = self.format[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let spelled = std::str::from_utf8(&self.format[self.at..self.at + digits]).unwrap_or_default();
        self.at += digits;
        let small = spelled.parse::<i32>().ok().and_then(|n| usize::try_from(n).ok());
        small.ok_or_else(|| text(lua, "integral size overflow"))
    }
}

fn pack(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let format = string(lua, &args, 1, "pack")?;
    let format = format.as_bytes();
    let (mut layout, mut out, mut at, room) = (Layout::new(&format), Vec::new(), 2, lua_room(lua));
    while let Some(Item { option, bytes, skip }) = layout.next(lua, out.len())? {
        guard.spend(1 + bytes as u64 / 256)?;
        if out.len() + skip + bytes > room {
            return Err(mlua::Error::MemoryError("not enough memory".to_owned()));
        }
        out.resize(out.len() + skip, 0);
        if option == b'x' {
            out.push(0);
            continue;
        }
        match option {
            b'f' => {
                let value = single(must(lua, &args, at, "pack")?);
                out.extend_from_slice(&if layout.big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            b'd' => {
                let value = must(lua, &args, at, "pack")?;
                out.extend_from_slice(&if layout.big { value.to_be_bytes() } else { value.to_le_bytes() });
            }
            b'c' | b's' => {
                let value = string(lua, &args, at, "pack")?;
                let value = value.as_bytes();
                let wanted = if bytes == 0 { value.len() } else { bytes };
                let piece = value.get(..wanted).ok_or_else(|| argument(lua, at + 1, "pack", "string too short"))?;
                out.extend_from_slice(piece);
                if option == b's' {
                    out.push(0);
                }
            }
            _ => put_integer(&mut out, must(lua, &args, at, "pack")?, bytes, layout.big),
        }
        at += 1;
    }
    Ok(one(Value::String(lua.create_string(out)?)))
}

#[expect(clippy::cast_possible_truncation, reason = "a float of four bytes was asked for")]
fn single(value: f64) -> f32 {
    value as f32
}

fn put_integer(out: &mut Vec<u8>, value: f64, bytes: usize, big: bool) {
    let value = if value < 0.0 { truncated(value).cast_unsigned() } else { unsigned(value) };
    let from = out.len();
    out.extend((0..bytes).map(|at| value.to_le_bytes().get(at).copied().unwrap_or(0)));
    if big {
        out[from..].reverse();
    }
}

/// As C converts a double that is not negative to 64 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was looked at")]
fn unsigned(value: f64) -> u64 {
    if value < 18_446_744_073_709_551_616.0 { value as u64 } else { 0 }
}

fn unpack(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let (format, data) = (string(lua, &args, 1, "unpack")?, string(lua, &args, 2, "unpack")?);
    let (format, data) = (format.as_bytes(), data.as_bytes());
    let from = integer(lua, &args, 3, "unpack")?.unwrap_or(1);
    drop(args);
    let outside = || argument(lua, 3, "unpack", "offset must be 1 or greater");
    let short = || argument(lua, 2, "unpack", "data string too short");
    let mut at = match from {
        0 => return Err(outside()),
        // In C, what is below wraps around to far behind the end.
        from => usize::try_from(from - 1).map_err(|_| short())?,
    };
    let (mut layout, mut values) = (Layout::new(&format), MultiValue::new());
    while let Some(Item { option, bytes, skip }) = layout.next(lua, at)? {
        guard.spend(1)?;
        at += skip;
        let piece = at.checked_add(bytes).and_then(|end| data.get(at..end)).ok_or_else(short)?;
        if values.len() == VALUES_MAX {
            return Err(text(lua, "too many results to unpack"));
        }
        let mut used = bytes;
        let value = match option {
            b'x' => {
                at += 1;
                continue;
            }
            b'f' => Value::Number(f64::from(f32::from_bits(four(piece, layout.big)))),
            b'd' => Value::Number(f64::from_bits(whole(piece, layout.big))),
            b'c' => {
                let bytes = if bytes == 0 { length(lua, &mut values)? } else { bytes };
                used = bytes;
                let piece = at.checked_add(bytes).and_then(|end| data.get(at..end)).ok_or_else(short)?;
                Value::String(lua.create_string(piece)?)
            }
            b's' => {
                let end = data[at..].iter().position(|byte| *byte == 0);
                let len = end.ok_or_else(|| text(lua, "unfinished string in data"))?;
                used = len + 1;
                Value::String(lua.create_string(&data[at..at + len])?)
            }
            _ => Value::Number(get_integer(piece, layout.big, option.is_ascii_lowercase())),
        };
        values.push_back(value);
        at += used;
    }
    values.push_back(Value::Number(double(i64::try_from(at + 1).unwrap_or(i64::MAX))));
    Ok(values)
}

const VALUES_MAX: usize = 4_000;

/// The length of `c0` is the value before it.
fn length(lua: &Lua, values: &mut MultiValue) -> Result<usize> {
    let wanted = match values.pop_back() {
        // In C, what is below zero is far beyond the end.
        Some(Value::Number(n)) if n <= -1.0 => Some(usize::MAX),
        Some(Value::Number(n)) => usize::try_from(unsigned(n)).ok(),
        _ => None,
    };
    wanted.ok_or_else(|| text(lua, "format 'c0' needs a previous size"))
}

fn whole(piece: &[u8], big: bool) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(least_first(piece, big)) {
        *to = from;
    }
    u64::from_le_bytes(bytes)
}

fn four(piece: &[u8], big: bool) -> u32 {
    let [a, b, c, d, ..] = whole(piece, big).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn least_first(piece: &[u8], big: bool) -> impl Iterator<Item = u8> {
    let len = piece.len();
    (0..len).map(move |at| if big { piece[len - 1 - at] } else { piece[at] })
}

#[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
fn get_integer(piece: &[u8], big: bool, signed: bool) -> f64 {
    let value = whole(piece, big);
    let bits = u32::try_from(piece.len().min(8) * 8).unwrap_or(64);
    if !signed || bits == 0 {
        return value as f64;
    }
    let unused = 64 - bits;
    double((value << unused).cast_signed() >> unused)
}

fn size(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let format = string(lua, &args, 1, "size")?;
    let format = format.as_bytes();
    let (mut layout, mut len) = (Layout::new(&format), 0_usize);
    while let Some(Item { option, bytes, skip }) = layout.next(lua, len)? {
        guard.spend(1)?;
        match option {
            b's' => return Err(argument(lua, 1, "size", "option 's' has no fixed size")),
            b'c' if bytes == 0 => return Err(argument(lua, 1, "size", "option 'c0' has no fixed size")),
            _ => len = len.saturating_add(skip).saturating_add(bytes),
        }
    }
    Ok(one(Value::Number(double(i64::try_from(len).unwrap_or(i64::MAX)))))
}

/// Adds the functions of `bit`.
pub(crate) fn register_bit(native: &Native<'_>) -> Result<()> {
    let unary = |name: &'static str, of: fn(u32) -> u32| {
        native.add(name, move |lua, _, args| Ok(word(of(bits(must(lua, &args, 1, name)?)))))
    };
    unary("tobit", |a| a)?;
    unary("bnot", |a| !a)?;
    unary("bswap", u32::swap_bytes)?;
    let many = |name: &'static str, with: fn(u32, u32) -> u32| {
        native.add(name, move |lua, _, args| {
            let mut sum = bits(must(lua, &args, 1, name)?);
            for at in 2..=args.len() {
                sum = with(sum, bits(must(lua, &args, at, name)?));
            }
            Ok(word(sum))
        })
    };
    many("band", |a, b| a & b)?;
    many("bor", |a, b| a | b)?;
    many("bxor", |a, b| a ^ b)?;
    let shift = |name: &'static str, by: fn(u32, u32) -> u32| {
        native.add(name, move |lua, _, args| {
            let (value, count) = (bits(must(lua, &args, 1, name)?), bits(must(lua, &args, 2, name)?));
            Ok(word(by(value, count & 31)))
        })
    };
    shift("lshift", |a, n| a << n)?;
    shift("rshift", |a, n| a >> n)?;
    shift("arshift", |a, n| (a.cast_signed() >> n).cast_unsigned())?;
    shift("rol", u32::rotate_left)?;
    shift("ror", u32::rotate_right)?;
    native.add("tohex", |lua, _, args| {
        let value = bits(must(lua, &args, 1, "tohex")?);
        let digits = match args.get(1) {
            None => 8,
            Some(_) => bits(must(lua, &args, 2, "tohex")?).cast_signed(),
        };
        let len = usize::try_from(digits.unsigned_abs().min(8)).unwrap_or(8);
        let all = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
        Ok(one(Value::String(lua.create_string(&all[8 - len..])?)))
    })
}

/// The low 32 bits of a number, rounded as adding 2^52 + 2^51 rounds.
fn bits(value: f64) -> u32 {
    let [a, b, c, d, ..] = (value + 6_755_399_441_055_744.0).to_bits().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn word(bits: u32) -> MultiValue {
    one(Value::Number(f64::from(bits.cast_signed())))
}
