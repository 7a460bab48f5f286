//! Sets.

use super::Command;

/// The rows of this family; ids 570 to 599.
pub static COMMANDS: &[Command] = &[];
