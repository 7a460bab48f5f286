//! A chunk of a list: members back to back in one piece of memory, with room before and behind them.
//!
//! The memory is shared with clones and copied when one of them adds; taking away moves an edge and touches nothing.

use super::End;
use super::entry;
use crate::value::Word;
use std::sync::Arc;

/// Some members; see the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    memory: Arc<[u8]>,
    /// Where the members begin and end in `memory`.
    start: u16,
    end: u16,
    count: u16,
}

/// What the allocator gives for a full chunk.
const ALLOCATION_BYTES_MAX: usize = 4096;
/// Counts of a shared piece of memory, which stand before it.
const SHARED_HEAD_BYTES: usize = 16;
/// The most that the members of a chunk take.
pub(super) const PACKED_BYTES_MAX: usize = ALLOCATION_BYTES_MAX - SHARED_HEAD_BYTES;
/// A chunk this small is not made smaller.
const SHRUNK_BYTES_MIN: usize = 64;

const _: () = assert!(3 * entry::SIZE_MAX <= PACKED_BYTES_MAX, "a chunk that is not full is mostly full");
const _: () = assert!(PACKED_BYTES_MAX <= u16::MAX as usize, "edges have 16 bits");

impl Packed {
    /// A chunk of `count` members, whose bytes these are one after the other.
    pub(super) fn joined(parts: &[&[u8]], count: usize) -> Self {
        if count == 0 {
            return Self::default();
        }
        let len = parts.iter().map(|part| part.len()).sum();
        let mut new = Self { memory: allocate(len), start: 0, end: edge(len), count: edge(count) };
        let memory = Arc::get_mut(&mut new.memory).expect("it is new");
        let mut at = 0;
        for part in parts {
            memory[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        new
    }

    /// The members' bytes.
    pub(super) fn entries(&self) -> &[u8] {
        &self.memory[usize::from(self.start)..usize::from(self.end)]
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// How many bytes the members take.
    pub(super) fn used(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Bytes of memory besides this handle.
    pub(super) fn bytes(&self) -> usize {
        if self.memory.is_empty() { 0 } else { SHARED_HEAD_BYTES + self.memory.len() }
    }

    /// True if `size` more bytes can be added.
    pub(super) fn fits(&self, size: usize) -> bool {
        self.used() + size <= PACKED_BYTES_MAX
    }

    /// Adds a member that fits at an end. Where memory must be taken, some `spare` bytes are taken with it.
    pub(super) fn push(&mut self, end: End, member: Word<'_>, spare: usize) {
        let size = entry::size(member);
        let room = match end {
            End::Head => usize::from(self.start),
            End::Tail => self.memory.len() - usize::from(self.end),
        };
        if room < size || Arc::get_mut(&mut self.memory).is_none() {
            self.make_room(end, size, spare);
        }
        let at = match end {
            End::Head => {
                self.start -= edge(size);
                usize::from(self.start)
            }
            End::Tail => {
                self.end += edge(size);
                usize::from(self.end) - size
            }
        };
        let memory = Arc::get_mut(&mut self.memory).expect("room was made in memory of its own");
        entry::write(&mut memory[at..at + size], member);
        self.count += 1;
    }

    /// Takes `count` members away at an end; there are as many.
    pub(super) fn cut(&mut self, end: End, count: usize) {
        let at = self.seek(end, count);
        match end {
            End::Head => self.start += edge(at),
            End::Tail => self.end = self.start + edge(at),
        }
        self.count -= edge(count);
        let (used, held) = (self.used(), self.memory.len());
        if used == 0 {
            *self = Self::default();
        } else if used < held / 2 && held > SHRUNK_BYTES_MIN {
            *self = Self::joined(&[self.entries()], self.len());
        }
    }

    /// Where the members part if `count` of them are to be on the side of `end`.
    pub(super) fn seek(&self, end: End, count: usize) -> usize {
        let entries = self.entries();
        let from_head = match end {
            End::Head => count,
            End::Tail => self.len() - count,
        };
        if from_head <= self.len() / 2 {
            (0..from_head).fold(0, |at, _| at + entry::first(&entries[at..]).1)
        } else {
            (from_head..self.len()).fold(entries.len(), |at, _| at - entry::last_size(&entries[..at]))
        }
    }

    /// The members' bytes before the member at `within`, and those behind `gone` members from there on.
    pub(super) fn parted(&self, within: usize, gone: usize) -> (&[u8], &[u8]) {
        let (from, to) = (self.seek(End::Head, within), self.seek(End::Head, within + gone));
        (&self.entries()[..from], &self.entries()[to..])
    }

    /// Overwrites the member at `at`; false if another size is needed, or the memory is shared.
    pub(super) fn overwrite(&mut self, at: usize, member: Word<'_>) -> bool {
        let size = entry::first(&self.entries()[at..]).1;
        let at = usize::from(self.start) + at;
        match Arc::get_mut(&mut self.memory) {
            Some(memory) if size == entry::size(member) => {
                entry::write(&mut memory[at..at + size], member);
                true
            }
            _ => false,
        }
    }

    /// Moves the members, to memory of their own that is large enough, so that `size` bytes have room at an end.
    fn make_room(&mut self, end: End, size: usize, spare: usize) {
        let (used, held) = (self.used(), self.memory.len());
        let free = held - used;
        // To move them for a few bytes at a time would cost more than to grow.
        let worth_it = free >= size + used / 8 || held == PACKED_BYTES_MAX;
        if let Some(memory) = Arc::get_mut(&mut self.memory).filter(|_| free >= size && worth_it) {
            let before = match end {
                End::Head => size + (free - size).div_ceil(2),
                End::Tail => (free - size) / 2,
            };
            memory.copy_within(usize::from(self.start)..usize::from(self.end), before);
            (self.start, self.end) = (edge(before), edge(before + used));
            return;
        }
        let mut memory = allocate((used + size + spare).min(PACKED_BYTES_MAX));
        let before = match end {
            End::Head => memory.len() - used,
            End::Tail => 0,
        };
        Arc::get_mut(&mut memory).expect("it is new")[before..before + used].copy_from_slice(self.entries());
        (self.memory, self.start, self.end) = (memory, edge(before), edge(before + used));
    }
}

/// Zeroed memory of `bytes`, and what the allocator would give with them: it has sizes of so many times 16 bytes, and above
/// 128 bytes four to each power of two.
fn allocate(bytes: usize) -> Arc<[u8]> {
    let whole = bytes + SHARED_HEAD_BYTES;
    let step = (whole.next_power_of_two() / 8).max(16);
    std::iter::repeat_n(0, whole.next_multiple_of(step) - SHARED_HEAD_BYTES).collect()
}

fn edge(at: usize) -> u16 {
    u16::try_from(at).expect("a chunk ends below 64 KiB")
}
