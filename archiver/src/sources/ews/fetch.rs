//! Content on demand: GetItem in small batches, handed on while it is decoded.
//!
//! MIME stands before its item's id, so what it belongs to is known by the order of response messages (MS-OXWSCORE §3.1.4.4),
//! and believed when the id that follows says the same.
//!
//! When no answer comes, or none that makes sense, what was asked for is asked for one by one; what fails so twice while the
//! server answers another request is the item's own fault, and the others shall not wait for it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::changes::words;
use super::error::{is_busy, is_gone, is_of_an_item};
use super::folders::part_of;
use super::http::Body;
use super::service::Patience;
use super::soap::{Answer, Decoder, Event, ItemRow, Request};
use super::{EwsAccount, Part, item, within};
use crate::sources::account::{FolderId, Item, Sink};
use crate::sources::{NotFetched, SourceError};

/// How often an item is asked for that the server does not manage.
const ITEM_TRIES_MAX: u32 = 3;
/// How often an item may fail that is asked for alone.
const ITEM_FAILURES_MAX: u32 = 2;
/// Items that fail one after the other before it is the server that fails.
const FAILED_ITEMS_MAX: u32 = 5;
/// No message takes longer, whatever size it was listed with.
const MESSAGE_MAX: Duration = Duration::from_secs(6 * 3600);

/// What is still to be fetched.
#[derive(Default)]
struct Work {
    waiting: VecDeque<Item>,
    /// What was asked for and has not been answered yet.
    under_way: VecDeque<Item>,
    /// How many come in requests of their own: no answer came of them together, or the server had enough before them.
    alone: usize,
}

impl Work {
    fn next_batch(&mut self, items_max: usize, octets_max: u64) {
        let mut octets = 0_u64;
        let items_max = if self.alone > 0 { 1 } else { items_max.max(1) };
        while let Some(item) = self.waiting.front() {
            octets = octets.saturating_add(item.octets);
            let full = self.under_way.len() == items_max || octets > octets_max;
            if full && !self.under_way.is_empty() {
                break;
            }
            self.under_way.extend(self.waiting.pop_front());
        }
        self.alone = self.alone.saturating_sub(1);
    }

    /// What was not answered is asked for again, first.
    fn again(&mut self) {
        while let Some(item) = self.under_way.pop_back() {
            self.waiting.push_front(item);
        }
    }
}

/// One item's content, as far as it came.
#[derive(Default)]
struct Content {
    begun: bool,
    whole: bool,
    octets: u64,
    too_long: bool,
    row: Option<ItemRow>,
}

/// How a batch ended.
enum Ended {
    Done,
    /// The server wants to be left alone.
    Busy(Answer),
}

impl EwsAccount {
    pub(super) async fn fetch_all(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        let Some((part, _)) = part_of(folder) else {
            return Err(self.no_folder(folder, "it is no folder of this source"));
        };
        self.route(part);
        let octets_max = self.service.limits.message_octets_max;
        let mut work = Work::default();
        for item in items {
            // The store's size: content has about as many octets, and what is far longer need not be asked for.
            if item.octets / 2 > octets_max {
                let why = NotFetched::TooLong { octets: item.octets, octets_max };
                sink.missing(item.id.clone(), why).await.map_err(SourceError::Sink)?;
            } else {
                work.waiting.push_back(item.clone());
            }
        }
        let (mut patience, mut tries) = (Patience::default(), 0);
        let mut failures = 0;
        loop {
            let limits = &self.service.limits;
            work.next_batch(limits.batch_items_max, limits.batch_octets_max);
            if work.under_way.is_empty() {
                return Ok(());
            }
            let before = work.under_way.len();
            let error = match self.fetch_batch(&mut work, sink).await {
                Ok(Ended::Done) => {
                    (patience, tries, failures, self.failed) = (Patience::default(), 0, 0, 0);
                    continue;
                }
                Ok(Ended::Busy(answer)) => {
                    if work.under_way.len() < before {
                        (patience, tries) = (Patience::default(), 0);
                    }
                    tries += 1;
                    // Not the server is busy then, but this item too much for it.
                    if tries > ITEM_TRIES_MAX
                        && answer.code != "ErrorServerBusy"
                        && let Some(item) = work.under_way.pop_front()
                    {
                        let why = NotFetched::Refused(format!("{}: {}", answer.code, answer.text));
                        sink.missing(item.id, why).await.map_err(SourceError::Sink)?;
                        (patience, tries) = (Patience::default(), 0);
                    }
                    work.again();
                    work.alone += 1;
                    self.service.wait(&mut patience, &answer).await?;
                    continue;
                }
                Err(error) => error,
            };
            self.service.session.client.close();
            if !is_of_an_item(&error) {
                return Err(error);
            }
            if work.under_way.len() < before {
                (failures, self.failed) = (0, 0);
            }
            let alone = before == 1;
            failures += u32::from(alone && !work.under_way.is_empty());
            tracing::info!(host = self.service.session.client.host(), %folder, %error, alone, "asking again one by one");
            // A server that answers nothing at all has no bad items.
            self.is_there().await?;
            if failures < ITEM_FAILURES_MAX {
                work.alone += work.under_way.len();
                work.again();
                if alone {
                    sleep(self.service.limits.pause_first).await;
                }
                continue;
            }
            failures = 0;
            if let Some(item) = work.under_way.pop_front() {
                let why = NotFetched::Refused(format!(
                    "nothing came of it twice while it was asked for alone: {error}"
                ));
                sink.missing(item.id, why).await.map_err(SourceError::Sink)?;
            }
            self.failed += 1;
            if self.failed >= FAILED_ITEMS_MAX {
                return Err(error);
            }
        }
    }

