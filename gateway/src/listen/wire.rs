//! A stream with what was read of it and not consumed yet, bounded both ways: what a connection that came to us and one
//! that we made have in common.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::CommonState;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;
use zeroize::Zeroize as _;

/// The most unread octets a connection holds.
pub const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Octets asked for at once.
const READ_BYTES: usize = 16 * 1024;
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// How a connection is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsDetails {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// What the client called the server (SNI, RFC 6066 §3).
    pub server_name: Option<String>,
}

impl TlsDetails {
    pub(crate) fn of(session: &CommonState, server_name: Option<String>) -> Self {
        let version = session.protocol_version().and_then(|version| version.as_str());
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Self {
            version: version.unwrap_or("TLS").replace('_', "."),
            cipher: cipher.map_or_else(|| "unknown".into(), |name| name.replace("TLS13_", "TLS_")),
            server_name,
        }
    }
}

/// The stream and its unread octets.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    read: usize,
    pub(crate) write_deadline: Duration,
}

impl Wire {
    pub(crate) fn clear(stream: TcpStream, write_deadline: Duration) -> Self {
        // Only speed depends on it.
        let _ = stream.set_nodelay(true);
        Self { stream: Stream::Clear(stream), buffer: Vec::new(), read: 0, write_deadline }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, write_deadline: Duration) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), buffer: Vec::new(), read: 0, write_deadline }
    }

    /// The stream in clear, for a handshake; what was read and not consumed is dropped with the rest.
    pub(crate) fn into_clear(self) -> io::Result<TcpStream> {
        match self.stream {
            Stream::Clear(stream) => Ok(stream),
            Stream::Tls(_) => Err(io::Error::other("TLS is on already")),
        }
    }

    /// The TLS session.
    pub(crate) fn session(&self) -> Option<&CommonState> {
        match &self.stream {
            Stream::Clear(_) => None,
            Stream::Tls(stream) => Some(stream.get_ref().1),
        }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    pub(crate) fn consume(&mut self, octets: usize) {
        self.read = (self.read + octets).min(self.buffer.len());
        if self.read == self.buffer.len() {
            self.buffer.clear();
            self.read = 0;
        }
    }

    /// The same for what held a secret.
    pub(crate) fn wipe(&mut self, octets: usize) {
        let end = (self.read + octets).min(self.buffer.len());
        self.buffer[self.read..end].zeroize();
        self.consume(octets);
    }

    /// Waits for more octets; `false` when the peer has closed, or already [`BUFFER_BYTES_MAX`] are unread.
    pub(crate) async fn fill(&mut self, deadline: Duration) -> io::Result<bool> {
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

    pub(crate) fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let stream = &mut self.stream;
        timeout(self.write_deadline, async {
            stream.write_all(octets).await?;
            stream.flush().await
        })
        .await?
    }

    /// When this future is dropped, what is left in `octets` is what was not sent.
    pub(crate) async fn send_from(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
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

    pub(crate) async fn close(mut self) {
        // The peer may be gone already, and then there is nobody to tell.
        let _ = timeout(CLOSE_DEADLINE, self.stream.shutdown()).await;
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
