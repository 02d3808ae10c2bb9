//! Does what the session says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::proto::sasl::Credentials;
use postern_shared::shutdown::Shutdown;

use super::elsewhere::{Elsewhere, Relayed};
use super::refusal;
use super::session::{Action, Event, Session, SessionSettings};
use crate::activity::{Kind, New, activity};
use crate::intake::{Incoming, Intake, IntakeError, Origin, Provenance};
use crate::listen::{Awaited, Connection, Door, Pace, Patience, Server};
use crate::monitoring::metrics;

/// Replies that are sent without waiting for the input to run dry: a peer that pipelines and does not read must not
/// make them pile up.
const OUTPUT_BYTES: usize = 16 * 1024;

/// SMTP for a listener.
#[derive(Debug, Clone)]
pub struct SmtpServer<I> {
    settings: Arc<SessionSettings>,
    intake: I,
    patience: Patience,
    clock: Arc<dyn Clock>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    failure_pause: Duration,
}

impl<I: Intake> SmtpServer<I> {
    /// Serves with these settings into that intake.
    pub fn new(settings: Arc<SessionSettings>, intake: I) -> Self {
        Self {
            settings,
            intake,
            patience: Patience::default(),
            clock: Arc::new(SystemClock::new()),
            elsewhere: None,
            failure_pause: Duration::ZERO,
        }
    }

    /// Beside a proxy, for clients that log in; who fails to waits for the pause.
    #[must_use]
    pub fn beside(self, elsewhere: Option<Arc<dyn Elsewhere>>, failure_pause: Duration) -> Self {
        Self { elsewhere, failure_pause, ..self }
    }

    /// With another patience than the default.
    #[must_use]
    pub fn with_patience(self, patience: Patience, clock: Arc<dyn Clock>) -> Self {
        Self { patience, clock, ..self }
    }
}

impl<I: Intake> Server for SmtpServer<I> {
    async fn serve(&self, connection: Connection, door: Door) {
        let peer = connection.peer();
        let divider = self.elsewhere.as_ref().map(|elsewhere| elsewhere.divider());
        let session = Session::new(Arc::clone(&self.settings), connection.tls().is_some())
            .from_client(peer.ip())
            .beside_proxy(divider);
        let driver = Driver {
            connection: Some(connection),
            session,
            intake: &self.intake,
            incoming: None,
            failure: None,
            elsewhere: self.elsewhere.as_deref(),
            failure_pause: self.failure_pause,
            relayed: None,
            out: Vec::new(),
            pace: Pace::new(self.patience, self.clock.moment()),
            clock: &*self.clock,
        };
        if let Err(error) = driver.run(&door).await {
            tracing::debug!(%peer, %error, "the SMTP connection broke");
        }
    }
}

struct Driver<'d, I: Intake> {
    /// `None` only while a handshake has it.
    connection: Option<Connection>,
    session: Session,
    intake: &'d I,
    incoming: Option<I::Incoming>,
    /// Why the intake no longer holds a message that the session commits in the same breath.
    failure: Option<IntakeError>,
    elsewhere: Option<&'d dyn Elsewhere>,
    failure_pause: Duration,
    /// Who goes on with the connection.
    relayed: Option<Box<dyn Relayed>>,
    out: Vec<u8>,
    pace: Pace,
    clock: &'d dyn Clock,
}

