//! Certificates of a test's own, and a server of HTTP/1.1 under TLS.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// An authority, whose certificate stands in a file.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub file: PathBuf,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// One that keeps its certificate in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names are sound");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().expect("there is chance");
        let certificate = params.self_signed(&key).expect("it can be signed");
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem()).expect("the folder can be written");
        Self { issuer: rcgen::Issuer::new(params, key), file }
    }

    /// A certificate for `name`.
    pub fn issue(&self, name: &str) -> Identity {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
        let key = rcgen::KeyPair::generate().expect("there is chance");
        let certificate = params.signed_by(&key, &self.issuer).expect("it can be signed");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub fn pem(&self) -> String {
        std::fs::read_to_string(&self.file).expect("it was written")
    }
}

impl Identity {
    /// What a server goes by that shows it; `clients` must come with certificates of that authority.
    pub fn server(&self, clients: Option<&Authority>, protocols: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().expect("they are supported");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let pem = authority.pem();
                roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM")).expect("it is sound");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("there is a root"))
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is PEM");
        let mut config = builder.with_single_cert(chain.expect("it is PEM"), key).expect("they belong together");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A server under TLS: answers each request by its own name and the path; `/close` ends its connection behind that.
pub struct SecureUpstream {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: String,
    config: Mutex<Arc<ServerConfig>>,
    connections: AtomicUsize,
    resumed: AtomicUsize,
}

impl SecureUpstream {
    pub fn start(name: &str, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let (connections, resumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let state = State { name: name.to_owned(), config: Mutex::new(config), connections, resumed };
        let state = Arc::new(state);
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, Ok(stream)) = (of_thread.clone(), stream) else { return };
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    /// Handshakes that ended well.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Those of them that went on with an earlier session.
    pub fn resumed(&self) -> usize {
        self.state.resumed.load(Ordering::SeqCst)
    }

    /// Goes by this for new connections.
    pub fn set_config(&self, config: Arc<ServerConfig>) {
        *self.state.config.lock().expect("no thread fails with it") = config;
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let config = self.config.lock().ok()?.clone();
        stream.set_nodelay(true).ok()?;
        let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        if stream.conn.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Ordering::SeqCst);
        }
        let mut reader = BufReader::new(stream);
        loop {
            let (mut first, mut line) = (String::new(), String::new());
            reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            }
            let path = first.split(' ').nth(1)?;
            let text = format!("{} {path}", self.name);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
            reader.get_mut().flush().ok()?;
            if path == "/close" {
                let stream = reader.get_mut();
                stream.conn.send_close_notify();
                return stream.flush().ok();
            }
        }
    }
}
