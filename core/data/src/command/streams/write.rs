//! XADD.

use super::ids;
use crate::command::Outcome;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::Id;
use crate::{Context, Keyspace, Refused, Reply};

pub(super) fn xadd(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let mut at = 2;
    let make = !args[at].eq_ignore_ascii_case(b"nomkstream");
    at += usize::from(!make);
    let fields = args.get(at + 1..).unwrap_or_default();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(Refused::Arity("xadd".to_owned()));
    }
    let wanted = args[at];
    let stream = keyspace.container::<Stream>(cx, args[1])?;
    if !make && stream.is_none() {
        return Ok(Reply::Nil);
    }
    let last = stream.map_or(Id::MIN, |stream| stream.last);
    let id = choose(cx, wanted, last)?;
    keyspace.change(cx, args[1], Absent::Make, |stream: &mut Stream| {
        stream.add(id, fields);
        ((), Changed::Yes)
    })?;
    keyspace.notify(cx.db, Class::Stream, "xadd", args[1]);
    Ok(Reply::text(id))
}

fn choose(cx: &Context, wanted: &[u8], last: Id) -> Result<Id, Refused> {
    let small =
        || Refused::Text("ERR The ID specified in XADD is equal or smaller than the target stream top item".to_owned());
    let id = if wanted == b"*" {
        let now = Id::new(cx.stamp.0, 0);
        if now > last { now } else { last.next().ok_or_else(small)? }
    } else if let Some(ms) = wanted.strip_suffix(b"-*") {
        let ms = ids::exact(ms, 0)?.ms;
        if ms == last.ms { Id::new(ms, last.seq.checked_add(1).ok_or_else(small)?) } else { Id::new(ms, 0) }
    } else {
        ids::exact(wanted, 0)?
    };
    if id == Id::MIN {
        return Err(Refused::Text("ERR The ID specified in XADD must be greater than 0-0".to_owned()));
    }
    if id > last { Ok(id) } else { Err(small()) }
}
