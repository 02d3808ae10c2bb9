//! Messages, pipelined: the next command is under way before the last one's answers are read.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use postern_shared::proto::imap::{Body, Code, Command, Condition, Fetch, Response, Text, Uid, UidSet};
use postern_shared::proto::sasl::Credentials;
use tokio::time::{sleep, timeout};

use super::changes::{id_of, uid_of};
use super::delete::SET_OCTETS_MAX;
use super::session::Ticket;
use super::{Happened, ImapError, ImapSource, connect};
use crate::sources::account::{FolderId, Item, Sink};
use crate::sources::{NotFetched, SourceError};

/// Messages and claimed octets of one command.
const BATCH_MESSAGES: usize = 200;
const BATCH_OCTETS: u64 = 4 * 1024 * 1024;
/// Commands under way, so that the server never waits for us.
const BATCHES_UNDER_WAY: usize = 3;
/// A message that is too long is read over up to so many octets more than may be; more ends the session.
const READ_OVER_MAX: u64 = 64 * 1024 * 1024;
/// How often a fetch whose connection breaks is taken up again.
const RECONNECTS_MAX: u32 = 8;
/// Before that, so many times for each connection in a row that brought nothing.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1000 });

/// Messages not brought yet, by UID.
type Wanted = BTreeMap<Uid, Item>;

/// What is under way of one fetch.
#[derive(Default)]
struct Work {
    pending: VecDeque<Wanted>,
    under_way: VecDeque<(Ticket, Wanted)>,
    /// What began last and did not end: the connection broke within it, or right before it.
    within: Option<Uid>,
    /// A message came of this connection.
    came: bool,
    /// It was named as missing before the session had to end because of it.
    is_named: bool,
    /// The content handed on before the response that says whose it is.
    content: Option<Result<u64, u64>>,
    /// What the server did not send, and said that all was done.
    unsent: Wanted,
}

impl Work {
    /// All that was not brought, in batches.
    fn again(&mut self) {
        let batches = self.under_way.drain(..).map(|(_, batch)| batch);
        let unsent = std::mem::take(&mut self.unsent);
        let left: Wanted = batches.chain(self.pending.drain(..)).flatten().chain(unsent).collect();
        self.pending = batches_of(left);
        (self.content, self.is_named) = (None, false);
    }

    /// At which message the session broke.
    fn first(&self) -> Option<Uid> {
        if self.is_named {
            return None;
        }
        let is_under_way = |uid: &Uid| self.under_way.iter().any(|(_, batch)| batch.contains_key(uid));
        let (_, batch) = self.under_way.front()?;
        self.within.filter(is_under_way).or_else(|| batch.keys().next().copied())
    }

    fn remove(&mut self, uid: Uid) -> Option<Item> {
        let item = self.under_way.iter_mut().find_map(|(_, batch)| batch.remove(&uid));
        item.or_else(|| self.pending.iter_mut().find_map(|batch| batch.remove(&uid)))
    }
}

fn batches_of(wanted: Wanted) -> VecDeque<Wanted> {
    let mut batches = VecDeque::new();
    let (mut batch, mut octets) = (Wanted::new(), 0_u64);
    for (uid, item) in wanted {
        if !batch.is_empty() && (batch.len() >= BATCH_MESSAGES || octets + item.octets > BATCH_OCTETS) {
            batches.push_back(std::mem::take(&mut batch));
            octets = 0;
        }
        octets = octets.saturating_add(item.octets);
        batch.insert(uid, item);
    }
    if !batch.is_empty() {
        batches.push_back(batch);
    }
    batches
}

/// Whether the message that was awaited may be what broke the session; else it is the account, the server, or here.
fn is_of_a_message(error: &SourceError) -> bool {
    match error {
        SourceError::Closed { .. } | SourceError::Broken { .. } | SourceError::TimedOut { .. } => true,
        SourceError::Imap { error, .. } => matches!(
            **error,
            ImapError::Bye(_) | ImapError::Read(_) | ImapError::Response(_) | ImapError::Unsolicited(_)
        ),
        _ => false,
    }
}

