//! Keys of any type; ids 200 to 299.

use super::Command;

/// The rows of this family.
pub static COMMANDS: &[Command] = &[];
