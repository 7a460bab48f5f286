//! XGROUP.

use super::ids::{self, c_text};
use crate::command::Outcome;
use crate::command::containers;
use crate::command::strings::integer;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::{Group, Id};
use crate::{Context, Keyspace, Refused, Reply};

pub(super) fn xgroup(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let sub = args[1].to_ascii_lowercase();
    let (Some(key), Some(name)) = (args.get(2), args.get(3)) else {
        return Ok(containers::help(&super::COMMANDS[super::XGROUP]));
    };
    let options = Options::parse(&sub, args)?;
    let stream = keyspace.container::<Stream>(cx, key)?;
    if !options.make && stream.is_none() {
        let text = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                    MKSTREAM option to create an empty stream automatically.";
        return Err(Refused::Text(text.to_owned()));
    }
    let there = stream.is_some_and(|stream| stream.group(name).is_some());
    match sub.as_slice() {
        b"create" => return create(keyspace, cx, args, &options),
        b"destroy" => return destroy(keyspace, cx, key, name),
        _ if !there => return Err(no_group(key, name)),
        _ => {}
    }
    match sub.as_slice() {
        b"setid" => set_id(keyspace, cx, args, &options),
        b"createconsumer" => create_consumer(keyspace, cx, args),
        _ => remove_consumer(keyspace, cx, args),
    }
}

/// That a stream has no such group, as XGROUP and XINFO say it.
pub(super) fn no_group(key: &[u8], name: &[u8]) -> Refused {
    Refused::Text(format!("NOGROUP No such consumer group '{}' for key name '{}'", c_text(name), c_text(key)))
}

/// MKSTREAM, ENTRIESREAD.
#[derive(Default)]
struct Options {
    make: bool,
    read: Option<u64>,
}

impl Options {
    fn parse(sub: &[u8], args: &[&[u8]]) -> Result<Self, Refused> {
        let mut options = Self::default();
        let mut rest = args.get(5..).unwrap_or_default();
        while let Some(word) = rest.first() {
            match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
                (b"mkstream", _) if sub == b"create" => {
                    options.make = true;
                    rest = &rest[1..];
                }
                (b"entriesread", Some(read)) => {
                    let bad = || Refused::Text("ERR value for ENTRIESREAD must be positive or -1".to_owned());
                    options.read = match integer(read)? {
                        -1 => None,
                        read => Some(u64::try_from(read).map_err(|_| bad())?),
                    };
                    rest = &rest[2..];
                }
                _ => return Err(wrong_words("XGROUP", args[1])),
            }
        }
        Ok(options)
    }
}

/// What a subcommand with words that it does not know is answered.
pub(super) fn wrong_words(command: &str, sub: &[u8]) -> Refused {
    let sub = c_text(&sub[..sub.len().min(128)]);
    Refused::Text(format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} HELP."))
}

fn create(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], options: &Options) -> Outcome {
    let (key, name, id) = (args[2], args[3], args[4]);
    let stream = keyspace.container::<Stream>(cx, key)?;
    let last = match ids::c_string(id) {
        b"$" => stream.map_or(Id::MIN, |stream| stream.entries().last()),
        _ => ids::exact(id, 0)?,
    };
    if stream.is_some_and(|stream| stream.group(name).is_some()) {
        return Err(Refused::Text("BUSYGROUP Consumer Group name already exists".to_owned()));
    }
    // A new stream counts as a change by itself.
    keyspace.change(cx, key, Absent::Make, |stream: &mut Stream| {
        stream.add_group(name, Group::new(last, options.read));
        ((), Changed::No)
    })?;
    keyspace.notify(cx.db, Class::Stream, "xgroup-create", key);
    Ok(Reply::Ok)
}

fn set_id(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], options: &Options) -> Outcome {
    let (key, name, id) = (args[2], args[3], args[4]);
    let given = if ids::c_string(id) == b"$" { None } else { Some(ids::or_end(id, 0)?) };
    change(keyspace, cx, key, |stream| {
        stream.change_group(name, |entries, group| {
            (group.last, group.read) = (given.unwrap_or(entries.last()), options.read);
        })
    })?;
    // What was delivered may be new again.
    keyspace.note_for_waits(cx.db, key);
    keyspace.notify(cx.db, Class::Stream, "xgroup-setid", key);
    Ok(Reply::Ok)
}

fn destroy(keyspace: &mut Keyspace, cx: &Context, key: &[u8], name: &[u8]) -> Outcome {
    let gone = change(keyspace, cx, key, |stream| Some(stream.remove_group(name)))?.unwrap_or(false);
    if gone {
        keyspace.note_for_waits(cx.db, key);
        keyspace.notify(cx.db, Class::Stream, "xgroup-destroy", key);
    }
    Ok(Reply::Int(i64::from(gone)))
}

fn create_consumer(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let made = change(keyspace, cx, args[2], |stream| {
        stream.change_group(args[3], |_, group| {
            let new = group.find(args[4]).is_none();
            if new {
                group.add_consumer(args[4], cx.stamp.0);
            }
            new
        })
    })?;
    let made = made.unwrap_or(false);
    if made {
        keyspace.notify(cx.db, Class::Stream, "xgroup-createconsumer", args[2]);
    }
    Ok(Reply::Int(i64::from(made)))
}

fn remove_consumer(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let owed = change(keyspace, cx, args[2], |stream| {
        stream.change_group(args[3], |_, group| group.remove_consumer(args[4]))
    })?;
    if owed.flatten().is_some() {
        keyspace.notify(cx.db, Class::Stream, "xgroup-delconsumer", args[2]);
    }
    Ok(Reply::count(owed.flatten().unwrap_or(0)))
}

/// Changes what belongs to a group, which breaks no WATCH in Redis.
fn change<T>(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    change: impl FnOnce(&mut Stream) -> Option<T>,
) -> Result<Option<T>, Refused> {
    let told = keyspace.change(cx, key, Absent::Leave, |stream: &mut Stream| (change(stream), Changed::No))?;
    Ok(told.flatten())
}
