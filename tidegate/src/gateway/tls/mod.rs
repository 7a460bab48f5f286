//! TLS toward clients: certificates chosen by the name that a client asks for, resumption, and certificates of clients.
//!
//! What a listener goes by is one value, made of its files as a whole or not at all. Lanes share it, and with it the keys of tickets: a
//! client resumes at whichever lane it comes to. Tickets are of one listener, and of the files that say which clients are sound: one
//! that a listener without such a demand has given is worth nothing at one that has it, nor when the demand has changed.

mod choice;
mod handshake;
pub mod load;
mod turns;

use super::config::listener::{ClientAuth, Listener};
use crate::log;
use choice::Choice;
pub use handshake::{Handshakes, Identity, Reason, Secured, Session, base64, shake};
pub use load::{Digest, Files, Shown};
use rustls::crypto::aws_lc_rs;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::Duration;

/// What one listener goes by.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// How long a handshake may take.
    time: Duration,
    memory: Memory,
    /// Its certificates, for those who look.
    pub shown: Vec<Shown>,
}

/// What is known of clients that come again, and of which clients that may be used.
#[derive(Clone, Debug)]
struct Memory {
    clients: Option<(load::Digest, ClientAuth)>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

/// Sessions of clients that take no tickets.
const SESSIONS_MAX: usize = 4096;

/// All listeners' in their order; what goes on from `old` is what clients hold tickets of.
pub fn make(listeners: &[Listener], files: &Files, old: &[Option<Arc<Tls>>]) -> Result<Vec<Option<Arc<Tls>>>, String> {
    let olds = old.iter().map(Option::as_deref).chain(std::iter::repeat(None));
    let all = listeners.iter().zip(olds).map(|(listener, old)| {
        let tls = Tls::new(listener, files, old).map_err(|why| format!("listener {}: {why}", listener.address))?;
        Ok(tls.map(Arc::new))
    });
    all.collect()
}

/// One line of the log for each certificate that has ended, or soon will.
pub fn warn_of_ends(all: &[Option<Arc<Tls>>]) {
    for (shown, message) in ends(all) {
        log::warn("gateway", message, &[("file", &shown.file), ("names", &shown.names)]);
    }
}

/// The certificates that are at their end, and what is to be said of them.
pub fn ends(all: &[Option<Arc<Tls>>]) -> Vec<(&Shown, &'static str)> {
    let now_s = i64::try_from(crate::clock::wall_ms() / 1000).unwrap_or(i64::MAX);
    let told = |shown: &Shown| match shown.not_after_s.saturating_sub(now_s) {
        ..0 => Some("a certificate has expired, and clients refuse it: renew it"),
        0..SOON_S => Some("a certificate expires within a week: renew it"),
        _ => None,
    };
    all.iter().flatten().flat_map(|tls| &tls.shown).filter_map(|shown| Some((shown, told(shown)?))).collect()
}

const SOON_S: i64 = 7 * 24 * 3600;

impl Tls {
    fn new(listener: &Listener, files: &Files, old: Option<&Self>) -> Result<Option<Self>, String> {
        let Some(plan) = &listener.tls else { return Ok(None) };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut choice = Choice::default();
        let mut shown = Vec::new();
        for pair in &plan.certificates {
            let certificate = load::certificate(pair, files, &provider)?;
            shown.push(certificate.shown);
            choice.add(Arc::new(certificate.certified), &certificate.names);
        }
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match &plan.clients {
            None => builder.with_no_client_auth(),
            Some((ca, auth)) => {
                let roots: RootCertStore = load::roots(ca, files)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| format!("{}: {error}", ca.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let clients = plan.clients.as_ref().map(|(ca, auth)| files.digest(ca).map(|digest| (digest, *auth)));
        let clients = clients.transpose()?;
        let known = old.map(|old| &old.memory).filter(|memory| memory.clients == clients).cloned();
        let memory = known.map_or_else(|| Memory::new(clients), Ok)?;
        let mut config = builder.with_cert_resolver(Arc::new(choice));
        config.alpn_protocols = listener.protocols.alpn();
        config.ticketer = memory.tickets.clone();
        config.session_storage = memory.sessions.clone();
        Ok(Some(Self { config: Arc::new(config), time: plan.handshake, memory, shown }))
    }
}

impl Memory {
    fn new(clients: Option<(load::Digest, ClientAuth)>) -> Result<Self, String> {
        let tickets = aws_lc_rs::Ticketer::new().map_err(|error| format!("no keys for tickets: {error}"))?;
        Ok(Self { clients, tickets, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}
