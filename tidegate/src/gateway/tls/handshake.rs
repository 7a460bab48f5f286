//! One handshake, bounded in time, and why one fails.

use super::super::stream::Socket;
use super::super::upstream::add;
use super::turns::Turns;
use super::{Tls, load};
use hyper::header::HeaderValue;
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConnection};
use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection that is secured.
#[derive(Debug)]
pub struct Secured {
    pub stream: Box<TlsStream<Socket>>,
    /// Who the client is, if it has shown a certificate.
    pub identity: Option<Identity>,
    pub session: Rc<Session>,
}

/// What was agreed on, for the access log.
#[derive(Debug)]
pub struct Session {
    pub version: &'static str,
    pub resumed: bool,
    /// Whom the client has asked for.
    pub server_name: Option<String>,
    /// Whose certificate it has shown.
    pub subject: Option<HeaderValue>,
}

/// Who a client has proved to be.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate itself as RFC 9440 writes it.
    pub certificate: HeaderValue,
    pub subject: HeaderValue,
}

/// Why a handshake fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Late,
    /// Its turn did not come in time.
    Crowded,
    Closed,
    NotTls,
    /// No version, cipher or protocol that both know.
    Incompatible,
    NoCertificate,
    BadCertificate,
    /// The client has given up, mostly since it doesn't trust the certificate.
    Alert,
    Other,
}

impl Reason {
    pub const ALL: [(Self, &str); 9] = [
        (Self::Late, "late"),
        (Self::Crowded, "crowded"),
        (Self::Closed, "closed"),
        (Self::NotTls, "not_tls"),
        (Self::Incompatible, "incompatible"),
        (Self::NoCertificate, "no_certificate"),
        (Self::BadCertificate, "bad_certificate"),
        (Self::Alert, "alert"),
        (Self::Other, "other"),
    ];

    fn of(error: &std::io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => Self::NotTls,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Self::Incompatible,
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(_)) => Self::BadCertificate,
            Some(Error::AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Other,
            None if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => Self::Closed,
            None => Self::Other,
        }
    }
}

/// What a lane counts of handshakes.
#[derive(Debug, Default)]
pub struct Handshakes {
    pub done: Cell<u64>,
    /// Those of clients that came again.
    pub resumed: Cell<u64>,
    /// By their reason.
    pub failed: [Cell<u64>; Reason::ALL.len()],
    pub turns: Turns,
}

impl Handshakes {
    pub fn count(&self, shaken: &Result<Secured, Reason>) {
        match shaken {
            Ok(secured) => {
                add(&self.done, 1);
                add(&self.resumed, u64::from(secured.session.resumed));
            }
            Err(reason) => add(&self.failed[*reason as usize], 1),
        }
    }
}

/// Secures a connection, when it is its turn.
pub async fn shake(tls: &Tls, socket: Socket, turns: &Turns) -> Result<Secured, Reason> {
    let accepting = TlsAcceptor::from(tls.config.clone()).accept(socket);
    let accepted = turns.take(tls.time, accepting).await?;
    let stream = accepted.map_err(|error| Reason::of(&error))?;
    let connection = stream.get_ref().1;
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let identity = shown.map(|der| Identity::of(der)).transpose()?;
    let session = Rc::new(Session::of(connection, identity.as_ref()));
    Ok(Secured { stream: Box::new(stream), identity, session })
}

impl Session {
    fn of(connection: &ServerConnection, identity: Option<&Identity>) -> Self {
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLS",
            },
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            server_name: connection.server_name().map(str::to_owned),
            subject: identity.map(|identity| identity.subject.clone()),
        }
    }
}

impl Identity {
    fn of(der: &[u8]) -> Result<Self, Reason> {
        let subject = load::subject(der).ok_or(Reason::BadCertificate)?;
        let value = |text: String| HeaderValue::try_from(text).map_err(|_| Reason::BadCertificate);
        Ok(Self { certificate: value(format!(":{}:", base64(der)))?, subject: value(subject)? })
    }
}

/// RFC 4648, section 4.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0, |group, byte| (group << 8) | usize::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place)) & 63];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn reasons_are_listed_in_their_order() {
        for (at, (reason, _)) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
    }
}
