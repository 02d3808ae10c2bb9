//! A Postern gateway, pulled over POP3 with implicit TLS or STLS.
//!
//! Commands are pipelined when the gateway announces it (RFC 2449 §6.6). What is acknowledged is marked by DELE; the
//! gateway deletes at QUIT, so [`Source::finish`] is the moment of truth. A session that breaks before it deleted
//! nothing.
//!
//! A maildrop held by another client ([IN-USE], RFC 2449 §8.1.2) is tried again, with growing pauses, for a bounded time.
//!
//! Messages are handed over piece by piece, up to [`Limits::message_octets_max`]. Of a maildrop with more messages than
//! [`Limits::messages_max`] so many are listed: it empties itself, and a later session lists the others.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use postern_shared::proto::pop3::MessageNumber;
use postern_shared::proto::pop3::client::{Listed, Options, TlsStart};
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use tokio::time::timeout;

use super::account::{Item, Sink};
use super::pop3::connection::{Connection, Happened, Server};
use super::{Cursor, Finished, ItemId, NotFetched, Source, SourceError, Waiting};

/// A message that is too long is read over up to so many octets more than may be; then it ends the session.
pub(super) const READ_OVER_MAX: u64 = 64 * 1024 * 1024;

/// Where the gateway is, and who pulls.
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
    /// The mailbox and its password.
    pub credentials: PlainCredentials,
}

/// Bounds and deadlines.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A longer message is passed over.
    pub message_octets_max: u64,
    /// Messages that are listed at once; a maildrop may hold more.
    pub messages_max: usize,
    /// Commands under way at once.
    pub window: usize,
    /// For the name, for each address, and for the TLS handshake.
    pub connect: Duration,
    /// From the greeting to the open maildrop.
    pub login: Duration,
    /// For the list of messages.
    pub list: Duration,
    /// Without a single octet, while an answer is awaited.
    pub silence: Duration,
    /// A message may take [`Limits::silence`] and its size divided by this.
    pub octets_per_second_min: u64,
    /// From QUIT to its answer: the gateway deletes meanwhile.
    pub finish: Duration,
    /// The first pause when another client holds the maildrop; each further one is twice as long.
    pub in_use_pause: Duration,
    /// All pauses together; then the run is given up.
    pub in_use_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets_max: 256 * 1024 * 1024,
            messages_max: 1_000_000,
            window: 16,
            connect: Duration::from_secs(30),
            login: Duration::from_secs(60),
            list: Duration::from_secs(300),
            silence: Duration::from_secs(120),
            octets_per_second_min: 16 * 1024,
            finish: Duration::from_secs(600),
            in_use_pause: Duration::from_secs(1),
            in_use_patience: Duration::from_secs(60),
        }
    }
}

/// One session with a gateway.
pub struct GatewaySource {
    connection: Connection,
    host: String,
    limits: Limits,
    listed: Vec<Listed>,
    by_id: HashMap<ItemId, usize>,
    left_out: u64,
    /// Messages asked for and not handed over yet, in order; those too long were not asked the gateway for.
    requested: VecDeque<MessageNumber>,
    acknowledged: HashSet<MessageNumber>,
    finished: Finished,
}

impl GatewaySource {
    /// Connects and logs in; waits a bounded time for a maildrop that another client holds.
    pub async fn connect(settings: &Settings, limits: Limits) -> Result<Self, SourceError> {
        let Settings { host, port, trust, .. } = settings;
        let options = Options {
            tls: settings.tls,
            credentials: settings.credentials.clone().into(),
            mechanism: None,
            window: limits.window,
            messages_max: limits.messages_max,
            same_uidls: false,
        };
        let connection = Connection::open(Server { host, port: *port, trust }, &options, &limits).await?;
        Ok(Self {
            connection,
            host: host.clone(),
            limits,
            listed: Vec::new(),
            by_id: HashMap::new(),
            left_out: 0,
            requested: VecDeque::new(),
            acknowledged: HashSet::new(),
            finished: Finished::default(),
        })
    }

    async fn list_now(&mut self) -> Result<Vec<Waiting>, SourceError> {
        self.connection.client.list();
        loop {
            if let Happened::Listed(listed, left_out) = self.connection.event(self.limits.silence).await? {
                self.left_out = left_out;
                let id = |message: &Listed| ItemId(message.uidl.as_str().to_owned());
                self.by_id = listed.iter().enumerate().map(|(index, message)| (id(message), index)).collect();
                let waiting =
                    listed.iter().map(|message| Waiting { id: id(message), octets: message.octets });
                let waiting = waiting.collect();
                self.listed = listed;
                return Ok(waiting);
            }
        }
    }

