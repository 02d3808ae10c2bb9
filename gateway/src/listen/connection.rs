//! One connection, in clear or under TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::handshake::Handshakes;
use super::limits::Limits;
use crate::monitoring::metrics;

/// The most unread octets a connection holds.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Octets asked for at once.
const READ_BYTES: usize = 16 * 1024;
/// A peer that does not take our answer in this time is gone, unless configured.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(120);

/// How a connection is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsDetails {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// What the client called us (SNI, RFC 6066 §3).
    pub server_name: Option<String>,
}

/// One accepted connection, its unread octets, and who is on the other side.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    read: usize,
    peer: SocketAddr,
    tls: Option<TlsDetails>,
    handshakes: Handshakes,
    write_deadline: Duration,
}

impl Connection {
    /// A connection in clear.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        // Only speed depends on it.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Stream::Clear(stream),
            buffer: Vec::new(),
            read: 0,
            peer,
            tls: None,
            handshakes: Handshakes::default(),
            write_deadline: WRITE_DEADLINE,
        }
    }

    /// The same within the limits of a listener.
    #[must_use]
    pub fn limited(self, limits: &Limits) -> Self {
        let (handshakes, write_deadline) = limits.handshakes();
        Self { handshakes, write_deadline, ..self }
    }

    /// Who is on the other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How the connection is secured; `None` in clear.
    pub fn tls(&self) -> Option<&TlsDetails> {
        self.tls.as_ref()
    }

    /// Octets read and not consumed yet.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    /// Marks octets as done with.
    pub fn consume(&mut self, octets: usize) {
        self.read = (self.read + octets).min(self.buffer.len());
        if self.read == self.buffer.len() {
            self.buffer.clear();
            self.read = 0;
        }
    }

    /// Waits for more octets; `false` when the peer has closed, or already [`BUFFER_BYTES_MAX`] are unread.
    pub async fn fill(&mut self, deadline: Duration) -> io::Result<bool> {
        self.buffer.drain(..self.read);
        self.read = 0;
        let room = BUFFER_BYTES_MAX.saturating_sub(self.buffer.len());
        if room == 0 {
            return Ok(false);
        }
        self.buffer.reserve_exact(room.min(READ_BYTES));
        let n = timeout(deadline, (&mut self.stream).take(room as u64).read_buf(&mut self.buffer)).await??;
        Ok(n > 0)
    }

    /// Gives back the memory of an empty buffer: an idle session should cost next to nothing.
    pub fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Sends octets.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let stream = &mut self.stream;
        timeout(self.write_deadline, async {
            stream.write_all(octets).await?;
            stream.flush().await
        })
        .await?
    }

    /// Sends octets and forgets them as they go: when this future is dropped, what is left in `octets` is what was not
    /// sent, so none goes twice.
    pub async fn send_from(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
        let stream = &mut self.stream;
        timeout(self.write_deadline, async {
            while !octets.is_empty() {
                match stream.write(octets).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    sent => drop(octets.drain(..sent)),
                }
            }
            stream.flush().await
        })
        .await?
    }

    /// Goes on under TLS. What was read in clear and not consumed is dropped.
    pub async fn start_tls(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        let Stream::Clear(stream) = self.stream else {
            return Err(io::Error::other("TLS is on already"));
        };
        let accepted = self.handshakes.accept(stream, config).await;
        let stream = accepted.inspect_err(|_| metrics().tls_handshake(None))?;
        let (_, session) = stream.get_ref();
        let tls = TlsDetails {
            version: session.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS").replace('_', "."),
            cipher: session
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str().map(|name| name.replace("TLS13_", "TLS_")))
                .unwrap_or_else(|| "unknown".into()),
            server_name: session.server_name().map(str::to_owned),
        };
        metrics().tls_handshake(Some(&tls.version));
        Ok(Self {
            stream: Stream::Tls(Box::new(stream)),
            buffer: Vec::new(),
            read: 0,
            peer: self.peer,
            tls: Some(tls),
            handshakes: self.handshakes,
            write_deadline: self.write_deadline,
        })
    }

    /// Closes: under TLS with a close_notify, so that the peer can tell it from a cut.
    pub async fn close(mut self) {
        // The peer may be gone already, and then there is nobody to tell.
        let _ = timeout(Duration::from_secs(5), self.stream.shutdown()).await;
    }
}

#[derive(Debug)]
enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