    /// Whether the server answers a request that costs it nothing.
    pub(super) async fn is_there(&mut self) -> Result<(), SourceError> {
        let public = self.settings.parts.iter().all(|part| *part == Part::PublicFolders);
        let root = if public { Part::PublicFolders } else { Part::Mailbox }.root();
        let place = [self.distinguished(root)];
        let limit = self.patience();
        let answered = within(limit, self.service.ask(&Request::GetFolder(&place))).await;
        answered.unwrap_or_else(|| Err(self.late("an answer", limit))).map(drop)
    }

    async fn fetch_batch(
        &mut self,
        work: &mut Work,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<Ended, SourceError> {
        let ids: Vec<String> = work.under_way.iter().map(|item| item::id(&item.id).to_owned()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let request = Request::GetItem(&ids, true);
        let octets: u64 = work.under_way.iter().map(|item| item.octets).sum();
        let limit = self.deadline(octets);
        let patience = self.patience();
        let opened = within(patience, self.service.open(&request)).await;
        let body = opened.unwrap_or_else(|| Err(self.late("an answer", patience)))?;
        let (host, during) = (self.service.session.client.host().to_owned(), "messages");
        let late = |_| SourceError::TimedOut { host, during, limit };
        timeout(limit, self.take(&request, body, work, sink)).await.map_err(late)?
    }

    /// As one item may have been listed with a size that is far from its content's, the deadline takes the longest message
    /// for what it is.
    fn deadline(&self, octets: u64) -> Duration {
        let limits = &self.service.limits;
        let rate = limits.octets_per_second_min.max(1);
        let limit = limits.list + limits.silence + Duration::from_secs(octets.saturating_mul(2) / rate);
        limit.min(MESSAGE_MAX)
    }

    async fn take(
        &mut self,
        request: &Request<'_>,
        mut body: Body,
        work: &mut Work,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<Ended, SourceError> {
        let mut decoder = Decoder::default();
        let mut content = Content::default();
        let mut busy = None;
        while let Some(piece) = body.next().await? {
            let mut rest: &[u8] = &piece;
            loop {
                let (used, event) =
                    decoder.receive(rest).map_err(|error| self.service.bad(request, error))?;
                rest = rest.get(used..).unwrap_or_default();
                match event {
                    None => break,
                    Some(Event::ContentBegins) => {
                        let Some(item) = work.under_way.front().filter(|_| !content.begun) else {
                            return Err(self.service.nonsense(request, "has content that nobody asked for"));
                        };
                        content.begun = true;
                        sink.begins(item.octets).await.map_err(SourceError::Sink)?;
                    }
                    Some(Event::Content) => {
                        let piece = decoder.content();
                        content.octets += piece.len() as u64;
                        content.too_long |= content.octets > self.service.limits.message_octets_max;
                        if !content.too_long {
                            sink.piece(piece).await.map_err(SourceError::Sink)?;
                        }
                    }
                    Some(Event::ContentEnds(whole)) => content.whole = whole,
                    Some(Event::Item(_, row)) => content.row = Some(row),
                    Some(Event::Answer(answer)) => {
                        let content = std::mem::take(&mut content);
                        // Once it is busy, what follows says the same or nothing.
                        if busy.is_some() || (answer.is_error() && is_busy(&answer.code)) {
                            busy.get_or_insert(answer);
                            continue;
                        }
                        let Some(item) = work.under_way.pop_front() else {
                            return Err(self
                                .service
                                .nonsense(request, "has more response messages than items"));
                        };
                        self.settle(item, content, &answer, sink).await?;
                    }
                    Some(Event::Fault(answer)) => return Err(self.service.refused(request, &answer)),
                    Some(Event::Version(version)) => self.service.note(version),
                    Some(Event::Folder(..)) => {}
                }
            }
        }
        decoder.finish().map_err(|error| self.service.bad(request, error))?;
        match busy {
            Some(answer) => Ok(Ended::Busy(answer)),
            None if work.under_way.is_empty() => Ok(Ended::Done),
            None => Err(self.service.nonsense(request, "has fewer response messages than items")),
        }
    }

    /// What became of one item.
    async fn settle(
        &self,
        item: Item,
        content: Content,
        answer: &Answer,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        let octets_max = self.service.limits.message_octets_max;
        let row = content.row.unwrap_or_default();
        let why = if answer.is_error() && is_gone(&answer.code) {
            NotFetched::Gone
        } else if answer.is_error() {
            NotFetched::Refused(format!("{}: {}", answer.code, answer.text))
        } else if row.id != item::id(&item.id) {
            NotFetched::Refused("the server answered with another item".into())
        } else if content.too_long {
            NotFetched::TooLong { octets: content.octets, octets_max }
        } else if content.begun && !content.whole {
            NotFetched::Refused("the server sent content that is not base64".into())
        } else if content.octets == 0 {
            NotFetched::Refused(format!(
                "the server has no MIME content for it (it is of class {})",
                row.class
            ))
        } else {
            let internal_date = row.received.or(item.internal_date);
            let flags = words(row.flags, row.categories);
            let whole = Item { id: item.id, flags, internal_date, octets: content.octets };
            return sink.ends(whole).await.map_err(SourceError::Sink);
        };
        sink.missing(item.id, why).await.map_err(SourceError::Sink)
    }
}
