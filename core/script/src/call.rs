//! `redis.*`: what of it is native.

use crate::convert::{self, Lengths};
use crate::engine::Shared;
use crate::errors::{argument, table};
use crate::guard::Halt;
use crate::natives::{Native, one};
use crate::number::{general, truncated};
use crate::stage::{Called, Stage};
use data::{Reply, command};
use mlua::{BorrowedBytes, Lua, MultiValue, Result, Value};
use smallvec::SmallVec;
use std::rc::Rc;

/// What a command costs, beside what it answers.
const CALL_STEPS: u64 = 60;

/// Adds the functions.
pub(crate) fn register(native: &Native<'_>, shared: &Rc<Shared>) -> Result<()> {
    let with = |name, function: fn(&Lua, &Shared, MultiValue) -> Result<MultiValue>| {
        let shared = Rc::clone(shared);
        let created = native.lua.create_function(move |lua, args: MultiValue| function(lua, &shared, args))?;
        native.into.raw_set(name, created)
    };
    with("call", |lua, shared, args| call(lua, shared, args, Errors::Raised))?;
    with("redis_pcall", |lua, shared, args| call(lua, shared, args, Errors::Told))?;
    with("log", log)?;
    with("setresp", setresp)?;
    with("acl_check_cmd", acl_check_cmd)?;
    native.add("sha1hex", sha1hex)?;
    native.add("error_reply", |lua, _, args| single(lua, args, "err"))?;
    native.add("status_reply", |lua, _, args| single(lua, args, "ok"))?;
    native.add("set_repl", set_repl)?;
    native.add("yes", |_, _, _| Ok(one(Value::Boolean(true))))?;
    native.add("no", |_, _, _| Ok(one(Value::Boolean(false))))?;
    native.add("nothing", |_, _, _| Ok(MultiValue::new()))
}

/// What becomes of errors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errors {
    Raised,
    Told,
}

impl Errors {
    fn of(self, lua: &Lua, message: &[u8]) -> Result<MultiValue> {
        match self {
            Self::Raised => Err(table(message)),
            Self::Told => Ok(one(convert::error(lua, message)?)),
        }
    }
}

fn call(lua: &Lua, shared: &Shared, args: MultiValue, errors: Errors) -> Result<MultiValue> {
    shared.guard.spend(CALL_STEPS)?;
    if args.is_empty() {
        drop(args);
        return errors.of(lua, b"ERR Please specify at least one argument for this redis lib call");
    }
    let Some(spelled) = spelled(&args) else {
        drop(args);
        return errors.of(lua, b"ERR Lua redis lib command arguments must be strings or integers");
    };
    let called = with_words(&args, &spelled, |words| -> Result<(Called, u8)> {
        shared.guard.spend(words.iter().map(|word| word.len() as u64).sum::<u64>() / 256)?;
        Ok(shared.with_stage(|stage| {
            let called = stage.call(words);
            if stage.trial.tick_needed() { (Called::Halt(Halt::Tick), stage.resp) } else { (called, stage.resp) }
        }))
    });
    // They take room that the answer may need.
    drop(args);
    match called? {
        (Called::Halt(why), _) => Err(shared.guard.end(why)),
        (Called::Refused(message), _) => errors.of(lua, message.as_bytes()),
        (Called::Reply(Reply::Error(refused)), _) => errors.of(lua, refused.to_string().as_bytes()),
        (Called::Reply(reply), resp) => {
            shared.guard.spend(Lengths::of(&reply))?;
            Ok(one(convert::from_reply(lua, &reply, resp)?))
        }
    }
}

/// The numbers among the arguments, spelled; nothing if there is anything but strings and numbers.
fn spelled(args: &MultiValue) -> Option<Vec<String>> {
    let mut spelled = Vec::new();
    for value in args {
        match value {
            Value::String(_) => {}
            Value::Integer(n) => spelled.push(n.to_string()),
            Value::Number(n) => spelled.push(general(*n, 17)),
            _ => return None,
        }
    }
    Some(spelled)
}

