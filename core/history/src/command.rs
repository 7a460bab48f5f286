//! A client's operation: its words, as in the history, and what they mean.

use crate::body::{Access, Action, Body, Part, Shape, Tells, When};
use crate::text::{Text, integer, shown};
use std::fmt;

/// An operation of the model, as a client asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    words: Vec<Word>,
    body: Body<Text>,
}

/// A word of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Text(Text),
    /// No value: what CAS expects where the key isn't there.
    Nil,
    /// A command of a transaction.
    List(Vec<Word>),
}

/// Which operations there are, and what they are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Strings, as in Redis.
    #[default]
    Redis,
    /// READ, WRITE and CAS of single registers.
    Register,
}

/// Why words are no operation of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// The model knows no such operation.
    Unknown { name: String, dialect: Dialect },
    /// It takes other arguments, spelled out here.
    Arguments { name: String, usage: &'static str },
    /// An option that the model leaves out; expiry is one, since a history doesn't tell the store's clock.
    Option { name: String, option: String },
    /// A transaction's arguments are lists of words, each a command, and none a transaction.
    Transaction,
}

impl Command {
    /// The operation that is spelled by `words`, its name first, in any case.
    ///
    /// # Errors
    /// The model has no such operation.
    pub fn new(dialect: Dialect, words: Vec<Word>) -> Result<Self, BadCommand> {
        let Some(Word::Text(name)) = words.first() else {
            return Err(BadCommand::Unknown { name: String::new(), dialect });
        };
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        let body = match (dialect, name.as_str()) {
            (Dialect::Redis, "MULTI" | "EXEC") => transaction(&words[1..])?,
            _ => Body::Single(part(dialect, &name, &words[1..])?),
        };
        Ok(Self { words, body })
    }

    /// The operation of Redis' dialect with these words.
    ///
    /// # Errors
    /// The model has no such operation.
    pub fn redis(words: &[&str]) -> Result<Self, BadCommand> {
        let words = words.iter().map(|word| Word::Text(word.as_bytes().into())).collect();
        Self::new(Dialect::Redis, words)
    }

    /// A transaction of Redis' dialect.
    ///
    /// # Errors
    /// The model has no such operation.
    pub fn transaction(commands: &[&[&str]]) -> Result<Self, BadCommand> {
        let text = |word: &&str| Word::Text(word.as_bytes().into());
        let lists = commands.iter().map(|words| Word::List(words.iter().map(text).collect()));
        Self::new(Dialect::Redis, std::iter::once(Word::Text((*b"MULTI").into())).chain(lists).collect())
    }

    /// Its words, the name first.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    pub(crate) fn body(&self) -> &Body<Text> {
        &self.body
    }

    pub(crate) fn is_transaction(&self) -> bool {
        self.body.is_transaction()
    }

    /// True if nil is one of its replies.
    pub(crate) fn may_answer_nil(&self) -> bool {
        let tells_nil = |action: &Action| match action {
            Action::Read | Action::Take | Action::Write { tells: Tells::Old, .. } => true,
            Action::Write { tells: Tells::Done, when, .. } => *when != When::Always,
            _ => false,
        };
        match &self.body {
            Body::Single(part) => part.shape == Shape::Alone && tells_nil(&part.accesses[0].action),
            Body::Transaction(_) => true,
        }
    }
}

fn transaction(commands: &[Word]) -> Result<Body<Text>, BadCommand> {
    let one = |word: &Word| match word {
        Word::List(words) => match Command::new(Dialect::Redis, words.clone())?.body {
            Body::Single(part) => Ok(part),
            Body::Transaction(_) => Err(BadCommand::Transaction),
        },
        Word::Text(_) | Word::Nil => Err(BadCommand::Transaction),
    };
    commands.iter().map(one).collect::<Result<_, _>>().map(Body::Transaction)
}

