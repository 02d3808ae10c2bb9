//! Does what the session says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::shutdown::Shutdown;

use super::refusal;
use super::session::{Action, Event, Session, SessionSettings};
use crate::intake::{Incoming, Intake, IntakeError, Provenance};
use crate::listen::{Connection, Door, Server};
use crate::monitoring::metrics;

/// RFC 5321 §4.5.3.2.7 wants a server to wait at least 5 minutes for the next command.
const IDLE_DEADLINE: Duration = Duration::from_secs(300);

/// SMTP for a listener.
#[derive(Debug, Clone)]
pub struct SmtpServer<I> {
    settings: Arc<SessionSettings>,
    intake: I,
    idle_deadline: Duration,
}

impl<I: Intake> SmtpServer<I> {
    /// Serves with these settings into that intake.
    pub fn new(settings: Arc<SessionSettings>, intake: I) -> Self {
        Self { settings, intake, idle_deadline: IDLE_DEADLINE }
    }

    /// With another deadline than five minutes for the next octet.
    #[must_use]
    pub fn with_idle_deadline(self, idle_deadline: Duration) -> Self {
        Self { idle_deadline, ..self }
    }
}

impl<I: Intake> Server for SmtpServer<I> {
    async fn serve(&self, connection: Connection, door: Door) {
        let peer = connection.peer();
        let session = Session::new(Arc::clone(&self.settings), connection.tls().is_some());
        let driver = Driver {
            connection: Some(connection),
            session,
            intake: &self.intake,
            incoming: None,
            failure: None,
            out: Vec::new(),
            idle_deadline: self.idle_deadline,
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
    out: Vec<u8>,
    idle_deadline: Duration,
}

impl<I: Intake> Driver<'_, I> {
    async fn run(mut self, door: &Door) -> io::Result<()> {
        let mut shutdown = door.shutdown.clone();
        self.out.extend(self.session.greeting().to_bytes());
        let mut actions = Vec::new();
        loop {
            let connection = self.connection.as_mut().ok_or_else(gone)?;
            let taken = self.session.receive(connection.unread(), &mut actions);
            connection.consume(taken);
            if taken == 0 && actions.is_empty() {
                self.flush().await?;
                match self.next_input(&mut shutdown).await? {
                    None => {}
                    Some(Input::End) => return Ok(()),
                    Some(Input::Event(event)) => self.session.handle(event, &mut actions),
                }
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
        tokio::select! {
            filled = connection.fill(self.idle_deadline) => match filled {
                Ok(true) => Ok(None),
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
                refusal::counted_as(&reply).into_iter().for_each(|why| metrics().refused(why));
                self.out.extend(reply.to_bytes());
            }
            Action::StartTls => {
                self.flush().await?;
                let connection = self.connection.take().ok_or_else(gone)?;
                self.connection = Some(connection.start_tls(Arc::clone(&door.tls)).await?);
                self.session.handle(Event::TlsStarted, more);
            }
            Action::Begin(envelope) => {
                let provenance = self.provenance()?;
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
                let result = match self.incoming.take() {
                    Some(incoming) => incoming.commit(normalised).await,
                    None => Err(self.failure.take().unwrap_or_else(|| IntakeError::Temporary {
                        reason: "a message was committed that had never begun".into(),
                    })),
                };
                self.log(&result);
                self.session.handle(Event::Stored(result), more);
            }
            Action::Abort => self.incoming = None,
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

    fn provenance(&self) -> io::Result<Provenance> {
        let connection = self.connection.as_ref().ok_or_else(gone)?;
        let (helo, protocol) = self.session.client();
        Ok(Provenance { peer: connection.peer(), helo, protocol, tls: connection.tls().cloned() })
    }

    fn fail(&mut self, error: IntakeError, more: &mut Vec<Action>) {
        tracing::error!(%error, "a message is refused");
        self.incoming = None;
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
