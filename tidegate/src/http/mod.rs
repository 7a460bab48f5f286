//! The admin endpoint: health and metrics over HTTP, on a port and a thread of its own.
//!
//! Whoever scrapes or probes must not be able to hurt the lanes, so nothing here is shared with them but counters that
//! they write and this thread reads; and calls about locks ([`locks`]), which go to a lane by its mailbox. A connection carries one
//! request and lives ten seconds at most, whatever it does, unless it waits for a lock ([`visit`]); there are few of them, and one too
//! many is closed at once. hyper does the protocol, on a tokio runtime of this one thread.

mod locks;
pub mod spelling;
mod told;
mod visit;

use crate::meters::page::page;
use crate::meters::text;
use crate::shared::{Phase, Shared};
use crate::status::document;
use crate::status::gather::gather;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use visit::Visit;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// A request's line and headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// From accept to close; a call that waits for a lock has as much behind its wait.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// After a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(HEADER_TIME_MAX.as_millis() < CONNECTION_TIME_MAX.as_millis(), "an answer needs time too");

/// Serves `listener` from a thread of its own until the process ends.
pub fn start(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) })?;
    let serve = move || runtime.block_on(accept(listener, shared));
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            tokio::spawn(serve(stream, shared.clone(), place));
        }
    }
}

/// One connection. What goes wrong on it is its peer's affair.
async fn serve(stream: tokio::net::TcpStream, shared: Arc<Shared>, place: OwnedSemaphorePermit) {
    let visit = Arc::new(Visit::new(place));
    let of_request = visit.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (shared, visit) = (shared.clone(), of_request.clone());
        async move {
            if locks::serves(request.uri().path()) {
                return Ok(locks::serve(&shared, &visit, request).await);
            }
            let (method, path) = (request.method(), request.uri().path());
            // The document of a whole cluster takes questions to other nodes; the rest is here.
            let document = if path == "/status" { Some(gather(&shared).await) } else { None };
            Ok::<_, Infallible>(answer(&shared, method, path, document.as_ref()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        let until = visit.until();
        let ended = tokio::time::timeout_at(until, connection.as_mut()).await.is_ok();
        if ended || visit.until() == until {
            return;
        }
    }
}

/// What is here beside the locks, each with what makes it: status, content type and body.
const PAGES: [(&str, Maker); 6] = [
    ("/healthz", |_, _| (StatusCode::OK, TEXT, "ok\n".to_owned())),
    ("/readyz", |shared, _| readiness(shared)),
    ("/status", |_, document| (StatusCode::OK, JSON, document.map_or(String::new(), |it| format!("{it}\n")))),
    ("/status/self", |shared, _| (StatusCode::OK, JSON, format!("{}\n", document::own(shared)))),
    ("/metrics", |shared, _| (StatusCode::OK, text::CONTENT_TYPE, page(shared))),
    ("/v1/openapi.json", |_, _| (StatusCode::OK, JSON, OPENAPI.to_owned())),
];
type Maker = fn(&Shared, Option<&Value>) -> (StatusCode, &'static str, String);

/// The answer to a request; `document` is the one of the whole cluster, if it is asked for.
fn answer(shared: &Shared, method: &Method, path: &str, document: Option<&Value>) -> Response<Full<Bytes>> {
    let Some((_, make)) = PAGES.iter().find(|(name, _)| *name == path) else {
        return respond(StatusCode::NOT_FOUND, TEXT, format!("there is no {path} here; {PATHS}\n"));
    };
    if method != Method::GET && method != Method::HEAD {
        let text = format!("{path} answers GET and HEAD, not {method}\n");
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let (status, kind, body) = make(shared, document);
    respond(status, kind, body)
}

/// Ready to serve every command; else the reason why not.
fn readiness(shared: &Shared) -> (StatusCode, &'static str, String) {
    let unready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n"));
    match shared.phase() {
        Phase::Starting => unready("starting: the log is being read"),
        Phase::Stopping => unready("stopping: what was begun is being finished"),
        Phase::Ready if shared.disk_full.load(Ordering::Relaxed) => {
            unready("the disk has no room for the write-ahead log: writes are refused, reads go on")
        }
        Phase::Ready => (StatusCode::OK, TEXT, "ready\n".to_owned()),
    }
}

/// A page that nobody keeps.
pub fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; charset=utf-8";
const PATHS: &str = "ask for /metrics, /status, /v1/locks, /v1/openapi.json, /healthz or /readyz";
/// What is served here, for programs; a test holds it against the paths.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_for_programs_has_every_path_that_is_served_and_no_other() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let told = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        });
        let pages = PAGES.iter().map(|(path, _)| ((*path).to_owned(), "get".to_owned()));
        let served = pages.chain(locks::routes().map(|(path, method)| (path, method.to_owned())));
        assert_eq!(told.collect::<BTreeSet<_>>(), served.collect::<BTreeSet<_>>());
    }
}
