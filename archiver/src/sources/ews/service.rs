//! Requests and whole answers: busy servers are waited for, broken connections made anew, refusals put into words.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::{sleep, timeout};

use super::error::{is_busy, refused};
use super::http::{Answered, Body, Target};
use super::session::Session;
use super::settings::{Access, Limits, Settings};
use super::soap::answer::printable;
use super::soap::{Answer, Caller, Change, Decoder, Event, FolderRow, ItemRow, Request, Version};
use super::{EwsError, online};
use crate::sources::SourceError;

/// Broken connections of one request.
pub(super) const RECONNECTS_MAX: u32 = 3;
/// Octets of a fault.
const FAULT_OCTETS_MAX: usize = 1024 * 1024;
/// Rows of one answer: pages are bounded, and lists of folders are long.
const ROWS_MAX: usize = 200_000;

/// How long a server was waited for.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waited: Duration,
    tries: u32,
}

impl Patience {
    /// How long to wait now; `None` when it was long enough. What the server says is obeyed, even when it is longer than a
    /// pause of ours would be.
    fn next(&mut self, hint: Option<Duration>, limits: &Limits) -> Option<Duration> {
        let own = limits.pause_first.saturating_mul(2_u32.saturating_pow(self.tries.min(16)));
        let pause = hint.filter(|hint| !hint.is_zero()).unwrap_or_else(|| own.min(limits.pause_max));
        self.tries += 1;
        self.waited = self.waited.saturating_add(pause);
        (self.waited <= limits.pauses_max).then_some(pause)
    }
}

/// One response message with what it brought.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) folders: Vec<(Change, FolderRow)>,
    pub(super) items: Vec<(Change, ItemRow)>,
}

/// The service at one URL, for one mailbox.
pub(super) struct Service {
    pub(super) session: Session,
    pub(super) limits: Limits,
    caller: Caller,
    mailbox: String,
    fields: HeaderMap,
    version: Option<Version>,
    requests: u64,
}

impl Service {
    pub(super) fn new(
        target: Target,
        settings: &Settings,
        mailbox: &str,
        limits: Limits,
    ) -> Result<Self, SourceError> {
        let host = target.host.clone();
        if online::is_host(&host) {
            return Err(SourceError::Ews { host, error: Box::new(EwsError::Online(String::new())) });
        }
        let session = Session::new(target, settings, &limits)?;
        let impersonated = (settings.access == Access::Impersonate).then(|| mailbox.to_owned());
        let caller = Caller { impersonated, modern: false };
        let (mailbox, fields) = (mailbox.to_owned(), HeaderMap::new());
        let mut service = Self { session, limits, caller, mailbox, fields, version: None, requests: 0 };
        service.route(None);
        Ok(service)
    }

