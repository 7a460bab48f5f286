//! One request, from its head to the head of its response: where it goes, whether it may, how often it is tried.
//!
//! What is decided is decided by the core; here it is done. Everything that counts the request (inside its service, in flight at an
//! endpoint, open on its connection) is held by guards, so that a client that goes takes its request back wherever it is.

mod over_h2;

use super::body::{Arriving, Download, Payload, UntilClose, Upload, UploadState};
use super::call::Call;
use super::config::Protocol;
use super::front::Front;
use super::lane::{Lane, Table};
use super::line::Line;
use super::mirror::{self, Tee};
use super::place::Place;
use super::record::{Notes, Record, Reply, Source};
use super::refusal::{Code, Refusal};
use super::streams::websocket;
use super::tunnel::{Joint, Slot, Tunnel};
use super::upstream::{Flying, Inside, Target, Try, Upstream, add};
use super::want::{Unconnected, Want};
use super::watch::{Over, Phase, Watch};
use super::{cache, grpc, headers, limit, trace};
use base::Instant;
use bytes::Bytes;
use cache::Consulted;
use gateway::{Attempt, Class, Left, NoEndpoint, Outcome, Retry, Safety};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use std::future::Future;
use std::hash::Hasher;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Answers a request, whatever happens.
pub async fn answer(lane: Rc<Lane>, call: Rc<Call>, request: Request<Incoming>) -> Response<Reply> {
    let unread = call.begin();
    let record = Record::new(lane.clone(), call.clone(), &request);
    if let Some(refusal) = unread {
        record.set_unread();
        return own(&call, refusal.respond(), &refusal, record);
    }
    let respond = if grpc::is_call(&request) { grpc::respond } else { Refusal::respond };
    match forward(&lane, &call, request, &record).await {
        Ok((response, behind)) => {
            record.set_status(response.status());
            let (mut parts, ()) = response.into_parts();
            record.tell_limits(&mut parts.headers);
            let source = match behind {
                Behind::Body(source) => source,
                Behind::Joined(joint) => {
                    record.set_told();
                    call.join(Tunnel::new(*joint, record));
                    return Response::from_parts(parts, Reply::joined());
                }
            };
            if lane.draining.get() {
                call.close(&mut parts.headers);
            }
            Response::from_parts(parts, Reply::of(source, record))
        }
        Err(refusal) => own(&call, respond(&refusal), &refusal, record),
    }
}

/// An answer of the gateway's own.
fn own(call: &Call, mut response: Response<Bytes>, refusal: &Refusal, record: Record) -> Response<Reply> {
    record.set_refused(refusal);
    record.tell_limits(response.headers_mut());
    if record.lane.draining.get() {
        call.close(response.headers_mut());
    }
    call.refuse(response.headers_mut());
    response.map(|body| Reply::own(body, record))
}

/// What comes behind the head of an endpoint's response.
#[derive(Debug)]
pub enum Passed {
    Body(Box<Download>),
    Joined(Box<Joint>),
}

impl Passed {
    /// The body, but of a connection that goes on with another protocol.
    pub fn into_body(self) -> Option<Download> {
        if let Self::Body(download) = self { Some(*download) } else { None }
    }
}

/// What comes behind the head of a response to a client.
enum Behind {
    Body(Source),
    Joined(Box<Joint>),
}

/// A request on its way.
struct Going<'a> {
    call: &'a Rc<Call>,
    upstream: &'a Rc<Upstream>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// None for a request without a body, and when it has been handed over.
    body: Option<Payload>,
    has_body: bool,
    upload: Rc<UploadState>,
    deadline: Option<Instant>,
    /// The deadline is the client's own, and shorter than the service's: that it passes says nothing of the endpoint.
    impatient: bool,
    /// The protocol that the client wants to go on with.
    upgrade: Option<(HeaderValue, Slot)>,
}

/// Why a try has failed, and what may be done about it.
struct Failure {
    refusal: Refusal,
    outcome: Outcome,
    safety: Safety,
}

impl Failure {
    /// Nobody else can do better.
    fn is_final(&self) -> bool {
        self.outcome == Outcome::Cancelled && self.refusal.code != Code::Wants(Want::Ports)
    }
}

