//! `tidegate gateway --demo`: the gateway before two example upstreams, for a first look.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The port of the demo, and that of its admin endpoint beside it.
const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 7379;

/// Starts the upstreams; the text of the file that one would write for them.
pub fn start(port: Option<u16>) -> std::io::Result<String> {
    let (one, two) = (upstream(1)?, upstream(2)?);
    let port = port.unwrap_or(PORT);
    let admin = if port == PORT { ADMIN_PORT } else { 0 };
    Ok(format!(
        "[gateway]\nlisten = \"127.0.0.1:{port}\"\nadmin = \"127.0.0.1:{admin}\"\n\n[service.example]\nendpoints = [\"{one}\", \"{two}\"]\n\
         policy = \"round-robin\"\nchecks = {{ path = \"/\", interval = \"1s\" }}\n\n[[route]]\nservice = \"example\"\n"
    ))
}

/// One upstream, on a thread of its own.
fn upstream(number: u8) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    let serve = move || runtime.block_on(accept(listener, number));
    std::thread::Builder::new().name(format!("example-{number}")).spawn(serve)?;
    Ok(address)
}

async fn accept(listener: TcpListener, number: u8) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let answer =
            move |request: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(answer(number, &request)));
        let service = hyper::service::service_fn(answer);
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

/// What came, as it came.
fn answer(number: u8, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = format!("example upstream {number} got: {} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("  {name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
