//! A byte buffer that begins on a page of memory, as writes past the page cache want it.

use crate::batch::PAGE_BYTES;
use std::ops::{Deref, DerefMut};

const ALIGN: usize = 4096;
const _: () = assert!(ALIGN as u64 == PAGE_BYTES, "batches begin on pages");

/// Bytes whose address is a multiple of a page.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBuf {
    /// A buffer of `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut buf = Self::default();
        buf.resize(len);
        buf
    }

    /// Empties it and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(self.start);
    }

    /// Grows by zeros, or shrinks, to `len` bytes.
    pub(crate) fn resize(&mut self, len: usize) {
        self.reserve(len.saturating_sub(self.len()));
        self.bytes.resize(self.start + len, 0);
    }

    /// Adds bytes at the end.
    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        self.reserve(more.len());
        self.bytes.extend_from_slice(more);
    }

    /// Bytes of memory it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return;
        }
        // Growing in place could move the bytes off their page.
        let wanted = (self.len() + more).max(2 * self.len());
        let mut bytes: Vec<u8> = Vec::with_capacity(wanted + ALIGN);
        let start = bytes.as_ptr().align_offset(ALIGN);
        bytes.resize(start, 0);
        bytes.extend_from_slice(self);
        *self = Self { bytes, start };
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_bytes_and_its_alignment_however_it_grows() {
        let mut buf = AlignedBuf::default();
        let mut plain = Vec::new();
        for n in 1..2000_usize {
            let piece = vec![n.to_le_bytes()[0]; n % 97];
            buf.extend_from_slice(&piece);
            plain.extend_from_slice(&piece);
            assert_eq!(buf.as_ptr().align_offset(ALIGN), 0);
        }
        assert_eq!(*buf, *plain);
        buf.clear();
        assert!(buf.is_empty());
        buf.resize(5000);
        assert_eq!(*buf, [0; 5000]);
    }
}
