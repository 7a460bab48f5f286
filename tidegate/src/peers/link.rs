//! One connection to a peer: the handshake, then frames of messages in both directions.
//!
//! A frame is `length u32 | crc32c u32 | messages`: all that a turn has for the peer. Nothing is allocated by a length
//! that a stranger claims, and a frame that is damaged ends the connection.

use super::hello::{End, HELLO_BYTES, Hello, PROOF_BYTES, Stranger, proof, proves};
use base::NodeId;
use base::codec::Reader;
use base::limits::{ENTRY_BYTES_MAX, MIB};
use bytes::{Buf, Bytes, BytesMut};
use mio::net::TcpStream;
use node::PeerMessage;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// A connection; see the module.
#[derive(Debug)]
pub struct Link {
    pub stream: TcpStream,
    end: End,
    mine: Hello,
    /// Whom it is to, once that is said; proved only when `up`.
    theirs: Option<Hello>,
    pub up: bool,
    inbuf: BytesMut,
    /// A frame whose messages are being taken, and how far that is.
    frame_in: Option<(Bytes, usize)>,
    /// There is more to read, or to take, than the last turn's share.
    pub more: bool,
    out: Vec<u8>,
    written: usize,
    /// Since when the socket has taken nothing of what waits for it.
    stuck_since: Option<Instant>,
    /// Where the frame begins that this turn fills, if it has.
    frame: Option<usize>,
    pub since: Instant,
}

/// What a link must know of its cluster.
#[derive(Clone, Debug)]
pub struct Kin {
    pub cluster: u64,
    pub secret: Vec<u8>,
    pub me: NodeId,
    pub life: u64,
}

/// What reading brought.
#[derive(Debug)]
pub enum Came {
    /// The peer has proved who it is.
    Up(NodeId),
    Message(PeerMessage),
}

/// Why a link ended.
#[derive(Debug)]
pub enum Broken {
    Closed,
    Io(std::io::Error),
    Stranger(Stranger),
    /// The other end doesn't speak to this node.
    Refused(Stranger),
    /// A frame that is not what a peer sends.
    Misbehaved(String),
    /// The peer takes too little of what it is sent.
    Slow,
    /// The node was removed from the cluster.
    Removed,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end closed it"),
            Self::Io(error) => error.fmt(f),
            Self::Stranger(stranger) => stranger.fmt(f),
            Self::Refused(stranger) => write!(f, "it refuses this node: {stranger}"),
            Self::Misbehaved(what) => write!(f, "the peer sent {what}"),
            Self::Removed => f.write_str("the node was removed from the cluster"),
            Self::Slow => f.write_str("the peer takes too little of what it is sent"),
        }
    }
}

const HEAD_BYTES: usize = 8;
/// A frame holds a turn's messages; one entry of the largest size fits.
const FRAME_BYTES_MAX: usize = ENTRY_BYTES_MAX + 4 * MIB;
/// A frame that has grown beyond this is closed, and another begun.
const FRAME_BYTES_SOFT: usize = MIB;
/// Frames that wait for a peer; a link that is this far behind is given up, since Raft sends again what counts.
const OUT_BYTES_MAX: usize = FRAME_BYTES_MAX + 64 * MIB;
pub const READ_BYTES: usize = 64 * 1024;
/// What a link may read, and take, in one turn: others wait so long, and no more than this is in memory in the form of
/// messages, which are larger than their bytes.
const TURN_BYTES: usize = 256 * 1024;
/// The least that a message counts: so many small ones as these make a turn's share.
const MESSAGE_BYTES_MIN: usize = 512;
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_BYTES_MAX: usize = MIB;

impl Link {
    pub fn new(stream: TcpStream, end: End, mine: Hello) -> Self {
        Self {
            stream,
            end,
            mine,
            theirs: None,
            up: false,
            inbuf: BytesMut::new(),
            frame_in: None,
            more: false,
            out: mine.encode().to_vec(),
            written: 0,
            stuck_since: None,
            frame: None,
            since: Instant::now(),
        }
    }

