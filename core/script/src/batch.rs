//! A batch: scripts of one entry, one after the other on one trial.
//!
//! What stands before them in the entry, and plain commands between them, are done as apply will do them; so each script sees
//! what will have been done when its effects are applied. One that is ended by force leaves nothing behind, and those after it
//! go on.

use crate::engine::{Engine, Entrance, Ran, Way};
use crate::guard::Halt;
use crate::library::Loading;
use crate::stage::{Called, Stage};
use base::limits::ENTRY_BYTES_SOFT;
use base::mutation::{self, Mutation};
use bytes::Bytes;
use data::batch::{Batch, Done, End, Pace, Purpose, Queued, Task, is_scripted};
use data::command::scripts::{Access, Kind, Script, arguments, function_row, keep, sub};
use data::command::{Scatter, prefix};
use data::fence::{Fence, Judged, OwnedFence, as_fences};
use data::once::{Id, OwnedId};
use data::scripts::{Flags, Library, sha_from, sha_text, undump};
use data::shard::EntryWriter;
use data::trial::{Ahead, TrialMark};
use data::{Command, Effects, Refused, Reply, Run, Trial};
use smallvec::SmallVec;

type Words<'a> = SmallVec<[&'a [u8]; 8]>;

/// What became of a call.
enum Part {
    Reply(Reply),
    /// It was ended by force; the name of the script.
    Halted(Halt, String),
}

impl From<Result<Reply, Refused>> for Part {
    fn from(outcome: Result<Reply, Refused>) -> Self {
        Self::Reply(outcome.into())
    }
}

/// A batch while it is run.
struct Running<'a> {
    engine: &'a mut Engine,
    batch: &'a mut Batch,
    /// Lent to the script that runs.
    stage: Option<Stage>,
    /// The texts that the last task has called by their SHA-1.
    named: Vec<Bytes>,
    /// Scripts that were begun.
    scripts: usize,
}

impl Engine {
    /// Runs a batch; its state comes back as it was.
    #[must_use]
    pub fn run(&mut self, mut batch: Batch) -> Batch {
        self.refresh();
        let state = batch.state.take().expect("a batch comes with its state");
        for text in std::mem::take(&mut batch.texts) {
            // It was compiled before, elsewhere.
            let _ = self.script(&text, batch.shard, state.keyspace().scripts());
        }
        let trial = match batch.purpose {
            Purpose::Entry { index, stamp, .. } => Trial::of_entry(state, index, stamp),
            Purpose::Look { stamp, seed } | Purpose::Apart { stamp, seed, .. } => Trial::reading(state, stamp, seed),
        };
        let mut stage = Stage::new(trial, batch.shard, batch.shard_count);
        stage.apart = matches!(batch.purpose, Purpose::Apart { .. });
        stage.called = self.tells_calls.then(Vec::new);
        let mut running =
            Running { engine: self, batch: &mut batch, stage: Some(stage), named: Vec::new(), scripts: 0 };
        match running.batch.purpose {
            Purpose::Entry { .. } => running.entry(),
            Purpose::Look { .. } => running.look(),
            Purpose::Apart { .. } => running.apart(),
        }
        if let Running { batch: Batch { end: End::TooSlow | End::Untouched, texts, .. }, named, .. } = &mut running {
            texts.append(named);
        }
        let Stage { trial, messages, lines, called, .. } = running.stage.take().expect("every script gives it back");
        (batch.state, batch.messages, batch.lines) = (Some(trial.end()), messages, lines);
        batch.called = called.unwrap_or_default();
        batch
    }
}

