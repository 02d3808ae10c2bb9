//! Serving: ports, TLS, deadlines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use postern_shared::http::{self, Pace};
use postern_shared::shutdown::Shutdown;
use postern_shared::tls::server::{Identity, IdentityError, Served};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::places::Places;
use super::{Api, handle};
use crate::app::Core;

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(15);
/// A request's header, also between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Each packet of an answer that its client is slow to take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} (listen.{listener}): {source}; is another program there, or another archiver?"
)]
pub struct BindError {
    listener: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Ports that are open and not served yet.
#[derive(Debug)]
pub struct Bound(Vec<TcpListener>);

impl Bound {
    /// Opens the ports of the listener of that name in the settings.
    pub fn open(listener: &'static str, addresses: &[SocketAddr]) -> Result<Self, BindError> {
        let open = |address: &SocketAddr| {
            let bound = std::net::TcpListener::bind(address).and_then(|socket| {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket)
            });
            bound.map_err(|source| BindError { listener, address: *address, source })
        };
        addresses.iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Where they are.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.iter().map(TcpListener::local_addr).collect()
    }
}

/// The certificate to serve with: files that the settings name, or one that is made at first start.
pub fn identity(core: &Core) -> Result<Identity, IdentityError> {
    let settings = &core.settings;
    if let Some((certificate, key)) = &settings.certificate {
        return Identity::from_pem_files(&*core.disk, certificate, key).map(Identity::in_order);
    }
    let mut names = vec![settings.host_name.clone(), "localhost".into(), "127.0.0.1".into()];
    names.dedup();
    Identity::self_signed(&*core.disk, &settings.data_dir.join("tls"), &names, core.clock.wall())
}

/// Serves the API until `stop` says so.
pub async fn serve(
    bound: Bound,
    api: Arc<Api>,
    identity: Identity,
    stop: Shutdown,
) -> Result<(), rustls::Error> {
    let mut tls = ServerConfig::clone(&*Served::new(identity).server_config()?);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    serve_routes(bound, handle::routes(&api), Some(Arc::new(tls)), stop).await;
    Ok(())
}

/// Serves routes over TLS, or in clear.
pub(crate) async fn serve_routes(
    bound: Bound,
    routes: Router,
    tls: Option<Arc<ServerConfig>>,
    stop: Shutdown,
) {
    let places = Places::default();
    let mut listeners = JoinSet::new();
    for listener in bound.0 {
        let (routes, tls, places, stopping) = (routes.clone(), tls.clone(), places.clone(), stop.clone());
        listeners.spawn(http::accept(listener, stop.clone(), move |stream, peer| {
            let place = places.take(peer.ip())?;
            let served = connection(stream, peer, routes.clone(), tls.clone(), stopping.clone());
            Some(async move {
                let _place = place;
                served.await;
            })
        }));
    }
    while listeners.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    tls: Option<Arc<ServerConfig>>,
    stop: Shutdown,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    // Who asks in clear asks one question.
    let pace = Pace { header: HEADER_DEADLINE, answer: ANSWER_DEADLINE, keep_alive: tls.is_some() };
    let Some(tls) = tls else { return http::serve(stream, peer, routes, pace, stop).await };
    match timeout(HANDSHAKE_DEADLINE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => http::serve(stream, peer, routes, pace, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}
