//! IMAP servers, over TLS from the first octet or by STARTTLS.
//!
//! | file | what |
//! |---|---|
//! | [`session`] | the pure machine: greeting, TLS, login, pipelining |
//! | `connection` | octets between the socket and the machine, compressed or not |
//! | `folders` | LIST → folders with UTF-8 names, roles and owners |
//! | `changes` | cursors and pages |
//! | `open`, `list`, `fetch`, `delete`, `wait` | what [`Account`] promises, command by command |
//!
//! | extension | used for | without it |
//! |---|---|---|
//! | LIST-STATUS (RFC 5819) | the state of all folders in one round | pipelined STATUS |
//! | SPECIAL-USE (RFC 6154), XLIST | roles | no roles but INBOX |
//! | CONDSTORE (RFC 7162) | flags that changed | flags stay as they were archived |
//! | QRESYNC (RFC 7162) | messages that vanished | not told |
//! | UIDPLUS (RFC 4315) | deleting these messages and no others | they are marked as deleted, and said to be kept |
//! | IDLE (RFC 2177) | waiting | NOOP now and then |
//! | COMPRESS=DEFLATE (RFC 4978) | slow lines, when the profile asks for it | |
//! | LITERAL+, LITERAL- (RFC 7888), SASL-IR (RFC 4959) | fewer rounds | more |
//! | UTF8=ACCEPT (RFC 6855), ENABLE, ID, NAMESPACE, UNSELECT | yes, the last not needed | |
//! | CATENATE, BINARY, PREVIEW, NOTIFY, MULTISEARCH, METADATA | No | |
//!
//! Promises
//! - Messages are read by BODY.PEEK\[\] from folders opened read-only (EXAMINE): reading changes nothing at the source.
//! - A message counts as fetched when the whole response that holds it made sense; one that is cut never ends.
//! - Nothing is expunged but what was ordered by UID, under the UIDVALIDITY it was listed with.
//! - What is new in a folder is found by UID alone, so no extension of the server can hide a message.
//! - Memory does not grow with folders or messages: pages, pieces, and [`Limits`].
//!
//! Not here: which folders and messages are wanted, what becomes of them (`profiles`).

mod changes;
mod connection;
mod delete;
mod fetch;
mod folders;
mod list;
mod open;
pub mod session;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::proto::imap::{Code, Command, Condition, Response, Text};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::tls::client::{Trust, client_config};
use tokio::time::timeout;

use super::account::{Account, Changes, Deleted, Folder, FolderId, Item, Sink, Woken};
use super::dial::{self, Stream};
use super::{Cursor, ItemId, SourceError};
use changes::State;
pub(super) use changes::uid_of;
use connection::{Connection, Happened};
use open::Opened;
pub use session::{ImapError, Login, Mechanism};
use session::{Options, Session, Ticket};

/// Where the server is, and who pulls.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Host name or IP address; the name its certificate must bear with [`Trust::System`].
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How TLS begins.
    pub tls: TlsStart,
    /// Which certificate is accepted.
    pub trust: Trust,
    /// Who logs in.
    pub login: Login,
    /// Whether to compress when the server offers it: for slow lines, it costs more than it saves on fast ones.
    pub compress: bool,
}

/// Bounds and deadlines.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A longer message is passed over.
    pub message_octets_max: u64,
    /// Folders that an account may list.
    pub folders_max: usize,
    /// Messages of a page of changes.
    pub page_messages_max: usize,
    /// Commands under way at once.
    pub window: usize,
    /// For the name, for each address, and for the TLS handshake.
    pub connect: Duration,
    /// From the greeting to the first command.
    pub login: Duration,
    /// For a list of folders, a page of changes, and between two messages.
    pub list: Duration,
    /// Without a single octet, while an answer is awaited.
    pub silence: Duration,
    /// A message may take [`Limits::silence`] and its size divided by this.
    pub octets_per_second_min: u64,
    /// For the farewell.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets_max: 256 * 1024 * 1024,
            folders_max: 100_000,
            page_messages_max: 2000,
            window: 64,
            connect: Duration::from_secs(30),
            login: Duration::from_secs(60),
            list: Duration::from_secs(300),
            silence: Duration::from_secs(120),
            octets_per_second_min: 1024,
            finish: Duration::from_secs(10),
        }
    }
}

/// One session with an IMAP server.
pub struct ImapSource {
    connection: Connection,
    settings: Settings,
    limits: Limits,
    opened: Option<Opened>,
    /// What the list of folders told of them, used once each.
    states: HashMap<FolderId, State>,
    /// How many UIDs the next page asks for.
    width: u32,
}

impl ImapSource {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Naming the step that failed: name, TCP, TLS, certificate, login.
    pub async fn connect(settings: &Settings, limits: Limits) -> Result<Self, SourceError> {
        let connection = connect(settings, &limits).await?;
        let width = u32::try_from(limits.page_messages_max).unwrap_or(u32::MAX).max(1);
        let (settings, states) = (settings.clone(), HashMap::new());
        Ok(Self { connection, settings, limits, opened: None, states, width })
    }

    /// What the server offered behind the login, for people who look into a profile.
    pub fn capabilities(&self) -> String {
        self.connection.session.capabilities().iter().collect::<Vec<_>>().join(" ")
    }

    /// How many commands were given since the login.
    pub fn commands(&self) -> u64 {
        self.connection.session.commands()
    }

