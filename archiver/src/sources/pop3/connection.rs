//! A POP3 connection: bytes between the socket and the pure client machine.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::proto::pop3::client::{Client, ClientError, Event, Listed, Options, TlsStart};
use postern_shared::proto::pop3::{MessageNumber, Reply, ResponseCode};
use postern_shared::tls::client::{Trust, client_config};
use tokio::time::timeout;

use crate::sources::SourceError;
use crate::sources::dial::{self, Stream};
use crate::sources::gateway::Limits;
use crate::sources::wire::Wire;

const READ_OCTETS: usize = 64 * 1024;

/// Where a server is, and how its certificate is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'s> {
    pub(crate) host: &'s str,
    pub(crate) port: u16,
    pub(crate) trust: &'s Trust,
}

/// An event of the machine that owns what it tells; content stays where it was read.
#[derive(Debug)]
pub(crate) enum Happened {
    StartTls,
    LoggedIn,
    Listed(Vec<Listed>, u64),
    MessageBegins,
    /// Where in [`Connection::octets`].
    Content(Range<usize>),
    MessageEnds(MessageNumber),
    MessageRefused(Reply),
    Deleted(MessageNumber),
    DeleteRefused(MessageNumber, Reply),
    Bye,
}

pub(crate) struct Connection {
    wire: Wire,
    pub(crate) client: Client,
    /// What is read, and behind it a CR: one that waited for what follows it is content, but stands in no piece.
    input: Vec<u8>,
    unread: Range<usize>,
}

impl Connection {
    pub(crate) fn new(host: &str, stream: Stream, client: Client) -> Self {
        let mut input = vec![0; READ_OCTETS];
        input.push(b'\r');
        Self { wire: Wire::new(host, stream), client, input, unread: 0..0 }
    }

    /// From the name to the open maildrop; waits a bounded time for one that another client holds.
    pub(crate) async fn open(
        server: Server<'_>,
        options: &Options,
        limits: &Limits,
    ) -> Result<Self, SourceError> {
        let mut pause = limits.in_use_pause;
        let mut waited = Duration::ZERO;
        let mut attempts = 1;
        loop {
            match Self::open_once(server, options, limits).await {
                Err(SourceError::InUse { host, user, .. }) => {
                    if waited + pause > limits.in_use_patience {
                        return Err(SourceError::InUse { host, user, attempts });
                    }
                    tracing::info!(%host, %user, ?pause, "maildrop held by another client; trying again");
                    tokio::time::sleep(pause).await;
                    waited += pause;
                    pause *= 2;
                    attempts += 1;
                }
                other => return other,
            }
        }
    }

    async fn open_once(server: Server<'_>, options: &Options, limits: &Limits) -> Result<Self, SourceError> {
        let Server { host, port, trust } = server;
        let protocol = |error| SourceError::Protocol { host: host.to_owned(), error };
        // Before anybody is called: with these nothing could come of it.
        let config = Arc::new(client_config(trust)?);
        let client = Client::new(options.clone()).map_err(protocol)?;
        let stream = dial::tcp(host, port, limits.connect).await?;
        let stream = match options.tls {
            TlsStart::Implicit => dial::tls(stream, host, Arc::clone(&config), limits.connect).await?,
            TlsStart::Stls => Stream::Plain(stream),
        };
        let mut connection = Self::new(host, stream, client);
        let login = timeout(limits.login, connection.log_in(config, limits)).await;
        let login = login.unwrap_or_else(|_| {
            let during = match connection.client.waiting_for() {
                // Before TLS there is no login that could be late.
                before @ ("the connection" | "STLS") => before,
                _ => "the login",
            };
            Err(SourceError::TimedOut { host: host.to_owned(), during, limit: limits.login })
        });
        login.map_err(|error| login_error(error, options.credentials.user()))?;
        Ok(connection)
    }

