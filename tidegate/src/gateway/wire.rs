//! The bytes of a connection to an endpoint: in the clear, or under TLS.

use super::security::Security;
use super::want::Unconnected;
use rustls::pki_types::ServerName;
use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// See the module.
#[derive(Debug)]
pub enum Wire {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Connects, and shakes hands if there is `security`; why it failed, as an operator should read it.
    pub async fn open(
        address: SocketAddr,
        security: Option<(&Security, ServerName<'static>)>,
    ) -> std::result::Result<Self, Unconnected> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some((security, name)) = security else { return Ok(Self::Clear(stream)) };
        let shaken = security.connector().connect(name, stream).await;
        let stream = shaken.map_err(|error| format!("TLS: {error}"))?;
        security.check_protocol(stream.get_ref().1.alpn_protocol())?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// True if its peer has neither closed it nor sent what nobody asked for. Nobody may be reading it.
    ///
    /// In the clear that is a look at the socket. Under TLS there may be records that aren't for us, as the tickets which a server
    /// sends behind its handshake: so they are read, and only what they bring counts, which is nothing, data, or the end.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match self {
            Self::Clear(stream) => {
                let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
                matches!(rustix::net::recv(&*stream, &mut byte, flags), Err(rustix::io::Errno::AGAIN))
            }
            Self::Tls(stream) => {
                let quiet = &mut Context::from_waker(Waker::noop());
                Pin::new(&mut **stream).poll_read(quiet, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

/// The same call for whichever it is.
macro_rules! either {
    ($wire:ident, $stream:ident => $call:expr) => {
        match $wire.get_mut() {
            Self::Clear($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        either!(self, stream => stream.poll_read(context, into))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}
