//! The command table as data: one row per command, and how a name finds its row.
//!
//! A new command is one function beside its family and one row in that family's table. The `id` of a row stands in
//! log entries: it is never changed and never used again for another command.

pub mod about;
pub mod bits;
pub mod blocking;
pub mod cluster;
pub mod containers;
pub mod docs;
pub mod dump;
pub mod fences;
pub mod fill;
mod float;
pub mod generic;
pub mod geo;
pub mod glob;
pub mod hashes;
pub mod hyperloglog;
pub mod keyless;
pub mod lcs;
pub mod lists;
pub mod locks;
pub mod memcache;
pub mod memory;
pub mod nodes;
pub mod object;
mod picks;
pub mod places;
pub mod prefix;
pub mod pubsub;
pub mod ranges;
mod scans;
pub mod scripts;
pub mod server;
pub mod set_algebra;
pub mod sets;
pub mod sort;
pub mod streams;
pub mod strings;
pub mod voters;
pub mod zsets;

#[cfg(test)]
mod tests;

use crate::{Context, Keyspace, Refused, Reply};
use smallvec::SmallVec;

/// What a command answers.
pub type Outcome = Result<Reply, Refused>;

/// A row of the table.
#[derive(Debug)]
pub struct Command {
    /// The name in lower case; subcommands are the business of the row.
    pub name: &'static str,
    /// The stable number that log entries carry.
    pub id: u16,
    /// As in Redis: the exact number of arguments with the name, or the least if negative.
    pub arity: i16,
    /// Flags as COMMAND INFO shows them, separated by blanks.
    pub flags: &'static str,
    /// Where the keys stand.
    pub keys: Keys,
    /// Who runs it, and how.
    pub run: Run,
    /// One sentence for COMMAND DOCS.
    pub summary: &'static str,
    /// The group that COMMAND DOCS names: string, generic, connection, server, transactions, scripting, cluster.
    pub group: &'static str,
    /// The version of Redis in which the command appeared.
    pub since: &'static str,
}

/// Where the keys stand among the arguments; the name is argument 0.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// From `first` to `last`, which counts from the end if negative, every `step`th.
    At { first: i16, last: i16, step: i16 },
    /// As many as argument `at` says follow it; argument 1 is a key too if `destination`.
    Counted { at: u8, destination: bool },
    /// Where this function says.
    Found(fn(&[&[u8]]) -> Positions),
}

/// Positions of keys, in order.
pub type Positions = SmallVec<[usize; 4]>;

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// Reads one shard; no log entry.
    Read(fn(&Keyspace, &Context, &[&[u8]]) -> Outcome),
    /// Changes one shard through its log.
    Write(fn(&mut Keyspace, &Context, &[&[u8]]) -> Outcome),
    /// Asks every shard and merges the answers.
    Scatter(Scatter),
    /// Words before another command: see [`prefix`].
    Prefix(prefix::Prefix),
    /// A script that the leader of one shard runs; the log holds what it did.
    Script(scripts::Script),
    /// The connection's own business: the edge answers (HELLO, SELECT, MULTI, ..).
    Session,
    /// The node's business: the binary answers (INFO, CONFIG, CLIENT LIST, ..).
    Node,
    /// Asks every lane of every node for what its clients listen to: see [`pubsub::Everywhere`].
    Everywhere,
    /// About a lock, which is in no shard: see [`locks::Ask`].
    Lock,
}

/// Commands without keys that concern every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scatter {
    DbSize,
    Keys,
    Scan,
    RandomKey,
    FlushDb,
    FlushAll,
    Script,
    Function,
    FenceReset,
    FenceInfo,
}

impl Scatter {
    /// True if it may change something.
    #[must_use]
    pub fn may_write(self) -> bool {
        matches!(self, Self::FlushDb | Self::FlushAll | Self::FenceReset) || self.is_of_scripts()
    }

    /// True for FENCE.RESET and FENCE.INFO.
    #[must_use]
    pub fn is_of_fences(self) -> bool {
        matches!(self, Self::FenceReset | Self::FenceInfo)
    }

    /// True for SCRIPT and FUNCTION.
    #[must_use]
    pub fn is_of_scripts(self) -> bool {
        matches!(self, Self::Script | Self::Function)
    }
}

