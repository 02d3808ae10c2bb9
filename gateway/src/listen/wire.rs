//! A stream with what was read of it and not consumed yet, bounded both ways: what a connection that came to us and one
//! that we made have in common.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
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
    /// Why reading failed behind what was read last.
    failed: Option<io::Error>,
    pub(crate) write_deadline: Duration,
}

impl Wire {
    pub(crate) fn clear(stream: TcpStream, write_deadline: Duration) -> Self {
        // Only speed depends on it.
        let _ = stream.set_nodelay(true);
        Self { stream: Stream::Clear(stream), buffer: Vec::new(), read: 0, failed: None, write_deadline }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, write_deadline: Duration) -> Self {
        let stream = Stream::Tls(Box::new(stream));
        Self { stream, buffer: Vec::new(), read: 0, failed: None, write_deadline }
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

    /// What was used already and stands there still.
    #[cfg(test)]
    pub(crate) fn used(&self) -> &[u8] {
        &self.buffer[..self.read]
    }

    /// Waits for more octets; `false` when the peer has closed, or already [`BUFFER_BYTES_MAX`] are unread.
    pub(crate) async fn fill(&mut self, deadline: Duration) -> io::Result<bool> {
        self.buffer.drain(..self.read);
        self.read = 0;
        let room = BUFFER_BYTES_MAX.saturating_sub(self.buffer.len()).min(READ_BYTES);
        if room == 0 {
            return Ok(false);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.buffer.reserve_exact(room);
        let n = timeout(deadline, (&mut self.stream).take(room as u64).read_buf(&mut self.buffer)).await??;
        if n > 0 {
            poll_fn(|cx| {
                self.fill_on(room - n, cx);
                Poll::Ready(())
            })
            .await;
        }
        Ok(n > 0)
    }

    /// Takes what else is there already: TLS is read a record at a time, and some peers' are short.
    fn fill_on(&mut self, mut room: usize, cx: &mut Context<'_>) {
        while room > 0 {
            let mut stream = (&mut self.stream).take(room as u64);
            match pin!(stream.read_buf(&mut self.buffer)).poll(cx) {
                Poll::Ready(Ok(n)) if n > 0 => room -= n,
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    return;
                }
                // At an end, the next one finds it again.
                Poll::Ready(Ok(_)) | Poll::Pending => return,
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use tokio::net::TcpListener;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        far.set_nodelay(true).unwrap();
        (listener.accept().await.unwrap().0, far)
    }

    /// A connection to a server, and the server's end of it.
    async fn under_tls() -> (Wire, TlsStream<TcpStream>) {
        let (near, far) = connected().await;
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (acceptor, connector) =
            (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
        let name = ServerName::try_from("localhost").unwrap();
        let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        (Wire::tls(near.unwrap().into(), PATIENCE), far.unwrap().into())
    }

    /// Goal: short records cost no turn each, and what came before the connection broke is handed out before that is told.
    #[tokio::test]
    async fn several_records_come_at_once_and_a_break_comes_behind_them() {
        let (mut wire, mut far) = under_tls().await;
        for record in 0..8 {
            far.write_all(&[b'0' + record; 1000]).await.unwrap();
            far.flush().await.unwrap();
        }
        // Without a close_notify.
        drop(far);
        let mut fills = 0;
        while wire.unread().len() < 8000 {
            assert!(wire.fill(PATIENCE).await.unwrap());
            fills += 1;
        }
        assert!(fills < 8, "{fills}");
        assert!(wire.unread().chunks(1000).zip(b'0'..).all(|(record, digit)| record == [digit; 1000]));
        let broken = wire.fill(PATIENCE).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Goal: whatever a peer sends, so much is read at once and so much is held unread.
    #[tokio::test]
    async fn what_is_unread_is_bounded() {
        let (near, far) = connected().await;
        let (mut clear, mut far_clear) = (Wire::clear(near, PATIENCE), far);
        let (mut tls, mut far) = under_tls().await;
        let sending = tokio::spawn(async move {
            let _ = tokio::join!(far.write_all(&[b'x'; 400_000]), far_clear.write_all(&[b'x'; 400_000]));
        });
        for wire in [&mut clear, &mut tls] {
            loop {
                let before = wire.unread().len();
                let filled = wire.fill(PATIENCE).await.unwrap();
                assert!(wire.unread().len() - before <= READ_BYTES);
                assert!(wire.buffer.capacity() <= BUFFER_BYTES_MAX + READ_BYTES);
                if !filled {
                    break;
                }
            }
            assert_eq!(wire.unread().len(), BUFFER_BYTES_MAX);
        }
        drop((clear, tls));
        sending.await.unwrap();
    }
}
