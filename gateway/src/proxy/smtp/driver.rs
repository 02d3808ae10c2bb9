//! Does what the relay says: two connections, one intake.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::proto::mime::trace::Normalised;
use postern_shared::shutdown::Shutdown;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::relay::{Action, Awaited, Event, Relay};
use crate::intake::{Envelope, Incoming, Intake, IntakeError, Origin, Prepared as _, Provenance, Proxied};
use crate::listen::{self, Connection, Pace};
use crate::monitoring::{self, ProxyProtocol, metrics};
use crate::proxy::upstream::Link;

/// Replies, and commands, that are sent without waiting for the input to run dry.
const OUTPUT_OCTETS: usize = 16 * 1024;
/// While nothing is to be waited for.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerPatience {
    /// For the answer to a command.
    pub answer: Duration,
    /// For the answer to the end of a message (RFC 5321 §4.5.3.2.6 asks for 10 minutes).
    pub end_of_data: Duration,
}

type PreparedOf<I> = <<I as Intake>::Incoming as Incoming>::Prepared;

/// One session.
pub(super) struct Driver<'d, I: Intake> {
    pub(super) relay: Relay,
    pub(super) client: Connection,
    /// `None` once it is cut.
    pub(super) server: Option<Link>,
    pub(super) proxied: Proxied,
    pub(super) intake: &'d I,
    pub(super) pace: Pace,
    pub(super) clock: &'d dyn Clock,
    pub(super) patience: ServerPatience,
    pub(super) hands: Hands<I>,
}

/// What a session has in hand.
pub(super) struct Hands<I: Intake> {
    incoming: Option<I::Incoming>,
    prepared: Option<PreparedOf<I>>,
    /// Marks of copies on their way to the disk.
    confirming: JoinSet<()>,
    /// Why the intake no longer holds a message that is to be stored in the same breath.
    failure: Option<IntakeError>,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    /// What the server was waited for when, so that only its answer renews the deadline.
    awaited: Option<((Awaited, u64), Moment)>,
    client_gone: bool,
    stopping: bool,
}

impl<I: Intake> Default for Hands<I> {
    fn default() -> Self {
        Self {
            incoming: None,
            prepared: None,
            confirming: JoinSet::new(),
            failure: None,
            to_client: Vec::new(),
            to_server: Vec::new(),
            awaited: None,
            client_gone: false,
            stopping: false,
        }
    }
}