impl<I: Intake> Driver<'_, I> {
    async fn run(mut self, door: &Door) -> io::Result<()> {
        let mut shutdown = door.shutdown.clone();
        self.out.extend(self.session.greeting().to_bytes());
        let mut actions = Vec::new();
        loop {
            let connection = self.connection.as_mut().ok_or_else(gone)?;
            let holds_secret = self.session.expects_secret(connection.unread());
            let taken = self.session.receive(connection.unread(), &mut actions);
            if holds_secret {
                connection.wipe(taken);
            } else {
                connection.consume(taken);
            }
            if taken == 0 && actions.is_empty() {
                self.flush().await?;
                match self.next_input(&mut shutdown).await? {
                    None => {}
                    Some(Input::End) => return Ok(()),
                    Some(Input::Event(event)) => self.session.handle(event, &mut actions),
                }
            }
            if !actions.is_empty() && !self.session.is_in_content() {
                self.pace.done();
            }
            // Doing one can call for more.
            while !actions.is_empty() {
                for action in std::mem::take(&mut actions) {
                    if !self.perform(action, door, &mut actions).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for octets; `None` when some came.
    async fn next_input(&mut self, shutdown: &mut Shutdown) -> io::Result<Option<Input>> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        connection.shrink();
        let (before, clock) = (connection.unread().len(), self.clock);
        let awaited = if self.session.is_in_content() { Awaited::Content } else { Awaited::Command };
        let deadline = self.pace.wait(awaited, clock.moment());
        if deadline.is_zero() {
            // Also for a peer that always has more to say.
            return Ok(Some(Input::Event(Event::Idle)));
        }
        tokio::select! {
            filled = connection.fill(deadline) => match filled {
                Ok(true) => {
                    self.pace.came(connection.unread().len().saturating_sub(before), clock.moment());
                    Ok(None)
                }
                Ok(false) => Ok(Some(Input::End)),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(Some(Input::Event(Event::Idle))),
                Err(error) => Err(error),
            },
            () = shutdown.requested() => Ok(Some(Input::Event(Event::Shutdown))),
        }
    }

    /// Does one action; `false` when the connection is over.
    async fn perform(&mut self, action: Action, door: &Door, more: &mut Vec<Action>) -> io::Result<bool> {
        match action {
            Action::Reply(reply) => {
                if let Some(why) = refusal::counted_as(&reply) {
                    metrics().refused(why);
                    let event = New::of(Kind::Refusal, door.entrance.name(), why.name());
                    let from = self.connection.as_ref().map(|connection| connection.peer().ip());
                    activity().tell(self.clock.wall(), from.map_or(event.clone(), |peer| event.from(peer)));
                }
                self.out.extend(reply.to_bytes());
                if self.out.len() >= OUTPUT_BYTES {
                    self.flush().await?;
                }
            }
            Action::StartTls => {
                self.flush().await?;
                let connection = self.connection.take().ok_or_else(gone)?;
                self.connection = Some(connection.start_tls(Arc::clone(&door.tls)).await?);
                self.session.handle(Event::TlsStarted, more);
            }
            Action::Begin(envelope) => {
                let provenance = self.provenance()?;
                self.pace.message(Some(self.clock.moment()));
                match self.intake.begin(envelope, provenance) {
                    Ok(incoming) => (self.incoming, self.failure) = (Some(incoming), None),
                    Err(error) => self.fail(error, more),
                }
            }
            Action::Content(content) => {
                if let Some(incoming) = &mut self.incoming
                    && let Err(error) = incoming.write(&content).await
                {
                    self.fail(error, more);
                }
            }
            Action::Commit(normalised) => {
                self.pace.message(None);
                let result = match self.incoming.take() {
                    Some(incoming) => incoming.commit(normalised).await,
                    None => Err(self.failure.take().unwrap_or_else(|| IntakeError::Temporary {
                        reason: "a message was committed that had never begun".into(),
                    })),
                };
                self.log(&result);
                self.session.handle(Event::Stored(result), more);
            }
            Action::Abort => {
                self.pace.message(None);
                self.incoming = None;
            }
            Action::LogIn(credentials) => {
                self.flush().await?;
                self.log_in(credentials, door, more).await?;
            }
            Action::Pause => tokio::time::sleep(self.failure_pause).await,
            Action::HandOver => {
                self.flush().await?;
                let (helo, _) = self.session.client();
                if let Some((connection, relayed)) = self.connection.take().zip(self.relayed.take()) {
                    relayed.run(connection, helo, door.shutdown.clone()).await;
                }
                return Ok(false);
            }
            Action::Close => {
                self.flush().await?;
                if let Some(connection) = self.connection.take() {
                    connection.close().await;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn log_in(
        &mut self,
        credentials: Credentials,
        door: &Door,
        more: &mut Vec<Action>,
    ) -> io::Result<()> {
        let peer = self.connection.as_ref().ok_or_else(gone)?.peer();
        let mut shutdown = door.shutdown.clone();
        let elsewhere = self.elsewhere.ok_or_else(gone)?;
        let event = tokio::select! {
            outcome = elsewhere.log_in(door, peer, credentials) => {
                Event::LoggedIn(outcome.map(|relayed| self.relayed = Some(relayed)))
            }
            () = shutdown.requested() => Event::Shutdown,
        };
        self.session.handle(event, more);
        Ok(())
    }

    fn provenance(&self) -> io::Result<Provenance> {
        let connection = self.connection.as_ref().ok_or_else(gone)?;
        let (helo, protocol) = self.session.client();
        let (peer, tls) = (connection.peer(), connection.tls().cloned());
        Ok(Provenance { peer, helo, protocol, tls, origin: Origin::Journal })
    }

    fn fail(&mut self, error: IntakeError, more: &mut Vec<Action>) {
        tracing::error!(%error, "a message is refused");
        self.incoming = None;
        self.pace.message(None);
        self.failure = Some(error.clone());
        self.session.handle(Event::Failed(error), more);
    }

    fn log(&self, result: &Result<Vec<postern_shared::id::MessageId>, IntakeError>) {
        let peer = self.connection.as_ref().map(Connection::peer);
        match result {
            Ok(messages) => {
                for message in messages {
                    tracing::info!(?peer, id = %message, "message on disk");
                }
            }
            Err(error) => tracing::error!(?peer, %error, "a message is refused"),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.connection.as_mut().ok_or_else(gone)?.send(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }
}

enum Input {
    End,
    Event(Event),
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
