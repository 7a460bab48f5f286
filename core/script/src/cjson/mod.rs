//! `cjson`, as Redis 7.0.15 has it (lua-cjson 2.1.0): encoding, decoding, and the settings of each instance.

mod decode;
mod encode;

use crate::errors::argument;
use crate::guard::Guard;
use crate::natives::{Native, integer, one};
use crate::number::double;
use mlua::{LightUserData, Lua, MultiValue, Result, Value};
use std::cell::Cell;
use std::rc::Rc;

/// What one instance was told. Every script begins with what stands here.
#[derive(Debug)]
pub(crate) struct Settings {
    sparse_convert: Cell<bool>,
    sparse_ratio: Cell<i64>,
    sparse_safe: Cell<i64>,
    encode_depth: Cell<i64>,
    decode_depth: Cell<i64>,
    precision: Cell<i64>,
    keep_buffer: Cell<bool>,
    encode_invalid: Cell<Invalid>,
    decode_invalid: Cell<Invalid>,
}

/// What is done about numbers that JSON doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    Refused,
    Written,
    Null,
}

/// Deeper than this nothing goes, whatever a script sets: it would take the stack.
const DEPTH_MAX: i64 = 1000;
const INT_MAX: i64 = i32::MAX as i64;

impl Default for Settings {
    fn default() -> Self {
        let settings = Self {
            sparse_convert: Cell::new(false),
            sparse_ratio: Cell::new(0),
            sparse_safe: Cell::new(0),
            encode_depth: Cell::new(0),
            decode_depth: Cell::new(0),
            precision: Cell::new(0),
            keep_buffer: Cell::new(true),
            encode_invalid: Cell::new(Invalid::Refused),
            decode_invalid: Cell::new(Invalid::Refused),
        };
        settings.reset();
        settings
    }
}

impl Settings {
    /// As they are at the start of a script.
    pub(crate) fn reset(&self) {
        self.sparse_convert.set(false);
        self.sparse_ratio.set(2);
        self.sparse_safe.set(10);
        self.encode_depth.set(1000);
        self.decode_depth.set(1000);
        self.precision.set(14);
        self.keep_buffer.set(true);
        self.encode_invalid.set(Invalid::Refused);
        self.decode_invalid.set(Invalid::Written);
    }
}

/// What stands for null.
pub(crate) fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

/// Adds the library.
pub(crate) fn register(native: &Native<'_>, settings: &Rc<Settings>) -> Result<()> {
    let with = |name, function: fn(&Lua, &Guard, &Settings, MultiValue) -> Result<MultiValue>| {
        let settings = Rc::clone(settings);
        native.add(name, move |lua, guard, args| function(lua, guard, &settings, args))
    };
    with("encode", encode::encode)?;
    with("decode", decode::decode)?;
    with("encode_sparse_array", |lua, _, settings, args| sparse_array(lua, settings, &args))?;
    with("encode_max_depth", |lua, _, settings, args| {
        number(lua, &settings.encode_depth, &args, "encode_max_depth", (1, INT_MAX))
    })?;
    with("decode_max_depth", |lua, _, settings, args| {
        number(lua, &settings.decode_depth, &args, "decode_max_depth", (1, INT_MAX))
    })?;
    with("encode_number_precision", |lua, _, settings, args| {
        number(lua, &settings.precision, &args, "encode_number_precision", (1, 14))
    })?;
    with("encode_keep_buffer", |lua, _, settings, args| flag(lua, &settings.keep_buffer, &args))?;
    with("encode_invalid_numbers", |lua, _, settings, args| {
        invalid(lua, &settings.encode_invalid, &args, Null::Known)
    })?;
    with("decode_invalid_numbers", |lua, _, settings, args| {
        invalid(lua, &settings.decode_invalid, &args, Null::Unknown)
    })?;
    let guard = Rc::clone(native.guard);
    native.add("new", move |lua, _, _| {
        guard.spend(100)?;
        let into = lua.create_table()?;
        register(&Native { lua, guard: &guard, into: &into }, &Rc::default())?;
        Ok(one(Value::Table(into)))
    })?;
    native.into.raw_set("null", null())?;
    native.into.raw_set("_NAME", "cjson")?;
    native.into.raw_set("_VERSION", "2.1.0")
}

fn sparse_array(lua: &Lua, settings: &Settings, args: &MultiValue) -> Result<MultiValue> {
    if let Some(convert @ Value::Boolean(_)) = args.front() {
        settings.sparse_convert.set(*convert == Value::Boolean(true));
    }
    number_at(lua, &settings.sparse_ratio, args, 2, "encode_sparse_array", (0, INT_MAX))?;
    number_at(lua, &settings.sparse_safe, args, 3, "encode_sparse_array", (0, INT_MAX))?;
    let numbers = [&settings.sparse_ratio, &settings.sparse_safe].map(|cell| Value::Number(double(cell.get())));
    Ok(MultiValue::from_iter([Value::Boolean(settings.sparse_convert.get())].into_iter().chain(numbers)))
}

fn number(lua: &Lua, cell: &Cell<i64>, args: &MultiValue, name: &str, range: (i64, i64)) -> Result<MultiValue> {
    number_at(lua, cell, args, 1, name, range)?;
    Ok(one(Value::Number(double(cell.get()))))
}

fn number_at(
    lua: &Lua,
    cell: &Cell<i64>,
    args: &MultiValue,
    at: usize,
    name: &str,
    (low, high): (i64, i64),
) -> Result<()> {
    let Some(wanted) = integer(lua, args, at, name)? else { return Ok(()) };
    if !(low..=high).contains(&wanted) {
        return Err(argument(lua, at, name, format_args!("expected integer between {low} and {high}")));
    }
    cell.set(wanted);
    Ok(())
}

fn flag(_: &Lua, cell: &Cell<bool>, args: &MultiValue) -> Result<MultiValue> {
    if let Some(Value::Boolean(wanted)) = args.front() {
        cell.set(*wanted);
    }
    Ok(one(Value::Boolean(cell.get())))
}

/// Whether "null" is one of the things that may be said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    Known,
    Unknown,
}

fn invalid(lua: &Lua, cell: &Cell<Invalid>, args: &MultiValue, null: Null) -> Result<MultiValue> {
    match args.front() {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(wanted)) => cell.set(if *wanted { Invalid::Written } else { Invalid::Refused }),
        Some(Value::String(word)) if *word == "off" => cell.set(Invalid::Refused),
        Some(Value::String(word)) if *word == "on" => cell.set(Invalid::Written),
        Some(Value::String(word)) if *word == "null" && null == Null::Known => cell.set(Invalid::Null),
        Some(other) => {
            let shown = lua.coerce_string(other.clone())?.map(|text| text.to_string_lossy()).unwrap_or_default();
            return Err(argument(lua, 1, "encode_invalid_numbers", format_args!("invalid option '{shown}'")));
        }
    }
    Ok(one(match cell.get() {
        Invalid::Refused => Value::Boolean(false),
        Invalid::Written => Value::Boolean(true),
        Invalid::Null => Value::String(lua.create_string("null")?),
    }))
}
