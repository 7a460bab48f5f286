//! The gateway's admin endpoint: health, metrics, how services stand, and changes of their endpoints.
//!
//! ```text
//! GET /v1/gateway                                              the process, its file, its lanes
//! GET /v1/gateway/services[/{name}]                            services with their endpoints
//! POST /v1/gateway/services/{name}/endpoints {address, weight?}    adds one, or changes its weight
//! POST /v1/gateway/services/{name}/endpoints/{address}:drain       no new requests for it
//! DELETE /v1/gateway/services/{name}/endpoints/{address}           takes it out when it has ended what it has
//! POST /v1/gateway:reload                                      reads the file
//! GET /v1/gateway/cache, POST /v1/gateway/cache:purge          see [`super::cache::page`]
//! GET /metrics /healthz /readyz
//! ```

use super::cache::page as cache;
use super::control::{Control, Unchanged, reports};
use super::{metrics, standing};
use crate::http::{JSON, TEXT, respond};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::ORIGIN;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

pub type Shared = Rc<RefCell<Control>>;

const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const WEIGHT_MAX: u32 = 1000;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, control: Shared) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::task::spawn_local(visit(stream, control.clone()))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One connection, with one request.
async fn visit(stream: TcpStream, control: Shared) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let control = control.clone();
        async move { Ok::<_, Infallible>(answer(&control, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
}

/// What is told instead: status, a word for programs, and the message.
type Problem = (StatusCode, &'static str, String);
type Answer = Result<Response<Full<Bytes>>, Problem>;

async fn answer(control: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    try_answer(control, request).await.unwrap_or_else(|(status, word, message)| {
        respond(status, JSON, format!("{}\n", json!({ "error": word, "message": message })))
    })
}

async fn try_answer(control: &Shared, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if reads {
        return read(control, &path).await;
    }
    // Pages that a browser shows send an origin, and may change nothing here.
    if head.headers.contains_key(ORIGIN) {
        let message = "pages in browsers may change nothing here: send no Origin header";
        return Err((StatusCode::FORBIDDEN, "forbidden", message.to_owned()));
    }
    let limited = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = limited.map_err(|_| bad("the body did not come whole, or is too large"))?.to_bytes();
    if path == "/v1/gateway:reload" && head.method == Method::POST {
        let read = control.borrow_mut().reload();
        return match read {
            Ok(changed) => Ok(told(&json!({ "reloaded": changed }))),
            Err(why) => Err((StatusCode::UNPROCESSABLE_ENTITY, "refused", why)),
        };
    }
    if path == "/v1/gateway/cache:purge" && head.method == Method::POST {
        let store = control.borrow().config.cache.clone();
        // A task of its own: it is done to its end, whether its client waits for that or not.
        let purge = tokio::task::spawn_local(async move { cache::purge(store.as_deref(), &body).await });
        let purged = purge.await.expect("nothing ends it").map_err(|why| bad(&why))?;
        crate::log::info("gateway", "stored responses were purged by an operator", &[("objects", &purged)]);
        return Ok(told(&json!({ "purged": purged })));
    }
    let missing =
        || (StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path} to be changed by {}", head.method));
    let rest = path.strip_prefix("/v1/gateway/services/").ok_or_else(missing)?;
    let (service, rest) = rest.split_once("/endpoints").ok_or_else(missing)?;
    let mut control = control.borrow_mut();
    let changed = match (rest.strip_prefix('/'), &head.method) {
        (None, &Method::POST) if rest.is_empty() => {
            let add: Add = serde_json::from_slice(&body)
                .map_err(|error| bad(&format!("the body can't be understood: {error}")))?;
            if add.weight > WEIGHT_MAX {
                return Err(bad(&format!("the weight is {}; give 0 to {WEIGHT_MAX}", add.weight)));
            }
            control.add(service, &add.address, add.weight)
        }
        (Some(verb), &Method::POST) if verb.ends_with(":drain") => {
            control.drain(service, verb.strip_suffix(":drain").unwrap_or(verb))
        }
        (Some(address), &Method::DELETE) => control.remove(service, address),
        _ => return Err(missing()),
    };
    changed.map(|()| told(&json!({ "changed": true }))).map_err(|why| match why {
        Unchanged::NoService => {
            (StatusCode::NOT_FOUND, "no_service", format!("there is no service '{service}'; nothing was changed"))
        }
        Unchanged::NoEndpoint => (
            StatusCode::NOT_FOUND,
            "no_endpoint",
            format!("service '{service}' has no such endpoint; nothing was changed"),
        ),
        Unchanged::Bad(why) => bad(&why),
    })
}

async fn read(control: &Shared, path: &str) -> Answer {
    let draining = control.borrow().draining;
    match path {
        "/healthz" => return Ok(respond(StatusCode::OK, TEXT, "ok\n".to_owned())),
        "/readyz" if draining => {
            let text = "stopping: what was begun is being finished\n";
            return Ok(respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned()));
        }
        "/readyz" => return Ok(respond(StatusCode::OK, TEXT, "ready\n".to_owned())),
        _ => {}
    }
    let crew = control.borrow().crew.clone();
    let reports = reports(&crew).await;
    let control = control.borrow();
    if path == "/metrics" {
        let page = metrics::page(&control, &reports);
        return Ok(respond(StatusCode::OK, crate::meters::text::CONTENT_TYPE, page));
    }
    if path == "/v1/gateway" {
        return Ok(told(&standing::process(&control, &reports)));
    }
    if path == "/v1/gateway/cache" {
        let sums = cache::Sums::all(reports.iter().map(|report| report.cache));
        return Ok(told(&cache::told(control.config.cache.as_deref(), &sums)));
    }
    let services = standing::services(&reports);
    if path == "/v1/gateway/services" {
        return Ok(told(&json!({ "services": services })));
    }
    let named = path.strip_prefix("/v1/gateway/services/");
    let one = named.and_then(|name| services.into_iter().find(|service| service["name"] == name));
    one.map(|service| told(&service)).ok_or_else(|| {
        let message = format!(
            "there is no {path} here; ask for /v1/gateway, /v1/gateway/services, /v1/gateway/cache, /metrics, /healthz or /readyz"
        );
        (StatusCode::NOT_FOUND, "not_found", message)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    address: String,
    #[serde(default = "one")]
    weight: u32,
}

fn one() -> u32 {
    1
}

fn bad(message: &str) -> Problem {
    (StatusCode::BAD_REQUEST, "bad_request", format!("{message}; nothing was changed"))
}

fn told(value: &Value) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, JSON, format!("{value}\n"))
}