impl<I: Intake> Driver<'_, I> {
    /// Until both sides are done.
    pub(super) async fn run(mut self, mut shutdown: Shutdown) {
        let mut actions = Vec::new();
        loop {
            let used = self.hear_server(&mut actions);
            let heard_server = used || !actions.is_empty();
            if self.perform_all(&mut actions).await {
                break;
            }
            let holds_secret = self.relay.expects_secret(self.client.unread());
            let taken = self.relay.receive_client(self.client.unread(), &mut actions);
            if holds_secret {
                self.client.wipe(taken);
            } else {
                self.client.consume(taken);
            }
            // Not every command that is whole has an action: its reply may wait for others.
            if taken > 0 && !self.relay.is_in_content() && !self.relay.is_amid_line() {
                self.pace.done();
            }
            let heard_client = taken > 0 || !actions.is_empty();
            if self.perform_all(&mut actions).await {
                break;
            }
            if heard_server || heard_client {
                continue;
            }
            let event = match self.flush().await {
                Some(event) => Some(event),
                None if self.waits_for_nobody() => break,
                None => self.wait(&mut shutdown).await,
            };
            if let Some(event) = event {
                self.hands.client_gone |= matches!(event, Event::ClientGone);
                self.relay.handle(event, &mut actions);
            }
        }
        // One that is not decided on by now.
        self.keep();
        // Whatever became of the server, the client gets what it is owed.
        let _ = self.flush_client().await;
        let _ = self.flush_server().await;
        if let Some(server) = self.server {
            server.close().await;
        }
        self.client.close().await;
        while self.hands.confirming.join_next().await.is_some() {}
    }

    fn hear_server(&mut self, actions: &mut Vec<Action>) -> bool {
        let Some(server) = &mut self.server else { return false };
        let used = self.relay.receive_server(server.unread(), actions);
        server.consume(used);
        used > 0
    }

    /// Sends what waits to be sent; an event when one side does not take it. The client first: a server that takes nothing
    /// more must not keep it from its answers.
    async fn flush(&mut self) -> Option<Event> {
        if self.flush_client().await.is_err() {
            return Some(Event::ClientGone);
        }
        if let Err(error) = self.flush_server().await {
            tracing::warn!(account = %self.proxied.account, server = %self.proxied.server, %error,
                "the server takes nothing more");
            return Some(Event::ServerGone);
        }
        None
    }

    async fn pay_client(&mut self, more: &mut Vec<Action>) {
        if self.flush_client().await.is_err() {
            self.hands.client_gone = true;
            self.relay.handle(Event::ClientGone, more);
        }
    }

    async fn flush_server(&mut self) -> io::Result<()> {
        let octets = std::mem::take(&mut self.hands.to_server);
        match &mut self.server {
            Some(server) if !octets.is_empty() => server.send(&octets).await,
            _ => Ok(()),
        }
    }

    async fn flush_client(&mut self) -> io::Result<()> {
        let octets = std::mem::take(&mut self.hands.to_client);
        if octets.is_empty() || self.hands.client_gone {
            return Ok(());
        }
        self.client.send(&octets).await
    }

    /// Whether neither side can bring the session on; it would never end.
    fn waits_for_nobody(&self) -> bool {
        self.server.is_none() && !self.relay.wants_client() && self.relay.awaited().is_none()
    }

    /// Waits for either side; `None` when octets came.
    async fn wait(&mut self, shutdown: &mut Shutdown) -> Option<Event> {
        let now = self.clock.moment();
        let wants_client = self.relay.wants_client();
        let in_content = self.relay.is_in_content();
        let awaited = if in_content { listen::Awaited::Content } else { listen::Awaited::Command };
        let mut client_deadline = self.pace.wait(awaited, now);
        let server_deadline = self.server_deadline(now);
        // A client that waits for the server's answer is not slow.
        if server_deadline.is_some() && !in_content {
            client_deadline = NO_DEADLINE;
        }
        if wants_client && client_deadline.is_zero() {
            return Some(Event::Idle);
        }
        let (client, clock, stopping) = (&mut self.client, self.clock, self.hands.stopping);
        client.shrink();
        let before = client.unread().len();
        tokio::select! {
            filled = client.fill(client_deadline), if wants_client => match filled {
                Ok(true) => {
                    self.pace.came(client.unread().len().saturating_sub(before), clock.moment());
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Some(Event::Idle),
                Ok(false) | Err(_) => Some(Event::ClientGone),
            },
            filled = fill(&mut self.server, server_deadline.unwrap_or(NO_DEADLINE)) => match filled {
                Ok(true) => None,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Some(Event::ServerSilent),
                Ok(false) | Err(_) => Some(Event::ServerGone),
            },
            () = shutdown.requested(), if !stopping => {
                self.hands.stopping = true;
                Some(Event::Shutdown)
            }
        }
    }

    /// How much longer the server may take; `None` when nothing is expected of it.
    fn server_deadline(&mut self, now: Moment) -> Option<Duration> {
        let awaited = self.relay.awaited();
        let since = match (awaited, self.hands.awaited) {
            (Some(awaited), Some((before, since))) if awaited == before => since,
            _ => now,
        };
        self.hands.awaited = awaited.map(|awaited| (awaited, since));
        let (what, _) = awaited?;
        let patience = match what {
            Awaited::Answer => self.patience.answer,
            Awaited::EndOfData => self.patience.end_of_data,
        };
        Some(patience.saturating_sub(now.since(since)))
    }

    /// Does all actions, and those that they call for; `true` when the session is over.
    async fn perform_all(&mut self, actions: &mut Vec<Action>) -> bool {
        while !actions.is_empty() {
            let mut more = Vec::new();
            for action in actions.drain(..) {
                if matches!(action, Action::Close) {
                    return true;
                }
                self.perform(action, &mut more).await;
            }
            *actions = more;
        }
        false
    }

    async fn perform(&mut self, action: Action, more: &mut Vec<Action>) {
        match action {
            Action::Reply(reply) => {
                self.hands.to_client.extend(reply.to_bytes());
                if self.hands.to_client.len() >= OUTPUT_OCTETS {
                    self.pay_client(more).await;
                }
            }
            Action::Server(octets) => {
                if self.hands.to_server.is_empty() {
                    self.hands.to_server = octets;
                } else {
                    self.hands.to_server.extend(octets);
                }
                if self.hands.to_server.len() >= OUTPUT_OCTETS {
                    self.pay_client(more).await;
                    if self.flush_server().await.is_err() {
                        self.server = None;
                        self.relay.handle(Event::ServerGone, more);
                    }
                }
            }
            Action::Begin(envelope, protocol) => {
                let result = self.begin(envelope, protocol);
                self.relay.handle(Event::Begun(result), more);
            }
            Action::Content(content) => {
                if let Some(incoming) = &mut self.hands.incoming
                    && let Err(error) = incoming.write(&content).await
                {
                    self.not_recorded(&error);
                    self.hands.incoming = None;
                    self.hands.failure = Some(error.clone());
                    self.relay.handle(Event::Failed(error), more);
                }
            }
            Action::Prepare(normalised) => {
                let result = self.prepare(normalised).await;
                self.relay.handle(Event::Prepared(result), more);
            }
            Action::Confirm => {
                self.confirm().await;
                self.relay.handle(Event::Confirmed, more);
            }
            Action::Discard => {
                self.discard().await;
                self.relay.handle(Event::Discarded, more);
            }
            Action::Keep => self.keep(),
            Action::Abort => {
                self.pace.message(None);
                self.hands.incoming = None;
            }
            Action::Sever => {
                self.hands.to_server.clear();
                self.server = None;
            }
            // Done where it is noticed.
            Action::Close => {}
        }
    }

    fn begin(&mut self, envelope: Envelope, protocol: &'static str) -> Result<(), IntakeError> {
        let provenance = Provenance {
            peer: self.client.peer(),
            helo: self.relay.helo().to_owned(),
            protocol,
            tls: self.client.tls().cloned(),
            origin: Origin::SmtpProxy(self.proxied.clone()),
        };
        let begun = self.intake.begin(envelope, provenance);
        self.hands.failure = None;
        match begun {
            Ok(incoming) => {
                self.hands.incoming = Some(incoming);
                self.pace.message(Some(self.clock.moment()));
                Ok(())
            }
            Err(error) => {
                self.not_recorded(&error);
                Err(error)
            }
        }
    }

    async fn prepare(&mut self, normalised: Normalised) -> Result<(), IntakeError> {
        self.pace.message(None);
        let Some(incoming) = self.hands.incoming.take() else {
            return Err(self.hands.failure.take().unwrap_or_else(|| IntakeError::Temporary {
                reason: "a message was to be stored that had never begun".into(),
            }));
        };
        match incoming.prepare(normalised).await {
            Ok(prepared) => {
                self.hands.prepared = Some(prepared);
                Ok(())
            }
            Err(error) => {
                self.not_recorded(&error);
                Err(error)
            }
        }
    }

    /// The client is told that it must come again; why is for the operator.
    fn not_recorded(&self, error: &IntakeError) {
        let Proxied { account, server, .. } = &self.proxied;
        metrics().proxied(ProxyProtocol::Smtp, monitoring::Proxied::Failed);
        tracing::error!(%account, %server, %error, "a message cannot be recorded, so it is not sent");
    }

    async fn confirm(&mut self) {
        let Some(prepared) = self.hands.prepared.take() else { return };
        let Proxied { account, server, .. } = &self.proxied;
        let (account, server) = (account.clone(), server.clone());
        let mut confirmed = Box::pin(async move {
            match prepared.confirm().await {
                Ok(id) => {
                    metrics().proxied(ProxyProtocol::Smtp, monitoring::Proxied::Recorded);
                    metrics().proxy.account_message(&account);
                    tracing::info!(%account, %server, %id, "message sent, copy on disk");
                }
                // The server has it, so the client must not send it again.
                Err(error) => {
                    metrics().proxied(ProxyProtocol::Smtp, monitoring::Proxied::Unconfirmed);
                    tracing::error!(%account, %server, %error, "message sent; its copy stays unconfirmed");
                }
            }
        });
        // The copy is on disk, and the client need not wait until its mark is as well; that is on its way from here on.
        let done = poll_fn(|cx| Poll::Ready(confirmed.as_mut().poll(cx).is_ready())).await;
        if !done {
            while self.hands.confirming.try_join_next().is_some() {}
            self.hands.confirming.spawn(confirmed.in_current_span());
        }
    }

    async fn discard(&mut self) {
        let Some(prepared) = self.hands.prepared.take() else { return };
        let Proxied { account, server, .. } = &self.proxied;
        metrics().proxied(ProxyProtocol::Smtp, monitoring::Proxied::Refused);
        match prepared.discard().await {
            Ok(()) => tracing::info!(%account, %server, "the server refused a message; its copy is gone"),
            Err(error) => {
                tracing::error!(%account, %server, %error, "the server refused a message; its copy may stay");
            }
        }
    }

    fn keep(&mut self) {
        let Some(prepared) = self.hands.prepared.take() else { return };
        let Proxied { account, server, .. } = &self.proxied;
        metrics().proxied(ProxyProtocol::Smtp, monitoring::Proxied::Unconfirmed);
        let id = prepared.keep_unconfirmed();
        tracing::warn!(%account, %server, %id, "nobody knows whether the server took a message; its copy is kept unconfirmed");
    }
}

/// A server that was cut says nothing any more.
async fn fill(server: &mut Option<Link>, deadline: Duration) -> io::Result<bool> {
    match server {
        Some(server) => {
            server.shrink();
            server.fill(deadline).await
        }
        None => std::future::pending().await,
    }
}
