//! Does what the relay says: reads and writes on both sides, records, keeps deadlines.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, Moment};
use postern_shared::crypto::digest::Digest;
use postern_shared::shutdown::Shutdown;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::machine::{Action, End, Options, Relay, Unrecorded};
use super::message::{About, Held};
use super::recorder::Recorder;
use crate::intake::Intake;
use crate::listen::{Awaited, Connection, Pace, Patience};
use crate::proxy::upstream::Link;

const SENT_AT_ONCE: usize = 64 * 1024;
/// What a server must bring on average of a response that takes longer than the deadline.
const SERVER_OCTETS_PER_SECOND_MIN: u64 = 1024;

/// How long anything may take.
#[derive(Debug, Clone)]
pub(super) struct Deadlines {
    /// For a client's next command (RFC 1939 §3: not less than 10 minutes).
    pub(super) idle: Duration,
    /// For the server's next response, or the next octets of a long one.
    pub(super) reply: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// What ended a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// As the relay says.
    #[error(transparent)]
    Relay(#[from] End),
    /// Between two commands.
    #[error("the gateway shuts down")]
    Shutdown,
    /// The client's side failed, or was silent for too long.
    #[error("the client's connection failed: {0}")]
    Client(io::Error),
    /// The server's side failed, or was silent for too long.
    #[error("the server's connection failed: {0}")]
    Server(io::Error),
}

/// A session behind its login.
pub(super) struct Driver<I: Intake> {
    client: Connection,
    server: Link,
    relay: Relay,
    recorder: Recorder<I>,
    /// Copies that are being made while more comes, in their order.
    copying: VecDeque<JoinHandle<Result<(), Unrecorded>>>,
    deadlines: Deadlines,
    /// Since when the client owes a command.
    waits_since: Moment,
    /// How fast the server is with what it owes.
    pace: Pace,
    progress: u64,
    /// Why the server's side is gone.
    server_failed: Option<io::Error>,
}

/// What there is to react to.
enum Happened {
    Client(io::Result<bool>),
    Server(io::Result<bool>),
    Recorded(Result<(), Unrecorded>),
    Shutdown,
}

impl<I: Intake> Driver<I> {
    pub(super) fn new(
        client: Connection,
        server: Link,
        options: Options,
        recorder: Recorder<I>,
        deadlines: Deadlines,
    ) -> Self {
        let waits_since = deadlines.clock.moment();
        let patience = Patience {
            command: deadlines.reply,
            octets_per_second_min: SERVER_OCTETS_PER_SECOND_MIN,
            message: Duration::MAX,
            session: Duration::MAX,
        };
        let pace = Pace::new(patience, waits_since);
        Self {
            client,
            server,
            relay: Relay::new(options),
            recorder,
            copying: VecDeque::new(),
            deadlines,
            waits_since,
            pace,
            progress: 0,
            server_failed: None,
        }
    }

    /// Relays until one side goes; says why it ended, and how many messages were recorded.
    pub(super) async fn run(mut self, mut shutdown: Shutdown) -> (Ended, u64) {
        let ended = self.relay(&mut shutdown).await;
        // Copies that nobody waits for any more are made all the same.
        for copy in self.copying.drain(..) {
            let _ = copy.await;
        }
        let recorded = self.recorder.copier().recorded();
        // A server that is not told QUIT deletes nothing.
        tokio::join!(self.client.close(), self.server.close());
        (ended, recorded)
    }

    async fn relay(&mut self, shutdown: &mut Shutdown) -> Ended {
        let mut actions = Vec::new();
        loop {
            let used = self.relay.from_client(self.client.unread(), &mut actions);
            self.client.consume(used);
            if used > 0 {
                self.waits_since = self.deadlines.clock.moment();
            }
            let used = self.relay.from_server(self.server.unread(), &mut actions);
            self.server.consume(used);
            // What the server sent may have made room for a command that is there already.
            if actions.is_empty() && used == 0 {
                match self.wait(shutdown).await {
                    Happened::Client(Ok(true)) | Happened::Server(Ok(true)) => {}
                    Happened::Client(Ok(false)) => self.relay.client_closed(&mut actions),
                    Happened::Server(Ok(false)) => self.relay.server_lost(End::ServerGone, &mut actions),
                    // A peer that goes without closing TLS is gone just the same.
                    Happened::Client(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        self.relay.client_closed(&mut actions);
                    }
                    Happened::Client(Err(error)) => return Ended::Client(error),
                    Happened::Server(Err(error)) => {
                        let silent = error.kind() == io::ErrorKind::TimedOut;
                        self.server_failed = Some(error);
                        let why = if silent { End::ServerSilent } else { End::ServerGone };
                        self.relay.server_lost(why, &mut actions);
                    }
                    Happened::Recorded(outcome) => {
                        self.copying.pop_front();
                        self.relay.recorded(outcome, &mut actions);
                    }
                    Happened::Shutdown => return Ended::Shutdown,
                }
            }
            if let Err(ended) = self.perform(&mut actions).await {
                return match self.server_failed.take() {
                    Some(error) => Ended::Server(error),
                    None => ended,
                };
            }
        }
    }

