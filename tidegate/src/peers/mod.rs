//! The links of a lane to the other nodes: dialed, accepted, lost and dialed again.
//!
//! Of two nodes the one with the smaller id dials. A link serves once both ends have proved that they know the cluster's
//! secret. What a link loses is not sent again: Raft asks for what counts, and requests are told that it broke.

pub mod hello;
mod link;

use crate::log;
use base::{NodeId, Roster};
use hello::{End, Hello, Stranger};
use link::{Broken, Came, Kin, Link, READ_BYTES};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use node::PeerMessage;
use socket2::TcpKeepalive;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Who belongs to the cluster, and who this node is in it.
#[derive(Clone, Debug)]
pub struct Kinship {
    pub cluster: u64,
    pub secret: Vec<u8>,
    pub me: NodeId,
    pub life: u64,
    pub members: Vec<Member>,
    /// The lives that other nodes led when they were last met.
    pub lives: BTreeMap<NodeId, u64>,
}

/// A node and where it listens for peers.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: NodeId,
    pub address: SocketAddr,
}

/// See the module.
#[derive(Debug)]
pub struct Peers {
    kin: Kin,
    members: Vec<Member>,
    lives: BTreeMap<NodeId, u64>,
    /// Since when there has been no link at all, or all were dialed.
    lonely_since: Instant,
    /// Nodes that were removed and may never come back.
    gone: BTreeSet<NodeId>,
    listener: TcpListener,
    links: Vec<Option<Link>>,
    /// What links read through.
    chunk: Box<[u8]>,
    /// What a link has brought, empty between links.
    came: Vec<Came>,
    /// The link that serves, by node.
    up: BTreeMap<NodeId, usize>,
    /// When a node is dialed next.
    dial_at: BTreeMap<NodeId, (Instant, Duration)>,
    /// Said already: a stranger that comes back each second is logged once.
    told: BTreeMap<String, Instant>,
    /// Nodes that misbehaved, and until when they are not spoken to.
    barred: BTreeMap<NodeId, Instant>,
    pub counts: Counts,
}

/// How often others were not what they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that ended before they had proved that they belong here.
    pub strangers: u64,
    /// Links that were ended for what a proved peer sent.
    pub misbehaved: u64,
}

/// What a readiness event brought.
#[derive(Debug)]
pub enum Event {
    Up { peer: NodeId, life: u64 },
    Message { peer: NodeId, message: PeerMessage },
    Lost { peer: NodeId },
}

/// Tokens of the listener and the links, from here on.
pub const TOKENS: usize = 1 << 40;
const DIAL_MIN: Duration = Duration::from_millis(20);
const DIAL_MAX: Duration = Duration::from_secs(1);
/// Without any link for so long, a node dials those too that should dial it.
const LONELY_MAX: Duration = Duration::from_secs(3);
/// A handshake takes no longer; the first packet of a dial is sent twice in that time.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// What a peer's machine has not taken in this time ends the link. TCP alone would try for a quarter of an hour, ever more
/// seldom, and so find out late that a partition has ended.
const DELIVERY_MAX: Duration = Duration::from_millis(1_000);
/// Connections that are not proved yet.
const STRANGERS_MAX: usize = 32;
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Different things said in that time: strangers can make up any number of them.
const TOLD_COUNT_MAX: usize = 256;
/// A peer that misbehaved is not spoken to for so long.
const BARRED: Duration = Duration::from_secs(1);
/// A peer that takes nothing of what is sent for so long is given up.
const STUCK_MAX: Duration = Duration::from_secs(5);

