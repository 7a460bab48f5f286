//! The beginning of a connection: what comes before its first request, until it is known who speaks and what.

use super::config::Protocol;
use super::config::listener::Protocols;
use super::lane::{Lane, Origin, Table};
use super::stream::{Socket, Stream};
use super::tls::{self, Identity, Session};
use edge::proxy;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A connection that speaks HTTP from now on.
#[derive(Debug)]
pub struct Opened {
    pub stream: Stream,
    /// The client.
    pub peer: SocketAddr,
    pub identity: Option<Identity>,
    /// None in clear.
    pub session: Option<Rc<Session>>,
    pub speaks: Protocol,
}

/// What every client of HTTP/2 sends first, as far as nothing else begins so.
const PREFACE: &[u8] = b"PRI ";
const READ_BYTES: usize = 4096;

/// Opens a connection, by what its listener is told to be; none if it was no such connection.
pub async fn open(lane: &Lane, tcp: TcpStream, origin: Origin) -> Option<Opened> {
    let table = lane.table();
    let _ = tcp.set_nodelay(true);
    let mut peer = origin.peer;
    let mut socket = Socket::new(tcp);
    let listener = table.config.listeners.get(origin.listener)?;
    let protocols = listener.protocols;
    if !listener.proxies.is_empty() {
        let passed = pass(&table, origin, &mut socket).await;
        if passed.is_err() {
            super::upstream::add(&lane.unproxied, 1);
        }
        peer = passed.ok()?.unwrap_or(peer);
    }
    let Some(tls) = table.tls.get(origin.listener)?.clone() else {
        let time = table.config.client_times.header;
        drop(table);
        let speaks = match protocols {
            Protocols { h1: true, h2: true } => tokio::time::timeout(time, told(&mut socket)).await.ok()??,
            Protocols { h2: true, .. } => Protocol::H2,
            Protocols { .. } => Protocol::H1,
        };
        return Some(Opened { stream: Stream::Clear(socket), peer, identity: None, session: None, speaks });
    };
    // Handshakes take their time: nothing old is held meanwhile.
    drop(table);
    let shaken = tls::shake(&tls, socket, &lane.handshakes.turns).await;
    lane.handshakes.count(&shaken);
    let secured = shaken.ok()?;
    let chosen = secured.stream.get_ref().1.alpn_protocol();
    let speaks = match chosen {
        Some(b"h2") => Protocol::H2,
        None if !protocols.h1 => Protocol::H2,
        _ => Protocol::H1,
    };
    let tls::Secured { stream, identity, session } = secured;
    Some(Opened { stream: Stream::Tls(stream), peer, identity, session: Some(session), speaks })
}

/// A connection that a balancer did not make, or did not say so of in time and form.
struct Unproxied;

/// Who has made a connection, as the balancer says that passes it on; none if it is its own.
async fn pass(table: &Table, origin: Origin, socket: &mut Socket) -> Result<Option<SocketAddr>, Unproxied> {
    let proxies = &table.config.listeners[origin.listener].proxies;
    if !proxies.iter().any(|network| network.holds(origin.peer.ip())) {
        return Err(Unproxied);
    }
    let header = async {
        loop {
            if let Some(header) = proxy::parse(&socket.early).map_err(|_| Unproxied)? {
                return Ok(header);
            }
            socket.early.reserve(READ_BYTES);
            if socket.tcp.read_buf(&mut socket.early).await.map_err(|_| Unproxied)? == 0 {
                return Err(Unproxied);
            }
        }
    };
    let header = tokio::time::timeout(table.config.client_times.header, header).await.map_err(|_| Unproxied)??;
    socket.early.drain(..header.bytes);
    Ok(header.source)
}

/// What the client's first bytes say that it speaks; they stay to be read. None if it goes before.
async fn told(socket: &mut Socket) -> Option<Protocol> {
    while socket.early.len() < PREFACE.len() && PREFACE.starts_with(&socket.early) {
        socket.early.reserve(READ_BYTES);
        if socket.tcp.read_buf(&mut socket.early).await.ok()? == 0 {
            return None;
        }
    }
    Some(if socket.early.starts_with(PREFACE) { Protocol::H2 } else { Protocol::H1 })
}
