//! A body that comes in while others, on whichever lane, already read it.
//!
//! What came is kept, copied out of the buffers of the connection it came by: no reader holds the writer up, and none that is slow
//! misses anything. So a fill is bounded: by the size of an object, and, over all fills, by a share of the cache's memory. A body
//! that turns out larger is over: those who read it have all that came, and its leader goes on from the endpoint itself.
//!
//! Only what comes in takes room, so that no reader, however slow, keeps others from sharing theirs: at its end a body is one piece,
//! which belongs to the store, and to those who read it as any other answer does. What a leader has yet to read of a body that is over
//! is counted apart; where there is much of that, only bodies whose length is known are shared.

use super::super::body::{Broken, Download};
use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use hyper::header::HeaderMap;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// See the module.
#[derive(Debug)]
pub struct Fill {
    inner: Mutex<Inner>,
    room: Arc<Room>,
    bytes_max: u64,
    /// It took its room before.
    known: bool,
}

#[derive(Debug, Default)]
struct Inner {
    pieces: Vec<Bytes>,
    bytes: u64,
    /// Of the room.
    taken: u64,
    /// It is larger than an object may be.
    large: bool,
    /// All of it, instead of the pieces.
    whole: Option<Bytes>,
    end: Option<End>,
    trailers: Option<HeaderMap>,
    waiting: BTreeMap<u64, Waker>,
    readers: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    Broken,
    /// There was more than may be kept.
    Over,
}

/// The memory of all fills.
#[derive(Debug)]
pub struct Room {
    taken: AtomicU64,
    /// What leaders have yet to read of bodies that are over.
    left: AtomicU64,
    bytes_max: u64,
}

/// Where bodies that are over hold more than this part of the room, none of unknown length is begun.
const LEFT_PART: u64 = 2;
/// The whole is read by pieces, so that a reader that moves slowly is seen to move.
const PIECE_BYTES: usize = 64 * 1024;

