//! Native functions of the sandbox: how they are added, how they read their arguments, and the small ones.

use crate::errors::{argument, text, wrong_type};
use crate::guard::Guard;
use crate::number::{Chance, double, general, truncated};
use crate::pattern::strings::number;
use mlua::{Lua, MultiValue, Result, String as LuaString, Table, Value};
use std::cell::Cell;
use std::rc::Rc;

/// Where native functions are put.
pub(crate) struct Native<'a> {
    pub(crate) lua: &'a Lua,
    pub(crate) guard: &'a Rc<Guard>,
    pub(crate) into: &'a Table,
}

/// More arguments than this are of no use to any native function but `redis.call`. The interpreter can hold some 8,000
/// values for native code at a time, and not one more.
const ARGS_MAX: usize = 4_000;

impl Native<'_> {
    /// Adds a function that asks the guard.
    pub(crate) fn add(
        &self,
        name: &'static str,
        function: impl Fn(&Lua, &Guard, MultiValue) -> Result<MultiValue> + 'static,
    ) -> Result<()> {
        let guard = Rc::clone(self.guard);
        let native = self.lua.create_function(move |lua, args: MultiValue| {
            if args.len() > ARGS_MAX {
                drop(args);
                return Err(text(lua, format!("too many arguments to '{name}'")));
            }
            function(lua, &guard, args)
        })?;
        self.into.raw_set(name, native)
    }
}

/// The string, or the number that is taken for one, at a place of the arguments, from 1.
pub(crate) fn string(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> Result<LuaString> {
    match args.get(at - 1) {
        Some(Value::String(string)) => Ok(string.clone()),
        Some(Value::Integer(n)) => lua.create_string(general(double(*n), 14)),
        Some(Value::Number(n)) => lua.create_string(general(*n, 14)),
        other => Err(wrong_type(lua, at, function, "string", other)),
    }
}

/// The number at a place, if there is one.
pub(crate) fn float(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> Result<Option<f64>> {
    match args.get(at - 1) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Number(n)) => Ok(Some(*n)),
        Some(Value::Integer(n)) => Ok(Some(double(*n))),
        Some(value @ Value::String(_)) => match lua.coerce_number(value.clone())? {
            Some(n) => Ok(Some(n)),
            None => Err(wrong_type(lua, at, function, "number", Some(value))),
        },
        other => Err(wrong_type(lua, at, function, "number", other)),
    }
}

