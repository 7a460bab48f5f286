//! Scripts and libraries in a snapshot.
//!
//! They are a few megabytes at most, so a cut takes them as they are: bodies are shared, not copied.

use super::{Library, Scripts, sha_of};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use bytes::Bytes;

pub(crate) const TAG_SCRIPT: u8 = 5;
pub(crate) const TAG_LIBRARY: u8 = 6;
pub(crate) const TAG_FLUSHES: u8 = 7;

impl Scripts {
    /// All of it as items of a snapshot, piece by piece: bytes, and behind them some that are shared.
    pub(crate) fn image(&self, mut piece: impl FnMut(&[u8], &Bytes)) {
        let mut head = vec![TAG_FLUSHES];
        put_varint(&mut head, self.flushes);
        piece(&head, &Bytes::new());
        for body in self.order.iter().filter_map(|sha| self.bodies.get(sha)) {
            head.clear();
            head.push(TAG_SCRIPT);
            put_varint(&mut head, body.len() as u64);
            piece(&head, body);
        }
        for library in self.libraries.values() {
            head.clear();
            head.push(TAG_LIBRARY);
            put_bytes(&mut head, &library.name);
            put_varint(&mut head, library.code.len() as u64);
            piece(&head, &library.code);
            head.clear();
            library.encode_functions(&mut head);
            piece(&head, &Bytes::new());
        }
    }

    /// Reads back what stands behind a tag.
    pub(crate) fn load(&mut self, tag: u8, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let fresh = match tag {
            TAG_FLUSHES => {
                self.flushes = reader.varint()?;
                true
            }
            TAG_SCRIPT => {
                let body = Bytes::copy_from_slice(reader.bytes()?);
                self.keep(sha_of(&body), body)
            }
            _ => {
                let library = Library::decode(reader)?;
                let fits = self.may_add(&library, false).is_ok();
                self.add(library);
                fits
            }
        };
        if fresh { Ok(()) } else { Err(DecodeError::Unknown(u64::from(tag))) }
    }
}
