//! One client connection's state, and its pipeline.
//!
//! [`Session::step`] takes one frame off the input and says what the driver must do; [`Session::on_reply`] brings an
//! answer back. Answers leave in the order of the requests, whatever order they come in. What concerns the connection
//! alone is answered here: HELLO, AUTH, SELECT, CLIENT SETNAME, MULTI and the like.

use super::client::printable;
use super::encode::{Leaving, Proto};
use super::parse::{self, Args, Invalid, Parsed, Progress, Trust, words};
use super::transaction::{Merge, Transaction};
use crate::cluster::{Map, Place, View};
use base::ClientId;
use base::limits::{DATABASE_COUNT, OUT_BYTES_SOFT};
use data::command::containers;
use data::once::OwnedId;
use data::{Command, Refused, Reply, Run, Watched, command};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a session is told at its start.
#[derive(Clone, Debug, Default)]
pub struct SessionConfig {
    pub requirepass: Option<Vec<u8>>,
    /// On the cluster endpoint: what the node knows of the cluster.
    pub cluster: Option<Arc<Map>>,
}

/// One connection; see the module.
#[derive(Debug)]
pub struct Session {
    pub(super) id: ClientId,
    config: SessionConfig,
    pub(super) proto: Proto,
    pub(super) db: u8,
    authenticated: bool,
    /// On the cluster endpoint.
    pub(super) cluster: Option<View>,
    pub(super) name: Vec<u8>,
    pub(super) lib_name: Vec<u8>,
    pub(super) lib_ver: Vec<u8>,
    pub(super) transaction: Option<Transaction>,
    pub(super) watched: Vec<Watched>,
    /// What is to be put between the replies of EXECs in flight.
    pub(super) merges: VecDeque<Merge>,
    watches_in_flight: usize,
    next_seq: u64,
    pending: VecDeque<Slot>,
    /// The reply that is being made.
    leaving: Leaving,
    writes_pending: usize,
    pub(super) muted: Muted,
    /// Of the frame at the front, which is not all there.
    progress: Progress,
    /// The last frame's command, if it named one, and how it fared here.
    last: (Option<&'static Command>, Fate),
}

/// How the last command of a connection fared at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered here, or handed out.
    Ran,
    /// It was answered here by an error.
    Failed,
    /// It waits for EXEC.
    Queued,
    /// It was refused before it could run.
    Refused,
}

/// A request whose answer has not left yet.
#[derive(Debug)]
struct Slot {
    reply: Option<Reply>,
    /// What the client spoke when it asked.
    proto: Proto,
    write: bool,
    watch: bool,
    silent: bool,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Muted {
    No,
    Next,
    Yes,
}

/// What the driver must do next.
#[derive(Debug)]
pub enum Step<'a> {
    /// For the core; its reply comes back by [`Session::on_reply`].
    Request(Call<'a>),
    /// A whole transaction for the core.
    Exec(ExecCall),
    /// For the binary itself.
    Admin(Call<'a>),
    /// An inline command: feed these bytes, which mean the same, to `step` before going on.
    Inline(Vec<u8>),
    /// Done already.
    Answered,
    /// Call again when at least so many bytes are there.
    NeedMore { need_at_least: usize },
    /// Call again after the next reply: EXEC waits for WATCH's answer.
    Blocked,
    /// Write what is there and close.
    Close,
}

/// A command of this client.
#[derive(Debug)]
pub struct Call<'a> {
    pub seq: u64,
    pub db: u8,
    /// True if a write of this client is unanswered.
    pub joins: bool,
    pub command: &'static Command,
    pub args: Args<'a>,
    pub place: Place,
}

/// EXEC.
#[derive(Debug)]
pub struct ExecCall {
    pub seq: u64,
    /// The id that covers it: it takes effect once.
    pub once: Option<OwnedId>,
    pub watched: Vec<Watched>,
    pub commands: Vec<QueuedCall>,
    /// Commands for the binary, with their positions: their replies go to [`Session::on_exec_admin`] before the core's.
    pub admin: Vec<(usize, QueuedCall)>,
}

/// A command queued by MULTI.
#[derive(Clone, Debug)]
pub struct QueuedCall {
    pub db: u8,
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// The database and the first key, if the command has one.
    #[must_use]
    pub fn first_key(&self) -> Option<(u8, &'a [u8])> {
        let at = self.command.keys.positions(&self.args).next()?;
        Some((self.db, self.args[at]))
    }
}

impl Session {
    /// A fresh connection.
    #[must_use]
    pub fn new(id: ClientId, config: SessionConfig) -> Self {
        let authenticated = config.requirepass.is_none();
        Self {
            id,
            cluster: Self::view(&config),
            config,
            proto: Proto::Two,
            db: 0,
            authenticated,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            transaction: None,
            watched: Vec::new(),
            merges: VecDeque::new(),
            watches_in_flight: 0,
            next_seq: 0,
            pending: VecDeque::new(),
            leaving: Leaving::default(),
            writes_pending: 0,
            muted: Muted::No,
            progress: Progress::default(),
            last: (None, Fate::Ran),
        }
    }

