//! The PROXY protocol, versions 1 and 2: what a balancer says before a connection that it passes on, of who has made it.
//!
//! ```text
//! PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n                     version 1: one line
//! 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | 21 | 11 | length | addresses, then type-length-values    version 2
//! ```
//!
//! Whoever may say it may say anything, so it is read in one way or not at all: what isn't exactly of the form is refused, and so is
//! what is longer than anybody has a use for. Whether it must be there is the listener's affair, never guessed from the bytes.
//! (haproxy.org, proxy-protocol.txt, sections 2.1 and 2.2.)

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// So many bytes it takes; what follows is the connection's own.
    pub bytes: usize,
    /// Who has connected; none if it is the balancer itself, or no address of the internet.
    pub source: Option<SocketAddr>,
}

/// Why bytes can be no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// They begin as no header does.
    NoHeader,
    TooLong,
    /// Of version 1.
    Line,
    Address,
    Port,
    /// Of version 2.
    Command,
    Family,
    Length,
}

/// A line of version 1 with its end.
const LINE_BYTES_MAX: usize = 107;
/// What follows the fixed part of version 2; the addresses take 216 at most, the rest are certificates' names and the like.
pub const REST_BYTES_MAX: usize = 4096;
const FIXED_BYTES: usize = 16;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";
const UNKNOWN: &[u8] = b"UNKNOWN";

/// The header at the beginning of `bytes`; none if more is needed to know.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if begins(bytes, WORD) {
        line(bytes)
    } else if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else {
        Err(Malformed::NoHeader)
    }
}

/// True if `bytes` begin by `wanted`, as far as both go.
fn begins(bytes: &[u8], wanted: &[u8]) -> bool {
    let both = bytes.len().min(wanted.len());
    bytes[..both] == wanted[..both]
}

fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed::TooLong) };
    };
    let rest = window[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(WORD)).ok_or(Malformed::Line)?;
    // Whatever follows that word is to be ignored (2.1).
    let source = if rest == UNKNOWN || (rest.starts_with(UNKNOWN) && rest[UNKNOWN.len()] == b' ') {
        None
    } else {
        let text = core::str::from_utf8(rest).ok().filter(|text| text.is_ascii());
        Some(addresses(text.ok_or(Malformed::Line)?)?)
    };
    Ok(Some(Header { bytes: end + 1, source }))
}

/// `TCP4 SOURCE DESTINATION PORT PORT`: the source.
fn addresses(text: &str) -> Result<SocketAddr, Malformed> {
    let mut words = text.split(' ');
    let mut next = || words.next().ok_or(Malformed::Line);
    let (family, source, destination) = (next()?, next()?, next()?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(Malformed::Line);
    }
    let address = |text: &str| -> Result<IpAddr, Malformed> {
        let parsed = match family {
            "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
            _ => return Err(Malformed::Family),
        };
        parsed.ok_or(Malformed::Address)
    };
    let (source, _) = (address(source)?, address(destination)?);
    let _ = destination_port;
    Ok(SocketAddr::new(source, source_port))
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed::Port)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    // What is wrong is told as soon as it is there.
    let command = bytes.get(12).copied();
    if command.is_some_and(|command| command != 0x20 && command != 0x21) {
        return Err(Malformed::Command);
    }
    let local = command == Some(0x20);
    let family = bytes.get(13).copied();
    if family.is_some_and(|family| !local && address_bytes(family).is_none()) {
        return Err(Malformed::Family);
    }
    let (Some(family), Some(length)) = (family, bytes.get(14..FIXED_BYTES)) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > REST_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let addresses = if local { 0 } else { address_bytes(family).ok_or(Malformed::Family)? };
    if length < addresses {
        return Err(Malformed::Length);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(None) };
    // What says nothing of the client is passed over whole.
    if !local && family != 0 {
        check_values(&rest[addresses..])?;
    }
    let source = if local { None } else { source(family, rest) };
    Ok(Some(Header { bytes: FIXED_BYTES + length, source }))
}

/// What the addresses of a family take; none for families that no listener of streams has.
fn address_bytes(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 => Some(12),
        0x21 => Some(36),
        0x31 => Some(216),
        _ => None,
    }
}

fn source(family: u8, rest: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let ip: [u8; 4] = rest.get(..4)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port(8)?))
        }
        0x21 => {
            let ip: [u8; 16] = rest.get(..16)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port(32)?))
        }
        _ => None,
    }
}

