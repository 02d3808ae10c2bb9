//! What happened, and who changed what.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::Asked;
use crate::activity::{Event, Kind, activity};
use crate::console::audit::{AuditEntry, Chain};
use crate::console::{Console, Problem};

const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
const TEXT_CHARS_MAX: usize = 200;

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ActivityQuery {
    /// Text that stands in listener, peer, mailbox, message or result, in any case.
    text: Option<String>,
    /// Only of this kind.
    kind: Option<Kind>,
    /// Only about this mailbox.
    mailbox: Option<String>,
    /// Only of this time or later, in milliseconds since 1970.
    from: Option<u64>,
    /// Only of this time or earlier.
    to: Option<u64>,
    /// Only events before this sequence: the last of the page before.
    before: Option<u64>,
    /// How many, at most 1000.
    limit: Option<usize>,
}

/// A page of events, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ActivityPage {
    /// The events.
    events: Vec<Event>,
    /// There may be older ones: ask with `before` set to this.
    next: Option<u64>,
}

/// What to look for in the audit log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Text that stands in any of the fields, in any case.
    text: Option<String>,
    /// Only of this administrator.
    who: Option<String>,
    /// Only lines before this sequence: the last of the page before.
    before: Option<u64>,
    /// How many, at most 1000.
    limit: Option<usize>,
}

/// A page of the audit log, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The lines.
    entries: Vec<AuditEntry>,
    /// There may be older ones: ask with `before` set to this.
    next: Option<u64>,
    /// Whether the log is whole.
    chain: Chain,
}

/// Sessions, captures, pulls and refusals: the last 20,000 events, searched.
#[utoipa::path(get, path = "/api/v1/activity", tag = "activity", operation_id = "activity", params(ActivityQuery),
    responses((status = 200, body = ActivityPage), (status = 422, body = Problem)))]
pub(super) async fn activity_log(Asked(query): Asked<ActivityQuery>) -> Result<Json<ActivityPage>, Problem> {
    let (mut text, limit) = (needle(query.text).map(|text| Needle::new(&text)), limit(query.limit));
    let mailbox = query.mailbox.map(|id| id.parse()).transpose();
    let mailbox = mailbox.map_err(|error: postern_shared::id::BadId| Problem::invalid(error.to_string()))?;
    let events = activity().search(query.before, limit, |event: &Event| {
        query.kind.is_none_or(|kind| event.kind == kind)
            && mailbox.is_none_or(|mailbox| event.mailbox == Some(mailbox))
            && query.from.is_none_or(|from| event.at.0 >= from)
            && query.to.is_none_or(|to| event.at.0 <= to)
            && text.as_mut().is_none_or(|text| text.stands_in(event))
    });
    let next = events.last().filter(|_| events.len() == limit).map(|event| event.sequence);
    Ok(Json(ActivityPage { events, next }))
}

/// The audit log: every change, who made it, when, from where.
#[utoipa::path(get, path = "/api/v1/audit", tag = "activity", operation_id = "audit", params(AuditQuery),
    responses((status = 200, body = AuditPage), (status = 403, body = Problem)))]
pub(super) async fn audit_log(
    State(console): State<Arc<Console>>,
    Asked(query): Asked<AuditQuery>,
) -> Json<AuditPage> {
    let (text, limit) = (needle(query.text), limit(query.limit));
    let entries = console.core.audit.search(query.before, limit, |entry| {
        let AuditEntry { who, how, from, action, target, detail, .. } = entry;
        let fields = [who, how, from, action, target, detail];
        query.who.as_ref().is_none_or(|name| name == who)
            && text.as_ref().is_none_or(|text| fields.iter().any(|field| field.to_lowercase().contains(text)))
    });
    let next = entries.last().filter(|_| entries.len() == limit).map(|entry| entry.sequence);
    Json(AuditPage { entries, next, chain: console.core.audit.chain() })
}

fn limit(asked: Option<usize>) -> usize {
    asked.unwrap_or(PAGE).clamp(1, PAGE_MAX)
}

fn needle(text: Option<String>) -> Option<String> {
    let text = text?.trim().chars().take(TEXT_CHARS_MAX).collect::<String>().to_lowercase();
    (!text.is_empty()).then_some(text)
}

/// Looks for a text in what a page shows of an event: twenty thousand of them in a few milliseconds, so nothing is made for
/// each one.
struct Needle {
    finder: Finder<'static>,
    shown: String,
}

impl Needle {
    /// For that text in lower case.
    fn new(text: &str) -> Self {
        Self { finder: Finder::new(text).into_owned(), shown: String::new() }
    }

    fn stands_in(&mut self, event: &Event) -> bool {
        let Event { listener, result, peer, mailbox, message, .. } = event;
        self.shown.clear();
        // A line for each, so that no text is found across two. Writing to a string cannot fail.
        for text in [listener, result] {
            let _ = writeln!(self.shown, "{text}");
        }
        let _ = peer.as_ref().map(|peer| writeln!(self.shown, "{peer}"));
        let _ = mailbox.as_ref().map(|mailbox| writeln!(self.shown, "{mailbox}"));
        let _ = message.as_ref().map(|message| writeln!(self.shown, "{message}"));
        if self.shown.is_ascii() {
            self.shown.make_ascii_lowercase();
        } else {
            self.shown = self.shown.to_lowercase();
        }
        self.finder.find(self.shown.as_bytes()).is_some()
    }
}
