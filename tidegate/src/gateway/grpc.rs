//! gRPC, as far as it must be known by who stands between: how long a call may take, and how an answer of the gateway's own looks to
//! its client. All else is HTTP/2 with trailers.
//!
//! ```text
//! :status 200 · content-type: application/grpc · grpc-status: 14 · grpc-message: service 'shop': ...        and no more
//! ```

use super::refusal::{Code, Refusal};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use std::fmt::Write as _;
use std::time::Duration;

const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// True for a call of gRPC.
pub fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = kind.strip_prefix(b"application/grpc");
    request.version() == Version::HTTP_2 && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// How long its client gives a call.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// What is left of that, for the endpoint.
pub fn tell_timeout(headers: &mut HeaderMap, left_ms: u64) {
    if headers.contains_key(TIMEOUT) {
        let value = HeaderValue::try_from(format!("{}m", left_ms.min(TIMEOUT_MS_MAX)));
        headers.insert(TIMEOUT, value.expect("digits and a letter are a value"));
    }
}

const DIGITS_MAX: usize = 8;
const TIMEOUT_MS_MAX: u64 = 99_999_999;

/// A refusal as a call's answer: trailers alone.
pub fn respond(refusal: &Refusal) -> Response<Bytes> {
    let mut response = refusal.respond().map(|_| Bytes::new());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(u16::from(status(refusal))));
    let message = HeaderValue::try_from(escaped(&refusal.message()));
    headers.insert(MESSAGE, message.expect("it is printable ASCII"));
    response
}

const CANCELLED: u8 = 1;
const DEADLINE_EXCEEDED: u8 = 4;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

/// The number that gRPC has for it.
fn status(refusal: &Refusal) -> u8 {
    match (refusal.code, refusal.status()) {
        (Code::BodyLate | Code::BodyBroken, _) => CANCELLED,
        (Code::Deadline | Code::ResponseLate, _) => DEADLINE_EXCEEDED,
        (_, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS) => RESOURCE_EXHAUSTED,
        (_, StatusCode::NOT_FOUND) => UNIMPLEMENTED,
        (_, status) if status.is_server_error() => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// All but printable ASCII as `%XX`, as the protocol wants it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_unit_and_eight_digits() {
        let of = |text: &'static str| timeout(&HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static(text))]));
        assert_eq!(of("200m"), Some(Duration::from_millis(200)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "m", "5", "5s", "-5S", "+5S", "123456789m", "1.5S"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static("2S"))]);
        tell_timeout(&mut headers, 1500);
        assert_eq!(timeout(&headers), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn messages_are_printable() {
        assert_eq!(escaped("a 'b' 100%\n\u{e4}"), "a 'b' 100%25%0A%C3%A4");
    }
}
