//! How connections come to a lane and leave it.

use super::Driver;
use super::conn::Conn;
use super::publish::listen;
use crate::clients::Card;
use crate::shared::{Endpoint, lock};
use crate::{clock, log};
use base::ClientId;
use edge::{Session, SessionConfig, memcached};
use mio::{Interest, Token};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

impl Driver {
    /// A new connection of this lane.
    pub(super) fn admit(&mut self, endpoint: Endpoint, stream: std::net::TcpStream) {
        let (Ok(addr), Ok(laddr)) = (stream.peer_addr(), stream.local_addr()) else {
            self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if let Err(error) = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
            log::warn("lane", "a connection can't be set up", &[("addr", &addr), ("error", &error)]);
            self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let number = self.shared.next_client.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        let cluster = (endpoint == Endpoint::Cluster).then(|| self.shared.map.load_full());
        let config = SessionConfig { requirepass: self.shared.requirepass.clone(), cluster };
        let session = Session::new(ClientId(number), config);
        let stream = mio::net::TcpStream::from_std(stream);
        let place = self.conns.insert(|handle| Conn::new(handle, number, stream, session));
        let conn = self.conns.get_mut(place).expect("it was just put there");
        conn.memcached = (endpoint == Endpoint::Memcached).then(Box::<memcached::session::Session>::default);
        let (handle, vitals, now) = (conn.handle, conn.vitals.clone(), clock::boot());
        conn.note_vitals(now);
        let descriptor = conn.stream.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut conn.stream, Token(place), interest) {
            log::warn("lane", "a connection can't be polled", &[("addr", &addr), ("error", &error)]);
            self.close(place);
            return;
        }
        let card = Card {
            lane: usize::from(self.id.0),
            handle,
            addr,
            laddr,
            since: now,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            descriptor,
            vitals,
        };
        lock(&self.shared.clients).insert(number, card);
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, place: usize) {
        let Some(mut conn) = self.conns.remove(place) else { return };
        self.forget_waiting(&mut conn);
        let changes = conn.session.unsubscribe_all();
        listen(&mut self.lane, &self.shared.meters.lanes[usize::from(self.id.0)], &conn, &changes);
        let tracking = conn.session.stop_tracking();
        let parts = (&mut self.lane, &*self.shared, self.id);
        self.trackers.follow(parts, conn.handle, tracking.as_deref(), None);
        self.monitors.end(&self.shared, &conn);
        let _ = self.poll.registry().deregister(&mut conn.stream);
        lock(&self.shared.clients).remove(&conn.number);
        self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// CLIENT KILL of a connection of this lane, which may be the one that asked: it still gets its answer.
    pub(super) fn kill(&mut self, client: ClientId) {
        if let Some(place) = self.conns.place_of(client) {
            // What it gets of its answer is all it gets.
            self.conns.get_mut(place).map(Conn::flush);
            self.close(place);
        }
    }
}