impl Keys {
    /// A command without keys.
    pub const NONE: Self = Self::at(0, 0, 0);
    /// Argument 1 alone.
    pub const ONE: Self = Self::at(1, 1, 1);
    /// Arguments 1 and 2.
    pub const TWO: Self = Self::at(1, 2, 1);
    /// All arguments.
    pub const ALL: Self = Self::at(1, -1, 1);
    /// All arguments but the last.
    pub const ALL_BUT_LAST: Self = Self::at(1, -2, 1);
    /// Every other argument from the first.
    pub const PAIRS: Self = Self::at(1, -1, 2);

    /// From `first` to `last`, every `step`th.
    #[must_use]
    pub const fn at(first: i16, last: i16, step: i16) -> Self {
        Self::At { first, last, step }
    }

    /// True for a command without keys.
    #[must_use]
    pub fn is_none(self) -> bool {
        matches!(self, Self::At { first: 0, .. })
    }

    /// First, last and step as COMMAND INFO shows them.
    #[must_use]
    pub fn shown(self) -> (i16, i16, i16) {
        match self {
            Self::At { first, last, step } => (first, last, step),
            Self::Counted { destination: true, .. } => (1, 1, 1),
            Self::Counted { .. } | Self::Found(_) => (0, 0, 0),
        }
    }

    /// The positions of the keys in a command; a count that makes no sense names none.
    pub fn positions(self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let argc = args.len();
        let (plain, step, found) = match self {
            Self::At { first, last, step } => {
                let last = if last < 0 {
                    argc.saturating_sub(usize::from(last.unsigned_abs()))
                } else {
                    usize::from(last.unsigned_abs())
                };
                let first = usize::from(first.unsigned_abs());
                let end = if first == 0 { 0 } else { (last + 1).min(argc) };
                (first.max(1)..end, usize::from(step.unsigned_abs()).max(1), Positions::new())
            }
            Self::Counted { at, destination } => {
                let at = usize::from(at);
                let count = args.get(at).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok()).unwrap_or(0);
                let counted = if count <= argc.saturating_sub(at + 1) { at + 1..at + 1 + count } else { 0..0 };
                (counted, 1, destination.then_some(1).into_iter().collect())
            }
            Self::Found(find) => (0..0, 1, find(args)),
        };
        found.into_iter().chain(plain.step_by(step))
    }
}

impl Command {
    /// True if a call with `argc` arguments, the name included, has the right number of them.
    #[must_use]
    pub fn accepts(&self, argc: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { argc >= wanted } else { argc == wanted }
    }

    /// True if it is flagged as one that only reads: what it reads, clients may keep.
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        self.flags.split(' ').any(|flag| flag == "readonly")
    }

    /// True if it is refused while memory has run out: it could need more.
    #[must_use]
    pub fn is_denyoom(&self) -> bool {
        self.flags.split(' ').any(|flag| flag == "denyoom")
    }

    /// True if it is a subcommand that has its own row, by the name that statistics show.
    #[must_use]
    pub const fn is_sub(&self) -> bool {
        let (name, mut at) = (self.name.as_bytes(), 0);
        while at < name.len() {
            if name[at] == b'|' {
                return true;
            }
            at += 1;
        }
        false
    }

    /// True if it goes through the log.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self.run {
            Run::Write(_) | Run::Prefix(_) => true,
            Run::Scatter(scatter) => scatter.may_write(),
            Run::Script(script) => script.access == scripts::Access::Any,
            Run::Read(_) | Run::Session | Run::Node | Run::Everywhere | Run::Lock => false,
        }
    }
}

/// All commands.
pub fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten()
}

/// The row of a command by its name in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let mut at = hash(lower);
    while let Some(row) = BY_NAME[at] {
        if row.name.as_bytes() == lower {
            return Some(row);
        }
        at = (at + 1) % INDEX_PLACES;
    }
    None
}

