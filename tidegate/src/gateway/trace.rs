//! W3C trace context: a request that belongs to a trace keeps it; another one begins one, so that the access log and the upstream
//! name it alike. The gateway makes no span of its own, so what came is passed on as it is.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Keeps or begins a trace. `draw` gives 64 bits by chance.
pub fn keep_or_begin(headers: &mut HeaderMap, mut draw: impl FnMut() -> u64) {
    let mut given = headers.get_all(TRACEPARENT).iter();
    if given.next().is_some_and(|value| is_sound(value.as_bytes())) && given.next().is_none() {
        return;
    }
    // State without its parent means nothing.
    headers.remove(TRACESTATE);
    // No part may be all zero; nobody has asked for it to be recorded.
    let text = format!("00-{:016x}{:016x}-{:016x}-00", draw() | 1, draw(), draw() | 1);
    headers.insert(TRACEPARENT, HeaderValue::try_from(text).expect("it is ASCII"));
}

/// The id of the trace that the headers name.
pub fn id(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok()?.get(3..35)
}

/// `00-{32 hex}-{16 hex}-{2 hex}`; versions to come may have more behind it.
fn is_sound(value: &[u8]) -> bool {
    let hex = |range: std::ops::Range<usize>| {
        value[range].iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
    };
    let zero = |range: std::ops::Range<usize>| value[range].iter().all(|byte| *byte == b'0');
    let shaped = value.len() >= 55 && value[2] == b'-' && value[35] == b'-' && value[52] == b'-';
    let version = shaped
        && hex(0..2)
        && &value[..2] != b"ff"
        && (value.len() == 55 || (&value[..2] != b"00" && value[55] == b'-'));
    version && hex(3..35) && !zero(3..35) && hex(36..52) && !zero(36..52) && hex(53..55)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn kept(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        keep_or_begin(&mut headers, || 7);
        assert_eq!(headers.contains_key(TRACESTATE), headers[TRACEPARENT] == value);
        assert!(is_sound(headers[TRACEPARENT].as_bytes()));
        headers[TRACEPARENT] == value
    }

    #[test]
    fn a_sound_trace_is_kept_and_any_other_begun_anew() {
        assert!(kept(SOUND) && kept(&format!("01{}-more", &SOUND[2..])));
        let zero = SOUND.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        for bad in
            ["", "00", &SOUND[1..], &SOUND.to_uppercase(), &format!("{SOUND}-x"), &format!("ff{}", &SOUND[2..]), &zero]
        {
            assert!(!kept(bad), "{bad}");
        }
        let mut headers = HeaderMap::new();
        keep_or_begin(&mut headers, || 0xabc);
        assert_eq!(id(&headers), Some("0000000000000abd0000000000000abc"));
    }
}
