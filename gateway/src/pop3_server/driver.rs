//! Does what the session says: TLS, logins, streaming, deadlines.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::id::MailboxId;
use postern_shared::proto::pop3::Reply;
use postern_shared::proto::sasl::{Credentials, PlainCredentials};
use tokio::task::spawn_blocking;

use super::elsewhere::{Elsewhere, Relayed};
use super::maildrop::{Accounts, Entry, Locks, LoginError, Maildrop, Maildrops, ReadError};
use super::sending::Sending;
use super::session::{Action, Event, List, LoginRefusal, Session};
use super::wire::{Received, Wire};
use crate::activity::{Kind, New, activity};
use crate::listen::{Connection, Door, Patience, Refusals, Server};
use crate::login::{BackOff, Guard, LoginPool, NotDone};
use crate::monitoring::{Login, metrics};

/// What a connection beyond the limits is told: [`Door::refusal`] of a POP3 listener.
pub const REFUSAL: &[u8] = b"-ERR [SYS/TEMP] Too many sessions, try again later\r\n";

/// Octets of a list that are put together before they are sent.
const LIST_OCTETS: usize = 16 * 1024;

/// How the server behaves; the defaults are what the standards and the promises ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a client may be silent (RFC 1939 §3: not less than 10 minutes).
    pub idle: Duration,
    /// How long a client may take until it has logged in.
    pub login_deadline: Duration,
    /// What a failed login costs, besides Argon2id.
    pub failure_pause: Duration,
    /// Where passwords are checked.
    pub logins: Arc<LoginPool>,
    /// How long who fails must wait.
    pub back_off: BackOff,
    /// What the greeting calls this program.
    pub product: &'static str,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            login_deadline: Duration::from_secs(180),
            failure_pause: Duration::from_secs(1),
            logins: Arc::default(),
            back_off: BackOff::default(),
            product: "Postern",
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// Serves the connections of all POP3 listeners: clones share the knowledge of which maildrops are held.
pub struct Pop3Server<A, M> {
    shared: Arc<Shared<A, M>>,
}

struct Shared<A, M> {
    accounts: Arc<A>,
    maildrops: Arc<M>,
    locks: Locks,
    guard: Arc<Mutex<Guard>>,
    refusals: Mutex<Refusals>,
    settings: Settings,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

impl<A, M> Clone for Pop3Server<A, M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A: Accounts, M: Maildrops> Pop3Server<A, M> {
    /// A server that nobody is connected to.
    pub fn new(accounts: Arc<A>, maildrops: Arc<M>, settings: Settings) -> Self {
        Self::beside(accounts, maildrops, settings, None)
    }

