//! Caches filled once.

use super::Command;

/// The rows of this family; ids 790 to 799.
pub static COMMANDS: &[Command] = &[];
