//! Memory and latency.

use super::Command;

/// The rows of this family; ids 800 to 819.
pub static COMMANDS: &[Command] = &[];
