//! What a client asks, as commands for the core, and how their answers are to look.

use super::{meta, text};
use base::limits::MEMCACHED_KEY_BYTES_MAX;
use data::{Command, command};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// A word of a command.
pub type Word<'a> = Cow<'a, [u8]>;

/// A command for the core.
#[derive(Debug)]
pub struct Part<'a> {
    pub command: &'static Command,
    pub args: SmallVec<[Word<'a>; 8]>,
}

/// What a frame asks.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and lives for a call")]
pub enum Asked<'a> {
    /// One command for each key, and how they are answered together.
    Core { parts: SmallVec<[Part<'a>; 1]>, how: How },
    /// Answered here; nothing if the client wants no answer.
    Here(Option<String>),
    /// How the node stands.
    Stats,
    /// The end.
    Quit,
}

/// How the core's answers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// get and its kin: a block for each key that is there, then END.
    Values { keys: Vec<Box<[u8]>>, cas: Told },
    /// touch.
    Touched(Told),
    /// set and its kin: STORED, or why not.
    Stored(Told),
    /// delete.
    Deleted(Told),
    /// incr and decr.
    Number(Told),
    /// flush_all.
    Flushed(Told),
    /// A meta command.
    Meta(Box<Meta>),
    /// me.
    Debug(Box<[u8]>),
}

/// Whether something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Yes,
    No,
}

/// A meta command, as far as its answer is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub kind: Kind,
    /// As the client spelled it.
    pub key: Box<[u8]>,
    /// It is spelled in base 64.
    pub binary: bool,
    /// The value is wanted.
    pub value: bool,
    /// What goes without saying isn't said.
    pub quiet: bool,
    /// What is told behind that, in this order.
    pub flags: SmallVec<[Flag; 8]>,
}

/// Which meta command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Get,
    Set,
    Delete,
    Arithmetic,
}

/// What is told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flag {
    Cas,
    ClientFlags,
    Hit,
    Key,
    LastAccess,
    Opaque(Box<[u8]>),
    Size,
    Ttl,
}

/// What a client is told that asks wrongly.
pub type Wrong = &'static str;

/// Understands the words of a frame.
pub fn ask<'a>(words: &[&'a [u8]], data: &'a [u8]) -> Result<Asked<'a>, Wrong> {
    match words.first() {
        Some([b'm', _]) => meta::ask(words, data),
        _ => text::ask(words, data),
    }
}

/// A command of [`data::command::memcache`], or another one.
pub(super) fn part<'a, const N: usize>(name: &str, args: [&'a [u8]; N]) -> Part<'a> {
    let command = command::find(name.as_bytes()).expect("the table has it");
    let mut part = Part { command, args: smallvec![Cow::Borrowed(command.name.as_bytes())] };
    part.args.extend(args.map(Cow::Borrowed));
    part
}

pub(super) fn one<'a>(part: Part<'a>, how: How) -> Asked<'a> {
    Asked::Core { parts: smallvec![part], how }
}

/// A key may have any bytes but blanks, and can't be long.
pub(super) fn check_key(key: &[u8]) -> Result<(), Wrong> {
    if key.is_empty() || key.len() > MEMCACHED_KEY_BYTES_MAX { Err(super::parse::BAD_LINE) } else { Ok(()) }
}
