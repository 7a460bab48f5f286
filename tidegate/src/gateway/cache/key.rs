//! What a response is kept under: all of the request that reaches an endpoint and that it may answer by, but for the headers that
//! `Vary` names.
//!
//! A header that isn't in the key and changes the response poisons the cache: whoever sends it first decides what all others get.
//! So what trusted proxies say of host and scheme is in the key, and what else frameworks are known to go by, in spite of the
//! request line, is taken off what a cache asks for ([`without_traps`]). And since spellings of a host are one in the key, a fetch is asked
//! for by that one ([`spell_host`]): else the port that one client adds would be in everybody's redirects.

use super::super::call::Call;
use super::super::headers::strip_alike;
use gateway::cache::origin;
use hyper::header::{
    FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use hyper::http::request::Parts;

/// The bytes of a key: the URL, the service, and what trusted proxies claim, a line each.
pub fn of(call: &Call, parts: &Parts, service: &str) -> Option<Vec<u8>> {
    let host = parts.headers.get(HOST)?.to_str().ok().filter(|host| !host.is_empty())?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    Some(at(call, &parts.headers, &url(call.scheme(), host, target), service))
}

/// The key of a URL that is written in the one way, for a request with these headers.
pub fn at(call: &Call, headers: &HeaderMap, url: &str, service: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(url.len() + service.len() + 2);
    for part in [url.as_bytes(), b"\n", service.as_bytes(), b"\n"] {
        key.extend_from_slice(part);
    }
    if call.told().is_trusted() {
        for name in [X_FORWARDED_PROTO, X_FORWARDED_HOST] {
            headers.get_all(name).iter().for_each(|value| {
                key.extend_from_slice(value.as_bytes());
                key.push(b',');
            });
            key.push(b'\n');
        }
    }
    key
}

/// A URL in the one way.
pub fn url(scheme: &str, host: &str, target: &str) -> String {
    let host = origin::host(scheme, host);
    let mut url = String::with_capacity(scheme.len() + host.len() + target.len() + 3);
    [scheme, "://", &host, target].into_iter().for_each(|part| url.push_str(part));
    url
}

/// The URL in a key.
pub fn url_of(key: &[u8]) -> &[u8] {
    key.split(|byte| *byte == b'\n').next().unwrap_or(key)
}

/// What an operator names: a URL, as whoever asks for it writes it.
///
/// The gateway may have seen it otherwise: without TLS, where a balancer before it ends that, and by a host of the balancer's choice, which
/// tells the real one in `X-Forwarded-Host`. So its scheme doesn't count, nor the port that either scheme has anyway, and the host
/// may be any that a trusted proxy told.
#[derive(Debug)]
pub struct Named(String);

impl Named {
    /// Nothing if it is no whole URL.
    pub fn read(url: &str) -> Option<Self> {
        origin::url(url).map(Self)
    }

    /// Whether this key is of that URL.
    pub fn is_at(&self, key: &[u8]) -> bool {
        self.is(key, |there, own| there == own)
    }

    /// Whether it is of one that begins so.
    pub fn is_above(&self, key: &[u8]) -> bool {
        self.is(key, |there, own| there.starts_with(own))
    }

    fn is(&self, key: &[u8], target: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        let halves = (origin::halves(url_of(key)), origin::halves(self.0.as_bytes()));
        let (Some((host, there)), Some((own_host, own))) = halves else { return false };
        target(there, own) && (host == own_host || hosts_told(key).any(|told| told.eq_ignore_ascii_case(own_host)))
    }
}

/// The hosts in what trusted proxies claim.
fn hosts_told(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Behind a zero stands what tells variants apart.
    let own = key.split(|byte| *byte == 0).next().unwrap_or(key);
    let line = own.split(|byte| *byte == b'\n').nth(3).unwrap_or_default();
    line.split(|byte| *byte == b',').map(|host| origin::portless(host.trim_ascii()))
}

/// The same for another URL and service.
pub fn of_service(key: &[u8], url: &[u8], service: &str) -> Vec<u8> {
    let claims = key.splitn(3, |byte| *byte == b'\n').nth(2).unwrap_or_default();
    [url, b"\n", service.as_bytes(), b"\n", claims].concat()
}

/// Spells the host as the key does.
pub fn spell_host(headers: &mut HeaderMap, scheme: &str) {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(|host| origin::host(scheme, host));
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(&host).ok()) {
        headers.insert(HOST, host);
    }
}

/// A request for all: without its client's conditions, which are answered here, and without what would change the answer unseen.
pub fn without_traps(headers: &mut HeaderMap) {
    let conditions = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE];
    conditions.into_iter().for_each(|name| drop(headers.remove(name)));
    // A trusted proxy's own would be kept, and says more than the key does: the gateway puts on its own.
    headers.remove(FORWARDED);
    // Its client's own would end the request for all.
    headers.remove("x-deadline-ms");
    headers.remove("grpc-timeout");
    strip_alike(headers, &TRAPS);
}

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// By these, frameworks take a request for another than its first line says.
const TRAPS: [&str; 14] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-protocol",
    "x-url-scheme",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_another_service_differs_by_its_name_alone() {
        assert_eq!(
            of_service(b"http://a/x\nreaders\nhttps,\na.test,\n", b"http://a/y", "writers"),
            b"http://a/y\nwriters\nhttps,\na.test,\n"
        );
        assert_eq!(of_service(b"http://a/x\nreaders\n", b"http://a/x", "w"), b"http://a/x\nw\n");
    }

    #[test]
    fn an_operator_names_a_url_as_its_clients_do() {
        let plain = b"http://shop.test/x?y\nreaders\n".as_slice();
        let varies = b"http://shop.test/x?y\nreaders\n\0\x0a0000000accept:a,evil.test\nother:\n".as_slice();
        let told = b"http://inside:8080/x?y\nreaders\nhttps,\nOther.test, Shop.test:443,\n\0cookies".as_slice();
        for (url, wanted) in [
            ("https://Shop.test/x?y", [true; 3]),
            ("http://shop.test:80/x?y#z", [true; 3]),
            ("https://shop.test:443/x?y", [true; 3]),
            ("http://inside:8080/x?y", [false, false, true]),
            ("https://shop.test/x", [false; 3]),
            ("https://shop.test:8443/x?y", [false; 3]),
            ("https://evil.test/x?y", [false; 3]),
            ("https://0/x?y", [false; 3]),
        ] {
            let named = Named::read(url).expect("it is a URL");
            assert_eq!([plain, varies, told].map(|key| named.is_at(key)), wanted, "{url}");
        }
        for (prefix, wanted) in [
            ("https://shop.test/", [true; 3]),
            ("https://shop.test", [true; 3]),
            ("https://shop.test/x", [true; 3]),
            ("https://shop.test/y", [false; 3]),
            ("https://shop.tes/", [false; 3]),
        ] {
            let named = Named::read(prefix).expect("it is a URL");
            assert_eq!([plain, varies, told].map(|key| named.is_above(key)), wanted, "{prefix}");
        }
        assert!(Named::read("/x").is_none() && Named::read("shop.test/x").is_none());
    }

    #[test]
    fn a_fetch_for_all_carries_nothing_that_changes_it_unseen() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-original-url",
            "X_Original_URL",
            "x-http_method_override",
            "grpc-timeout",
            "x-deadline-ms",
            "range",
            "x-mine",
        ] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap());
        }
        without_traps(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
    }
}
