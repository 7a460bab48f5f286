//! Listeners: where clients connect, and how each of these places is served.

use super::told::Wrong;
use super::values::{Address, Network, Time};
use super::{document, resolve};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// One of them, as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub address: Spanned<Address>,
    pub tls: Option<Spanned<TlsSection>>,
    /// What clients may speak: both by TLS, HTTP/1.1 in clear if not given.
    pub protocols: Option<Spanned<Vec<Protocol>>>,
    /// Balancers that say of each connection, by the PROXY protocol, who has made it; nobody else may connect.
    pub proxy_protocol: Option<Spanned<Vec<Network>>>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1, and 1.0.
    #[serde(rename = "http/1.1")]
    H1,
    #[serde(rename = "h2")]
    H2,
}

/// What may be spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    pub h1: bool,
    pub h2: bool,
}

/// TLS on a listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The first is that of clients that name no server, or one that none is for.
    pub certificates: Vec<Pair>,
    /// Who signs the certificates of clients.
    pub client_ca: Option<PathBuf>,
    pub client_auth: Option<ClientAuth>,
    /// How long a handshake may take.
    #[serde(default = "handshake_time")]
    pub handshake: Time,
}

/// A certificate with those that signed it, and its key; both in PEM.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whether clients must show a certificate; what they show must be sound either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    Required,
    Optional,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub address: SocketAddr,
    pub tls: Option<Tls>,
    pub protocols: Protocols,
    /// Where connections come from, each behind a header of the PROXY protocol; without any, they have none.
    pub proxies: Vec<Network>,
}

/// What a listener's TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub certificates: Vec<Pair>,
    pub clients: Option<(PathBuf, ClientAuth)>,
    pub handshake: Duration,
}

/// So many descriptors are handed over at most.
const LISTENERS_MAX: usize = 32;

fn handshake_time() -> Time {
    Time::seconds(5)
}

impl Section {
    /// The files that it names.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.tls.iter_mut().flat_map(|tls| {
            let TlsSection { certificates, client_ca, .. } = tls.get_mut();
            certificates.iter_mut().flat_map(|pair| [&mut pair.certificate, &mut pair.key]).chain(client_ca)
        })
    }
}

impl Protocols {
    /// Their names in TLS, the better one first.
    pub fn alpn(self) -> Vec<Vec<u8>> {
        let names = [(self.h2, "h2"), (self.h1, "http/1.1")].into_iter().filter(|(spoken, _)| *spoken);
        names.map(|(_, name)| name.as_bytes().to_vec()).collect()
    }
}

impl Listener {
    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let pairs = self.tls.iter().flat_map(|tls| &tls.certificates).flat_map(|pair| [&pair.certificate, &pair.key]);
        let ca = self.tls.iter().filter_map(|tls| tls.clients.as_ref()).map(|(ca, _)| ca);
        pairs.chain(ca)
    }
}

/// That of the `[gateway]` table first, then the others in their order.
pub fn listeners(text: &str, gateway: &document::Gateway, sections: Vec<Section>) -> Result<Vec<Listener>, Wrong> {
    let short = gateway.listen.as_ref().map(|address| {
        let address = resolve(address).map_err(|why| Wrong::whole(format!("gateway.listen: {why}")))?;
        Ok(Listener { address, tls: None, protocols: Protocols { h1: true, h2: false }, proxies: Vec::new() })
    });
    let mut all: Vec<Listener> = short.into_iter().collect::<Result<_, Wrong>>()?;
    for section in sections {
        let span = section.address.span();
        let listener = make(text, section)?;
        if listener.address.port() != 0 && all.iter().any(|other| other.address == listener.address) {
            return Err(Wrong::at(text, &span, format!("{} is listened on twice", listener.address)));
        }
        all.push(listener);
    }
    match all.len() {
        0 => Err(Wrong::whole("clients can connect nowhere: give gateway.listen, or a [[listener]] with its address")),
        1..=LISTENERS_MAX => Ok(all),
        many => Err(Wrong::whole(format!("there are {many} listeners; give {LISTENERS_MAX} at most"))),
    }
}

fn make(text: &str, section: Section) -> Result<Listener, Wrong> {
    let span = section.address.span();
    let address = resolve(section.address.get_ref()).map_err(|why| Wrong::at(text, &span, why))?;
    let tls = section.tls.map(|tls| make_tls(text, tls)).transpose()?;
    let protocols = match &section.protocols {
        None => Protocols { h1: true, h2: tls.is_some() },
        Some(given) => {
            let all = given.get_ref();
            if all.is_empty() {
                return Err(Wrong::at(text, &given.span(), "protocols is empty; give \"h2\", \"http/1.1\" or both"));
            }
            Protocols { h1: all.contains(&Protocol::H1), h2: all.contains(&Protocol::H2) }
        }
    };
    let proxies = section.proxy_protocol.map(|given| match given.get_ref().is_empty() {
        true => Err(Wrong::at(text, &given.span(), "proxy_protocol is empty; name the networks of the balancers")),
        false => Ok(given.into_inner()),
    });
    Ok(Listener { address, tls, protocols, proxies: proxies.transpose()?.unwrap_or_default() })
}

fn make_tls(text: &str, section: Spanned<TlsSection>) -> Result<Tls, Wrong> {
    let span = section.span();
    let TlsSection { certificates, client_ca, client_auth, handshake } = section.into_inner();
    if certificates.is_empty() {
        let why = "tls wants a certificate: certificates = [{ certificate = \"FILE\", key = \"FILE\" }]";
        return Err(Wrong::at(text, &span, why));
    }
    let clients = match (client_ca, client_auth) {
        (Some(ca), auth) => Some((ca, auth.unwrap_or(ClientAuth::Required))),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(Wrong::at(
                text,
                &span,
                "client_auth wants a client_ca, which says whose certificates are sound",
            ));
        }
    };
    Ok(Tls { certificates, clients, handshake: handshake.0 })
}
