//! Sorted sets: ids 600 to 659.

pub mod add;
pub mod pop;
pub mod range;
pub mod read;

use super::{Command, Keys, Outcome, Run};
use crate::Reply;

/// Members with their scores, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scores {
    With,
    Without,
}

/// An answer of members: flat in RESP2 and in pairs in RESP3 where scores are wanted.
fn members<'a>(found: impl Iterator<Item = (&'a [u8], f64)>, scores: Scores) -> Reply {
    match scores {
        Scores::With => {
            Reply::Pairs(found.map(|(member, score)| (Reply::bulk(member), Reply::Double(score))).collect())
        }
        Scores::Without => Reply::Array(found.map(|(member, _)| Reply::bulk(member)).collect()),
    }
}
