//! Many members: chunks of 64, and an index.

use super::chunk::{self, Chunk};
use super::index::Index;
use super::shelf::Shelf;
use super::word::Word;
use bytes::Bytes;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Large<const WORDS: usize> {
    chunks: Shelf<Chunk<WORDS>>,
    index: Index,
    len: usize,
    /// Bytes of all chunks.
    chunk_bytes: usize,
    /// Keys the index's hashes. It decides nothing that can be seen.
    pub(super) seed: u64,
}

impl<const WORDS: usize> Large<WORDS> {
    pub(super) fn new(seed: u64) -> Self {
        Self { chunks: Shelf::EMPTY, index: Index::new(), len: 0, chunk_bytes: 0, seed }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.chunk_bytes + self.index.bytes()
    }

    pub(super) fn find(&self, key: Word<'_>) -> Option<usize> {
        let code = key.code();
        self.index.find(key.hash(self.seed), |at| {
            self.chunks.get(at / chunk::COUNT_MAX).is_key(at % chunk::COUNT_MAX, key, &code)
        })
    }

    /// The bytes of the members from `at` to the end of its chunk, and the words that stand apart.
    pub(super) fn from(&self, at: usize) -> (&[u8], &[Option<Bytes>]) {
        self.chunks.get(at / chunk::COUNT_MAX).from(at % chunk::COUNT_MAX)
    }

    pub(super) fn push(&mut self, words: &[Word<'_>; WORDS]) {
        let at = self.len;
        if at.is_multiple_of(chunk::COUNT_MAX) {
            let new = Chunk::new();
            self.chunk_bytes += new.bytes();
            self.chunks.push(new);
        }
        self.change(at, |chunk| chunk.push(words));
        self.index.insert(words[0].hash(self.seed), at);
        self.len += 1;
    }

    pub(super) fn replace(&mut self, at: usize, rest: &[Word<'_>]) {
        self.change(at, |chunk| chunk.replace_rest(at % chunk::COUNT_MAX, rest));
    }

    /// Takes a member out; the last comes in its place.
    pub(super) fn remove(&mut self, at: usize) {
        let last = self.len - 1;
        self.index.remove(self.hash(at), at);
        if at < last {
            self.index.rename(self.hash(last), last, at);
            let moved = self.chunks.get(last / chunk::COUNT_MAX).copy_out(last % chunk::COUNT_MAX);
            self.change(at, |chunk| chunk.replace(at % chunk::COUNT_MAX, &moved.words()));
        }
        self.change(last, Chunk::pop);
        self.len = last;
        if last.is_multiple_of(chunk::COUNT_MAX) {
            let empty = self.chunks.pop();
            self.chunk_bytes -= empty.map_or(0, |chunk| chunk.bytes());
        }
    }

    fn hash(&self, at: usize) -> u32 {
        let (data, apart) = self.from(at);
        Word::first(data, apart).0.hash(self.seed)
    }

    /// Lets the chunk of the member at `at` be changed.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Chunk<WORDS>)) {
        let at = at / chunk::COUNT_MAX;
        // A copy of a shared chunk may be smaller than the chunk was.
        self.chunk_bytes -= self.chunks.get(at).bytes();
        let chunk = self.chunks.get_mut(at);
        change(chunk);
        self.chunk_bytes += chunk.bytes();
    }

    /// The sums that are kept, reckoned anew.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let chunks = (0..self.chunks.len()).map(|at| self.chunks.get(at));
        assert_eq!(chunks.clone().map(Chunk::bytes).sum::<usize>(), self.chunk_bytes);
        assert_eq!(chunks.map(Chunk::len).sum::<usize>(), self.len);
        for at in 0..self.len {
            let (data, apart) = self.from(at);
            assert_eq!(self.find(Word::first(data, apart).0), Some(at));
        }
    }
}
