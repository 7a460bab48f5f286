//! What XREAD and XREADGROUP ask for, and whether they would wait.

use super::ids;
use crate::command::strings::integer;
use crate::value::Stream;
use crate::value::stream::Id;
use crate::{Context, Keyspace, Refused, Reply};

/// A call of XREAD or XREADGROUP.
#[derive(Debug)]
pub struct Call<'a> {
    /// Group and consumer.
    pub group: Option<(&'a [u8], &'a [u8])>,
    /// Milliseconds to wait; 0 waits without end.
    pub block_ms: Option<u64>,
    pub no_ack: bool,
    /// Entries per stream at most.
    pub count: usize,
    names: &'a [&'a [u8]],
    /// Where the names begin among the arguments.
    names_at: usize,
}

impl<'a> Call<'a> {
    /// Reads the arguments, the name included.
    pub fn parse(args: &'a [&'a [u8]]) -> Result<Self, Refused> {
        let mut call = Self { group: None, block_ms: None, no_ack: false, count: usize::MAX, names: &[], names_at: 0 };
        let grouped = args[0].eq_ignore_ascii_case(b"xreadgroup");
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let rest = &args[at + 1..];
            match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"block", [ms, ..]) => {
                    let bad = |_| Refused::Text("ERR timeout is not an integer or out of range".to_owned());
                    let ms = integer(ms).map_err(bad)?;
                    let negative = |_| Refused::Text("ERR timeout is negative".to_owned());
                    call.block_ms = Some(u64::try_from(ms).map_err(negative)?);
                    at += 2;
                }
                (b"count", [count, ..]) => {
                    let count = usize::try_from(integer(count)?).unwrap_or(0);
                    call.count = if count == 0 { usize::MAX } else { count };
                    at += 2;
                }
                (b"group", [group, consumer, ..]) => {
                    call.group = Some((group, consumer));
                    at += 3;
                }
                (b"noack", _) if grouped => {
                    call.no_ack = true;
                    at += 1;
                }
                (b"streams", [_, ..]) => {
                    if !rest.len().is_multiple_of(2) {
                        return Err(Refused::Text(format!(
                            "ERR Unbalanced '{}' list of streams: for each stream key an ID or '$' must be specified.",
                            if grouped { "xreadgroup" } else { "xread" }
                        )));
                    }
                    (call.names, call.names_at) = (rest, at + 1);
                    break;
                }
                _ => return Err(Refused::Syntax),
            }
        }
        if call.names.is_empty() {
            return Err(Refused::Syntax);
        }
        Ok(call)
    }

    /// Keys and IDs.
    pub fn streams(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (keys, ids) = self.names.split_at(self.names.len() / 2);
        keys.iter().copied().zip(ids.iter().copied())
    }
}

/// How long a call of XREAD or XREADGROUP wants to wait, in milliseconds: `Some(0)` without end. Nothing if it does not
/// want to, or is refused when it runs.
#[must_use]
pub fn wait_ms(args: &[&[u8]]) -> Option<u64> {
    Call::parse(args).ok()?.block_ms
}

/// The arguments of a call that waits, with `$` replaced by the last ID that each stream has now: to be run again later.
#[must_use]
pub fn with_ids_resolved(args: &[&[u8]], keyspace: &Keyspace, cx: &Context) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    let Ok(call) = Call::parse(args) else { return out };
    let ids_at = call.names_at + call.names.len() / 2;
    for (at, (key, id)) in (ids_at..).zip(call.streams()) {
        if call.group.is_none() && id == b"$" {
            let last = keyspace.container::<Stream>(cx, key).ok().flatten().map_or(Id::MIN, |stream| stream.last);
            out[at] = last.to_string().into_bytes();
        }
    }
    out
}

/// What was found, by key; nothing is a nil array.
pub(super) fn answer(found: Vec<(Reply, Reply)>) -> Reply {
    if found.is_empty() { Reply::NilArray } else { Reply::Pairs(found) }
}

/// `>` of XREADGROUP, or an ID of the history.
pub(super) fn history(id: &[u8]) -> Result<Option<Id>, Refused> {
    if id == b">" { Ok(None) } else { ids::exact(id, 0).map(Some) }
}
