//! SORT.

use super::Command;

/// The rows of this family; ids 730 to 734.
pub static COMMANDS: &[Command] = &[];
