//! A small client of the peer port: it knows the handshake and frames, and nothing of what is polite.

use base::codec::Reader;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use node::PeerMessage;
use sha2::Sha256;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Who a connection says it is.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    pub version: u16,
    pub cluster: u64,
    pub from: u64,
    pub to: u64,
    pub life: u64,
}

/// A link that both ends have proved.
#[derive(Debug)]
pub struct Peer {
    pub stream: TcpStream,
    inbuf: Vec<u8>,
    came: VecDeque<PeerMessage>,
}

pub const HELLO_BYTES: usize = 58;
const PROOF_BYTES: usize = 32;

impl Name {
    /// The hello of this name.
    pub fn hello(&self, nonce: [u8; 16]) -> Vec<u8> {
        let mut hello = b"TIDEPEER".to_vec();
        hello.extend_from_slice(&self.version.to_le_bytes());
        for number in [self.cluster, self.from, self.to, self.life] {
            hello.extend_from_slice(&number.to_le_bytes());
        }
        hello.extend_from_slice(&nonce);
        hello
    }
}

/// A connection to a peer port.
pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the peer port is open");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
    stream.set_nodelay(true).expect("an option can be set");
    stream
}

/// Sends bytes to a peer port, and reads what is answered until the other end closes.
pub fn say(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(port);
    let mut answer = Vec::new();
    // A close with unread bytes is a reset; it may come before all is written.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// What the dialing end proves itself by.
pub fn proof(secret: &[u8], dialed: &[u8], accepted: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key will do");
    [b"dialed", dialed, accepted].into_iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

impl Peer {
    /// Dials and proves itself; an error if the other end doesn't want it.
    pub fn link(port: u16, name: &Name, secret: &[u8]) -> std::io::Result<Self> {
        let mut stream = connect(port);
        let nonce = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1u8);
        let mine = name.hello([nonce.to_le_bytes(), nonce.to_le_bytes()].concat().try_into().expect("sixteen bytes"));
        stream.write_all(&mine)?;
        let mut theirs = [0; HELLO_BYTES];
        stream.read_exact(&mut theirs)?;
        stream.write_all(&proof(secret, &mine, &theirs))?;
        let mut proof = [0; PROOF_BYTES];
        stream.read_exact(&mut proof)?;
        if proof.starts_with(b"TIDE") {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        Ok(Self { stream, inbuf: Vec::new(), came: VecDeque::new() })
    }

    /// One frame of these bytes.
    pub fn send_body(&mut self, body: &[u8]) -> std::io::Result<()> {
        self.send_frame(u32::try_from(body.len()).expect("a test's frame is short"), crc32c::crc32c(body), body)
    }

    /// A frame as it is told, right or wrong.
    pub fn send_frame(&mut self, len: u32, crc: u32, body: &[u8]) -> std::io::Result<()> {
        let head = [len.to_le_bytes(), crc.to_le_bytes()].concat();
        self.stream.write_all(&[&head, body].concat())
    }

    /// One frame of these messages.
    pub fn send(&mut self, messages: &[PeerMessage]) -> std::io::Result<()> {
        let mut body = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut body));
        self.send_body(&body)
    }

    /// The next message.
    pub fn next(&mut self) -> std::io::Result<PeerMessage> {
        loop {
            if let Some(message) = self.came.pop_front() {
                return Ok(message);
            }
            let mut chunk = [0; 16 * 1024];
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.inbuf.extend_from_slice(&chunk[..n]);
            self.take_frames();
        }
    }

    /// Reads until the other end closes; an error if it doesn't in time.
    pub fn wait_for_the_end(&mut self) -> std::io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take_frames(&mut self) {
        loop {
            let Some(head) = self.inbuf.first_chunk::<8>() else { return };
            let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            if self.inbuf.len() < 8 + len {
                return;
            }
            let frame = Bytes::from(self.inbuf.drain(..8 + len).skip(8).collect::<Vec<u8>>());
            let mut reader = Reader::new(&frame);
            while !reader.is_empty() {
                let message = PeerMessage::decode(&mut reader, &frame).expect("a node sends what can be read");
                self.came.push_back(message);
            }
        }
    }
}
