//! Sorted sets.

use super::Command;

/// The rows of this family; ids 600 to 659.
pub static COMMANDS: &[Command] = &[];
