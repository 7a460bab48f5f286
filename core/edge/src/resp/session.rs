//! One client connection's state, and its pipeline.
//!
//! [`Session::step`] takes one frame off the input and says what the driver must do; [`Session::on_reply`] brings an
//! answer back. Answers leave in the order of the requests, whatever order they come in. What concerns the connection
//! alone is answered here: HELLO, AUTH, SELECT, CLIENT SETNAME, MULTI and the like.

use super::encode::{Leaving, Proto};
use super::fences::Under;
use super::parse::{self, Args, Invalid, Parsed, Progress, Trust, words};
use super::step::{Call, EverywhereCall, Fate, LockCall, Step};
use super::subscribe::Subscriptions;
use super::tracking::{Again, Tracking};
use super::transaction::{Merge, Transaction};
use crate::cluster::{Map, Place, View};
use base::ClientId;
use base::limits::OUT_BYTES_SOFT;
use bytes::Bytes;
use data::command::locks::Ask;
use data::command::pubsub::{Everywhere, listens};
use data::command::{blocking, containers, prefix};
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
    pub(super) config: SessionConfig,
    pub(super) proto: Proto,
    pub(super) db: u8,
    pub(super) authenticated: bool,
    /// On the cluster endpoint.
    pub(super) cluster: Option<View>,
    pub(super) name: Vec<u8>,
    pub(super) lib_name: Vec<u8>,
    pub(super) lib_ver: Vec<u8>,
    pub(super) transaction: Option<Transaction>,
    pub(super) watched: Vec<Watched>,
    /// The fences that its commands go under.
    pub(super) under: Option<Arc<Under>>,
    /// What is to be put between the replies of EXECs in flight.
    pub(super) merges: VecDeque<Merge>,
    /// What transactions that are committed have for every lane.
    pub(super) due: Vec<EverywhereCall>,
    watches_in_flight: usize,
    next_seq: u64,
    pending: VecDeque<Slot>,
    /// The reply that is being made.
    leaving: Leaving,
    writes_pending: usize,
    /// A request that is answered before anything else is served.
    held: Option<Held>,
    pub(super) muted: Muted,
    /// How many of the pending are for every lane: their order is kept wherever they go.
    everywhere_pending: usize,
    /// How many of the pending are about locks.
    locks_pending: usize,
    pub(super) subscriptions: Subscriptions,
    pub(super) tracking: Option<Box<Tracking>>,
    /// The last request whose answer the client may keep.
    pub(super) last_read: Option<u64>,
    pub(super) again: Vec<Again>,
    /// Pushes that wait for the end of a reply.
    pub(super) unsent: VecDeque<Bytes>,
    pub(super) unsent_bytes: usize,
    /// It gets the lines of MONITOR.
    pub(super) monitors: bool,
    pub(super) no_evict: bool,
    pub(super) no_touch: bool,
    /// What MULTI could queue needs memory that isn't there.
    pub(super) out_of_memory: bool,
    /// Of the frame at the front, which is not all there.
    progress: Progress,
    /// The last frame's command, if it named one, and how it fared here.
    pub(super) last: (Option<&'static Command>, Fate),
    /// Its subcommand's place, if it has one.
    pub(super) last_sub: Option<usize>,
}

/// A request whose answer has not left yet.
#[derive(Debug)]
struct Slot {
    reply: Option<Reply>,
    /// What the client spoke when it asked.
    proto: Proto,
    kind: Kind,
    silent: bool,
}

/// What a connection is held by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// A call that may wait.
    Call { seq: u64 },
    /// Something that its driver does elsewhere.
    Driver { seq: u64 },
}