    /// The same, with a proxy that takes the names with its divider.
    pub fn beside(
        accounts: Arc<A>,
        maildrops: Arc<M>,
        settings: Settings,
        elsewhere: Option<Arc<dyn Elsewhere>>,
    ) -> Self {
        let guard = Arc::new(Mutex::new(Guard::new(settings.back_off)));
        let shared = Shared {
            accounts,
            maildrops,
            locks: Locks::default(),
            guard,
            refusals: Mutex::default(),
            settings,
            elsewhere,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The same mailboxes with other settings: whoever holds a maildrop holds it here as well, and who must wait before
    /// another password still must.
    #[must_use]
    pub fn with_settings(&self, settings: Settings, elsewhere: Option<Arc<dyn Elsewhere>>) -> Self {
        lock(&self.shared.guard).follow(settings.back_off);
        let shared = Shared {
            accounts: Arc::clone(&self.shared.accounts),
            maildrops: Arc::clone(&self.shared.maildrops),
            locks: self.shared.locks.clone(),
            guard: Arc::clone(&self.shared.guard),
            refusals: Mutex::default(),
            settings,
            elsewhere,
        };
        Self { shared: Arc::new(shared) }
    }
}

impl<A: Accounts, M: Maildrops> Server for Pop3Server<A, M> {
    /// Serves one client until it goes, and logs how it went. At shutdown it is let go between two commands.
    ///
    /// Dropping the future ends the session as a broken connection would: nothing is deleted (unless the client had
    /// said QUIT), the maildrop is free, the key wiped.
    async fn serve(&self, connection: Connection, door: Door) {
        let peer = connection.peer();
        let shutdown = door.shutdown.clone();
        let divider = self.shared.elsewhere.as_ref().map(|elsewhere| elsewhere.divider());
        let mut conversation = Conversation {
            server: &self.shared,
            session: Session::new(connection.tls().is_some())
                .called(self.shared.settings.product)
                .beside_proxy(divider),
            key: None,
            relayed: None,
            door,
            peer,
            messages_sent: 0,
        };
        let Settings { idle, login_deadline, ref clock, .. } = self.shared.settings;
        let patience = Patience { command: idle, session: login_deadline, ..Patience::default() };
        let wire = Wire::new(connection, patience, Arc::clone(clock));
        let ended = conversation.run(wire).await;
        let sent = conversation.messages_sent;
        let relayed = conversation.relayed.take();
        drop(conversation);
        match ended {
            Ok(Some(connection)) => {
                if let Some(relayed) = relayed {
                    relayed.run(connection, shutdown).await;
                }
            }
            Ok(None) => tracing::debug!(%peer, sent, "pop3 session ended"),
            Err(End::Peer(error)) => tracing::info!(%peer, %error, sent, "pop3 connection lost"),
            Err(End::Damaged(error)) => {
                metrics().message_not_served();
                tracing::error!(%peer, %error, "pop3 connection closed amid a message that cannot be completed");
            }
        }
    }
}

/// Why a session ended before its time.
enum End {
    /// The peer went away, was silent, or failed in TLS.
    Peer(io::Error),
    /// A message could not be sent to its end.
    Damaged(ReadError),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Peer(error)
    }
}

struct Conversation<'s, A, M> {
    server: &'s Shared<A, M>,
    session: Session,
    key: Option<Arc<PrivateKey>>,
    /// Who goes on with the connection.
    relayed: Option<Box<dyn Relayed>>,
    door: Door,
    peer: SocketAddr,
    messages_sent: u64,
}

impl<A: Accounts, M: Maildrops> Conversation<'_, A, M> {
    /// Until the client goes, or the connection is somebody else's.
    async fn run(&mut self, mut wire: Wire) -> Result<Option<Connection>, End> {
        let mut shutdown = self.door.shutdown.clone();
        let mut actions = Vec::new();
        self.session.greet(&mut actions);
        loop {
            // What an action reports leads to further actions, never to a line being read before they are done.
            while !actions.is_empty() {
                let mut reported = Vec::new();
                for action in actions.drain(..) {
                    wire = match action {
                        Action::Close => return wire.close().await.map(|()| None).map_err(End::Peer),
                        Action::HandOver => return Ok(Some(wire.into_connection().await?)),
                        Action::StartTls => self.start_tls(wire, &mut reported).await?,
                        action => {
                            self.perform(&mut wire, action, &mut reported).await?;
                            wire
                        }
                    }
                }
                actions = reported;
            }
            let received = tokio::select! {
                received = wire.receive() => Some(received?),
                // An error means that the switch is gone, and with it whoever ran this.
                () = shutdown.requested() => None,
            };
            match received {
                Some(Received::Line) => self.session.handle(Event::Line(wire.line()), &mut actions),
                Some(Received::LineTooLong) => self.session.handle(Event::LineTooLong, &mut actions),
                Some(Received::End) => return Ok(None),
                None => return wire.close().await.map(|()| None).map_err(End::Peer),
            }
        }
    }

    async fn start_tls(&mut self, wire: Wire, reported: &mut Vec<Action>) -> Result<Wire, End> {
        let wire = wire.start_tls(Arc::clone(&self.door.tls)).await?;
        if wire.is_tls() {
            self.session.handle(Event::TlsEstablished, reported);
        }
        Ok(wire)
    }

