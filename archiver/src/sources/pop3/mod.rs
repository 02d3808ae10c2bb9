//! Any POP3 server, which keeps its mail: implicit TLS or STLS; USER and PASS, or AUTH PLAIN, LOGIN, XOAUTH2, OAUTHBEARER.
//!
//! What was read is known by unique-ids (UIDL) and sizes, and the cursor names every message that is still there. So a
//! unique-id that is used again for a message of another size is a new message, and so is one that was gone in between, or that
//! was deleted by us. One that stands beside several messages names none of them: those are told of in every run, for the
//! archive to fold.
//!
//! Commands are pipelined when the server announces it (RFC 2449 §6.6). TOP is not used. A maildrop held by another client is
//! waited for, as a gateway's is (`gateway`).
//!
//! Promises
//! - DELE only on order, and only for a message that this session fetched: between two sessions a unique-id may become another
//!   message's, of the same size even, where it is the message's number (RFC 1939 §7). Whoever orders fetches first what
//!   [`Account::to_fetch_before_deletion`] names, and archives it. DELE takes effect at QUIT: a session that breaks before
//!   deleted nothing.
//! - A message counts as fetched when its final dot came.
//! - Of a maildrop with more messages than [`Limits::messages_max`] so many are listed, and that is told.
//!
//! Not here: gateways, whose mail is deleted when it is archived (`gateway`); APOP.

pub(crate) mod connection;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use postern_shared::proto::pop3::MessageNumber;
use postern_shared::proto::pop3::client::{Listed, Options, TlsStart};
use postern_shared::proto::sasl::{Credentials, Mechanism};
use postern_shared::tls::client::Trust;
use tokio::time::timeout;

use super::account::{Account, Changes, Deleted, Folder, FolderId, Item, ItemSet, Owner, Role, Sink, Woken};
pub use super::gateway::Limits;
use super::gateway::READ_OVER_MAX;
use super::{Cursor, ItemId, NotFetched, SourceError};
use connection::{Connection, Happened, Server};
use seen::Seen;

/// The one folder there is.
const INBOX: &str = "INBOX";
/// Messages of a page: its cursor names all that were read, so pages are large.
const PAGE_MESSAGES_MAX: usize = 10_000;

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
    pub credentials: Credentials,
    /// By AUTH with this mechanism; else by the best that is offered.
    pub mechanism: Option<Mechanism>,
}

/// One session with a POP3 server.
pub struct Pop3Source {
    connection: Connection,
    host: String,
    limits: Limits,
    listing: Option<Listing>,
    fetched: HashSet<MessageNumber>,
    marked: Vec<ItemId>,
    /// At which message a fetch failed.
    suspect: Option<ItemId>,
    notes: Vec<String>,
}

/// The maildrop, as it is for the whole session.
struct Listing {
    messages: Vec<Listed>,
    ids: Vec<ItemId>,
    by_id: HashMap<ItemId, usize>,
    /// Those whose unique-id is not theirs alone.
    shared: HashSet<MessageNumber>,
    /// What the cursor given out last says, so that it need not be read again.
    told: Option<(Cursor, Seen)>,
}

impl Pop3Source {
    /// Connects and logs in; waits a bounded time for a maildrop that another client holds.
    ///
    /// # Errors
    /// Naming the step that failed: name, TCP, TLS, certificate, login.
    pub async fn connect(settings: &Settings, limits: Limits) -> Result<Self, SourceError> {
        let Settings { host, port, trust, .. } = settings;
        let options = Options {
            tls: settings.tls,
            credentials: settings.credentials.clone(),
            mechanism: settings.mechanism,
            window: limits.window,
            messages_max: limits.messages_max,
            same_uidls: true,
        };
        let connection = Connection::open(Server { host, port: *port, trust }, &options, &limits).await?;
        let (host, fetched, listing, suspect) = (host.clone(), HashSet::new(), None, None);
        Ok(Self {
            connection,
            host,
            limits,
            listing,
            fetched,
            marked: Vec::new(),
            suspect,
            notes: Vec::new(),
        })
    }

    /// The maildrop; asked for once.
    async fn listing(&mut self) -> Result<&mut Listing, SourceError> {
        if self.listing.is_none() {
            let limit = self.limits.list;
            let listed = timeout(limit, self.list_now()).await;
            let messages = listed.unwrap_or_else(|_| Err(self.late("the list of messages", limit)))?;
            self.listing = Some(Listing::of(messages));
        }
        Ok(self.listing.get_or_insert_with(|| Listing::of(Vec::new())))
    }

    async fn list_now(&mut self) -> Result<Vec<Listed>, SourceError> {
        self.connection.client.list();
        loop {
            if let Happened::Listed(listed, left_out) = self.connection.event(self.limits.silence).await? {
                if left_out > 0 {
                    let max = self.limits.messages_max;
                    self.notes.push(format!(
                        "the maildrop has {left_out} messages more than the {max} that are listed; they come when others are \
                         deleted there"
                    ));
                }
                return Ok(listed);
            }
        }
    }

