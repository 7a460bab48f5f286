//! One interpreter, and a run in it.

use crate::cjson;
use crate::convert::ToReply;
use crate::errors::{self, Raised};
use crate::guard::{Guard, Halt};
use crate::number::Chance;
use crate::sandbox::{self, Ways};
use crate::stage::Stage;
use base::ShardId;
use bytes::Bytes;
use data::batch::{Pace, Stop, Stopped};
use data::scripts::{Flags, Sha};
use data::{Refused, Reply};
use mlua::{HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// What one script may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps, and bytes of the interpreter, where others wait: what takes more is run elsewhere. A step is about an
    /// instruction; some hundred thousand take a millisecond.
    pub brisk_steps: u64,
    pub brisk_bytes: usize,
    /// The same wherever it runs: what takes more is ended.
    pub steps: u64,
    pub bytes: usize,
    /// Milliseconds after which whoever watches ends it; for the text of the error.
    pub ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { brisk_steps: 300_000, brisk_bytes: 8 << 20, steps: u64::MAX, bytes: 64 << 20, ms: 5_000 }
    }
}

/// One interpreter; see the crate. It is of one thread, and is made there.
#[derive(Debug)]
pub struct Engine {
    pub(crate) lua: Lua,
    pub(crate) shared: Rc<Shared>,
    pub(crate) ways: Ways,
    pub(crate) limits: Limits,
    pub(crate) tells_calls: bool,
    /// Compiled scripts and callbacks of functions by number. They are kept in the interpreter: native code can hold on to
    /// few values only.
    pub(crate) compiled: Table,
    pub(crate) next_number: i64,
    pub(crate) scripts: BTreeMap<Sha, Compiled>,
    pub(crate) libraries: BTreeMap<Sha, Loaded>,
    /// Rises with each use, to find what was used least.
    pub(crate) uses: u64,
    memory: Rc<MemoryLimit>,
    /// A script was ended by force: the interpreter is not used again.
    spoiled: bool,
}

/// A script that was compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) text: Bytes,
    pub(crate) number: i64,
    /// What its first line says, if it says anything.
    pub(crate) flags: Option<Flags>,
    /// It was about to write when it was run only to read.
    pub(crate) writes: bool,
    /// In which shards it was run or loaded, and how often scripts had been forgotten there.
    pub(crate) seen: BTreeMap<ShardId, u64>,
    pub(crate) used: u64,
}

/// A library that was run.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The numbers of its callbacks, by function.
    pub(crate) callbacks: BTreeMap<Box<[u8]>, i64>,
    pub(crate) used: u64,
}

/// What native functions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) guard: Rc<Guard>,
    pub(crate) stage: RefCell<Option<Stage>>,
    pub(crate) chance: Rc<Cell<Chance>>,
    pub(crate) failure: RefCell<Option<Failure>>,
    pub(crate) cjson: Rc<cjson::Settings>,
    /// What a library that is run has registered: one table, for native code can hold on to few values only.
    pub(crate) callbacks: RefCell<Option<Table>>,
}

/// Bytes that the interpreter may take in this run.
#[derive(Debug, Default)]
pub(crate) struct MemoryLimit(pub(crate) Cell<usize>);

/// Why a script failed, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    pub(crate) message: Vec<u8>,
    pub(crate) at: Option<(String, usize)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ran {
    Reply(Reply),
    Halted(Halt),
}

/// What is run: a number among the compiled, its arguments, and how errors call it.
pub(crate) struct Entrance<'a> {
    pub(crate) way: Way,
    pub(crate) number: i64,
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) name: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Script,
    Function,
    Library,
}

/// The interpreter's own step counter asks the guard every so many instructions.
const HOOK_STEPS: u32 = 500;