impl Peers {
    pub fn new(kinship: Kinship, listener: std::net::TcpListener, registry: &Registry) -> std::io::Result<Self> {
        let Kinship { cluster, secret, me, life, members, lives } = kinship;
        let mut listener = TcpListener::from_std(listener);
        registry.register(&mut listener, Token(TOKENS), Interest::READABLE)?;
        let dialed = members.iter().filter(|member| me < member.id);
        let dial_at = dialed.map(|member| (member.id, (Instant::now(), DIAL_MIN))).collect();
        let kin = Kin { cluster, secret, me, life };
        let (links, up, told) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let chunk = vec![0; READ_BYTES].into_boxed_slice();
        let (gone, barred, counts) = (BTreeSet::new(), BTreeMap::new(), Counts::default());
        Ok(Self {
            chunk,
            came: Vec::new(),
            kin,
            members,
            lives,
            lonely_since: Instant::now(),
            gone,
            listener,
            links,
            up,
            dial_at,
            told,
            barred,
            counts,
        })
    }

    /// Who belongs to the cluster from now on. Links to others end.
    pub fn follow(&mut self, roster: &Roster, registry: &Registry, events: &mut Vec<Event>) {
        let mut members = Vec::new();
        for (id, card) in roster.cards() {
            match card.peers.parse() {
                Ok(address) => members.push(Member { id: *id, address }),
                Err(_) => self.tell(&format!("node {:016x} listens at '{}', which is no address", id.0, card.peers)),
            }
        }
        self.gone.clone_from(roster.gone());
        for member in &members {
            let known = self.members.iter().any(|known| known.id == member.id && known.address == member.address);
            if self.kin.me < member.id && !known {
                self.dial_at.insert(member.id, (Instant::now(), DIAL_MIN));
            }
        }
        self.members = members;
        self.dial_at.retain(|node, _| self.members.iter().any(|member| member.id == *node));
        for at in 0..self.links.len() {
            let peer = self.links[at].as_ref().and_then(Link::peer);
            if peer.is_some_and(|peer| self.gone.contains(&peer)) {
                self.end(at, &Broken::Removed, registry, events);
            }
        }
    }

    /// Puts a message into the frame of this turn; false if there is no link to that node.
    pub fn put(&mut self, to: NodeId, message: &PeerMessage) -> bool {
        let Some(link) = self.up.get(&to).and_then(|at| self.links[*at].as_mut()) else { return false };
        link.put(message);
        true
    }

    /// What a node has not taken of what it is sent.
    pub fn backlog_bytes(&self, to: NodeId) -> usize {
        self.up.get(&to).and_then(|at| self.links[*at].as_ref()).map_or(0, Link::backlog_bytes)
    }

    /// Sends the frames of this turn.
    pub fn flush(&mut self, registry: &Registry, events: &mut Vec<Event>) {
        for at in self.up.values().copied().collect::<Vec<_>>() {
            if let Some(Err(broken)) = self.links[at].as_mut().map(Link::flush) {
                self.end(at, &broken, registry, events);
            }
        }
    }

    /// A readiness event of the listener or a link.
    pub fn on_ready(&mut self, event: &mio::event::Event, registry: &Registry, events: &mut Vec<Event>) {
        match event.token().0.checked_sub(TOKENS + 1) {
            None => self.accept(registry),
            Some(at) => self.on_link(at, registry, events),
        }
    }

    /// Dials who is due, and ends handshakes that take too long; when to come back.
    pub fn on_time(&mut self, registry: &Registry, events: &mut Vec<Event>) -> Duration {
        let now = Instant::now();
        self.dial_all_if_lonely(now, registry);
        let due: Vec<NodeId> = self.dial_at.iter().filter(|(_, (at, _))| *at <= now).map(|(node, _)| *node).collect();
        for node in due {
            let (_, pause) = self.dial_at.remove(&node).expect("it was just there");
            self.dial_at.insert(node, (now + pause, (pause * 2).min(DIAL_MAX)));
            if !self.links.iter().flatten().any(|link| link.peer() == Some(node)) {
                self.dial(node, registry);
            }
        }
        for at in 0..self.links.len() {
            let Some(link) = &self.links[at] else { continue };
            if !link.up && link.since.elapsed() > HANDSHAKE_MAX {
                self.end(at, &Broken::Misbehaved("no proof in time".to_owned()), registry, events);
            } else if link.stuck_for() > STUCK_MAX {
                self.end(at, &Broken::Slow, registry, events);
            }
        }
        let next = self.dial_at.values().map(|(at, _)| at.saturating_duration_since(now)).min();
        next.unwrap_or(DIAL_MAX).clamp(DIAL_MIN, DIAL_MAX)
    }

