//! Counts of distinct members, kept in strings.

use super::Command;

/// The rows of this family; ids 720 to 729.
pub static COMMANDS: &[Command] = &[];
