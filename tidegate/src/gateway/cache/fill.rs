//! A body that comes in while others, on whichever lane, already read it.
//!
//! What came is kept, copied out of the buffers of the connection it came by: no reader holds the writer up, and none that is slow
//! misses anything. So a fill is bounded: by the size of an object, and, over all fills, by a share of the cache's memory. A body
//! that turns out larger is over: those who read it have all that came, and its leader goes on from the endpoint itself.

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
    /// What was taken of the room before, for a body whose length is known.
    taken: Option<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    pieces: Vec<Bytes>,
    bytes: u64,
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
    bytes_max: u64,
}

impl Room {
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), bytes_max })
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

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Fill {
    /// For a body of `length` bytes, if that is known; none if there is no room for it.
    pub fn new(room: Arc<Room>, bytes_max: u64, length: Option<u64>) -> Option<Arc<Self>> {
        let fits = length.is_none_or(|length| length <= bytes_max && room.take(length));
        fits.then(|| Arc::new(Self { inner: Mutex::default(), room, bytes_max, taken: length }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more piece; false if it is one too many, which readers get all the same.
    pub fn push(&self, piece: &Bytes) -> bool {
        let bytes = piece.len() as u64;
        let fits = self.taken.is_some() || self.room.take(bytes);
        let mut inner = self.lock();
        inner.pieces.push(Bytes::copy_from_slice(piece));
        // What found no room isn't given back either.
        inner.bytes += if fits { bytes } else { 0 };
        let fits = fits && inner.bytes <= self.bytes_max;
        wake(inner);
        fits
    }

    pub fn set_trailers(&self, trailers: HeaderMap) {
        self.lock().trailers = Some(trailers);
    }

    pub fn end(&self, end: End) {
        let mut inner = self.lock();
        inner.end = Some(end);
        wake(inner);
    }

    /// All of it, in one piece.
    pub fn whole(&self) -> Bytes {
        let inner = self.lock();
        if let [only] = inner.pieces.as_slice() {
            return only.clone();
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(inner.bytes).unwrap_or(0));
        inner.pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waiting = std::mem::take(&mut inner.waiting);
    drop(inner);
    waiting.into_values().for_each(Waker::wake);
}

impl Drop for Fill {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.room.give_back(self.taken.unwrap_or(bytes));
    }
}

/// Where the leader's reader finds the rest of a body that is over.
pub type Rest = Rc<RefCell<Option<Download>>>;

/// One who reads.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    number: u64,
    /// The next piece.
    at: usize,
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
        Self { fill, number, at: 0, skip: 0, left: u64::MAX, rest, length: None }
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let mut inner = self.fill.lock();
            if let Some(piece) = inner.pieces.get(self.at).filter(|_| self.left > 0).cloned() {
                drop(inner);
                self.at += 1;
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
        let mut late = Reader::part(fill.clone(), 0, 7);
        assert_eq!(
            (read(&mut early), read(&mut part), read(&mut late)),
            ("defg.".into(), "de.".into(), "abcdefg.".into())
        );
        assert_eq!((fill.whole(), room.taken()), (Bytes::from_static(b"abcdefg"), 7));
        drop((fill, early, part, late));
        assert_eq!(room.taken(), 0);
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
        for (room, most) in [(Room::new(100), 4), (Room::new(4), 100)] {
            let fill = Fill::new(room.clone(), most, None).expect("there is room");
            assert!(fill.push(&Bytes::from_static(b"abc")));
            assert!(!fill.push(&Bytes::from_static(b"def")));
            fill.end(End::Over);
            assert_eq!(read(&mut Reader::of(fill.clone(), Some(Rest::default()))), "abcdef.");
            assert_eq!(read(&mut Reader::of(fill.clone(), None)), "abcdef!");
            drop(fill);
            assert_eq!(room.taken(), 0);
        }
    }
}
