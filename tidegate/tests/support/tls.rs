//! Certificates that a test makes for itself, and a client that speaks TLS with them.

use super::gateway::Gateway;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// An authority and its folder.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub folder: PathBuf,
    /// Its own certificate.
    pub file: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are sound");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("it can be signed");
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem()).expect("it can be written");
        Self { issuer: Issuer::new(params, key), folder: folder.to_owned(), file }
    }

    /// Writes NAME.pem and NAME.key for these names.
    pub fn issue(&self, name: &str, names: &[&str]) {
        self.issue_until(name, names, 2090);
    }

    /// The same, sound until the first day of a year.
    pub fn issue_until(&self, name: &str, names: &[&str], year: i32) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are sound");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("it can be signed");
        // Each is replaced at once, as those do it who renew certificates.
        for (kind, text) in [("pem", certificate.pem()), ("key", key.serialize_pem())] {
            let file = self.folder.join(format!("{name}.{kind}"));
            std::fs::write(file.with_extension("new"), text).expect("it can be written");
            std::fs::rename(file.with_extension("new"), file).expect("it can be moved");
        }
    }

    /// A client that trusts this authority, and shows the certificate NAME if there is one.
    pub fn client(&self, name: Option<&str>, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.file).expect("it is there")).expect("it is sound");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let mut config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let file = |kind: &str| self.folder.join(format!("{name}.{kind}"));
                let chain = vec![CertificateDer::from_pem_file(file("pem")).expect("it is there")];
                let key = PrivateKeyDer::from_pem_file(file("key")).expect("it is there");
                builder.with_client_auth_cert(chain, key).expect("it is a pair")
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// The address of the gateway's TLS listener of that place.
pub fn address(gateway: &Gateway, place: usize) -> String {
    gateway.https.split(',').nth(place).expect("it has that listener").to_owned()
}

/// A connection that asks for `server`, its handshake not yet done.
pub fn connect(client: &Arc<ClientConfig>, address: &str, server: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let tcp = TcpStream::connect(address).expect("it takes connections");
    tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    tcp.set_nodelay(true).expect("it can be set");
    let server = ServerName::try_from(server.to_owned()).expect("it is a name");
    let tls = ClientConnection::new(client.clone(), server).expect("the client is sound");
    StreamOwned::new(tls, tcp)
}

/// One request that ends its connection, and all that comes back.
pub fn ask(client: &Arc<ClientConfig>, address: &str, server: &str, request: &str) -> std::io::Result<String> {
    let mut stream = connect(client, address, server);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A program with these words: whether it was content, and all that it has said.
pub fn run(program: &str, words: &[&str]) -> (bool, String) {
    run_with(program, words, "")
}

pub fn run_with(program: &str, words: &[&str], stdin: &str) -> (bool, String) {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut input = child.stdin.take().expect("stdin is piped");
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    let ended = child.wait_with_output().expect("it ends");
    let text = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8_lossy(&text).into_owned())
}
