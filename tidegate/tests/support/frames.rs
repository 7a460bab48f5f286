//! A client of HTTP/2 that sends frames as they are, whether they make sense or not.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// The pseudo-headers of a plain request.
pub const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/x")];

/// A connection, its preface and first settings sent.
#[derive(Debug)]
pub struct Frames {
    pub stream: TcpStream,
}

/// A frame that came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The bytes of its body.
    Answered(String),
    /// The stream's error.
    Reset(u32),
    /// The connection's.
    Gone(u32),
    /// The connection ended without a word.
    Closed,
}

impl Frames {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it takes connections");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
        stream.set_write_timeout(Some(Duration::from_secs(30))).expect("it can be set");
        stream.set_nodelay(true).expect("it can be set");
        let mut frames = Self { stream };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it is read");
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.stream.write_all(&frame(kind, flags, stream, payload)).is_ok()
    }

    /// A whole request without a body.
    pub fn ask(&mut self, stream: u32, headers: &[(&str, &str)]) -> Outcome {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block(headers));
        self.outcome(stream)
    }

    /// The next frame; none at the end.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        if let Err(error) = self.stream.read_exact(&mut head) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "nothing comes, and it isn't ended");
            return None;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("24 bits")];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if (head[3], head[4]) == (PING, 0) {
            // Who asks whether this end is there is told so.
            let _ = self.stream.write_all(&frame(PING, 1, 0, &payload));
        }
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// How much of a body may be unread, as the other end's first settings say.
    pub fn stream_window(&mut self) -> usize {
        let settings = std::iter::from_fn(|| self.next()).find(|frame| frame.kind == SETTINGS && frame.flags == 0);
        let settings = settings.expect("they come first").payload;
        let window = settings.chunks(6).find(|setting| setting[..2] == [0, 4]).expect("it is set");
        u32::from_be_bytes(window[2..].try_into().expect("four bytes")) as usize
    }

    /// Neither reads nor writes for so long.
    pub fn rest(&mut self, time: Duration) {
        let (_kept, never) = std::sync::mpsc::channel::<()>();
        let _ = never.recv_timeout(time);
    }

    /// What becomes of a stream; what comes for others is skipped.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let mut body = Vec::new();
        while let Some(frame) = self.next() {
            let error = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four bytes"));
            match frame.kind {
                GOAWAY => return Outcome::Gone(error(4)),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(error(0)),
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
            if ends && frame.stream == stream {
                return Outcome::Answered(String::from_utf8_lossy(&body).into_owned());
            }
        }
        Outcome::Closed
    }

    /// True when the other end closes, whatever it says before.
    pub fn ends(&mut self) -> bool {
        while self.next().is_some() {}
        true
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Headers in HPACK, each written out.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn number(bytes: &mut Vec<u8>, mut number: usize) {
    let byte = |number: usize| u8::try_from(number).expect("below 128");
    if number < 127 {
        return bytes.push(byte(number));
    }
    bytes.push(127);
    number -= 127;
    while number >= 128 {
        bytes.push(byte(number % 128) | 128);
        number /= 128;
    }
    bytes.push(byte(number));
}

/// A plain request with other headers behind it.
pub fn get_with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    GET.iter().chain(more).copied().collect()
}

/// A plain request with one pseudo-header changed.
pub fn get_but<'a>(name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    GET.iter().map(|(other, old)| (*other, if *other == name { value } else { *old })).collect()
}