/// The row that runs a call of `command`: a subcommand about a key runs where the key is, whoever runs the others.
#[must_use]
pub fn of_call(command: &'static Command, args: &[&[u8]]) -> &'static Command {
    let Some(word) = args.get(1).filter(|_| matches!(command.name, "memory" | "debug")) else { return command };
    let apart = memory::COMMANDS.iter().filter_map(|row| Some((row, row.name.split_once('|')?)));
    let mut named = apart.filter(|(_, (name, sub))| *name == command.name && word.eq_ignore_ascii_case(sub.as_bytes()));
    named.next().map(|(row, _)| row).filter(|row| row.accepts(args.len())).unwrap_or(command)
}

/// True if [`unlogged`] may have an answer.
#[must_use]
pub fn may_go_unlogged(command: &Command) -> bool {
    matches!(command.id, fill::GETFILL_ID | memcache::FETCH_ID)
}

/// What a command that may change something answers to a call that doesn't, as the keys stand; nothing if it must stand in the log.
#[must_use]
pub fn unlogged(keyspace: &Keyspace, cx: &Context, command: &Command, args: &[&[u8]]) -> Option<Reply> {
    let look = match command.id {
        fill::GETFILL_ID => fill::hit,
        memcache::FETCH_ID => memcache::untouched,
        _ => return None,
    };
    look(keyspace, cx, args).filter(|_| !cx.tick_needed.get())
}

/// The row of a command by the number that log entries carry.
#[must_use]
pub fn by_id(id: u64) -> Option<&'static Command> {
    BY_ID.get(usize::try_from(id).ok()?).copied().flatten()
}

type Index<const N: usize> = [Option<&'static Command>; N];

/// The tables of all families.
const FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    ranges::COMMANDS,
    lcs::COMMANDS,
    generic::COMMANDS,
    places::COMMANDS,
    object::COMMANDS,
    keyless::COMMANDS,
    prefix::COMMANDS,
    server::COMMANDS,
    cluster::COMMANDS,
    nodes::COMMANDS,
    voters::COMMANDS,
    lists::COMMANDS,
    lists::inside::COMMANDS,
    hashes::COMMANDS,
    sets::COMMANDS,
    set_algebra::COMMANDS,
    zsets::add::COMMANDS,
    zsets::read::COMMANDS,
    zsets::range::COMMANDS,
    zsets::pop::COMMANDS,
    zsets::remove::COMMANDS,
    zsets::combine::COMMANDS,
    zsets::walk::COMMANDS,
    streams::COMMANDS,
    geo::COMMANDS,
    geo::search::COMMANDS,
    bits::COMMANDS,
    hyperloglog::COMMANDS,
    sort::COMMANDS,
    dump::COMMANDS,
    scripts::COMMANDS,
    pubsub::COMMANDS,
    fill::COMMANDS,
    memcache::COMMANDS,
    memory::COMMANDS,
    blocking::COMMANDS,
    locks::COMMANDS,
];

const NAME_BYTES_MAX: usize = 24;
const INDEX_PLACES: usize = 2048;
/// The ids of all commands are below this.
pub const ID_MAX: usize = 1024;
static BY_NAME: Index<INDEX_PLACES> = by_name();
static BY_ID: Index<ID_MAX> = ids();

/// FNV-1a, cut to the index.
const fn hash(name: &[u8]) -> usize {
    let mut sum = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < name.len() {
        sum = (sum ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (sum >> 16 ^ sum) as usize % INDEX_PLACES
}

const fn by_name() -> Index<INDEX_PLACES> {
    let mut index: Index<INDEX_PLACES> = [None; INDEX_PLACES];
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let command = &FAMILIES[family][row];
            row += 1;
            assert!(command.name.len() <= NAME_BYTES_MAX, "a name fits the buffer of a look-up");
            if command.is_sub() {
                continue;
            }
            let mut at = hash(command.name.as_bytes());
            while index[at].is_some() {
                at = (at + 1) % INDEX_PLACES;
            }
            index[at] = Some(command);
        }
        family += 1;
    }
    index
}

const fn ids() -> Index<ID_MAX> {
    let mut index: Index<ID_MAX> = [None; ID_MAX];
    let mut family = 0;
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let command = &FAMILIES[family][row];
            assert!(index[command.id as usize].is_none(), "ids are unique");
            index[command.id as usize] = Some(command);
            row += 1;
        }
        family += 1;
    }
    index
}