/// The same, cut to an integer.
pub(crate) fn integer(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> Result<Option<i64>> {
    float(lua, args, at, function).map(|n| n.map(truncated))
}

/// A number that must be there.
pub(crate) fn must(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> Result<f64> {
    float(lua, args, at, function)?.ok_or_else(|| wrong_type(lua, at, function, "number", args.get(at - 1)))
}

/// One value.
pub(crate) fn one(value: Value) -> MultiValue {
    MultiValue::from_iter([value])
}

/// Adds `rep`, `sort`, `collectgarbage`, `random` and `randomseed`.
pub(crate) fn register(native: &Native<'_>, chance: &Rc<Cell<Chance>>) -> Result<()> {
    native.add("rep", rep)?;
    native.add("sort", sort)?;
    native.add("collect", collect)?;
    let drawn = Rc::clone(chance);
    native.add("random", move |lua, _, args| random(lua, &drawn, args))?;
    let seeded = Rc::clone(chance);
    native.add("randomseed", move |lua, _, args| {
        let seed = truncated(must(lua, &args, 1, "randomseed")?);
        let [a, b, c, d, ..] = seed.to_le_bytes();
        seeded.set(Chance::new(i32::from_le_bytes([a, b, c, d])));
        Ok(MultiValue::new())
    })
}

/// Nothing can be repeated for ever here: the interpreter's own would.
fn rep(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let (piece, count) = (string(lua, &args, 1, "rep")?, truncated(must(lua, &args, 2, "rep")?));
    let piece = piece.as_bytes();
    let count = usize::try_from(count).unwrap_or(0);
    let bytes = piece.len().checked_mul(count).filter(|bytes| *bytes <= lua_room(lua));
    let Some(bytes) = bytes else { return Err(mlua::Error::MemoryError("not enough memory".to_owned())) };
    guard.spend(1 + bytes as u64 / 1024)?;
    Ok(one(Value::String(lua.create_string(piece.repeat(if piece.is_empty() { 0 } else { count }))?)))
}

/// Bytes that the interpreter may still take.
pub(crate) fn lua_room(lua: &Lua) -> usize {
    let limit = lua.app_data_ref::<crate::engine::MemoryLimit>().map_or(usize::MAX, |limit| limit.0.get());
    limit.saturating_sub(lua.used_memory())
}

/// Sorts a list of numbers, or of strings, by `<`; false if there is anything else in it. The interpreter's own is not
/// counted where it compares by itself.
fn sort(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let Some(Value::Table(list)) = args.front() else { return Ok(one(Value::Boolean(false))) };
    let len = list.raw_len();
    guard.spend(1 + len as u64 / 4)?;
    let (mut numbers, mut strings) = (Vec::new(), Vec::new());
    for at in 1..=len {
        match list.raw_get(at)? {
            Value::Integer(n) => numbers.push(double(n)),
            Value::Number(n) if !n.is_nan() => numbers.push(n),
            Value::String(string) => strings.push(string.as_bytes().to_vec()),
            _ => return Ok(one(Value::Boolean(false))),
        }
    }
    if !numbers.is_empty() && !strings.is_empty() {
        return Ok(one(Value::Boolean(false)));
    }
    let mut ordered = 0_u64;
    let mut meter = || {
        ordered += 1;
        if ordered.is_multiple_of(1024) { guard.spend(256).is_ok() } else { true }
    };
    // Once the guard says no, everything is alike and the end is near.
    let alike = std::cmp::Ordering::Equal;
    numbers.sort_unstable_by(|a, b| if meter() { a.total_cmp(b) } else { alike });
    strings.sort_unstable_by(|a, b| if meter() { a.cmp(b) } else { alike });
    guard.spend(0)?;
    for (at, n) in (1..).zip(numbers) {
        list.raw_set(at, n)?;
    }
    for (at, string) in (1..).zip(strings) {
        list.raw_set(at, lua.create_string(string)?)?;
    }
    Ok(one(Value::Boolean(true)))
}

/// `collectgarbage`: it tells and it collects; how the collector works is not the script's to say.
fn collect(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let option = match args.front() {
        None | Some(Value::Nil) => "collect".to_owned(),
        Some(_) => string(lua, &args, 1, "collectgarbage")?.to_string_lossy(),
    };
    match option.as_str() {
        "count" => Ok(one(Value::Number(double(i64::try_from(lua.used_memory()).unwrap_or(i64::MAX)) / 1024.0))),
        "collect" | "step" => {
            guard.spend(1 + lua.used_memory() as u64 / 64)?;
            lua.gc_collect()?;
            Ok(one(number(0)))
        }
        "stop" | "restart" | "setpause" | "setstepmul" => Ok(one(number(0))),
        other => Err(argument(lua, 1, "collectgarbage", format_args!("invalid option '{other}'"))),
    }
}

fn random(lua: &Lua, chance: &Cell<Chance>, args: MultiValue) -> Result<MultiValue> {
    let mut drawn = chance.get();
    let share = drawn.next();
    chance.set(drawn);
    let of = |low: f64, high: f64| (share * (high - low + 1.0)).floor() + low;
    Ok(one(Value::Number(match args.len() {
        0 => share,
        1 => {
            let high = must(lua, &args, 1, "random")?.trunc();
            if high < 1.0 {
                return Err(argument(lua, 1, "random", "interval is empty"));
            }
            of(1.0, high)
        }
        2 => {
            let (low, high) = (must(lua, &args, 1, "random")?.trunc(), must(lua, &args, 2, "random")?.trunc());
            if low > high {
                return Err(argument(lua, 2, "random", "interval is empty"));
            }
            of(low, high)
        }
        _ => return Err(text(lua, "wrong number of arguments")),
    })))
}
