//! What a call of XREAD or XREADGROUP asks for; and what there is to know when it waits.
//!
//! The commands never wait: they answer a nil array when there is nothing. Whoever lets them wait runs them again, as
//! [`with_ids_resolved`] spells them, whenever an entry comes, until they answer something else or [`ended`] says why not.

use super::{ids, read};
use crate::command::strings::integer;
use crate::value::Stream;
use crate::value::stream::Id;
use crate::{Context, Keyspace, Refused};

/// A call of XREAD or XREADGROUP.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Group and consumer.
    pub(super) group: Option<(&'a [u8], &'a [u8])>,
    pub(super) block_ms: Option<u64>,
    pub(super) no_ack: bool,
    /// Entries of each stream at most.
    pub(super) count: usize,
    /// The names of the streams, then the IDs.
    names: &'a [&'a [u8]],
    /// Where STREAMS stands.
    streams_at: usize,
}

/// Entries of each stream that a call gets at most that has waited and gave no COUNT.
const WAITED_COUNT: &[u8] = b"1000";

impl<'a> Call<'a> {
    /// Reads the arguments, the name included.
    pub(super) fn parse(args: &'a [&'a [u8]]) -> Result<Self, Refused> {
        let grouped = args[0].len() == b"xreadgroup".len();
        let mut call =
            Self { group: None, block_ms: None, no_ack: false, count: usize::MAX, names: &[], streams_at: 0 };
        call.read(args, grouped)?;
        if grouped && call.group.is_none() {
            return Err(text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(call)
    }

    /// Reads the options up to STREAMS, behind which the rest are names.
    fn read(&mut self, args: &'a [&'a [u8]], grouped: bool) -> Result<(), Refused> {
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let rest = &args[at + 1..];
            let only_grouped = |option| {
                text(&format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."))
            };
            at += match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"block", [ms, ..]) => {
                    self.block_ms = Some(timeout(ms)?);
                    2
                }
                (b"count", [count, ..]) => {
                    self.count = Some(read::count(count)?).filter(|count| *count > 0).unwrap_or(usize::MAX);
                    2
                }
                (b"streams", [_, ..]) => {
                    (self.names, self.streams_at) = (rest, at);
                    return if rest.len().is_multiple_of(2) { Ok(()) } else { Err(unbalanced()) };
                }
                (b"group", [_, _, ..]) if !grouped => return Err(only_grouped("GROUP")),
                (b"group", [group, consumer, ..]) => {
                    self.group = Some((group, consumer));
                    3
                }
                (b"noack", _) if !grouped => return Err(only_grouped("NOACK")),
                (b"noack", _) => {
                    self.no_ack = true;
                    1
                }
                _ => return Err(Refused::Syntax),
            };
        }
        Err(Refused::Syntax)
    }

    /// Keys and IDs.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (keys, ids) = self.names.split_at(self.names.len() / 2);
        keys.iter().copied().zip(ids.iter().copied())
    }
}

/// Milliseconds to wait.
fn timeout(ms: &[u8]) -> Result<u64, Refused> {
    let ms = integer(ms).map_err(|_| text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| text("ERR timeout is negative"))
}

fn unbalanced() -> Refused {
    text("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.")
}

fn text(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}

/// How long a call of XREAD or XREADGROUP wants to wait, in milliseconds, 0 without end. Nothing if it does not want to, or
/// is refused when it runs.
#[must_use]
pub fn wait_ms(args: &[&[u8]]) -> Option<u64> {
    Call::parse(args).ok()?.block_ms
}

/// The arguments of a call that begins to wait, to be run again later: `$` is the last ID that the stream has now, and a
/// call without COUNT gets one, as in Redis.
#[must_use]
pub fn with_ids_resolved(args: &[&[u8]], keyspace: &Keyspace, cx: &Context) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    let Ok(call) = Call::parse(args) else { return out };
    let ids_at = call.streams_at + 1 + call.names.len() / 2;
    for (at, (key, id)) in (ids_at..).zip(call.streams()) {
        if call.group.is_none() && ids::c_string(id) == b"$" {
            let stream = keyspace.container::<Stream>(cx, key).ok().flatten();
            out[at] = stream.map_or(Id::MIN, |stream| stream.entries().last()).to_string().into_bytes();
        }
    }
    if call.count == usize::MAX {
        out.splice(call.streams_at..call.streams_at, [b"COUNT".to_vec(), WAITED_COUNT.to_vec()]);
    }
    out
}

/// Why a call of XREADGROUP that waits must stop to, if it must: a stream or the group is gone. XREAD never must.
#[must_use]
pub fn ended(args: &[&[u8]], keyspace: &Keyspace, cx: &Context) -> Option<Refused> {
    let call = Call::parse(args).ok()?;
    let (group, _) = call.group?;
    call.streams().find_map(|(key, _)| match keyspace.container::<Stream>(cx, key) {
        Ok(Some(stream)) if stream.group(group).is_some() => None,
        Ok(Some(_)) => Some(text("NOGROUP the consumer group this client was blocked on no longer exists")),
        Ok(None) | Err(_) => Some(text("UNBLOCKED the stream key no longer exists")),
    })
}
