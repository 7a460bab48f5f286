//! Two connections joined: behind a 101 the client's and the endpoint's carry another protocol, and what comes by one goes out by the
//! other as it is.
//!
//! A joined pair queues nowhere, so it has no place of its service's limit; it counts as in flight at its endpoint, and each service
//! has only so many. Either side may end its half and go on reading. What holds nothing holds no memory: a buffer lives from the
//! first byte that came to the last that went.

use super::body::UploadState;
use super::record::Record;
use super::upstream::{Flying, Upstream};
use super::watch::{Phase, Watch};
use super::wire::Wire;
use bytes::{Buf, Bytes};
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One that may be joined, counted at its service from its request on.
#[derive(Debug)]
pub struct Slot(Rc<Upstream>);

impl Slot {
    /// None if the service has as many as it may.
    pub fn take(upstream: &Rc<Upstream>) -> Option<Self> {
        let open = upstream.tunnels.get();
        (open < upstream.plan.tunnels_max).then(|| {
            upstream.tunnels.set(open + 1);
            Self(upstream.clone())
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get() - 1);
    }
}

/// The endpoint's side, when it has answered.
#[derive(Debug)]
pub struct Joint {
    pub wire: Wire,
    /// What came behind its answer already.
    pub early: Bytes,
    pub flying: Flying,
    pub slot: Slot,
    pub upload: Rc<UploadState>,
    /// How long nothing may pass.
    pub time: Duration,
}

/// Both sides.
#[derive(Debug)]
pub struct Tunnel {
    joint: Joint,
    record: Record,
}

impl Tunnel {
    pub fn new(joint: Joint, record: Record) -> Self {
        Self { joint, record }
    }

    /// Copies until both sides have ended, one has failed, or nothing has passed for too long. `first` came from the client already.
    pub async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin, first: Bytes, watch: Rc<Watch>) {
        let Self { joint: Joint { wire, early, flying, slot, upload, time }, record } = self;
        let (mut client, mut endpoint) = (client, wire);
        let (mut up, mut down) = (Way::new(first), Way::new(early));
        watch.set_deadline(None);
        watch.begin(Phase::Tunnel, crate::clock::boot(), time);
        let moved = || watch.moved(Phase::Tunnel, crate::clock::boot(), time);
        std::future::poll_fn(|context| {
            watch.register(context);
            if watch.over().is_some() {
                return Poll::Ready(());
            }
            let sent = up.poll(&mut client, &mut endpoint, context, |bytes| {
                upload.count(bytes);
                moved();
            });
            let got = down.poll(&mut endpoint, &mut client, context, |bytes| {
                record.count_out(bytes);
                moved();
            });
            match (sent, got) {
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) | (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                    Poll::Ready(())
                }
                _ => Poll::Pending,
            }
        })
        .await;
        drop((flying, slot));
    }
}

/// One direction.
#[derive(Debug)]
struct Way {
    /// What was read and isn't written yet.
    held: Bytes,
    unflushed: bool,
    ended: bool,
    closed: bool,
}

const READ_BYTES_MAX: usize = 16 * 1024;

impl Way {
    fn new(held: Bytes) -> Self {
        Self { held, unflushed: false, ended: false, closed: false }
    }

    /// Copies what can be; ready when the source has ended, and the sink has been told.
    fn poll(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
        mut passed: impl FnMut(u64),
    ) -> Poll<Result<()>> {
        while !self.closed {
            if !self.held.is_empty() {
                let bytes = ready!(Pin::new(&mut *sink).poll_write(context, &self.held))?;
                if bytes == 0 {
                    return Poll::Ready(Err(Error::from(ErrorKind::WriteZero)));
                }
                self.held.advance(bytes);
                self.unflushed = true;
                passed(bytes as u64);
            } else if self.ended {
                ready!(Pin::new(&mut *sink).poll_shutdown(context))?;
                self.closed = true;
            } else if self.read(source, context)?.is_pending() {
                if self.unflushed {
                    ready!(Pin::new(&mut *sink).poll_flush(context))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn read(&mut self, source: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Result<Poll<()>> {
        let mut bytes = [0; READ_BYTES_MAX];
        let mut into = ReadBuf::new(&mut bytes);
        let polled = Pin::new(source).poll_read(context, &mut into)?;
        if polled.is_ready() {
            self.held = Bytes::copy_from_slice(into.filled());
            self.ended = self.held.is_empty();
        }
        Ok(polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn what_came_early_goes_first_and_an_end_is_passed_on_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut client, mut inside) = tokio::io::duplex(64);
            let (mut endpoint, mut outside) = tokio::io::duplex(64);
            client.write_all(b"second").await.unwrap();
            client.shutdown().await.unwrap();
            let mut way = Way::new(Bytes::from_static(b"first "));
            let mut passed = 0;
            std::future::poll_fn(|context| way.poll(&mut inside, &mut outside, context, |bytes| passed += bytes))
                .await
                .unwrap();
            let mut got = String::new();
            endpoint.read_to_string(&mut got).await.unwrap();
            assert_eq!((got.as_str(), passed), ("first second", 12));
            endpoint.write_all(b"still here").await.unwrap();
        });
    }
}
