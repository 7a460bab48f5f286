//! Clients: each speaks RESP to the real session of a node drawn by chance, asks, and writes down what it was told and when.
//!
//! A client that waits too long leaves, and so does one whose node dies: what became of its commands is not known to it.

use super::fences;
use super::machine::Input;
use super::queues::{self, Known, Queues};
use super::scripts::{self, Call, run_brisk};
use super::{Happening, MS, Phase, World, one_of};
use crate::answer::Answer;
use base::rng::Rng;
use base::{ClientId, NodeId};
use data::waits::How;
use edge::{Session, SessionConfig, Step};
use history::{Command, OpId, Reply};
use node::{Ending, Now, Queued, Request, Transaction};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Client {
    name: u64,
    connection: Option<Connection>,
    next_value: u64,
}

#[derive(Debug)]
struct Connection {
    node: NodeId,
    id: ClientId,
    session: Session,
    /// Sent and not yet taken by the session.
    input: Vec<u8>,
    /// Replies that are not whole.
    output: Vec<u8>,
    taken: Vec<u8>,
    /// What was asked, in order.
    sent: VecDeque<Sent>,
    /// When it leaves, unless it is answered before.
    leaves_at: u64,
}

/// What a reply is to be taken for.
#[derive(Debug)]
enum Sent {
    /// The answer says nothing.
    Nothing,
    /// An operation of the history.
    Op(OpId),
    /// A member of a queue.
    Push { member: String },
    /// A call that may wait at a queue, without end or not.
    Wait { queue: String, endless: bool },
    /// All members of a queue.
    Left { queue: String },
    /// What a lock guards.
    Cell(fences::Asked),
}

const KEYS: u64 = 4;
const TAGS: u64 = 3;
const PATIENCE_NS: [u64; 3] = [1_000 * MS, 4_000 * MS, 8_000 * MS];

impl Client {
    pub(super) fn new(name: u64) -> Self {
        Self { name, connection: None, next_value: 0 }
    }

    pub(super) fn waits(&self) -> bool {
        self.connection.as_ref().is_some_and(|one| !one.sent.is_empty())
    }

    /// True if it has asked for something that may never come.
    pub(super) fn waits_without_end(&self) -> bool {
        let endless = |sent: &Sent| matches!(sent, Sent::Wait { endless: true, .. });
        self.connection.as_ref().is_some_and(|one| one.sent.iter().any(endless))
    }

    /// The node that it is connected to.
    pub(super) fn node(&self) -> Option<NodeId> {
        self.connection.as_ref().map(|one| one.node)
    }

    /// The words of the next command; several are a transaction.
    fn draw(&mut self, rng: &mut Rng) -> Vec<Vec<String>> {
        let tag = rng.below(TAGS);
        if rng.one_in(8) {
            return (0..1 + rng.below(3)).map(|_| self.draw_one(rng, tag)).collect();
        }
        vec![self.draw_one(rng, tag)]
    }

    fn draw_one(&mut self, rng: &mut Rng, tag: u64) -> Vec<String> {
        let key = |rng: &mut Rng| format!("{{{tag}}}k{}", rng.below(KEYS));
        let counter = |rng: &mut Rng| format!("{{{tag}}}n{}", rng.below(2));
        self.next_value += 1;
        let value = format!("{}.{}", self.name, self.next_value);
        match rng.below(20) {
            0..=4 => vec!["SET".into(), key(rng), value],
            5..=9 => vec!["GET".into(), key(rng)],
            10 | 11 => vec!["INCR".into(), counter(rng)],
            12 => vec!["GET".into(), counter(rng)],
            13 => vec!["DEL".into(), key(rng)],
            14 | 15 => vec!["SETNX".into(), key(rng), value],
            16 => vec!["GETSET".into(), key(rng), value],
            17 => vec!["MGET".into(), key(rng), key(rng)],
            18 => vec!["MSET".into(), format!("{{{tag}}}k0"), value.clone(), format!("{{{tag}}}k1"), value],
            _ => vec!["INCRBY".into(), counter(rng), rng.below(5).to_string()],
        }
    }
}

/// All keys that clients touch.
pub(super) fn keys() -> impl Iterator<Item = String> {
    let of =
        |tag| (0..KEYS).map(move |n| format!("{{{tag}}}k{n}")).chain((0..2).map(move |n| format!("{{{tag}}}n{n}")));
    (0..TAGS).flat_map(of)
}