    /// Whom it is to, if that is said.
    pub fn peer(&self) -> Option<NodeId> {
        match self.end {
            End::Dialed => Some(self.mine.to),
            End::Accepted => self.theirs.map(|hello| hello.from),
        }
    }

    /// True if the other end came here.
    pub fn is_accepted(&self) -> bool {
        self.end == End::Accepted
    }

    /// The life that the peer says it leads.
    pub fn their_life(&self) -> Option<u64> {
        self.theirs.map(|hello| hello.life)
    }

    /// What the peer has not taken yet.
    pub fn backlog_bytes(&self) -> usize {
        self.out.len() - self.written
    }

    /// Puts a message into the turn's frame, or into the next one if that is large already.
    pub fn put(&mut self, message: &PeerMessage) {
        if self.frame.is_some_and(|at| self.out.len() - at > FRAME_BYTES_SOFT) {
            self.close_frame();
        }
        if self.frame.is_none() {
            self.frame = Some(self.out.len());
            self.out.extend_from_slice(&[0; HEAD_BYTES]);
        }
        message.encode(&mut self.out);
    }

    /// Gives the turn's frame its head.
    fn close_frame(&mut self) {
        let Some(at) = self.frame.take() else { return };
        let body = &self.out[at + HEAD_BYTES..];
        let len = u32::try_from(body.len()).expect("a frame is closed before it is large, and no message is larger");
        let crc = crc32c::crc32c(body);
        self.out[at..at + 4].copy_from_slice(&len.to_le_bytes());
        self.out[at + 4..at + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Closes the turn's frame and writes what the socket takes.
    pub fn flush(&mut self) -> Result<(), Broken> {
        self.close_frame();
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(Broken::Closed),
                Ok(n) => {
                    self.written += n;
                    self.stuck_since = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    self.stuck_since.get_or_insert_with(Instant::now);
                    if self.out.len() - self.written > OUT_BYTES_MAX {
                        return Err(Broken::Slow);
                    }
                    return Ok(());
                }
                Err(error) => return Err(Broken::Io(error)),
            }
        }
        self.out.clear();
        if self.out.capacity() > KEPT_BYTES_MAX {
            self.out = Vec::new();
        }
        self.written = 0;
        Ok(())
    }

