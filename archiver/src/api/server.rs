//! Serving: TLS, HTTP/1.1, deadlines.
//!
//! HTTP/1.1 only, as at the gateway's console: what HTTP/2 brings along has been a way to exhaust servers more than once.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_shared::shutdown::Shutdown;
use postern_shared::tls::server::{Identity, IdentityError, Served};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::door::Peer;
use super::paced::Paced;
use super::places::Places;
use super::{Api, handle};
use crate::app::Core;

const HEADER_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(15);
/// A request's header, also between two requests.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Each packet of an answer that its client is slow to take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long answers may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);

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
        let (routes, tls, places) = (routes.clone(), tls.clone(), places.clone());
        listeners.spawn(accept(listener, routes, tls, places, stop.clone()));
    }
    while listeners.join_next().await.is_some() {}
}

async fn accept(
    listener: TcpListener,
    routes: Router,
    tls: Option<Arc<ServerConfig>>,
    places: Places,
    mut stop: Shutdown,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match places.take(peer.ip()) {
                    Some(place) => {
                        let (routes, tls, stop) = (routes.clone(), tls.clone(), stop.clone());
                        connections.spawn(async move {
                            let _place = place;
                            connection(stream, peer, routes, tls, stop).await;
                        });
                    }
                    None => tracing::debug!(%peer, "too many connections"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.requested() => break,
        }
    }
    drop(listener);
    let ended = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        connections.shutdown().await;
    }
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
    let Some(tls) = tls else { return requests(stream, peer, routes, false, stop).await };
    match timeout(HANDSHAKE_DEADLINE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, peer, routes, true, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
    }
}

async fn requests<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    routes: Router,
    keep_alive: bool,
    mut stop: Shutdown,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let mut routes = routes.clone();
        async move {
            let Ok(answer) = routes.call(request.map(Body::new)).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(keep_alive)
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Paced::new(stream, ANSWER_DEADLINE)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}
