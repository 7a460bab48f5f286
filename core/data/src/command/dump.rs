//! DUMP and RESTORE.

use super::Command;

/// The rows of this family; ids 735 to 739.
pub static COMMANDS: &[Command] = &[];
