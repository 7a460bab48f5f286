//! The clients of a node as other threads see them: what CLIENT LIST shows.
//!
//! What seldom changes stands in a [`Card`] under the lock of the list. What changes with every request are the
//! [`Vitals`]: relaxed numbers that the client's lane writes once a turn, so that no request takes a lock for them.

use base::{ClientId, Instant};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU16, AtomicU64};

/// One client as CLIENT LIST shows it.
#[derive(Clone, Debug)]
pub struct Card {
    pub lane: usize,
    pub handle: ClientId,
    /// The number of its socket.
    pub descriptor: i32,
    pub addr: SocketAddr,
    pub laddr: SocketAddr,
    pub since: Instant,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub vitals: Arc<Vitals>,
}

/// Numbers of a connection as of its last turn.
#[derive(Debug, Default)]
pub struct Vitals {
    active_ns: AtomicU64,
    input_bytes: AtomicU64,
    input_room_bytes: AtomicU64,
    output_bytes: AtomicU64,
    output_room_bytes: AtomicU64,
    shared_count: AtomicU64,
    shared_bytes: AtomicU64,
    queued: AtomicI64,
    redirect: AtomicI64,
    subscriptions: [AtomicU64; 3],
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    command: AtomicU16,
    sub: AtomicU16,
    flags: AtomicU16,
    db: AtomicU8,
    resp: AtomicU8,
}

/// The same, for a moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When it last asked or was answered.
    pub active_at: Instant,
    /// Bytes of requests that are not complete, or wait, and what room there is for more.
    pub input_bytes: u64,
    pub input_room_bytes: u64,
    /// Bytes of replies that the client has not taken, and the memory of their buffer.
    pub output_bytes: u64,
    pub output_room_bytes: u64,
    /// Pushes whose bytes are shared with other clients.
    pub shared_count: u64,
    pub shared_bytes: u64,
    /// Commands that MULTI has queued.
    pub queued: Option<u64>,
    /// The id of the last command, none before the first; and the place of its subcommand.
    pub command: Option<u16>,
    pub sub: Option<usize>,
    pub db: u8,
    pub resp: u8,
    /// Channels, patterns and shard channels.
    pub subscriptions: [u64; 3],
    /// Who gets its invalidations, 0 for itself; nothing if it tracks nothing.
    pub redirect: Option<u64>,
    pub flags: Flags,
    /// Of its whole life.
    pub read_bytes: u64,
    pub written_bytes: u64,
}

/// What CLIENT LIST shows by letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub monitors: bool,
    pub subscribed: bool,
    pub multi: bool,
    pub blocked: bool,
    pub tracks: bool,
    pub redirect_broken: bool,
    pub broadcast: bool,
    pub closing: bool,
    pub readonly: bool,
    pub no_evict: bool,
    pub no_touch: bool,
}

impl Flags {
    const LETTERS: [char; 11] = ['O', 'P', 'x', 'b', 't', 'R', 'B', 'c', 'r', 'e', 'T'];

    fn all(self) -> [bool; 11] {
        [
            self.monitors,
            self.subscribed,
            self.multi,
            self.blocked,
            self.tracks,
            self.redirect_broken,
            self.broadcast,
            self.closing,
            self.readonly,
            self.no_evict,
            self.no_touch,
        ]
    }

    fn bits(self) -> u16 {
        self.all().into_iter().rev().fold(0, |bits, set| bits << 1 | u16::from(set))
    }

    fn of_bits(bits: u16) -> Self {
        let is = |at: u32| bits >> at & 1 == 1;
        Self {
            monitors: is(0),
            subscribed: is(1),
            multi: is(2),
            blocked: is(3),
            tracks: is(4),
            redirect_broken: is(5),
            broadcast: is(6),
            closing: is(7),
            readonly: is(8),
            no_evict: is(9),
            no_touch: is(10),
        }
    }
}

impl std::fmt::Display for Flags {
    /// As Redis spells them; N for none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Self::default() {
            return f.write_str("N");
        }
        let set = Self::LETTERS.into_iter().zip(self.all()).filter(|(_, set)| *set);
        set.map(|(letter, _)| letter).try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// No command, or no subcommand.
const NONE: u16 = u16::MAX;

impl Vitals {
    /// Written by the lane of the client alone.
    pub fn note(&self, seen: &Seen) {
        let set = |to: &AtomicU64, value: u64| to.store(value, Relaxed);
        let signed = |value: Option<u64>| value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.active_ns, seen.active_at.0);
        set(&self.input_bytes, seen.input_bytes);
        set(&self.input_room_bytes, seen.input_room_bytes);
        set(&self.output_bytes, seen.output_bytes);
        set(&self.output_room_bytes, seen.output_room_bytes);
        set(&self.shared_count, seen.shared_count);
        set(&self.shared_bytes, seen.shared_bytes);
        set(&self.read_bytes, seen.read_bytes);
        set(&self.written_bytes, seen.written_bytes);
        self.subscriptions.iter().zip(seen.subscriptions).for_each(|(to, count)| set(to, count));
        self.queued.store(signed(seen.queued), Relaxed);
        self.redirect.store(signed(seen.redirect), Relaxed);
        self.command.store(seen.command.unwrap_or(NONE), Relaxed);
        self.sub.store(seen.sub.and_then(|at| u16::try_from(at).ok()).unwrap_or(NONE), Relaxed);
        self.flags.store(seen.flags.bits(), Relaxed);
        self.db.store(seen.db, Relaxed);
        self.resp.store(seen.resp, Relaxed);
    }

    pub fn see(&self) -> Seen {
        let number = |of: &AtomicU16| Some(of.load(Relaxed)).filter(|number| *number != NONE);
        Seen {
            active_at: Instant(self.active_ns.load(Relaxed)),
            input_bytes: self.input_bytes.load(Relaxed),
            input_room_bytes: self.input_room_bytes.load(Relaxed),
            output_bytes: self.output_bytes.load(Relaxed),
            output_room_bytes: self.output_room_bytes.load(Relaxed),
            shared_count: self.shared_count.load(Relaxed),
            shared_bytes: self.shared_bytes.load(Relaxed),
            queued: u64::try_from(self.queued.load(Relaxed)).ok(),
            command: number(&self.command),
            sub: number(&self.sub).map(usize::from),
            db: self.db.load(Relaxed),
            resp: self.resp.load(Relaxed),
            subscriptions: std::array::from_fn(|at| self.subscriptions[at].load(Relaxed)),
            redirect: u64::try_from(self.redirect.load(Relaxed)).ok(),
            flags: Flags::of_bits(self.flags.load(Relaxed)),
            read_bytes: self.read_bytes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
        }
    }

    /// Memory of the buffers that are the client's own.
    pub fn buffer_bytes(&self) -> u64 {
        let seen = self.see();
        seen.input_bytes + seen.input_room_bytes + seen.output_room_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_keep_their_letters_on_the_way() {
        let flags = Flags { subscribed: true, tracks: true, broadcast: true, no_touch: true, ..Flags::default() };
        assert_eq!(Flags::of_bits(flags.bits()), flags);
        assert_eq!((flags.to_string(), Flags::default().to_string()), ("PtBT".to_owned(), "N".to_owned()));
        let all = Flags::of_bits(u16::MAX);
        assert_eq!(all.to_string(), "OPxbtRBcreT");
    }
}
