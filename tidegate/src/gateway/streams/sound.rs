//! What a request of HTTP/2 must be before it may become one of HTTP/1.1.
//!
//! h2 has refused already, by a reset of the stream, what is malformed by the frames alone: characters that no name or value has, headers
//! of one connection, pseudo-headers twice or in the wrong place, a body of another length than is said. Here is what is sound
//! by itself and means something else, or two things, one hop further: hosts, lengths, targets. What may come in one way only by
//! HTTP/1.1 (`Host`, one `Cookie`) is put so.

use super::super::strict::{HeadLimits, Refused};
use super::websocket::{self, Asked};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, Uri};

/// Makes a request sound, or says why it can't be. One for a WebSocket becomes that of HTTP/1.1, with a key by `chance`.
pub fn make(
    request: &mut Request<Incoming>,
    limits: &HeadLimits,
    chance: impl Fn() -> u64,
) -> Result<Option<Asked>, Refused> {
    let asked = websocket::take(request, chance)?;
    let ended = request.body().is_end_stream();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    check_target(&method, &uri, limits)?;
    let headers = request.headers_mut();
    if headers.len() > limits.headers_max {
        return Err(Refused::HeadersTooMany);
    }
    check_length(headers, ended)?;
    let host = host(&uri, headers)?;
    headers.insert(HOST, host);
    join_cookies(headers);
    Ok(asked)
}

fn check_target(method: &Method, uri: &Uri, limits: &HeadLimits) -> Result<(), Refused> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.target_bytes_max {
        return Err(Refused::TargetTooLong);
    }
    let plain = target.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#');
    let formed = target.starts_with('/') || (target == "*" && *method == Method::OPTIONS);
    let known = uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    if plain && formed && known { Ok(()) } else { Err(Refused::Target) }
}

fn check_length(headers: &HeaderMap, ended: bool) -> Result<(), Refused> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    if lengths.next().is_some() {
        return Err(Refused::LengthTwice);
    }
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    let length = length.to_str().ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
    // A body that is announced and never comes would be waited for one hop further, and found in the next request.
    match length {
        Some(bytes) if bytes == 0 || !ended => Ok(()),
        _ => Err(Refused::BadLength),
    }
}

/// The one host that the request names.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Refused> {
    let mut named = headers.get_all(HOST).iter();
    let host = named.next();
    if named.next().is_some() {
        return Err(Refused::ManyHosts);
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    let all = authority.into_iter().chain(host.map(HeaderValue::as_bytes));
    if !all.flatten().all(|byte| is_host(*byte)) {
        return Err(Refused::BadHost);
    }
    match (authority, host) {
        (Some(authority), Some(host)) if !same_host(authority, host.as_bytes()) => Err(Refused::HostMismatch),
        (Some(authority), _) => HeaderValue::from_bytes(authority).map_err(|_| Refused::BadHost),
        (None, Some(host)) if !host.is_empty() => Ok(host.clone()),
        (None, _) => Err(Refused::NoHost),
    }
}

/// Equal but for case and the port that the scheme has anyway.
fn same_host(one: &[u8], other: &[u8]) -> bool {
    fn plain(host: &[u8]) -> &[u8] {
        host.strip_suffix(b":80").or_else(|| host.strip_suffix(b":443")).unwrap_or(host)
    }
    plain(one).eq_ignore_ascii_case(plain(other))
}

/// The characters of a host with its port (RFC 3986, 3.2.2), without those that quote.
fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte)
}

/// Cookies may come in pieces by HTTP/2 (RFC 9113, 8.2.3), and in one line only by HTTP/1.1.
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1 {
        let joined = HeaderValue::from_bytes(&pieces.join(&b"; "[..])).expect("it is made of values");
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes_max: 512, headers_max: 8, target_bytes_max: 20 };

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn targets_are_paths() {
        let check = |method: Method, target: &str| check_target(&method, &target.parse().unwrap(), &LIMITS);
        for (method, target, wanted) in [
            (Method::GET, "/", Ok(())),
            (Method::GET, "https://a/x?y", Ok(())),
            (Method::OPTIONS, "*", Ok(())),
            (Method::GET, "*", Err(Refused::Target)),
            (Method::GET, "ftp://a/x", Err(Refused::Target)),
            (Method::GET, "/\u{e9}", Err(Refused::Target)),
            (Method::GET, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Err(Refused::TargetTooLong)),
        ] {
            assert_eq!(check(method, target), wanted, "{target}");
        }
    }

    #[test]
    fn a_length_is_one_plain_number_and_kept() {
        for (pairs, ended, wanted) in [
            (&[][..], true, Ok(())),
            (&[("content-length", "0")], true, Ok(())),
            (&[("content-length", "5")], false, Ok(())),
            (&[("content-length", "5")], true, Err(Refused::BadLength)),
            (&[("content-length", "+5")], false, Err(Refused::BadLength)),
            (&[("content-length", "")], false, Err(Refused::BadLength)),
            (&[("content-length", "5, 5")], false, Err(Refused::BadLength)),
            (&[("content-length", "99999999999999999999")], false, Err(Refused::BadLength)),
            (&[("content-length", "5"), ("content-length", "5")], false, Err(Refused::LengthTwice)),
        ] {
            assert_eq!(check_length(&headers(pairs), ended), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn there_is_one_host() {
        for (uri, pairs, wanted) in [
            ("http://a/", &[][..], Ok("a")),
            ("https://A:443/", &[("host", "a")], Ok("A:443")),
            ("/", &[("host", "b")], Ok("b")),
            ("/", &[], Err(Refused::NoHost)),
            ("/", &[("host", "")], Err(Refused::NoHost)),
            ("http://a/", &[("host", "b")], Err(Refused::HostMismatch)),
            ("http://a/", &[("host", "a"), ("host", "a")], Err(Refused::ManyHosts)),
            ("http://user@a/", &[], Err(Refused::BadHost)),
            ("/", &[("host", "a/b")], Err(Refused::BadHost)),
        ] {
            let found = host(&uri.parse().unwrap(), &headers(pairs));
            assert_eq!(
                found.as_ref().map(|host| host.to_str().unwrap()).map_err(|why| *why),
                wanted,
                "{uri} {pairs:?}"
            );
        }
    }

    #[test]
    fn cookies_come_in_one_line() {
        let mut pieces = headers(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")]);
        join_cookies(&mut pieces);
        assert_eq!(pieces.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=b; c=d; e=f"]);
    }
}
