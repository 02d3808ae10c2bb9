//! Does what the session says: TLS, logins, streaming, deadlines.

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::crypto::keys::PrivateKey;
use postern_shared::proto::pop3::Reply;
use postern_shared::proto::pop3::sasl_plain::PlainCredentials;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::maildrop::{Accounts, Entry, Locks, LoginError, Maildrop, Maildrops, ReadError};
use super::sending::Sending;
use super::session::{Action, Event, List, LoginRefusal, Session};
use super::wire::{Received, Wire};

/// Octets of a list that are put together before they are sent.
const LIST_OCTETS: usize = 16 * 1024;

/// How the server behaves; the defaults are what the standards and the promises ask for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a client may be silent (RFC 1939 §3: not less than 10 minutes).
    pub idle: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// What a failed login costs, besides Argon2id.
    pub failure_pause: Duration,
    /// Passwords checked at once; each takes 64 MiB.
    pub logins_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            handshake: Duration::from_secs(30),
            failure_pause: Duration::from_secs(1),
            logins_at_once: 2,
        }
    }
}

/// How TLS begins on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsStart {
    /// Before the greeting (`pop3s`).
    Implicit,
    /// By STLS (`pop3`).
    Stls,
}

/// Serves connections; one for all of them, since it knows which maildrops are held.
pub struct Pop3Server<A, M> {
    accounts: Arc<A>,
    maildrops: Arc<M>,
    locks: Locks,
    logins: Arc<Semaphore>,
    settings: Settings,
}

impl<A: Accounts, M: Maildrops> Pop3Server<A, M> {
    /// A server that nobody is connected to.
    pub fn new(accounts: Arc<A>, maildrops: Arc<M>, settings: Settings) -> Self {
        let logins = Arc::new(Semaphore::new(settings.logins_at_once.max(1)));
        Self { accounts, maildrops, locks: Locks::default(), logins, settings }
    }