    async fn log_in(
        &mut self,
        config: Arc<rustls::ClientConfig>,
        limits: &Limits,
    ) -> Result<(), SourceError> {
        loop {
            match self.event(limits.silence).await? {
                Happened::LoggedIn => return Ok(()),
                Happened::StartTls => {
                    if let Some(Stream::Plain(stream)) = self.take_stream() {
                        let stream =
                            dial::tls(stream, self.wire.host(), Arc::clone(&config), limits.connect).await?;
                        self.tls_established(stream);
                    }
                }
                _ => {}
            }
        }
    }

    /// The octets of [`Happened::Content`], until the next event.
    pub(crate) fn octets(&self, range: &Range<usize>) -> &[u8] {
        self.input.get(range.clone()).unwrap_or_default()
    }

    /// What happens next. Waits at most `silence` for each sending and each piece received.
    pub(crate) async fn event(&mut self, silence: Duration) -> Result<Happened, SourceError> {
        loop {
            self.send(silence).await?;
            if let Some(happened) = self.received()? {
                return Ok(happened);
            }
            // What was just received may have made the machine say something.
            self.send(silence).await?;
            self.read(silence).await?;
        }
    }

    /// The plain stream below, for TLS to be put on; everything read so far is dropped.
    pub(crate) fn take_stream(&mut self) -> Option<Stream> {
        self.unread = 0..0;
        self.wire.take_stream()
    }

    /// The stream with TLS on it.
    pub(crate) fn tls_established(&mut self, stream: Stream) {
        self.wire.tls_established(stream);
        self.client.tls_established();
    }

    /// Ends the connection in good order, as far as the peer plays along.
    pub(crate) async fn close(self, limit: Duration) {
        self.wire.close(limit).await;
    }

    fn received(&mut self) -> Result<Option<Happened>, SourceError> {
        let start = self.unread.start;
        let received = self.client.receive(&self.input[self.unread.clone()]);
        let (used, event) =
            received.map_err(|error| SourceError::Protocol { host: self.wire.host().to_owned(), error })?;
        let end = start + used;
        let happened = event.map(|event| match event {
            Event::Content(b"\r") => Happened::Content(READ_OCTETS..READ_OCTETS + 1),
            Event::Content(piece) => Happened::Content(end - piece.len()..end),
            Event::StartTls => Happened::StartTls,
            Event::LoggedIn => Happened::LoggedIn,
            Event::Listed(listed, left_out) => Happened::Listed(listed, left_out),
            Event::MessageBegins(_) => Happened::MessageBegins,
            Event::MessageEnds(number) => Happened::MessageEnds(number),
            Event::MessageRefused(_, reply) => Happened::MessageRefused(reply),
            Event::Deleted(number) => Happened::Deleted(number),
            Event::DeleteRefused(number, reply) => Happened::DeleteRefused(number, reply),
            Event::Bye => Happened::Bye,
        });
        self.unread.start = end;
        Ok(happened)
    }

    async fn send(&mut self, limit: Duration) -> Result<(), SourceError> {
        let output = self.client.take_output();
        if output.is_empty() {
            return Ok(());
        }
        self.wire.send(&output, self.client.waiting_for(), limit).await
    }

    async fn read(&mut self, limit: Duration) -> Result<(), SourceError> {
        let during = self.client.waiting_for();
        self.unread = 0..self.wire.read(&mut self.input[..READ_OCTETS], during, limit).await?;
        Ok(())
    }
}

/// Tells a refused login apart by its reason.
fn login_error(error: SourceError, user: &str) -> SourceError {
    let SourceError::Protocol { host, error } = error else { return error };
    let user = user.to_owned();
    match (error.code(), error) {
        (Some(ResponseCode::InUse), _) => SourceError::InUse { host, user, attempts: 1 },
        (Some(ResponseCode::SysTemp | ResponseCode::LoginDelay), error) => {
            SourceError::Protocol { host, error }
        }
        (_, ClientError::Refused { command, reply })
            if command.starts_with("AUTH ") || ["USER", "PASS"].contains(&command) =>
        {
            SourceError::Login { host, user, text: reply.to_string() }
        }
        (_, error) => SourceError::Protocol { host, error },
    }
}
