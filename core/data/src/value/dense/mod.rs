//! Members found by a key and standing in an order: what hashes and sets are made of.
//!
//! A new member stands behind all others; when one goes, the last comes in its place. So the order depends on the commands
//! alone, a place can be drawn by chance, and a walk from the end to the front meets every member that stays, whatever
//! comes and goes meanwhile.
//!
//! Few members stand in one piece of memory and are looked for one after another, as in Redis' listpack. Many stand in
//! chunks with an index beside them; what is cloned shares them, and a change copies a chunk and a part of the index.

mod chunk;
mod image;
mod index;
mod large;
mod shelf;
mod small;
mod word;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use large::Large;
use small::Small;
use std::ops::Range;
pub use word::Word;

/// Members of `WORDS` words, of which the first is the key.
#[derive(Clone, Debug)]
pub(super) struct Dense<const WORDS: usize>(Form<WORDS>);

#[derive(Clone, Debug)]
enum Form<const WORDS: usize> {
    Small(Small<WORDS>),
    Large(Box<Large<WORDS>>),
}

impl<const WORDS: usize> Default for Dense<WORDS> {
    fn default() -> Self {
        Self(Form::Small(Small::default()))
    }
}

impl<const WORDS: usize> Dense<WORDS> {
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Form::Small(small) => small.len(),
            Form::Large(large) => large.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory besides the struct.
    pub(super) fn bytes(&self) -> usize {
        match &self.0 {
            Form::Small(small) => small.bytes(),
            Form::Large(large) => large.bytes(),
        }
    }

    /// What keys the index, if there is one.
    pub(super) fn seed(&self) -> Option<u64> {
        if let Form::Large(large) = &self.0 { Some(large.seed) } else { None }
    }

    /// The position of the member with this key.
    pub(super) fn find(&self, key: Word<'_>) -> Option<usize> {
        match &self.0 {
            Form::Small(small) => small.find(key).map(|place| place.position),
            Form::Large(large) => large.find(key),
        }
    }

    /// The member with this key.
    pub(super) fn get(&self, key: Word<'_>) -> Option<[Word<'_>; WORDS]> {
        match &self.0 {
            Form::Small(small) => small.find(key).map(|place| words(small.from(place), &[]).0),
            Form::Large(large) => large.find(key).map(|at| {
                let (data, apart) = large.from(at);
                words(data, apart).0
            }),
        }
    }

    /// The members at these positions, in their order.
    pub(super) fn members(&self, range: Range<usize>) -> Members<'_, WORDS> {
        let mut members = Members { dense: self, range, data: &[], apart: &[] };
        members.load();
        members
    }

    /// Adds a member, or replaces what stands behind its key; true if it is new. `seed`, which nobody outside may know,
    /// keys the index that may have to be made.
    pub(super) fn put(&mut self, member: &[Word<'_>; WORDS], seed: u64) -> bool {
        if let Form::Small(small) = &mut self.0 {
            let place = small.find(member[0]);
            if small.has_room(member, place.is_none()) {
                match place {
                    Some(place) if WORDS > 1 => small.replace(place, &member[1..]),
                    Some(_) => {}
                    None => small.push(member),
                }
                return place.is_none();
            }
        }
        let large = self.grown(seed);
        let at = large.find(member[0]);
        match at {
            Some(at) if WORDS > 1 => large.replace(at, &member[1..]),
            Some(_) => {}
            None => large.push(member),
        }
        at.is_none()
    }

    /// Takes the member with this key out; true if it was there.
    pub(super) fn remove(&mut self, key: Word<'_>) -> bool {
        match &mut self.0 {
            Form::Small(small) => small.find(key).map(|place| small.remove(place)).is_some(),
            Form::Large(large) => large.find(key).map(|at| large.remove(at)).is_some(),
        }
    }

    /// Takes the member at a position out; the last comes in its place.
    pub(super) fn remove_at(&mut self, at: usize) {
        match &mut self.0 {
            Form::Small(small) => small.remove(small.place(at)),
            Form::Large(large) => large.remove(at),
        }
    }

    /// What it is made of when it has grown.
    fn grown(&mut self, seed: u64) -> &mut Large<WORDS> {
        if let Form::Small(_) = self.0 {
            let mut large = Box::new(Large::new(seed));
            self.members(0..self.len()).for_each(|member| large.push(&member));
            self.0 = Form::Large(large);
        }
        match &mut self.0 {
            Form::Large(large) => large,
            Form::Small(_) => unreachable!("it has just grown"),
        }
    }
}

/// The words of the member at the front of `data`, and how many bytes they take.
fn words<'a, const WORDS: usize>(data: &'a [u8], apart: &'a [Option<Bytes>]) -> ([Word<'a>; WORDS], usize) {
    let mut used = 0;
    let words = std::array::from_fn(|_| {
        let (word, size) = Word::first(&data[used..], apart);
        used += size;
        word
    });
    (words, used)
}

/// Members in their order.
#[derive(Clone, Debug)]
pub(super) struct Members<'a, const WORDS: usize> {
    dense: &'a Dense<WORDS>,
    range: Range<usize>,
    /// The members from here on that stand in one piece.
    data: &'a [u8],
    apart: &'a [Option<Bytes>],
}

impl<const WORDS: usize> Members<'_, WORDS> {
    fn load(&mut self) {
        if self.range.is_empty() {
            return;
        }
        match &self.dense.0 {
            Form::Small(small) => self.data = small.from(small.place(self.range.start)),
            Form::Large(large) => (self.data, self.apart) = large.from(self.range.start),
        }
    }
}

impl<'a, const WORDS: usize> Iterator for Members<'a, WORDS> {
    type Item = [Word<'a>; WORDS];

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.data.is_empty() {
            self.load();
        }
        let (member, used) = words(self.data, self.apart);
        self.data = &self.data[used..];
        self.range.start += 1;
        Some(member)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.range.len(), Some(self.range.len()))
    }
}

impl<const WORDS: usize> ExactSizeIterator for Members<'_, WORDS> {}