    /// Serves one client until it goes, and logs how it went. `peer` is for the log.
    ///
    /// Dropping the future ends the session as a broken connection would: nothing is deleted (unless the client had
    /// said QUIT), the maildrop is free, the key wiped.
    pub async fn serve<S>(
        &self,
        stream: S,
        peer: &(impl Display + Sync),
        tls: Arc<ServerConfig>,
        start: TlsStart,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut conversation = Conversation {
            server: self,
            wire: Wire::new(stream, self.settings.idle),
            session: Session::new(start == TlsStart::Implicit),
            key: None,
            tls,
            peer,
            messages_sent: 0,
        };
        match conversation.run(start).await {
            Ok(()) => tracing::debug!(%peer, sent = conversation.messages_sent, "pop3 session ended"),
            Err(End::Peer(error)) => {
                tracing::info!(%peer, %error, sent = conversation.messages_sent, "pop3 connection lost");
            }
            Err(End::Damaged(error)) => {
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

struct Conversation<'s, S, A, M, P> {
    server: &'s Pop3Server<A, M>,
    wire: Wire<S>,
    session: Session,
    key: Option<Arc<PrivateKey>>,
    tls: Arc<ServerConfig>,
    peer: &'s P,
    messages_sent: u64,
}

impl<S, A, M, P> Conversation<'_, S, A, M, P>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    A: Accounts,
    M: Maildrops,
    P: Display + Sync,
{
    async fn run(&mut self, start: TlsStart) -> Result<(), End> {
        if start == TlsStart::Implicit {
            self.wire.start_tls(Arc::clone(&self.tls), self.server.settings.handshake).await?;
        }
        let mut actions = Vec::new();
        self.session.greet(&mut actions);
        loop {
            // What an action reports leads to further actions, never to a line being read before they are done.
            while !actions.is_empty() {
                let mut reported = Vec::new();
                for action in actions.drain(..) {
                    if let Action::Close = action {
                        return Ok(self.wire.close().await?);
                    }
                    self.perform(action, &mut reported).await?;
                }
                actions = reported;
            }
            match self.wire.receive().await? {
                Received::Line => self.session.handle(Event::Line(self.wire.line()), &mut actions),
                Received::LineTooLong => self.session.handle(Event::LineTooLong, &mut actions),
                Received::End => return Ok(()),
            }
        }
    }

    async fn perform(&mut self, action: Action, reported: &mut Vec<Action>) -> Result<(), End> {
        match action {
            Action::Send(octets) => self.wire.send(&octets).await?,
            Action::SendList(list) => self.send_list(list).await?,
            Action::SendMessage { entry, body_lines } => self.send_message(entry, body_lines).await?,
            Action::StartTls => {
                self.wire.start_tls(Arc::clone(&self.tls), self.server.settings.handshake).await?;
                self.session.handle(Event::TlsEstablished, reported);
            }
            Action::Authenticate(credentials) => {
                let outcome = self.log_in(credentials).await;
                self.session.handle(Event::Login(outcome), reported);
            }
            Action::Pause => tokio::time::sleep(self.server.settings.failure_pause).await,
            Action::Delete(mailbox, messages) => {
                let outcome = self.server.maildrops.delete(mailbox, &messages).await;
                match &outcome {
                    Ok(()) => {
                        tracing::info!(peer = %self.peer, %mailbox, deleted = messages.len(), "messages deleted");
                    }
                    Err(error) => {
                        tracing::error!(peer = %self.peer, %error, "messages marked were not deleted");
                    }
                }
                self.session.handle(Event::Deleted(outcome), reported);
            }
            Action::Close => {}
        }
        Ok(())
    }

    async fn send_list(&mut self, mut list: List) -> Result<(), End> {
        loop {
            let mut piece = Vec::new();
            let complete = self.session.write_list(&mut list, LIST_OCTETS, &mut piece);
            self.wire.send(&piece).await?;
            if complete {
                return Ok(());
            }
        }
    }

    /// Checks the password, then locks the maildrop, then looks what is in it: in this order nobody without the
    /// password learns whether it is held, and the snapshot cannot grow old before the lock.
    async fn log_in(&mut self, credentials: PlainCredentials) -> Result<Maildrop, LoginRefusal> {
        let temporary = LoginRefusal::Denied(LoginError::Temporary);
        let user = credentials.user.clone();
        let permit = Arc::clone(&self.server.logins).acquire_owned().await.map_err(|_| temporary)?;
        let accounts = Arc::clone(&self.server.accounts);
        let maildrops = Arc::clone(&self.server.maildrops);
        let locks = self.server.locks.clone();
        let checked = spawn_blocking(move || {
            let _permit = permit;
            let (mailbox, key) = accounts.unlock(&credentials.user, &credentials.password)?;
            let lock = locks.take(mailbox).ok_or(LoginRefusal::InUse)?;
            Ok((Maildrop::new(lock, maildrops.snapshot(mailbox)), key))
        });
        match checked.await.unwrap_or(Err(temporary)) {
            Ok((maildrop, key)) => {
                let (messages, octets) = maildrop.totals();
                let mailbox = maildrop.mailbox();
                tracing::info!(peer = %self.peer, %mailbox, messages, octets, "maildrop opened");
                self.key = Some(Arc::new(key));
                Ok(maildrop)
            }
            Err(refusal) => {
                // The name is the peer's text: escaped and bounded.
                let user: String = user.chars().take(80).collect();
                tracing::warn!(peer = %self.peer, ?user, %refusal, "login refused");
                Err(refusal)
            }
        }
    }

    async fn send_message(&mut self, entry: Entry, body_lines: Option<u32>) -> Result<(), End> {
        let (mut sending, first) = match self.open(entry, body_lines).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(peer = %self.peer, %error, "message not served");
                let mut line = Vec::new();
                error.reply().write(&mut line);
                return Ok(self.wire.send(&line).await?);
            }
        };
        let mut batch = first;
        while !batch.is_empty() {
            // The next batch is read and opened while this one is sent.
            let next = spawn_blocking(move || sending.batch(Vec::new()).map(|batch| (batch, sending)));
            let (sent, read) = tokio::join!(self.wire.send(&batch), next);
            sent?;
            (batch, sending) = read.unwrap_or_else(|_| Err(stopped(entry))).map_err(End::Damaged)?;
        }
        self.messages_sent += 1;
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

/// The task that read the message panicked, or the runtime is going down.
fn stopped(entry: Entry) -> ReadError {
    ReadError::Io { id: entry.id, what: "the reader stopped".into() }
}