impl Engine {
    /// A fresh interpreter.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let memory = Rc::new(MemoryLimit::default());
        memory.0.set(usize::MAX);
        let made = Self::make(&memory);
        let (lua, shared, ways, compiled) = made.expect("the sandbox fits in memory and has no errors");
        Self {
            lua,
            shared,
            ways,
            limits,
            tells_calls: false,
            compiled,
            next_number: 1,
            scripts: BTreeMap::new(),
            libraries: BTreeMap::new(),
            uses: 0,
            memory,
            spoiled: false,
        }
    }

    fn make(memory: &Rc<MemoryLimit>) -> mlua::Result<(Lua, Rc<Shared>, Ways, Table)> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let shared = Rc::new(Shared {
            guard: Rc::new(Guard::default()),
            stage: RefCell::new(None),
            chance: Rc::new(Cell::new(Chance::new(0))),
            failure: RefCell::new(None),
            cjson: Rc::default(),
            callbacks: RefCell::default(),
        });
        lua.set_app_data(Rc::clone(memory));
        let ways = sandbox::build(&lua, &shared)?;
        let guard = Rc::clone(&shared.guard);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(HOOK_STEPS), move |_, _| {
            guard.spend(u64::from(HOOK_STEPS)).map(|()| VmState::Continue)
        })?;
        let compiled = lua.create_table()?;
        lua.gc_collect()?;
        Ok((lua, shared, ways, compiled))
    }

    /// Whether batches tell which commands scripts have called.
    pub fn tell_calls(&mut self, tells: bool) {
        self.tells_calls = tells;
    }

    /// Other limits from the next script on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A fresh interpreter in place of one in which a script was ended by force.
    pub(crate) fn refresh(&mut self) {
        if self.spoiled {
            *self = Self::new(self.limits);
        }
    }

    /// Runs on a stage, which comes back.
    pub(crate) fn enter(
        &mut self,
        stage: Stage,
        pace: Pace,
        stop: &Arc<Stop>,
        entrance: &Entrance<'_>,
    ) -> (Stage, Ran) {
        let (steps, bytes) = match pace {
            Pace::Brisk => (self.limits.brisk_steps, self.limits.brisk_bytes),
            Pace::Patient => (self.limits.steps, self.limits.bytes),
        };
        self.shared.guard.begin(pace, steps, stop);
        self.shared.cjson.reset();
        *self.shared.failure.borrow_mut() = None;
        let resp = Cell::new(2);
        let mut stage = stage;
        self.shared.chance.set(Chance::from_bits(stage.trial.draw()));
        *self.shared.stage.borrow_mut() = Some(stage);
        // Without a limit, which its request's size has set already, the interpreter needs no protected call to take memory.
        let words = self.words(entrance);
        self.limit_memory(bytes);
        let ran = words.and_then(|words| self.call(entrance, words)).and_then(|(ok, value)| {
            resp.set(self.shared.with_stage(|stage| stage.resp));
            let mut to_reply = ToReply { guard: &self.shared.guard, resp: resp.get(), bytes: 0 };
            if ok { to_reply.value(&value, 0).map(Ok) } else { Ok(Err(value)) }
        });
        self.limit_memory(usize::MAX);
        let stage = self.shared.stage.borrow_mut().take().expect("natives give it back");
        (stage, self.judge(ran, entrance))
    }

    /// KEYS and ARGV.
    fn words(&self, entrance: &Entrance<'_>) -> mlua::Result<[Table; 2]> {
        let list = |words: &[&[u8]]| {
            let table = self.lua.create_table_with_capacity(words.len(), 0)?;
            for word in words {
                table.raw_push(self.lua.create_string(word)?)?;
            }
            Ok::<_, mlua::Error>(table)
        };
        Ok([list(entrance.keys)?, list(entrance.args)?])
    }

    fn call(&self, entrance: &Entrance<'_>, [keys, args]: [Table; 2]) -> mlua::Result<(bool, Value)> {
        let way = match entrance.way {
            Way::Script => &self.ways.script,
            Way::Function => &self.ways.function,
            Way::Library => &self.ways.library,
        };
        let function: Value = self.compiled.raw_get(entrance.number)?;
        if entrance.way == Way::Library {
            return way.call(function);
        }
        way.call((function, keys, args))
    }

    fn judge(&mut self, ran: mlua::Result<Result<Reply, Value>>, entrance: &Entrance<'_>) -> Ran {
        if let Some(why) = self.shared.guard.halted() {
            self.spoiled |= matches!(why, Halt::Stopped(_) | Halt::Steps | Halt::Memory);
            return Ran::Halted(why);
        }
        let value = match ran {
            Ok(Ok(reply)) => return Ran::Reply(reply),
            Ok(Err(value)) => Some(value),
            Err(error) if errors::is_memory(&error) => None,
            Err(error) => return Ran::Reply(refusal(&Failure::plain(&errors::plain(&error)), entrance.name)),
        };
        match self.shared.failure.borrow_mut().take() {
            Some(failure) => Ran::Reply(refusal(&failure, entrance.name)),
            // No handler is called where there is no memory for it.
            None => {
                let _ = value;
                self.spoiled = true;
                let brisk = self.shared.guard.out_of_memory().is_some();
                Ran::Halted(if brisk { Halt::TooSlow } else { Halt::Memory })
            }
        }
    }

    fn limit_memory(&self, bytes: usize) {
        // What is kept between runs is not the script's.
        let limit = if bytes == usize::MAX { 0 } else { bytes };
        self.memory.0.set(bytes);
        self.lua.set_memory_limit(limit).expect("this interpreter's memory can be limited");
    }

    /// The text for a script that was ended by force.
    pub(crate) fn ended(&self, why: Halt, name: &str) -> Refused {
        let Limits { ms, bytes, .. } = self.limits;
        let nothing = "nothing of it took effect";
        let what = match why {
            Halt::Stopped(Stopped::Killed) => "Script killed by user with SCRIPT KILL.".to_owned(),
            Halt::Stopped(Stopped::OutOfTime) => {
                format!("Script stopped: it ran for longer than script-time-limit, {ms} ms; {nothing}.")
            }
            Halt::Steps => format!("Script stopped: it took more steps than a script may; {nothing}."),
            Halt::Memory => {
                format!("Script stopped: it used more memory than script-memory-limit, {} MB; {nothing}.", bytes >> 20)
            }
            Halt::Effects => format!("Script stopped: what it did is larger than a log entry may be; {nothing}."),
            Halt::Reply => format!("Script stopped: what it answered is too large; {nothing}."),
            Halt::TooSlow | Halt::Writes | Halt::Tick | Halt::Touches => unreachable!("it is run again"),
        };
        Refused::Text(format!("ERR {what} script: {name}"))
    }
}

