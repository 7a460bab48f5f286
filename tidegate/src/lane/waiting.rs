//! Connections whose call waits: what their client, other clients and the end of the node do about it.
//!
//! Nothing of such a connection is read, so that its end shows by the readiness event alone. Its call is then let go through the core,
//! which may have served it already: then the client gets what it was served, if it can be told, and no other reply.

use super::Driver;
use super::conn::Conn;
use super::serve::Core;
use crate::admin;
use crate::clock;
use crate::shared::{Asker, Input};
use base::ClientId;
use data::waits::{How, UNBLOCKED, is_nothing};
use data::{Refused, Reply};
use edge::Call;
use node::{Ending, Now};

impl Driver {
    /// A client that has sent its last byte is not served what it waits for.
    pub(super) fn hang_up_if_waiting(&mut self, place: usize) {
        if self.conns.get_mut(place).is_some_and(|conn| conn.hung_up) {
            self.hang_up(place, clock::now());
        }
    }

    /// The node stops: nobody waits here any more.
    pub(super) fn hang_up_all(&mut self, now: Now) {
        (0..self.conns.places.len()).for_each(|place| self.hang_up(place, now));
    }

    fn hang_up(&mut self, place: usize, now: Now) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        if let Some(seq) = conn.session.waits()
            && !std::mem::replace(&mut conn.hanging, true)
        {
            self.lane.let_go(now, conn.handle, seq, Ending::Told(How::Nil), &mut self.out);
        }
    }

    /// A connection is closed: its call ends.
    pub(super) fn forget_waiting(&mut self, conn: &mut Conn) {
        if let Some(seq) = conn.session.waits() {
            self.lane.let_go(clock::now(), conn.handle, seq, Ending::Gone, &mut self.out);
        } else if conn.session.asks_locks() {
            self.lane.forget_locks(clock::now(), conn.handle, &mut self.out);
        }
        if let Some(asker) = conn.unblocker.take() {
            self.tell_unblocker(asker, 0);
        }
    }

    /// CLIENT UNBLOCK of a client of this lane.
    pub(super) fn unblock(&mut self, now: Now, client: ClientId, how: How, asker: Option<Asker>) {
        let conn = self.conns.place_of(client).and_then(|place| self.conns.get_mut(place));
        let waits = conn.and_then(|conn| Some((conn.session.waits().filter(|_| conn.unblocker.is_none())?, conn)));
        match waits {
            None => asker.into_iter().for_each(|asker| self.tell_unblocker(asker, 0)),
            Some((seq, conn)) => {
                conn.unblocker = asker;
                self.lane.let_go(now, client, seq, Ending::Told(how), &mut self.out);
            }
        }
    }

    /// The answer to a call that may have waited.
    pub(super) fn deliver_to_waiting(&mut self, place: usize, seq: u64, reply: Reply) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        let ended = is_nothing(&reply) || matches!(&reply, Reply::Error(Refused::Text(text)) if text == UNBLOCKED);
        let (hanging, unblocker) = (std::mem::take(&mut conn.hanging), conn.unblocker.take());
        // How long it waited is no latency.
        if let Some(asked) = conn.asked(seq) {
            self.turn.answered(asked.id);
            if let Reply::Error(why) = &reply {
                self.shared.meters.lanes[usize::from(self.id.0)].failed(asked.id, why);
            }
        }
        conn.on_reply_or_end(&self.shared.settings, seq, reply);
        if hanging && ended {
            self.close(place);
        } else {
            conn.queue_flush(place, &mut self.flush);
        }
        unblocker.into_iter().for_each(|asker| self.tell_unblocker(asker, i64::from(ended)));
    }

    fn tell_unblocker(&self, asker: Asker, ended: i64) {
        let Asker { lane, client, seq } = asker;
        self.shared.mailboxes[lane].put(Input::Answer { client, seq, reply: Reply::Int(ended) });
    }
}

impl Core<'_> {
    /// A command for the binary, of which CLIENT UNBLOCK is answered later: nothing of its connection is served before.
    pub(super) fn admin_or_unblock(&mut self, lane: usize, conn: &mut Conn, call: &Call<'_>) {
        let unblock = admin::unblock(call.command, &call.args);
        let target = unblock.as_ref().and_then(|unblock| unblock.target(self.shared));
        let (Some(unblock), Some((at, client))) = (unblock, target) else { return self.admin(conn, call) };
        conn.session.hold(call.seq);
        conn.waiting.push_back(self.turn.asked(call.seq, call.command.id, None, Box::default()));
        let asker = Some(Asker { lane, client: conn.handle, seq: call.seq });
        self.shared.mailboxes[at].put(Input::Unblock { client, how: unblock.how, asker });
    }
}
