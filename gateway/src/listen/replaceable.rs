//! A server that can be replaced while it serves.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Connection, Door, Server};

/// Serves each connection with the server that is there when it begins; clones are replaced together.
#[derive(Debug)]
pub struct Replaceable<S>(Arc<RwLock<S>>);

impl<S> Clone for Replaceable<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Replaceable<S> {
    /// With this one until another comes.
    pub fn new(server: S) -> Self {
        Self(Arc::new(RwLock::new(server)))
    }

    /// Connections that begin from now on are served by `server`; the others go on with theirs.
    pub fn replace(&self, server: S) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = server;
    }
}

impl<S: Server> Server for Replaceable<S> {
    async fn serve(&self, connection: Connection, door: Door) {
        let server = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        server.serve(connection, door).await;
    }
}