impl Running<'_> {
    fn entry(&mut self) {
        let Self { batch, stage, .. } = self;
        stage.as_mut().expect("no script runs").trial.follow(&batch.entry, 0);
        while !self.trial().is_closed() && self.batch.entry.len() < ENTRY_BYTES_SOFT {
            if self.batch.pace == Pace::Patient && self.scripts > 0 {
                return;
            }
            let Some(task) = self.batch.tasks.pop_front() else { return };
            match self.task(&task) {
                Some(done) => self.batch.done.push(done),
                None => return self.batch.tasks.push_front(task),
            }
        }
    }

    fn look(&mut self) {
        let Some(task) = self.batch.tasks.pop_front() else { return };
        let Task::Command(Queued { db, command, args }) = &task else {
            unreachable!("a transaction is not only looked at")
        };
        let part = self.call(*db, command, &args.iter().map(Vec::as_slice).collect::<Words<'_>>());
        if let Part::Halted(..) = part {
            self.stage().messages.clear();
        }
        match part {
            Part::Reply(reply) => self.batch.done.push(Done::Answered(reply)),
            Part::Halted(Halt::Writes | Halt::Tick, _) => {
                self.stage().unsay((0, 0));
                self.batch.end = End::Writes;
                self.batch.tasks.push_front(task);
            }
            Part::Halted(Halt::TooSlow, _) => {
                self.stage().unsay((0, 0));
                self.batch.end = self.too_slow();
                self.batch.tasks.push_front(task);
            }
            Part::Halted(why, name) => {
                let reply = Reply::Error(self.engine.ended(why, &name));
                self.batch.done.push(Done::Answered(reply));
            }
        }
    }

    /// How a batch ends whose first script takes too long.
    fn too_slow(&mut self) -> End {
        if self.stage().touched { End::TooSlow } else { End::Untouched }
    }

    /// What needs no key to come to its end is answered: nothing that others do could have changed it.
    fn apart(&mut self) {
        let Some(task) = self.batch.tasks.pop_front() else { return };
        let Task::Command(Queued { db, command, args }) = &task else { unreachable!("a transaction is not run apart") };
        let part = self.call(*db, command, &args.iter().map(Vec::as_slice).collect::<Words<'_>>());
        let reply = match part {
            Part::Reply(reply) => reply,
            Part::Halted(Halt::Touches | Halt::TooSlow | Halt::Writes | Halt::Tick, _) => {
                self.stage().unsay((0, 0));
                self.batch.end = End::Touches;
                return self.batch.tasks.push_front(task);
            }
            Part::Halted(why, name) => Reply::Error(self.engine.ended(why, &name)),
        };
        self.batch.done.push(Done::Answered(reply));
    }

    /// Does a task. Nothing if it can't be done in this entry.
    fn task(&mut self, task: &Task) -> Option<Done> {
        self.named.clear();
        if !task.is_scripted() {
            return Some(self.plain(task));
        }
        let mut same = EntryWriter::default();
        match task {
            Task::Command(Queued { db, command, args }) => {
                let mut words: Words<'_> = args.iter().map(Vec::as_slice).collect();
                let (mut command, mut once, mut fences) = (*command, None, Vec::new());
                if let Run::Prefix(_) = command.run {
                    let call = prefix::parse(&words).expect("a task that is scripted was parsed");
                    (command, once) = (call.command, call.once.map(Id::to_owned));
                    fences.extend(call.fences.into_iter().map(Fence::to_owned));
                    words.drain(..call.at);
                }
                same.command(*db, command, &words);
                self.scripted((once.as_ref(), &fences), &same, |running| running.call(*db, command, &words))
            }
            Task::Transaction { once, fences, watched, commands } => {
                same.exec(&[], commands.iter().map(|one| (one.db, one.command, words(one))));
                self.scripted((once.as_ref(), fences), &same, |running| {
                    if !running.trial().holds(watched) {
                        return Part::Reply(Reply::NilArray);
                    }
                    let mut replies = Vec::new();
                    for one in commands {
                        match running.call(one.db, one.command, &words(one)) {
                            Part::Reply(reply) => replies.push(reply),
                            halted @ Part::Halted(..) => return halted,
                        }
                    }
                    Part::Reply(Reply::Array(replies))
                })
            }
        }
    }

    /// A task without a script: it is logged, and done as it stands there.
    fn plain(&mut self, task: &Task) -> Done {
        let Self { batch, stage, .. } = self;
        let (from, keep_ms) = (batch.entry.len(), batch.once_kept_ms);
        let entry = &mut batch.entry;
        match task {
            Task::Command(Queued { db, command, args }) => {
                let words: Words<'_> = args.iter().map(Vec::as_slice).collect();
                let (mut command, mut at) = (*command, 0);
                if let Run::Prefix(_) = command.run {
                    match prefix::parse(&words) {
                        Err(refused) => return Done::Answered(Reply::Error(refused)),
                        Ok(call) => {
                            (command, at) = (call.command, call.at);
                            call.once.into_iter().for_each(|id| entry.once(id, keep_ms));
                            entry.fences(&call.fences);
                        }
                    }
                }
                entry.command(*db, command, &words[at..]);
            }
            Task::Transaction { once, fences, watched, commands } => {
                once.iter().for_each(|id| entry.once(id.as_id(), keep_ms));
                entry.fences(&as_fences(fences));
                entry.exec(watched, commands.iter().map(|one| (one.db, one.command, words(one))));
            }
        }
        stage.as_mut().expect("no script runs").trial.follow(&batch.entry, from);
        Done::Logged(None)
    }

    /// Runs what is scripted, and writes what it did into the entry. `same` holds it as if it were plain, to tell it from
    /// others under the same id.
    fn scripted(
        &mut self,
        (once, fences): (Option<&OwnedId>, &[OwnedFence]),
        same: &EntryWriter,
        run: impl FnOnce(&mut Self) -> Part,
    ) -> Option<Done> {
        let mark: TrialMark = self.trial().mark();
        let (told, said) = (self.stage().messages.len(), self.stage().said());
        let fingerprint = match once.map(|id| self.trial().ahead(id.as_id(), same)) {
            None => None,
            Some(Ahead::Run { fingerprint }) => Some(fingerprint),
            Some(Ahead::Answered(reply)) => return Some(self.answer(reply)),
            Some(Ahead::Later) => return None,
        };
        let judged = match self.trial().admit(fences) {
            Ok(judged) => judged,
            Err(refused) => return Some(self.refused_by_fence(once.zip(fingerprint), fences, refused)),
        };
        let stage = self.stage();
        (stage.effects, stage.touched) = (Effects::default(), false);
        match run(self) {
            Part::Halted(Halt::TooSlow, _) => {
                self.trial().back_to(mark);
                self.stage().messages.truncate(told);
                self.stage().unsay(said);
                // One that shared its time with others tries again alone, before it is called slow.
                self.batch.end = if self.batch.done.is_empty() { self.too_slow() } else { End::Done };
                None
            }
            Part::Halted(why, name) => {
                if mutation::on(Mutation::EndedScriptKept) {
                    let effects = std::mem::take(&mut self.stage().effects);
                    self.batch.entry.effects(&effects);
                    return Some(Done::Logged(Some(Reply::Error(self.engine.ended(why, &name)))));
                }
                self.trial().back_to(mark);
                self.stage().messages.truncate(told);
                let refused = self.engine.ended(why, &name);
                self.engine.refresh();
                Some(self.answer(Reply::Error(refused)))
            }
            Part::Reply(reply) => {
                let effects = std::mem::take(&mut self.stage().effects);
                let entry = &mut self.batch.entry;
                match once.zip(fingerprint) {
                    Some((id, fingerprint)) => {
                        entry.once(id.as_id(), self.batch.once_kept_ms);
                        entry.fences(&as_fences(fences));
                        entry.outcome(fingerprint, &reply, &effects);
                    }
                    None if effects.is_empty() && judged == Judged::Seen => {
                        if !fences.is_empty() {
                            // The log says nothing of them.
                            self.trial().back_to(mark);
                        }
                        return Some(self.answer(reply));
                    }
                    None => {
                        entry.fences(&as_fences(fences));
                        entry.effects(&effects);
                    }
                }
                self.trial().serve();
                Some(Done::Logged(Some(reply)))
            }
        }
    }

    /// A fence refuses it. Where it isn't sure yet what an id is worth, apply must look at that first.
    fn refused_by_fence(&mut self, once: Option<(&OwnedId, u64)>, fences: &[OwnedFence], refused: Refused) -> Done {
        let reply = Reply::Error(refused);
        let Some((id, fingerprint)) = once.filter(|_| self.trial().is_closed()) else { return self.answer(reply) };
        let Batch { entry, once_kept_ms, .. } = &mut *self.batch;
        entry.once(id.as_id(), *once_kept_ms);
        entry.fences(&as_fences(fences));
        entry.outcome(fingerprint, &reply, &Effects::default());
        Done::Logged(None)
    }

    /// The answer to what has changed nothing. It may rest on what stands before it in the entry, and on this being the
    /// leader: then it waits for the entry.
    fn answer(&mut self, reply: Reply) -> Done {
        let now = matches!(self.batch.purpose, Purpose::Entry { reads_now: true, .. });
        if now && self.batch.entry.is_empty() {
            return Done::Answered(reply);
        }
        self.batch.entry.effects(&Effects::default());
        Done::Logged(Some(reply))
    }

    /// One command: a script, what needs a compiler, or among those of a transaction, any.
    fn call(&mut self, db: u8, command: &'static Command, args: &[&[u8]]) -> Part {
        self.stage().db = db;
        match command.run {
            Run::Script(script) => self.script(script, args),
            Run::Scatter(scatter) if is_scripted(command, args) => self.compile(scatter, args),
            _ => {
                self.stage().only_reads = false;
                // A transaction that needs memory was refused as a whole.
                self.stage().refuses_memory = false;
                match self.stage().plain(command, args) {
                    Called::Reply(reply) => Part::Reply(reply),
                    Called::Refused(why) => Part::Reply(Reply::Error(Refused::Text(why))),
                    Called::Halt(why) => Part::Halted(why, String::new()),
                }
            }
        }
    }

    fn script(&mut self, script: Script, args: &[&[u8]]) -> Part {
        self.scripts += 1;
        let found = match script.kind {
            Kind::Function => self.function(args),
            Kind::Body | Kind::Sha => self.body(script, args),
        };
        let Found { way, number, name, flags, keys, rest } = match found {
            Ok(found) => found,
            Err(part) => return part,
        };
        let reads = script.access == Access::Reads;
        if reads && flags.is_some_and(|flags| !flags.has(Flags::NO_WRITES)) {
            return refused("ERR Can not execute a script with write flag using *_ro command.");
        }
        let mut stage = self.stage.take().expect("no script runs");
        stage.resp = 2;
        let allowed = flags.is_some_and(|flags| flags.has(Flags::ALLOW_OOM));
        stage.refuses_memory = self.batch.refuses_memory && !allowed;
        stage.only_reads = reads || flags.is_some_and(|flags| flags.has(Flags::NO_WRITES));
        let entrance = Entrance { way, number, keys, args: rest, name: &name };
        let (stage, ran) = self.engine.enter(stage, self.batch.pace, &self.batch.stop, &entrance);
        self.stage = Some(stage);
        match ran {
            Ran::Reply(reply) => Part::Reply(reply),
            Ran::Halted(why) => {
                if why == Halt::Writes {
                    self.engine.note_writer(number);
                }
                Part::Halted(why, name)
            }
        }
    }

    fn body<'a>(&mut self, script: Script, args: &'a [&'a [u8]]) -> Result<Found<'a>, Part> {
        let error = |refused| Part::Reply(Reply::Error(refused));
        if script.kind == Kind::Sha && sha_from(args[1]).is_none() {
            return Err(refused("NOSCRIPT No matching script. Please use EVAL."));
        }
        let (keys, rest) = arguments(script.kind, args).map_err(error)?;
        let Self { engine, batch, stage, named, .. } = self;
        let scripts = stage.as_ref().expect("no script runs").trial.keyspace().scripts();
        let sha = match script.kind {
            Kind::Sha => engine.script_named(args[1], batch.shard, scripts),
            _ => engine.script(args[1], batch.shard, scripts),
        };
        let sha = sha.map_err(error)?;
        let (number, flags, writes) = engine.compiled_as(&sha);
        if script.kind == Kind::Sha && batch.pace == Pace::Brisk {
            named.push(engine.text(&sha));
        }
        let looks = matches!(batch.purpose, Purpose::Look { .. });
        if looks && writes && script.access == Access::Any {
            return Err(Part::Halted(Halt::Writes, String::new()));
        }
        Ok(Found { way: Way::Script, number, name: sha_text(&sha), flags, keys, rest })
    }

    fn function<'a>(&mut self, args: &'a [&'a [u8]]) -> Result<Found<'a>, Part> {
        let scripts = self.stage().trial.keyspace().scripts();
        let Some((function, library)) = scripts.function(args[1]) else {
            return Err(refused("ERR Function not found"));
        };
        let (flags, library) = (function.flags, library.clone());
        let (keys, rest) = arguments(Kind::Function, args).map_err(|refused| Part::Reply(Reply::Error(refused)))?;
        let name = String::from_utf8_lossy(args[1]).into_owned();
        let number = match self.engine.callback(&library, args[1]) {
            Some(number) => number,
            None => {
                self.load(&library.code)?;
                let loaded = self.engine.callback(&library, args[1]);
                loaded.ok_or_else(|| refused("ERR Function not found: its library registers it no more"))?
            }
        };
        Ok(Found { way: Way::Function, number, name, flags: Some(flags), keys, rest })
    }

    fn load(&mut self, code: &Bytes) -> Result<Library, Part> {
        let stage = self.stage.take().expect("no script runs");
        let (stage, loaded) = self.engine.load(stage, self.batch.pace, &self.batch.stop, code);
        self.stage = Some(stage);
        loaded.map_err(|why| match why {
            Loading::Refused(refused) => Part::Reply(Reply::Error(refused)),
            Loading::Halted(why) => Part::Halted(why, "a library".to_owned()),
        })
    }

    /// SCRIPT LOAD and EXISTS, FUNCTION LOAD and RESTORE.
    fn compile(&mut self, scatter: Scatter, args: &[&[u8]]) -> Part {
        self.scripts += 1;
        let done = match (scatter, sub(args).as_str()) {
            (Scatter::Script, "load") => self.script_load(args),
            (Scatter::Script, _) => Ok(self.script_exists(&args[2..])),
            (_, "load") => self.function_load(&args[2..]),
            _ => self.function_restore(&args[2..]),
        };
        match done {
            Ok(reply) => Part::Reply(reply),
            Err(part) => part,
        }
    }

    fn script_load(&mut self, args: &[&[u8]]) -> Result<Reply, Part> {
        let Self { engine, batch, stage, .. } = self;
        let stage = stage.as_mut().expect("no script runs");
        let compiled = engine.script(args[2], batch.shard, stage.trial.keyspace().scripts());
        compiled.map_err(|refused| Part::Reply(Reply::Error(refused)))?;
        let row = data::command::find(args[0]).expect("it was called by its name");
        self.write(row, args)
    }

    fn script_exists(&mut self, shas: &[&[u8]]) -> Reply {
        let Self { engine, batch, stage, .. } = self;
        let scripts = stage.as_ref().expect("no script runs").trial.keyspace().scripts();
        let known = |sha: &&[u8]| {
            sha_from(sha).is_some_and(|sha| scripts.body(&sha).is_some() || engine.has_seen(&sha, batch.shard, scripts))
        };
        Reply::Array(shas.iter().map(|sha| Reply::Int(i64::from(known(sha)))).collect())
    }

    fn function_load(&mut self, args: &[&[u8]]) -> Result<Reply, Part> {
        let Some((code, options)) = args.split_last() else { unreachable!("its arity was looked at") };
        let mut replace = false;
        for option in options {
            if !option.eq_ignore_ascii_case(b"replace") {
                let option = String::from_utf8_lossy(option);
                return Err(refused(&format!("ERR Unknown option given: {option}")));
            }
            replace = true;
        }
        let scripts = self.stage().trial.keyspace().scripts();
        if let Ok(name) = crate::library::name_of(code)
            && scripts.library(&name).is_some()
            && !replace
        {
            let name = String::from_utf8_lossy(&name);
            return Err(refused(&format!("ERR Library '{name}' already exists")));
        }
        let library = self.load(&Bytes::copy_from_slice(code))?;
        self.add(&library, replace)
    }

    fn add(&mut self, library: &Library, replace: bool) -> Result<Reply, Part> {
        let words = keep(library, replace);
        let words: Words<'_> = words.iter().map(Vec::as_slice).collect();
        self.write(function_row(), &words)
    }

    fn function_restore(&mut self, args: &[&[u8]]) -> Result<Reply, Part> {
        let error = |refused| Part::Reply(Reply::Error(refused));
        let policy = args.get(1).map(|word| word.to_ascii_lowercase());
        let (flush, replace) = match (policy.as_deref(), args.len()) {
            (None | Some(b"append"), ..=2) => (false, false),
            (Some(b"flush"), 2) => (true, false),
            (Some(b"replace"), 2) => (false, true),
            _ => {
                let text = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
                return Err(refused(text));
            }
        };
        let codes = undump(args[0]).map_err(error)?;
        let libraries = codes.into_iter().map(|code| self.load(&Bytes::from(code))).collect::<Result<Vec<_>, _>>()?;
        // All of them, or none: tried on a copy, whose texts are shared.
        let mut tried = self.stage().trial.keyspace().scripts().clone();
        if flush {
            tried.remove_all();
        }
        for library in &libraries {
            tried.may_add(library, replace).map_err(error)?;
            tried.add(library.clone());
        }
        if flush {
            self.write(function_row(), &[b"FUNCTION", b"FLUSH"])?;
        }
        for library in &libraries {
            self.add(library, replace)?;
        }
        Ok(Reply::Ok)
    }

    /// Changes the state, as it will be logged.
    fn write(&mut self, row: &'static Command, args: &[&[u8]]) -> Result<Reply, Part> {
        match self.stage().write(row, args) {
            Called::Reply(reply) => Ok(reply),
            Called::Refused(why) => Err(refused(&why)),
            Called::Halt(why) => Err(Part::Halted(why, String::new())),
        }
    }

    fn stage(&mut self) -> &mut Stage {
        self.stage.as_mut().expect("no script runs")
    }

    fn trial(&mut self) -> &mut Trial {
        &mut self.stage().trial
    }
}

fn words(one: &Queued) -> Vec<&[u8]> {
    one.args.iter().map(Vec::as_slice).collect()
}

/// A script that was found.
struct Found<'a> {
    way: Way,
    number: i64,
    name: String,
    /// Nothing if it says nothing of itself.
    flags: Option<Flags>,
    keys: &'a [&'a [u8]],
    rest: &'a [&'a [u8]],
}

fn refused(text: &str) -> Part {
    Part::Reply(Reply::Error(Refused::Text(text.to_owned())))
}
