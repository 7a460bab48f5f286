//! Scripts and functions.

use super::Command;

/// The rows of this family; ids 750 to 769.
pub static COMMANDS: &[Command] = &[];
