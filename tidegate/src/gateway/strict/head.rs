//! The head of a request: its lines, and what they say of the body's length.

use super::{Framing, HeadLimits, Refused};
use std::ops::Range;

/// A head that is being read; ranges count from its first byte.
#[derive(Debug, Default)]
pub struct Head {
    /// Where the first line begins that isn't read yet.
    line: usize,
    /// Empty lines before the request line.
    empty_lines: usize,
    headers: usize,
    old: bool,
    /// The host and port of a target that has them.
    authority: Option<Range<usize>>,
    seen_request_line: bool,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    /// It asks for another protocol behind its answer.
    upgrade: bool,
}

/// What robust clients send before a request, at most.
const EMPTY_LINES_MAX: usize = 2;

impl Head {
    /// Reads on in `bytes`, which begin with the head. When it is there as a whole: its length, and how the body ends.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<(usize, Framing)>, Refused> {
        loop {
            let from = self.line;
            let Some(end) = memchr::memchr(b'\n', &bytes[from..]).map(|at| from + at) else {
                return self.wait(&bytes[from..], bytes.len(), limits);
            };
            if end + 1 > limits.bytes_max {
                return Err(self.too_large(end - from, limits));
            }
            if end == from || bytes[end - 1] != b'\r' {
                return Err(Refused::BareLf);
            }
            let line = from..end - 1;
            self.line = end + 1;
            match (self.seen_request_line, line.is_empty()) {
                (false, true) => {
                    self.empty_lines += 1;
                    if self.empty_lines > EMPTY_LINES_MAX {
                        return Err(Refused::RequestLine);
                    }
                }
                (false, false) => self.on_request_line(bytes, line, limits)?,
                (true, false) => self.on_header(bytes, line, limits)?,
                (true, true) => return self.end(bytes).map(|framing| Some((end + 1, framing))),
            }
        }
    }

    /// A line has begun and not ended: it may not have become too long by then.
    fn wait(&self, line: &[u8], bytes: usize, limits: &HeadLimits) -> Result<Option<(usize, Framing)>, Refused> {
        if bytes > limits.bytes_max {
            return Err(self.too_large(line.len(), limits));
        }
        Ok(None)
    }

    fn too_large(&self, line_bytes: usize, limits: &HeadLimits) -> Refused {
        let in_target = !self.seen_request_line && line_bytes > limits.target_bytes_max;
        if in_target { Refused::TargetTooLong } else { Refused::HeadTooLarge }
    }

    fn on_request_line(&mut self, bytes: &[u8], line: Range<usize>, limits: &HeadLimits) -> Result<(), Refused> {
        let text = &bytes[line.clone()];
        no_bare_cr(text)?;
        let first = memchr::memchr(b' ', text).ok_or(Refused::RequestLine)?;
        let last = memchr::memrchr(b' ', text).ok_or(Refused::RequestLine)?;
        let method = &text[..first];
        if last <= first + 1 || method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Refused::RequestLine);
        }
        self.old = match &text[last + 1..] {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            other if other.starts_with(b"HTTP/") => return Err(Refused::Version),
            _ => return Err(Refused::RequestLine),
        };
        let target = &text[first + 1..last];
        if target.len() > limits.target_bytes_max {
            return Err(Refused::TargetTooLong);
        }
        if method == b"CONNECT" {
            return Err(Refused::Connect);
        }
        if !target.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'#') {
            return Err(Refused::Target);
        }
        self.authority = authority(method, target)?.map(|range| {
            let at = line.start + first + 1;
            at + range.start..at + range.end
        });
        self.seen_request_line = true;
        Ok(())
    }

    fn on_header(&mut self, bytes: &[u8], line: Range<usize>, limits: &HeadLimits) -> Result<(), Refused> {
        self.headers += 1;
        if self.headers > limits.headers_max {
            return Err(Refused::HeadersTooMany);
        }
        let text = &bytes[line.clone()];
        let (name, value) = field(text)?;
        // The lengths rule out nearly every other name before letters are compared.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.is_some() {
                    return Err(Refused::ManyHosts);
                }
                if !value.iter().all(|byte| is_host(*byte)) {
                    return Err(Refused::BadHost);
                }
                let at = line.end - trimmed_behind(text) - value.len();
                self.host = Some(at..at + value.len());
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = !self.old,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Refused::LengthTwice);
                }
                self.length = Some(length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused::BadEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What comes behind the message may be of another protocol.
    pub fn asks_upgrade(&self) -> bool {
        self.upgrade
    }

    fn end(&self, bytes: &[u8]) -> Result<Framing, Refused> {
        if self.host.is_none() && !self.old {
            return Err(Refused::NoHost);
        }
        if let (Some(target), Some(host)) = (&self.authority, &self.host)
            && !same_host(&bytes[target.clone()], &bytes[host.clone()])
        {
            return Err(Refused::HostMismatch);
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refused::LengthAndEncoding),
            (true, None) if self.old => Err(Refused::OldEncoding),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(bytes)) => Ok(Framing::Counted(bytes)),
            (false, None) => Ok(Framing::None),
        }
    }
}

/// Name and value of a header or trailer in one line.
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    if line.first().is_some_and(|byte| is_blank(*byte)) {
        return Err(Refused::Folded);
    }
    no_bare_cr(line)?;
    let colon = memchr::memchr(b':', line).ok_or(Refused::HeaderName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Refused::HeaderName);
    }
    if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err(Refused::HeaderValue);
    }
    let from = value.iter().position(|byte| !is_blank(*byte)).unwrap_or(value.len());
    let value = &value[from..];
    Ok((name, &value[..value.len() - trimmed_behind(value)]))
}

/// Blanks at the end.
fn trimmed_behind(text: &[u8]) -> usize {
    text.iter().rev().take_while(|byte| is_blank(**byte)).count()
}

/// The host and port of a target that has them; an error if it is of no form that is served.
fn authority(method: &[u8], target: &[u8]) -> Result<Option<Range<usize>>, Refused> {
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok(None);
    }
    let scheme = b"http://";
    if target.len() <= scheme.len() || !target[..scheme.len()].eq_ignore_ascii_case(scheme) {
        return Err(Refused::Target);
    }
    let behind = &target[scheme.len()..];
    let bytes = behind.iter().position(|byte| b"/?".contains(byte)).unwrap_or(behind.len());
    if bytes == 0 || !behind[..bytes].iter().all(|byte| is_host(*byte)) {
        return Err(Refused::Target);
    }
    Ok(Some(scheme.len()..scheme.len() + bytes))
}

/// Equal but for case and the port that http has anyway.
fn same_host(one: &[u8], other: &[u8]) -> bool {
    fn plain(host: &[u8]) -> &[u8] {
        host.strip_suffix(b":80").unwrap_or(host)
    }
    plain(one).eq_ignore_ascii_case(plain(other))
}

fn length(value: &[u8]) -> Result<u64, Refused> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refused::BadLength);
    }
    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or(Refused::BadLength)
}

fn no_bare_cr(line: &[u8]) -> Result<(), Refused> {
    if memchr::memchr(b'\r', line).is_some() { Err(Refused::BareCr) } else { Ok(()) }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The characters of methods and of names of headers (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The characters of a host with its port (RFC 3986, 3.2.2), without those that quote.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte)
}
