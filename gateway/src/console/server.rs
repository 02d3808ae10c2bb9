//! Serving: ports, TLS, limits.
//!
//! A connection may take so long for each thing: the handshake and a request's header, also between two requests
//! (`limits.handshake_deadline` each), its body and answer (`gate`), and each packet of an answer that its client is slow to take.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use postern_shared::http::{self, Pace};
use postern_shared::shutdown::Shutdown;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Console, api, overview};
use crate::listen::{self, BindError, Limits, Quota};
use crate::settings::Settings;

/// The console's ports, open and not served yet.
#[derive(Debug)]
pub struct Bound(Vec<TcpListener>);

impl Bound {
    /// Opens the ports.
    pub fn open(addresses: &[SocketAddr]) -> Result<Self, BindError> {
        addresses.iter().map(|address| listen::bind("console", *address)).collect::<Result<_, _>>().map(Self)
    }

    /// Where they are.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.0.iter().map(TcpListener::local_addr).collect()
    }
}

/// What each connection is served with.
#[derive(Clone)]
struct Door {
    tls: Arc<ServerConfig>,
    limits: Limits,
    console: Arc<Console>,
    routes: Router,
}

/// How many connections there may be.
pub(crate) fn quota(settings: &Settings) -> Quota {
    Quota {
        sessions: settings.console.connections,
        per_address: settings.console.connections_per_address,
        ..settings.limits.pop3
    }
}

/// Serves until `stop` says so.
pub async fn serve(
    bound: Bound,
    console: Arc<Console>,
    tls: Arc<ServerConfig>,
    limits: Limits,
    stop: Shutdown,
) {
    let mut tls = ServerConfig::clone(&tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let routes = api::routes(&console, stop.clone());
    let door = Door { tls: Arc::new(tls), limits, console: Arc::clone(&console), routes };
    let mut listeners = JoinSet::new();
    listeners.spawn(overview::watch(Arc::clone(&console), stop.clone()));
    for listener in bound.0 {
        let (door, stopping) = (door.clone(), stop.clone());
        listeners.spawn(http::accept(listener, stop.clone(), move |stream, peer| {
            Some(connection(stream, peer, door.clone(), stopping.clone()))
        }));
    }
    while listeners.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, peer: SocketAddr, door: Door, stop: Shutdown) {
    let Ok(_place) = door.limits.take(peer.ip()) else {
        // Nothing can be said before TLS; the browser tries again.
        return tracing::debug!(%peer, "too many connections to the console");
    };
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let (handshakes, answer) = door.limits.handshakes();
    let stream = match handshakes.accept(stream, door.tls).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%peer, %error, "the console's TLS handshake failed"),
    };
    let header = door.console.core.settings().limits.handshake_deadline;
    http::serve(stream, peer, door.routes, Pace { header, answer, keep_alive: true }, stop).await;
}
