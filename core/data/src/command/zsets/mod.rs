//! Sorted sets: ids 600 to 659.

pub mod add;
mod bounds;
pub mod combine;
pub mod pop;
pub mod range;
pub mod read;
pub mod remove;
pub mod walk;

use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Ttl};
use crate::value::{Container, Word, Zset};
use crate::{Context, Keyspace, Reply};

/// Members with their scores, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scores {
    With,
    Without,
}

/// An answer of members: flat in RESP2 and in pairs in RESP3 where scores are wanted.
fn members<'a>(found: impl Iterator<Item = (Word<'a>, f64)>, scores: Scores) -> Reply {
    match scores {
        Scores::With => {
            Reply::Couples(found.map(|(member, score)| (Reply::Bulk(member.blob()), Reply::Double(score))).collect())
        }
        Scores::Without => Reply::strings(found.map(|(member, _)| member)),
    }
}

/// Puts what a command found in place of what stands at `key`, or takes that away if nothing was found; how many there are.
pub(super) fn store(keyspace: &mut Keyspace, cx: &Context, key: &[u8], found: Zset, event: &'static str) -> usize {
    let count = found.len();
    if count > 0 {
        keyspace.set_object(cx, key, found, Ttl::Clear);
        keyspace.notify(cx.db, Class::Zset, event, key);
    } else if keyspace.remove(cx, key) {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
    count
}