impl World {
    /// A client thinks of something to ask.
    pub(super) fn on_client(&mut self, at: usize) {
        if self.phase == Phase::Quiet {
            return;
        }
        let delay = 1 + self.rng.below(self.mood.think_ns_max);
        self.plan(delay, Happening::Client(at));
        if self.clients[at].connection.is_none() {
            let node = self.any_node();
            if self.machines[&node].life().is_none() {
                return;
            }
            self.connect(at, node);
        }
        self.leave_if_late(at);
        let waits = self.clients[at].connection.as_ref().map_or(usize::MAX, |one| one.sent.len());
        if self.rng.one_in(60) {
            self.end_a_wait(at);
        }
        if (waits == 0 || (waits as u64) < self.mood.pipeline_max) && self.rng.one_in(5) {
            if self.rng.one_in(2) { self.ask_queue(at) } else { self.ask_cell(at) }
        } else if waits == 0 || (waits as u64) < self.mood.pipeline_max {
            let words = self.clients[at].draw(&mut self.rng);
            if self.rng.one_in(5) {
                return self.ask_by_script(at, &words);
            }
            self.ask(at, &words);
        }
    }

    pub(super) fn leave_if_late(&mut self, at: usize) {
        let late = |one: &Connection| self.now > one.leaves_at && !one.sent.is_empty();
        if self.clients[at].connection.as_ref().is_some_and(late) {
            self.count("client gave up");
            self.leave(at);
        }
    }

    pub(super) fn connect(&mut self, at: usize, node: NodeId) {
        let id = ClientId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(id, at);
        self.clients[at].connection = Some(Connection {
            node,
            id,
            session: Session::new(id, SessionConfig::default()),
            input: Vec::new(),
            output: Vec::new(),
            taken: Vec::new(),
            sent: VecDeque::new(),
            leaves_at: u64::MAX,
        });
    }

    /// A client's connection ends.
    pub(super) fn leave(&mut self, at: usize) {
        let Some(connection) = self.clients[at].connection.take() else { return };
        self.connections.remove(&connection.id);
        for sent in &connection.sent {
            if let Sent::Wait { queue, .. } = sent {
                self.checks.queues.lose(queue);
                self.count("waits lost with their client");
            }
        }
        if let Some(seq) = connection.session.waits() {
            self.input(connection.node, Input::LetGo(connection.id, seq, Ending::Gone));
        }
    }

    /// Another client ends the wait of this one.
    fn end_a_wait(&mut self, at: usize) {
        let how = if self.rng.one_in(2) { How::Nil } else { How::Error };
        let Some(connection) = &self.clients[at].connection else { return };
        let (node, id) = (connection.node, connection.id);
        if let Some(seq) = connection.session.waits() {
            self.count("waits ended by another client");
            self.input(node, Input::LetGo(id, seq, Ending::Told(how)));
        }
    }

    /// A client pushes to a queue, or waits at one.
    fn ask_queue(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.next_value += 1;
        let words = queues::draw(&mut self.rng, format!("{}.{}", client.name, client.next_value));
        let sent = match words.as_slice() {
            [name, queue, member] if name == "RPUSH" => {
                self.checks.queues.push(queue, member);
                Sent::Push { member: member.clone() }
            }
            [_, queue, timeout] => Sent::Wait { queue: queue.clone(), endless: timeout == "0" },
            _ => unreachable!("these are all"),
        };
        self.send_words(at, &words, sent);
    }

    pub(super) fn ask_what_is_left(&mut self, at: usize, queue: &str) {
        let words = ["LRANGE", queue, "0", "-1"].map(str::to_owned);
        self.send_words(at, &words, Sent::Left { queue: queue.to_owned() });
    }

    fn send_words(&mut self, at: usize, words: &[String], sent: Sent) {
        let patience = one_of(&mut self.rng, PATIENCE_NS);
        let connection = self.clients[at].connection.as_mut().expect("who asks is connected");
        connection.leaves_at = self.now + patience;
        connection.put(&words.iter().map(String::as_str).collect::<Vec<_>>());
        connection.sent.push_back(sent);
        let node = connection.node;
        self.input(node, Input::Client(at));
    }

