//! A server of HTTP/1.1 under TLS, by certificates that a test makes for itself.

use super::tls::Authority;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a server goes by that shows the certificate NAME; `clients` must come with certificates of that authority.
pub fn server(authority: &Authority, name: &str, clients: Option<&Authority>, protocols: &[&str]) -> Arc<ServerConfig> {
    let file = |kind: &str| authority.folder.join(format!("{name}.{kind}"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("they are supported");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&authority.file).expect("it is there")).expect("it is sound");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("there is a root"))
        }
    };
    let chain = vec![CertificateDer::from_pem_file(file("pem")).expect("it is there")];
    let key = PrivateKeyDer::from_pem_file(file("key")).expect("it is there");
    let mut config = builder.with_single_cert(chain, key).expect("they belong together");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
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
