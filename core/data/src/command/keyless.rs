//! Commands that concern every shard: each shard runs its part here, the node merges.

use super::{Command, Outcome, Scatter};
use crate::{Context, Keyspace, Reply};

/// The rows of this family; ids 300 to 349.
pub static COMMANDS: &[Command] = &[];

/// One shard's part of a scattered command.
pub fn run(scatter: Scatter, keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let _ = args;
    match scatter {
        Scatter::FlushDb => {
            keyspace.flush(cx.db);
            Ok(Reply::Ok)
        }
        _ => Ok(Reply::Nil),
    }
}

/// One shard's part of a scattered read.
pub fn read(scatter: Scatter, keyspace: &Keyspace, cx: &Context, args: &[&[u8]], rng: &mut base::rng::Rng) -> Outcome {
    let _ = (args, rng);
    match scatter {
        Scatter::DbSize => Ok(Reply::count(keyspace.len(cx.db))),
        _ => Ok(Reply::Nil),
    }
}
