//! The beginning of a connection: what comes before its first request, until it is known who speaks and what.

use super::lane::{Lane, Origin};
use super::stream::{Socket, Stream};
use super::tls::{self, Identity};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A connection that speaks HTTP from now on.
#[derive(Debug)]
pub struct Opened {
    pub stream: Stream,
    /// The client.
    pub peer: SocketAddr,
    pub identity: Option<Identity>,
}

/// Opens a connection, by what its listener is told to be; none if it was no such connection.
pub async fn open(lane: &Lane, tcp: TcpStream, origin: Origin) -> Option<Opened> {
    let table = lane.table();
    let _ = tcp.set_nodelay(true);
    let peer = origin.peer;
    let socket = Socket::new(tcp);
    let Some(tls) = table.tls.get(origin.listener)?.clone() else {
        return Some(Opened { stream: Stream::Clear(socket), peer, identity: None });
    };
    // Handshakes take their time: nothing old is held meanwhile.
    drop(table);
    let shaken = tls::shake(&tls, socket).await;
    lane.handshakes.count(&shaken);
    let secured = shaken.ok()?;
    Some(Opened { stream: Stream::Tls(secured.stream), peer, identity: secured.identity })
}
