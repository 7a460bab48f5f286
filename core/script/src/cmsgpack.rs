//! `cmsgpack`, as Redis 7.0.15 has it (lua-cmsgpack 0.4.0).

use crate::errors::{argument, text};
use crate::guard::Guard;
use crate::natives::{Native, integer, lua_room, string};
use crate::number::double;
use mlua::{Lua, MultiValue, Result, Table, Value};

/// Tables in tables are packed so deep; below that stands nil.
const PACK_DEPTH_MAX: usize = 16;
/// And unpacked so deep.
const UNPACK_DEPTH_MAX: usize = 500;

/// Adds the library.
pub(crate) fn register(native: &Native<'_>) -> Result<()> {
    native.add("pack", pack)?;
    native.add("unpack", |lua, guard, args| {
        let data = string(lua, &args, 1, "unpack")?;
        drop(args);
        unpack(lua, guard, &data.as_bytes(), Limit::All, 0)
    })?;
    native.add("unpack_one", |lua, guard, args| {
        let offset = integer(lua, &args, 2, "unpack_one")?.unwrap_or(0);
        unpack(lua, guard, &string(lua, &args, 1, "unpack_one")?.as_bytes(), Limit::Count(1), offset)
    })?;
    native.add("unpack_limit", |lua, guard, args| {
        let limit = integer(lua, &args, 2, "unpack_limit")?;
        let limit = limit.ok_or_else(|| argument(lua, 2, "unpack_limit", "number expected, got no value"))?;
        let offset = integer(lua, &args, 3, "unpack_limit")?.unwrap_or(0);
        let limit = if limit == 0 && offset == 0 { Limit::All } else { Limit::Count(limit) };
        unpack(lua, guard, &string(lua, &args, 1, "unpack_limit")?.as_bytes(), limit, offset)
    })?;
    for (name, value) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        native.into.raw_set(name, value)?;
    }
    Ok(())
}

fn pack(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    if args.is_empty() {
        return Err(argument(lua, 0, "pack", "MessagePack pack needs input."));
    }
    let mut packer = Packer { guard, out: Vec::new(), room: lua_room(lua) };
    for value in args {
        packer.value(&value, 0)?;
    }
    Ok(MultiValue::from_iter([Value::String(lua.create_string(packer.out)?)]))
}

struct Packer<'a> {
    guard: &'a Guard,
    out: Vec<u8>,
    room: usize,
}

impl Packer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        self.guard.spend(1)?;
        if self.out.len() > self.room {
            return Err(mlua::Error::MemoryError("not enough memory".to_owned()));
        }
        match value {
            Value::String(string) => self.string(&string.as_bytes()),
            Value::Boolean(told) => {
                self.out.push(if *told { 0xC3 } else { 0xC2 });
                Ok(())
            }
            Value::Integer(n) => {
                self.integer(*n);
                Ok(())
            }
            Value::Number(n) => {
                self.float(*n);
                Ok(())
            }
            Value::Table(table) if depth < PACK_DEPTH_MAX => self.table(table, depth + 1),
            _ => {
                self.out.push(0xC0);
                Ok(())
            }
        }
    }

    fn string(&mut self, bytes: &[u8]) -> Result<()> {
        self.guard.spend(bytes.len() as u64 / 256)?;
        match bytes.len() {
            len @ 0..32 => self.out.push(0xA0 | low(len)),
            len @ 32..0x100 => self.out.extend_from_slice(&[0xD9, low(len)]),
            len => self.length(len, 0xDA),
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// A length of two bytes behind `tag`, or of four behind the next.
    fn length(&mut self, len: usize, tag: u8) {
        if let Ok(short) = u16::try_from(len) {
            self.out.push(tag);
            self.out.extend_from_slice(&short.to_be_bytes());
        } else {
            self.out.push(tag + 1);
            self.out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
    }

    fn integer(&mut self, n: i64) {
        let bytes = n.to_be_bytes();
        let (tag, from) = match n {
            -32..=0x7F => return self.out.push(bytes[7]),
            0x80..=0xFF => (0xCC, 7),
            0x100..=0xFFFF => (0xCD, 6),
            0x1_0000..=0xFFFF_FFFF => (0xCE, 4),
            0x1_0000_0000.. => (0xCF, 0),
            -0x80..=-33 => (0xD0, 7),
            -0x8000..=-0x81 => (0xD1, 6),
            -0x8000_0000..=-0x8001 => (0xD2, 4),
            _ => (0xD3, 0),
        };
        self.out.push(tag);
        self.out.extend_from_slice(&bytes[from..]);
    }

    #[expect(clippy::cast_possible_truncation, reason = "whether it fits is what is asked")]
    fn float(&mut self, n: f64) {
        if f64::from(n as f32) == n {
            self.out.push(0xCA);
            self.out.extend_from_slice(&(n as f32).to_be_bytes());
        } else {
            self.out.push(0xCB);
            self.out.extend_from_slice(&n.to_be_bytes());
        }
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<()> {
        let (mut count, mut last, mut listed) = (0_usize, 0, true);
        for pair in table.pairs::<Value, Value>() {
            self.guard.spend(1)?;
            match pair?.0 {
                Value::Integer(at) if at > 0 => last = last.max(at),
                _ => listed = false,
            }
            count += 1;
        }
        if listed && usize::try_from(last) == Ok(count) {
            match count {
                0..16 => self.out.push(0x90 | low(count)),
                _ => self.length(count, 0xDC),
            }
            for at in 1..=count {
                let item: Value = table.raw_get(at)?;
                self.value(&item, depth)?;
            }
            return Ok(());
        }
        match count {
            0..16 => self.out.push(0x80 | low(count)),
            _ => self.length(count, 0xDE),
        }
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.value(&key, depth)?;
            self.value(&value, depth)?;
        }
        Ok(())
    }
}

fn low(n: usize) -> u8 {
    n.to_le_bytes()[0]
}

/// How many values are unpacked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    All,
    Count(i64),
}

fn unpack(lua: &Lua, guard: &Guard, data: &[u8], limit: Limit, offset: i64) -> Result<MultiValue> {
    let wanted = if let Limit::Count(wanted) = limit { wanted } else { 0 };
    let (Ok(from), Ok(count)) = (usize::try_from(offset), usize::try_from(wanted)) else {
        let why = format!("Invalid request to unpack with offset of {offset} and limit of {}.", data.len());
        return Err(text(lua, why));
    };
    if from > data.len() {
        let why = format!("Start offset {from} greater than input length {}.", data.len());
        return Err(text(lua, why));
    }
    let mut unpacker = Unpacker { lua, guard, rest: &data[from..] };
    let (mut values, mut taken) = (MultiValue::new(), 0);
    // As many values as native code can hold.
    while !unpacker.rest.is_empty() && (limit == Limit::All || count == 0 || taken < count) {
        if taken == VALUES_MAX {
            return Err(text(lua, "too many return values at once; use unpack_one or unpack_limit instead."));
        }
        values.push_back(unpacker.value(0)?);
        taken += 1;
    }
    if limit != Limit::All {
        let left = unpacker.rest.len();
        let next = if left == 0 { -1.0 } else { double(i64::try_from(data.len() - left).unwrap_or(i64::MAX)) };
        values.push_front(Value::Number(next));
    }
    Ok(values)
}

const VALUES_MAX: usize = 4_000;

struct Unpacker<'a> {
    lua: &'a Lua,
    guard: &'a Guard,
    rest: &'a [u8],
}

