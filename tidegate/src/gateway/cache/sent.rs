//! A body on its way from the cache to a client: stored, or coming in for several, or an endpoint's that isn't for the cache.

use super::super::body::{Broken, Download};
use super::super::watch::{Phase, Watch};
use super::fill::Reader;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub struct Sent {
    from: From,
    /// Its client's.
    watch: Rc<Watch>,
    /// How long a client may take none of it.
    time: Duration,
}

#[derive(Debug)]
pub enum From {
    Bytes(Bytes),
    Reader(Reader),
    Passed(Box<Download>),
}

/// A stored body is handed out by pieces, so that one that moves slowly is seen to move.
const PIECE_BYTES: usize = 64 * 1024;

impl Sent {
    pub fn new(from: From, watch: Rc<Watch>, time: Duration) -> Self {
        watch.begin(Phase::Download, crate::clock::boot(), time);
        Self { from, watch, time }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.watch.over().is_some() {
            return Poll::Ready(Some(Err(Broken::new("the client's time is over"))));
        }
        let polled = loop {
            let polled = match &mut this.from {
                From::Bytes(rest) if rest.is_empty() => Poll::Ready(None),
                From::Bytes(rest) => Poll::Ready(Some(Ok(Frame::data(rest.split_to(rest.len().min(PIECE_BYTES)))))),
                From::Reader(reader) => match reader.poll(context) {
                    Poll::Ready(None) => match reader.rest() {
                        Some(download) => {
                            this.from = From::Passed(Box::new(download));
                            continue;
                        }
                        None => Poll::Ready(None),
                    },
                    polled => polled,
                },
                From::Passed(download) => Pin::new(&mut **download).poll_frame(context),
            };
            break polled;
        };
        if let Poll::Ready(Some(Ok(_))) = &polled {
            this.watch.moved(Phase::Download, crate::clock::boot(), this.time);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Bytes(rest) => rest.is_empty(),
            From::Reader(reader) => reader.is_at_end(),
            From::Passed(download) => download.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Bytes(rest) => SizeHint::with_exact(rest.len() as u64),
            From::Reader(reader) => reader.length.map_or_else(SizeHint::default, SizeHint::with_exact),
            From::Passed(download) => download.size_hint(),
        }
    }
}
