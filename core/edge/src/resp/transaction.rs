//! MULTI, EXEC, DISCARD and UNWATCH on one connection.
//!
//! What changes or reads keys goes to the core as one step. Commands about the connection or the node have no place in
//! a shard's log: they are run when EXEC is, and their replies are put between the core's at their positions. Messages leave once
//! the transaction is committed, and its reply when it is known who got them; a transaction that fails sends none.

use super::client::is_for_node;
use super::parse::Args;
use super::session::{Kind, Session, error};
use super::step::{EverywhereCall, ExecCall, QueuedCall, Step};
use crate::cluster::Place;
use base::limits::{QUEUED_COMMANDS_MAX, STRING_BYTES_MAX};
use data::command::prefix;
use data::command::pubsub::{Everywhere, listens};
use data::fence::{Fence, OwnedFence};
use data::once::Id;
use data::{Command, Refused, Reply, Run};

/// What MULTI has queued.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    queued: Vec<QueuedCall>,
    /// The database of the next queued command: SELECT may stand among them.
    db: u8,
    /// Of all arguments.
    bytes: usize,
    spoilt: bool,
    /// Of the commands in it before which FENCE stood.
    pub(super) fences: Vec<OwnedFence>,
}

/// Replies of an EXEC that don't come from the core, by their positions, and the database that it selects.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) seq: u64,
    pub(super) replies: Vec<(usize, Reply)>,
    pub(super) db: u8,
    /// What is for every lane once the transaction is committed, by position.
    later: Vec<(usize, Everywhere)>,
    /// The core's reply, once it is.
    committed: Option<Reply>,
    /// Positions whose answers are awaited.
    awaited: usize,
}

/// Marks the numbers of calls that transactions make behind their commit: the low bits are positions.
const BEHIND_EXEC: u64 = 1 << 63;

impl Transaction {
    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    pub(super) fn queued(&self) -> &[QueuedCall] {
        &self.queued
    }

    /// It will not be executed: what is queued is let go.
    pub(super) fn spoil(&mut self) {
        self.spoilt = true;
        self.queued = Vec::new();
    }
}

impl QueuedCall {
    /// The arguments, as commands take them.
    #[must_use]
    pub fn words(&self) -> Args<'_> {
        self.args.iter().map(Vec::as_slice).collect()
    }
}

impl Merge {
    /// The core's reply, if nothing more is awaited.
    fn finish(&mut self) -> Option<(u64, Reply)> {
        if self.awaited > 0 {
            return None;
        }
        self.replies.sort_by_key(|(at, _)| *at);
        self.committed.take().map(|reply| (self.seq, reply))
    }

    /// The core's replies with the others between them.
    pub(super) fn into_reply(self, reply: Reply) -> Reply {
        let Reply::Array(mut all) = reply else { return reply };
        for (at, reply) in self.replies {
            all.insert(at.min(all.len()), reply);
        }
        Reply::Array(all)
    }
}

impl Session {
    /// Queues a command.
    pub(super) fn queue<'a>(&mut self, command: &'static Command, args: &Args<'a>, out: &mut Vec<u8>) -> Step<'a> {
        if self.out_of_memory && command.name != "unwatch" {
            return self.refuse(Refused::Text(OUT_OF_MEMORY.to_owned()), out);
        }
        let selected = args.get(1).filter(|_| command.name == "select").and_then(|db| self.select(db).ok());
        let transaction = self.transaction.as_mut().expect("the caller looked");
        if transaction.queued.len() >= QUEUED_COMMANDS_MAX {
            transaction.spoil();
            return self.answer(error("ERR too many commands in MULTI; EXEC in smaller parts"), out);
        }
        let db = transaction.db;
        if listens(command).is_some() {
            let name = command.name.to_uppercase();
            let why = "its messages would stand among the replies of EXEC: send it outside of MULTI";
            return self.refuse(Refused::Text(format!("ERR {name} can't stand in MULTI, for {why}")), out);
        }
        if let Run::Lock = command.run {
            return self.refuse(Refused::Text(LOCK_INSIDE.to_owned()), out);
        }
        if command.name.starts_with("fence.") {
            let name = command.name.to_uppercase();
            return self.refuse(Refused::Text(format!("ERR {name} can't stand in MULTI: send it before")), out);
        }
        let transaction = self.transaction.as_mut().expect("the caller looked");
        if let Some(selected) = selected {
            transaction.db = selected;
        }
        transaction.bytes += args.iter().map(|arg| arg.len()).sum::<usize>();
        if transaction.bytes > STRING_BYTES_MAX {
            transaction.spoil();
            return self.answer(error("ERR the transaction is larger than 512 MB; EXEC in smaller parts"), out);
        }
        if !transaction.spoilt {
            let args = args.iter().map(|arg| arg.to_vec()).collect();
            transaction.queued.push(QueuedCall { db, command, args });
        }
        self.answer(Reply::Simple("QUEUED"), out)
    }

