//! Fences: a shard refuses what comes under a lock's fence that is smaller than one it has seen of that lock.
//!
//! Who gets a lock gets a number with it that only rises, its fence. A holder that was stopped, or whose packet was late, still
//! believes in its lock; the store is the only place that can know better (Kleppmann, "How to do distributed locking"; Chubby's
//! sequencers). So each shard keeps the largest fence that it has seen of each lock, its floor, and a command that comes
//! with `FENCE lock fence` is run only if its fence is not below that. It need not write: the first command under a new fence
//! raises the floor, a read too, and from then on its holder is protected in that shard.
//!
//! [`Floors`] is replicated state: it changes by log entries alone, is part of snapshots ([`image`]) and of the digest.
//! This file is what a fence is and how it is spelled; [`apply`] is how the log's operations are judged. Who hands
//! fences out is not known here.

mod apply;
mod floors;
mod image;
#[cfg(test)]
mod tests;

use crate::Refused;
use crate::once::number;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{FENCE_LOCK_BYTES_MAX, FENCES_PER_CALL_MAX};
use smallvec::SmallVec;

pub(crate) use floors::{Before, Kept, Known};
pub use floors::{Floors, Judged};
pub use image::{Loading, TAG_FLOOR, TAG_SLOT_FLOOR};

/// A lock's name, and a number that was given out with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence<'a> {
    pub lock: &'a [u8],
    /// From 1 to 2^63 - 1.
    pub number: u64,
}

/// A [`Fence`] that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFence {
    lock: Box<[u8]>,
    number: u64,
}

/// All that one command stands under, each lock once.
pub type Fences<'a> = SmallVec<[Fence<'a>; 1]>;

impl<'a> Fence<'a> {
    /// Reads the two words behind FENCE.
    pub fn parse(lock: &'a [u8], word: &[u8]) -> Result<Self, Refused> {
        if lock.is_empty() || lock.len() > FENCE_LOCK_BYTES_MAX {
            return Err(text(format!(
                "ERR a lock's name has 1 to {FENCE_LOCK_BYTES_MAX} bytes, not {}; the spelling is FENCE <lock> <fence> <command ..>",
                lock.len()
            )));
        }
        let number = number(word).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&word[..word.len().min(100)]).into_owned();
            text(format!(
                "ERR '{shown}' is no fence: it is the number that came with the lock, from 1 to {}; the spelling is FENCE <lock> \
                 <fence> <command ..>",
                u64::MAX >> 1
            ))
        })?;
        Ok(Self { lock, number })
    }

    /// Appends it as log entries, snapshots and peers carry it.
    pub fn encode(self, out: &mut Vec<u8>) {
        put_bytes(out, self.lock);
        put_varint(out, self.number);
    }

    /// What [`Fence::encode`] wrote.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (lock, number) = (reader.bytes()?, reader.varint()?);
        let good = (1..=FENCE_LOCK_BYTES_MAX).contains(&lock.len()) && (1..=u64::MAX >> 1).contains(&number);
        if good { Ok(Self { lock, number }) } else { Err(DecodeError::Unknown(number)) }
    }

    /// A copy of its own.
    #[must_use]
    pub fn to_owned(self) -> OwnedFence {
        OwnedFence { lock: self.lock.into(), number: self.number }
    }
}

impl OwnedFence {
    /// To look at.
    #[must_use]
    pub fn as_fence(&self) -> Fence<'_> {
        Fence { lock: &self.lock, number: self.number }
    }
}

/// To look at all of them.
#[must_use]
pub fn as_fences(owned: &[OwnedFence]) -> Fences<'_> {
    owned.iter().map(OwnedFence::as_fence).collect()
}

/// Adds a fence to those of a command. The same one again adds nothing; another one of the same lock is refused.
pub fn add<'a>(all: &mut Fences<'a>, fence: Fence<'a>) -> Result<(), Refused> {
    match all.iter().find(|one| one.lock == fence.lock) {
        Some(one) if one.number == fence.number => Ok(()),
        Some(one) => Err(text(format!(
            "ERR the command stands under two fences of the lock '{}', {} and {}; nothing was changed; give it the one that \
             came last",
            shown(fence.lock),
            one.number,
            fence.number
        ))),
        None if all.len() >= FENCES_PER_CALL_MAX => Err(text(format!(
            "ERR a command can stand under {FENCES_PER_CALL_MAX} fences at most; nothing was changed"
        ))),
        None => {
            all.push(fence);
            Ok(())
        }
    }
}

/// Appends a list of fences.
pub fn put_fences(out: &mut Vec<u8>, fences: &[Fence<'_>]) {
    put_varint(out, fences.len() as u64);
    fences.iter().for_each(|fence| fence.encode(out));
}

/// What [`put_fences`] wrote: at least one, each lock once.
pub fn read_fences<'a>(reader: &mut Reader<'a>) -> Result<Fences<'a>, DecodeError> {
    let count = reader.varint()?;
    if count == 0 || count > FENCES_PER_CALL_MAX as u64 {
        return Err(DecodeError::Unknown(count));
    }
    let mut fences = Fences::new();
    for _ in 0..count {
        let fence = Fence::decode(reader)?;
        if fences.iter().any(|one| one.lock == fence.lock) {
            return Err(DecodeError::Unknown(fence.number));
        }
        fences.push(fence);
    }
    Ok(fences)
}

/// A fence that nobody was given, as far as this node knows. `bound` is the largest that may have been.
#[must_use]
pub fn beyond(fences: &[Fence<'_>], bound: u64) -> Option<Refused> {
    let fence = fences.iter().find(|fence| fence.number > bound)?;
    Some(text(format!(
        "ERR the fence {} of the lock '{}' lies beyond all that were given out, which is {bound} at most; nothing was changed; \
         use the fence that the lock was acquired with",
        fence.number,
        shown(fence.lock)
    )))
}

/// Why a fence is refused that is below what is known of its lock.
fn stale(fence: Fence<'_>, known: Known) -> Refused {
    let (lock, number) = (shown(fence.lock), fence.number);
    text(match known {
        Known::Lock(floor) => format!(
            "FENCED the lock '{lock}' has had another holder since: its fence {number}{OWN_FLOOR}{floor}, which came after it; \
             nothing was changed; stop the work that the lock guards, and acquire it anew"
        ),
        Known::Slot(floor) => format!(
            "FENCED the fence {number} of the lock '{lock}' is too old to be judged: this shard has forgotten which one it saw \
             last, and{SLOT_FLOOR}{floor}; nothing was changed; acquire the lock anew"
        ),
    })
}

/// The floor that a refusal names, as this node or another has told it; nothing if it is another refusal.
#[must_use]
pub fn floor_told(refusal: &str) -> Option<u64> {
    let rest = refusal.strip_prefix("FENCED ")?;
    // Behind the lock's name, which may hold such words too.
    let ends = [OWN_FLOOR, SLOT_FLOOR].into_iter().filter_map(|words| Some(rest.rfind(words)? + words.len()));
    let floor = &rest[ends.max()?..];
    let digits = floor.bytes().take_while(u8::is_ascii_digit).count();
    floor[..digits].parse().ok()
}

/// What stands before the floor in a refusal.
const OWN_FLOOR: &str = " is below ";
const SLOT_FLOOR: &str = " takes none below ";

fn shown(lock: &[u8]) -> String {
    String::from_utf8_lossy(&lock[..lock.len().min(100)]).into_owned()
}

fn text(text: String) -> Refused {
    Refused::Text(text)
}
