//! What scripts did, as the commands that do it again.

use crate::Command;
use crate::shard::put_call;
use base::codec::put_varint;

/// Commands that changed something, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    count: u64,
    bytes: Vec<u8>,
}

/// A place to cut effects back to.
#[derive(Clone, Copy, Debug)]
pub struct EffectsMark {
    count: u64,
    len: usize,
}

impl Effects {
    /// Adds a command.
    pub fn push(&mut self, db: u8, command: &Command, args: &[&[u8]]) {
        put_call(&mut self.bytes, db, command, args);
        self.count += 1;
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How far they go.
    #[must_use]
    pub fn mark(&self) -> EffectsMark {
        EffectsMark { count: self.count, len: self.bytes.len() }
    }

    /// Drops what was added since.
    pub fn cut(&mut self, mark: EffectsMark) {
        self.count = mark.count;
        self.bytes.truncate(mark.len);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.count);
        out.extend_from_slice(&self.bytes);
    }
}
