//! What requests are told apart by: for policies that go by a key, and for limits.

use hyper::Uri;
use hyper::header::{COOKIE, HeaderMap, HeaderName};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;
use std::net::IpAddr;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address; of IPv6 the first 64 bits, which are one customer's.
    Address,
    Path,
    Header(HeaderName),
    Cookie(String),
}

impl Key {
    /// The key of a request, if it has one.
    pub fn of<'a>(&self, client: IpAddr, uri: &'a Uri, headers: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Address => Some(match client.to_canonical() {
                IpAddr::V4(ip) => Cow::Owned(ip.octets().to_vec()),
                IpAddr::V6(ip) => Cow::Owned(ip.octets()[..8].to_vec()),
            }),
            Self::Path => Some(Cow::Borrowed(uri.path().as_bytes())),
            Self::Header(name) => headers.get(name).map(|value| Cow::Borrowed(value.as_bytes())),
            Self::Cookie(name) => cookie(headers, name).map(Cow::Borrowed),
        }
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let header = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let key = match text.split_once(':') {
            None if text == "address" => Some(Self::Address),
            None if text == "path" => Some(Self::Path),
            Some(("header", name)) => header(name).map(Self::Header),
            Some(("cookie", name)) if !name.is_empty() => Some(Self::Cookie(name.to_owned())),
            _ => None,
        };
        let why = || format!("'{text}' is no key; give \"address\", \"path\", \"header:NAME\" or \"cookie:NAME\"");
        key.ok_or_else(|| Error::custom(why()))
    }
}
