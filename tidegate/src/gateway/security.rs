//! TLS to the endpoints of a service: whose certificates are believed, and what the gateway shows of its own.
//!
//! It is made of files that are read with the configuration, so one that is missing or wrong is refused with it, and it is made anew when
//! one of them changes. Two are the same if what they were made of is. Sessions are kept with it and resumed, by all lanes.

use super::config::document::EndpointTls;
use super::config::{Protocol, Service};
use super::tls::load;
use super::tls::{Digest, Files};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// The name of it in handshakes.
fn alpn(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::H1 => b"http/1.1",
        Protocol::H2 => b"h2",
    }
}

/// See the module.
#[derive(Clone)]
pub struct Security {
    made_of: Sources,
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

/// What it was made of: the section, and digests of its files.
#[derive(Clone, PartialEq, Eq)]
struct Sources {
    section: EndpointTls,
    protocol: Protocol,
    files: Vec<Digest>,
}

/// One for each service, in their order; none where it speaks in the clear.
pub type Securities = Vec<Option<Arc<Security>>>;

/// Those of all services. What is made of the same as before stays, and its sessions with it.
pub fn make(services: &[Arc<Service>], files: &Files, old: &[Option<Arc<Security>>]) -> Result<Securities, String> {
    let one = |service: &Arc<Service>| {
        let Some(section) = &service.tls else { return Ok(None) };
        let digests = section.files().map(|file| files.digest(file)).collect::<Result<_, _>>();
        let made = digests.and_then(|digests| {
            let made_of = Sources { section: section.clone(), protocol: service.protocol, files: digests };
            match old.iter().flatten().find(|old| old.made_of == made_of) {
                Some(same) => Ok(same.clone()),
                None => Security::new(made_of, files).map(Arc::new),
            }
        });
        made.map(Some).map_err(|why| format!("service '{}': {why}", service.name))
    };
    services.iter().map(one).collect()
}

/// What can be wrong with a section before its files are read.
pub fn check(section: &EndpointTls) -> Result<(), String> {
    if section.insecure && section.ca.is_some() {
        return Err("tls.insecure believes all, and tls.ca some: give one of them".to_owned());
    }
    if section.certificate.is_some() != section.key.is_some() {
        return Err("tls.certificate and tls.key go together: give both, or none".to_owned());
    }
    server_name(section).map(drop)
}

fn server_name(section: &EndpointTls) -> Result<Option<ServerName<'static>>, String> {
    let name = section.server_name.as_deref().map(|name| {
        ServerName::try_from(name.to_owned()).map_err(|_| format!("tls.server_name '{name}' is no name of a host"))
    });
    name.transpose()
}

impl Security {
    fn new(made_of: Sources, files: &Files) -> Result<Self, String> {
        let name = server_name(&made_of.section)?;
        let config = Arc::new(client_config(&made_of, files)?);
        Ok(Self { made_of, config, name })
    }

    pub fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.config.clone())
    }

    /// The name that the certificate of an endpoint must be for: that of the section, or the host of its address.
    pub fn name_of(&self, endpoint: &str) -> Result<ServerName<'static>, String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(host).map_err(|_| format!("TLS: {endpoint} has no name to check: give tls.server_name"))
    }

    /// Whether the handshake ended with the protocol that is to be spoken. Silence means HTTP/1.1.
    pub fn check_protocol(&self, chosen: Option<&[u8]>) -> Result<(), String> {
        let wanted = self.made_of.protocol;
        if chosen == Some(alpn(wanted)) || (chosen.is_none() && wanted == Protocol::H1) {
            return Ok(());
        }
        Err("TLS: it does not speak the service's protocol (ALPN): see protocol in the file".to_owned())
    }
}

impl PartialEq for Security {
    fn eq(&self, other: &Self) -> bool {
        self.made_of == other.made_of
    }
}

impl std::fmt::Debug for Security {
    /// A key is told to nobody.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security").field("section", &self.made_of.section).finish_non_exhaustive()
    }
}

fn client_config(of: &Sources, files: &Files) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let EndpointTls { ca, certificate, key, insecure, .. } = &of.section;
    let builder = if *insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        builder.with_root_certificates(ca.as_ref().map_or_else(system_roots, |ca| load::roots(ca, files))?)
    };
    let mut config = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let (chain, private) = (load::certificates(certificate, files)?, load::private_key(key, files)?);
            let built = builder.with_client_auth_cert(chain, private);
            built.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn(of.protocol).to_vec()];
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        return Err("the system has no certificates of authorities: give tls.ca".to_owned());
    }
    Ok(roots)
}

/// Believes every certificate whose holder has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
