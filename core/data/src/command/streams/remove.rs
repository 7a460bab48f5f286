//! XDEL, XTRIM and XSETID.

use super::ids;
use super::options::Options;
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Stream;
use crate::value::stream::{Id, Marks};
use crate::{Context, Keyspace, Refused, Reply};

pub(super) fn xdel(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if keyspace.container::<Stream>(cx, args[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let ids = args[2..].iter().map(|id| ids::exact(id, 0)).collect::<Result<Vec<_>, _>>()?;
    let removed = keyspace.change(cx, args[1], Absent::Leave, |stream: &mut Stream| {
        let removed = ids.iter().filter(|id| stream.remove(**id)).count();
        (removed, Changed::from(removed > 0))
    })?;
    Ok(told(keyspace, cx, "xdel", args[1], removed))
}

pub(super) fn xtrim(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let trim = Options::of_xtrim(args)?;
    let removed = keyspace.change(cx, args[1], Absent::Leave, |stream: &mut Stream| {
        let removed = stream.trim(trim);
        (removed, Changed::from(removed > 0))
    })?;
    Ok(told(keyspace, cx, "xtrim", args[1], removed))
}

fn told(keyspace: &mut Keyspace, cx: &Context, event: &'static str, key: &[u8], removed: Option<usize>) -> Reply {
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        keyspace.notify(cx.db, Class::Stream, event, key);
    }
    Reply::count(removed)
}

pub(super) fn xsetid(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let marks = marks(args)?;
    let stream = keyspace.container::<Stream>(cx, args[1])?.ok_or(Refused::NoSuchKey)?;
    let refused = if stream.log().last().is_some_and(|last| marks.last < last) {
        "ERR The ID specified in XSETID is smaller than the target stream top item"
    } else if marks.added.is_some_and(|added| added < stream.log().len() as u64) {
        "ERR The entries_added specified in XSETID is smaller than the target stream length"
    } else {
        // Redis breaks no WATCH by it.
        keyspace.change(cx, args[1], Absent::Leave, |stream: &mut Stream| (stream.set_marks(marks), Changed::No))?;
        keyspace.notify(cx.db, Class::Stream, "xsetid", args[1]);
        return Ok(Reply::Ok);
    };
    Err(Refused::Text(refused.to_owned()))
}

fn marks(args: &[&[u8]]) -> Result<Marks, Refused> {
    let text = |text: &str| Refused::Text(text.to_owned());
    let mut marks = Marks { last: ids::exact(args[2], 0)?, added: None, deleted_max: None };
    for pair in args[3..].chunks(2) {
        match (pair[0].to_ascii_lowercase().as_slice(), pair.get(1)) {
            (b"entriesadded", Some(added)) => {
                let added = u64::try_from(integer(added)?).map_err(|_| text("ERR entries_added must be positive"))?;
                marks.added = Some(added);
            }
            (b"maxdeletedid", Some(id)) => {
                let id = ids::exact(id, 0)?;
                if marks.last < id {
                    let why = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                    return Err(text(why));
                }
                marks.deleted_max = Some(id).filter(|id| *id != Id::MIN);
            }
            _ => return Err(Refused::Syntax),
        }
    }
    Ok(marks)
}
