//! What FENCE.RESET and FENCE.INFO do in one shard; their rows stand in [`super::prefix`], beside that of FENCE.

use super::Outcome;
use crate::fence::Fence;
use crate::{Keyspace, Refused, Reply};

/// Whether the words of FENCE.RESET or FENCE.INFO make sense: a lock and, if one is given, the floor that it gets.
pub fn parse<'a>(args: &[&'a [u8]]) -> Result<(&'a [u8], u64), Refused> {
    match args {
        [_, lock] => Fence::parse(lock, b"1").map(|fence| (fence.lock, 0)),
        [_, lock, b"0"] => Fence::parse(lock, b"1").map(|fence| (fence.lock, 0)),
        [_, lock, number] => Fence::parse(lock, number).map(|fence| (fence.lock, fence.number)),
        _ => Err(Refused::Arity("fence.reset".to_owned())),
    }
}

/// FENCE.RESET lock [floor]: what this shard takes for the last fence of a lock.
pub(super) fn reset(keyspace: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    let (lock, floor) = parse(args)?;
    keyspace.reset_floor(lock, floor);
    Ok(Reply::Ok)
}

/// FENCE.INFO lock: the floor here, and whether it is the lock's own; nil if nothing is known.
pub(super) fn info(keyspace: &Keyspace, args: &[&[u8]]) -> Reply {
    match keyspace.floors().floor(args[1]) {
        (0, false) => Reply::Nil,
        (floor, own) => {
            let floor = i64::try_from(floor).unwrap_or(i64::MAX);
            Reply::Array(vec![Reply::Int(floor), Reply::text(if own { "lock" } else { "slot" })])
        }
    }
}
