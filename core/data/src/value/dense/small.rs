//! Few members in one piece of memory, back to back behind their count, looked for one after another.

use super::word::{self, Word};

/// See the module. A member has `WORDS` words, of which the first is its key.
#[derive(Clone, Debug, Default)]
pub(super) struct Small<const WORDS: usize> {
    /// The count in a byte, then the members; nothing if there are none.
    data: Vec<u8>,
}

/// As many as Redis keeps in one piece, where that is compared.
pub(super) const COUNT_MAX: usize = 128;
/// What 128 fields and values of 64 bytes take, which Redis keeps in one piece too.
const BYTES_MAX: usize = 128 * 2 * (64 + 2);
const _: () = assert!(COUNT_MAX <= u8::MAX as usize && BYTES_MAX <= u16::MAX as usize, "they fit their fields");

const COUNT_BYTES: usize = 1;

/// Where a member stands: how many are before it, and its first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) position: usize,
    offset: usize,
}

impl<const WORDS: usize> Small<WORDS> {
    pub(super) fn len(&self) -> usize {
        self.data.first().map_or(0, |count| usize::from(*count))
    }

    /// Bytes of memory besides the struct.
    pub(super) fn bytes(&self) -> usize {
        self.data.capacity()
    }

    pub(super) fn find(&self, key: Word<'_>) -> Option<Place> {
        let code = key.code();
        if code.len() > BYTES_MAX {
            return None;
        }
        let mut offset = COUNT_BYTES;
        for position in 0..self.len() {
            let data = &self.data[offset..];
            if code.begins(data) {
                return Some(Place { position, offset });
            }
            offset += member_size::<WORDS>(data);
        }
        None
    }

    /// Where the member at `position` stands.
    pub(super) fn place(&self, position: usize) -> Place {
        let offset = (0..position).fold(COUNT_BYTES, |offset, _| offset + member_size::<WORDS>(&self.data[offset..]));
        Place { position, offset }
    }

    /// The bytes of the members from `place` on.
    pub(super) fn from(&self, place: Place) -> &[u8] {
        &self.data[place.offset..]
    }

    /// True if another member can come, or these words in place of a member.
    pub(super) fn has_room(&self, words: &[Word<'_>], new: bool) -> bool {
        self.data.len() + bytes_of(words) <= BYTES_MAX && self.len() + usize::from(new) <= COUNT_MAX
    }

    pub(super) fn push(&mut self, words: &[Word<'_>; WORDS]) {
        if self.data.is_empty() {
            self.data.reserve_exact(COUNT_BYTES + bytes_of(words));
            self.data.push(0);
        }
        let end = self.data.len();
        put(&mut self.data, end, 0, words);
        self.data[0] += 1;
    }

    /// Replaces the words behind a member's key.
    pub(super) fn replace(&mut self, place: Place, rest: &[Word<'_>]) {
        let data = &self.data[place.offset..];
        let (key, size) = (word::size(data), member_size::<WORDS>(data));
        put(&mut self.data, place.offset + key, size - key, rest);
    }

    /// Takes a member out; the last comes in its place.
    pub(super) fn remove(&mut self, place: Place) {
        let size = member_size::<WORDS>(&self.data[place.offset..]);
        let last = self.place(self.len() - 1).offset;
        self.data[place.offset..].rotate_left(size);
        self.data.truncate(self.data.len() - size);
        if place.offset < last {
            // The last stands at the end still: bring it to the front of what came behind the hole.
            let last_size = self.data.len() - (last - size);
            self.data[place.offset..].rotate_right(last_size);
        }
        self.data[0] -= 1;
        if self.data[0] == 0 {
            self.data.clear();
        }
        trim(&mut self.data);
    }
}

/// How many bytes the member at the front of `data` takes.
pub(super) fn member_size<const WORDS: usize>(data: &[u8]) -> usize {
    (0..WORDS).fold(0, |size, _| size + word::size(&data[size..]))
}

fn bytes_of(words: &[Word<'_>]) -> usize {
    words.iter().map(|word| word.code().len()).sum()
}

/// Writes words over the `old` bytes at `at`.
fn put(data: &mut Vec<u8>, at: usize, old: usize, words: &[Word<'_>]) {
    let codes = words.iter().map(|word| word.code());
    make_room(data, at, old, bytes_of(words));
    let mut at = at;
    for code in codes {
        code.write(&mut data[at..]);
        at += code.len();
    }
}

/// Makes the `old` bytes at `at` `new` bytes, whose content is to be written.
pub(super) fn make_room(data: &mut Vec<u8>, at: usize, old: usize, new: usize) {
    let len = data.len();
    if new > old {
        let wanted = len + new - old;
        // As much as is needed: allocators give an eighth more, so that few new members move all.
        data.reserve_exact(wanted - len);
        data.resize(wanted, 0);
        data.copy_within(at + old..len, at + new);
    } else {
        data.copy_within(at + old.., at + new);
        data.truncate(len + new - old);
    }
}

/// Gives memory back that is not needed any more.
pub(super) fn trim(data: &mut Vec<u8>) {
    if data.capacity() > data.len() * 2 + 32 {
        data.shrink_to(data.len() + data.len() / 8);
    }
}