    /// Gives a command and waits for its end.
    async fn perform(
        &mut self,
        command: Command,
        name: &'static str,
        take: impl FnMut(Response) -> Result<(), SourceError> + Send,
    ) -> Result<(Condition, Text), SourceError> {
        let ticket = self.connection.session.command(command, name);
        self.until(ticket, take).await
    }

    /// Waits for the end of a command; what comes meanwhile goes to `take`.
    async fn until(
        &mut self,
        ticket: Ticket,
        mut take: impl FnMut(Response) -> Result<(), SourceError> + Send,
    ) -> Result<(Condition, Text), SourceError> {
        loop {
            match self.connection.event(self.limits.silence).await? {
                Happened::Data(response) => {
                    self.note(&response);
                    take(response)?;
                }
                Happened::Done(done, condition, text) if done == ticket => return Ok((condition, text)),
                Happened::ContentBegins(..) | Happened::Content(_) => {
                    return Err(self.connection.fault(ImapError::Unsolicited("a message")));
                }
                _ => {}
            }
        }
    }

    fn refused(&self, command: &'static str, text: Text) -> SourceError {
        self.connection.fault(ImapError::Refused { command, text })
    }

    fn late(&self, during: &'static str, limit: Duration) -> SourceError {
        SourceError::TimedOut { host: self.settings.host.clone(), during, limit }
    }
}

/// From the name to the first command.
async fn connect(settings: &Settings, limits: &Limits) -> Result<Connection, SourceError> {
    let Settings { host, port, .. } = settings;
    let fault = |error| SourceError::Imap { host: host.clone(), error: Box::new(error) };
    // Before anybody is called: with these nothing could come of it.
    let config = Arc::new(client_config(&settings.trust)?);
    let session = Session::new(Options {
        tls: settings.tls,
        login: settings.login.clone(),
        verified: settings.trust != Trust::Any,
        window: limits.window,
        compress: settings.compress,
    })
    .map_err(fault)?;
    let stream = dial::tcp(host, *port, limits.connect).await?;
    let stream = match settings.tls {
        TlsStart::Implicit => dial::tls(stream, host, Arc::clone(&config), limits.connect).await?,
        TlsStart::Stls => Stream::Plain(stream),
    };
    let mut connection = Connection::new(host, stream, session);
    let login = timeout(limits.login, log_in(&mut connection, config, limits)).await;
    let late = || SourceError::TimedOut { host: host.clone(), during: "the login", limit: limits.login };
    login.unwrap_or_else(|_| Err(late())).map_err(|error| login_error(error, settings))?;
    Ok(connection)
}

async fn log_in(
    connection: &mut Connection,
    config: Arc<rustls::ClientConfig>,
    limits: &Limits,
) -> Result<(), SourceError> {
    loop {
        match connection.event(limits.silence).await? {
            Happened::LoggedIn => return Ok(()),
            Happened::StartTls => {
                if let Some(Stream::Plain(stream)) = connection.take_stream() {
                    let host = connection.host().to_owned();
                    let stream = dial::tls(stream, &host, Arc::clone(&config), limits.connect).await?;
                    connection.tls_established(stream);
                }
            }
            _ => {}
        }
    }
}

/// Tells a refused login apart from trouble that passes.
fn login_error(error: SourceError, settings: &Settings) -> SourceError {
    let SourceError::Imap { host, error } = error else { return error };
    match *error {
        ImapError::Login { mechanism, text } if !text.code.as_ref().is_some_and(Code::is_temporary) => {
            let user = match (&settings.login.act_as, settings.login.credentials.user()) {
                (Some(act_as), user) => format!("{user} for {act_as}"),
                (None, user) => user.to_owned(),
            };
            SourceError::Login { host, user, text: format!("{text} (by {mechanism})") }
        }
        error => SourceError::Imap { host, error: Box::new(error) },
    }
}

/// Waits for `what`, for `limit` at most.
async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, SourceError>> + Send,
) -> Option<Result<T, SourceError>> {
    timeout(limit, what).await.ok()
}

impl Account for ImapSource {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let limit = self.limits.list;
        within(limit, self.list_folders())
            .await
            .unwrap_or_else(|| Err(self.late("the list of folders", limit)))
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        let limit = self.limits.list;
        let changes = within(limit, self.next_changes(folder, after)).await;
        changes.unwrap_or_else(|| Err(self.late("the changes in a folder", limit)))
    }

    async fn fetch(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        self.fetch_all(folder, items, sink).await
    }

    async fn look(&mut self, folder: &FolderId, items: &[Item]) -> Result<Vec<Item>, SourceError> {
        let limit = self.limits.list;
        let found = within(limit, self.look_now(folder, items)).await;
        found.unwrap_or_else(|| Err(self.late("a look at messages", limit)))
    }

    async fn delete(&mut self, folder: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        let limit = self.limits.list;
        let deleted = within(limit, self.delete_now(folder, items)).await;
        deleted.unwrap_or_else(|| Err(self.late("the deletion of messages", limit)))
    }

    async fn wait(&mut self, folder: &FolderId, limit: Duration) -> Result<Woken, SourceError> {
        self.wait_for_changes(folder, limit).await
    }

    async fn finish(mut self) -> Result<Deleted, SourceError> {
        self.connection.session.logout();
        let limit = self.limits.finish;
        // Nothing hangs on the farewell.
        let farewell = async { while self.connection.event(limit).await.is_ok() {} };
        let _ = timeout(limit, farewell).await;
        self.connection.close(limit).await;
        Ok(Deleted::default())
    }
}
