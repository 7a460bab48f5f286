//! What headers become on their way: those of one hop are taken off, what the upstream should know of the client is put on.

use super::config::{Forwarded, Network, Protocol};
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
    client: IpAddr,
    /// Whoever is believed when he says who was before him; none if the client isn't among them.
    trusted: Option<Vec<Network>>,
    forwarded: Forwarded,
    proto: &'static str,
    identity: Option<Identity>,
    via: HeaderValue,
}

/// The certificate that a client has proved to be its own (RFC 9440), and its subject.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const CLIENT_CERT_SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");

/// What only the gateway and those it trusts may say.
static WHO_WAS_BEFORE: [HeaderName; 11] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-protocol"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-real-ip"),
];
static WHO_IT_IS: [HeaderName; 3] = [CLIENT_CERT, CLIENT_CERT_CHAIN, CLIENT_CERT_SUBJECT];

impl Told {
    pub fn new(
        client: SocketAddr,
        (proto, identity, speaks): (&'static str, Option<Identity>, Protocol),
        trusted: &[Network],
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
        let believed = trusted.iter().any(|network| network.holds(ip));
        let trusted = believed.then(|| trusted.to_vec());
        Self { address, element, client: ip, trusted, forwarded, proto, identity, via }
    }

    /// What it says of its own clients is believed.
    pub fn is_trusted(&self) -> bool {
        self.trusted.is_some()
    }

    /// Whose request it is: the connection's other end, or, if that speaks for others, the last in `X-Forwarded-For` who does not.
    pub fn client(&self, headers: &HeaderMap) -> IpAddr {
        let Some(trusted) = &self.trusted else { return self.client };
        let speaks = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
        let mut client = self.client;
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for element in value.as_bytes().rsplit(|byte| *byte == b',') {
                let Some(address) = address_of(element) else { return client };
                client = address;
                if !speaks(address) {
                    return client;
                }
            }
        }
        client
    }

    pub fn scheme(&self) -> &'static str {
        self.proto
    }

    /// Whether the endpoint is told of a certificate: an answer may be for its owner alone.
    pub fn has_identity(&self, headers: &HeaderMap) -> bool {
        self.identity.is_some() || (self.is_trusted() && headers.contains_key(CLIENT_CERT))
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
    if !told.is_trusted() {
        WHO_WAS_BEFORE.iter().for_each(|name| drop(headers.remove(name)));
    }
    strip_disguised(headers);
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
    if told.is_trusted() && headers.contains_key(CLIENT_CERT) {
        // That is a standard's, and who sends it keeps others from doing so. Of this one they may never have heard.
        headers.remove(CLIENT_CERT_SUBJECT);
        return;
    }
    WHO_IT_IS.iter().for_each(|name| drop(headers.remove(name)));
    if let Some(Identity { certificate, subject }) = &told.identity {
        headers.insert(CLIENT_CERT, certificate.clone());
        headers.insert(CLIENT_CERT_SUBJECT, subject.clone());
    }
}

/// Takes off names that a program behind may take for those, since it can't tell `_` from `-`.
fn strip_disguised(headers: &mut HeaderMap) {
    let all = || WHO_WAS_BEFORE.iter().chain(&WHO_IT_IS);
    let disguised = |name: &&HeaderName| {
        name.as_str().contains('_') && all().any(|wanted| is_alike(name.as_str(), wanted.as_str()))
    };
    while let Some(name) = headers.keys().find(disguised).cloned() {
        headers.remove(name);
    }
}

/// Takes off these and what may be taken for them.
pub fn strip_alike(headers: &mut HeaderMap, names: &[&str]) {
    let alike = |name: &&HeaderName| names.iter().any(|wanted| is_alike(name.as_str(), wanted));
    while let Some(name) = headers.keys().find(alike).cloned() {
        headers.remove(name);
    }
}

fn is_alike(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && name.bytes().zip(wanted.bytes()).all(|(a, b)| a == b || (a, b) == (b'_', b'-'))
}

/// Whether `Connection` takes headers off the request on its way: then the endpoint gets another one than the client has sent.
pub fn names_others(headers: &HeaderMap) -> bool {
    headers.contains_key(CONNECTION) && named_by_connection(headers).iter().any(|name| *name != TE && *name != UPGRADE)
}

/// Trailers may say none of it: they come behind what was put on.
pub fn strip_claims(trailers: &mut HeaderMap) {
    WHO_WAS_BEFORE.iter().chain(&WHO_IT_IS).for_each(|name| drop(trailers.remove(name)));
    strip_disguised(trailers);
}

/// An element of `X-Forwarded-For`, with a port or without.
fn address_of(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim();
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()));
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|ip: IpAddr| ip.to_canonical())
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
        let networks = if trusted {
            ["10.0.0.0/8", "192.0.2.1"].map(|text| Network::parse(text).unwrap()).to_vec()
        } else {
            Vec::new()
        };
        Told::new("10.0.0.7:555".parse().unwrap(), ("http", None, Protocol::H1), &networks, Forwarded::Both)
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
    fn the_client_is_the_last_who_speaks_for_nobody() {
        for (list, client) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9, 192.0.2.1", "10.1.1.1"], "203.0.113.9"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::2 ,10.0.0.1"], "2001:db8::2"),
            // Behind what can't be read nobody is believed.
            (&["203.0.113.9, unknown, 10.0.0.1"], "10.0.0.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[], "10.0.0.7"),
        ] {
            let headers = map(&list.iter().map(|value| ("x-forwarded-for", *value)).collect::<Vec<_>>());
            assert_eq!(told(true).client(&headers).to_string(), client, "{list:?}");
            assert_eq!(told(false).client(&headers).to_string(), "10.0.0.7", "who isn't trusted speaks for himself");
        }
    }

    #[test]
    fn nobody_claims_by_underscores_or_in_trailers() {
        let claims =
            [("x_forwarded_for", "1.1.1.1"), ("client_cert", "x"), ("x-client_cert-subject", "x"), ("my_own", "1")];
        let mut headers = map(&claims);
        toward_upstream(&mut headers, &told(true));
        assert_eq!(
            (headers.get("x_forwarded_for"), headers.get("client_cert"), headers.get("x-client_cert-subject")),
            (None, None, None)
        );
        assert!(headers.contains_key("my_own"));
        let mut trailers =
            map(&[("x-forwarded-for", "1.1.1.1"), ("client-cert", "x"), ("x_forwarded_host", "x"), ("x-sum", "1")]);
        strip_claims(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
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