    /// One message's answer; what was asked for comes in its order.
    async fn next_message(
        &mut self,
        octets_max: u64,
        sink: &mut (impl Sink + ?Sized),
        claimed: u64,
    ) -> Result<Result<u64, NotFetched>, SourceError> {
        let mut octets = 0_u64;
        loop {
            match self.connection.event(self.limits.silence).await? {
                Happened::MessageBegins => sink.begins(claimed).await.map_err(SourceError::Sink)?,
                Happened::Content(range) => {
                    let piece = self.connection.octets(&range);
                    octets += piece.len() as u64;
                    if octets > octets_max.saturating_add(READ_OVER_MAX) {
                        let max = usize::try_from(octets_max).unwrap_or(usize::MAX);
                        return Err(SourceError::TooMany {
                            host: self.host.clone(),
                            what: "octets of a message",
                            max,
                        });
                    }
                    if octets <= octets_max {
                        sink.piece(piece).await.map_err(SourceError::Sink)?;
                    }
                }
                Happened::MessageEnds(number) if octets <= octets_max => {
                    self.fetched.insert(number);
                    return Ok(Ok(octets));
                }
                Happened::MessageEnds(_) => return Ok(Err(NotFetched::TooLong { octets, octets_max })),
                Happened::MessageRefused(reply) => return Ok(Err(NotFetched::Refused(reply.to_string()))),
                _ => {}
            }
        }
    }

    async fn mark(&mut self, wanted: &BTreeMap<MessageNumber, ItemId>) -> Result<Deleted, SourceError> {
        let mut result = Deleted::default();
        for number in wanted.keys() {
            self.connection.client.delete(*number);
        }
        let mut left = wanted.len();
        while left > 0 {
            match self.connection.event(self.limits.silence).await? {
                Happened::Deleted(number) => self.marked.extend(wanted.get(&number).cloned()),
                Happened::DeleteRefused(number, reply) => {
                    let id = wanted.get(&number).cloned();
                    result.kept.extend(id.map(|id| (id, reply.to_string())));
                }
                _ => continue,
            }
            left -= 1;
        }
        Ok(result)
    }

    fn late(&self, during: &'static str, limit: Duration) -> SourceError {
        SourceError::TimedOut { host: self.host.clone(), during, limit }
    }

    fn check(&self, folder: &FolderId) -> Result<(), SourceError> {
        if folder.0 == INBOX {
            return Ok(());
        }
        let text = "POP3 has the folder INBOX alone".to_owned();
        Err(SourceError::Folder { host: self.host.clone(), folder: folder.clone(), text })
    }
}

impl Listing {
    fn of(messages: Vec<Listed>) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for message in &messages {
            *counts.entry(message.uidl.as_str()).or_default() += 1;
        }
        let is_shared = |message: &&Listed| counts.get(message.uidl.as_str()).is_some_and(|count| *count > 1);
        let shared: HashSet<_> = messages.iter().filter(is_shared).map(|message| message.number).collect();
        // No unique-id holds a blank (RFC 1939 §7). With the size, a message that got another's unique-id is another.
        let id = |message: &Listed| match shared.contains(&message.number) {
            false => ItemId(format!("{} {}", message.uidl, message.octets)),
            true => ItemId(format!("{} {} {}", message.uidl, message.octets, message.number)),
        };
        let ids: Vec<ItemId> = messages.iter().map(id).collect();
        let by_id = ids.iter().cloned().enumerate().map(|(index, id)| (id, index)).collect();
        Self { messages, ids, by_id, shared, told: None }
    }

    fn page(&mut self, after: Option<&Cursor>) -> Changes {
        let (mut seen, mut restarted, mut first_page) = (Seen::default(), None, true);
        match (self.told.take(), after) {
            // Each of those that share a unique-id is told of once in a session.
            (Some((cursor, told)), Some(after)) if cursor == *after => (seen, first_page) = (told, false),
            (_, Some(after)) => match Seen::read(after) {
                // What is not there any more is forgotten: a unique-id that comes again is another message's.
                Some(read) => seen = read.only(self.messages.iter()),
                None => restarted = Some("the cursor of the last run is no cursor".to_owned()),
            },
            _ => {}
        }
        let mut items = Vec::new();
        let mut more = false;
        for (message, id) in self.messages.iter().zip(&self.ids) {
            let shared = self.shared.contains(&message.number);
            if (shared && !first_page) || (!shared && seen.has(message)) {
                continue;
            }
            if items.len() == PAGE_MESSAGES_MAX && !shared {
                more = true;
                break;
            }
            seen.add(message);
            let octets = message.octets;
            items.push(Item { id: id.clone(), flags: Vec::new(), internal_date: None, octets });
        }
        let kept = seen.only(self.messages.iter().filter(|message| !self.shared.contains(&message.number)));
        let cursor = kept.cursor();
        if more {
            self.told = Some((cursor.clone(), seen));
        }
        Changes { items, flags: Vec::new(), vanished: ItemSet::default(), restarted, cursor, more }
    }
}

