//! Lua values as JSON.

use super::{DEPTH_MAX, Invalid, Settings};
use crate::errors::{argument, text};
use crate::guard::Guard;
use crate::natives::one;
use crate::number::{double, general};
use mlua::{Lua, MultiValue, Result, Table, Value};

/// `cjson.encode(value)`.
pub(super) fn encode(lua: &Lua, guard: &Guard, settings: &Settings, mut args: MultiValue) -> Result<MultiValue> {
    if args.len() != 1 {
        return Err(argument(lua, 1, "encode", "expected 1 argument"));
    }
    let value = args.pop_front().unwrap_or(Value::Nil);
    let mut encoder = Encoder { lua, guard, settings, out: Vec::new(), room: crate::natives::lua_room(lua) };
    encoder.value(&value, 0)?;
    Ok(one(Value::String(lua.create_string(encoder.out)?)))
}

struct Encoder<'a> {
    lua: &'a Lua,
    guard: &'a Guard,
    settings: &'a Settings,
    out: Vec<u8>,
    /// Bytes that the interpreter could still take.
    room: usize,
}

/// How a table is written.
enum Shape {
    List(i64),
    Object,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: i64) -> Result<()> {
        self.guard.spend(1)?;
        if self.out.len() > self.room {
            return Err(mlua::Error::MemoryError("not enough memory".to_owned()));
        }
        match value {
            Value::String(string) => self.string(&string.as_bytes())?,
            Value::Integer(n) => self.number(double(*n))?,
            Value::Number(n) => self.number(*n)?,
            Value::Boolean(told) => self.out.extend_from_slice(if *told { b"true" } else { b"false" }),
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Table(table) => self.table(table, depth + 1)?,
            other => return Err(self.refused(other.type_name(), "type not supported")),
        }
        Ok(())
    }

    fn refused(&self, what: &str, why: &str) -> mlua::Error {
        text(self.lua, format!("Cannot serialise {what}: {why}"))
    }

    fn table(&mut self, table: &Table, depth: i64) -> Result<()> {
        if depth > self.settings.encode_depth.get().min(DEPTH_MAX) {
            return Err(text(self.lua, format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.shape(table)? {
            Shape::List(len) => {
                self.out.push(b'[');
                for at in 1..=len {
                    if at > 1 {
                        self.out.push(b',');
                    }
                    let item: Value = table.raw_get(at)?;
                    self.value(&item, depth)?;
                }
                self.out.push(b']');
            }
            Shape::Object => {
                self.out.push(b'{');
                let mut first = true;
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.key(&key)?;
                    self.out.push(b':');
                    self.value(&value, depth)?;
                }
                self.out.push(b'}');
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<()> {
        match key {
            Value::String(string) => self.string(&string.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                self.value(key, 0)?;
                self.out.push(b'"');
                Ok(())
            }
            other => Err(self.refused(other.type_name(), "table key must be a number or string")),
        }
    }

    /// A list if all keys are whole numbers from 1 on, and not too few of them are there.
    fn shape(&self, table: &Table) -> Result<Shape> {
        let (mut last, mut count) = (0, 0_i64);
        for pair in table.pairs::<Value, Value>() {
            self.guard.spend(1)?;
            match pair?.0 {
                Value::Integer(at) if at > 0 => {
                    last = last.max(at);
                    count += 1;
                }
                _ => return Ok(Shape::Object),
            }
        }
        let Settings { sparse_convert, sparse_ratio, sparse_safe, .. } = self.settings;
        let ratio = sparse_ratio.get();
        if ratio > 0 && last > count.saturating_mul(ratio) && last > sparse_safe.get() {
            if !sparse_convert.get() {
                return Err(self.refused("table", "excessively sparse array"));
            }
            return Ok(Shape::Object);
        }
        Ok(if last > 0 { Shape::List(last) } else { Shape::Object })
    }

    fn number(&mut self, n: f64) -> Result<()> {
        if n.is_finite() {
            let precision = usize::try_from(self.settings.precision.get()).unwrap_or(14);
            self.out.extend_from_slice(general(n, precision).as_bytes());
            return Ok(());
        }
        match self.settings.encode_invalid.get() {
            Invalid::Refused => return Err(self.refused("number", "must not be NaN or Inf")),
            Invalid::Null => self.out.extend_from_slice(b"null"),
            Invalid::Written if n.is_nan() => self.out.extend_from_slice(b"nan"),
            Invalid::Written => self.out.extend_from_slice(general(n, 14).as_bytes()),
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<()> {
        self.guard.spend(bytes.len() as u64 / 64)?;
        self.out.push(b'"');
        for byte in bytes {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0C => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..0x20 | 0x7F => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                other => self.out.push(*other),
            }
        }
        self.out.push(b'"');
        Ok(())
    }
}
