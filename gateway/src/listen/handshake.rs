//! TLS handshakes: how long one may take, and how many are computed at once.
//!
//! A handshake costs about a millisecond of computing, between waits for the peer. Only the computing takes one of the
//! few places, so a thousand peers that connect and say nothing hold none, and a flood of real handshakes queues for the
//! places while established sessions get their turns in between.
//!
//! What follows a handshake cannot flood either: TLS 1.3 has no renegotiation, rustls answers the first request for one
//! under TLS 1.2 with a warning and ends the connection at the second, and ends it after 32 KeyUpdate requests between
//! two records of application data (`TemperCounters` in rustls; `a_flood_of_key_updates_is_cut` in tests/guard.rs).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Handshakes computed at once, unless configured.
pub const HANDSHAKES_AT_ONCE: usize = 4;
/// How long a handshake may take, unless configured.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);

/// The limits on handshakes; clones share their places.
#[derive(Debug, Clone)]
pub struct Handshakes {
    places: Arc<Semaphore>,
    deadline: Duration,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self::new(HANDSHAKES_AT_ONCE, HANDSHAKE_DEADLINE)
    }
}

impl Handshakes {
    /// So many computed at once (at least one), each from its begin to its end within `deadline`.
    pub fn new(at_once: usize, deadline: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS))), deadline }
    }

    /// Shakes hands.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> io::Result<TlsStream<TcpStream>> {
        timeout(self.deadline, async {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            let place = self.places.acquire().await.map_err(io::Error::other)?;
            // The key exchange and the signature are computed here; what is left is waiting, and one MAC.
            let rest = hello.into_stream(config);
            drop(place);
            rest.await
        })
        .await?
    }
}
