//! Hashes.

use super::Command;

/// The rows of this family; ids 540 to 569.
pub static COMMANDS: &[Command] = &[];
