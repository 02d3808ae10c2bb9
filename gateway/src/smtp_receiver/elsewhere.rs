//! What this room needs of the proxy: a login at another server, and somebody who goes on with the connection.

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use postern_shared::proto::sasl::Credentials;
use postern_shared::proto::smtp::reply::Reply;
use postern_shared::shutdown::Shutdown;

use crate::listen::{Connection, Door};

/// Something that takes its time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Logs in elsewhere.
pub trait Elsewhere: Debug + Send + Sync + 'static {
    /// What stands in every name that is meant for it.
    fn divider(&self) -> char;
    /// Logs in where the user's name says, for a client that came through `door`. The error is what the client is told; why
    /// is in the log, and who must wait is decided there.
    fn log_in<'a>(
        &'a self,
        door: &'a Door,
        client: SocketAddr,
        credentials: Credentials,
    ) -> Pending<'a, Result<Box<dyn Relayed>, Reply>>;
}

/// A login that succeeded.
pub trait Relayed: Send {
    /// Serves the client, which greeted us as `helo`, from there until it goes. What it sent behind its login is still
    /// unread.
    fn run(self: Box<Self>, client: Connection, helo: String, shutdown: Shutdown) -> Pending<'static, ()>;
}
