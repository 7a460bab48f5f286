//! One request on a connection of HTTP/2: its stream, which is reset when it is dropped before its end, and nothing beside it is.
//!
//! A request's body has a task of its own: the endpoint may answer while it still reads, and a client may read the answer or not, as
//! calls that stream both ways do. The task ends with the stream.

use super::Place;
use crate::gateway::body::{Broken, Upload};
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use hyper::body::{Body, Frame};
use hyper::{Request, Response};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// A request that was sent.
#[derive(Debug)]
pub struct Sent {
    response: ResponseFuture,
    pump: Option<Pump>,
    place: Place,
}

/// The body of its response.
#[derive(Debug)]
pub struct Stream {
    body: RecvStream,
    /// All data has come; trailers may.
    behind_data: bool,
    _pump: Option<Pump>,
    _place: Place,
}

impl Sent {
    /// Sends a request; its body follows by itself.
    pub async fn new(
        place: Place,
        request: Request<()>,
        body: Option<Upload>,
    ) -> Result<Self, (h2::Error, Place, Option<Upload>)> {
        let mut sender = match place.sender().ready().await {
            Ok(sender) => sender,
            Err(error) => return Err((error, place, body)),
        };
        let (response, send) = match sender.send_request(request, body.is_none()) {
            Ok(sent) => sent,
            Err(error) => return Err((error, place, body)),
        };
        Ok(Self { response, pump: body.map(|body| Pump::start(body, send)), place })
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Gives up, and gives back the body, if it is still there.
    pub fn into_upload(self) -> Option<Upload> {
        self.pump.and_then(|pump| pump.upload.take())
    }

    /// Waits for the head of the response.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, h2::Error>> {
        Pin::new(&mut self.response).poll(context)
    }

    pub fn into_stream(self, body: RecvStream) -> Stream {
        Stream { body, behind_data: false, _pump: self.pump, _place: self.place }
    }
}

impl Stream {
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.behind_data {
            match ready!(self.body.poll_data(context)) {
                Some(Ok(data)) => {
                    // What is handed on is paid for: the endpoint may send as much again.
                    let _ = self.body.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // Also a reset without an error: behind a whole answer h2 tells of none, so here the answer is cut off.
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.behind_data = true,
            }
        }
        match ready!(self.body.poll_trailers(context)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// What sends a request's body.
#[derive(Debug)]
struct Pump {
    task: JoinHandle<()>,
    /// Gone when the task has taken all of it, or whoever gave it has it back.
    upload: Rc<RefCell<Option<Upload>>>,
}

impl Pump {
    fn start(upload: Upload, mut send: SendStream<Bytes>) -> Self {
        let upload = Rc::new(RefCell::new(Some(upload)));
        let of_task = upload.clone();
        let task = tokio::task::spawn_local(async move {
            if pump(&of_task, &mut send).await.is_err() {
                send.send_reset(h2::Reason::CANCEL);
            }
        });
        Self { task, upload }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why nothing more is sent.
enum Stopped {
    Client(#[expect(dead_code, reason = "it is in the state of the upload")] Broken),
    Endpoint,
}

/// Sends the body as the endpoint takes it: nothing is read that it would not.
async fn pump(upload: &RefCell<Option<Upload>>, send: &mut SendStream<Bytes>) -> Result<(), Stopped> {
    loop {
        room(send, 1).await?;
        let frame = std::future::poll_fn(|context| {
            if send.poll_reset(context).is_ready() {
                return Poll::Ready(Err(Stopped::Endpoint));
            }
            let mut upload = upload.borrow_mut();
            let Some(upload) = upload.as_mut() else { return Poll::Ready(Err(Stopped::Endpoint)) };
            Pin::new(upload).poll_frame(context).map(|frame| frame.transpose().map_err(Stopped::Client))
        });
        let Some(frame) = frame.await? else {
            return send.send_data(Bytes::new(), true).map_err(|_| Stopped::Endpoint);
        };
        let last = upload.borrow().as_ref().is_none_or(Body::is_end_stream);
        match frame.into_data() {
            Ok(data) => send_all(send, data, last).await?,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return send.send_trailers(trailers).map_err(|_| Stopped::Endpoint);
            }
        }
        if last {
            return Ok(());
        }
    }
}

async fn send_all(send: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), Stopped> {
    if data.is_empty() && last {
        // An end that comes by itself.
        return send.send_data(data, true).map_err(|_| Stopped::Endpoint);
    }
    while !data.is_empty() {
        let room = room(send, data.len()).await?;
        let piece = data.split_to(room.min(data.len()));
        send.send_data(piece, last && data.is_empty()).map_err(|_| Stopped::Endpoint)?;
    }
    Ok(())
}

/// Waits until something may be sent; how much.
async fn room(send: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, Stopped> {
    send.reserve_capacity(wanted);
    if send.capacity() > 0 {
        return Ok(send.capacity());
    }
    loop {
        // What was assigned before is told too, and may be used up.
        let room = std::future::poll_fn(|context| send.poll_capacity(context)).await;
        match room.and_then(Result::ok) {
            Some(0) => {}
            Some(room) => return Ok(room),
            None => return Err(Stopped::Endpoint),
        }
    }
}