    pub(super) fn transaction_command<'a>(&mut self, command: &'static Command, out: &mut Vec<u8>) -> Step<'a> {
        let reply = match command.name {
            "multi" if self.transaction.is_some() => error("ERR MULTI calls can not be nested"),
            "multi" => {
                self.transaction = Some(Transaction { db: self.db, ..Transaction::default() });
                Reply::Ok
            }
            "discard" if self.watching() => return Step::Blocked,
            "discard" if self.transaction.is_none() => error("ERR DISCARD without MULTI"),
            "discard" => {
                self.transaction = None;
                self.watched.clear();
                Reply::Ok
            }
            "unwatch" if self.watching() => return Step::Blocked,
            "unwatch" => {
                self.watched.clear();
                Reply::Ok
            }
            "exec" if self.transaction.is_none() => error("ERR EXEC without MULTI"),
            "exec" if self.watching() => return Step::Blocked,
            "exec" => return self.exec(None, &[], out),
            other => error(&format!("ERR the command '{other}' is not served here")),
        };
        self.answer(reply, out)
    }

    /// EXEC that is malformed: the transaction is gone, as if it had been discarded.
    pub(super) fn abort<'a>(&mut self, out: &mut Vec<u8>) -> Step<'a> {
        self.abort_for("wrong number of arguments for 'exec' command", out)
    }

    fn abort_for<'a>(&mut self, why: &str, out: &mut Vec<u8>) -> Step<'a> {
        if self.watching() {
            return Step::Blocked;
        }
        self.transaction = None;
        self.watched.clear();
        self.answer(error(&format!("EXECABORT Transaction discarded because of: {why}")), out)
    }

    /// A command behind ONCE or FENCE, apart so that other commands' way stays short: for the core if it may stand there, EXEC as
    /// the transaction that it ends. Within MULTI, a fence is one of the transaction.
    #[cold]
    #[inline(never)]
    pub(super) fn prefixed<'a>(
        &mut self,
        row: &'static Command,
        args: Args<'a>,
        place: Place,
        out: &mut Vec<u8>,
    ) -> Step<'a> {
        let in_multi = self.transaction.is_some();
        match prefix::parse(&args) {
            Ok(call) if call.is_exec() && !in_multi => self.answer(error("ERR EXEC without MULTI"), out),
            Ok(call) if call.is_exec() && self.watching() => Step::Blocked,
            Ok(call) if call.is_exec() => self.exec(call.once, &call.fences, out),
            Ok(call) if in_multi && call.once.is_none() => self.queue_fenced(&call, &args, out),
            Ok(_) if in_multi => self.refuse(Refused::Text(ONCE_INSIDE.to_owned()), out),
            Ok(_) => Step::Request(self.call(row, args, place)),
            Err(why) if in_multi && prefix::ends_transaction(&args) => {
                let why = why.to_string();
                self.abort_for(why.strip_prefix("ERR ").unwrap_or(&why), out)
            }
            Err(why) => self.refuse(why, out),
        }
    }

    /// Replies of the node's own commands in an EXEC, asked for by [`ExecCall::admin`].
    pub fn on_exec_admin(&mut self, seq: u64, replies: Vec<(usize, Reply)>) {
        if let Some(merge) = self.merges.iter_mut().find(|merge| merge.seq == seq) {
            merge.replies.extend(replies);
            merge.replies.sort_by_key(|(at, _)| *at);
        }
    }

    /// A reply while EXECs are in flight: what is for the client of it, if anything is by now.
    #[cold]
    pub(super) fn merge_everywhere(&mut self, seq: u64, reply: Reply) -> Option<(u64, Reply)> {
        if seq & BEHIND_EXEC != 0 {
            let merge = self.merges.front_mut()?;
            merge.replies.push((usize::try_from(seq & !BEHIND_EXEC).ok()?, reply));
            merge.awaited = merge.awaited.checked_sub(1)?;
            return merge.finish();
        }
        let Some(merge) = self.merges.iter_mut().find(|merge| merge.seq == seq) else { return Some((seq, reply)) };
        if merge.later.is_empty() || !matches!(reply, Reply::Array(_)) {
            return Some((seq, reply));
        }
        merge.committed = Some(reply);
        merge.awaited = merge.later.len();
        let numbered = merge.later.drain(..).map(|(at, what)| EverywhereCall { seq: BEHIND_EXEC | at as u64, what });
        self.due.extend(numbered);
        None
    }

    /// What transactions that are committed have for every lane; the answers go to [`Session::on_reply`].
    pub fn take_due(&mut self) -> Vec<EverywhereCall> {
        std::mem::take(&mut self.due)
    }

    fn exec<'a>(&mut self, once: Option<Id<'_>>, before: &[Fence<'_>], out: &mut Vec<u8>) -> Step<'a> {
        let publishes = |one: &QueuedCall| matches!(one.command.run, Run::Everywhere);
        if self.pending() > 0 && self.transaction.as_ref().is_some_and(|all| all.queued.iter().any(publishes)) {
            return Step::Blocked;
        }
        let transaction = self.transaction.take().unwrap_or_default();
        let watched = std::mem::take(&mut self.watched);
        if transaction.spoilt {
            return self.answer(error("EXECABORT Transaction discarded because of previous errors."), out);
        }
        if let Err(refused) = self.check_transaction(&transaction.queued) {
            return self.answer(Reply::Error(refused), out);
        }
        let (mut commands, mut admin, mut replies, mut later) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, queued) in transaction.queued.into_iter().enumerate() {
            match queued.command.run {
                Run::Node => admin.push((at, queued)),
                Run::Session if is_for_node(queued.command, &queued.args) => admin.push((at, queued)),
                Run::Session => replies.push((at, self.in_exec(&queued))),
                Run::Everywhere => match Everywhere::parse(queued.command, &queued.words()) {
                    Ok(what) => later.push((at, what)),
                    Err(reply) => replies.push((at, reply)),
                },
                Run::Read(_) | Run::Write(_) | Run::Scatter(_) | Run::Script(_) => {
                    match self.of_cluster_in_exec(&queued) {
                        Some(reply) => replies.push((at, reply)),
                        None => commands.push(queued),
                    }
                }
                Run::Prefix(_) | Run::Lock => unreachable!("they are refused inside MULTI"),
            }
        }
        if once.is_some() && !commands.iter().any(has_key) {
            return self.answer(error(ONCE_WITHOUT_KEY), out);
        }
        let fences = match self.fences_of_exec(before, transaction.fences, &commands) {
            Ok(fences) => fences,
            Err(refused) => return self.answer(refused, out),
        };
        let seq = self.open(Kind::Write);
        let noted = commands.iter().fold(false, |noted, one| self.note_read(one.command, seq) | noted);
        if !replies.is_empty() || !admin.is_empty() || !later.is_empty() {
            let db = transaction.db;
            self.merges.push_back(Merge { seq, replies, db, later, committed: None, awaited: 0 });
        }
        Step::Exec(ExecCall { seq, noted, once: once.map(Id::to_owned), fences, watched, commands, admin })
    }

    /// A command about the connection, in EXEC.
    fn in_exec(&mut self, queued: &QueuedCall) -> Reply {
        let args = queued.words();
        match queued.command.name {
            "select" => self.select(args[1]).map_or_else(Reply::Error, |_| Reply::Ok),
            "ping" | "echo" | "hello" | "auth" | "client" | "readonly" | "readwrite" | "asking" => {
                let reply = self.local(queued.command, &args);
                reply.unwrap_or_else(|| error("ERR this CLIENT subcommand is not allowed in MULTI"))
            }
            "unwatch" => Reply::Ok,
            other => error(&format!("ERR the command '{other}' is not allowed in MULTI")),
        }
    }
}

fn has_key(queued: &QueuedCall) -> bool {
    let args: Vec<&[u8]> = queued.args.iter().map(Vec::as_slice).collect();
    queued.command.keys.positions(&args).next().is_some()
}

const ONCE_INSIDE: &str = "ERR ONCE can't stand inside MULTI, for a transaction has one outcome: queue the command without \
                           it, and end with ONCE <client>:<seq> EXEC";
const LOCK_INSIDE: &str = "ERR a lock is in no shard, so no transaction can take or give back one: send it before MULTI or behind \
                           EXEC";
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const ONCE_WITHOUT_KEY: &str = "EXECABORT Transaction discarded because of: ONCE needs a command with a key, whose shard \
                                keeps the outcome; send EXEC without it";