impl Failure {
    pub(crate) fn plain(message: &str) -> Self {
        Self { message: format!("ERR {message}").into_bytes(), at: None }
    }

    /// What a value that was raised says.
    pub(crate) fn of(value: &Value) -> Option<Vec<u8>> {
        let error = |text: &[u8]| Some([b"ERR ", text].concat());
        match value {
            Value::Error(raised) => match errors::raised(raised) {
                Some(Raised::Text(text)) => error(text),
                Some(Raised::Table(text)) => Some(text.clone()),
                Some(Raised::Halt(_)) => None,
                None if errors::is_memory(raised) => None,
                None => error(errors::plain(raised).as_bytes()),
            },
            Value::Table(table) => match table.raw_get("err") {
                Ok(Value::String(message)) => Some(message.as_bytes().to_vec()),
                _ => error(b"an error that is a table without 'err'"),
            },
            Value::String(text) => error(&text.as_bytes()),
            Value::Nil => error(b"nil"),
            Value::Boolean(told) => error(told.to_string().as_bytes()),
            Value::Integer(n) => error(n.to_string().as_bytes()),
            Value::Number(n) => error(crate::number::general(*n, 14).as_bytes()),
            other => error(other.type_name().as_bytes()),
        }
    }
}

fn refusal(failure: &Failure, name: &str) -> Reply {
    let mut text = String::from_utf8_lossy(&failure.message).into_owned();
    if let Some((source, line)) = &failure.at {
        text.push_str(&format!(" script: {name}, on {source}:{line}."));
    }
    Reply::Error(Refused::Text(text))
}
