//! Which certificate a client gets: one for the name that it asks for, else one for the names of its domain, else the first.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub struct Choice {
    /// By name, in small letters.
    exact: HashMap<String, Several>,
    /// By what stands behind the first label.
    below: HashMap<String, Several>,
    all: Several,
}

/// In the order of the file; of several, the first whose kind of key the client knows.
type Several = Vec<Arc<CertifiedKey>>;

impl Choice {
    /// One more, for these names; `*.example.com` is for those of one more label.
    pub fn add(&mut self, certified: Arc<CertifiedKey>, names: &[String]) {
        for name in names {
            let name = name.to_ascii_lowercase();
            let place = match name.strip_prefix("*.") {
                Some(domain) => self.below.entry(domain.to_owned()),
                None => self.exact.entry(name),
            };
            place.or_default().push(certified.clone());
        }
        self.all.push(certified);
    }

    fn named(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.to_ascii_lowercase();
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(below).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map_or(&[][..], |name| self.named(name));
        let knows = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        named.iter().chain(&self.all).find(knows).cloned()
    }
}
