//! What a script acts on: the trial, and what is known of the script while it runs.

use crate::guard::Halt;
use base::limits::{DATABASE_COUNT, EFFECTS_BYTES_MAX};
use base::{ShardId, Slot};
use data::command::pubsub::{self, Message};
use data::command::{self, containers, prefix};
use data::{Command, Effects, Refused, Reply, Run, Trial};

/// The circumstances of a run.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) trial: Trial,
    pub(crate) db: u8,
    /// The version of RESP that the script has asked for.
    pub(crate) resp: u8,
    /// It says of itself, or whoever called it says, that it changes nothing.
    pub(crate) only_reads: bool,
    /// There are no keys: what would touch any is run where they are.
    pub(crate) apart: bool,
    /// The script has called a command.
    pub(crate) touched: bool,
    /// What could need memory is refused.
    pub(crate) refuses_memory: bool,
    pub(crate) effects: Effects,
    pub(crate) shard: ShardId,
    pub(crate) shard_count: u16,
    /// What it has published.
    pub(crate) messages: Vec<Message>,
    /// Lines for the node's log.
    pub(crate) lines: Vec<(u8, Vec<u8>)>,
    /// What was called, while somebody wants to know.
    pub(crate) called: Option<Vec<(u8, Vec<Vec<u8>>)>>,
    /// What a library registers as it is taken in.
    pub(crate) library: Option<crate::library::Registered>,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Called {
    Reply(Reply),
    /// It was not even begun.
    Refused(String),
    Halt(Halt),
}

/// Lines that one script may leave in the log.
const LINES_MAX: usize = 100;
const LINE_BYTES_MAX: usize = 1024;
/// Calls of one batch that are told of.
const CALLED_MAX: usize = 10_000;

impl Stage {
    /// A stage on which nothing runs yet.
    pub(crate) fn new(trial: Trial, shard: ShardId, shard_count: u16) -> Self {
        Self {
            trial,
            db: 0,
            resp: 2,
            only_reads: false,
            apart: false,
            touched: false,
            refuses_memory: false,
            effects: Effects::default(),
            shard,
            shard_count,
            messages: Vec::new(),
            lines: Vec::new(),
            called: None,
            library: None,
        }
    }

    /// A command of the script; `args` with its name.
    pub(crate) fn call(&mut self, args: &[&[u8]]) -> Called {
        self.touched = true;
        match self.row(args) {
            _ if self.apart => Called::Halt(Halt::Touches),
            Ok(row) => {
                if let Some(called) = self.called.as_mut().filter(|called| called.len() < CALLED_MAX) {
                    called.push((self.db, args.iter().map(|arg| arg.to_vec()).collect()));
                }
                self.plain(row, args)
            }
            Err(why) => Called::Refused(why),
        }
    }

    /// A command that may be run here.
    pub(crate) fn plain(&mut self, row: &'static Command, args: &[&[u8]]) -> Called {
        match row.run {
            Run::Read(run) => Called::Reply(self.trial.read(self.db, |keyspace, cx| run(keyspace, cx, args).into())),
            Run::Scatter(scatter) if !scatter.may_write() => Called::Reply(self.trial.read(self.db, |keyspace, cx| {
                command::keyless::read(scatter, keyspace, cx, args, &mut cx.chance()).into()
            })),
            Run::Write(_) | Run::Scatter(_) => self.write(row, args),
            Run::Session => self.session(row, args),
            Run::Node if row.name == "command" => Called::Reply(command::docs::command(args).into()),
            Run::Everywhere if row.name != "pubsub" => self.publish(args),
            Run::Prefix(_) => Called::Refused(format!(
                "ERR '{}' can't be called from a script: put it before EVAL or FCALL, and it stands for the whole script",
                row.name
            )),
            Run::Node | Run::Everywhere | Run::Lock | Run::Script(_) => {
                Called::Refused(format!("ERR '{}' can't be called from a script here", row.name))
            }
        }
    }

