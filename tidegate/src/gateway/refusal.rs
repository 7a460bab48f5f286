//! Answers that the gateway gives itself: what happened, why, and what to do, as JSON.
//!
//! ```text
//! HTTP/1.1 503 Service Unavailable
//! content-type: application/json
//!
//! {"error":"no_endpoint","message":"service 'shop' has no endpoint that can take a request: ..."}
//! ```

use super::strict::Refused;
use super::want::Want;
use bytes::Bytes;
use gateway::{NoEndpoint, Shed, Why};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request can be read in two ways, or in none.
    Framing(Refused),
    HeadLate,
    BodyLate,
    BodyTooLarge,
    BodyBroken,
    Expectation,
    NoRoute,
    NoEndpoint(NoEndpoint),
    Shed(Why),
    TooManyRequests,
    /// As many are in progress over all connections as may be.
    RequestsFull,
    TunnelsFull,
    /// A WebSocket by HTTP/2, for a service that takes none.
    NoUpgrade,
    /// All connections to an endpoint have as many streams as they may.
    StreamsFull,
    /// This machine has no means for a connection.
    Wants(Want),
    ConnectFailed,
    ConnectLate,
    Reset,
    BadResponse,
    ResponseLate,
    Deadline,
    /// Another's request for the same had a bad answer.
    FetchFailed,
    OnlyIfCached,
}

/// An answer in the making.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: Code,
    /// The service's name, where there is one.
    service: Option<String>,
    /// What more is known of the reason.
    detail: Option<String>,
    retry_after_s: Option<u64>,
}

impl Refusal {
    pub fn of(code: Code) -> Self {
        Self { code, service: None, detail: None, retry_after_s: None }
    }

    /// About a service.
    pub fn at(code: Code, service: &str) -> Self {
        Self { service: Some(service.to_owned()), ..Self::of(code) }
    }

    pub fn because(self, detail: impl std::fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    pub fn shed(shed: Shed, service: &str) -> Self {
        Self::at(Code::Shed(shed.why), service).retry_after(shed.retry_after_s())
    }

    pub fn status(&self) -> StatusCode {
        self.code.told().0
    }

    /// What happened, why, and what to do.
    pub fn message(&self) -> String {
        let service = self.service.as_ref().map(|name| format!("service '{name}': ")).unwrap_or_default();
        let detail = self.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        format!("{service}{}{detail}", self.code.told().2)
    }

    /// The answer. One to a request that wasn't read to its end closes the connection.
    pub fn respond(&self) -> Response<Bytes> {
        let (status, word, _) = self.code.told();
        let body = format!("{}\n", serde_json::json!({ "error": word, "message": self.message() }));
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Code {
    /// The word for programs and logs.
    pub fn word(self) -> &'static str {
        self.told().1
    }

    /// True where the rest of the request is unknown, or not worth reading.
    pub fn closes(self) -> bool {
        matches!(
            self,
            Self::Framing(_)
                | Self::HeadLate
                | Self::BodyLate
                | Self::BodyTooLarge
                | Self::BodyBroken
                | Self::Expectation
        )
    }

    fn told(self) -> (StatusCode, &'static str, &'static str) {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Self::Framing(refused) => refused.told(),
            Self::HeadLate => (
                StatusCode::REQUEST_TIMEOUT,
                "head_late",
                "the request's headers did not come within timeouts.header: send it again, in one go",
            ),
            Self::BodyLate => (
                StatusCode::REQUEST_TIMEOUT,
                "body_late",
                "the request's body came too slowly: nothing within timeouts.body, or less than limits.body_rate on average",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the request's body is larger than limits.body allows: send less at a time",
            ),
            Self::BodyBroken => {
                (StatusCode::BAD_REQUEST, "body_broken", "the request's body ended before its end: send it again")
            }
            Self::Expectation => (
                StatusCode::EXPECTATION_FAILED,
                "expectation",
                "the only expectation that can be met here is 100-continue: send it, or none",
            ),
            Self::NoRoute => (
                StatusCode::NOT_FOUND,
                "no_route",
                "no route of the gateway matches the request's host, path, method and headers: see its [[route]] tables",
            ),
            Self::NoEndpoint(why) => (unavailable, "no_endpoint", no_endpoint(why)),
            Self::Shed(why) => (unavailable, "overloaded", shed(why)),
            Self::TooManyRequests => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "more requests came from this client than its limit allows: come back after the seconds of Retry-After",
            ),
            Self::RequestsFull => (
                unavailable,
                "requests_full",
                "as many requests are in progress at the gateway as limits.requests allows: come back after the seconds of Retry-After",
            ),
            Self::TunnelsFull => (
                unavailable,
                "tunnels_full",
                "it has as many upgraded connections as it may (tunnels): come back later, or allow it more",
            ),
            Self::NoUpgrade => (
                StatusCode::NOT_IMPLEMENTED,
                "no_upgrade",
                "it takes no WebSocket: its upgrade doesn't name it, or it speaks HTTP/2 to its endpoints (protocol), by which none is passed on",
            ),
            Self::StreamsFull => (
                unavailable,
                "streams_full",
                "its endpoint's connections carry as many streams as they may, and none ended within timeouts.connect: come back later",
            ),
            Self::Wants(want) => (unavailable, "no_means", no_means(want)),
            Self::ConnectFailed | Self::ConnectLate | Self::Reset | Self::BadResponse | Self::ResponseLate => {
                self.told_of_endpoint()
            }
            Self::FetchFailed | Self::OnlyIfCached | Self::Deadline => self.told_of_waits(),
        }
    }

