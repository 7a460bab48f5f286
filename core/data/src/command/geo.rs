//! Places on the globe, kept in sorted sets.

use super::Command;

/// The rows of this family; ids 700 to 709.
pub static COMMANDS: &[Command] = &[];
