//! Connections of a listener.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::shutdown::Shutdown;

/// When the machine has no descriptor left, or the like.
const PAUSE: Duration = Duration::from_millis(200);
/// How long answers may take to end at shutdown.
pub const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until `stop` says so, and has each served by what `serve` gives; `None` turns it away.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    mut stop: Shutdown,
    mut serve: impl FnMut(TcpStream, SocketAddr) -> Option<F>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match serve(stream, peer) {
                    Some(served) => drop(connections.spawn(served)),
                    None => tracing::debug!(%peer, "too many connections"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    sleep(PAUSE).await;
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
