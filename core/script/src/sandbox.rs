//! How the sandbox is put together: native functions, libraries, and the Lua that stands around them.

use crate::engine::{Failure, Shared};
use crate::errors::{self, Raised, SANDBOX};
use crate::natives::{self, Native, one};
use crate::pattern::strings;
use crate::{call, cjson, cmsgpack, compile, library, structs};
use mlua::{Function, Lua, MultiValue, Result, Table, Value};
use std::rc::Rc;

/// The ways into the sandbox.
#[derive(Debug)]
pub(crate) struct Ways {
    /// What scripts, and what libraries, have for globals.
    pub(crate) script_globals: Table,
    pub(crate) library_globals: Table,
    pub(crate) script: Function,
    pub(crate) function: Function,
    pub(crate) library: Function,
}

const SOURCE: &str = include_str!("sandbox.lua");

/// Fills a fresh interpreter.
pub(crate) fn build(lua: &Lua, shared: &Rc<Shared>) -> Result<Ways> {
    let host = lua.create_table()?;
    let native = Native { lua, guard: &shared.guard, into: &host };
    natives::register(&native, &shared.chance)?;
    strings::register(&native)?;
    call::register(&native, shared)?;
    library::register(&native, shared)?;
    compile::register(&native)?;
    errors_to(&native, shared)?;
    let libraries = lua.create_table()?;
    for name in ["bit", "struct", "cjson", "cmsgpack"] {
        let into = lua.create_table()?;
        let native = Native { lua, guard: &shared.guard, into: &into };
        match name {
            "bit" => structs::register_bit(&native)?,
            "struct" => structs::register_struct(&native)?,
            "cjson" => cjson::register(&native, &shared.cjson)?,
            _ => cmsgpack::register(&native)?,
        }
        libraries.raw_set(name, into)?;
    }
    let chunk = lua.load(SOURCE).set_name(SANDBOX);
    let (script_globals, library_globals, script, function, library) =
        chunk.call((host, libraries, constants(lua)?))?;
    Ok(Ways { script_globals, library_globals, script, function, library })
}

fn constants(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
        ("REDIS_VERSION_NUM", 0x0007_000F),
    ] {
        table.raw_set(name, value)?;
    }
    table.raw_set("REDIS_VERSION", "7.0.15")?;
    Ok(table)
}

/// `caught`, `caught_raw` and `failed`: errors where a script, or the engine, meets them; and `raise`, where the sandbox
/// raises one.
fn errors_to(native: &Native<'_>, shared: &Rc<Shared>) -> Result<()> {
    native.add("raise", |lua, _, args| Err(errors::text(lua, natives::string(lua, &args, 1, "raise")?.as_bytes())))?;
    for (name, tables) in [("caught", Tables::AsText), ("caught_raw", Tables::AsTheyAre)] {
        let guard = Rc::clone(&shared.guard);
        let function = native.lua.create_function(move |lua, mut args: MultiValue| {
            guard.spend(1)?;
            let value = args.pop_front().unwrap_or(Value::Nil);
            let out_of_memory = match &value {
                Value::Error(error) => errors::is_memory(error),
                Value::String(text) => *text == "not enough memory",
                _ => false,
            };
            if out_of_memory && let Some(halt) = guard.out_of_memory() {
                return Err(halt);
            }
            caught(lua, value, tables)
        })?;
        native.into.raw_set(name, function)?;
    }
    let shared = Rc::clone(shared);
    let failed = native.lua.create_function(move |lua, mut args: MultiValue| {
        let value = args.pop_front().unwrap_or(Value::Nil);
        if let Some(message) = Failure::of(&value) {
            *shared.failure.borrow_mut() = Some(Failure { message, at: errors::nearest(lua) });
        }
        Ok(Value::Nil)
    })?;
    native.into.raw_set("failed", failed)
}

/// What `pcall` makes of errors that are tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    AsText,
    AsTheyAre,
}

fn caught(lua: &Lua, value: Value, tables: Tables) -> Result<MultiValue> {
    let text = |bytes: &[u8]| lua.create_string(bytes).map(|text| one(Value::String(text)));
    match &value {
        Value::Error(error) => match errors::raised(error) {
            Some(Raised::Text(message)) => text(message),
            Some(Raised::Table(message)) if tables == Tables::AsText => text(message),
            Some(Raised::Table(message)) => Ok(one(crate::convert::error(lua, message)?)),
            Some(Raised::Halt(_)) => Err((**error).clone()),
            None if errors::is_memory(error) => text(b"not enough memory"),
            None => text(errors::plain(error).as_bytes()),
        },
        Value::Table(table) if tables == Tables::AsText => match table.raw_get("err")? {
            message @ Value::String(_) => Ok(one(message)),
            _ => Ok(one(value)),
        },
        _ => Ok(one(value)),
    }
}
