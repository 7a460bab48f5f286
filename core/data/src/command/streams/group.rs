//! XGROUP.

use super::ids;
use crate::command::Outcome;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::{Group, Id};
use crate::{Context, Keyspace, Refused, Reply};
use std::sync::Arc;

pub(super) fn xgroup(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    match args[1].to_ascii_lowercase().as_slice() {
        b"create" => create(keyspace, cx, args),
        _ => Err(Refused::Syntax),
    }
}

fn create(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let [_, _, key, name, id, options @ ..] = args else { return Err(Refused::Syntax) };
    let make = options.iter().any(|word| word.eq_ignore_ascii_case(b"mkstream"));
    let stream = keyspace.container::<Stream>(cx, key)?;
    if stream.is_none() && !make {
        return Err(Refused::Text(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
             option to create an empty stream automatically."
                .to_owned(),
        ));
    }
    if stream.is_some_and(|stream| stream.groups.contains_key(*name)) {
        return Err(Refused::Text("BUSYGROUP Consumer Group name already exists".to_owned()));
    }
    let last = match *id {
        b"$" => stream.map_or(Id::MIN, |stream| stream.last),
        id => ids::or_end(id, 0)?,
    };
    keyspace.change(cx, key, Absent::Make, |stream: &mut Stream| {
        stream.groups.insert((*name).into(), Arc::new(Group { last, ..Group::default() }));
        ((), Changed::Yes)
    })?;
    keyspace.notify(cx.db, Class::Stream, "xgroup-create", key);
    Ok(Reply::Ok)
}
