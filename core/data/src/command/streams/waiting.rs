//! What there is to know of a call of XREAD or XREADGROUP that waits.
//!
//! The commands never wait: they answer a nil array when there is nothing. Whoever lets them wait spells them anew by
//! [`with_ids_resolved`], and runs them again, as [`narrowed`] to a stream, when something has come to that stream.

use super::call::Call;
use super::ids;
use crate::value::Stream;
use crate::value::stream::Id;
use crate::{Context, Keyspace};
use smallvec::SmallVec;

/// Entries that a call gets at most which has waited and gave no COUNT.
const WAITED_COUNT: &[u8] = b"1000";

/// How long a call wants to wait, in milliseconds, 0 without end. Nothing if it does not want to, or is refused when it
/// runs.
#[must_use]
pub fn wait_ms(args: &[&[u8]]) -> Option<u64> {
    Call::parse(args).ok()?.block_ms
}

/// The group that a call of XREADGROUP names.
#[must_use]
pub fn group_of<'a>(args: &[&'a [u8]]) -> Option<&'a [u8]> {
    Some(Call::parse(args).ok()?.group?.0)
}

/// The arguments of a call that begins to wait: `$` is the last ID that the stream has now, and a call without COUNT gets
/// one, as in Redis.
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

/// The same call for one of its streams alone.
#[must_use]
pub fn narrowed<'a>(args: &[&'a [u8]], key: &[u8]) -> SmallVec<[&'a [u8]; 8]> {
    let Ok(call) = Call::parse(args) else { return args.into() };
    let mut out: SmallVec<[&'a [u8]; 8]> = args[..=call.streams_at].into();
    let (key, id) = call.streams().find(|stream| stream.0 == key).unwrap_or_default();
    out.extend([key, id]);
    out
}
