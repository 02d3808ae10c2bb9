//! From a login that the POP3 server took in to the relay.

use std::net::SocketAddr;
use std::sync::Arc;

use postern_shared::clock::Clock;
use postern_shared::proto::pop3::Reply;
use postern_shared::proto::sasl::Credentials;
use postern_shared::shutdown::Shutdown;

use super::driver::{Deadlines, Driver, Ended};
use super::machine::{End, Options};
use super::recorder::{Recorder, Recording, Source};
use crate::intake::Intake;
use crate::intake::memory::Memory;
use crate::listen::{Connection, Door};
use crate::pop3_server::elsewhere::Pending;
use crate::pop3_server::{Elsewhere, Relayed};
use crate::proxy::{Admitted, Pop3Server, Proxy};
use crate::settings::OnRecordingFailure;
use crate::spool::INLINE_BYTES_MAX;

/// What of messages of all sessions is held until they are whole.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Takes the names with the divider off the POP3 server's hands.
#[derive(Debug)]
pub struct Pop3Proxy<I> {
    proxy: Proxy,
    recording: Arc<Recording<I>>,
    message_octets_max: u64,
    memory: Memory,
    clock: Arc<dyn Clock>,
}

impl<I: Intake> Pop3Proxy<I> {
    /// A proxy that records messages of up to so many octets.
    pub fn new(
        proxy: Proxy,
        recording: Arc<Recording<I>>,
        message_octets_max: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { proxy, recording, message_octets_max, memory: Memory::new(HELD_BYTES_MAX), clock }
    }

    /// The same with what that other one holds in memory counted together.
    #[must_use]
    pub fn sharing_memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// What it holds in memory.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    fn relayed(&self, admitted: Admitted<Pop3Server>) -> LoggedIn<I> {
        let settings = self.proxy.settings();
        let options = Options {
            pipelining: admitted.server.capabilities.has("PIPELINING"),
            message_octets_max: self.message_octets_max,
            held_octets_max: INLINE_BYTES_MAX,
            memory: self.memory.clone(),
            pass_unrecorded: settings.on_recording_failure == OnRecordingFailure::Pass,
        };
        let deadlines = Deadlines {
            idle: settings.pop3_idle_deadline,
            reply: settings.reply_deadline,
            clock: Arc::clone(&self.clock),
        };
        LoggedIn { admitted, recording: Arc::clone(&self.recording), options, deadlines }
    }
}

impl<I: Intake> Elsewhere for Pop3Proxy<I> {
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
            let admitted = self.proxy.log_in_pop3(door.entrance, client.ip(), credentials).await;
            let admitted = admitted.map_err(|refusal| refusal.pop3_reply())?;
            let relayed: Box<dyn Relayed> = Box::new(self.relayed(admitted));
            Ok(relayed)
        })
    }
}

/// A client and a server that believe each other logged in.
struct LoggedIn<I> {
    admitted: Admitted<Pop3Server>,
    recording: Arc<Recording<I>>,
    options: Options,
    deadlines: Deadlines,
}

impl<I: Intake> Relayed for LoggedIn<I> {
    fn run(self: Box<Self>, client: Connection, shutdown: Shutdown) -> Pending<'static, ()> {
        let Self { admitted, recording, options, deadlines } = *self;
        let Admitted { route, server, place } = admitted;
        let link = server.link;
        let source = Source {
            mailbox: route.mailbox,
            account: route.account.to_string(),
            server: link.server().to_owned(),
            server_tls: link.tls().map(|tls| (tls.version.clone(), tls.cipher.clone())),
            client: client.peer(),
            tls: client.tls().cloned(),
        };
        let (account, server, peer) = (source.account.clone(), source.server.clone(), source.client);
        let driver = Driver::new(client, link, options, Recorder::new(recording, source), deadlines);
        Box::pin(async move {
            let (ended, recorded) = driver.run(shutdown).await;
            drop(place);
            match ended {
                Ended::Relay(End::Quit | End::ClientGone) | Ended::Shutdown => {
                    tracing::info!(%peer, %account, %server, recorded, %ended, "proxied pop3 session ended");
                }
                Ended::Relay(End::NotRecorded | End::NotDeleted) => {
                    tracing::error!(%peer, %account, %server, recorded, %ended, "proxied pop3 session cut");
                }
                ended => {
                    tracing::warn!(%peer, %account, %server, recorded, %ended, "proxied pop3 session cut");
                }
            }
        })
    }
}
