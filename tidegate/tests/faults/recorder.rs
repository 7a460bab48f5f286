//! One client that writes down what it asked, what it was told and when: a part of a history.
//!
//! A reply that never came, and INDOUBT, leave the outcome open. Every other error promises that nothing happened: those are
//! only counted, and if the promise was false the checker will find the effect without its cause.

use crate::nodes::resp;
use crate::pace::Pace;
use crate::support::{Client, Reply};
use history::{Command, Operation, Returned};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// No reply for so long is none.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Recorder<'a> {
    name: String,
    homes: Vec<usize>,
    link: Option<Client>,
    epoch: Instant,
    pace: &'a Pace,
    pub record: Record,
}

/// What a client has seen.
#[derive(Debug, Default)]
pub struct Record {
    pub operations: Vec<Operation>,
    /// Errors that promise that nothing happened, by their first word.
    pub refused: BTreeMap<String, u64>,
}

/// How a call ended for its caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Told(history::Reply),
    /// Nobody knows.
    Unknown,
    /// It had no effect.
    Refused,
}

impl<'a> Recorder<'a> {
    /// A client that prefers the first of these nodes and goes to the next when one fails it.
    pub fn new(name: String, homes: Vec<usize>, epoch: Instant, pace: &'a Pace) -> Self {
        Self { name, homes, link: None, epoch, pace, record: Record::default() }
    }

    /// One command.
    pub fn call(&mut self, words: &[&str]) -> Ended {
        self.ask(Command::redis(words).expect("it is a command of the model"), &[words])
    }

    /// Some commands as one.
    pub fn transaction(&mut self, commands: &[&[&str]]) -> Ended {
        let frames: Vec<&[&str]> =
            [&["MULTI"][..]].into_iter().chain(commands.iter().copied()).chain([&["EXEC"][..]]).collect();
        self.ask(Command::transaction(commands).expect("they are commands of the model"), &frames)
    }

    fn ask(&mut self, command: Command, frames: &[&[&str]]) -> Ended {
        if !self.is_connected() {
            return Ended::Refused;
        }
        let invoke_ns = self.now();
        let answer = self.exchange(frames);
        let at_ns = self.now();
        let reply = match answer {
            Ok(Reply::Error(text)) if !text.starts_with("INDOUBT") => return self.refused(&text),
            Ok(Reply::Error(_)) => None,
            Ok(reply) => Some(told(reply)),
            Err(_) => {
                self.leave();
                None
            }
        };
        let returned = reply.clone().map(|reply| Returned { reply, at_ns });
        let client = self.name.clone().into_boxed_str();
        self.record.operations.push(Operation { client, command, invoke_ns, returned, line: 0 });
        reply.map_or(Ended::Unknown, Ended::Told)
    }

    fn refused(&mut self, text: &str) -> Ended {
        let code = text.split(' ').next().unwrap_or_default().to_owned();
        *self.record.refused.entry(code).or_default() += 1;
        self.pace.wait(Duration::from_millis(5));
        Ended::Refused
    }

    /// Sends all, and gives the last reply.
    fn exchange(&mut self, frames: &[&[&str]]) -> std::io::Result<Reply> {
        let link = self.link.as_mut().ok_or(std::io::ErrorKind::NotConnected)?;
        frames.iter().try_for_each(|frame| link.send(frame))?;
        let mut last = Reply::Null;
        for _ in frames {
            last = link.reply()?;
        }
        Ok(last)
    }

    fn is_connected(&mut self) -> bool {
        if self.link.is_none() {
            self.link = Client::connect_within(&resp(self.homes[0]), SILENCE).ok();
        }
        if self.link.is_none() {
            self.leave();
            self.pace.wait(Duration::from_millis(5));
        }
        self.link.is_some()
    }

    /// Tries the next node from now on.
    fn leave(&mut self) {
        self.link = None;
        self.homes.rotate_left(1);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).expect("a test takes less than centuries")
    }
}

fn told(reply: Reply) -> history::Reply {
    match reply {
        Reply::Simple(text) => history::Reply::text(text),
        Reply::Error(text) => history::Reply::Error(text),
        Reply::Integer(number) => history::Reply::Int(number),
        Reply::Bulk(bytes) => history::Reply::text(bytes),
        Reply::Null => history::Reply::Nil,
        Reply::Array(replies) => history::Reply::List(replies.into_iter().map(told).collect()),
        Reply::Push(parts) => unreachable!("nobody subscribes here: {parts:?}"),
    }
}
