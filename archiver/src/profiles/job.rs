//! One run of a profile: pull, archive, and only then delete at the source.
//!
//! Messages are archived in batches, each durable before any of it is acknowledged. A session with the source is
//! finished now and then, so that a run that breaks repeats little; what is repeated folds into what is there.

use std::sync::Arc;

use postern_shared::control::Context;
use postern_shared::telemetry::Progress;
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveError, Instance, NewMessage, Outcome};
use crate::intake::{Arrival, prepare};
use crate::profiles::{Profile, SourceProfile};
use crate::sources::gateway::{GatewaySource, Limits};
use crate::sources::{Fetched, ItemId, Source, SourceError};

/// What a batch holds before it is committed.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// After so many messages the session is finished and another one begun.
const SESSION_MESSAGES: usize = 5000;
/// Errors that are told one by one; the rest is counted.
const ERRORS_MAX: usize = 100;

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// Messages archived.
    pub archived: u64,
    /// Messages that were there already; what was new about them was added.
    pub duplicates: u64,
    /// Messages that could not be archived and stay at the source.
    pub failed: u64,
    /// Messages that the source confirmed as deleted.
    pub deleted_at_source: u64,
    /// Why messages failed, or were not deleted.
    pub errors: Vec<String>,
    /// Whether the run was cancelled before everything was pulled.
    pub cancelled: bool,
}

/// Why a run ended before its time. What was archived until then is safe, and counted.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A thread panicked.
    #[error("archiving failed inside: {0}")]
    Inside(String),
}

/// Runs `profile` into `instance` until the source is empty or `context` is cancelled.
pub async fn run(
    instance: &Arc<Instance>,
    profile: &Profile,
    message_octets_max: u64,
    context: &Context,
) -> Result<RunResult, RunError> {
    let SourceProfile::Gateway(settings) = &profile.source;
    let mut job = Job { instance, profile, context, result: RunResult::default(), total: 0, done: 0 };
    loop {
        let limits = Limits { message_octets_max, ..Limits::default() };
        let source = GatewaySource::connect(settings, limits).await?;
        let more = job.session(source).await?;
        if context.is_cancelled() {
            job.result.cancelled = more;
            break;
        }
        if !more {
            break;
        }
    }
    job.index().await;
    Ok(job.result)
}

struct Job<'j> {
    instance: &'j Arc<Instance>,
    profile: &'j Profile,
    context: &'j Context,
    result: RunResult,
    total: u64,
    done: u64,
}

impl Job<'_> {
    /// One session with the source; whether messages are left that another session should pull.
    async fn session(&mut self, mut source: impl Source) -> Result<bool, RunError> {
        let waiting = source.list(None).await?;
        self.total = self.total.max(self.done + waiting.len() as u64);
        self.progress();
        let wanted: Vec<ItemId> =
            waiting.iter().take(SESSION_MESSAGES).map(|waiting| waiting.id.clone()).collect();
        source.request(&wanted)?;
        let mut batch = Batch::default();
        let mut archived = 0;
        while !self.context.is_cancelled()
            && let Some(fetched) = source.next().await?
        {
            self.take(fetched, &mut batch);
            if batch.messages.len() >= BATCH_MESSAGES || batch.bytes >= BATCH_BYTES {
                archived += self.commit(&mut batch, &mut source).await?;
            }
        }
        archived += self.commit(&mut batch, &mut source).await?;
        let finished = source.finish().await?;
        self.result.deleted_at_source += finished.deleted.len() as u64;
        for (id, why) in finished.kept {
            self.error(format!("{id} is archived but was not deleted at the source: {why}"));
        }
        // A session that achieved nothing would be repeated without end.
        Ok(waiting.len() > wanted.len() && archived > 0)
    }

    fn take(&mut self, fetched: Fetched, batch: &mut Batch) {
        let Fetched { id, content } = fetched;
        let arrival =
            Arrival { profile: self.profile.name.as_str(), uidl: &id.0, assign: &self.profile.assign };
        let prepared = match content {
            Ok(raw) => {
                prepare(&raw, &arrival, |address| self.instance.owner(address)).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match prepared {
            Ok(message) => {
                batch.bytes += message.content.len();
                batch.messages.push(message);
                batch.ids.push(id);
            }
            Err(error) => {
                self.result.failed += 1;
                self.done += 1;
                self.error(format!("message {id}: {error}"));
            }
        }
    }

    /// Commits the batch, then acknowledges it; how many messages it had.
    async fn commit(&mut self, batch: &mut Batch, source: &mut impl Source) -> Result<u64, RunError> {
        let Batch { messages, ids, .. } = std::mem::take(batch);
        if messages.is_empty() {
            return Ok(0);
        }
        let count = messages.len() as u64;
        let instance = Arc::clone(self.instance);
        let committed = tokio::task::spawn_blocking(move || instance.commit(messages)).await;
        let outcomes = committed.map_err(|error| RunError::Inside(error.to_string()))??;
        for outcome in outcomes {
            match outcome {
                Outcome::Archived(_) => self.result.archived += 1,
                Outcome::Duplicate(_) => self.result.duplicates += 1,
            }
        }
        source.acknowledge(&ids)?;
        self.done += count;
        self.progress();
        Ok(count)
    }

    fn progress(&self) {
        let what = format!("pulling {}", self.profile.name.as_str());
        self.context.progress(Progress { what, done: self.done, total: Some(self.total) });
    }

    fn error(&mut self, error: String) {
        tracing::warn!(profile = self.profile.name.as_str(), error, "in a run");
        if self.result.errors.len() < ERRORS_MAX {
            self.result.errors.push(error);
        }
    }

    /// The index may lag and may fail; the archive has everything.
    async fn index(&mut self) {
        let instance = Arc::clone(self.instance);
        let context = self.context.clone();
        let caught_up = tokio::task::spawn_blocking(move || {
            instance
                .catch_up(|done| context.progress(Progress { what: "indexing".into(), done, total: None }))
        });
        match caught_up.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.error(format!("everything is archived, but the index is behind: {error}")),
            Err(error) => self.error(format!("everything is archived, but indexing failed inside: {error}")),
        }
    }
}

#[derive(Default)]
struct Batch {
    messages: Vec<NewMessage>,
    ids: Vec<ItemId>,
    bytes: usize,
}
