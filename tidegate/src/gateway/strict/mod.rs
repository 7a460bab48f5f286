//! What may come in from a client, byte by byte: the framing of HTTP/1 as RFC 9112 has it, and nothing that two readers could
//! understand in two ways.
//!
//! Smuggling works where the proxy and the server behind it disagree about where a request ends. hyper reads HTTP as most servers
//! do, leniently: a lone LF ends a line, a length beside an encoding is dropped. So a scanner stands before it, which follows the
//! stream of a connection (head, body, head ..) and lets bytes pass only if there is one way to read them. It parses nothing for
//! others' use: what passes is parsed again, by hyper, which can't differ about it any more.
//!
//! Behind a request that asks for another protocol (`Upgrade`) nothing passes until it is answered: only then is it known whether
//! the next bytes are HTTP.
//!
//! A head passes whole or not at all, so that a refused one was never begun. Bodies pass as they come.

mod chunks;
mod head;
mod refused;

use chunks::Chunks;
use head::Head;
pub use refused::Refused;

/// The scanner of one connection.
#[derive(Debug)]
pub struct Strict {
    limits: HeadLimits,
    state: State,
    heads: u64,
    /// The message that is being read asks for another protocol.
    upgrade: bool,
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
    /// Nothing passes until somebody says that it is HTTP.
    Paused,
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
        Self { limits, state: State::Head(Head::default()), heads: 0, upgrade: false }
    }

    /// Looks at `bytes`: what didn't pass the last time, and what came behind it.
    pub fn scan(&mut self, bytes: &[u8]) -> Scanned {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let step = match &mut self.state {
                State::Head(head) => match head.scan(rest, &self.limits) {
                    Ok(None) => Ok((0, false)),
                    Ok(Some((bytes, framing))) => {
                        self.heads += 1;
                        self.upgrade = head.asks_upgrade();
                        self.state = State::of_body(framing).unwrap_or_else(|| State::behind(self.upgrade));
                        Ok((bytes, true))
                    }
                    Err(refused) => Err(refused),
                },
                State::Counted(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::behind(self.upgrade);
                    }
                    Ok((here, true))
                }
                State::Chunked(chunks) => chunks.scan(rest, self.limits.bytes_max).map(|(bytes, ended)| {
                    if ended {
                        self.state = State::behind(self.upgrade);
                    }
                    (bytes, true)
                }),
                State::Paused => Ok((0, false)),
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
        matches!(self.state, State::Counted(_) | State::Chunked(_))
    }

    /// The last request that passed asks for another protocol, and isn't answered.
    pub fn is_paused(&self) -> bool {
        matches!(self.state, State::Paused)
    }

    /// It was answered as any other: what comes is HTTP.
    pub fn resume(&mut self) {
        if self.is_paused() {
            self.state = State::behind(false);
        }
    }
}

impl State {
    /// None if there is no body.
    fn of_body(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None | Framing::Counted(0) => None,
            Framing::Counted(bytes) => Some(Self::Counted(bytes)),
            Framing::Chunked => Some(Self::Chunked(Chunks::default())),
        }
    }

    /// Behind a message.
    fn behind(upgrade: bool) -> Self {
        if upgrade { Self::Paused } else { Self::Head(Head::default()) }
    }
}

#[cfg(test)]
mod tests;
