//! What may come in from a client, byte by byte: the framing of HTTP/1 as RFC 9112 has it, and nothing that two readers could
//! understand in two ways.
//!
//! Smuggling works where the proxy and the server behind it disagree about where a request ends. hyper reads HTTP as most servers
//! do, leniently: a lone LF ends a line, a length beside an encoding is dropped. So a scanner stands before it, which follows the
//! stream of a connection (head, body, head ..) and lets bytes pass only if there is one way to read them. It parses nothing for
//! others' use: what passes is parsed again, by hyper, which can't differ about it any more.
//!
//! A head passes whole or not at all, so that a refused one was never begun. Bodies pass as they come.

mod chunks;
mod head;

use chunks::Chunks;
use head::Head;
use hyper::StatusCode;

/// The scanner of one connection.
#[derive(Debug)]
pub struct Strict {
    limits: HeadLimits,
    state: State,
    heads: u64,
}

/// What a head may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request line and all headers with their line ends.
    pub bytes_max: usize,
    pub headers_max: usize,
    pub target_bytes_max: usize,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// So many bytes of a body are to come.
    Counted(u64),
    Chunked(Chunks),
}

/// How much of what was shown may pass.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// So many bytes from the front. The others are an unfinished head, to be shown again with more behind it.
    pub passed: usize,
    /// What stands behind them must not pass, ever, nor anything after it.
    pub refused: Option<Refused>,
}

/// How a message ends, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Counted(u64),
    Chunked,
}

impl Strict {
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, state: State::Head(Head::default()), heads: 0 }
    }

    /// Looks at `bytes`: what didn't pass the last time, and what came behind it.
    pub fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let step = match &mut self.state {
                State::Head(head) => head.scan(rest, &self.limits).map(|done| match done {
                    None => (0, false),
                    Some((bytes, framing)) => {
                        self.heads += 1;
                        self.state = State::behind(framing);
                        (bytes, true)
                    }
                }),
                State::Counted(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                    Ok((here, true))
                }
                State::Chunked(chunks) => chunks.scan(rest, self.limits.bytes_max).map(|(bytes, ended)| {
                    if ended {
                        self.state = State::Head(Head::default());
                    }
                    (bytes, true)
                }),
            };
            match step {
                Ok((bytes, true)) => passed += bytes,
                Ok((_, false)) => break,
                Err(refused) => return Scanned { passed, refused: Some(refused) },
            }
        }
        Scanned { passed, refused: None }
    }

    /// Heads that have passed.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// True while a body is being read.
    pub fn in_body(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }
}

impl State {
    fn behind(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Counted(0) => Self::Head(Head::default()),
            Framing::Counted(bytes) => Self::Counted(bytes),
            Framing::Chunked => Self::Chunked(Chunks::default()),
        }
    }
}

/// Why bytes don't pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    RequestLine,
    Version,
    Connect,
    Target,
    TargetTooLong,
    HeadTooLarge,
    HeadersTooMany,
    BareLf,
    BareCr,
    Folded,
    HeaderName,
    HeaderValue,
    NoHost,
    ManyHosts,
    BadHost,
    HostMismatch,
    LengthTwice,
    BadLength,
    LengthAndEncoding,
    BadEncoding,
    OldEncoding,
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
}

impl Refused {
    /// The status, a word for programs, and what is wrong, why it is refused and what to do.
    pub fn told(self) -> (StatusCode, &'static str, &'static str) {
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Self::RequestLine => {
                (bad, "request_line", "the request line isn't `METHOD target HTTP/1.1` with one blank between each")
            }
            Self::Version => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "version",
                "this port speaks HTTP/1.1 and HTTP/1.0: send one of them",
            ),
            Self::Connect => (
                StatusCode::NOT_IMPLEMENTED,
                "connect",
                "CONNECT asks for a tunnel, and this gateway makes none: send requests for what stands behind it",
            ),
            Self::Target => (
                bad,
                "target",
                "the target is neither a path nor an http address of printable ASCII: percent-encode what is no such character",
            ),
            Self::TargetTooLong => (
                StatusCode::URI_TOO_LONG,
                "target_too_long",
                "the target is longer than limits.uri allows: shorten it, or send the rest in a body",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "the headers together are larger than limits.header allows: send less, mostly in cookies",
            ),
            Self::HeadersTooMany => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_many",
                "there are more headers than limits.headers allows: send fewer",
            ),
            Self::BareLf => {
                (bad, "bare_lf", "a line ends by LF without CR, which others read differently: end lines by CR LF")
            }
            Self::BareCr => {
                (bad, "bare_cr", "a CR stands within a line, which others read differently: end lines by CR LF")
            }
            Self::Folded => (
                bad,
                "folded_header",
                "a header goes on in a second line, which others read differently: write it in one",
            ),
            Self::HeaderName => (
                bad,
                "header_name",
                "the name of a header is empty, has characters that no name has, or has a blank before its colon",
            ),
            Self::HeaderValue => (bad, "header_value", "the value of a header has a control character in it"),
            Self::NoHost => (bad, "no_host", "HTTP/1.1 wants a Host header: name the host that you ask"),
            Self::ManyHosts => {
                (bad, "many_hosts", "there is more than one Host header, and it would be chance which counts: send one")
            }
            Self::BadHost => (bad, "bad_host", "the Host header has characters that no host has"),
            Self::HostMismatch => {
                (bad, "host_mismatch", "the target names another host than the Host header: name the same")
            }
            Self::LengthTwice => (
                bad,
                "length_twice",
                "there is more than one Content-Length, and it would be chance which counts: send one",
            ),
            Self::BadLength => (bad, "bad_length", "the Content-Length is no plain number of bytes"),
            Self::LengthAndEncoding => (
                bad,
                "length_and_encoding",
                "there are Content-Length and Transfer-Encoding, and others would go by the other one: send one",
            ),
            Self::BadEncoding => (
                bad,
                "bad_encoding",
                "the Transfer-Encoding isn't exactly `chunked`: send the body in chunks, or with its Content-Length",
            ),
            Self::OldEncoding => (bad, "old_encoding", "HTTP/1.0 has no Transfer-Encoding: send the Content-Length"),
            Self::ChunkSize => (bad, "chunk_size", "the size of a chunk is no plain hexadecimal number"),
            Self::ChunkExtension => {
                (bad, "chunk_extension", "the extension of a chunk is too long, or has a control character in it")
            }
            Self::ChunkEnd => {
                (bad, "chunk_end", "a chunk is not followed by CR LF: its size and its bytes don't agree")
            }
            Self::Trailer => (bad, "trailer", "a trailer is no `name: value` in one line, or they are too large"),
        }
    }
}

#[cfg(test)]
mod tests;