/// Which way a request goes.
#[derive(Debug)]
pub struct Way<'a> {
    pub lane: &'a Rc<Lane>,
    pub table: &'a Rc<Table>,
    pub call: &'a Rc<Call>,
    pub upstream: &'a Rc<Upstream>,
    pub class: Class,
    /// Who is to see the request's body pass.
    pub tee: Option<Rc<Tee>>,
}

async fn forward(
    lane: &Rc<Lane>,
    call: &Rc<Call>,
    request: Request<Incoming>,
    record: &Record,
) -> Result<(Response<()>, Behind), Refusal> {
    let table = &lane.table();
    record.join(table.config.requests_max)?;
    let (parts, body) = request.into_parts();
    check_expectation(&parts.headers)?;
    if body.size_hint().lower() > table.config.body_bytes_max {
        return Err(Refusal::of(Code::BodyTooLarge));
    }
    let route = table.config.routes.find(&parts).ok_or_else(|| Refusal::of(Code::NoRoute))?;
    let upstream = &table.upstreams[route.service(|below| lane.draw(below))];
    record.set_upstream(upstream.clone());
    limit::check(table, call, &route.limits, &parts, record)?;
    let mut way = Way { lane, table, call, upstream, class: route.class, tee: None };
    way.tee = route.mirror.as_ref().and_then(|mirror| mirror::begin(&way, mirror, &parts, &body));
    let (parts, body, passed) = if table.config.cache.is_none() {
        (parts, Some(body), cache::Passed::default())
    } else {
        match cache::consult(&way, route, parts, body, record).await? {
            Consulted::Answered(response, sent) => return Ok((response, Behind::Body(Source::Cached(sent)))),
            Consulted::Passes(passing) => passing.into_parts(),
        }
    };
    let body = body.filter(|body| !body.is_end_stream()).map(|body| Payload::Client(Box::new(Front::new(body))));
    let (mut response, behind) = send(&way, parts, body, &record.notes(), record.begun()).await?;
    passed.on_answer(&mut response);
    let behind = match behind {
        Passed::Body(download) => Behind::Body(Source::Passed(download)),
        Passed::Joined(joint) => Behind::Joined(joint),
    };
    Ok((response, behind))
}

/// Sends a request to its service, once it is let in: the head of the response, and its body on its way.
pub async fn send(
    way: &Way<'_>,
    parts: Parts,
    body: Option<Payload>,
    notes: &Notes,
    begun: Instant,
) -> Result<(Response<()>, Passed), Refusal> {
    let Way { lane, upstream, class, call, .. } = *way;
    let expects = parts.headers.contains_key(EXPECT);
    let mut going = Going::new(way, parts, body, begun)?;
    trace::keep_or_begin(&mut going.headers, || lane.chance());
    notes.set_sent(&going.headers, &going.upload);
    call.watch.set_deadline(going.deadline);
    // Who asks whether to send its body is told no sooner than there is room.
    if !expects || upstream.has_room() {
        going.gather().await?;
    }
    call.watch.begin(Phase::Waiting, crate::clock::boot(), WAIT_MAX);
    let entered = bounded(&call.watch, upstream.enter(class, going.deadline)).await;
    let inside = match entered {
        Ok(entered) => entered.map_err(|shed| Refusal::shed(shed, &upstream.plan.name))?,
        Err(_) => return Err(Refusal::at(Code::Deadline, &upstream.plan.name)),
    };
    going.run(inside, notes).await
}

/// The core ends waits. A bound far off would stay filed for long behind a request that has ended.
pub const WAIT_MAX: Duration = Duration::MAX;
/// How much time the client gives the request, and how much of it is left for the endpoint.
const DEADLINE: HeaderName = HeaderName::from_static("x-deadline-ms");

