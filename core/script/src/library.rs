//! Libraries of functions: how they are taken in, and how a function of one is found again.
//!
//! A library's text is run to see what it registers. Its leader does so once to take it in, and any engine once more when
//! it first runs a function of it: callbacks live in the interpreter that made them.

use crate::engine::{Engine, Entrance, Loaded, Ran, Shared, Way};
use crate::errors::table;
use crate::natives::Native;
use crate::stage::Stage;
use bytes::Bytes;
use data::batch::{Pace, Stop};
use data::scripts::{Flags, Function, Library};
use data::{Refused, Reply};
use mlua::{MultiValue, Result, Value};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// What a library has registered so far; the callbacks wait in the interpreter.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    pub(crate) functions: Vec<Function>,
}

/// Libraries that an interpreter keeps.
const LIBRARIES_MAX: usize = 100;
const NAMES: &str =
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Adds `register_function`.
pub(crate) fn register(native: &Native<'_>, shared: &Rc<Shared>) -> Result<()> {
    let shared = Rc::clone(shared);
    let function = native.lua.create_function(move |lua, args: MultiValue| {
        shared.guard.spend(1 + args.len() as u64)?;
        let (function, callback) = match args.len() {
            0 | 3.. => return Err(table("ERR wrong number of arguments to redis.register_function")),
            1 => named(&args)?,
            _ => positional(lua, &args)?,
        };
        if !is_name(&function.name) {
            return Err(table(format!("ERR {NAMES}")));
        }
        let mut fresh = true;
        shared.with_stage(|stage| {
            let registered = stage.library.get_or_insert_default();
            fresh = registered.functions.iter().all(|known| known.name != function.name);
            registered.functions.push(function);
        });
        if !fresh {
            return Err(table("ERR Function already exists in the library"));
        }
        let Value::Function(callback) = callback else { return Err(table("ERR a callback is a function")) };
        shared.keep_callback(lua, callback)?;
        Ok(MultiValue::new())
    })?;
    native.into.raw_set("register_function", function)
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn text(value: &Value) -> Option<Box<[u8]>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec().into()),
        Value::Integer(n) => Some(n.to_string().into_bytes().into()),
        Value::Number(n) => Some(crate::number::general(*n, 14).into_bytes().into()),
        _ => None,
    }
}

fn positional(_: &mlua::Lua, args: &MultiValue) -> Result<(Function, Value)> {
    let name = args.front().and_then(text);
    let name = name.ok_or_else(|| table("ERR first argument to redis.register_function must be a string"))?;
    match args.get(1) {
        Some(callback @ Value::Function(_)) => {
            Ok((Function { name, description: None, flags: Flags::default() }, callback.clone()))
        }
        _ => Err(table("ERR second argument to redis.register_function must be a function")),
    }
}

fn named(args: &MultiValue) -> Result<(Function, Value)> {
    let Some(Value::Table(fields)) = args.front() else {
        return Err(table(
            "ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named \
             arguments).",
        ));
    };
    let (mut name, mut description, mut flags, mut callback) = (None, None, Flags::default(), None);
    for field in fields.pairs::<Value, Value>() {
        let (key, value) = field?;
        let key = match &key {
            Value::String(key) => key.to_string_lossy(),
            _ => {
                return Err(table("ERR named argument key given to redis.register_function is not a string"));
            }
        };
        match key.as_str() {
            "function_name" => {
                let given = text(&value);
                name = Some(given.ok_or_else(|| {
                    table("ERR function_name argument given to redis.register_function must be a string")
                })?);
            }
            "description" => {
                let given = text(&value);
                description = Some(given.ok_or_else(|| {
                    table("ERR description argument given to redis.register_function must be a string")
                })?);
            }
            "callback" if matches!(value, Value::Function(_)) => callback = Some(value),
            "callback" => {
                return Err(table("ERR callback argument given to redis.register_function must be a function"));
            }
            "flags" => flags = flags_of(&value)?,
            _ => return Err(table("ERR unknown argument given to redis.register_function")),
        }
    }
    let name = name.ok_or_else(|| table("ERR redis.register_function must get a function name argument"))?;
    let callback = callback.ok_or_else(|| table("ERR redis.register_function must get a callback argument"))?;
    Ok((Function { name, description, flags }, callback))
}

fn flags_of(value: &Value) -> Result<Flags> {
    let Value::Table(names) = value else {
        return Err(table("ERR flags argument to redis.register_function must be a table representing function flags"));
    };
    let mut flags = Flags::default();
    for name in names.sequence_values::<Value>() {
        let flag = text(&name?).and_then(|name| Flags::named(&name));
        flags = flags.with(flag.ok_or_else(|| table("ERR unknown flag given"))?);
    }
    Ok(flags)
}