impl ImapSource {
    pub(super) async fn fetch_all(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        self.suspect = None;
        let mut work = Work::default();
        let state = self.open(folder, false, false).await?;
        let octets_max = self.limits.message_octets_max;
        let mut wanted = Wanted::new();
        for item in items {
            match uid_of(&item.id) {
                Some((validity, uid)) if validity == state.validity.get() => {
                    if item.octets > octets_max {
                        let why = NotFetched::TooLong { octets: item.octets, octets_max };
                        sink.missing(item.id.clone(), why).await.map_err(SourceError::Sink)?;
                    } else {
                        wanted.insert(uid, item.clone());
                    }
                }
                _ => {
                    let why = NotFetched::Refused("the server numbered its messages anew since".into());
                    sink.missing(item.id.clone(), why).await.map_err(SourceError::Sink)?;
                }
            }
        }
        work.pending = batches_of(wanted);
        let (mut reconnects, mut fruitless, mut broke_at) = (0, 0, None);
        loop {
            let error = match self.fetch_work(&mut work, sink).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !is_of_a_message(&error) {
                return Err(error);
            }
            let at = work.first();
            self.suspect = at.map(|uid| id_of(state.validity, uid));
            // A token may have run out meanwhile: whoever opened the session gets another one.
            let has_token = matches!(self.settings.login.credentials, Credentials::Bearer(_));
            if has_token || reconnects == RECONNECTS_MAX {
                return Err(error);
            }
            reconnects += 1;
            // The message at which it breaks twice is the one that breaks it: the others shall not wait for it.
            if at.is_some()
                && at == broke_at
                && let Some(item) = at.and_then(|uid| work.remove(uid))
            {
                let why =
                    NotFetched::Refused(format!("the session broke twice while it was fetched: {error}"));
                sink.missing(item.id, why).await.map_err(SourceError::Sink)?;
            }
            broke_at = at;
            fruitless = if std::mem::take(&mut work.came) { 0 } else { fruitless + 1 };
            work.again();
            tracing::info!(host = %self.settings.host, %folder, %error, "connecting again to go on");
            sleep(PAUSE * fruitless).await;
            // What was the matter says more than why there is no other connection.
            if !self.connect_again(folder, state.validity).await {
                return Err(error);
            }
        }
    }

    /// Whether there is another connection, to the same messages.
    async fn connect_again(&mut self, folder: &FolderId, validity: Uid) -> bool {
        self.opened = None;
        drop(self.connection.take_stream());
        let Ok(connection) = connect(&self.settings, &self.limits).await else { return false };
        self.connection = connection;
        self.open(folder, false, true).await.is_ok_and(|state| state.validity == validity)
    }