    async fn perform(
        &mut self,
        wire: &mut Wire,
        action: Action,
        reported: &mut Vec<Action>,
    ) -> Result<(), End> {
        match action {
            Action::Send(octets) => wire.send(&octets).await?,
            Action::SendList(list) => self.send_list(wire, list).await?,
            Action::SendMessage { entry, body_lines } => self.send_message(wire, entry, body_lines).await?,
            Action::Authenticate(credentials) => {
                let outcome = self.log_in(credentials).await;
                if outcome.is_ok() {
                    wire.trust();
                }
                self.session.handle(Event::Login(outcome), reported);
            }
            Action::LogInElsewhere(credentials) => {
                let outcome = self.log_in_elsewhere(credentials).await;
                self.session.handle(Event::Elsewhere(outcome), reported);
            }
            Action::Pause => tokio::time::sleep(self.server.settings.failure_pause).await,
            Action::Delete(mailbox, messages) => {
                let outcome = self.server.maildrops.delete(mailbox, &messages).await;
                let peer = self.peer;
                match &outcome {
                    Ok(()) => {
                        metrics().messages_deleted(messages.len());
                        self.tell(Kind::Delete, format!("{} deleted", messages.len()), Some(mailbox));
                        tracing::info!(%peer, %mailbox, deleted = messages.len(), "messages deleted");
                    }
                    Err(error) => tracing::error!(%peer, %error, "messages marked were not deleted"),
                }
                self.session.handle(Event::Deleted(outcome), reported);
            }
            // Done where the wire is owned.
            Action::StartTls | Action::HandOver | Action::Close => {}
        }
        Ok(())
    }

    async fn send_list(&self, wire: &mut Wire, mut list: List) -> Result<(), End> {
        loop {
            let mut piece = Vec::new();
            let complete = self.session.write_list(&mut list, LIST_OCTETS, &mut piece);
            wire.send(&piece).await?;
            if complete {
                return Ok(());
            }
        }
    }

    /// Checks the password, then locks the maildrop, then looks what is in it: in this order nobody without the
    /// password learns whether it is held, and the snapshot cannot grow old before the lock.
    async fn log_in(&mut self, credentials: PlainCredentials) -> Result<Maildrop, LoginRefusal> {
        let user = credentials.user.clone();
        let opened = match self.check_password(credentials).await {
            Ok((mailbox, key)) => {
                let maildrops = Arc::clone(&self.server.maildrops);
                let locks = self.server.locks.clone();
                let opening = spawn_blocking(move || {
                    let lock = locks.take(mailbox).ok_or(LoginRefusal::InUse)?;
                    Ok((Maildrop::new(lock, maildrops.snapshot(mailbox)), key))
                });
                opening.await.unwrap_or(Err(LoginRefusal::Denied(LoginError::Temporary)))
            }
            Err(refusal) => Err(refusal),
        };
        match opened {
            Ok((maildrop, key)) => {
                let (messages, octets) = maildrop.totals();
                let mailbox = maildrop.mailbox();
                metrics().login(Login::Ok);
                self.tell(Kind::Pull, format!("opened, {messages} wait"), Some(mailbox));
                tracing::info!(peer = %self.peer, %mailbox, messages, octets, "maildrop opened");
                self.key = Some(Arc::new(key));
                Ok(maildrop)
            }
            Err(refusal) => {
                metrics().login(refusal.counted_as());
                self.log_refusal(&user, refusal);
                Err(refusal)
            }
        }
    }

    fn tell(&self, kind: Kind, result: String, mailbox: Option<MailboxId>) {
        let event = New { mailbox, ..New::of(kind, "pop3", result).from(self.peer.ip()) };
        activity().tell(self.server.settings.clock.wall(), event);
    }

    async fn log_in_elsewhere(&mut self, credentials: Credentials) -> Result<(), Reply> {
        let Some(elsewhere) = &self.server.elsewhere else {
            return Err(LoginRefusal::Denied(LoginError::Temporary).reply());
        };
        self.relayed = Some(elsewhere.log_in(&self.door, self.peer, credentials).await?);
        Ok(())
    }

    /// What was checked is told each time, for there is an end to it; what was refused unchecked is counted.
    fn log_refusal(&self, user: &str, refusal: LoginRefusal) {
        let peer = self.peer;
        // The name is the peer's text: escaped and bounded.
        let user: String = user.chars().take(80).collect();
        if !matches!(refusal, LoginRefusal::MustWait | LoginRefusal::Busy) {
            self.tell(Kind::Refusal, format!("login refused: {refusal}"), None);
            return tracing::warn!(%peer, ?user, %refusal, "login refused");
        }
        let now = self.server.settings.clock.moment();
        let refused = self.server.refusals.lock().unwrap_or_else(PoisonError::into_inner).count(now);
        if refused > 0 {
            tracing::warn!(%peer, ?user, %refusal, refused, "logins refused unchecked");
        }
    }

