//! A WebSocket on a stream of HTTP/2 (RFC 8441): a CONNECT with `:protocol`, which becomes the GET with `Upgrade` that it is by
//! HTTP/1.1, and whose stream is joined with the endpoint's connection once that has answered 101.
//!
//! The handshake of HTTP/1.1 is the gateway's own here: its key, and the look at what the endpoint makes of it. By that an endpoint
//! says that it knows the protocol; by HTTP/2 the settings have said so.

use super::super::strict::Refused;
use crate::gateway::call::Call;
use crate::gateway::record::Reply;
use crate::gateway::tls::base64;
use crate::gateway::watch::{Phase, Watch, Wheel};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha1_smol::Sha1;
use std::cell::Cell;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const NAME: &str = "websocket";
/// What every server puts behind the key (RFC 6455, 1.3).
const BEHIND_KEY: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// One that a client has asked for.
#[derive(Debug)]
pub struct Asked {
    upgrade: OnUpgrade,
    /// What the endpoint must answer.
    accept: HeaderValue,
}

/// Makes a request for one the request of HTTP/1.1 that it is; none if it is another request, or another protocol, which stays.
pub fn take(request: &mut Request<Incoming>, chance: impl Fn() -> u64) -> std::result::Result<Option<Asked>, Refused> {
    if *request.method() != Method::CONNECT {
        return Ok(None);
    }
    match request.extensions().get::<Protocol>() {
        None => return Err(Refused::Connect),
        Some(protocol) if !protocol.as_str().eq_ignore_ascii_case(NAME) => return Err(Refused::Protocol),
        Some(_) => {}
    }
    let upgrade = hyper::upgrade::on(&mut *request);
    let key = base64(&[chance(), chance()].map(u64::to_be_bytes).concat());
    let accept = HeaderValue::try_from(accept(&key)).expect("it is ASCII");
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(KEY, HeaderValue::try_from(key).expect("it is ASCII"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(NAME));
    Ok(Some(Asked { upgrade, accept }))
}

fn accept(key: &str) -> String {
    let mut hash = Sha1::from(key);
    hash.update(BEHIND_KEY);
    base64(&hash.digest().bytes())
}

/// True if an endpoint has answered as it must.
pub fn is_accepted(headers: &HeaderMap, accept: &HeaderValue) -> bool {
    headers.get(ACCEPT) == Some(accept)
}

impl Asked {
    pub fn accept(&self) -> HeaderValue {
        self.accept.clone()
    }

    /// Its stream goes on as a WebSocket, if the endpoint's connection does: the answer that says so, and who moves what is left at
    /// its end.
    pub fn join(self, call: &Call, response: Response<Reply>, wheel: Rc<Wheel>) -> (Response<Reply>, Option<Rc<Half>>) {
        let Some(tunnel) = call.take_tunnel() else { return (response, None) };
        let mut response = response;
        *response.status_mut() = StatusCode::OK;
        [CONNECTION, UPGRADE, ACCEPT].iter().for_each(|name| drop(response.headers_mut().remove(name)));
        let half = Rc::new(Half {
            tail: Watch::new(wheel),
            joined: call.watch.clone(),
            gone: Cell::default(),
            shut: Cell::default(),
        });
        let (of_task, stall_time) = (half.clone(), call.stall_time());
        tokio::task::spawn_local(async move {
            // Without it the stream has ended meanwhile, and the tunnel with it.
            if let Ok(upgraded) = self.upgrade.await {
                let client = Client { io: TokioIo::new(upgraded), half: of_task.clone() };
                tunnel.run(client, Bytes::new(), of_task.joined.clone()).await;
            }
            of_task.end(stall_time);
        });
        (response, Some(half))
    }
}

/// The half of a stream that goes to the client, which hyper moves by a task of its own.
#[derive(Debug)]
pub struct Half {
    /// Bounds that task behind the tunnel's end.
    tail: Rc<Watch>,
    /// That of the tunnel.
    joined: Rc<Watch>,
    gone: Cell<bool>,
    /// The tunnel has said the end of this half, or has ended.
    shut: Cell<bool>,
}

impl Half {
    /// Runs the task. That it ends before it was told to means that the client has taken its stream back, which reading may hide.
    pub async fn run(self: Rc<Self>, task: impl Future<Output = ()>) {
        super::bounded(self.tail.clone(), pin!(task)).await;
        self.gone.set(true);
        if !self.shut.get() {
            // Nobody may read any more and find out: the tunnel looks at its time first.
            self.joined.expire(Phase::Tunnel);
        }
    }

    /// The tunnel has ended: what is left has as long as anything that its client doesn't read.
    fn end(&self, stall_time: Duration) {
        self.shut.set(true);
        if !self.gone.get() {
            self.tail.begin(Phase::Flush, crate::clock::boot(), stall_time);
        }
        self.joined.stop();
    }
}

/// The client's side of a tunnel.
struct Client {
    io: TokioIo<Upgraded>,
    half: Rc<Half>,
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.half.gone.get() && !self.half.shut.get() {
            return Poll::Ready(Err(Error::from(ErrorKind::ConnectionReset)));
        }
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.half.shut.set(true);
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(super::accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