    /// Waits until there is something new. An idle session holds no buffers.
    async fn wait(&mut self, shutdown: &mut Shutdown) -> Happened {
        let idle = self.relay.is_idle();
        if idle {
            self.client.shrink();
            self.server.shrink();
        }
        let waited = self.deadlines.clock.moment().since(self.waits_since);
        let patience = if idle { self.deadlines.idle.saturating_sub(waited) } else { Duration::MAX };
        if patience.is_zero() {
            return Happened::Client(Err(io::ErrorKind::TimedOut.into()));
        }
        let now = self.deadlines.clock.moment();
        if idle || self.relay.progress() != self.progress {
            self.progress = self.relay.progress();
            self.pace.done();
        }
        // While copies hold it up, the server owes nothing.
        let takes_responses = self.relay.takes_responses();
        let owes = !idle && takes_responses;
        let reply = if owes { self.pace.wait(Awaited::Content, now) } else { Duration::MAX };
        if reply.is_zero() {
            return Happened::Server(Err(io::ErrorKind::TimedOut.into()));
        }
        let takes_commands = self.relay.takes_commands();
        let copies = !self.copying.is_empty();
        let unread = self.server.unread().len();
        let happened = tokio::select! {
            filled = self.client.fill(patience), if takes_commands => Happened::Client(filled),
            filled = self.server.fill(reply), if takes_responses => Happened::Server(filled),
            outcome = outcome_of(self.copying.front_mut()), if copies => Happened::Recorded(outcome),
            () = shutdown.requested(), if idle => Happened::Shutdown,
        };
        if owes {
            self.pace.came(self.server.unread().len() - unread, self.deadlines.clock.moment());
        }
        happened
    }

    async fn perform(&mut self, actions: &mut Vec<Action>) -> Result<(), Ended> {
        // What an action reports leads to further actions, done before anything is read.
        while !actions.is_empty() {
            let mut reported = Vec::new();
            for action in actions.drain(..) {
                match action {
                    Action::Answer(octets) => {
                        // In pieces: a slow client runs into the deadline only when it takes next to nothing.
                        for piece in octets.chunks(SENT_AT_ONCE) {
                            self.client.send(piece).await.map_err(Ended::Client)?;
                        }
                        self.waits_since = self.deadlines.clock.moment();
                    }
                    Action::Ask(octets) => self.server.send(&octets).await.map_err(Ended::Server)?,
                    Action::Record { about, sha256, held } => {
                        if let Some(outcome) = self.record(about, sha256, held).await {
                            self.relay.recorded(outcome, &mut reported);
                        }
                    }
                    Action::Begin(about) => {
                        let outcome = self.recorder.begin(&about);
                        self.relay.recorded(outcome, &mut reported);
                    }
                    Action::Write(octets) => {
                        if self.recorder.write(&octets).await.is_err() {
                            self.relay.write_failed(&mut reported);
                        }
                    }
                    Action::Finish { about, sha256 } => {
                        let outcome = self.recorder.finish(&about, sha256).await;
                        self.relay.recorded(outcome, &mut reported);
                    }
                    Action::Abandon => self.recorder.abandon(),
                    Action::TooLong(about) => self.recorder.too_long(&about),
                    Action::Close(end) => return Err(end.into()),
                }
            }
            *actions = reported;
        }
        Ok(())
    }

    /// Records a message: here, when there is nothing else to do meanwhile; else beside all that, and what came of it is told
    /// later.
    async fn record(
        &mut self,
        about: About,
        sha256: Digest,
        held: Arc<Held>,
    ) -> Option<Result<(), Unrecorded>> {
        let copier = Arc::clone(self.recorder.copier());
        let copy = async move { copier.record(&about, sha256, &held).await };
        if self.copying.is_empty() && self.relay.waits_for_one() && self.client.unread().is_empty() {
            return Some(copy.await);
        }
        self.copying.push_back(tokio::spawn(copy.in_current_span()));
        None
    }
}

/// What came of a copy; one that stopped inside is none.
async fn outcome_of(copy: Option<&mut JoinHandle<Result<(), Unrecorded>>>) -> Result<(), Unrecorded> {
    match copy {
        Some(copy) => copy.await.unwrap_or_else(|error| {
            tracing::error!(%error, "making a copy stopped");
            Err(Unrecorded)
        }),
        None => Err(Unrecorded),
    }
}
