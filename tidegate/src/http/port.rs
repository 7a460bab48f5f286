//! What the ports of operators have in common, a node's and a gateway's: few places, bounds on time, and nothing for pages of others.
//!
//! Whoever asks must not be able to hurt what serves. A connection carries one request and lives ten seconds at most, whatever it does;
//! there are few of them, and one too many is told so.
//!
//! A browser beside the port sends to it what any page likes. It says `Origin` with whatever may change something, and asks before it
//! sends JSON to another origin, which nobody here answers: so both are looked at. But a page whose own name has come to stand for the
//! port's address (DNS rebinding) is of the same origin. It is known by its name, which is not one of the port's.

use super::told::Problem;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::{StatusCode, Uri};
use hyper_util::rt::TokioTimer;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// From accept to close.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// A request's line and headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Far more than any sound request has.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// After a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Those that are told that they are too many, at a time, and how long that may take.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(HEADER_TIME_MAX.as_millis() < CONNECTION_TIME_MAX.as_millis(), "an answer needs time too");

/// The places of a port.
#[derive(Debug)]
pub struct Port {
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    refused: AtomicU64,
}

impl Default for Port {
    fn default() -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { places: places(CONNECTIONS_MAX), refusals: places(REFUSALS_MAX), refused: AtomicU64::new(0) }
    }
}

impl Port {
    /// Takes connections without end. `visit` begins a task for each, whose place is free again when the permit is dropped.
    pub async fn serve(&self, listener: TcpListener, visit: impl Fn(TcpStream, OwnedSemaphorePermit)) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            match self.places.clone().try_acquire_owned() {
                Ok(place) => visit(stream, place),
                Err(_) => self.refuse(stream),
            }
        }
    }

    /// Connections that were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What the client sends is read for a moment, as its answer would be lost with it.
    fn refuse(&self, mut stream: TcpStream) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let Ok(place) = self.refusals.clone().try_acquire_owned() else { return };
        tokio::spawn(async move {
            let tell = async {
                stream.write_all(FULL).await?;
                stream.shutdown().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            };
            // Whether it has heard that is its own affair.
            let _ = tokio::time::timeout(REFUSAL_TIME_MAX, tell).await;
            drop(place);
        });
    }
}

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 101\r\n\r\n\
    {\"error\":\"too_many\",\"message\":\"64 connections are here, as many as may be at once: try again later\"}\n";

/// How connections speak HTTP, whose whole time whoever drives them bounds.
pub fn protocol() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    builder.max_buf_size(HEADER_BYTES_MAX).keep_alive(false);
    builder
}

/// A change comes from no page of a browser.
pub fn check_change(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(ORIGIN) {
        let message = "pages in browsers may change nothing here: send no Origin header; nothing was changed";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    Ok(())
}

/// What a POST has is JSON, even if it is nothing: a form could send that.
pub fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let message = "send it with `content-type: application/json`, whether it has a body or not; nothing was changed";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message))
}

/// What a page may know too, and who probes doesn't always choose his Host.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The port is asked for by an address, as localhost, or by one of its names. Programs that name no
/// host at all are no browsers.
pub fn check_host(headers: &HeaderMap, uri: &Uri, names: &[String], hint: &str) -> Result<(), Problem> {
    if PROBES.contains(&uri.path()) {
        return Ok(());
    }
    let of_header = headers.get_all(HOST).iter().map(|value| std::str::from_utf8(value.as_bytes()).ok());
    let of_target = uri.authority().map(|authority| Some(authority.as_str()));
    for host in of_header.chain(of_target) {
        let known = host.and_then(|host| host.parse::<Authority>().ok()).is_some_and(|host| is_own(host.host(), names));
        if !known {
            let message = format!(
                "'{}' is no name of this port: ask by its address or as localhost, {hint}",
                host.unwrap_or("what stands in Host")
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message));
        }
    }
    Ok(())
}

fn is_own(host: &str, names: &[String]) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// The body of a request.
pub async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let limited = tokio::time::timeout(CONNECTION_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
    let bad = |why: &str| Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{why}; nothing was changed"));
    let collected = limited.await.map_err(|_| bad("the body did not come in time"))?;
    let why = |error: Box<dyn std::error::Error + Send + Sync>| {
        if error.is::<http_body_util::LengthLimitError>() {
            let message = format!("a body has at most {BODY_BYTES_MAX} bytes; nothing was changed");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        } else {
            bad("the body did not come whole")
        }
    };
    Ok(collected.map_err(why)?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn told(target: &str, hosts: &[&str]) -> Option<&'static str> {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check_host(&head.headers, &head.uri, &["gateway.internal".to_owned()], "").err().map(|problem| problem.code)
    }

    #[test]
    fn addresses_and_names_of_its_own_are_answered_to() {
        for host in [
            "127.0.0.1:7379",
            "10.0.0.7",
            "[::1]:7379",
            "[::1]",
            "localhost:1",
            "LocalHost",
            "localhost.:1",
            "Gateway.internal:7",
        ] {
            assert_eq!(told("/x", &[host]), None, "{host}");
        }
        assert_eq!(told("/x", &[]), None, "a program of HTTP/1.0");
        assert_eq!(told("http://localhost:7/x", &["localhost:7"]), None);
        for host in ["evil.test", "evil.test:7379", "localhost.evil.test", "127.0.0.1.evil.test", "", "a b", "internal"]
        {
            assert_eq!(told("/x", &[host]), Some("wrong_host"), "{host}");
        }
        assert_eq!(told("/x", &["127.0.0.1", "evil.test"]), Some("wrong_host"), "either may be meant");
        assert_eq!(told("http://evil.test/x", &["127.0.0.1"]), Some("wrong_host"));
        assert_eq!((told("/readyz", &["evil.test"]), told("/readyz/x", &["evil.test"])), (None, Some("wrong_host")));
    }

    #[test]
    fn what_is_told_to_one_too_many_has_its_length() {
        let (head, body) = std::str::from_utf8(FULL).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head} {}", body.len());
        assert!(body.contains(&format!("\"{CONNECTIONS_MAX} connections")), "{body}");
    }
}