impl Unpacker<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8]> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(text(self.lua, "Missing bytes in input."));
        };
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A length of so many bytes.
    fn length(&mut self, bytes: usize) -> Result<usize> {
        let mut all = [0; 8];
        all[8 - bytes..].copy_from_slice(self.take(bytes)?);
        Ok(usize::try_from(u64::from_be_bytes(all)).unwrap_or(usize::MAX))
    }

    #[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
    fn value(&mut self, depth: usize) -> Result<Value> {
        self.guard.spend(1)?;
        if depth > UNPACK_DEPTH_MAX {
            return Err(text(self.lua, "Found too many nested data structures"));
        }
        let number = |n: i64| Value::Number(double(n));
        Ok(match self.take(1)?[0] {
            fixed @ 0..0x80 => number(i64::from(fixed)),
            map @ 0x80..0x90 => self.map(usize::from(map & 15), depth)?,
            list @ 0x90..0xA0 => self.list(usize::from(list & 15), depth)?,
            short @ 0xA0..0xC0 => self.string(usize::from(short & 31))?,
            0xC0 => Value::Nil,
            0xC2 => Value::Boolean(false),
            0xC3 => Value::Boolean(true),
            size @ 0xD9..=0xDB => {
                let len = self.length(1 << (size - 0xD9))?;
                self.string(len)?
            }
            0xCA => Value::Number(f64::from(f32::from_be_bytes(self.array()?))),
            0xCB => Value::Number(f64::from_be_bytes(self.array()?)),
            0xCC => number(i64::from(u8::from_be_bytes(self.array()?))),
            0xCD => number(i64::from(u16::from_be_bytes(self.array()?))),
            0xCE => number(i64::from(u32::from_be_bytes(self.array()?))),
            0xCF => Value::Number(u64::from_be_bytes(self.array()?) as f64),
            0xD0 => number(i64::from(i8::from_be_bytes(self.array()?))),
            0xD1 => number(i64::from(i16::from_be_bytes(self.array()?))),
            0xD2 => number(i64::from(i32::from_be_bytes(self.array()?))),
            0xD3 => number(i64::from_be_bytes(self.array()?)),
            size @ 0xDC..=0xDD => {
                let len = self.length(if size == 0xDC { 2 } else { 4 })?;
                self.list(len, depth)?
            }
            size @ 0xDE..=0xDF => {
                let len = self.length(if size == 0xDE { 2 } else { 4 })?;
                self.map(len, depth)?
            }
            negative @ 0xE0.. => number(i64::from(negative.cast_signed())),
            _ => return Err(text(self.lua, "Bad data format in input.")),
        })
    }

    fn string(&mut self, len: usize) -> Result<Value> {
        let lua = self.lua;
        self.guard.spend(len as u64 / 256)?;
        lua.create_string(self.take(len)?).map(Value::String)
    }

    fn list(&mut self, len: usize, depth: usize) -> Result<Value> {
        let table = self.lua.create_table()?;
        for at in 1..=len {
            table.raw_set(at, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Value> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let (key, value) = (self.value(depth + 1)?, self.value(depth + 1)?);
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }
}
