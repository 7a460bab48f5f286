//! Streams.

use super::Command;

/// The rows of this family; ids 660 to 699.
pub static COMMANDS: &[Command] = &[];