    /// A node that nobody dials may have been removed: it asks, and is told.
    fn dial_all_if_lonely(&mut self, now: Instant, registry: &Registry) {
        if !self.up.is_empty() {
            self.lonely_since = now;
        } else if now.duration_since(self.lonely_since) > LONELY_MAX {
            self.lonely_since = now;
            let smaller = self.members.iter().map(|member| member.id).filter(|id| *id < self.kin.me);
            smaller.collect::<Vec<_>>().into_iter().for_each(|node| self.dial(node, registry));
        }
    }

    fn dial(&mut self, node: NodeId, registry: &Registry) {
        let Some(member) = self.members.iter().find(|member| member.id == node) else { return };
        match TcpStream::connect(member.address) {
            Ok(stream) => {
                let hello = self.hello(node);
                self.admit(Link::new(stream, End::Dialed, hello), registry);
            }
            Err(error) => self.tell(&format!("{} can't be dialed: {error}", member.address)),
        }
    }

    fn hello(&self, to: NodeId) -> Hello {
        let mut nonce = [0; 16];
        // Unique for the connection is enough, and guessing it helps nobody who lacks the secret.
        let drawn = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), Instant::now());
        nonce[..8].copy_from_slice(&drawn.to_le_bytes());
        let drawn = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), drawn);
        nonce[8..].copy_from_slice(&drawn.to_le_bytes());
        let Kin { cluster, me, life, .. } = self.kin;
        Hello { cluster, from: me, to, life, nonce }
    }

    fn accept(&mut self, registry: &Registry) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.make_room_for_a_stranger(registry);
                    let hello = self.hello(NodeId(0));
                    self.admit(Link::new(stream, End::Accepted, hello), registry);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => return self.tell(&format!("a peer can't be accepted: {error}")),
            }
        }
    }

    fn admit(&mut self, mut link: Link, registry: &Registry) {
        let at = self.links.iter().position(Option::is_none).unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut link.stream, Token(TOKENS + 1 + at), interest) {
            return self.tell(&format!("a link can't be polled: {error}"));
        }
        // Frames should leave at once, and a machine that is gone without a word be noticed; a socket that refuses is
        // slower, and works.
        let _ = link.stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&link.stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(STUCK_MAX));
        // One that can't be bounded is slower to heal, and works.
        let _ = socket2::SockRef::from(&link.stream).set_tcp_user_timeout(Some(DELIVERY_MAX));
        self.links[at] = Some(link);
    }

    /// A crowd that connects and proves nothing doesn't keep peers out: who has waited longest makes room.
    fn make_room_for_a_stranger(&mut self, registry: &Registry) {
        let strangers = self.links.iter().enumerate().filter_map(|(at, link)| {
            link.as_ref().filter(|link| !link.up && link.is_accepted()).map(|link| (link.since, at))
        });
        let strangers: Vec<_> = strangers.collect();
        if strangers.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = strangers.iter().min()
        {
            self.counts.strangers += 1;
            self.drop_link(*oldest, registry);
            self.tell("there are more connections to the peer port than have proved that they are peers");
        }
    }

    /// True while links have more for this node than the last turn's share.
    pub fn has_more(&self) -> bool {
        self.links.iter().flatten().any(|link| link.more)
    }

    /// Goes on with links that had more than a turn's share.
    pub fn go_on(&mut self, registry: &Registry, events: &mut Vec<Event>) {
        for at in 0..self.links.len() {
            if self.links[at].as_ref().is_some_and(|link| link.more) {
                self.on_link(at, registry, events);
            }
        }
    }

    /// A peer sent what no node that keeps the rules would: its link ends.
    pub fn on_misbehaved(&mut self, peer: NodeId, what: &str, registry: &Registry, events: &mut Vec<Event>) {
        if let Some(at) = self.up.get(&peer).copied() {
            self.end(at, &Broken::Misbehaved(what.to_owned()), registry, events);
        }
    }

    fn on_link(&mut self, at: usize, registry: &Registry, events: &mut Vec<Event>) {
        let Some(link) = self.links.get_mut(at).and_then(Option::as_mut) else { return };
        let (members, lives, gone, me) = (&self.members, &self.lives, &self.gone, self.kin.me);
        let barred = &self.barred;
        let admits = |hello: &Hello| {
            if gone.contains(&hello.from) {
                return Err(Stranger::Removed(hello.from));
            }
            if hello.from == me || !members.iter().any(|member| member.id == hello.from) {
                return Err(Stranger::NotAMember(hello.from));
            }
            if barred.get(&hello.from).is_some_and(|until| Instant::now() < *until) {
                return Err(Stranger::Barred(hello.from));
            }
            match lives.get(&hello.from) {
                Some(known) if *known != hello.life => Err(Stranger::LostItsDisk(hello.from)),
                _ => Ok(()),
            }
        };
        let mut came = std::mem::take(&mut self.came);
        let read = match link.flush() {
            Ok(()) => link.read(&self.kin, admits, &mut self.chunk, &mut came),
            Err(broken) => Err(broken),
        };
        let (mut peer, life) = (link.peer(), link.their_life());
        for one in came.drain(..) {
            match one {
                Came::Up(node) => {
                    peer = Some(node);
                    if let Some(old) = self.up.insert(node, at).filter(|old| *old != at) {
                        // The peer has come anew: what was on the old link is lost.
                        self.drop_link(old, registry);
                        events.push(Event::Lost { peer: node });
                    }
                    self.dial_at.remove(&node);
                    let life = life.expect("who is up has said its life");
                    self.lives.insert(node, life);
                    events.push(Event::Up { peer: node, life });
                }
                Came::Message(message) => {
                    let peer = peer.expect("only who is up sends messages");
                    events.push(Event::Message { peer, message });
                }
            }
        }
        self.came = came;
        if let Err(broken) = read {
            self.end(at, &broken, registry, events);
        }
    }

    /// A link has ended: the node is dialed again, if this one dials.
    fn end(&mut self, at: usize, broken: &Broken, registry: &Registry, events: &mut Vec<Event>) {
        let Some(link) = self.drop_link(at, registry) else { return };
        let peer = link.peer();
        let name = peer.map_or("an unknown peer".to_owned(), |node| format!("node {:016x}", node.0));
        match broken {
            Broken::Closed | Broken::Io(_) if !link.up => {}
            _ => self.tell(&format!("the link to {name} ended: {broken}")),
        }
        self.counts.strangers += u64::from(!link.up && link.is_accepted());
        let Some(peer) = peer else { return };
        let mut dial_at = Instant::now();
        if link.up && matches!(broken, Broken::Misbehaved(_)) {
            self.counts.misbehaved += 1;
            dial_at += BARRED;
            self.barred.insert(peer, dial_at);
        }
        if self.up.get(&peer) == Some(&at) {
            self.up.remove(&peer);
            events.push(Event::Lost { peer });
            if self.kin.me < peer && self.members.iter().any(|member| member.id == peer) {
                self.dial_at.insert(peer, (dial_at, DIAL_MIN));
            }
        }
    }

    fn drop_link(&mut self, at: usize, registry: &Registry) -> Option<Link> {
        let mut link = self.links.get_mut(at)?.take()?;
        // Closing ends the registration too.
        let _ = registry.deregister(&mut link.stream);
        Some(link)
    }

    fn tell(&mut self, what: &str) {
        let now = Instant::now();
        self.told.retain(|_, at| now.duration_since(*at) < TELL_AGAIN);
        if self.told.len() < TOLD_COUNT_MAX && self.told.insert(what.to_owned(), now).is_none() {
            log::warn("peers", what, &[]);
        }
    }
}
