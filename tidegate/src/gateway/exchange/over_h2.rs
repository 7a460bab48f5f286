//! One try over HTTP/2: a stream on a connection that others share.
//!
//! What the endpoint says that it hasn't processed (REFUSED_STREAM, or a stream behind the last one that its GOAWAY names) can be sent
//! again without harm, unless something of its body is gone.

use super::{Code, Failure, Going, Outcome, Refusal, Safety, add, bounded};
use crate::gateway::body::{Arriving, Upload};
use crate::gateway::trunk::Place;
use crate::gateway::trunk::stream::Sent;
use crate::gateway::upstream::Target;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri, Version};
use std::rc::Rc;

/// How often a request moves to another connection of the same endpoint, as that wants no more streams on one.
const MOVES_MAX: usize = 3;

impl Going<'_> {
    pub(super) async fn attempt_h2(&mut self, target: &Rc<Target>) -> Result<Response<Arriving>, Failure> {
        let mut moves = 0;
        loop {
            let place = self.place(target).await?;
            let reused = place.reused;
            let request = self.h2_request(target)?;
            self.upload.begin();
            let body = self.has_body.then(|| Upload::new(self.body.take(), self.upload.clone()));
            let watch = &self.call.watch;
            let sent = bounded(watch, Sent::new(place, request, body)).await.map_err(|over| self.late(over))?;
            let mut sent = match sent {
                Ok(sent) => sent,
                Err((error, place, body)) => {
                    // The connection has ended, or ends: nothing was sent on it.
                    place.close();
                    self.body = body.and_then(Upload::into_body);
                    moves += 1;
                    if moves <= MOVES_MAX {
                        continue;
                    }
                    return Err(self.failed(&error, Safety::NothingSent));
                }
            };
            let head = bounded(watch, std::future::poll_fn(|context| sent.poll_head(context))).await;
            let error = match head.map_err(|over| self.late(over))? {
                Ok(response) => {
                    return Ok(response.map(|body| Arriving::Stream(Some(Box::new(sent.into_stream(body))))));
                }
                Err(error) => error,
            };
            let closes = error.is_go_away() || error.is_io();
            if closes {
                sent.place().close();
            }
            let again = !self.has_body && self.method.is_idempotent();
            let unharmed = is_unprocessed(&error) && self.take_back(sent);
            // A connection that its endpoint closed just then: nobody has failed.
            if closes && (unharmed || (reused && again && error.is_io())) && self.blame().is_none() {
                moves += 1;
                if moves <= MOVES_MAX {
                    continue;
                }
            }
            return Err(self.failed(&error, safety(unharmed, again)));
        }
    }

    /// A place on a connection to `target`.
    async fn place(&self, target: &Rc<Target>) -> Result<Place, Failure> {
        let connected = &self.upstream.counts.connected;
        let place = target.trunks.place(|| async {
            let wire = target.connect().await?;
            add(connected, 1);
            Ok(wire)
        });
        let place = self.opened(target, place).await?;
        if place.reused {
            add(&self.upstream.counts.reused, 1);
        }
        Ok(place)
    }

    /// Has the body back, if nothing of it was read; true if the request is whole again.
    fn take_back(&mut self, sent: Sent) -> bool {
        if !self.has_body {
            return true;
        }
        let untouched = self.upload.bytes() == 0 && !self.upload.ended();
        self.body = sent.into_upload().filter(|_| untouched).and_then(Upload::into_body);
        self.body.is_some()
    }

    fn h2_request(&self, target: &Target) -> Result<Request<()>, Failure> {
        let mut headers = self.headers.clone();
        let host = headers.remove(HOST).or_else(|| HeaderValue::from_str(&target.name).ok());
        let host = host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or("upstream");
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let scheme = if target.is_secure() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
        let uri = uri.map_err(|error| {
            let refusal = Refusal::of(Code::BodyBroken).because(format!("host and target: {error}"));
            Failure { refusal, outcome: Outcome::Cancelled, safety: Safety::Unsafe }
        })?;
        self.tell_deadline(&mut headers);
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn failed(&self, error: &h2::Error, safety: Safety) -> Failure {
        if let Some(code) = self.blame() {
            return Failure { refusal: Refusal::of(code), outcome: Outcome::Cancelled, safety: Safety::Unsafe };
        }
        // What the endpoint sent was no HTTP/2, or no response, if it was noticed here.
        let code = if error.is_library() { Code::BadResponse } else { Code::Reset };
        let refusal = Refusal::at(code, &self.upstream.plan.name).because(error);
        Failure { refusal, outcome: Outcome::Reset, safety }
    }
}

/// The endpoint says that it has done nothing for it.
fn is_unprocessed(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

fn safety(unprocessed: bool, idempotent: bool) -> Safety {
    match (unprocessed, idempotent) {
        (true, _) => Safety::NothingSent,
        (false, true) => Safety::Idempotent,
        (false, false) => Safety::Unsafe,
    }
}
