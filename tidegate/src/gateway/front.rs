//! The beginning of a request's body, which comes before the request asks for its place in its service.
//!
//! A place is for those who wait for an endpoint. Were it taken before the body is there, clients that send theirs byte by byte would hold
//! as many places as they like, one after the other, and others would be shed: nothing would be at work and nobody let in. So a body whose length is
//! known is waited for, to its end or to its first [`FRONT_BYTES`]. One of unknown length is not: its sender may wait for an answer itself.

use super::body::UploadState;
use super::refusal::Code;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A client's body, with what was read of it ahead.
#[derive(Debug)]
pub struct Front {
    /// The first piece as it came.
    first: Option<Bytes>,
    /// What came behind it.
    more: BytesMut,
    trailers: Option<Frame<Bytes>>,
    body: Incoming,
}

/// So much of a body is waited for.
pub const FRONT_BYTES: u64 = 16 * 1024;

impl Front {
    pub fn new(body: Incoming) -> Self {
        Self { first: None, more: BytesMut::new(), trailers: None, body }
    }

    /// So much is to be waited for before the request goes on.
    pub fn wanted(&self) -> u64 {
        self.body.size_hint().exact().map_or(0, |length| length.min(FRONT_BYTES))
    }

    /// Reads until `wanted` bytes are there, or all.
    pub fn poll_gather(
        &mut self,
        context: &mut Context<'_>,
        wanted: u64,
        state: &UploadState,
    ) -> Poll<Result<(), Code>> {
        while self.bytes() < wanted && self.trailers.is_none() && !self.body.is_end_stream() {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                state.begin_wait();
                return Poll::Pending;
            };
            state.end_wait();
            match frame {
                None => break,
                Some(Err(_)) => return Poll::Ready(Err(Code::BodyBroken)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.push(data, state),
                    Err(trailers) => self.trailers = Some(trailers),
                },
            }
        }
        Poll::Ready(Ok(()))
    }

    fn push(&mut self, data: Bytes, state: &UploadState) {
        state.read_ahead(data.len() as u64);
        if self.first.is_none() {
            self.first = Some(data);
        } else {
            // Pieces of a byte each would take more room as they are than together.
            self.more.extend_from_slice(&data);
        }
    }

    fn bytes(&self) -> u64 {
        (self.first.as_ref().map_or(0, Bytes::len) + self.more.len()) as u64
    }
}

impl Body for Front {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if !this.more.is_empty() {
            let more = std::mem::take(&mut this.more).freeze();
            return Poll::Ready(Some(Ok(Frame::data(more))));
        }
        match this.trailers.take() {
            Some(trailers) => Poll::Ready(Some(Ok(trailers))),
            None => Pin::new(&mut this.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes() == 0 && self.trailers.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (ahead, rest) = (self.bytes(), self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}