fn part(dialect: Dialect, name: &str, arguments: &[Word]) -> Result<Part<Text>, BadCommand> {
    if let ("CAS", [Word::Text(key), old, Word::Text(new)]) = (name, arguments)
        && let Some(old) = optional(old)
    {
        return Ok(Part::alone(key.clone(), Action::Swap { old, new: new.clone() }));
    }
    let known = match dialect {
        Dialect::Redis => REDIS,
        Dialect::Register => REGISTER,
    };
    let Some(usage) = known.iter().find(|usage| usage.split(' ').next() == Some(name)) else {
        return Err(BadCommand::Unknown { name: name.to_owned(), dialect });
    };
    let texts: Option<Vec<Text>> = arguments.iter().map(|word| optional(word).flatten()).collect();
    let wrong = || BadCommand::Arguments { name: name.to_owned(), usage };
    let texts = texts.ok_or_else(wrong)?;
    match (name, texts.as_slice()) {
        ("SET", [key, value, options @ ..]) => set(key, value, options),
        ("DEL" | "UNLINK", [_, ..]) => Ok(each(Shape::Sum, &texts, &Action::Delete)),
        ("EXISTS", [_, ..]) => Ok(each(Shape::Sum, &texts, &Action::Exists)),
        ("MGET", [_, ..]) => Ok(each(Shape::Each, &texts, &Action::Read)),
        ("MSET", [_, _, ..]) if texts.len().is_multiple_of(2) => Ok(pairs(Shape::Done, &texts)),
        ("MSETNX", [_, _, ..]) if texts.len().is_multiple_of(2) => Ok(pairs(Shape::AllAbsent, &texts)),
        (_, [key, rest @ ..]) => Ok(Part::alone(key.clone(), action(name, rest).ok_or_else(wrong)?)),
        _ => Err(wrong()),
    }
}

/// What a command of one key does, by the words behind the key.
fn action(name: &str, rest: &[Text]) -> Option<Action> {
    let write = |value: &Text, when, tells| Action::Write { value: value.clone(), when, tells };
    Some(match (name, rest) {
        ("GET" | "READ", []) => Action::Read,
        ("WRITE", [value]) => write(value, When::Always, Tells::Done),
        ("SETNX", [value]) => write(value, When::IfAbsent, Tells::Flag),
        ("GETSET", [value]) => write(value, When::Always, Tells::Old),
        ("GETDEL", []) => Action::Take,
        ("STRLEN", []) => Action::Length,
        ("APPEND", [tail]) => Action::Append(tail.clone()),
        ("INCR", []) => Action::Add(1),
        ("DECR", []) => Action::Add(-1),
        ("INCRBY", [by]) => Action::Add(integer(by)?),
        ("DECRBY", [by]) => Action::Add(integer(by)?.checked_neg()?),
        _ => return None,
    })
}

fn set(key: &Text, value: &Text, options: &[Text]) -> Result<Part<Text>, BadCommand> {
    let (mut when, mut tells) = (When::Always, Tells::Done);
    for option in options {
        let option = String::from_utf8_lossy(option).to_ascii_uppercase();
        match (option.as_str(), when) {
            ("NX", When::Always) => when = When::IfAbsent,
            ("XX", When::Always) => when = When::IfPresent,
            ("GET", _) => tells = Tells::Old,
            _ => return Err(BadCommand::Option { name: "SET".to_owned(), option }),
        }
    }
    Ok(Part::alone(key.clone(), Action::Write { value: value.clone(), when, tells }))
}

fn each(shape: Shape, keys: &[Text], action: &Action) -> Part<Text> {
    let accesses = keys.iter().map(|key| Access { key: key.clone(), action: action.clone() });
    Part { shape, accesses: accesses.collect() }
}

fn pairs(shape: Shape, words: &[Text]) -> Part<Text> {
    let write = |value: &Text| Action::Write { value: value.clone(), when: When::Always, tells: Tells::Done };
    let accesses = words.chunks_exact(2).map(|pair| Access { key: pair[0].clone(), action: write(&pair[1]) });
    Part { shape, accesses: accesses.collect() }
}

/// A word that is a text or nil; nothing for a list.
fn optional(word: &Word) -> Option<Option<Text>> {
    match word {
        Word::Text(text) => Some(Some(text.clone())),
        Word::Nil => Some(None),
        Word::List(_) => None,
    }
}

/// The single commands of Redis' dialect. CAS is no command of Redis: it stands for a script or a transaction that is one.
const REDIS: &[&str] = &[
    "GET key",
    "SET key value [NX | XX] [GET]",
    "SETNX key value",
    "GETSET key value",
    "GETDEL key",
    "CAS key old|null new",
    "APPEND key tail",
    "STRLEN key",
    "INCR key",
    "DECR key",
    "INCRBY key integer",
    "DECRBY key integer",
    "DEL key [key ..]",
    "UNLINK key [key ..]",
    "EXISTS key [key ..]",
    "MGET key [key ..]",
    "MSET key value [key value ..]",
    "MSETNX key value [key value ..]",
];