    /// How many messages wait beyond those that were listed.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The next message asked for: how long it was, or why there is none. Answers to DELE are noted on the way.
    async fn next_message(
        &mut self,
        listed: u64,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<Result<u64, NotFetched>, SourceError> {
        let octets_max = self.limits.message_octets_max;
        let mut octets = 0_u64;
        loop {
            match self.connection.event(self.limits.silence).await? {
                Happened::MessageBegins => sink.begins(listed).await.map_err(SourceError::Sink)?,
                Happened::Content(range) => {
                    let piece = self.connection.octets(&range);
                    octets += piece.len() as u64;
                    if octets <= octets_max {
                        sink.piece(piece).await.map_err(SourceError::Sink)?;
                    } else if octets - octets_max > READ_OVER_MAX {
                        let max = usize::try_from(octets_max).unwrap_or(usize::MAX);
                        return Err(SourceError::TooMany {
                            host: self.host.clone(),
                            what: "octets of a message",
                            max,
                        });
                    }
                }
                Happened::MessageEnds(_) if octets <= octets_max => return Ok(Ok(octets)),
                Happened::MessageEnds(_) => return Ok(Err(NotFetched::TooLong { octets, octets_max })),
                Happened::MessageRefused(reply) => return Ok(Err(NotFetched::Refused(reply.to_string()))),
                other => self.note(other),
            }
        }
    }

    fn note(&mut self, happened: Happened) {
        match happened {
            Happened::Deleted(number) => {
                let id = self.id(number);
                self.finished.deleted.push(id);
            }
            Happened::DeleteRefused(number, reply) => {
                let id = self.id(number);
                self.finished.kept.push((id, reply.to_string()));
            }
            _ => {}
        }
    }

    async fn quit(&mut self) -> Result<(), SourceError> {
        loop {
            match self.connection.event(self.limits.finish).await? {
                Happened::Bye => return Ok(()),
                // Messages asked for and not wanted any more are passed over.
                other => self.note(other),
            }
        }
    }

    fn index(&self, id: &ItemId) -> Result<usize, SourceError> {
        self.by_id.get(id).copied().ok_or_else(|| SourceError::NotListed(id.clone()))
    }

    fn message(&self, number: MessageNumber) -> Option<&Listed> {
        let index = self.listed.binary_search_by_key(&number, |message| message.number).ok()?;
        self.listed.get(index)
    }

    fn id(&self, number: MessageNumber) -> ItemId {
        let uidl = self.message(number).map(|message| message.uidl.as_str().to_owned());
        ItemId(uidl.unwrap_or_default())
    }

    fn late(&self, during: &'static str, limit: Duration) -> SourceError {
        SourceError::TimedOut { host: self.host.clone(), during, limit }
    }

    /// How long a message of so many octets may take.
    fn message_deadline(&self, octets: u64) -> Duration {
        self.limits.silence + Duration::from_secs(octets / self.limits.octets_per_second_min.max(1))
    }
}

impl Source for GatewaySource {
    async fn list(&mut self, _after: Option<&Cursor>) -> Result<Vec<Waiting>, SourceError> {
        let limit = self.limits.list;
        timeout(limit, self.list_now())
            .await
            .unwrap_or_else(|_| Err(self.late("the list of messages", limit)))
    }

    fn request(&mut self, wanted: &[ItemId]) -> Result<(), SourceError> {
        for id in wanted {
            let message = &self.listed[self.index(id)?];
            if message.octets <= self.limits.message_octets_max {
                self.connection.client.retrieve(message.number);
            }
            self.requested.push_back(message.number);
        }
        Ok(())
    }

    async fn hand_over(&mut self, sink: &mut (impl Sink + ?Sized)) -> Result<bool, SourceError> {
        let Some(number) = self.requested.pop_front() else { return Ok(false) };
        let (id, listed) = (self.id(number), self.message(number).map_or(0, |message| message.octets));
        let octets_max = self.limits.message_octets_max;
        let came = if listed > octets_max {
            Err(NotFetched::TooLong { octets: listed, octets_max })
        } else {
            let limit = self.message_deadline(listed);
            let came = timeout(limit, self.next_message(listed, sink)).await;
            came.unwrap_or_else(|_| Err(self.late("a message", limit)))?
        };
        match came {
            Ok(octets) => {
                if octets != listed {
                    // The end came in good order, so nothing is missing; but a gateway of ours counts exactly.
                    tracing::warn!(host = %self.host, message = %id, listed, fetched = octets,
                        "message has another size than listed");
                }
                sink.ends(Item { id, flags: Vec::new(), internal_date: None, octets }).await
            }
            Err(why) => sink.missing(id, why).await,
        }
        .map_err(SourceError::Sink)?;
        Ok(true)
    }

    fn acknowledge(&mut self, safe: &[ItemId]) -> Result<(), SourceError> {
        for id in safe {
            let number = self.listed[self.index(id)?].number;
            if self.acknowledged.insert(number) {
                self.connection.client.delete(number);
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Finished, SourceError> {
        self.connection.client.cancel_retrieves();
        self.connection.client.quit();
        let limit = self.limits.finish;
        timeout(limit, self.quit())
            .await
            .unwrap_or_else(|_| Err(self.late("the end of the session", limit)))?;
        self.connection.close(Duration::from_secs(5)).await;
        Ok(self.finished)
    }
}