impl<'a> Going<'a> {
    fn new(way: &Way<'a>, parts: Parts, body: Option<Payload>, begun: Instant) -> Result<Self, Refusal> {
        let Way { table, call, upstream, .. } = *way;
        let Parts { method, uri, mut headers, .. } = parts;
        let (deadline, impatient) = deadline_of(&headers, upstream, begun);
        let body = body.filter(|body| !body.is_end_stream());
        let has_body = body.is_some();
        let plan = &upstream.plan;
        let plain = !has_body && method == Method::GET && plan.protocol == Protocol::H1;
        let upgrade = headers::asked_upgrade(&headers, &plan.upgrade).filter(|_| plain);
        let slot = |protocol| Slot::take(upstream).map(|slot| (protocol, slot));
        let upgrade = upgrade.map(|protocol| slot(protocol).ok_or_else(|| Refusal::at(Code::TunnelsFull, &plan.name)));
        let upgrade = upgrade.transpose()?;
        if upgrade.is_none() && call.accept().is_some() {
            return Err(Refusal::at(Code::NoUpgrade, &plan.name));
        }
        headers::toward_upstream(&mut headers, call.told());
        if let Some((protocol, _)) = &upgrade {
            headers::tell_upgrade(&mut headers, protocol.clone());
        }
        if let Some(host) = &upstream.plan.host {
            headers.insert(HOST, host.clone());
        }
        let times = &table.config.client_times;
        let response_time = upstream.plan.times.response;
        let bytes_max = table.config.body_bytes_max;
        let tee = way.tee.clone();
        let by_length = plan.protocol == Protocol::H1;
        let body_is = (bytes_max, !has_body, by_length);
        let upload = UploadState::new(call.watch.clone(), times, response_time, body_is, tee);
        let uri = uri.into_parts().path_and_query.map_or_else(|| Ok(Uri::from_static("/")), Uri::try_from);
        let uri = uri.map_err(|error| Refusal::of(Code::BodyBroken).because(error))?;
        Ok(Self { call, upstream, method, uri, headers, body, has_body, upload, deadline, impatient, upgrade })
    }

