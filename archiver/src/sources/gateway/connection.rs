//! A POP3 connection: bytes between the socket and the pure client machine.

use std::ops::Range;
use std::time::Duration;

use postern_shared::proto::pop3::client::{Client, Event, Listed};
use postern_shared::proto::pop3::{MessageNumber, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::sources::SourceError;
use crate::sources::dial::Stream;

const READ_OCTETS: usize = 64 * 1024;
/// Reserved for a message at once, whatever size the server claims for it.
const RESERVE_OCTETS_MAX: u64 = 1024 * 1024;

/// An event of the machine that owns what it tells; content went into [`Content`] meanwhile.
#[derive(Debug)]
pub(super) enum Happened {
    StartTls,
    LoggedIn,
    Listed(Vec<Listed>),
    MessageBegins(MessageNumber),
    MessageEnds(MessageNumber),
    MessageRefused(MessageNumber, Reply),
    Deleted(MessageNumber),
    DeleteRefused(MessageNumber, Reply),
    Bye,
}

/// The content of one message, kept up to a bound and counted beyond it.
#[derive(Debug)]
pub(super) struct Content {
    octets_max: u64,
    octets: u64,
    kept: Vec<u8>,
}

impl Content {
    pub(super) fn new(octets_max: u64) -> Self {
        Self { octets_max, octets: 0, kept: Vec::new() }
    }

    /// Makes ready for the next message, of which the server claims `octets`.
    pub(super) fn begin(&mut self, octets: u64) {
        self.octets = 0;
        // Bounded by a constant that fits.
        let reserve = usize::try_from(octets.min(RESERVE_OCTETS_MAX)).unwrap_or(0);
        self.kept = Vec::with_capacity(reserve);
    }

    fn push(&mut self, piece: &[u8]) {
        self.octets += piece.len() as u64;
        if self.octets <= self.octets_max {
            self.kept.extend_from_slice(piece);
        } else {
            self.kept = Vec::new();
        }
    }

    /// The whole content, or how long it was when that is too long.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, u64> {
        let kept = std::mem::take(&mut self.kept);
        if self.octets <= self.octets_max { Ok(kept) } else { Err(self.octets) }
    }
}

pub(super) struct Connection {
    /// `None` only while TLS is being put on it, and for good when that failed.
    stream: Option<Stream>,
    host: String,
    pub(super) client: Client,
    input: Vec<u8>,
    unread: Range<usize>,
}

impl Connection {
    pub(super) fn new(host: &str, stream: Stream, client: Client) -> Self {
        Self { stream: Some(stream), host: host.into(), client, input: vec![0; READ_OCTETS], unread: 0..0 }
    }

    /// What happens next. Waits at most `silence` for each sending and each piece received.
    pub(super) async fn event(
        &mut self,
        content: &mut Content,
        silence: Duration,
    ) -> Result<Happened, SourceError> {
        loop {
            self.send(silence).await?;
            if let Some(happened) = self.received(content)? {
                return Ok(happened);
            }
            // What was just received may have made the machine say something.
            self.send(silence).await?;
            self.read(silence).await?;
        }
    }

    /// The plain stream below, for TLS to be put on; everything read so far is dropped.
    pub(super) fn take_stream(&mut self) -> Option<Stream> {
        self.unread = 0..0;
        self.stream.take()
    }

    /// The stream with TLS on it.
    pub(super) fn tls_established(&mut self, stream: Stream) {
        self.stream = Some(stream);
        self.client.tls_established();
    }

    /// Ends the connection in good order, as far as the peer plays along.
    pub(super) async fn close(mut self, limit: Duration) {
        if let Some(stream) = &mut self.stream {
            // The session is over; whether the peer hears the farewell makes no difference.
            let _ = timeout(limit, stream.shutdown()).await;
        }
    }

    fn received(&mut self, content: &mut Content) -> Result<Option<Happened>, SourceError> {
        loop {
            let input = &self.input[self.unread.clone()];
            let (used, event) = self
                .client
                .receive(input)
                .map_err(|error| SourceError::Protocol { host: self.host.clone(), error })?;
            self.unread.start += used;
            return Ok(Some(match event {
                None => return Ok(None),
                Some(Event::Content(piece)) => {
                    content.push(piece);
                    continue;
                }
                Some(Event::StartTls) => Happened::StartTls,
                Some(Event::LoggedIn) => Happened::LoggedIn,
                Some(Event::Listed(listed)) => Happened::Listed(listed),
                Some(Event::MessageBegins(number)) => Happened::MessageBegins(number),
                Some(Event::MessageEnds(number)) => Happened::MessageEnds(number),
                Some(Event::MessageRefused(number, reply)) => Happened::MessageRefused(number, reply),
                Some(Event::Deleted(number)) => Happened::Deleted(number),
                Some(Event::DeleteRefused(number, reply)) => Happened::DeleteRefused(number, reply),
                Some(Event::Bye) => Happened::Bye,
            }));
        }
    }

    async fn send(&mut self, limit: Duration) -> Result<(), SourceError> {
        let output = self.client.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let during = self.client.waiting_for();
        let Some(stream) = &mut self.stream else { return Err(closed(&self.host, during)) };
        let sent = timeout(limit, async {
            stream.write_all(&output).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SourceError::Broken { host: self.host.clone(), during, source }),
            Err(_) => Err(SourceError::TimedOut { host: self.host.clone(), during, limit }),
        }
    }

    async fn read(&mut self, limit: Duration) -> Result<(), SourceError> {
        let during = self.client.waiting_for();
        let Some(stream) = &mut self.stream else { return Err(closed(&self.host, during)) };
        match timeout(limit, stream.read(&mut self.input)).await {
            Ok(Ok(0)) => Err(closed(&self.host, during)),
            Ok(Ok(len)) => {
                self.unread = 0..len;
                Ok(())
            }
            // A peer that closes TLS without a farewell has closed the connection.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(closed(&self.host, during))
            }
            Ok(Err(source)) => Err(SourceError::Broken { host: self.host.clone(), during, source }),
            Err(_) => Err(SourceError::TimedOut { host: self.host.clone(), during, limit }),
        }
    }
}

fn closed(host: &str, during: &'static str) -> SourceError {
    SourceError::Closed { host: host.to_owned(), during }
}
