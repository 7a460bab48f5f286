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
//!
//! There is no authentication: who reaches the port is an operator, but for pages that his browser shows ([`crate::http::port`]).

use super::aside::aside;
use super::cache::page as cache;
use super::config::resolve;
use super::config::values::Address;
use super::control::{Control, Unchanged, reports};
use super::{metrics, standing};
use crate::http::port;
use crate::http::told::Problem;
use crate::http::{JSON, TEXT, respond};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

pub type Shared = Rc<RefCell<Control>>;

const WEIGHT_MAX: u32 = 1000;
/// What goes on aside is waited for as long as leaves time to say that it was in vain.
const ASIDE_TIME_MAX: Duration = Duration::from_secs(5);

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, control: Shared) {
    let port = control.borrow().port.clone();
    let visit = |stream, place| drop(tokio::task::spawn_local(visit(stream, control.clone(), place)));
    port.serve(listener, visit).await;
}

/// One connection, with one request.
async fn visit(stream: TcpStream, control: Shared, place: OwnedSemaphorePermit) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let control = control.clone();
        async move { Ok::<_, Infallible>(try_answer(&control, request).await.unwrap_or_else(Problem::respond)) }
    });
    let connection = port::protocol().serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(port::CONNECTION_TIME_MAX, connection).await;
    drop(place);
}

type Answer = Result<Response<Full<Bytes>>, Problem>;

async fn try_answer(control: &Shared, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let hint = "or put the name into gateway.admin_names";
    port::check_host(&head.headers, &head.uri, &control.borrow().config.admin_names, hint)?;
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    if reads {
        return read(control, &path).await;
    }
    port::check_change(&head.headers)?;
    // No form deletes.
    if head.method != Method::DELETE {
        port::check_json(&head.headers)?;
    }
    let body = port::read(body).await?;
    change(control, &head.method, &path, &body).await
}

async fn change(control: &Shared, method: &Method, path: &str, body: &[u8]) -> Answer {
    if path == "/v1/gateway:reload" && *method == Method::POST {
        return reload(control).await;
    }
    if path == "/v1/gateway/cache:purge" && *method == Method::POST {
        let (store, body) = (control.borrow().config.cache.clone(), body.to_vec());
        // A task of its own: it is done to its end, whether its client waits for that or not.
        let purge = tokio::task::spawn_local(async move { cache::purge(store.as_deref(), &body).await });
        let purged = purge.await.expect("nothing ends it").map_err(|why| bad(&why))?;
        crate::log::info("gateway", "stored responses were purged by an operator", &[("objects", &purged)]);
        return Ok(told(&json!({ "purged": purged })));
    }
    let missing = || {
        let message = format!("there is nothing at {path} to be changed by {method}");
        Problem::new(StatusCode::NOT_FOUND, "not_found", message)
    };
    let rest = path.strip_prefix("/v1/gateway/services/").ok_or_else(missing)?;
    let (service, rest) = rest.split_once("/endpoints").ok_or_else(missing)?;
    let changed = match (rest.strip_prefix('/'), method) {
        (None, &Method::POST) if rest.is_empty() => {
            let Add { address, weight } =
                serde_json::from_slice(body).map_err(|error| bad(&format!("the body can't be understood: {error}")))?;
            if weight > WEIGHT_MAX {
                return Err(bad(&format!("the weight is {weight}; give 0 to {WEIGHT_MAX}")));
            }
            let (name, at) = find(control, &address).await?;
            control.borrow_mut().add(service, name, at, weight)
        }
        (Some(verb), &Method::POST) if verb.ends_with(":drain") => {
            control.borrow_mut().drain(service, verb.strip_suffix(":drain").unwrap_or(verb))
        }
        (Some(address), &Method::DELETE) => control.borrow_mut().remove(service, address),
        _ => return Err(missing()),
    };
    changed.map(|()| told(&json!({ "changed": true }))).map_err(|why| match why {
        Unchanged::NoService => {
            let message = format!("there is no service '{service}'; nothing was changed");
            Problem::new(StatusCode::NOT_FOUND, "no_service", message)
        }
        Unchanged::NoEndpoint => {
            let message = format!("service '{service}' has no such endpoint; nothing was changed");
            Problem::new(StatusCode::NOT_FOUND, "no_endpoint", message)
        }
        Unchanged::Bad(why) => bad(&why),
    })
}

async fn reload(control: &Shared) -> Answer {
    let refused = |why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", why);
    let asked = control.borrow_mut().ask_reload().map_err(refused)?;
    let late = || {
        let why = "the file is still being read, since a file system or a server of names doesn't answer: what comes of it \
                   will be told by /v1/gateway";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "late", why)
    };
    let reloaded = tokio::time::timeout(ASIDE_TIME_MAX, asked).await.map_err(|_| late())?;
    let reloaded = reloaded.unwrap_or_else(|_| Err("the gateway stops".to_owned()));
    reloaded.map(|changed| told(&json!({ "reloaded": changed }))).map_err(refused)
}

/// Where an endpoint is. A name may take its time, on a thread of its own.
async fn find(control: &Shared, address: &str) -> Result<(Address, SocketAddr), Problem> {
    let name = Address::parse(address)
        .ok_or_else(|| bad(&format!("'{address}' is no address; give host and port, as \"127.0.0.1:9001\"")))?;
    if let Ok(at) = address.parse() {
        return Ok((name, at));
    }
    let place = control.borrow().resolving.clone().try_acquire_owned();
    let late = |why: &str| Problem::new(StatusCode::GATEWAY_TIMEOUT, "late", format!("{why}; nothing was changed"));
    let place = place.map_err(|_| late("other names are being resolved, as many as may be at once"))?;
    let of_thread = name.clone();
    let found = aside(move || {
        // The place is taken for as long as the thread hangs.
        let _place = place;
        resolve(&of_thread)
    });
    let found = tokio::time::timeout(ASIDE_TIME_MAX, found).await;
    let found = found.map_err(|_| late("no server of names answers"))?.map_err(|_| late("the name wasn't resolved"))?;
    Ok((name, found.map_err(|why| bad(&why))?))
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
        Problem::new(StatusCode::NOT_FOUND, "not_found", message)
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
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{message}; nothing was changed"))
}

fn told(value: &Value) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, JSON, format!("{value}\n"))
}