/// Values behind the addresses, none of which is used here, must end where the header does.
fn check_values(mut values: &[u8]) -> Result<(), Malformed> {
    while !values.is_empty() {
        let length = values.get(1..3).ok_or(Malformed::Length)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        values = values.get(3 + length..).ok_or(Malformed::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    /// The whole, and every piece of it alone: a piece is never something else.
    fn told(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
        let whole = parse(bytes);
        for end in 0..bytes.len() {
            match (parse(&bytes[..end]), whole) {
                (Ok(None), _) => {}
                (Ok(Some(piece)), Ok(Some(whole))) => assert_eq!(piece, whole),
                (Err(_), Err(_)) => {}
                (piece, whole) => panic!("{piece:?} of {whole:?} at {end}"),
            }
        }
        whole
    }

    fn done(bytes: &[u8]) -> Option<SocketAddr> {
        let behind = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        let header = told(&behind).unwrap().unwrap();
        assert_eq!(header.bytes, bytes.len());
        header.source
    }

    #[test]
    fn lines_are_understood() {
        for (text, source) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Some("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 1 0\r\n", Some("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN 192.0.2.1 198.51.100.1 56324 443\r\n", None),
            ("PROXY UNKNOWN \u{e9} \t:: whatever 1\r\n", None),
        ] {
            assert_eq!(done(text.as_bytes()), source.map(|source| source.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn lines_have_one_spelling() {
        for (text, wanted) in [
            ("GET / HTTP/1.1\r\n", Malformed::NoHeader),
            ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::NoHeader),
            ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Port),
            ("PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Port),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", Malformed::Line),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", Malformed::Line),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Malformed::Line),
            ("PROXY UNKNOWNX\r\n", Malformed::Line),
            ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Family),
            ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", Malformed::Address),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", Malformed::Address),
            ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", Malformed::Address),
            ("PROXY TCP4 1.1.1.1 2.2.2.256 1 2\r\n", Malformed::Address),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Malformed::Port),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Malformed::Port),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", Malformed::Port),
            ("PROXY TCP4 1.1.1.1 2.2.2.2 1 \u{e9}\r\n", Malformed::Line),
            ("PROXY UNKNOWN 1\n", Malformed::Line),
        ] {
            assert_eq!(told(text.as_bytes()), Err(wanted), "{text:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(told(long.as_bytes()), Err(Malformed::TooLong));
    }

    #[test]
    fn version_2_is_understood() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 187];
        assert_eq!(done(&v2(0x21, 0x11, &v4)), Some("192.0.2.1:56324".parse().unwrap()));
        let values = [&v4[..], &[1, 0, 2, b'h', b'2'], &[4, 0, 0]].concat();
        assert_eq!(done(&v2(0x21, 0x11, &values)), Some("192.0.2.1:56324".parse().unwrap()));
        let mut v6 = [0; 36];
        (v6[15], v6[33]) = (1, 80);
        assert_eq!(done(&v2(0x21, 0x21, &v6)), Some("[::1]:80".parse().unwrap()));
        for (command, family, rest) in
            [(0x20, 0x00, 0), (0x20, 0x11, 12), (0x20, 0xff, 7), (0x21, 0, 0), (0x21, 0x31, 216)]
        {
            assert_eq!(done(&v2(command, family, &vec![0; rest])), None, "{command:x} {family:x}");
        }
    }

    #[test]
    fn version_2_has_one_spelling() {
        for (bytes, wanted) in [
            (v2(0x11, 0x11, &[0; 12]), Malformed::Command),
            (v2(0x22, 0x11, &[0; 12]), Malformed::Command),
            (v2(0x21, 0x12, &[0; 12]), Malformed::Family),
            (v2(0x21, 0x11, &[0; 11]), Malformed::Length),
            (v2(0x21, 0x21, &[0; 12]), Malformed::Length),
            (v2(0x21, 0x11, &[0; 14]), Malformed::Length),
            (v2(0x21, 0x11, &[[0; 12].as_slice(), &[1, 0, 9]].concat()), Malformed::Length),
            (v2(0x21, 0x11, &[0; REST_BYTES_MAX + 1]), Malformed::TooLong),
        ] {
            assert_eq!(told(&bytes), Err(wanted), "{:?}", &bytes[12..]);
        }
    }
}