/// What a pending request is, as far as later ones must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Write,
    Watch,
    Everywhere,
    Lock,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Muted {
    No,
    Next,
    Yes,
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
            under: None,
            merges: VecDeque::new(),
            due: Vec::new(),
            watches_in_flight: 0,
            next_seq: 0,
            pending: VecDeque::new(),
            leaving: Leaving::default(),
            writes_pending: 0,
            held: None,
            muted: Muted::No,
            everywhere_pending: 0,
            locks_pending: 0,
            subscriptions: Subscriptions::default(),
            tracking: None,
            last_read: None,
            again: Vec::new(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            monitors: false,
            no_evict: false,
            no_touch: false,
            out_of_memory: false,
            progress: Progress::default(),
            last: (None, Fate::Ran),
            last_sub: None,
        }
    }

    /// Takes one frame off the front of `buf`, whose length goes to `used`; what can be answered at once goes to `out`.
    /// A frame that needed more must stand at the front again, with what has come since behind it.
    pub fn step<'a>(&mut self, buf: &'a [u8], used: &mut usize, out: &mut Vec<u8>) -> Step<'a> {
        if self.held.is_some() {
            *used = 0;
            return Step::Blocked;
        }
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
        let (seq, reply) = if self.merges.is_empty() {
            (seq, reply)
        } else {
            let Some(merged) = self.merge_everywhere(seq, reply) else { return };
            merged
        };
        let head = self.head();
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
        while self.leaving.go_on(out) {
            if !self.unsent.is_empty() {
                self.release_unsent(out);
            }
            if out.len() > OUT_BYTES_SOFT {
                return;
            }
            let Some(reply) = self.pending.front_mut().and_then(|slot| slot.reply.take()) else { return };
            self.leave(reply, out);
        }
    }

    /// True if no reply is half made: what is pushed may stand here.
    pub(super) fn is_between_replies(&self) -> bool {
        self.leaving.is_made()
    }

    /// The number of the first request whose answer has not left, or that of the next request.
    pub(super) fn head(&self) -> u64 {
        self.next_seq - self.pending.len() as u64
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

    /// The call that may wait and has not been answered: nothing else is served before.
    #[must_use]
    pub fn waits(&self) -> Option<u64> {
        match self.held {
            Some(Held::Call { seq }) => Some(seq),
            _ => None,
        }
    }

    /// Serves nothing before the request `seq` is answered.
    pub fn hold(&mut self, seq: u64) {
        self.held = Some(Held::Driver { seq });
    }

    /// Answers in order, at once.
    pub(super) fn answer<'a>(&mut self, reply: Reply, out: &mut Vec<u8>) -> Step<'a> {
        self.last.1 = if matches!(reply, Reply::Error(_)) { Fate::Failed } else { Fate::Ran };
        let seq = self.open(Kind::Plain);
        self.on_reply(seq, reply, out);
        Step::Answered
    }

    /// Opens the slot of a request.
    pub(super) fn open(&mut self, kind: Kind) -> u64 {
        let silent = self.muted != Muted::No;
        if self.muted == Muted::Next {
            self.muted = Muted::No;
        }
        self.pending.push_back(Slot { reply: None, proto: self.proto, kind, silent });
        self.count_of(kind).into_iter().for_each(|count| *count += 1);
        self.next_seq += 1;
        self.next_seq - 1
    }

    fn count_of(&mut self, kind: Kind) -> Option<&mut usize> {
        match kind {
            Kind::Plain => None,
            Kind::Write => Some(&mut self.writes_pending),
            Kind::Watch => Some(&mut self.watches_in_flight),
            Kind::Everywhere => Some(&mut self.everywhere_pending),
            Kind::Lock => Some(&mut self.locks_pending),
        }
    }

    /// True while WATCH has not been answered.
    pub(super) fn watching(&self) -> bool {
        self.watches_in_flight > 0
    }

    fn leave(&mut self, reply: Reply, out: &mut Vec<u8>) {
        let head = self.head();
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
        if matches!(self.held, Some(Held::Call { seq } | Held::Driver { seq }) if seq == head) {
            self.held = None;
        }
        self.count_of(slot.kind).into_iter().for_each(|count| *count -= 1);
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
        if self.locks_pending > 0 && !command::find(args[0]).is_some_and(|command| matches!(command.run, Run::Lock)) {
            // What comes behind a lock's call must find it done.
            return Step::Blocked;
        }
        (self.last, self.last_sub) = ((command::find(args[0]), Fate::Ran), None);
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
        match self.admit(command, &args) {
            Ok((command, place)) => self.admitted(command, args, place, out),
            Err(refused) => self.refuse(refused, out),
        }
    }

    /// The row that runs a call, and where, unless this connection may not run it.
    fn admit(&mut self, command: &'static Command, args: &[&[u8]]) -> Result<(&'static Command, Place), Refused> {
        self.last_sub = containers::check(command, args)?;
        if !self.authenticated && !matches!(command.name, "auth" | "hello" | "quit" | "reset") {
            return Err(Refused::Text("NOAUTH Authentication required.".to_owned()));
        }
        let command = command::of_call(command, args);
        let place = self.place(command, args)?;
        if self.monitors && touches_keys(command) {
            return Err(Refused::Text("ERR Replica can't interact with the keyspace".to_owned()));
        }
        self.check_listening(command, self.last_sub)?;
        self.check_fences(command)?;
        Ok((command, place))
    }

    fn admitted<'a>(&mut self, command: &'static Command, args: Args<'a>, place: Place, out: &mut Vec<u8>) -> Step<'a> {
        let step = if self.transaction.is_some()
            && !matches!(command.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
            && !matches!(command.run, Run::Prefix(_))
        {
            let step = self.queue(command, &args, out);
            self.last.1 = Fate::Queued;
            step
        } else {
            self.run(command, args, place, out)
        };
        if self.tracking.is_some() && !matches!(step, Step::Blocked) {
            self.forget_caching(command);
        }
        step
    }

    fn run<'a>(&mut self, command: &'static Command, args: Args<'a>, place: Place, out: &mut Vec<u8>) -> Step<'a> {
        match command.run {
            Run::Session => self.session_command(command, args, out),
            Run::Node => Step::Admin(self.call(command, args, place)),
            Run::Prefix(_) => self.prefixed(command, args, place, out),
            Run::Everywhere => self.everywhere(command, &args, out),
            Run::Lock => self.lock(command, &args, out),
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
        // Others than prefixes needn't be looked into.
        let kind = match command.run {
            _ if command.name == "watch" => Kind::Watch,
            _ if command.is_write() && prefix::changes_keys(command, &args) => Kind::Write,
            _ => Kind::Plain,
        };
        let seq = self.open(kind);
        if blocking::may_wait(command) && blocking::wish(command, &args).is_some() {
            self.held = Some(Held::Call { seq });
        }
        let noted = self.tracking.is_some() && self.note_read(prefix::behind(command, &args), seq);
        Call { seq, db: self.db, joins, noted, command, args, place, under: self.under(command) }
    }

    /// A message, or a question about those who listen: it waits until all earlier commands are answered, but for those of
    /// its own kind, which stay in order by themselves.
    fn everywhere<'a>(&mut self, command: &'static Command, args: &[&[u8]], out: &mut Vec<u8>) -> Step<'a> {
        if self.pending.len() > self.everywhere_pending {
            return Step::Blocked;
        }
        match Everywhere::parse(command, args) {
            Ok(what) => Step::Everywhere(EverywhereCall { seq: self.open(Kind::Everywhere), what }),
            Err(reply) => self.answer(reply, out),
        }
    }

    /// About a lock: it waits until all earlier commands are answered but those about locks, whose order their home keeps. What a
    /// client did under a lock is done before the lock is given back.
    fn lock<'a>(&mut self, command: &'static Command, args: &[&[u8]], out: &mut Vec<u8>) -> Step<'a> {
        if self.pending.len() > self.locks_pending {
            return Step::Blocked;
        }
        match Ask::parse(command, args) {
            Ok(ask) => {
                let seq = self.open(Kind::Lock);
                if ask.may_wait() {
                    self.held = Some(Held::Call { seq });
                }
                Step::Lock(LockCall { seq, ask })
            }
            Err(refused) => self.answer(Reply::Error(refused), out),
        }
    }

    /// True if calls about locks are unanswered.
    #[must_use]
    pub fn asks_locks(&self) -> bool {
        self.locks_pending > 0
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
                let tracking = self.stop_tracking();
                self.reset();
                self.answer(Reply::Simple("RESET"), out);
                Step::Reset { listens: self.unsubscribe_all(), tracking }
            }
            "fence.set" | "fence.clear" => self.fences_command(command, &args, out),
            _ if listens(command).is_some() => self.subscribe(command, &args, out),
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
}

pub(super) fn error(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

pub(super) fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

/// True for what a client that monitors can't do.
fn touches_keys(command: &Command) -> bool {
    let publishes = matches!(command.run, Run::Everywhere) && command.name != "pubsub";
    command.is_readonly() || command.is_write() || publishes
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
