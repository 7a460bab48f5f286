//! Publish and subscribe.

use super::Command;

/// The rows of this family; ids 770 to 789.
pub static COMMANDS: &[Command] = &[];
