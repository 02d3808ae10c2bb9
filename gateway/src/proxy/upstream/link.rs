//! One connection to a provider's server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::listen::{TlsDetails, Wire};

/// A connection that we made, and its unread octets. Made in clear; nothing that could carry a credential is sent before
/// [`Link::start_tls`].
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    server: String,
    address: SocketAddr,
    tls: Option<TlsDetails>,
}

impl Link {
    /// A connection in clear to `server` (host:port), which takes what we send within `write_deadline`.
    pub fn new(stream: TcpStream, address: SocketAddr, server: String, write_deadline: Duration) -> Self {
        Self { wire: Wire::clear(stream, write_deadline), server, address, tls: None }
    }

    /// `host:port`, as the route and the settings name it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The address behind that.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the connection is secured; `None` in clear.
    pub fn tls(&self) -> Option<&TlsDetails> {
        self.tls.as_ref()
    }

    /// The certificate that the server showed.
    pub fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.wire.session()?.peer_certificates()?.first()
    }

    /// Octets read and not consumed yet.
    pub fn unread(&self) -> &[u8] {
        self.wire.unread()
    }

    /// Marks octets as done with.
    pub fn consume(&mut self, octets: usize) {
        self.wire.consume(octets);
    }

    /// Waits for more octets; `false` when the server has closed, or already [`crate::listen::BUFFER_BYTES_MAX`] are
    /// unread.
    pub async fn fill(&mut self, deadline: Duration) -> io::Result<bool> {
        self.wire.fill(deadline).await
    }

    /// Gives back the memory of an empty buffer.
    pub fn shrink(&mut self) {
        self.wire.shrink();
    }

    /// Sends octets.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.wire.send(octets).await
    }

    /// Sends octets and forgets them as they go: when this future is dropped, what is left in `octets` is what was not
    /// sent, so none goes twice.
    pub async fn send_from(&mut self, octets: &mut Vec<u8>) -> io::Result<()> {
        self.wire.send_from(octets).await
    }

    /// Goes on under TLS, within `deadline`. What was read in clear and not consumed is dropped.
    pub async fn start_tls(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        deadline: Duration,
    ) -> io::Result<Self> {
        let Self { wire, server, address, .. } = self;
        let write_deadline = wire.write_deadline;
        let called = name.to_str().into_owned();
        let connecting = TlsConnector::from(config).connect(name, wire.into_clear()?);
        let stream = timeout(deadline, connecting).await??;
        let tls = TlsDetails::of(stream.get_ref().1, Some(called));
        Ok(Self { wire: Wire::tls(stream.into(), write_deadline), server, address, tls: Some(tls) })
    }

    /// Closes: under TLS with a close_notify.
    pub async fn close(self) {
        self.wire.close().await;
    }
}