/// The name that the first line of a library gives it.
pub(crate) fn name_of(code: &[u8]) -> std::result::Result<Box<[u8]>, String> {
    if !code.starts_with(b"#!") {
        return Err("Missing library metadata".to_owned());
    }
    let end = code.iter().position(|byte| *byte == b'\n').ok_or("Invalid library metadata")?;
    let line = String::from_utf8_lossy(&code[..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default().trim_start_matches("#!");
    let mut name: Option<&str> = None;
    for word in words {
        match word.strip_prefix("name=") {
            Some(_) if name.is_some() => {
                return Err("Invalid metadata value, name argument was given multiple times".to_owned());
            }
            Some(given) => name = Some(given),
            None => return Err(format!("Invalid metadata value given: {word}")),
        }
    }
    let name = name.ok_or("Library name was not given")?;
    if !is_name(name.as_bytes()) {
        return Err(NAMES.to_owned());
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("Engine '{engine}' not found"));
    }
    Ok(name.as_bytes().into())
}

impl Shared {
    /// Keeps a callback until the library that registers it is taken in.
    fn keep_callback(&self, _: &mlua::Lua, callback: mlua::Function) -> Result<()> {
        let mut waiting = self.callbacks.borrow_mut();
        let at = waiting.as_ref().map_or(1, |table| table.raw_len() + 1);
        waiting.as_mut().map_or(Ok(()), |table| table.raw_set(at, callback))
    }
}

impl Engine {
    /// Runs the text of a library: what it registers. The stage comes back as it was.
    pub(crate) fn load(
        &mut self,
        stage: Stage,
        pace: Pace,
        stop: &Arc<Stop>,
        code: &Bytes,
    ) -> (Stage, std::result::Result<Library, Loading>) {
        let refused = |text: String| Err(Loading::Refused(Refused::Text(text)));
        let name = match name_of(code) {
            Ok(name) => name,
            Err(why) => return (stage, refused(format!("ERR {why}"))),
        };
        let number = match self.compile_library(code) {
            Ok(number) => number,
            Err(why) => return (stage, Err(Loading::Refused(why))),
        };
        let Ok(callbacks) = self.lua.create_table() else {
            return (stage, refused("ERR not enough memory for the library".to_owned()));
        };
        *self.shared.callbacks.borrow_mut() = Some(callbacks);
        let entrance = Entrance { way: Way::Library, number, keys: &[], args: &[], name: "" };
        let (mut stage, ran) = self.enter(stage, pace, stop, &entrance);
        self.let_go(number);
        let callbacks = self.shared.callbacks.borrow_mut().take();
        let registered = stage.library.take().unwrap_or_default().functions;
        let loaded = match ran {
            Ran::Halted(why) => Err(Loading::Halted(why)),
            Ran::Reply(Reply::Error(refused)) => {
                let why = refused.to_string();
                let why = why.split(" script: , on ").next().unwrap_or_default();
                Err(Loading::Refused(Refused::Text(format!("ERR Error registering functions: {why}"))))
            }
            Ran::Reply(_) if registered.is_empty() => {
                Err(Loading::Refused(Refused::Text("ERR No functions registered".to_owned())))
            }
            Ran::Reply(_) => Ok(self.take_in(name, code, registered, callbacks)),
        };
        (stage, loaded)
    }

    /// Numbers the callbacks of a library.
    fn take_in(
        &mut self,
        name: Box<[u8]>,
        code: &Bytes,
        functions: Vec<Function>,
        callbacks: Option<mlua::Table>,
    ) -> Library {
        let mut numbers = BTreeMap::new();
        for (at, function) in (1..).zip(&functions) {
            let callback = callbacks.as_ref().and_then(|table| table.raw_get(at).ok());
            if let Some(number) = callback.and_then(|callback| self.keep(callback).ok()) {
                numbers.insert(function.name.clone(), number);
            }
        }
        if self.libraries.len() >= LIBRARIES_MAX {
            let oldest = self.libraries.iter().min_by_key(|(_, loaded)| loaded.used).map(|(sha, _)| *sha);
            let gone = oldest.and_then(|sha| self.libraries.remove(&sha));
            gone.into_iter().flat_map(|gone| gone.callbacks).for_each(|(_, number)| self.let_go(number));
        }
        self.uses += 1;
        let loaded = Loaded { callbacks: numbers, used: self.uses };
        let library = Library::new(name, code.clone(), functions);
        let former = self.libraries.insert(library.sha, loaded);
        former.into_iter().flat_map(|former| former.callbacks).for_each(|(_, number)| self.let_go(number));
        library
    }

    /// The number of a function's callback, if its library is here.
    pub(crate) fn callback(&mut self, library: &Library, function: &[u8]) -> Option<i64> {
        self.uses += 1;
        let loaded = self.libraries.get_mut(&library.sha)?;
        loaded.used = self.uses;
        loaded.callbacks.get(function).copied()
    }
}

/// Why a library is not there.
#[derive(Debug)]
pub(crate) enum Loading {
    Refused(Refused),
    Halted(crate::guard::Halt),
}
