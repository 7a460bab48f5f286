//! Connection, transaction and server commands: rows only, run by the edge and the binary; ids 400 to 499.

use super::Command;

/// The rows of this family.
pub static COMMANDS: &[Command] = &[];