    /// The row of a command that a script may call.
    fn row(&self, args: &[&[u8]]) -> Result<&'static Command, String> {
        let unknown = || "ERR Unknown Redis command called from script".to_owned();
        let row = command::find(args[0]).ok_or_else(unknown)?;
        if !row.accepts(args.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".to_owned());
        }
        match containers::check(row, args) {
            Ok(_) => {}
            Err(Refused::Arity(_)) => {
                return Err("ERR Wrong number of args calling Redis command from script".to_owned());
            }
            Err(_) => return Err(unknown()),
        }
        if row.flags.split(' ').any(|flag| flag == "noscript") || command::nodes::is_meta(row) {
            return Err("ERR This Redis command is not allowed from script".to_owned());
        }
        if wants_to_wait(row, args) {
            let name = String::from_utf8_lossy(args[0]);
            return Err(format!("ERR {name} command is not allowed with BLOCK option from scripts"));
        }
        if self.only_reads && (row.is_write() || may_be_told_on(row)) {
            return Err("ERR Write commands are not allowed from read-only scripts.".to_owned());
        }
        self.is_here(row, args)?;
        Ok(row)
    }

    /// A script has the keys of its own shard.
    fn is_here(&self, row: &Command, args: &[&[u8]]) -> Result<(), String> {
        if self.shard_count == 1 {
            return Ok(());
        }
        if let Run::Scatter(_) = row.run {
            return Err(format!(
                "CROSSSHARD '{}' concerns every shard, and a script runs in one; nothing was changed by it; call it outside of the \
                 script, or run with --shards 1",
                row.name
            ));
        }
        let shards = prefix::key_positions(row, args).map(|at| Slot::of(args[at]).shard(self.shard_count));
        match shards.into_iter().find(|shard| *shard != self.shard) {
            None => Ok(()),
            Some(second) => Err(Refused::CrossShard { first: self.shard, second }.to_string()),
        }
    }

    /// Changes the state, as it will be logged.
    pub(crate) fn write(&mut self, row: &'static Command, args: &[&[u8]]) -> Called {
        if self.trial.only_reads() {
            return Called::Halt(Halt::Writes);
        }
        // One that has written already goes on to its end.
        if self.refuses_memory && row.is_denyoom() && self.effects.is_empty() {
            return Called::Refused("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        let (reply, changed) = self.trial.write(self.db, row, args);
        if changed {
            self.effects.push(self.db, row, args);
            if self.effects.len() > EFFECTS_BYTES_MAX {
                return Called::Halt(Halt::Effects);
            }
        }
        Called::Reply(reply)
    }

    /// A message: it leaves when the script's entry is applied, so nobody can be counted yet.
    fn publish(&mut self, args: &[&[u8]]) -> Called {
        match pubsub::message(args) {
            Ok(message) => {
                self.messages.push(message);
                Called::Reply(Reply::Int(0))
            }
            Err(refused) => Called::Reply(Reply::Error(refused)),
        }
    }

    /// What is about the connection elsewhere is about the script here.
    fn session(&mut self, row: &Command, args: &[&[u8]]) -> Called {
        match (row.name, args) {
            ("ping", [_]) => Called::Reply(Reply::Simple("PONG")),
            ("ping" | "echo", [_, text]) => Called::Reply(Reply::bulk(text)),
            ("ping", _) => Called::Reply(Reply::Error(Refused::Arity("ping".to_owned()))),
            ("select", [_, number]) => Called::Reply(self.select(number).into()),
            _ => Called::Refused("ERR This Redis command is not allowed from script".to_owned()),
        }
    }

    fn select(&mut self, number: &[u8]) -> Result<Reply, Refused> {
        let number: i64 =
            std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()).ok_or(Refused::NotAnInteger)?;
        let known = u8::try_from(number).ok().filter(|db| *db < DATABASE_COUNT);
        self.db = known.ok_or(Refused::DbOutOfRange)?;
        Ok(Reply::Ok)
    }

    /// What it has said so far, and called.
    pub(crate) fn said(&self) -> (usize, usize) {
        (self.lines.len(), self.called.as_ref().map_or(0, Vec::len))
    }

    /// Takes back what was said since: it will be run again.
    pub(crate) fn unsay(&mut self, (lines, called): (usize, usize)) {
        self.lines.truncate(lines);
        self.called.iter_mut().for_each(|all| all.truncate(called));
    }

    /// A line for the node's log.
    pub(crate) fn log(&mut self, level: u8, line: &[u8]) {
        if self.lines.len() < LINES_MAX {
            self.lines.push((level, line[..line.len().min(LINE_BYTES_MAX)].to_vec()));
        }
    }
}

/// True for what changes no key and yet is more than a read: scripts that only read may not call it, as in Redis.
fn may_be_told_on(row: &Command) -> bool {
    matches!(row.name, "publish" | "spublish" | "pfcount")
}

/// True for a read of streams that would wait.
fn wants_to_wait(row: &Command, args: &[&[u8]]) -> bool {
    // GROUP, and two names that may be any, stand before the options.
    let from = match row.name {
        "xread" => 1,
        "xreadgroup" => 4,
        _ => return false,
    };
    let mut options = args.iter().skip(from).take_while(|word| !word.eq_ignore_ascii_case(b"streams"));
    options.any(|word| word.eq_ignore_ascii_case(b"block"))
}
