//! Lists.

use super::Command;

/// The rows of this family; ids 500 to 539.
pub static COMMANDS: &[Command] = &[];
