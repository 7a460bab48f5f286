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