    async fn fetch_work(
        &mut self,
        work: &mut Work,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        loop {
            while work.under_way.len() < BATCHES_UNDER_WAY
                && let Some(batch) = work.pending.pop_front()
            {
                self.ask(work, batch);
            }
            if work.under_way.is_empty() {
                return self.explain_unsent(work, sink).await;
            }
            let limit = self.limits.list;
            let happened = timeout(limit, self.significant()).await;
            match happened.unwrap_or_else(|_| Err(self.late("the next message", limit)))? {
                Happened::ContentBegins(..) if work.content.is_some() => {
                    return Err(self.connection.fault(ImapError::Unsolicited("two contents of one message")));
                }
                Happened::ContentBegins(uid, octets) => {
                    work.within = uid;
                    let octets_max = self.limits.message_octets_max;
                    if octets.saturating_sub(octets_max) > READ_OVER_MAX {
                        if let Some(item) = uid.and_then(|uid| work.remove(uid)) {
                            let why = NotFetched::TooLong { octets, octets_max };
                            sink.missing(item.id, why).await.map_err(SourceError::Sink)?;
                            work.is_named = true;
                        }
                        return Err(self.connection.fault(ImapError::Unsolicited("a message far too long")));
                    }
                    let limit = self.message_deadline(octets);
                    let content = timeout(limit, self.content(octets, sink)).await;
                    let content = content.unwrap_or_else(|_| Err(self.late("a message", limit)))?;
                    work.content = Some(content);
                }
                Happened::Data(Response::Fetch(fetch)) => self.message(work, fetch, sink).await?,
                Happened::Done(ticket, condition, text) => {
                    self.batch_ends(work, ticket, condition, text, sink).await?;
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, work: &mut Work, batch: Wanted) {
        let mut sets = UidSet::of(batch.keys().copied()).in_pieces(SET_OCTETS_MAX).into_iter();
        let Some(set) = sets.next() else { return };
        let mut now = batch;
        // What does not fit into a line is asked for next.
        let later: Wanted = sets
            .flat_map(|set| now.extract_if(.., |uid, _| set.contains(*uid)).collect::<Wanted>())
            .collect();
        if !later.is_empty() {
            work.pending.push_front(later);
        }
        let command = Command::new(&format!("UID FETCH {set} (UID FLAGS INTERNALDATE BODY.PEEK[])"));
        let ticket = self.connection.session.command(command, "FETCH");
        work.under_way.push_back((ticket, now));
    }

    /// The next content, message or end of a command.
    async fn significant(&mut self) -> Result<Happened, SourceError> {
        loop {
            match self.connection.event(self.limits.silence).await? {
                Happened::Data(Response::Fetch(fetch)) if fetch.body.is_some() => {
                    return Ok(Happened::Data(Response::Fetch(fetch)));
                }
                Happened::Data(response) => self.note(&response),
                happened => return Ok(happened),
            }
        }
    }

    /// Hands a message's content on; how long it was, or that it was too long.
    async fn content(
        &mut self,
        octets: u64,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<Result<u64, u64>, SourceError> {
        let octets_max = self.limits.message_octets_max;
        let wanted = octets <= octets_max;
        if wanted {
            sink.begins(octets).await.map_err(SourceError::Sink)?;
        }
        let mut left = octets;
        while left > 0 {
            let Happened::Content(range) = self.connection.event(self.limits.silence).await? else {
                return Err(self.connection.fault(ImapError::Unsolicited("something within a message")));
            };
            let piece = self.connection.octets(&range);
            left = left.saturating_sub(piece.len() as u64);
            if wanted {
                sink.piece(piece).await.map_err(SourceError::Sink)?;
            }
        }
        Ok(if wanted { Ok(octets) } else { Err(octets) })
    }

    /// A whole response with a message.
    async fn message(
        &mut self,
        work: &mut Work,
        fetch: Fetch,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        let content = work.content.take();
        // A server that waits for us to read on may answer the next command meanwhile, as Dovecot does.
        let find = |uid| work.under_way.iter_mut().find_map(|(_, batch)| batch.remove(&uid));
        let Some(item) = fetch.uid.and_then(find) else {
            return Err(self.connection.fault(ImapError::Unsolicited("a message")));
        };
        let octets_max = self.limits.message_octets_max;
        let too_long = |octets| NotFetched::TooLong { octets, octets_max };
        let came = match (fetch.body, content) {
            (Some(Body::HandedOn), Some(content)) => content.map_err(too_long),
            (Some(Body::Short(text)), None) => {
                sink.begins(text.len() as u64).await.map_err(SourceError::Sink)?;
                sink.piece(&text).await.map_err(SourceError::Sink)?;
                Ok(text.len() as u64)
            }
            (Some(Body::Nil), None) => Err(NotFetched::Refused("the server has no content for it".into())),
            _ => return Err(self.connection.fault(ImapError::Unsolicited("two contents of one message"))),
        };
        (work.within, work.came) = (None, true);
        match came {
            Ok(octets) => {
                let flags = fetch.flags.unwrap_or(item.flags);
                let internal_date = fetch.internal_date.or(item.internal_date);
                sink.ends(Item { id: item.id, flags, internal_date, octets }).await
            }
            Err(why) => sink.missing(item.id, why).await,
        }
        .map_err(SourceError::Sink)
    }

    /// A command has ended: what it did not bring is gone, refused, or tried one by one.
    async fn batch_ends(
        &mut self,
        work: &mut Work,
        ticket: Ticket,
        condition: Condition,
        text: Text,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        let at = work.under_way.iter().position(|(under_way, _)| *under_way == ticket);
        let Some((_, rest)) = at.and_then(|at| work.under_way.remove(at)) else {
            return Err(self.connection.fault(ImapError::Unsolicited("the end of another command")));
        };
        if rest.is_empty() {
            return Ok(());
        }
        // Trouble with the server or the account, not with a message.
        if matches!(text.code, Some(Code::Unavailable | Code::InUse | Code::Limit)) {
            return Err(self.refused("FETCH", text));
        }
        if condition != Condition::Ok && rest.len() > 1 {
            work.pending.extend(rest.into_iter().map(|one| Wanted::from([one])));
            return Ok(());
        }
        if condition == Condition::Ok {
            work.unsent.extend(rest);
            return Ok(());
        }
        for item in rest.into_values() {
            sink.missing(item.id, NotFetched::Refused(text.to_string())).await.map_err(SourceError::Sink)?;
        }
        Ok(())
    }

    /// What was not sent is gone; or it is still there, and then somebody should look at it.
    async fn explain_unsent(
        &mut self,
        work: &mut Work,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        let unsent = std::mem::take(&mut work.unsent);
        for set in UidSet::of(unsent.keys().copied()).in_pieces(SET_OCTETS_MAX) {
            let limit = self.limits.list;
            let left = timeout(limit, self.existing(&set)).await;
            let left = left.unwrap_or_else(|_| Err(self.late("a look at messages", limit)))?;
            let of_set = || unsent.iter().filter(|(uid, _)| set.contains(**uid));
            let silent = of_set().map(|(uid, _)| *uid).filter(|uid| !left.contains(uid));
            let hidden = timeout(limit, self.hidden(silent)).await;
            let hidden = hidden.unwrap_or_else(|_| Err(self.late("a look at messages", limit)))?;
            for (uid, item) in of_set() {
                let why = if left.contains(uid) {
                    NotFetched::Refused("the server says it was sent, and it was not".into())
                } else if hidden.contains(uid) {
                    NotFetched::Refused("the server says it is there, and nothing else of it".into())
                } else {
                    NotFetched::Gone
                };
                sink.missing(item.id.clone(), why).await.map_err(SourceError::Sink)?;
            }
        }
        Ok(())
    }

    /// How long a message of so many octets may take.
    fn message_deadline(&self, octets: u64) -> Duration {
        self.limits.silence + Duration::from_secs(octets / self.limits.octets_per_second_min.max(1))
    }
}