    /// A client sends frames, the last of which is answered with what counts.
    pub(super) fn send_frames(&mut self, at: usize, frames: &[Vec<String>], asked: fences::Asked) {
        let patience = one_of(&mut self.rng, PATIENCE_NS);
        let connection = self.clients[at].connection.as_mut().expect("who asks is connected");
        connection.leaves_at = self.now + patience;
        frames.iter().for_each(|words| connection.put(&words.iter().map(String::as_str).collect::<Vec<_>>()));
        connection.sent.extend((1..frames.len()).map(|_| Sent::Nothing));
        connection.sent.push_back(Sent::Cell(asked));
        let node = connection.node;
        self.input(node, Input::Client(at));
    }

    /// A client sends a command, or a transaction of several.
    pub(super) fn ask(&mut self, at: usize, commands: &[Vec<String>]) {
        let borrowed: Vec<Vec<&str>> =
            commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        let client = &mut self.clients[at];
        let connection = client.connection.as_mut().expect("who asks is connected");
        let patience = one_of(&mut self.rng, PATIENCE_NS);
        connection.leaves_at = self.now + patience;
        let command = if let [words] = borrowed.as_slice() {
            connection.put(words);
            Command::redis(words)
        } else {
            connection.put(&["MULTI"]);
            borrowed.iter().for_each(|words| connection.put(words));
            connection.put(&["EXEC"]);
            connection.sent.extend((0..=borrowed.len()).map(|_| Sent::Nothing));
            let lists: Vec<&[&str]> = borrowed.iter().map(Vec::as_slice).collect();
            Command::transaction(&lists)
        };
        let op = self.checks.history.invoke(client.name, command.expect("the checker knows these"), self.now);
        connection.sent.push_back(Sent::Op(op));
        let node = connection.node;
        self.input(node, Input::Client(at));
    }

