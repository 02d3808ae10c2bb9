//! Serving: TLS, HTTP/1.1, limits.
//!
//! HTTP/1.1 only: it is what the pages need, and what HTTP/2 brings along (multiplexing, header compression) has been a
//! way to exhaust servers more than once.
//!
//! A connection may take so long for each thing: the handshake and a request's header, also between two requests
//! (`limits.handshake_deadline` each), its body and answer (`gate`), and each packet of an answer that its client is slow to take.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_shared::shutdown::Shutdown;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tower::Service as _;

use super::gate::Peer;
use super::{Console, api, overview};
use crate::listen::{self, BindError, Limits, Quota};
use crate::settings::Settings;

const HEADER_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long answers may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);

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
        listeners.spawn(accept(listener, door.clone(), stop.clone()));
    }
    while listeners.join_next().await.is_some() {}
}

async fn accept(listener: TcpListener, door: Door, mut stop: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, door.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the console; trying again");
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

async fn connection(stream: TcpStream, peer: SocketAddr, door: Door, mut stop: Shutdown) {
    let Ok(_place) = door.limits.take(peer.ip()) else {
        // Nothing can be said before TLS; the browser tries again.
        return tracing::debug!(%peer, "too many connections to the console");
    };
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let (handshakes, answer_deadline) = door.limits.handshakes();
    let stream = match handshakes.accept(stream, door.tls).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%peer, %error, "the console's TLS handshake failed"),
    };
    let stream = Paced { stream, deadline: answer_deadline, waiting: None };
    let routes = door.routes;
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
        .header_read_timeout(door.console.core.settings().limits.handshake_deadline)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection to the console ended");
    }
}

/// A stream whose peer has to take what is sent within a time.
struct Paced<S> {
    stream: S,
    deadline: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Paced<S> {
    fn wait<R>(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<std::io::Result<R>>,
    ) -> Poll<std::io::Result<R>> {
        if let Poll::Ready(done) = step(Pin::new(&mut self.stream), context) {
            self.waiting = None;
            return Poll::Ready(done);
        }
        let deadline = self.deadline;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(deadline)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.get_mut().wait(context, |stream, context| stream.poll_write(context, octets))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.get_mut().wait(context, S::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.get_mut().wait(context, S::poll_shutdown)
    }
}