    /// Takes one frame off the front of `buf`, whose length goes to `used`; what can be answered at once goes to `out`.
    /// A frame that needed more must stand at the front again, with what has come since behind it.
    pub fn step<'a>(&mut self, buf: &'a [u8], used: &mut usize, out: &mut Vec<u8>) -> Step<'a> {
        let trust = if self.authenticated { Trust::Known } else { Trust::Stranger };
        match parse::go_on(&mut self.progress, buf, trust) {
            Parsed::Complete { args, used: len } => {
                *used = len;
                let step = self.command(args, out);
                if matches!(step, Step::Blocked) {
                    *used = 0;
                }
                step
            }
            Parsed::Inline { line, used: len } => {
                *used = len;
                match words(line) {
                    Ok(words) => Step::Inline(frame(&words)),
                    Err(why) => self.fail(why, out),
                }
            }
            Parsed::Empty { used: len } => {
                *used = len;
                Step::Answered
            }
            Parsed::Partial { need_at_least } => Step::NeedMore { need_at_least },
            Parsed::Invalid(why) => self.fail(why, out),
        }
    }

    /// The answer to the request `seq`. What may leave now goes to `out`, unless that holds too much already: then it
    /// is kept until [`Session::go_on`].
    pub fn on_reply(&mut self, seq: u64, reply: Reply, out: &mut Vec<u8>) {
        let head = self.next_seq - self.pending.len() as u64;
        let Some(at) = seq.checked_sub(head).and_then(|at| usize::try_from(at).ok()) else { return };
        if self.pending.get(at).is_none_or(|slot| slot.reply.is_some()) {
            return;
        }
        if at > 0 || out.len() > OUT_BYTES_SOFT || !self.leaving.is_made() {
            self.pending[at].reply = Some(reply);
            return;
        }
        self.leave(reply, out);
        self.go_on(out);
    }

    /// Makes more of the replies that were kept: the client has taken some.
    pub fn go_on(&mut self, out: &mut Vec<u8>) {
        while self.leaving.go_on(out) && out.len() <= OUT_BYTES_SOFT {
            let Some(reply) = self.pending.front_mut().and_then(|slot| slot.reply.take()) else { return };
            self.leave(reply, out);
        }
    }

    /// True if replies are kept because the client hasn't taken those before them.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.leaving.is_made() || self.pending.front().is_some_and(|slot| slot.reply.is_some())
    }

    /// Requests whose answers have not left.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len() + usize::from(!self.leaving.is_made())
    }

    /// The name given by CLIENT SETNAME.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The library's name given by CLIENT SETINFO.
    #[must_use]
    pub fn lib_name(&self) -> &[u8] {
        &self.lib_name
    }

    /// The library's version given by CLIENT SETINFO.
    #[must_use]
    pub fn lib_ver(&self) -> &[u8] {
        &self.lib_ver
    }

    /// The selected database.
    #[must_use]
    pub fn db(&self) -> u8 {
        self.db
    }

    /// 2 or 3.
    #[must_use]
    pub fn resp(&self) -> u8 {
        if self.proto == Proto::Two { 2 } else { 3 }
    }

    /// The last command, unless its name was unknown, and how it fared here.
    #[must_use]
    pub fn last(&self) -> (Option<&'static Command>, Fate) {
        self.last
    }

    /// How many commands MULTI has queued; nothing outside of MULTI.
    #[must_use]
    pub fn queued(&self) -> Option<usize> {
        self.transaction.as_ref().map(Transaction::len)
    }

    /// Answers in order, at once.
    pub(super) fn answer<'a>(&mut self, reply: Reply, out: &mut Vec<u8>) -> Step<'a> {
        self.last.1 = if matches!(reply, Reply::Error(_)) { Fate::Failed } else { Fate::Ran };
        let seq = self.open(false, false);
        self.on_reply(seq, reply, out);
        Step::Answered
    }

    /// Opens the slot of a request.
    pub(super) fn open(&mut self, write: bool, watch: bool) -> u64 {
        let silent = self.muted != Muted::No;
        if self.muted == Muted::Next {
            self.muted = Muted::No;
        }
        self.pending.push_back(Slot { reply: None, proto: self.proto, write, watch, silent });
        self.writes_pending += usize::from(write);
        self.watches_in_flight += usize::from(watch);
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// True while WATCH has not been answered.
    pub(super) fn watching(&self) -> bool {
        self.watches_in_flight > 0
    }

    fn leave(&mut self, reply: Reply, out: &mut Vec<u8>) {
        let head = self.next_seq - self.pending.len() as u64;
        let slot = self.pending.pop_front().expect("a reply has a request");
        let reply = match self.merges.pop_front_if(|merge| merge.seq == head) {
            Some(merge) => {
                if matches!(reply, Reply::Array(_)) {
                    self.db = merge.db;
                }
                merge.into_reply(reply)
            }
            None => reply,
        };
        self.writes_pending -= usize::from(slot.write);
        self.watches_in_flight -= usize::from(slot.watch);
        if let Reply::Watched(watched) = &reply {
            self.watched.extend_from_slice(watched);
        }
        if !slot.silent {
            self.leaving.begin(reply, slot.proto, out);
        }
    }

    fn fail<'a>(&mut self, why: Invalid, out: &mut Vec<u8>) -> Step<'a> {
        self.answer(Reply::Error(Refused::Text(why.to_string())), out);
        Step::Close
    }

    fn command<'a>(&mut self, args: Args<'a>, out: &mut Vec<u8>) -> Step<'a> {
        if !self.merges.is_empty() {
            // An EXEC in flight may select a database, or not, if WATCH aborts it.
            return Step::Blocked;
        }
        self.last = (command::find(args[0]), Fate::Ran);
        let Some(command) = self.last.0 else {
            if is_http(args[0]) {
                return Step::Close;
            }
            let unknown = unknown_command(&args);
            return self.refuse(unknown, out);
        };
        if !command.accepts(args.len()) {
            if command.name == "exec" {
                return self.abort(out);
            }
            return self.refuse(Refused::Arity(command.name.to_owned()), out);
        }
        if let Err(refused) = containers::check(command, &args) {
            return self.refuse(refused, out);
        }
        if !self.authenticated && !matches!(command.name, "auth" | "hello" | "quit" | "reset") {
            return self.refuse(Refused::Text("NOAUTH Authentication required.".to_owned()), out);
        }
        let place = match self.place(command, &args) {
            Ok(place) => place,
            Err(refused) => return self.refuse(refused, out),
        };
        if self.transaction.is_some()
            && !matches!(command.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset" | "once")
        {
            let step = self.queue(command, &args, out);
            self.last.1 = Fate::Queued;
            return step;
        }
        match command.run {
            Run::Session => self.session_command(command, args, out),
            Run::Node => Step::Admin(self.call(command, args, place)),
            Run::Prefix(_) => self.prefixed(command, args, place, out),
            Run::Read(_) | Run::Write(_) | Run::Scatter(_) | Run::Script(_) => {
                if command.name == "watch" && self.transaction.is_some() {
                    return self.answer(error("ERR WATCH inside MULTI is not allowed"), out);
                }
                match self.of_cluster(command, &args) {
                    Some(reply) => self.answer(reply, out),
                    None => Step::Request(self.call(command, args, place)),
                }
            }
        }
    }

    pub(super) fn call<'a>(&mut self, command: &'static Command, args: Args<'a>, place: Place) -> Call<'a> {
        let joins = self.writes_pending > 0;
        let seq = self.open(command.is_write(), command.name == "watch");
        Call { seq, db: self.db, joins, command, args, place }
    }

    /// An error that also spoils an open transaction.
    pub(super) fn refuse<'a>(&mut self, refused: Refused, out: &mut Vec<u8>) -> Step<'a> {
        if let Some(transaction) = &mut self.transaction {
            transaction.spoil();
        }
        let step = self.answer(Reply::Error(refused), out);
        self.last.1 = Fate::Refused;
        step
    }

    fn session_command<'a>(&mut self, command: &'static Command, args: Args<'a>, out: &mut Vec<u8>) -> Step<'a> {
        match command.name {
            "select" => {
                let reply = self.select(args[1]).map_or_else(Reply::Error, |db| {
                    self.db = db;
                    Reply::Ok
                });
                self.answer(reply, out)
            }
            "reset" if self.watching() => Step::Blocked,
            "reset" => {
                self.reset();
                self.answer(Reply::Simple("RESET"), out)
            }
            "quit" => {
                self.answer(Reply::Ok, out);
                Step::Close
            }
            "ping" | "echo" | "hello" | "auth" | "client" | "readonly" | "readwrite" | "asking" => {
                match self.local(command, &args) {
                    Some(reply) => self.answer(reply, out),
                    None if lower(args[1]) == "reply" => Step::Answered,
                    None => Step::Admin(self.call(command, args, Place::Leader)),
                }
            }
            _ => self.transaction_command(command, out),
        }
    }

    /// Runs a command about this connection alone; nothing where the binary must answer, or nobody.
    pub(super) fn local(&mut self, command: &Command, args: &[&[u8]]) -> Option<Reply> {
        Some(match command.name {
            "ping" => match args.get(1) {
                _ if args.len() > 2 => Reply::Error(Refused::Arity("ping".to_owned())),
                None => Reply::Simple("PONG"),
                Some(text) => Reply::bulk(text),
            },
            "echo" => Reply::bulk(args[1]),
            "hello" => self.hello(args),
            "auth" => self.auth(args),
            "readonly" | "readwrite" | "asking" => self.route_reads(command),
            _ => return self.client(args),
        })
    }

    fn hello(&mut self, args: &[&[u8]]) -> Reply {
        let mut proto = self.proto;
        if let Some(version) = args.get(1) {
            proto = match *version {
                b"2" => Proto::Two,
                b"3" => Proto::Three,
                other if super::parse::integer(other).is_some() => {
                    return error("NOPROTO unsupported protocol version");
                }
                _ => return error("ERR Protocol version is not an integer or out of range"),
            };
        }
        let (mut rest, mut name) = (args.get(2..).unwrap_or_default(), None);
        while let Some(option) = rest.first() {
            match (option.to_ascii_lowercase().as_slice(), rest) {
                (b"auth", [_, user, password, ..]) => {
                    if let Reply::Error(refused) = self.authenticate(user, password) {
                        return Reply::Error(refused);
                    }
                    rest = &rest[3..];
                }
                (b"setname", [_, given, ..]) => {
                    name = Some(given.to_vec());
                    rest = &rest[2..];
                }
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return error(&format!("ERR Syntax error in HELLO option '{option}'"));
                }
            }
        }
        if !self.authenticated {
            return error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            );
        }
        if let Some(name) = name {
            if !printable(&name) {
                return error("ERR Client names cannot contain spaces, newlines or special characters.");
            }
            self.name = name;
        }
        self.proto = proto;
        let pair = |key: &str, value: Reply| (Reply::text(key), value);
        Reply::Map(vec![
            pair("server", Reply::text("redis")),
            pair("version", Reply::text("7.0.15")),
            pair("proto", Reply::Int(i64::from(self.resp()))),
            pair("id", Reply::Int(i64::try_from(self.id.0).unwrap_or(i64::MAX))),
            pair("mode", Reply::text(if self.cluster.is_some() { "cluster" } else { "standalone" })),
            pair("role", Reply::text("master")),
            pair("modules", Reply::Array(Vec::new())),
        ])
    }

    fn auth(&mut self, args: &[&[u8]]) -> Reply {
        match args {
            [_, password] if self.config.requirepass.is_none() => {
                let _ = password;
                error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                )
            }
            [_, password] => self.authenticate(b"default", password),
            [_, user, password] => self.authenticate(user, password),
            _ => Reply::Error(Refused::Syntax),
        }
    }

    fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Reply {
        let right = self.config.requirepass.as_ref().is_none_or(|wanted| same(wanted, password));
        if user != b"default" || !right {
            return error("WRONGPASS invalid username-password pair or user is disabled.");
        }
        self.authenticated = true;
        Reply::Ok
    }

    pub(super) fn database(number: &[u8]) -> Result<u8, Refused> {
        let number = super::parse::integer(number).ok_or(Refused::NotAnInteger)?;
        let number = i32::try_from(number).map_err(|_| Refused::NotAnInt)?;
        u8::try_from(number).ok().filter(|db| *db < DATABASE_COUNT).ok_or(Refused::DbOutOfRange)
    }

    fn reset(&mut self) {
        self.transaction = None;
        self.watched.clear();
        self.db = 0;
        self.proto = Proto::Two;
        self.name.clear();
        self.muted = Muted::No;
        self.authenticated = self.config.requirepass.is_none();
        if let Some(view) = &mut self.cluster {
            view.readonly = false;
        }
    }
}

pub(super) fn error(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

pub(super) fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

/// Compares without telling by its time where the first difference is.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    wanted.len() == given.len() && wanted.iter().zip(given).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// A browser that was tricked into sending a form here: it gets no answer, and the commands in the form don't run.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// The text names what it can in a line: each word up to its first zero byte, all in 128 bytes.
fn unknown_command(args: &[&[u8]]) -> Refused {
    let shown_of = |word: &[u8], room: usize| {
        let end = word.iter().take(room).position(|byte| *byte == 0).unwrap_or(word.len().min(room));
        String::from_utf8_lossy(&word[..end]).into_owned()
    };
    let name = shown_of(args[0], 128);
    let mut shown = String::new();
    for arg in &args[1..] {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push_str(&format!("'{}' ", shown_of(arg, room)));
    }
    Refused::Text(format!("ERR unknown command '{name}', with args beginning with: {shown}"))
}

fn frame(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}
