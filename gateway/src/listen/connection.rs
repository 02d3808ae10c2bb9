//! One accepted connection, in clear or under TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::handshake::Handshakes;
use super::limits::Limits;
use super::wire::{TlsDetails, Wire};
use crate::monitoring::metrics;

/// A peer that does not take our answer in this time is gone, unless configured.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(120);

/// One accepted connection, its unread octets, and who is on the other side.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    peer: SocketAddr,
    tls: Option<TlsDetails>,
    handshakes: Handshakes,
}

impl Connection {
    /// A connection in clear.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let wire = Wire::clear(stream, WRITE_DEADLINE);
        Self { wire, peer, tls: None, handshakes: Handshakes::default() }
    }

    /// The same within the limits of a listener.
    #[must_use]
    pub fn limited(mut self, limits: &Limits) -> Self {
        (self.handshakes, self.wire.write_deadline) = limits.handshakes();
        self
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
        self.wire.unread()
    }

    /// Marks octets as done with.
    pub fn consume(&mut self, octets: usize) {
        self.wire.consume(octets);
    }

    /// The same for octets that held a secret: they are wiped.
    pub fn wipe(&mut self, octets: usize) {
        self.wire.wipe(octets);
    }

    /// What was used already and stands there still.
    #[cfg(test)]
    pub fn used(&self) -> &[u8] {
        self.wire.used()
    }

    /// Waits for more octets; `false` when the peer has closed, or already [`super::BUFFER_BYTES_MAX`] are unread.
    pub async fn fill(&mut self, deadline: Duration) -> io::Result<bool> {
        self.wire.fill(deadline).await
    }

    /// Gives back the memory of an empty buffer: an idle session should cost next to nothing.
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

    /// Goes on under TLS. What was read in clear and not consumed is dropped.
    pub async fn start_tls(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        let write_deadline = self.wire.write_deadline;
        let accepted = self.handshakes.accept(self.wire.into_clear()?, config).await;
        let stream = accepted.inspect_err(|_| metrics().tls_handshake(None))?;
        let (_, session) = stream.get_ref();
        let tls = TlsDetails::of(session, session.server_name().map(str::to_owned));
        metrics().tls_handshake(Some(&tls.version));
        let wire = Wire::tls(stream.into(), write_deadline);
        Ok(Self { wire, tls: Some(tls), ..self })
    }

    /// Closes: under TLS with a close_notify, so that the peer can tell it from a cut.
    pub async fn close(self) {
        self.wire.close().await;
    }
}
