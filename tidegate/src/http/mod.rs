//! The admin endpoint: health and metrics over HTTP, on a port and a thread of its own.
//!
//! Whoever scrapes or probes must not be able to hurt the lanes, so nothing here is shared with them but counters that
//! they write and this thread reads; and calls about locks ([`locks`]), which go to a lane by its mailbox. Connections are few and short
//! ([`port`]), unless one waits for a lock ([`visit`]). hyper does the protocol, on a tokio runtime of this one thread.

mod locks;
pub mod port;
pub mod spelling;
pub mod told;
mod visit;

use crate::meters::page::page;
use crate::meters::text;
use crate::shared::{Phase, Shared};
use crate::status::document;
use crate::status::gather::gather;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use port::Port;
use serde_json::Value;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedSemaphorePermit;
use visit::Visit;

/// Serves `listener` from a thread of its own until the process ends.
pub fn start(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(listener) })?;
    let visit = move |stream, place| drop(tokio::spawn(visit(stream, shared.clone(), place)));
    let serve = move || runtime.block_on(Port::default().serve(listener, visit));
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
}

/// One connection. What goes wrong on it is its peer's affair.
async fn visit(stream: tokio::net::TcpStream, shared: Arc<Shared>, place: OwnedSemaphorePermit) {
    let visit = Arc::new(Visit::new(place));
    let of_request = visit.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (shared, visit) = (shared.clone(), of_request.clone());
        async move {
            let hint = "which is all that it answers to";
            if let Err(problem) = port::check_host(request.headers(), request.uri(), &[], hint) {
                return Ok(problem.respond());
            }
            if locks::serves(request.uri().path()) {
                return Ok(locks::serve(&shared, &visit, request).await);
            }
            let (method, path) = (request.method(), request.uri().path());
            // The document of a whole cluster takes questions to other nodes; the rest is here.
            let document = if path == "/status" { Some(gather(&shared).await) } else { None };
            Ok::<_, Infallible>(answer(&shared, method, path, document.as_ref()))
        }
    });
    let mut connection = std::pin::pin!(port::protocol().serve_connection(TokioIo::new(stream), service));
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
    // It is no script, whatever page asks for it as one.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
