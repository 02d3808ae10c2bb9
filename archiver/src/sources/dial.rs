//! From a host name to a connection: name, TCP, TLS, each with its deadline and its own error.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postern_shared::tls::client::not_trusted;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::SourceError;

/// A connection, before or after TLS.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

/// rustls asks for 4 KiB at a time; the system is asked for more.
const READ_AHEAD: usize = 64 * 1024;

/// Connects to `host`, trying its addresses one after the other, each for `limit`.
pub async fn tcp(host: &str, port: u16, limit: Duration) -> Result<TcpStream, SourceError> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let name = |source| SourceError::Name { host: host.to_owned(), source };
    let found = timeout(limit, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<SocketAddr> = found.map_err(|_| name(late()))?.map_err(name)?.collect();
    let mut failed = name(io::Error::new(io::ErrorKind::NotFound, "it has none"));
    for address in addresses {
        let source = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Commands are short and waited for; Nagle would hold them back. If this fails it is only slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(source)) => source,
            Err(_) => late(),
        };
        failed = SourceError::Connect { address: format!("{host} at {address}"), source };
    }
    Err(failed)
}

/// Shakes hands over `stream` with the server that `host` names, within `limit`.
pub async fn tls(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Stream, SourceError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| SourceError::BadHost { host: host.to_owned() })?;
    let stream = BufReader::with_capacity(READ_AHEAD, stream);
    let shaken = timeout(limit, TlsConnector::from(config).connect(name, stream))
        .await
        .map_err(|_| SourceError::TimedOut { host: host.to_owned(), during: "the TLS handshake", limit })?;
    match shaken {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(source) => Err(match not_trusted(&source) {
            Some(refusal) => SourceError::NotTrusted {
                host: host.to_owned(),
                presented: refusal.presented,
                reason: refusal.reason.clone(),
            },
            None => SourceError::Tls { host: host.to_owned(), source },
        }),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