    /// What an endpoint has done, or not.
    fn told_of_endpoint(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::ConnectFailed => (
                StatusCode::BAD_GATEWAY,
                "connect_failed",
                "no endpoint took the connection: see whether it runs and listens there",
            ),
            Self::ConnectLate => (
                StatusCode::GATEWAY_TIMEOUT,
                "connect_late",
                "no endpoint took the connection within timeouts.connect: see whether it is overloaded or out of reach",
            ),
            Self::Reset => (
                StatusCode::BAD_GATEWAY,
                "reset",
                "the endpoint closed the connection before it answered; the request may have taken effect, so it was not sent \
                 again: see the endpoint's log",
            ),
            Self::BadResponse => (
                StatusCode::BAD_GATEWAY,
                "bad_response",
                "what the endpoint answered is no HTTP that can be passed on: see the endpoint's log",
            ),
            Self::ResponseLate => (
                StatusCode::GATEWAY_TIMEOUT,
                "response_late",
                "the endpoint did not answer within timeouts.response: see why it is slow, or allow it more",
            ),
            _ => (StatusCode::BAD_GATEWAY, "bad_gateway", "the endpoint did not answer"),
        }
    }

    /// The request was waited for, or waited for another, in vain.
    fn told_of_waits(self) -> (StatusCode, &'static str, &'static str) {
        let late = StatusCode::GATEWAY_TIMEOUT;
        match self {
            Self::FetchFailed => (
                StatusCode::BAD_GATEWAY,
                "fetch_failed",
                "the endpoint failed at the request for the same that this one waited for: come back after the seconds of \
                 Retry-After",
            ),
            Self::OnlyIfCached => (
                late,
                "only_if_cached",
                "the request wants a stored response, and none can be used: send it without Cache-Control: only-if-cached",
            ),
            _ => (late, "deadline", "the request's own deadline passed before it was answered"),
        }
    }
}

fn no_means(want: Want) -> &'static str {
    match want {
        Want::Files => {
            "the gateway has no file left for a connection to the endpoint: come back later, or raise its limit"
        }
        Want::Memory => "the gateway's machine has no memory for a connection to the endpoint: come back later",
        Want::Ports => "the gateway's machine has no port left for a connection to the endpoint: come back later",
    }
}

fn no_endpoint(why: NoEndpoint) -> &'static str {
    match why {
        NoEndpoint::Empty => "it has no endpoints, or all have weight 0: add one to the file or by the admin API",
        NoEndpoint::Avoided => "all endpoints that could take the request have failed at it: see their logs",
        NoEndpoint::Unhealthy => "all endpoints fail their checks or are ejected: see /v1/gateway/services",
        NoEndpoint::BreakersOpen => "the circuit breakers of all endpoints are open or full: see /v1/gateway/services",
    }
}

fn shed(why: Why) -> &'static str {
    match why {
        Why::QueueFull => {
            "it is overloaded, and as many requests wait as may wait: come back after the seconds of Retry-After"
        }
        Why::WaitedTooLong => {
            "it is overloaded, and the request waited in vain: come back after the seconds of Retry-After"
        }
        Why::Deadline => "it is overloaded, and the request could not have been answered before its deadline",
        Why::Displaced => {
            "it is overloaded, and more important requests came: come back after the seconds of Retry-After"
        }
    }
}