    /// A client has commands run by a script: to the checker, a transaction.
    fn ask_by_script(&mut self, at: usize, commands: &[Vec<String>]) {
        let call = Call::draw(&mut self.rng);
        let words = call.words(commands);
        let borrowed: Vec<Vec<&str>> =
            commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        let lists: Vec<&[&str]> = borrowed.iter().map(Vec::as_slice).collect();
        let command = Command::transaction(&lists).expect("the checker knows these");
        let patience = one_of(&mut self.rng, PATIENCE_NS);
        let client = &mut self.clients[at];
        let connection = client.connection.as_mut().expect("who asks is connected");
        connection.leaves_at = self.now + patience;
        if call == Call::Function && self.rng.one_in(3) {
            connection.put(&scripts::load().each_ref().map(String::as_str));
            connection.sent.push_back(Sent::Nothing);
        }
        connection.put(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let op = self.checks.history.invoke(client.name, command, self.now);
        connection.sent.push_back(Sent::Op(op));
        let node = connection.node;
        self.count("scripts asked");
        self.input(node, Input::Client(at));
    }

    /// The session takes what its client has sent.
    pub(super) fn serve(&mut self, node: NodeId, now: Now, at: usize) {
        let Self { clients, machines, commands, .. } = self;
        let Some(connection) = clients[at].connection.as_mut().filter(|one| one.node == node) else { return };
        let life = machines.get_mut(&node).and_then(|one| one.life_mut()).expect("a turn is of a living process");
        let input = std::mem::take(&mut connection.input);
        let mut from = 0;
        while from < input.len() {
            let mut used = 0;
            match connection.session.step(&input[from..], &mut used, &mut connection.output) {
                Step::Request(call) => {
                    *commands.entry(call.command.name).or_default() += 1;
                    let request = Request {
                        client: connection.id,
                        seq: call.seq,
                        db: call.db,
                        joins: call.joins,
                        command: call.command,
                        args: &call.args,
                    };
                    life.lane.on_request(now, request, &mut life.out);
                    run_brisk(life, now);
                }
                Step::Exec(exec) => {
                    *commands.entry("exec").or_default() += 1;
                    let queued = |one: edge::QueuedCall| Queued { db: one.db, command: one.command, args: one.args };
                    let commands = exec.commands.into_iter().map(queued).collect();
                    let transaction = Transaction {
                        client: connection.id,
                        seq: exec.seq,
                        once: exec.once,
                        fences: exec.fences,
                        watched: exec.watched,
                        commands,
                    };
                    life.lane.on_transaction(now, transaction, &mut life.out);
                }
                Step::Answered => {}
                Step::Blocked => break,
                other => panic!("whole commands were sent, and the session says {other:?}"),
            }
            from += used;
        }
        connection.input.splice(0..0, input[from..].iter().copied());
        self.read_replies(at);
    }

    pub(super) fn on_reply(&mut self, at: usize, seq: u64, reply: data::Reply) {
        let connection = self.clients[at].connection.as_mut().expect("connections are known while they last");
        connection.session.on_reply(seq, reply, &mut connection.output);
        let (node, blocked) = (connection.node, !connection.input.is_empty());
        self.read_replies(at);
        if blocked {
            self.input(node, Input::Client(at));
        }
    }

    fn read_replies(&mut self, at: usize) {
        let connection = self.clients[at].connection.as_mut().expect("who reads is connected");
        while !connection.output.is_empty() {
            connection.taken.append(&mut connection.output);
            connection.session.go_on(&mut connection.output);
        }
        let (mut from, mut untold) = (0, Vec::new());
        while let Some((answer, used)) =
            connection.taken.get(from..).filter(|rest| !rest.is_empty()).and_then(Answer::read)
        {
            from += used;
            let sent = connection.sent.pop_front().expect("nothing_is_answered_twice");
            if matches!(sent, Sent::Nothing) {
                continue;
            }
            self.answered += 1;
            let reply = told(answer);
            if let Reply::Error(text) = &reply {
                let kinds = [
                    ("INDOUBT", "answer: in doubt"),
                    ("NOQUORUM", "answer: no quorum"),
                    ("TRYAGAIN", "answer: try again"),
                    ("CROSSSHARD", "answer: cross-shard"),
                    ("UNBLOCKED", "answer: unblocked"),
                    ("FENCED", "answer: fenced"),
                    ("BUSY", "answer: busy"),
                    ("ERR Function not found", "answer: no function"),
                    ("OOM", "answer: out of memory"),
                    ("EXECABORT Transaction discarded because of: OOM", "answer: out of memory"),
                ];
                let kind = kinds.iter().find(|(code, _)| text.starts_with(code)).map(|(_, kind)| *kind);
                let kind = kind.unwrap_or_else(|| panic!("clients_understand_errors: {text}"));
                *self.counts.entry(kind).or_default() += 1;
            }
            let queues = &mut self.checks.queues;
            match sent {
                Sent::Nothing => {}
                Sent::Op(op) => self.checks.history.returned(op, reply, self.now),
                Sent::Push { member } => queues.on_pushed(&member, known(&reply)),
                Sent::Wait { queue, .. } => {
                    queues.waited += 1;
                    if on_wait_ended(queues, &queue, &reply) {
                        *self.counts.entry("waits served").or_default() += 1;
                    }
                }
                Sent::Cell(asked) => {
                    self.checks.cells.told(asked, &reply);
                }
                // A script may still run where it stands: it is asked again.
                Sent::Left { queue } if matches!(reply, Reply::Error(_)) => untold.push(queue),
                Sent::Left { queue } => queues.no_member_is_lost(&queue, &texts(&reply)),
            }
        }
        connection.taken.drain(..from);
        untold.into_iter().for_each(|queue| self.ask_what_is_left(at, &queue));
    }
}

/// What a client knows of its push by the reply.
fn known(reply: &Reply) -> Known {
    match reply {
        Reply::Int(_) => Known::Done,
        Reply::Error(text) if text.starts_with("INDOUBT") => Known::Nothing,
        _ => Known::Refused,
    }
}

/// A call that waited is answered; true if something served it.
fn on_wait_ended(queues: &mut Queues, queue: &str, reply: &Reply) -> bool {
    match texts(reply).as_slice() {
        [of, member] => {
            assert_eq!(of, queue, "who_waits_is_served_at_his_queue");
            queues.get(queue, member);
            return true;
        }
        _ if matches!(reply, Reply::Error(text) if text.starts_with("INDOUBT")) => queues.lose(queue),
        _ => {}
    }
    false
}

/// The texts of a list.
fn texts(reply: &Reply) -> Vec<String> {
    let Reply::List(parts) = reply else { return Vec::new() };
    let text = |part: &Reply| match part {
        Reply::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("members are texts, not {other:?}"),
    };
    parts.iter().map(text).collect()
}

impl Connection {
    fn put(&mut self, words: &[&str]) {
        self.input.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.input.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
}

fn told(answer: Answer) -> Reply {
    match answer {
        Answer::Simple(text) => Reply::text(text),
        Answer::Error(text) => Reply::Error(text),
        Answer::Int(n) => Reply::Int(n),
        Answer::Bulk(bytes) => Reply::text(bytes),
        Answer::Nil | Answer::NilArray => Reply::Nil,
        Answer::Array(parts) => Reply::List(parts.into_iter().map(told).collect()),
    }
}
