//! Bitmaps and bit fields, kept in strings.

use super::Command;

/// The rows of this family; ids 710 to 719.
pub static COMMANDS: &[Command] = &[];