    /// How long the peer has taken nothing of what waits for it.
    pub fn stuck_for(&self) -> Duration {
        self.stuck_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Reads what there is, up to a turn's share: then there is more. It goes through `chunk`, which all links share. `admits` says whether a peer that has said its name may go on.
    pub fn read(
        &mut self,
        kin: &Kin,
        admits: impl Fn(&Hello) -> Result<(), Stranger>,
        chunk: &mut [u8],
        came: &mut Vec<Came>,
    ) -> Result<(), Broken> {
        let (mut bytes, mut left) = (0, TURN_BYTES);
        self.more = false;
        self.take(kin, &admits, &mut left, came)?;
        loop {
            if bytes >= TURN_BYTES || left == 0 {
                self.more = true;
                return Ok(());
            }
            match self.stream.read(chunk) {
                Ok(0) => return Err(Broken::Closed),
                Ok(n) => {
                    self.inbuf.extend_from_slice(&chunk[..n]);
                    bytes += n;
                    self.take(kin, &admits, &mut left, came)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Broken::Io(error)),
            }
        }
    }

    fn take(
        &mut self,
        kin: &Kin,
        admits: &impl Fn(&Hello) -> Result<(), Stranger>,
        left: &mut usize,
        came: &mut Vec<Came>,
    ) -> Result<(), Broken> {
        if self.theirs.is_none() && self.inbuf.len() >= HELLO_BYTES {
            self.meet(kin, admits)?;
        }
        if let (Some(theirs), false) = (self.theirs, self.up)
            && self.inbuf.len() >= PROOF_BYTES
        {
            let given = self.inbuf.split_to(PROOF_BYTES);
            let other = if self.end == End::Dialed { End::Accepted } else { End::Dialed };
            let (dialed, accepted) = self.hellos(&theirs);
            if let Some(stranger) = Stranger::told(&given, kin.me) {
                return Err(Broken::Refused(stranger));
            }
            if !proves(&kin.secret, other, &dialed, &accepted, &given) {
                return Err(Broken::Stranger(Stranger::WrongSecret(theirs.from)));
            }
            self.up = true;
            came.push(Came::Up(theirs.from));
        }
        while self.up && *left > 0 {
            let Some((frame, at)) = self.frame_in.take() else {
                self.frame_in = self.next_frame()?.map(|frame| (frame, 0));
                if self.frame_in.is_none() {
                    break;
                }
                continue;
            };
            let taken = messages(&frame, at, left, came)?;
            self.frame_in = Some((frame, taken)).filter(|(frame, taken)| *taken < frame.len());
        }
        Ok(())
    }

    /// The next frame, if it is all there.
    fn next_frame(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(head) = self.inbuf.get(..HEAD_BYTES) else { return Ok(None) };
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (len, crc) = (number(0) as usize, number(4));
        if len > FRAME_BYTES_MAX {
            return Err(Broken::Misbehaved("a frame that is too long".to_owned()));
        }
        if self.inbuf.len() < HEAD_BYTES + len {
            return Ok(None);
        }
        self.inbuf.advance(HEAD_BYTES);
        let frame = self.inbuf.split_to(len).freeze();
        if crc32c::crc32c(&frame) != crc {
            return Err(Broken::Misbehaved("a damaged frame".to_owned()));
        }
        Ok(Some(frame))
    }

    /// The other end has said who it is: it gets the proof, if it may go on.
    fn meet(&mut self, kin: &Kin, admits: &impl Fn(&Hello) -> Result<(), Stranger>) -> Result<(), Broken> {
        let bytes = self.inbuf.split_to(HELLO_BYTES);
        let theirs = Hello::decode(bytes[..].try_into().expect("it was counted")).map_err(Broken::Stranger)?;
        let wrong = if theirs.cluster != kin.cluster {
            Some(Stranger::Cluster(theirs.cluster))
        } else if theirs.to != kin.me && theirs.to != NodeId(0) {
            Some(Stranger::NotForMe(theirs.to))
        } else if self.end == End::Dialed && theirs.from != self.mine.to {
            Some(Stranger::NotAMember(theirs.from))
        } else {
            admits(&theirs).err()
        };
        if let Some(stranger) = wrong {
            if let Some(refusal) = stranger.refusal() {
                self.out.extend_from_slice(&refusal);
                // It is a courtesy: the link ends either way.
                let _ = self.flush();
            }
            return Err(Broken::Stranger(stranger));
        }
        self.theirs = Some(theirs);
        let (dialed, accepted) = self.hellos(&theirs);
        self.out.extend_from_slice(&proof(&kin.secret, self.end, &dialed, &accepted));
        self.flush()
    }

    /// Both hellos, the dialing end's first.
    fn hellos(&self, theirs: &Hello) -> ([u8; HELLO_BYTES], [u8; HELLO_BYTES]) {
        match self.end {
            End::Dialed => (self.mine.encode(), theirs.encode()),
            End::Accepted => (theirs.encode(), self.mine.encode()),
        }
    }
}

/// Messages of a frame from the byte `at` on, of `left` bytes or one more message; where the next one begins.
fn messages(frame: &Bytes, at: usize, left: &mut usize, came: &mut Vec<Came>) -> Result<usize, Broken> {
    let mut reader = Reader::new(&frame[at..]);
    while !reader.is_empty() && *left > 0 {
        let before = reader.rest().len();
        let message = PeerMessage::decode(&mut reader, frame)
            .map_err(|why| Broken::Misbehaved(format!("a message that can't be read: {why}")))?;
        came.push(Came::Message(message));
        *left = left.saturating_sub((before - reader.rest().len()).max(MESSAGE_BYTES_MIN));
    }
    Ok(frame.len() - reader.rest().len())
}