/// The operations of the register dialect.
const REGISTER: &[&str] = &["READ key", "WRITE key value", "CAS key old|null new"];

/// The words, those behind the name as people read them.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_words(f, &self.words)
    }
}

fn write_words(f: &mut fmt::Formatter<'_>, words: &[Word]) -> fmt::Result {
    for (at, word) in words.iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        match word {
            Word::Text(text) if at == 0 => f.write_str(&String::from_utf8_lossy(text).to_ascii_uppercase())?,
            Word::Text(text) => write!(f, "{space}{}", word_shown(text))?,
            Word::Nil => write!(f, "{space}nil")?,
            Word::List(words) => {
                write!(f, "{space}[")?;
                write_words(f, words)?;
                f.write_str("]")?;
            }
        }
    }
    Ok(())
}

/// A word without quotes where it needs none.
fn word_shown(text: &[u8]) -> String {
    let quoted = shown(text);
    let plain = !text.is_empty() && text.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\[]".contains(byte));
    if plain { quoted.trim_matches('"').to_owned() } else { quoted }
}

impl fmt::Display for BadCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, dialect } => {
                let known = match dialect {
                    Dialect::Redis => REDIS,
                    Dialect::Register => REGISTER,
                };
                let names: Vec<&str> = known.iter().filter_map(|usage| usage.split(' ').next()).collect();
                let multi = if *dialect == Dialect::Redis { ", MULTI" } else { "" };
                write!(f, "the model has no operation {name:?}: it knows {}{multi}; leave others out, with all operations on their keys", names.join(", "))
            }
            Self::Arguments { name, usage } => {
                write!(f, "{name} has other arguments: write it as {usage}, with key and args as texts or integers")
            }
            Self::Option { name, option } => write!(
                f,
                "{name} with {option} is not in the model, which has no expiry: leave out the keys that it is used on"
            ),
            Self::Transaction => f.write_str(
                "a transaction has lists of words as args, each one command: write {\"op\":\"multi\",\"key\":null,\"args\":[[\"set\",\"a\",\"1\"],[\"get\",\"b\"]],..}",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(words: &[&str]) -> String {
        Command::redis(words).unwrap_err().to_string()
    }

    #[test]
    fn every_usage_line_is_an_operation_and_is_shown_as_it_was_written() {
        for usage in REDIS {
            let words: Vec<&str> = usage.split(" [").next().unwrap().split(' ').collect();
            let words: Vec<&str> = words.into_iter().map(|word| if word == "integer" { "7" } else { word }).collect();
            let command = Command::redis(&words).unwrap();
            assert_eq!(command.to_string(), words.join(" "));
        }
    }

    #[test]
    fn what_is_no_operation_is_refused_with_what_to_do() {
        assert!(bad(&["LPUSH", "a", "1"]).contains("no operation \"LPUSH\": it knows GET, SET,"));
        assert!(bad(&["INCRBY", "a", "x"]).contains("write it as INCRBY key integer"));
        assert!(bad(&["MSET", "a", "1", "b"]).contains("MSET key value"));
        assert!(bad(&["GET"]).contains("GET key"));
        assert!(bad(&["SET", "a", "1", "PX", "9"]).contains("no expiry"));
        assert!(bad(&["SET", "a", "1", "NX", "XX"]).contains("SET with XX"));
        assert!(bad(&["MULTI", "a"]).contains("lists of words"));
        assert!(bad(&[]).contains("no operation"));
        let nested = Command::transaction(&[&["MULTI"]]).unwrap_err();
        assert_eq!(nested, BadCommand::Transaction);
        let register = Command::new(Dialect::Register, vec![Word::Text((*b"get").into())]).unwrap_err();
        assert!(register.to_string().contains("it knows READ, WRITE, CAS;"), "{register}");
    }

    #[test]
    fn nil_is_a_reply_of_some() {
        let may = |words: &[&str]| Command::redis(words).unwrap().may_answer_nil();
        for words in [&["GET", "a"][..], &["SET", "a", "1", "NX"], &["SET", "a", "1", "GET"], &["GETDEL", "a"]] {
            assert!(may(words), "{words:?}");
        }
        for words in [&["SET", "a", "1"][..], &["INCR", "a"], &["MGET", "a"], &["DEL", "a"], &["STRLEN", "a"]] {
            assert!(!may(words), "{words:?}");
        }
        assert!(Command::transaction(&[]).unwrap().may_answer_nil());
    }
}
