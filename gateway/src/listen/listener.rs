//! Accepting.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::shutdown::Shutdown;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use super::{Connection, Entrance, Limits, SessionId};
use crate::activity::{Kind, New, activity};
use crate::monitoring::metrics;

const BACKLOG: u32 = 1024;
/// How long to wait after an error in accepting; it seldom is over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long sessions may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(20);
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// A port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({listener}): {source}{}", advice(.source, .address))]
pub struct BindError {
    /// The key in `[listen]`.
    pub listener: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn advice(error: &io::Error, address: &SocketAddr) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse if address.is_ipv6() && address.ip().is_unspecified() => {
            "; [::] takes IPv4 as well, so leave 0.0.0.0 with this port out; else another program listens there (ss -ltnp \
             shows which)"
        }
        io::ErrorKind::AddrInUse => {
            "; another program listens there (ss -ltnp shows which): stop it, or choose another port in [listen]"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 want root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

/// Opens a port.
pub fn bind(listener: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for the last run's connections to fade.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| BindError { listener, address, source })
}

/// What a listener serves with.
#[derive(Debug, Clone)]
pub struct Door {
    /// Which one it is.
    pub entrance: Entrance,
    /// The certificate.
    pub tls: Arc<ServerConfig>,
    /// Sessions at once.
    pub limits: Limits,
    /// What a connection beyond the limits is told, in clear doors only.
    pub refusal: &'static [u8],
    /// When to end.
    pub shutdown: Shutdown,
}

/// A protocol.
pub trait Server: Clone + Send + Sync + 'static {
    /// Serves one connection to its end.
    fn serve(&self, connection: Connection, door: Door) -> impl Future<Output = ()> + Send;
}

/// Takes connections until shutdown, then waits for those that are open.
pub async fn serve(listener: TcpListener, door: Door, server: impl Server) {
    let mut shutdown = door.shutdown.clone();
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Whatever the level: a warning should tell its session as well.
                    let span = tracing::error_span!("session", id = %SessionId::next(), listener = door.entrance.name());
                    let session = session(stream, peer, door.clone(), server.clone());
                    sessions.spawn(session.instrument(span));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = sessions.join_next() => report(ended),
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    let all_ended = async {
        while let Some(ended) = sessions.join_next().await {
            report(ended);
        }
    };
    if timeout(GRACE, all_ended).await.is_err() {
        tracing::warn!(sessions = sessions.len(), "cutting sessions that did not end");
        sessions.shutdown().await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session panicked; the others go on");
    }
}

async fn session(stream: TcpStream, peer: SocketAddr, door: Door, server: impl Server) {
    let mut connection = Connection::new(stream, peer).limited(&door.limits);
    let place = door.limits.take(peer.ip());
    if let Err(refusal) = &place {
        metrics().session_refused(door.entrance);
        if refusal.untold > 0 {
            tracing::warn!(%peer, why = %refusal, refused = refusal.untold, "connections refused");
        }
        if !door.entrance.has_implicit_tls() {
            // A courtesy; the peer notices the end in any case.
            let _ = timeout(REFUSAL_DEADLINE, connection.send(door.refusal)).await;
        }
        return;
    }
    let _open = metrics().session(door.entrance);
    tracing::debug!(%peer, "session begins");
    if door.entrance.has_implicit_tls() {
        connection = match connection.start_tls(Arc::clone(&door.tls)).await {
            Ok(connection) => connection,
            Err(error) => return tracing::info!(%peer, %error, "the TLS handshake failed"),
        };
    }
    let (entrance, clock) = (door.entrance, door.limits.clock());
    let began = clock.moment();
    server.serve(connection, door).await;
    let lasted = clock.moment().since(began).as_millis();
    let ended = New::of(Kind::Session, entrance.name(), format!("ended after {lasted} ms")).from(peer.ip());
    activity().tell(clock.wall(), ended);
    drop(place);
}