impl Room {
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), left: AtomicU64::new(0), bytes_max })
    }

    fn take(&self, bytes: u64) -> bool {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if taken > self.bytes_max {
            self.give_back(bytes);
        }
        taken <= self.bytes_max
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Of objects that may have so many bytes, the largest that it could ever take.
    pub fn largest(&self, bytes_max: u64) -> u64 {
        bytes_max.min(self.bytes_max)
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Fill {
    /// For a body of `length` bytes, if that is known; none if there is no room for it.
    pub fn new(room: Arc<Room>, bytes_max: u64, length: Option<u64>) -> Option<Arc<Self>> {
        // What fits into no room is too large, and not only for now.
        let bytes_max = room.largest(bytes_max);
        let fits = match length {
            Some(length) => length <= bytes_max && room.take(length),
            None => room.left.load(Ordering::Relaxed) <= room.bytes_max / LEFT_PART,
        };
        let inner = Mutex::new(Inner { taken: length.unwrap_or(0), ..Inner::default() });
        fits.then(|| Arc::new(Self { inner, room, bytes_max, known: length.is_some() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more piece; false if it is one too many, which readers get all the same.
    pub fn push(&self, piece: &Bytes) -> bool {
        let bytes = piece.len() as u64;
        let fits = self.known || self.room.take(bytes);
        let mut inner = self.lock();
        inner.pieces.push(Bytes::copy_from_slice(piece));
        // What found no room isn't given back either.
        inner.taken += if fits && !self.known { bytes } else { 0 };
        inner.bytes += bytes;
        inner.large = inner.bytes > self.bytes_max;
        let fits = fits && !inner.large;
        wake(inner);
        fits
    }

    /// Whether it is larger than an object may be; what is over and isn't has found no room.
    pub fn is_too_large(&self) -> bool {
        self.lock().large
    }

    pub fn set_trailers(&self, trailers: HeaderMap) {
        self.lock().trailers = Some(trailers);
    }

    pub fn end(&self, end: End) {
        let mut inner = self.lock();
        inner.end = Some(end);
        match end {
            End::Whole => drop(joined(&mut inner)),
            // Half of a body is none, whoever has read how much of it.
            End::Broken => inner.pieces = Vec::new(),
            End::Over => drop(self.room.left.fetch_add(inner.bytes, Ordering::Relaxed)),
        }
        self.room.give_back(std::mem::take(&mut inner.taken));
        wake(inner);
    }

    /// All of it, in one piece, once all of it is there.
    pub fn whole(&self) -> Bytes {
        joined(&mut self.lock())
    }
}

/// From now on it is one piece.
fn joined(inner: &mut Inner) -> Bytes {
    let pieces = std::mem::take(&mut inner.pieces);
    let whole = inner.whole.get_or_insert_with(|| match pieces.as_slice() {
        [only] => only.clone(),
        pieces => {
            let mut whole = BytesMut::with_capacity(usize::try_from(inner.bytes).unwrap_or(0));
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            whole.freeze()
        }
    });
    whole.clone()
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waiting = std::mem::take(&mut inner.waiting);
    drop(inner);
    waiting.into_values().for_each(Waker::wake);
}

impl Drop for Fill {
    fn drop(&mut self) {
        let inner = self.lock();
        self.room.give_back(inner.taken);
        if inner.end == Some(End::Over) {
            self.room.left.fetch_sub(inner.bytes, Ordering::Relaxed);
        }
    }
}

/// Where the leader's reader finds the rest of a body that is over.
pub type Rest = Rc<RefCell<Option<Download>>>;

/// One who reads.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    number: u64,
    /// The next piece, and how much was before it.
    at: usize,
    seen: usize,
    /// Bytes that aren't wanted, and those that are behind them.
    skip: u64,
    left: u64,
    rest: Option<Rest>,
    /// The length is known before.
    pub length: Option<u64>,
}

impl Reader {
    /// Reads `left` bytes behind the first `skip`.
    pub fn part(fill: Arc<Fill>, skip: u64, left: u64) -> Self {
        let mut reader = Self::of(fill, None);
        (reader.skip, reader.left, reader.length) = (skip, left, Some(left));
        reader
    }

    /// Reads whatever comes.
    pub fn of(fill: Arc<Fill>, rest: Option<Rest>) -> Self {
        let mut inner = fill.lock();
        inner.readers += 1;
        let number = inner.readers;
        drop(inner);
        Self { fill, number, at: 0, seen: 0, skip: 0, left: u64::MAX, rest, length: None }
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let mut inner = self.fill.lock();
            if let Some(piece) = self.next_of(&inner).filter(|_| self.left > 0) {
                drop(inner);
                self.at += 1;
                self.seen += piece.len();
                if let Some(wanted) = self.cut(piece) {
                    return Poll::Ready(Some(Ok(Frame::data(wanted))));
                }
                continue;
            }
            if self.left == 0 {
                return Poll::Ready(None);
            }
            match inner.end {
                None => {
                    inner.waiting.insert(self.number, context.waker().clone());
                    return Poll::Pending;
                }
                Some(End::Whole) => {
                    self.left = 0;
                    let trailers = inner.trailers.clone();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Some(End::Over) if self.rest.is_some() => return Poll::Ready(None),
                Some(_) => {
                    self.left = 0;
                    return Poll::Ready(Some(Err(Broken::new("the endpoint's body broke off"))));
                }
            }
        }
    }

    fn next_of(&self, inner: &Inner) -> Option<Bytes> {
        let Some(whole) = &inner.whole else { return inner.pieces.get(self.at).cloned() };
        let end = whole.len().min(self.seen.saturating_add(PIECE_BYTES));
        (self.seen < end).then(|| whole.slice(self.seen..end))
    }

    /// The rest, once all that was kept has been read.
    pub fn rest(&mut self) -> Option<Download> {
        self.rest.as_ref()?.take()
    }

    fn cut(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        self.skip -= skipped as u64;
        drop(piece.split_to(skipped));
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        (!piece.is_empty()).then_some(piece)
    }

    pub fn is_at_end(&self) -> bool {
        self.left == 0
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut Reader) -> String {
        let mut read = String::new();
        let context = &mut Context::from_waker(Waker::noop());
        loop {
            match reader.poll(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    read.push_str(std::str::from_utf8(&frame.into_data().expect("data")).expect("text"))
                }
                Poll::Ready(Some(Err(_))) => return read + "!",
                Poll::Ready(None) => return read + ".",
                Poll::Pending => return read,
            }
        }
    }

    #[test]
    fn readers_get_all_of_it_wherever_they_begin() {
        let room = Room::new(100);
        let fill = Fill::new(room.clone(), 10, None).expect("there is room");
        let mut early = Reader::of(fill.clone(), None);
        assert_eq!(read(&mut early), "");
        assert!(fill.push(&Bytes::from_static(b"abc")));
        let mut part = Reader::part(fill.clone(), 2, 3);
        assert_eq!((read(&mut early), read(&mut part)), ("abc".into(), "c".into()));
        assert!(fill.push(&Bytes::from_static(b"defg")));
        fill.end(End::Whole);
        assert_eq!(room.taken(), 0, "who reads what is whole keeps no room");
        let mut late = Reader::part(fill.clone(), 0, 7);
        assert_eq!(
            (read(&mut early), read(&mut part), read(&mut late)),
            ("defg.".into(), "de.".into(), "abcdefg.".into())
        );
        assert_eq!((fill.whole(), room.taken()), (Bytes::from_static(b"abcdefg"), 0));
        drop((fill, early, part, late));
        assert_eq!(room.taken(), 0);
    }

    #[test]
    fn what_is_broken_or_over_keeps_no_room_of_others() {
        let room = Room::new(10);
        let broken = Fill::new(room.clone(), 10, Some(8)).expect("there is room");
        assert!(broken.push(&Bytes::from_static(b"1234")));
        let mut reader = Reader::of(broken.clone(), None);
        broken.end(End::Broken);
        assert_eq!((read(&mut reader), room.taken()), ("!".into(), 0));
        let over = Fill::new(room.clone(), 6, None).expect("there is room");
        assert!(!over.push(&Bytes::from_static(b"1234567")) && over.is_too_large());
        over.end(End::Over);
        assert!(Fill::new(room.clone(), 10, None).is_none(), "much has yet to be read");
        assert!(Fill::new(room.clone(), 10, Some(10)).is_some(), "but room is for those whose length is known");
        drop(over);
        assert!(Fill::new(room, 10, None).is_some());
    }

    #[test]
    fn a_known_length_takes_its_room_before() {
        let room = Room::new(10);
        let fill = Fill::new(room.clone(), 10, Some(8)).expect("there is room");
        assert!(Fill::new(room.clone(), 10, Some(3)).is_none() && Fill::new(room.clone(), 1, Some(2)).is_none());
        assert!(fill.push(&Bytes::from_static(b"12345678")));
        assert_eq!(room.taken(), 8);
        drop(fill);
        assert_eq!(room.taken(), 0);
    }

    #[test]
    fn what_is_too_much_is_told_and_not_lost() {
        let taken = Room::new(10);
        assert!(taken.take(5));
        for (room, most, large, rest) in
            [(Room::new(100), 4, true, 0), (Room::new(4), 100, true, 0), (taken, 10, false, 5)]
        {
            let fill = Fill::new(room.clone(), most, None).expect("there is room");
            assert!(fill.push(&Bytes::from_static(b"abc")));
            assert!(!fill.push(&Bytes::from_static(b"def")));
            assert_eq!(fill.is_too_large(), large);
            fill.end(End::Over);
            assert_eq!(read(&mut Reader::of(fill.clone(), Some(Rest::default()))), "abcdef.");
            assert_eq!(read(&mut Reader::of(fill.clone(), None)), "abcdef!");
            drop(fill);
            assert_eq!(room.taken(), rest);
        }
    }
}