impl Account for Pop3Source {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let messages = self.listing().await?.messages.len() as u64;
        Ok(vec![Folder {
            id: FolderId(INBOX.into()),
            path: vec![INBOX.into()],
            role: Some(Role::Inbox),
            owner: Owner::Own,
            holds_messages: true,
            messages: Some(messages),
        }])
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        self.check(folder)?;
        Ok(self.listing().await?.page(after))
    }

    async fn fetch(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        self.check(folder)?;
        self.suspect = None;
        let octets_max = self.limits.message_octets_max;
        let listing = self.listing().await?;
        let mut asked = Vec::new();
        for item in items {
            let message = listing.by_id.get(&item.id).and_then(|index| listing.messages.get(*index));
            let why = match message {
                None => NotFetched::Gone,
                Some(message) if message.octets > octets_max => {
                    NotFetched::TooLong { octets: message.octets, octets_max }
                }
                Some(message) => {
                    asked.push((message.number, message.octets, item.id.clone()));
                    continue;
                }
            };
            sink.missing(item.id.clone(), why).await.map_err(SourceError::Sink)?;
        }
        for (number, ..) in &asked {
            self.connection.client.retrieve(*number);
        }
        for (_, claimed, id) in asked {
            let rate = self.limits.octets_per_second_min.max(1);
            let limit = self.limits.silence + Duration::from_secs(claimed / rate);
            let message = timeout(limit, self.next_message(octets_max, sink, claimed)).await;
            let message = message.unwrap_or_else(|_| Err(self.late("a message", limit)));
            if message.as_ref().is_err_and(|error| !matches!(error, SourceError::Sink(_))) {
                self.suspect = Some(id.clone());
            }
            match message? {
                Ok(octets) => sink.ends(Item { id, flags: Vec::new(), internal_date: None, octets }).await,
                Err(why) => sink.missing(id, why).await,
            }
            .map_err(SourceError::Sink)?;
        }
        Ok(())
    }

    async fn look(&mut self, folder: &FolderId, items: &[Item]) -> Result<Vec<Item>, SourceError> {
        self.check(folder)?;
        let listing = self.listing().await?;
        let there = items.iter().filter_map(|item| {
            let message = listing.messages.get(*listing.by_id.get(&item.id)?)?;
            Some(Item { octets: message.octets, ..item.clone() })
        });
        Ok(there.collect())
    }

    fn suspect(&self) -> Option<ItemId> {
        self.suspect.clone()
    }

    fn claims_exact_sizes(&self) -> bool {
        true
    }

    fn deletes_only_what_it_fetched(&self) -> bool {
        true
    }

    fn names_come_again(&self) -> bool {
        // Not within the session that fetched what they name.
        false
    }

    fn to_fetch_before_deletion(&self, folder: &FolderId, items: &[ItemId]) -> Vec<Item> {
        let Some(listing) = self.listing.as_ref().filter(|_| folder.0 == INBOX) else { return Vec::new() };
        let listed = items.iter().filter_map(|id| Some((id, listing.messages.get(*listing.by_id.get(id)?)?)));
        let unfetched = listed.filter(|(_, message)| !self.fetched.contains(&message.number));
        let item = |(id, message): (&ItemId, &Listed)| Item {
            id: id.clone(),
            flags: Vec::new(),
            internal_date: None,
            octets: message.octets,
        };
        unfetched.map(item).collect()
    }

    fn cursor_without(cursor: &Cursor, deleted: &[ItemId]) -> Option<Cursor> {
        let mut seen = Seen::read(cursor)?;
        seen.remove(deleted);
        Some(seen.cursor()).filter(|without| without != cursor)
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    async fn delete(&mut self, folder: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        self.check(folder)?;
        self.listing().await?;
        let (mut wanted, mut kept) = (BTreeMap::new(), Vec::new());
        if let Some(listing) = &self.listing {
            for id in items {
                let message = listing.by_id.get(id).and_then(|index| listing.messages.get(*index));
                match message.map(|message| message.number) {
                    None => kept.push((id.clone(), "it is not in the maildrop".to_owned())),
                    Some(number) if !self.fetched.contains(&number) => {
                        let why =
                            "it was not fetched in this session, so it may be another that got its unique-id";
                        kept.push((id.clone(), why.to_owned()));
                    }
                    Some(number) => drop(wanted.insert(number, id.clone())),
                }
            }
        }
        let limit = self.limits.list;
        let marked = timeout(limit, self.mark(&wanted)).await;
        let mut result = marked.unwrap_or_else(|_| Err(self.late("the deletion of messages", limit)))?;
        result.kept.append(&mut kept);
        Ok(result)
    }

    async fn wait(&mut self, _folder: &FolderId, _limit: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(mut self) -> Result<Deleted, SourceError> {
        self.connection.client.cancel_retrieves();
        self.connection.client.quit();
        let limit = self.limits.finish;
        let quit = async {
            while !matches!(self.connection.event(limit).await?, Happened::Bye) {}
            Ok(())
        };
        timeout(limit, quit).await.unwrap_or_else(|_| {
            Err(SourceError::TimedOut { host: self.host.clone(), during: "the end of the session", limit })
        })?;
        self.connection.close(Duration::from_secs(5)).await;
        Ok(Deleted { deleted: self.marked, ..Deleted::default() })
    }
}