    /// Waits for the beginning of the body.
    async fn gather(&mut self) -> Result<(), Refusal> {
        let Some(Payload::Client(front)) = &mut self.body else { return Ok(()) };
        let (wanted, upload) = (front.wanted(), &self.upload);
        if wanted == 0 {
            return Ok(());
        }
        upload.begin();
        let gathered = std::future::poll_fn(|context| front.poll_gather(context, wanted, upload));
        match bounded(&self.call.watch, gathered).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(code)) => Err(Refusal::of(self.call.spoiled().unwrap_or(code))),
            Err(over) => Err(self.late(over).refusal),
        }
    }

    /// Tries until an endpoint has answered or the core says that it is enough.
    async fn run(mut self, inside: Inside, notes: &Notes) -> Result<(Response<()>, Passed), Refusal> {
        let key = self.key();
        let place = self.upstream.places.enter(inside, self.upload.clone());
        let mut avoid: SmallVec<[gateway::EndpointId; 4]> = SmallVec::new();
        let mut last: Option<Refusal> = None;
        let mut tries = 0;
        loop {
            let picked = self.upstream.pick(key, &avoid);
            let (target, tried) = match (picked, last) {
                (Ok(picked), _) => picked,
                // All that there are have failed: the last failure says more.
                (Err(NoEndpoint::Avoided), Some(last)) => return Err(last),
                (Err(why), _) => {
                    place.set_left(Left::Failed);
                    return Err(Refusal::at(Code::NoEndpoint(why), &self.upstream.plan.name));
                }
            };
            tries += 1;
            notes.set_target(&target, self.upstream.plan.protocol, tries);
            let begun = crate::clock::boot();
            let failure = match self.attempt(&target).await {
                Ok(response) => return self.answered(response, (target, tried), place, begun),
                Err(failure) => failure,
            };
            avoid.push(target.id);
            tried.end(failure.outcome);
            place.set_left(if failure.outcome == Outcome::TimedOut { Left::TimedOut } else { Left::Failed });
            let attempt = Attempt { tries, safety: failure.safety, deadline: self.deadline };
            if failure.is_final() {
                place.set_left(Left::Cancelled);
                return Err(failure.refusal);
            }
            match self.upstream.retry(&attempt) {
                Retry::No(_) => return Err(failure.refusal),
                Retry::After { pause_ms: 0 } => {}
                Retry::After { pause_ms } => self.pause(Duration::from_millis(pause_ms)).await?,
            }
            last = Some(failure.refusal);
        }
    }

    /// Some time before the next try, unless the request's own is over before.
    async fn pause(&self, time: Duration) -> Result<(), Refusal> {
        let watch = &self.call.watch;
        watch.begin(Phase::Waiting, crate::clock::boot(), WAIT_MAX);
        let paused = bounded(watch, tokio::time::sleep(time)).await;
        paused.map_err(|_| Refusal::at(Code::Deadline, &self.upstream.plan.name))
    }

    /// One try at one endpoint: until the head of its response.
    async fn attempt(&mut self, target: &Rc<Target>) -> Result<Response<Arriving>, Failure> {
        match self.upstream.plan.protocol {
            Protocol::H1 => self.attempt_h1(target).await,
            Protocol::H2 => self.attempt_h2(target).await,
        }
    }

    async fn attempt_h1(&mut self, target: &Rc<Target>) -> Result<Response<Arriving>, Failure> {
        let again = !self.has_body && self.method.is_idempotent();
        let mut stale = false;
        loop {
            let now = crate::clock::boot();
            let times = &self.upstream.plan.times;
            let pooled = if stale { None } else { target.pool.take(now, times.idle, again) };
            let reused = pooled.is_some();
            let mut line = match pooled {
                Some(line) => line,
                None => self.connect(target).await?,
            };
            if reused {
                add(&self.upstream.counts.reused, 1);
            }
            let request = self.request(target);
            self.upload.begin();
            let watch = &self.call.watch;
            match line.send(request, || watch.over()).await {
                Ok(Ok(response)) if self.is_asked_for(&response) => {
                    return Ok(response.map(|body| Arriving::Line(body, Some(line))));
                }
                Ok(Ok(response)) => {
                    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                    let why = match (self.call.accept(), switched) {
                        (None, _) => "101 unasked for",
                        (Some(_), true) => "101 without the Sec-WebSocket-Accept of its key",
                        (Some(_), false) => "a success other than 101 to a WebSocket",
                    };
                    let refusal = Refusal::at(Code::BadResponse, &self.upstream.plan.name).because(why);
                    return Err(Failure { refusal, outcome: Outcome::Reset, safety: Safety::Unsafe });
                }
                Err(over) => return Err(self.late(over)),
                Ok(Err(mut error)) => {
                    if let Some(unsent) = error.take_message() {
                        self.body = unsent.into_body().into_body();
                        if reused {
                            stale = true;
                            continue;
                        }
                        return Err(self.broken(&error.into_error(), Safety::NothingSent));
                    }
                    let error = error.into_error();
                    // An idle connection that its endpoint closed just then: nobody has failed.
                    if reused && again && !error.is_parse() && self.blame().is_none() {
                        stale = true;
                        continue;
                    }
                    let safety = if again { Safety::Idempotent } else { Safety::Unsafe };
                    return Err(self.broken(&error, safety));
                }
            }
        }
    }

    async fn connect(&self, target: &Target) -> Result<Line, Failure> {
        let line = self.opened(target, async { Ok(Line::over(target.connect().await?).await?) }).await?;
        add(&self.upstream.counts.connected, 1);
        Ok(line)
    }

    /// Waits for a way to `target`.
    async fn opened<T>(
        &self,
        target: &Target,
        way: impl Future<Output = Result<T, Unconnected>>,
    ) -> Result<T, Failure> {
        let (watch, counts) = (&self.call.watch, &self.upstream.counts);
        watch.begin(Phase::Connect, crate::clock::boot(), self.upstream.plan.times.connect);
        let opened = bounded(watch, way).await;
        let name = &self.upstream.plan.name;
        let (refusal, outcome) = match opened {
            Ok(Ok(way)) => {
                target.note_trouble(name, "");
                return Ok(way);
            }
            Ok(Err(Unconnected { why, want: Some(want) })) => {
                counts.wants.note(want, name, &target.name, &why);
                let refusal = Refusal::at(Code::Wants(want), name).because(why).retry_after(1);
                return Err(Failure { refusal, outcome: Outcome::Cancelled, safety: Safety::NothingSent });
            }
            Ok(Err(Unconnected { why, want: None })) => {
                target.note_trouble(name, &why);
                let detail = format!("{}: {why}", target.name);
                (Refusal::at(Code::ConnectFailed, name).because(detail), Outcome::ConnectFailed)
            }
            Err(Over { by_deadline: true, .. }) => (Refusal::at(Code::Deadline, name), Outcome::Cancelled),
            // It is no fault of the endpoint's that it has so much to do.
            Err(_) if target.trunks.is_full() => (Refusal::at(Code::StreamsFull, name), Outcome::Cancelled),
            Err(_) => (Refusal::at(Code::ConnectLate, name).because(&target.name), Outcome::ConnectFailed),
        };
        add(&counts.connect_failed, 1);
        Err(Failure { refusal, outcome, safety: Safety::NothingSent })
    }

    /// What is sent to `target`. Without a body, what is needed to send it again is kept.
    fn request(&mut self, target: &Target) -> Request<Upload> {
        let mut request = Request::new(Upload::new(self.body.take(), self.upload.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(&target.name);
            headers.insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("upstream")));
        }
        // Else a body of unknown length would be dropped where none is usual, as with GET.
        if self.has_body && !headers.contains_key(CONTENT_LENGTH) {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        self.tell_deadline(headers);
        request
    }

    /// How much time is left.
    fn tell_deadline(&self, headers: &mut HeaderMap) {
        if let Some(deadline) = self.deadline {
            let left_ms = deadline.since_ns(crate::clock::boot()) / base::time::NS_PER_MS;
            headers.insert(DEADLINE, HeaderValue::from(left_ms));
            grpc::tell_timeout(headers, left_ms);
        }
    }

    /// A 101 must have been asked for, with that protocol; and what asks for nothing else has no other success.
    fn is_asked_for(&self, response: &Response<Incoming>) -> bool {
        let accept = self.call.accept();
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return accept.is_none() || !response.status().is_success();
        }
        let asked = self.upgrade.as_ref().map(|(protocol, _)| std::slice::from_ref(protocol));
        asked.is_some_and(|asked| headers::asked_upgrade(response.headers(), asked).is_some())
            && accept.is_none_or(|accept| websocket::is_accepted(response.headers(), accept))
    }

    /// A phase took too long.
    fn late(&self, over: Over) -> Failure {
        let (code, outcome) = match over {
            Over { by_deadline: true, .. } if self.impatient => (Code::Deadline, Outcome::Cancelled),
            Over { by_deadline: true, .. } => (Code::Deadline, Outcome::TimedOut),
            Over { phase: Phase::Upload, .. } if self.upload.wants() => (Code::BodyLate, Outcome::Cancelled),
            _ => (Code::ResponseLate, Outcome::TimedOut),
        };
        Failure { refusal: Refusal::at(code, &self.upstream.plan.name), outcome, safety: Safety::Unsafe }
    }

    /// What the client has done wrong, if it has.
    fn blame(&self) -> Option<Code> {
        self.call.spoiled().or(self.upload.failed())
    }

    /// The connection broke before the head of a response.
    fn broken(&self, error: &hyper::Error, safety: Safety) -> Failure {
        if let Some(code) = self.blame() {
            return Failure { refusal: Refusal::of(code), outcome: Outcome::Cancelled, safety: Safety::Unsafe };
        }
        let name = &self.upstream.plan.name;
        let refusal = if error.is_parse() {
            Refusal::at(Code::BadResponse, name).because(error)
        } else {
            let why = std::error::Error::source(error).map(ToString::to_string);
            why.into_iter().fold(Refusal::at(Code::Reset, name), Refusal::because)
        };
        Failure { refusal, outcome: Outcome::Reset, safety }
    }

    fn answered(
        self,
        response: Response<Arriving>,
        (target, tried): (Rc<Target>, Try),
        place: Rc<Place>,
        begun: Instant,
    ) -> Result<(Response<()>, Passed), Refusal> {
        let now = crate::clock::boot();
        // The time that the client took to send is not the endpoint's.
        let first_byte_us = now.since_ns(begun).saturating_sub(self.upload.waited_in_try_ns(now)) / 1000;
        let status_class = u8::try_from(response.status().as_u16() / 100).unwrap_or(5);
        let mut tried = tried;
        tried.outcome = Outcome::Answered { status_class, first_byte_us };
        place.set_left(Left::Served { first_byte_us });
        let (mut parts, mut body) = response.into_parts();
        if let Arriving::Line(_, Some(line)) = &mut body {
            line.keep_until = keep_alive(&parts.headers).map(|seconds| now.plus_ms(seconds.saturating_mul(1000)));
            if parts.version < Version::HTTP_11 {
                // Bodies of unknown length can't be sent to it, which the next request may have.
                line.keep_until = Some(now);
            }
        }
        let framed = body.size_hint().exact().is_some() || parts.headers.contains_key(TRANSFER_ENCODING);
        if !framed && parts.version <= Version::HTTP_11 {
            parts.extensions.insert(UntilClose);
        }
        headers::toward_client(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let flying = Flying::new(target, tried, place, self.impatient);
        let times = &self.upstream.plan.times;
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let refusal = || Refusal::at(Code::BadResponse, &self.upstream.plan.name);
            let (protocol, slot) = self.upgrade.ok_or_else(refusal)?;
            let Arriving::Line(_, Some(line)) = body else { return Err(refusal()) };
            let (wire, early) = line.into_upgraded().ok_or_else(refusal)?;
            headers::tell_upgrade(&mut parts.headers, protocol);
            flying.leave();
            let joint = Joint { wire, early, flying, slot, upload: self.upload, time: times.tunnel };
            return Ok((Response::from_parts(parts, ()), Passed::Joined(Box::new(joint))));
        }
        let download = Download::new(body, flying, self.call.watch.clone(), times.download, self.upload);
        Ok((Response::from_parts(parts, ()), Passed::Body(Box::new(download))))
    }

    /// The hash that policies by key go by.
    fn key(&self) -> Option<u64> {
        let bytes =
            self.upstream.plan.key.as_ref()?.of(self.call.told().client(&self.headers), &self.uri, &self.headers)?;
        let mut hasher = SipHasher13::new();
        hasher.write(&bytes);
        Some(hasher.finish())
    }
}

