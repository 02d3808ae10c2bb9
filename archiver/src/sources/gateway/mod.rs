//! A Postern gateway, pulled over POP3 with implicit TLS or STLS.
//!
//! Commands are pipelined when the gateway announces it (RFC 2449 §6.6). What is acknowledged is marked by DELE; the
//! gateway deletes at QUIT, so [`Source::finish`] is the moment of truth. A session that breaks before it deleted
//! nothing.
//!
//! A maildrop held by another client ([IN-USE], RFC 2449 §8.1.2) is tried again, with growing pauses, for a bounded time.
//!
//! Messages are handed over as one buffer each, up to [`Limits::message_octets_max`].

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use postern_shared::proto::pop3::MessageNumber;
use postern_shared::proto::pop3::client::{Listed, Options, TlsStart};
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use tokio::time::timeout;

use super::pop3::connection::{Connection, Content, Happened, Server};
use super::{Cursor, Fetched, Finished, ItemId, NotFetched, Source, SourceError, Waiting};

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
    /// A longer message is passed over. One message of this size is in memory at a time.
    pub message_octets_max: u64,
    /// Messages that a maildrop may list.
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
            octets_per_second_min: 1024,
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
    content: Content,
    listed: Vec<Listed>,
    by_id: HashMap<ItemId, usize>,
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
            content: Content::new(limits.message_octets_max),
            limits,
            listed: Vec::new(),
            by_id: HashMap::new(),
            requested: VecDeque::new(),
            acknowledged: HashSet::new(),
            finished: Finished::default(),
        })
    }

    async fn list_now(&mut self) -> Result<Vec<Waiting>, SourceError> {
        self.connection.client.list();
        loop {
            if let Happened::Listed(listed) =
                self.connection.event_with(&mut self.content, self.limits.silence).await?
            {
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

    /// The next message asked for; answers to DELE are noted on the way.
    async fn next_message(&mut self) -> Result<Fetched, SourceError> {
        loop {
            let happened = self.connection.event_with(&mut self.content, self.limits.silence).await?;
            match happened {
                Happened::MessageBegins(number) => {
                    let octets = self.message(number).map_or(0, |message| message.octets);
                    self.content.begin(octets);
                }
                Happened::MessageEnds(number) => return Ok(self.fetched(number)),
                Happened::MessageRefused(number, reply) => {
                    let content = Err(NotFetched::Refused(reply.to_string()));
                    return Ok(Fetched { id: self.id(number), content });
                }
                other => self.note(other),
            }
        }
    }

    fn fetched(&mut self, number: MessageNumber) -> Fetched {
        let id = self.id(number);
        let octets_max = self.limits.message_octets_max;
        let content = self.content.take().map_err(|octets| NotFetched::TooLong { octets, octets_max });
        if let (Some(message), Ok(content)) = (self.message(number), &content)
            && message.octets != content.len() as u64
        {
            // The end came in good order, so nothing is missing; but a gateway of ours counts exactly.
            tracing::warn!(host = %self.host, message = %id, listed = message.octets, fetched = content.len(),
                "message has another size than listed");
        }
        Fetched { id, content }
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
            match self.connection.event_with(&mut self.content, self.limits.finish).await? {
                Happened::Bye => return Ok(()),
                // Asked for and not wanted any more: its octets are not kept.
                Happened::MessageBegins(_) => self.content = Content::new(0),
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

    async fn next(&mut self) -> Result<Option<Fetched>, SourceError> {
        let Some(number) = self.requested.pop_front() else { return Ok(None) };
        let octets = self.message(number).map_or(0, |message| message.octets);
        let octets_max = self.limits.message_octets_max;
        if octets > octets_max {
            let content = Err(NotFetched::TooLong { octets, octets_max });
            return Ok(Some(Fetched { id: self.id(number), content }));
        }
        let limit = self.message_deadline(octets);
        let fetched = timeout(limit, self.next_message()).await;
        fetched.unwrap_or_else(|_| Err(self.late("a message", limit))).map(Some)
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