    /// To which mailbox's server front ends pass requests on: that of public folders, or the own.
    pub(super) fn route(&mut self, public: Option<&str>) {
        let anchor = public.unwrap_or(&self.mailbox);
        self.fields.clear();
        let mut put = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                self.fields.insert(HeaderName::from_static(name), value);
            }
        };
        put("x-anchormailbox", anchor);
        if let Some(public) = public {
            put("x-publicfoldermailbox", public);
        }
    }

    /// As the server last said.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    /// How many requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) fn note(&mut self, version: Version) {
        self.version = Some(version);
        self.caller.modern = version.major >= 15;
    }

    pub(super) fn fault(&self, error: EwsError) -> SourceError {
        self.session.fault(error)
    }

    pub(super) fn nonsense(&self, request: &Request<'_>, what: &'static str) -> SourceError {
        self.fault(EwsError::Nonsense { request: request.name(), what })
    }

    /// An answer that is an error, in words.
    pub(super) fn refused(&self, request: &Request<'_>, answer: &Answer) -> SourceError {
        self.fault(refused(request.name(), answer, self.session.login().user(), &self.mailbox))
    }

    /// Waits as the server says, or longer and longer.
    ///
    /// # Errors
    /// [`EwsError::Busy`] when it was waited long enough.
    pub(super) async fn wait(&self, patience: &mut Patience, busy: &Answer) -> Result<(), SourceError> {
        let waited = patience.waited;
        let Some(pause) = patience.next(busy.back_off, &self.limits) else {
            let (code, text) = (busy.code.clone(), busy.text.clone());
            let pause = busy.back_off.unwrap_or(self.limits.pause_max);
            self.session.common.leave_alone(pause, &code, &text);
            return Err(self.fault(EwsError::Busy { code, text, waited }));
        };
        tracing::info!(host = self.session.client.host(), code = %busy.code, ?pause, "the server is busy");
        sleep(pause).await;
        Ok(())
    }

    /// Sends a request until there is an answer with status 200. Nothing is sent while the server wants this login to leave it
    /// alone for longer than somebody waited.
    pub(super) async fn open(&mut self, request: &Request<'_>) -> Result<Body, SourceError> {
        if let Some((code, text)) = self.session.common.busy() {
            return Err(self.fault(EwsError::Busy { code, text, waited: Duration::ZERO }));
        }
        let (mut patience, mut broken) = (Patience::default(), 0);
        loop {
            let envelope = request.envelope(&self.caller);
            let path = self.session.client.path().to_owned();
            self.requests += 1;
            let answered = match self.session.post(&path, &self.fields, &envelope).await {
                Err(SourceError::Closed { .. } | SourceError::Broken { .. }) if broken < RECONNECTS_MAX => {
                    broken += 1;
                    self.session.client.close();
                    continue;
                }
                answered => answered?,
            };
            match answered.status {
                200 => return Ok(answered.body),
                500 => {
                    let fault = self.read_fault(request, answered).await?;
                    if !is_busy(&fault.code) {
                        return Err(self.refused(request, &fault));
                    }
                    self.wait(&mut patience, &fault).await?;
                }
                429 | 503 => {
                    let code = format!("HTTP status {}", answered.status);
                    let back_off = answered.retry_after(self.session.now());
                    let text = match online::answered(&answered.fields) {
                        true => "Exchange Online".to_owned(),
                        false => "no further words".to_owned(),
                    };
                    let busy = Answer { code, text, back_off, ..Answer::default() };
                    // What is left unread would be taken for the next answer.
                    self.session.client.close();
                    self.wait(&mut patience, &busy).await?;
                }
                _ => {
                    return Err(self.session.status(&answered, request.name()));
                }
            }
        }
    }

    /// Status 500 carries a fault; without one it is an error as any other.
    async fn read_fault(&mut self, request: &Request<'_>, answered: Answered) -> Result<Answer, SourceError> {
        let Answered { status, fields, body } = answered;
        let body = body.up_to(FAULT_OCTETS_MAX).await?;
        let (mut decoder, mut at) = (Decoder::default(), 0);
        while let Ok((used, Some(event))) = decoder.receive(body.get(at..).unwrap_or_default()) {
            at += used;
            match event {
                Event::Fault(answer) => return Ok(answer),
                Event::Version(version) => self.note(version),
                _ => {}
            }
        }
        if online::answered(&fields) {
            return Err(self.fault(EwsError::Online(format!(" (it answers with HTTP status {status})"))));
        }
        let words = printable(&String::from_utf8_lossy(body.get(..200).unwrap_or(&body)));
        let hint = if words.is_empty() { words } else { format!(": {words}") };
        Err(self.fault(EwsError::Status { what: request.name().to_owned(), status, hint }))
    }

    /// Asks and gathers the answer; a response message that says busy has all asked again, for nothing that is asked here
    /// minds.
    pub(super) async fn ask(&mut self, request: &Request<'_>) -> Result<Vec<Reply>, SourceError> {
        let (mut patience, mut broken) = (Patience::default(), 0);
        loop {
            let limit = self.limits.list;
            let body = self.open(request).await?;
            let gathered = timeout(limit, self.gather(request, body)).await;
            let host = self.session.client.host().to_owned();
            let late = |_| SourceError::TimedOut { host, during: request.name(), limit };
            let replies = match gathered.map_err(late)? {
                Err(SourceError::Closed { .. } | SourceError::Broken { .. }) if broken < RECONNECTS_MAX => {
                    broken += 1;
                    self.session.client.close();
                    continue;
                }
                replies => replies?,
            };
            match replies.iter().find(|reply| reply.answer.is_error() && is_busy(&reply.answer.code)) {
                Some(busy) => self.wait(&mut patience, &busy.answer).await?,
                None => return Ok(replies),
            }
        }
    }

    async fn gather(&mut self, request: &Request<'_>, mut body: Body) -> Result<Vec<Reply>, SourceError> {
        let mut decoder = Decoder::default();
        let (mut replies, mut reply, mut rows) = (Vec::new(), Reply::default(), 0);
        while let Some(piece) = body.next().await? {
            let mut rest: &[u8] = &piece;
            loop {
                let (used, event) = decoder.receive(rest).map_err(|error| self.bad(request, error))?;
                rest = rest.get(used..).unwrap_or_default();
                match event {
                    None => break,
                    Some(Event::Version(version)) => self.note(version),
                    Some(Event::Folder(change, folder)) => reply.folders.push((change, folder)),
                    Some(Event::Item(change, item)) => reply.items.push((change, item)),
                    Some(Event::Answer(answer)) => {
                        replies.push(Reply { answer, ..std::mem::take(&mut reply) });
                    }
                    Some(Event::Fault(answer)) => return Err(self.refused(request, &answer)),
                    Some(Event::ContentBegins | Event::Content | Event::ContentEnds(_)) => {}
                }
                rows += 1;
                if rows > ROWS_MAX {
                    return Err(self.nonsense(request, "has more rows than anything that was asked for"));
                }
            }
        }
        decoder.finish().map_err(|error| self.bad(request, error))?;
        if replies.is_empty() {
            return Err(self.nonsense(request, "has no response message"));
        }
        Ok(replies)
    }

    pub(super) fn bad(&self, request: &Request<'_>, error: super::soap::BadAnswer) -> SourceError {
        self.fault(EwsError::Answer { request: request.name(), error })
    }

    /// Asks what has one response message; an error when that is one.
    pub(super) async fn ask_one(&mut self, request: &Request<'_>) -> Result<Reply, SourceError> {
        let mut replies = self.ask(request).await?;
        let reply = replies.pop().filter(|_| replies.is_empty());
        let reply = reply.ok_or_else(|| self.nonsense(request, "has several response messages"))?;
        if reply.answer.is_error() { Err(self.refused(request, &reply.answer)) } else { Ok(reply) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let limits = Limits {
            pause_first: Duration::from_secs(2),
            pause_max: Duration::from_secs(10),
            pauses_max: Duration::from_secs(40),
            ..Limits::default()
        };
        let mut patience = Patience::default();
        let pauses: Vec<_> =
            std::iter::from_fn(|| patience.next(None, &limits)).map(|p| p.as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 10, 10]);
        let mut patience = Patience::default();
        let hint = Some(Duration::from_secs(39));
        assert_eq!(patience.next(hint, &limits), hint, "the server's own wish is obeyed");
        assert_eq!(patience.next(hint, &limits), None);
    }
}
