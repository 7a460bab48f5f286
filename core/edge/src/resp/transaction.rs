//! MULTI, EXEC, DISCARD and UNWATCH on one connection.

use super::parse::Args;
use super::session::{ExecCall, QueuedCall, Session, Step, error};
use base::limits::QUEUED_COMMANDS_MAX;
use data::{Command, Reply, Run};

/// What MULTI has queued.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    commands: Vec<QueuedCall>,
    /// The database of the next queued command: SELECT may stand among them.
    db: u8,
    spoilt: bool,
}

impl Transaction {
    pub(super) fn spoil(&mut self) {
        self.spoilt = true;
    }
}

impl Session {
    /// Queues a command, or spoils the transaction if it can't run in one.
    pub(super) fn queue<'a>(&mut self, command: &'static Command, args: &Args<'a>, out: &mut Vec<u8>) -> Step<'a> {
        let transaction = self.transaction.as_mut().expect("the caller looked");
        if matches!(command.run, Run::Session | Run::Node) {
            transaction.spoilt = true;
            let name = command.name.to_ascii_uppercase();
            return self
                .answer(error(&format!("ERR {name} is not allowed in MULTI here: it has no place in the log")), out);
        }
        if transaction.commands.len() >= QUEUED_COMMANDS_MAX {
            transaction.spoilt = true;
            return self.answer(error("ERR too many commands in MULTI; EXEC in smaller parts"), out);
        }
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        transaction.commands.push(QueuedCall { db: transaction.db, command, args });
        self.answer(Reply::Simple("QUEUED"), out)
    }

    pub(super) fn transaction_command<'a>(&mut self, command: &'static Command, out: &mut Vec<u8>) -> Step<'a> {
        let reply = match command.name {
            "multi" if self.transaction.is_some() => error("ERR MULTI calls can not be nested"),
            "multi" => {
                self.transaction = Some(Transaction { db: self.db, ..Transaction::default() });
                Reply::Ok
            }
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
            "exec" => return self.exec(out),
            other => error(&format!("ERR the command '{other}' is not served here")),
        };
        self.answer(reply, out)
    }

    fn exec<'a>(&mut self, out: &mut Vec<u8>) -> Step<'a> {
        let transaction = self.transaction.take().unwrap_or_default();
        let watched = std::mem::take(&mut self.watched);
        if transaction.spoilt {
            return self.answer(error("EXECABORT Transaction discarded because of previous errors."), out);
        }
        if transaction.commands.is_empty() && watched.is_empty() {
            return self.answer(Reply::Array(Vec::new()), out);
        }
        let seq = self.open(true, false);
        Step::Exec(ExecCall { seq, watched, commands: transaction.commands })
    }
}
