//! Strings that are changed where they stand: bitmaps and what else changes a few bytes of a long string.

use super::item::Body;
use super::{Changed, INLINE_STRING_BYTES_MAX, Keyspace, NewValue, Value};
use crate::value::Object;
use crate::{Context, Refused};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::mem::take;

/// Small strings are changed in a copy of this size on the stack.
const SCRATCH_BYTES: usize = 256;

impl Keyspace {
    /// Lets the string at `key` be changed in place, after it has been grown with zeros to `bytes_min` bytes; one that isn't
    /// there is made. Its expiry stays. A large string that nobody shares is not copied. A string that grew has changed,
    /// whatever `edit` says.
    pub fn edit_string<T>(
        &mut self,
        cx: &Context,
        key: &[u8],
        bytes_min: usize,
        edit: impl FnOnce(&mut [u8]) -> (T, Changed),
    ) -> Result<T, Refused> {
        let mut small: SmallVec<[u8; SCRATCH_BYTES]> = SmallVec::new();
        let (mut expire_at, mut changed) = (None, Changed::Yes);
        if let Some(live) = self.get(cx, key) {
            let bytes = match live.value {
                Value::Str(bytes) => bytes,
                Value::Large(_) => return Ok(self.edit_large(cx, key, bytes_min, edit)),
                Value::Other(_) => return Err(Refused::WrongType),
            };
            small.extend_from_slice(bytes);
            (expire_at, changed) = (live.expire_at, Changed::from(bytes.len() < bytes_min));
        }
        if bytes_min > INLINE_STRING_BYTES_MAX {
            let mut large = vec![0; bytes_min];
            large[..small.len()].copy_from_slice(&small);
            let (told, _) = edit(&mut large);
            self.put(cx.db, key, NewValue::Object(Object::Str(Box::new(Bytes::from(large)))), expire_at);
            return Ok(told);
        }
        small.resize(small.len().max(bytes_min), 0);
        let (told, edited) = edit(&mut small);
        if edited == Changed::Yes || changed == Changed::Yes {
            self.put(cx.db, key, NewValue::Str(&small), expire_at);
        }
        Ok(told)
    }

    /// The same for a string that stands apart from its key.
    fn edit_large<T>(
        &mut self,
        cx: &Context,
        key: &[u8],
        bytes_min: usize,
        edit: impl FnOnce(&mut [u8]) -> (T, Changed),
    ) -> T {
        let address = self.address(cx.db, key);
        let item = self.place(cx.db, address, key).expect("the key is alive");
        self.save_first(cx.db, item);
        self.keep_first(cx.db, key, Some(item));
        let home = &mut self.dbs[usize::from(cx.db)];
        let Body::Object(number) = super::item::view(home.items.get(item)).body else {
            unreachable!("a large string is an object")
        };
        let (told, changed) = home.objects.change(number, |object| {
            let Object::Str(bytes) = object else { unreachable!("the type was looked at") };
            let grew = bytes.len() < bytes_min;
            let mut owned = grown(take(bytes.as_mut()), bytes_min);
            let (told, changed) = edit(&mut owned);
            **bytes = owned.freeze();
            (told, grew || changed == Changed::Yes)
        });
        if changed {
            self.touch(cx.db, address, key);
        }
        told
    }
}

/// The same bytes to be changed, with zeros behind them up to `bytes_min`.
fn grown(bytes: Bytes, bytes_min: usize) -> BytesMut {
    if bytes_min > 2 * bytes.len() {
        // Fresh memory is zero: nothing is written to most of it.
        let mut fresh = vec![0; bytes_min];
        fresh[..bytes.len()].copy_from_slice(&bytes);
        return Bytes::from(fresh).try_into_mut().expect("nobody shares what was just made");
    }
    let mut owned = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    if owned.len() < bytes_min {
        owned.resize(bytes_min, 0);
    }
    owned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Ttl;
    use base::{Index, Stamp};

    #[test]
    fn strings_of_all_sizes_are_changed_in_place() {
        let mut keyspace = Keyspace::new((1, 2));
        keyspace.advance(Stamp(10), Index(1));
        let cx = Context::new(0, Stamp(10));
        let mut model = Vec::new();
        for (at, len) in [0, 1, 5, 2000, 2048, 2049, 2050, 5000, 4000, 20_000].into_iter().enumerate() {
            model.resize(model.len().max(len), 0);
            let before = keyspace.watched(0, b"k").1;
            let edit = |bytes: &mut [u8]| {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 7;
                }
                (bytes.len(), Changed::from(at < len))
            };
            assert_eq!(keyspace.edit_string(&cx, b"k", len, edit), Ok(model.len()));
            if let Some(byte) = model.get_mut(at) {
                *byte = 7;
            }
            assert_eq!(keyspace.string(&cx, b"k"), Ok(Some(&model[..])), "{len}");
            assert!(keyspace.watched(0, b"k").1 > before);
        }
        assert_eq!(keyspace.bytes(), keyspace.dbs[0].item_bytes + model.len());
        let before = keyspace.watched(0, b"k").1;
        assert_eq!(keyspace.edit_string(&cx, b"k", 0, |_| ((), Changed::No)), Ok(()));
        assert_eq!(keyspace.watched(0, b"k").1, before, "nothing was changed");
    }

    #[test]
    fn expiries_stay_and_shared_bytes_are_copied_first() {
        let mut keyspace = Keyspace::new((1, 2));
        keyspace.advance(Stamp(10), Index(1));
        let cx = Context::new(0, Stamp(10));
        for len in [3, 3000] {
            keyspace.set_string(&cx, b"k", &vec![1; len], Ttl::At(Stamp(99)));
            let shared = keyspace.get(&cx, b"k").and_then(|live| live.value.blob().ok()).expect("it is there");
            keyspace.edit_string(&cx, b"k", 0, |bytes| (bytes.fill(2), Changed::Yes)).expect("it is a string");
            assert_eq!(keyspace.get(&cx, b"k").expect("it is there").expire_at, Some(Stamp(99)));
            assert_eq!(keyspace.string(&cx, b"k"), Ok(Some(&vec![2; len][..])));
            assert_eq!(shared.as_bytes(), vec![1; len]);
        }
    }
}