/// When a request that came at `begun` must be answered, and whether that is its client's own wish, and sooner than the service's.
pub fn deadline_of(headers: &HeaderMap, upstream: &Upstream, begun: Instant) -> (Option<Instant>, bool) {
    let asked = headers.get(DEADLINE).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_millis);
    let allowed = upstream.plan.times.deadline;
    let asked = asked.into_iter().chain(grpc::timeout(headers)).min();
    let time = asked.into_iter().chain(allowed).min();
    let impatient = asked.is_some() && time == asked && asked != allowed;
    (time.map(|time| begun.plus_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))), impatient)
}

/// The seconds after which an endpoint closes an idle connection, as it says.
fn keep_alive(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    // It closes before a request that is sent in its last second arrives.
    seconds.parse::<u64>().ok().map(|seconds| seconds.saturating_sub(1))
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let unknown = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().any(unknown) { Err(Refusal::of(Code::Expectation)) } else { Ok(()) }
}

/// Waits for something, unless its time is over before.
pub async fn bounded<F: Future>(watch: &Watch, future: F) -> Result<F::Output, Over> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match watch.over() {
        Some(over) => Poll::Ready(Err(over)),
        None => future.as_mut().poll(context).map(Ok),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanting_toward_one_address_alone_is_tried_at_another() {
        let (outcome, safety) = (Outcome::Cancelled, Safety::NothingSent);
        for (want, last) in [(Want::Files, true), (Want::Memory, true), (Want::Ports, false)] {
            let failure = Failure { refusal: Refusal::of(Code::Wants(want)), outcome, safety };
            assert_eq!((failure.is_final(), failure.refusal.status().as_u16()), (last, 503), "{want:?}");
        }
        let refused = Failure { refusal: Refusal::of(Code::ConnectFailed), outcome: Outcome::ConnectFailed, safety };
        assert!(!refused.is_final());
    }
}
