//! TLS to the endpoints of a service: whose certificates are believed, and what the gateway shows of its own.
//!
//! It is made of files when the configuration is read, so a file that is missing or wrong is refused with it, and it is made anew
//! when one of them changes. Two are the same if what they were made of is. Sessions are kept with it and resumed, by all lanes.

use super::config::document::EndpointTls;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    H1,
    /// HTTP/2: by ALPN under TLS, and without it known beforehand.
    H2,
}

impl Protocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::H1 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Security {
    made_of: Sources,
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

/// What it was made of: the section, and the bytes of its files.
#[derive(Clone, PartialEq, Eq)]
struct Sources {
    section: EndpointTls,
    protocol: Protocol,
    authorities: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Security {
    /// Reads the section's files; what is wrong with them.
    pub fn load(section: &EndpointTls, protocol: Protocol) -> Result<Arc<Self>, String> {
        let read = |file: &Option<std::path::PathBuf>| file.as_deref().map_or_else(|| Ok(Vec::new()), read);
        let made_of = Sources {
            section: section.clone(),
            protocol,
            authorities: read(&section.ca)?,
            certificate: read(&section.certificate)?,
            key: read(&section.key)?,
        };
        let name = section.server_name.as_deref().map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|_| format!("tls.server_name '{name}' is no name of a host"))
        });
        let config = Arc::new(client_config(&made_of)?);
        Ok(Arc::new(Self { made_of, config, name: name.transpose()? }))
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
        if chosen == Some(wanted.alpn()) || (chosen.is_none() && wanted == Protocol::H1) {
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

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))
}

fn client_config(of: &Sources) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match (of.section.insecure, &of.section.ca) {
        (true, Some(_)) => return Err("tls.insecure believes all, and tls.ca some: give one of them".to_owned()),
        (true, None) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
        (false, ca) => builder.with_root_certificates(roots(ca.as_deref(), &of.authorities)?),
    };
    let built = match (&of.section.certificate, &of.section.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, &of.certificate)?;
            let private = PrivateKeyDer::from_pem_slice(&of.key)
                .map_err(|error| format!("{} holds no key: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| format!("{}: {error}", key.display()))
        }
        _ => Err("tls.certificate and tls.key go together: give both, or none".to_owned()),
    };
    let mut config = built?;
    config.alpn_protocols = vec![of.protocol.alpn().to_vec()];
    Ok(config)
}

fn roots(file: Option<&Path>, bytes: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            return Err("the system has no certificates of authorities: give tls.ca".to_owned());
        }
        return Ok(roots);
    };
    for certificate in certificates(file, bytes)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| format!("{} is no PEM file: {error}", file.display()))?;
    if all.is_empty() { Err(format!("{} holds no certificate", file.display())) } else { Ok(all) }
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
