//! From a login that the SMTP receiver took in to the relay.

use std::net::SocketAddr;
use std::sync::Arc;

use postern_shared::clock::Clock;
use postern_shared::proto::sasl::Credentials;
use postern_shared::proto::smtp::reply::Reply;
use postern_shared::shutdown::Shutdown;

use super::driver::{Driver, ServerPatience};
use super::relay::{Relay, RelaySettings};
use crate::intake::{Intake, Proxied};
use crate::listen::{Connection, Door, Pace, Patience};
use crate::proxy::{Admitted, Proxy, SmtpServer};
use crate::smtp_receiver::{Elsewhere, Pending, Relayed, SessionSettings};

/// Takes the clients that log in off the SMTP receiver's hands.
#[derive(Debug)]
pub struct SmtpProxy<I> {
    proxy: Proxy,
    recording: Recording<I>,
}

/// What a session needs besides its two sides; clones share everything.
#[derive(Debug, Clone)]
pub struct Recording<I> {
    /// Those of the listeners.
    pub session: Arc<SessionSettings>,
    /// Where copies go.
    pub intake: I,
    /// How long a client may take.
    pub patience: Patience,
    /// How long a server may take.
    pub server_patience: ServerPatience,
    /// What that is measured with.
    pub clock: Arc<dyn Clock>,
}

impl<I: Intake> SmtpProxy<I> {
    /// A proxy that records into that intake. Of `patience` the time for a command is the proxy's own.
    pub fn new(
        proxy: Proxy,
        session: Arc<SessionSettings>,
        intake: I,
        patience: Patience,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let settings = proxy.settings();
        let patience = Patience { command: settings.smtp_idle_deadline, ..patience };
        let server_patience =
            ServerPatience { answer: settings.reply_deadline, end_of_data: settings.end_of_data_deadline };
        let recording = Recording { session, intake, patience, server_patience, clock };
        Self { proxy, recording }
    }
}

impl<I: Intake> Elsewhere for SmtpProxy<I> {
    fn divider(&self) -> char {
        self.proxy.divider()
    }

    fn log_in<'a>(
        &'a self,
        door: &'a Door,
        client: SocketAddr,
        credentials: Credentials,
    ) -> Pending<'a, Result<Box<dyn Relayed>, Reply>> {
        Box::pin(async move {
            let admitted = self.proxy.log_in_smtp(door.entrance, client.ip(), credentials).await;
            let admitted = admitted.map_err(|refusal| refusal.smtp_reply())?;
            let relayed: Box<dyn Relayed> =
                Box::new(LoggedIn { admitted, recording: self.recording.clone() });
            Ok(relayed)
        })
    }
}

/// A client and a server that believe each other logged in.
struct LoggedIn<I> {
    admitted: Admitted<SmtpServer>,
    recording: Recording<I>,
}

impl<I: Intake> Relayed for LoggedIn<I> {
    fn run(self: Box<Self>, client: Connection, helo: String, shutdown: Shutdown) -> Pending<'static, ()> {
        let Self { admitted: Admitted { route, server, place }, recording } = *self;
        Box::pin(async move {
            let peer = client.peer();
            let account = route.account.to_string();
            tracing::info!(%peer, %account, server = server.link.server(), "proxied smtp session begins");
            relay(&recording, (route.mailbox, account), server, (client, helo), shutdown).await;
            drop(place);
            tracing::info!(%peer, account = %route.account, "proxied smtp session ended");
        })
    }
}

/// Serves a client to its end.
pub(super) async fn relay<I: Intake>(
    recording: &Recording<I>,
    (mailbox, account): (postern_shared::id::MailboxId, String),
    server: SmtpServer,
    (client, helo): (Connection, String),
    shutdown: Shutdown,
) {
    let SmtpServer { link, extensions } = server;
    let session = Arc::clone(&recording.session);
    let proxied = Proxied {
        account,
        server: link.server().to_owned(),
        server_tls: link.tls().map(|tls| (tls.version.clone(), tls.cipher.clone())),
        uidl: None,
    };
    let driver = Driver {
        relay: Relay::new(RelaySettings { session, mailbox, extensions, helo }),
        client,
        server: Some(link),
        proxied,
        intake: &recording.intake,
        pace: Pace::new(recording.patience, recording.clock.moment()),
        clock: &*recording.clock,
        patience: recording.server_patience,
        hands: Default::default(),
    };
    driver.run(shutdown).await;
}
