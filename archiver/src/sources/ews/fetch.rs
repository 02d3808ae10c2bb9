//! Content on demand: GetItem in small batches, handed on while it is decoded.
//!
//! MIME stands before its item's id, so what it belongs to is known by the order of response messages (MS-OXWSCORE §3.1.4.4),
//! and believed when the id that follows says the same.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::timeout;

use super::EwsAccount;
use super::changes::words;
use super::error::{is_busy, is_gone};
use super::folders::part_of;
use super::http::Body;
use super::service::{Patience, RECONNECTS_MAX};
use super::soap::{Answer, Decoder, Event, ItemRow, Request};
use crate::sources::account::{FolderId, Item, Sink};
use crate::sources::{NotFetched, SourceError};

/// How often an item is asked for that the server does not manage.
const ITEM_TRIES_MAX: u32 = 3;

/// What is still to be fetched.
#[derive(Default)]
struct Work {
    waiting: VecDeque<Item>,
    /// What was asked for and has not been answered yet.
    under_way: VecDeque<Item>,
    /// What comes in a request of its own: it broke the connection, or the server had enough before it.
    alone: bool,
}

impl Work {
    fn next_batch(&mut self, items_max: usize, octets_max: u64) {
        let mut octets = 0_u64;
        let items_max = if self.alone { 1 } else { items_max.max(1) };
        while let Some(item) = self.waiting.front() {
            octets = octets.saturating_add(item.octets);
            let full = self.under_way.len() == items_max || octets > octets_max;
            if full && !self.under_way.is_empty() {
                break;
            }
            self.under_way.extend(self.waiting.pop_front());
        }
        self.alone = false;
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
        let (mut broken, mut broke_at) = (0, None);
        loop {
            let limits = &self.service.limits;
            work.next_batch(limits.batch_items_max, limits.batch_octets_max);
            if work.under_way.is_empty() {
                return Ok(());
            }
            let before = work.under_way.len();
            let error = match self.fetch_batch(&mut work, sink).await {
                Ok(Ended::Done) => {
                    (patience, tries, broken) = (Patience::default(), 0, 0);
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
                    work.alone = true;
                    self.service.wait(&mut patience, &answer).await?;
                    continue;
                }
                Err(error) => error,
            };
            self.service.session.client.close();
            let passes = matches!(error, SourceError::Closed { .. } | SourceError::Broken { .. });
            if !passes || broken == RECONNECTS_MAX {
                return Err(error);
            }
            broken = if work.under_way.len() < before { 1 } else { broken + 1 };
            // The item at which it breaks twice is the one that breaks it: the others shall not wait for it.
            let at = work.under_way.front().map(|item| item.id.clone());
            if at.is_some()
                && at == broke_at
                && let Some(item) = work.under_way.pop_front()
            {
                let why = format!("the connection broke twice while it was fetched: {error}");
                sink.missing(item.id, NotFetched::Refused(why)).await.map_err(SourceError::Sink)?;
                broken = 0;
            }
            broke_at = at;
            work.again();
            work.alone = true;
            tracing::info!(host = self.service.session.client.host(), %folder, %error, "connecting again to go on");
        }
    }

    async fn fetch_batch(
        &mut self,
        work: &mut Work,
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<Ended, SourceError> {
        let ids: Vec<String> = work.under_way.iter().map(|item| item.id.0.clone()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let request = Request::GetItem(&ids, true);
        let octets: u64 = work.under_way.iter().map(|item| item.octets).sum();
        let limit = self.deadline(octets);
        let body = self.service.open(&request).await?;
        let (host, during) = (self.service.session.client.host().to_owned(), "messages");
        let late = |_| SourceError::TimedOut { host, during, limit };
        timeout(limit, self.take(&request, body, work, sink)).await.map_err(late)?
    }

    /// As one item may have been listed with a size that is far from its content's, the deadline takes the longest message
    /// for what it is.
    fn deadline(&self, octets: u64) -> Duration {
        let limits = &self.service.limits;
        let rate = limits.octets_per_second_min.max(1);
        limits.list + limits.silence + Duration::from_secs(octets.saturating_mul(2) / rate)
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
        } else if row.id != item.id.0 {
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
