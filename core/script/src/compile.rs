//! Text that becomes a function: scripts by their SHA-1, `loadstring`, and what a first line says.

use crate::engine::{Compiled, Engine};
use crate::natives::{Native, one, string};
use base::ShardId;
use data::Refused;
use data::scripts::{Flags, Scripts, Sha, sha_from, sha_of};
use mlua::{ChunkMode, Error, Function, Lua, MultiValue, Result, Table, Value};

/// Scripts that an interpreter keeps compiled.
const SCRIPTS_MAX: usize = 500;

/// Adds `compile`.
pub(crate) fn register(native: &Native<'_>) -> Result<()> {
    native.add("compile", |lua, guard, args| {
        let code = string(lua, &args, 1, "loadstring")?;
        guard.spend(1 + code.as_bytes().len() as u64)?;
        let name = match args.get(1) {
            None | Some(Value::Nil) => code.to_string_lossy(),
            Some(_) => string(lua, &args, 2, "loadstring")?.to_string_lossy(),
        };
        let globals = match args.get(2) {
            Some(Value::Table(globals)) => globals.clone(),
            _ => return Err(Error::runtime("the sandbox passes the globals")),
        };
        match function(lua, &code.as_bytes(), &name, globals) {
            Ok(function) => Ok(one(Value::Function(function))),
            Err(Error::SyntaxError { message, .. }) => {
                Ok(MultiValue::from_iter([Value::Nil, Value::String(lua.create_string(message)?)]))
            }
            Err(other) => Err(other),
        }
    })
}

/// Compiles text. Compiled code is no text: who can write it can break out of the interpreter.
fn function(lua: &Lua, code: &[u8], name: &str, globals: Table) -> Result<Function> {
    if code.first() == Some(&0x1B) {
        let message = "attempt to load compiled code".to_owned();
        return Err(Error::SyntaxError { message, incomplete_input: false });
    }
    let name = name.split('\0').next().unwrap_or_default();
    lua.load(code).set_name(name).set_mode(ChunkMode::Text).set_environment(globals).into_function()
}

/// A script's flags, if its first line has any to say, and the text behind that line.
fn shebang(body: &[u8]) -> std::result::Result<(Option<Flags>, &[u8]), String> {
    if !body.starts_with(b"#!") {
        return Ok((None, body));
    }
    let end = body.iter().position(|byte| *byte == b'\n').ok_or("Invalid script shebang")?;
    let line = String::from_utf8_lossy(&body[..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(format!("Unexpected engine in script shebang: {engine}"));
    }
    let mut flags = Flags::default();
    for word in words {
        let list = word.strip_prefix("flags=").ok_or_else(|| format!("Unknown lua shebang option: {word}"))?;
        for name in list.split(',') {
            let flag = Flags::named(name.as_bytes());
            flags = flags.with(flag.ok_or_else(|| format!("Unexpected flag in script shebang: {name}"))?);
        }
    }
    Ok((Some(flags), &body[end..]))
}

impl Engine {
    /// Keeps something compiled; its number.
    pub(crate) fn keep(&mut self, function: Function) -> Result<i64> {
        let number = self.next_number;
        self.compiled.raw_set(number, function)?;
        self.next_number += 1;
        Ok(number)
    }

    /// Lets something compiled go.
    pub(crate) fn let_go(&mut self, number: i64) {
        // To put nothing in a place that exists takes no memory.
        let _ = self.compiled.raw_set(number, Value::Nil);
    }

    /// The script of this text in this shard, compiled.
    pub(crate) fn script(
        &mut self,
        body: &[u8],
        shard: ShardId,
        scripts: &Scripts,
    ) -> std::result::Result<Sha, Refused> {
        let sha = sha_of(body);
        if !self.scripts.contains_key(&sha) {
            let (number, flags) = self.compile(body)?;
            if self.scripts.len() >= SCRIPTS_MAX {
                self.forget_one();
            }
            let compiled = Compiled { number, flags, writes: false, seen: Default::default(), used: 0 };
            self.scripts.insert(sha, compiled);
        }
        self.uses += 1;
        if let Some(compiled) = self.scripts.get_mut(&sha) {
            compiled.used = self.uses;
            compiled.seen.insert(shard, scripts.flushes());
        }
        Ok(sha)
    }

    /// The script of this SHA-1: one that the shard keeps, or one that ran there since scripts were last forgotten.
    pub(crate) fn script_named(
        &mut self,
        digits: &[u8],
        shard: ShardId,
        scripts: &Scripts,
    ) -> std::result::Result<Sha, Refused> {
        let none = || Refused::Text("NOSCRIPT No matching script. Please use EVAL.".to_owned());
        let sha = sha_from(digits).ok_or_else(none)?;
        if self.has_seen(&sha, shard, scripts) {
            self.uses += 1;
            self.scripts.get_mut(&sha).ok_or_else(none)?.used = self.uses;
            return Ok(sha);
        }
        let body = scripts.body(&sha).ok_or_else(none)?.clone();
        self.script(&body, shard, scripts)
    }

    /// What a script that was just found is compiled as: its number, its flags, and whether it was seen to write.
    pub(crate) fn compiled_as(&self, sha: &Sha) -> (i64, Option<Flags>, bool) {
        let Compiled { number, flags, writes, .. } = &self.scripts[sha];
        (*number, *flags, *writes)
    }

    /// A script was about to write where it could only read.
    pub(crate) fn note_writer(&mut self, number: i64) {
        let of = self.scripts.values_mut().find(|compiled| compiled.number == number);
        of.into_iter().for_each(|compiled| compiled.writes = true);
    }

    /// True if the script is known in this shard, though the shard may not keep it.
    pub(crate) fn has_seen(&self, sha: &Sha, shard: ShardId, scripts: &Scripts) -> bool {
        self.scripts.get(sha).is_some_and(|one| one.seen.get(&shard) == Some(&scripts.flushes()))
    }

    /// Compiles a script: its number and flags.
    fn compile(&mut self, body: &[u8]) -> std::result::Result<(i64, Option<Flags>), Refused> {
        let (flags, code) = shebang(body).map_err(|why| Refused::Text(format!("ERR {why}")))?;
        let globals = self.ways.script_globals.clone();
        let compiled = function(&self.lua, code, "@user_script", globals).and_then(|function| self.keep(function));
        let why = match compiled {
            Ok(number) => return Ok((number, flags)),
            Err(error) => crate::errors::plain(&error),
        };
        Err(Refused::Text(format!("ERR Error compiling script (new function): {why}")))
    }

    /// Compiles the text of a library.
    pub(crate) fn compile_library(&mut self, code: &[u8]) -> std::result::Result<i64, Refused> {
        // The first line stays, empty, so that others keep their numbers.
        let end = code.iter().position(|byte| *byte == b'\n').unwrap_or(code.len());
        let globals = self.ways.library_globals.clone();
        let compiled =
            function(&self.lua, &code[end..], "@user_function", globals).and_then(|function| self.keep(function));
        compiled
            .map_err(|error| Refused::Text(format!("ERR Error compiling function: {}", crate::errors::plain(&error))))
    }

    fn forget_one(&mut self) {
        let oldest = self.scripts.iter().min_by_key(|(_, compiled)| compiled.used).map(|(sha, _)| *sha);
        if let Some(gone) = oldest.and_then(|sha| self.scripts.remove(&sha)) {
            self.let_go(gone.number);
        }
    }
}
