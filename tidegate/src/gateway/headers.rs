//! What headers become on their way: those of one hop are taken off, what the upstream should know of the client is put on.

use super::config::{Forwarded, Protocol};
use super::tls::Identity;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use std::net::{IpAddr, SocketAddr};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What is told of a client; made once for its connection.
#[derive(Debug)]
pub struct Told {
    address: HeaderValue,
    element: HeaderValue,
    /// What the client says of those before it is believed.
    trusted: bool,
    forwarded: Forwarded,
    proto: &'static str,
    identity: Option<Identity>,
    via: HeaderValue,
}

/// The certificate that a client has proved to be its own (RFC 9440), and its subject.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const CLIENT_CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");

impl Told {
    pub fn new(
        client: SocketAddr,
        (proto, identity, speaks): (&'static str, Option<Identity>, Protocol),
        trusted: bool,
        forwarded: Forwarded,
    ) -> Self {
        let ip = client.ip().to_canonical();
        let node = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("\"[{ip}]\""),
        };
        let value = |text: String| HeaderValue::try_from(text).expect("an address is ASCII");
        let (address, element) = (value(ip.to_string()), value(format!("for={node};proto={proto}")));
        let via = HeaderValue::from_static(match speaks {
            Protocol::H1 => "1.1 tidegate",
            Protocol::H2 => "2.0 tidegate",
        });
        Self { address, element, trusted, forwarded, proto, identity, via }
    }

    /// What it says of its own clients is believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    pub fn scheme(&self) -> &'static str {
        self.proto
    }

    /// Whether the endpoint is told of a certificate: an answer may be for its owner alone.
    pub fn has_identity(&self, headers: &HeaderMap) -> bool {
        self.identity.is_some() || (self.trusted && headers.contains_key(CLIENT_CERT))
    }
}

/// The request's headers as the upstream gets them.
pub fn toward_upstream(headers: &mut HeaderMap, told: &Told) {
    let trailers = headers.get(TE).is_some_and(|te| has_token(te, "trailers"));
    strip_hop(headers);
    headers.remove(EXPECT);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    add_to_list(headers, VIA, &told.via);
    tell(headers, told);
}

/// The protocol of `allowed` that a request asks for, if it does.
pub fn asked_upgrade(headers: &HeaderMap, allowed: &[HeaderValue]) -> Option<HeaderValue> {
    let meant = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    let asked = |protocol: &&HeaderValue| {
        headers.get_all(UPGRADE).iter().any(|value| protocol.to_str().is_ok_and(|name| has_token(value, name)))
    };
    allowed.iter().find(asked).filter(|_| meant).cloned()
}

/// Says that the connection goes on with another protocol.
pub fn tell_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The response's headers as the client gets them.
pub fn toward_client(headers: &mut HeaderMap) {
    // A length beside an encoding is void, and would be sent beside another one.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
}

fn tell(headers: &mut HeaderMap, told: &Told) {
    if !told.trusted {
        for name in [FORWARDED, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST] {
            headers.remove(name);
        }
    }
    tell_identity(headers, told);
    if told.forwarded.standard() {
        add_to_list(headers, FORWARDED, &told.element);
    }
    if told.forwarded.customary() {
        add_to_list(headers, X_FORWARDED_FOR, &told.address);
        if !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(told.proto));
        }
        if !headers.contains_key(X_FORWARDED_HOST)
            && let Some(host) = headers.get(HOST).cloned()
        {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }
}

/// Who the client has proved to be. What it claims beside that is believed of nobody but those who may speak for others.
fn tell_identity(headers: &mut HeaderMap, told: &Told) {
    if told.trusted && headers.contains_key(CLIENT_CERT) {
        return;
    }
    for name in [CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SUBJECT] {
        headers.remove(name);
    }
    if let Some(Identity { certificate, subject }) = &told.identity {
        headers.insert(CLIENT_CERT, certificate.clone());
        headers.insert(CLIENT_CERT_SUBJECT, subject.clone());
    }
}

/// Takes off what is meant for this hop alone, and what `Connection` says is.
fn strip_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for named in named_by_connection(headers) {
            headers.remove(named);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
}

/// What says where a request goes and where it ends is of all hops, whatever a client says.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = values.filter_map(|token| {
        let token = token.trim_ascii();
        let usual = token.eq_ignore_ascii_case(b"close") || token.eq_ignore_ascii_case(b"keep-alive");
        if usual { None } else { HeaderName::from_bytes(token).ok() }
    });
    names.filter(|name| *name != HOST && *name != CONTENT_LENGTH).collect()
}

/// Puts an element behind those that are there, on one line.
fn add_to_list(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    let there: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    if there.is_empty() {
        headers.insert(name, element.clone());
        return;
    }
    let mut all = there.join(&b", "[..]);
    all.extend_from_slice(b", ");
    all.extend_from_slice(element.as_bytes());
    headers.insert(name, HeaderValue::from_bytes(&all).expect("it is made of values"));
}

fn has_token(value: &HeaderValue, wanted: &str) -> bool {
    let tokens = value.as_bytes().split(|byte| *byte == b',');
    tokens
        .map(|token| token.split(|byte| *byte == b';').next().unwrap_or(token).trim_ascii())
        .any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn told(trusted: bool) -> Told {
        Told::new("10.0.0.7:555".parse().unwrap(), ("http", None, Protocol::H1), trusted, Forwarded::Both)
    }

    #[test]
    fn what_is_of_one_hop_goes_no_further() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "close, X-Secret,host, content-length"),
            ("connection", "upgrade"),
            ("x-secret", "1"),
            ("content-length", "5"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers;q=1, gzip"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("expect", "100-continue"),
        ]);
        toward_upstream(&mut headers, &told(false));
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let wanted = [
            "content-length",
            "forwarded",
            "host",
            "te",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
        ];
        assert_eq!(names, wanted);
        assert_eq!(headers[TE], "trailers");
    }

    #[test]
    fn only_those_who_are_trusted_are_believed() {
        let claims = [("host", "a"), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("via", "1.1 b")];
        let mut headers = map(&claims);
        toward_upstream(&mut headers, &told(false));
        assert_eq!(
            (&headers[X_FORWARDED_FOR], &headers[X_FORWARDED_PROTO]),
            (&"10.0.0.7".parse().unwrap(), &"http".parse().unwrap())
        );
        assert_eq!(headers[FORWARDED], "for=10.0.0.7;proto=http");
        assert_eq!(headers[VIA], "1.1 b, 1.1 tidegate");
        let mut headers = map(&claims);
        toward_upstream(&mut headers, &told(true));
        assert_eq!(headers[X_FORWARDED_FOR], "1.1.1.1, 10.0.0.7");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
    }

    #[test]
    fn a_response_keeps_no_length_beside_an_encoding() {
        let mut headers =
            map(&[("transfer-encoding", "chunked"), ("content-length", "5"), ("trailer", "x"), ("a", "b")]);
        toward_client(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "trailer"]);
    }
}