fn with_words<T>(args: &MultiValue, spelled: &[String], run: impl FnOnce(&[&[u8]]) -> T) -> T {
    let mut spelled = spelled.iter();
    let mut held: SmallVec<[Word<'_>; 8]> = SmallVec::new();
    for value in args {
        held.push(match value {
            Value::String(string) => Word::Given(string.as_bytes()),
            _ => Word::Spelled(spelled.next().map_or(b"".as_slice(), |text| text.as_bytes())),
        });
    }
    let words: SmallVec<[&[u8]; 8]> = held
        .iter()
        .map(|word| match word {
            Word::Given(bytes) => &**bytes,
            Word::Spelled(text) => text,
        })
        .collect();
    run(&words)
}

/// An argument of a command.
enum Word<'a> {
    Given(BorrowedBytes<'a>),
    Spelled(&'a [u8]),
}

fn log(lua: &Lua, shared: &Shared, args: MultiValue) -> Result<MultiValue> {
    if args.len() < 2 {
        return Err(table("ERR redis.log() requires two arguments or more."));
    }
    let level = match args.front() {
        Some(Value::Integer(level)) => *level,
        Some(Value::Number(level)) => truncated(*level),
        _ => return Err(table("ERR First argument must be a number (log level).")),
    };
    let Some(level) = u8::try_from(level).ok().filter(|level| *level <= 3) else {
        return Err(table("ERR Invalid debug level."));
    };
    let mut line = Vec::new();
    for (at, value) in args.iter().enumerate().skip(1) {
        let Some(piece) = lua.coerce_string(value.clone())? else { continue };
        if at > 1 {
            line.push(b' ');
        }
        line.extend_from_slice(&piece.as_bytes());
        shared.guard.spend(piece.as_bytes().len() as u64 / 256)?;
    }
    shared.with_stage(|stage| stage.log(level, &line));
    Ok(MultiValue::new())
}

fn setresp(_: &Lua, shared: &Shared, args: MultiValue) -> Result<MultiValue> {
    if args.len() != 1 {
        return Err(table("ERR redis.setresp() requires one argument."));
    }
    let version = match args.front() {
        Some(Value::Integer(version)) => *version,
        Some(Value::Number(version)) => truncated(*version),
        _ => 0,
    };
    match u8::try_from(version) {
        Ok(version @ (2 | 3)) => shared.with_stage(|stage| stage.resp = version),
        _ => return Err(table("ERR RESP version must be 2 or 3.")),
    }
    Ok(MultiValue::new())
}

/// There is one user, who may do everything.
fn acl_check_cmd(_: &Lua, _: &Shared, args: MultiValue) -> Result<MultiValue> {
    let known = |value: &Value| match value {
        Value::String(name) => command::find(&name.as_bytes()),
        _ => None,
    };
    match args.front() {
        None => Err(table("ERR Please specify at least one argument for this redis lib call")),
        Some(name) if known(name).is_none_or(|row| !row.accepts(args.len())) => {
            Err(table("ERR Invalid command passed to redis.acl_check_cmd()"))
        }
        Some(_) => Ok(one(Value::Boolean(true))),
    }
}

fn sha1hex(lua: &Lua, guard: &crate::guard::Guard, args: MultiValue) -> Result<MultiValue> {
    let [value] = args.as_slices().0 else { return Err(table("ERR wrong number of arguments")) };
    let text = lua.coerce_string(value.clone())?;
    let text = text.map_or_else(Vec::new, |text| text.as_bytes().to_vec());
    guard.spend(1 + text.len() as u64 / 32)?;
    let sum = data::scripts::sha_text(&data::scripts::sha_of(&text));
    Ok(one(Value::String(lua.create_string(sum)?)))
}

/// `error_reply` and `status_reply`: a table of one field.
fn single(lua: &Lua, args: MultiValue, field: &str) -> Result<MultiValue> {
    let [Value::String(message)] = args.as_slices().0 else {
        return Ok(one(convert::error(lua, b"ERR wrong number or type of arguments")?));
    };
    let message = message.as_bytes();
    if field == "ok" {
        let table = lua.create_table_with_capacity(0, 1)?;
        table.raw_set("ok", lua.create_string(&message)?)?;
        return Ok(one(Value::Table(table)));
    }
    let plain = message.strip_prefix(b"-").unwrap_or(&message);
    let coded = if plain.contains(&b' ') { plain.to_vec() } else { [b"ERR ", plain].concat() };
    Ok(one(convert::error(lua, &coded)?))
}

/// Everything is replicated, whatever a script asks for.
fn set_repl(lua: &Lua, _: &crate::guard::Guard, args: MultiValue) -> Result<MultiValue> {
    let flags = match args.as_slices().0 {
        [Value::Integer(flags)] => *flags,
        [Value::Number(flags)] => truncated(*flags),
        [_] => return Err(argument(lua, 1, "set_repl", "number expected")),
        _ => return Err(table("ERR redis.set_repl() requires two arguments.")),
    };
    if (0..=3).contains(&flags) {
        Ok(MultiValue::new())
    } else {
        Err(table("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."))
    }
}

impl Shared {
    /// Lets the running script's stage be used.
    pub(crate) fn with_stage<T>(&self, with: impl FnOnce(&mut Stage) -> T) -> T {
        with(self.stage.borrow_mut().as_mut().expect("natives that need a stage run on one"))
    }
}