    /// Checks the password where that may cost what it costs, unless the client must wait. That is looked up again when
    /// its turn comes: of many that it sent at once, no more are checked than if it had sent them one by one.
    async fn check_password(
        &self,
        credentials: PlainCredentials,
    ) -> Result<(MailboxId, PrivateKey), LoginRefusal> {
        let server = self.server;
        // Every spelling of a name is the same mailbox.
        let name = credentials.user.split('@').next().unwrap_or_default();
        let attempt = lock(&server.guard).attempt(self.peer.ip(), name);
        let (guard, clock) = (Arc::clone(&server.guard), Arc::clone(&server.settings.clock));
        let must_wait = move || !lock(&guard).wait(attempt, clock.moment()).is_zero();
        if must_wait() {
            return Err(LoginRefusal::MustWait);
        }
        let known = lock(&server.guard).knows(attempt);
        let accounts = Arc::clone(&server.accounts);
        let (guard, clock) = (Arc::clone(&server.guard), Arc::clone(&server.settings.clock));
        let checked = server.settings.logins.run(known, move || {
            if must_wait() {
                return Err(LoginRefusal::MustWait);
            }
            let checked = accounts.unlock(&credentials.user, &credentials.password);
            match &checked {
                Ok(_) => lock(&guard).succeeded(attempt),
                Err(LoginError::WrongPassword) => lock(&guard).failed(attempt, clock.moment()),
                Err(LoginError::Temporary) => {}
            }
            Ok(checked?)
        });
        checked.await.unwrap_or_else(|not_done| {
            Err(match not_done {
                NotDone::Full => LoginRefusal::Busy,
                NotDone::Failed => LoginRefusal::Denied(LoginError::Temporary),
            })
        })
    }

    async fn send_message(
        &mut self,
        wire: &mut Wire,
        entry: Entry,
        body_lines: Option<u32>,
    ) -> Result<(), End> {
        let (mut sending, first) = match self.open(entry, body_lines).await {
            Ok(opened) => opened,
            Err(error) => {
                metrics().message_not_served();
                tracing::error!(peer = %self.peer, %error, "message not served");
                let mut line = Vec::new();
                error.reply().write(&mut line);
                return Ok(wire.send(&line).await?);
            }
        };
        let mut batch = first;
        while !batch.is_empty() {
            // The next batch is read and opened while this one is sent.
            let next = spawn_blocking(move || sending.batch(Vec::new()).map(|batch| (batch, sending)));
            let (sent, read) = tokio::join!(wire.send(&batch), next);
            sent?;
            (batch, sending) = read.unwrap_or_else(|_| Err(stopped(entry))).map_err(End::Damaged)?;
        }
        self.messages_sent += 1;
        metrics().message_served(if body_lines.is_none() { entry.served_bytes } else { 0 });
        Ok(())
    }

    /// The message, and `+OK` with its first octets: what is wrong there can still be said instead.
    async fn open(
        &self,
        entry: Entry,
        body_lines: Option<u32>,
    ) -> Result<(Sending<M::Message>, Vec<u8>), ReadError> {
        let (Some(maildrop), Some(key)) = (self.session.maildrop(), &self.key) else {
            return Err(ReadError::Gone { id: entry.id });
        };
        let (mailbox, key) = (maildrop.mailbox(), Arc::clone(key));
        let maildrops = Arc::clone(&self.server.maildrops);
        let said = match body_lines {
            None => Reply::ok(format!("{} octets", entry.served_bytes)),
            Some(_) => Reply::ok("Top follows"),
        };
        let opened = spawn_blocking(move || {
            let message = maildrops.open(mailbox, entry.id, &key)?;
            let mut sending = Sending::new(message, entry, body_lines);
            let mut out = Vec::new();
            said.write(&mut out);
            let first = sending.batch(out)?;
            Ok((sending, first))
        });
        opened.await.unwrap_or_else(|_| Err(stopped(entry)))
    }
}

fn lock(guard: &Mutex<Guard>) -> MutexGuard<'_, Guard> {
    guard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task that read the message panicked, or the runtime is going down.
fn stopped(entry: Entry) -> ReadError {
    ReadError::Io { id: entry.id, what: "the reader stopped".into() }
}
