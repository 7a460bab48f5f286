//! Where tokens come from: blocks of numbers that the meta shard leases to nodes, always rising. A lock's next token is above its
//! last one and at least the next of the block. Without a block a lock goes on from its last token alone: that keeps every promise
//! for this name, so no death of the meta shard stops the locks.

use super::value::TOKEN_MAX;
use base::limits::LOCK_BLOCK_COUNT;
use std::collections::VecDeque;
use std::ops::Range;

/// What tokens and fences of a generation are above.
#[must_use]
pub fn floor(generation: u16) -> u64 {
    u64::from(generation.min(GENERATION_MAX)) << GENERATION_SHIFT
}

/// The last generation: its tokens are below [`TOKEN_MAX`] with room to rise.
pub const GENERATION_MAX: u16 = (1 << 13) - 1;
const _: () = assert!(GENERATION_MAX as u64 <= (TOKEN_MAX >> GENERATION_SHIFT) / 2);

/// What this node may still give out.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Tokens {
    /// A restored backup's locks go on above all that may have been given out since it was made.
    floor: u64,
    blocks: VecDeque<Range<u64>>,
    asked: bool,
}

/// Bits of a token below those of the restored generation.
const GENERATION_SHIFT: u32 = 48;

impl Tokens {
    pub(crate) fn new(generation: u16) -> Self {
        Self { floor: floor(generation), blocks: VecDeque::new(), asked: false }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Takes a block as the meta shard counts, within the generation.
    pub(crate) fn add(&mut self, first: u64, count: u64) {
        self.asked = false;
        let first = first.saturating_add(self.floor);
        let end = first.saturating_add(count).min(TOKEN_MAX);
        self.blocks.push_back(first.min(end)..end);
    }

    /// The token behind `last`.
    pub(crate) fn next(&mut self, last: u64) -> u64 {
        let least = last.max(self.floor) + 1;
        self.blocks.retain(|block| block.end > block.start);
        let token = self.blocks.front().map_or(least, |block| least.max(block.start));
        for block in &mut self.blocks {
            block.start = block.start.max((token + 1).min(block.end));
        }
        token
    }

    /// True once whenever less than two blocks are left: the next one is to be fetched.
    pub(crate) fn wants_block(&mut self) -> bool {
        let left: u64 = self.blocks.iter().map(|block| block.end - block.start).sum();
        let wants = left < LOCK_BLOCK_COUNT && !self.asked;
        self.asked |= wants;
        wants
    }

    /// The last request for a block came to nothing.
    pub(crate) fn ask_again(&mut self) {
        self.asked = false;
    }
}
