//! Long calls: begun, watched, cancelled, forgotten.
//!
//! A call answers with its token at once, and goes on by itself. Whoever watches it sends the `statusVersion` they know and gets an
//! answer when there is a newer one. What finished is kept for [`KEPT`], of an instance and in all no more than is bounded below.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment, UnixMillis};
use postern_shared::control::Context;
use postern_shared::crypto::random;
use postern_shared::telemetry::Progress;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Problem;
use super::shares::{Share, Shares};
use crate::access::{Caller, Scope, Who};
use crate::command::CommandError;

pub(super) const RUNNING_MAX: usize = 32;
/// Of one instance: nobody takes the others' places.
pub(super) const RUNNING_OF_INSTANCE_MAX: usize = 4;
pub(super) const FINISHED_MAX: usize = 500;
pub(super) const FINISHED_OF_INSTANCE_MAX: usize = 50;
/// Octets of results and log lines.
const FINISHED_BYTES_MAX: usize = 16 * 1024 * 1024;
const FINISHED_BYTES_OF_INSTANCE_MAX: usize = 4 * 1024 * 1024;
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);
const LOG_LINES_MAX: usize = 200;
const LOG_LINE_CHARS_MAX: usize = 500;
const RESULT_BYTES_MAX: usize = 1024 * 1024;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusCode {
    Running,
    Succeeded,
    /// It could not be done, or not all of it, or found damage: `result` and `error` tell.
    Failed,
    Cancelled,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) status_code: StatusCode,
    pub(super) percent_progress: u64,
    /// Grows with every change.
    pub(super) status_version: u64,
    /// JSON text: as values it would take several times as much.
    #[serde(skip)]
    pub(super) result: String,
    pub(super) error: Option<String>,
    pub(super) log_output: Vec<String>,
}

/// What is to be called.
#[derive(Debug, Clone)]
pub(super) struct New {
    pub(super) command: &'static str,
    pub(super) instance: Option<String>,
    /// When that was created: another one may come under its id.
    pub(super) created: Option<UnixMillis>,
}

#[derive(Debug)]
pub(super) struct Call {
    token: String,
    new: New,
    /// The id of the bearer token that began it.
    owner: Option<String>,
    started: UnixMillis,
    state: watch::Sender<State>,
    cancel: watch::Sender<bool>,
    finished: Mutex<Option<(Moment, UnixMillis)>>,
}

impl Call {
    /// What is shown of it.
    pub(super) fn shown(&self) -> Value {
        let mut shown = {
            let state = self.state.borrow();
            let mut shown = json!(*state);
            shown["result"] = serde_json::from_str(&state.result).unwrap_or_default();
            shown
        };
        shown["token"] = self.token.clone().into();
        shown["command"] = self.new.command.into();
        shown["instance"] = self.new.instance.clone().into();
        shown["startedAt"] = self.started.0.into();
        shown["finishedAt"] = self.finished().map(|(_, at)| at.0).into();
        shown
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn command(&self) -> &'static str {
        self.new.command
    }

    pub(super) fn instance(&self) -> Option<&str> {
        self.new.instance.as_deref()
    }

    /// Waits until there is a version newer than `known`, at most for `patience`.
    pub(super) async fn newer_than(&self, known: u64, patience: Duration) {
        let mut watched = self.state.subscribe();
        let newer = watched.wait_for(|state| state.status_version > known);
        // Nothing new is an answer as well.
        let _ = tokio::time::timeout(patience, newer).await;
    }

    /// Asks it to come to an end.
    pub(super) fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    fn finished(&self) -> Option<(Moment, UnixMillis)> {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_visible_to(&self, caller: &Caller) -> bool {
        let Who::Token(token) = &caller.who else { return true };
        let is_own = self.owner.as_ref() == Some(&token.id);
        let is_of_theirs =
            token.instance == self.new.instance && caller.instance_created() == self.new.created;
        let is_at_hand = token.instance.is_none() || is_of_theirs;
        is_own || is_at_hand && token.user.is_none() && caller.has(Scope::Manage)
    }

    fn bytes(&self) -> usize {
        let state = self.state.borrow();
        let error = state.error.as_ref().map_or(0, String::len);
        state.result.len() + error + state.log_output.iter().map(String::len).sum::<usize>()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            change(state);
            state.status_version += 1;
        });
    }

    fn tell(&self, last: &mut String, Progress { what, done, total }: Progress, now: UnixMillis) {
        let percent = total.filter(|total| *total > 0).map(|total| (done.min(total) * 100) / total);
        let is_new = what != *last;
        if !is_new && percent.is_none_or(|percent| percent == self.state.borrow().percent_progress) {
            return;
        }
        self.change(|state| {
            state.percent_progress = percent.unwrap_or(if is_new { 0 } else { state.percent_progress });
            if is_new {
                log(state, now, &what);
            }
        });
        *last = what;
    }

    fn finish(&self, done: Result<Value, CommandError>, clock: &dyn Clock) {
        let is_cancelled = *self.cancel.borrow();
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock.moment(), clock.wall()));
        self.change(|state| {
            let (code, result, error) = match done {
                Ok(result) if result["cancelled"] == true => (StatusCode::Cancelled, result, None),
                Ok(result) if result["failed"].as_u64().unwrap_or(0) > 0 => {
                    (StatusCode::Failed, result, None)
                }
                Ok(result) => (StatusCode::Succeeded, result, None),
                Err(error) if is_cancelled => (StatusCode::Cancelled, Value::Null, Some(error.to_string())),
                Err(error) => (StatusCode::Failed, Value::Null, Some(error.to_string())),
            };
            let text = result.to_string();
            state.result = match text.len() {
                bytes if bytes > RESULT_BYTES_MAX => json!({ "left_out_bytes": bytes }).to_string(),
                _ => text,
            };
            if code == StatusCode::Succeeded {
                state.percent_progress = 100;
            }
            let said = error.clone().unwrap_or_else(|| format!("{code:?}").to_lowercase());
            log(state, clock.wall(), &said);
            (state.status_code, state.error) = (code, error);
        });
    }
}

/// Which of the calls, the oldest first, is to be forgotten: the oldest of an instance that has too many, or of the one that has most when all
/// together are too many.
fn too_much(finished: &[Arc<Call>]) -> Option<usize> {
    let mut sums: HashMap<Option<&str>, (usize, usize)> = HashMap::new();
    for call in finished {
        let (bytes, count) = sums.entry(call.instance()).or_default();
        *bytes += call.bytes();
        *count += 1;
    }
    let all = sums.values().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let most = *sums.iter().max_by_key(|(id, sum)| (**sum, **id))?.0;
    let is_greedy = |(bytes, count): &(usize, usize)| {
        *bytes > FINISHED_BYTES_OF_INSTANCE_MAX || *count > FINISHED_OF_INSTANCE_MAX
    };
    let greedy = sums.iter().find(|(_, sum)| is_greedy(sum)).map(|(id, _)| *id);
    let are_many = all.0 > FINISHED_BYTES_MAX || all.1 > FINISHED_MAX;
    let greedy = greedy.or(are_many.then_some(most))?;
    finished.iter().position(|call| call.instance() == greedy)
}

fn log(state: &mut State, now: UnixMillis, text: &str) {
    let text: String = text.chars().take(LOG_LINE_CHARS_MAX).collect();
    if state.log_output.len() >= LOG_LINES_MAX {
        state.log_output.remove(0);
    }
    state.log_output.push(format!("{} {text}", now.rfc3339()));
}

#[derive(Debug)]
pub(super) struct Calls {
    clock: Arc<dyn Clock>,
    running: Shares,
    kept: Mutex<HashMap<String, Arc<Call>>>,
}

impl Calls {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let running = Shares::new(RUNNING_MAX, RUNNING_OF_INSTANCE_MAX);
        Self { clock, running, kept: Mutex::default() }
    }

    /// A place for a call; whoever finds none has begun nothing, and nothing is recorded.
    pub(super) fn place(&self, instance: Option<&str>) -> Result<Share, Problem> {
        self.running.take(instance).ok_or_else(|| {
            let detail = "too many long calls run; wait for some of them, or cancel some";
            Problem::too_many(detail, Duration::from_secs(10))
        })
    }

    /// Begins a call.
    pub(super) fn begin<F>(
        &self,
        place: Share,
        caller: &Caller,
        new: New,
        work: impl FnOnce(Context) -> F,
    ) -> Arc<Call>
    where
        F: Future<Output = Result<Value, CommandError>> + Send + 'static,
    {
        let (context, mut told, cancel) = Context::new();
        let state = State {
            status_code: StatusCode::Running,
            percent_progress: 0,
            status_version: 1,
            result: String::new(),
            error: None,
            log_output: Vec::new(),
        };
        let call = Arc::new(Call {
            token: hex::encode(random::<16>()),
            new,
            owner: match &caller.who {
                Who::Operator => None,
                Who::Token(token) => Some(token.id.clone()),
            },
            started: self.clock.wall(),
            state: watch::Sender::new(state),
            cancel,
            finished: Mutex::default(),
        });
        let mut kept = self.kept();
        self.forget(&mut kept);
        kept.insert(call.token.clone(), Arc::clone(&call));
        drop(kept);
        let work = work(context);
        let (called, clock) = (Arc::clone(&call), Arc::clone(&self.clock));
        tokio::spawn(async move {
            let mut work = tokio::spawn(work);
            let mut last = String::new();
            let done = loop {
                tokio::select! {
                    done = &mut work => break done,
                    Some(progress) = told.recv() => called.tell(&mut last, progress, clock.wall()),
                }
            };
            let inside = |error| CommandError::Inside(format!("the call failed inside: {error}"));
            drop(place);
            called.finish(done.unwrap_or_else(|error| Err(inside(error))), &*clock);
        });
        call
    }

    /// A call by its token, when its caller may see it.
    pub(super) fn find(&self, token: &str, caller: &Caller) -> Option<Arc<Call>> {
        let mut kept = self.kept();
        self.forget(&mut kept);
        kept.get(token).filter(|call| call.is_visible_to(caller)).cloned()
    }

    /// All calls that the caller may see, the newest first.
    pub(super) fn list(&self, caller: &Caller) -> Vec<Arc<Call>> {
        let mut kept = self.kept();
        self.forget(&mut kept);
        let mut calls: Vec<_> = kept.values().filter(|call| call.is_visible_to(caller)).cloned().collect();
        calls.sort_by(|a, b| (b.started, &b.token).cmp(&(a.started, &a.token)));
        calls
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.kept().values().filter(|call| call.finished().is_none()).count()
    }

    /// Cancels what runs, and waits for its end.
    pub(super) async fn end(&self) {
        let calls: Vec<_> = self.kept().values().cloned().collect();
        calls.iter().for_each(|call| call.cancel());
        for call in calls {
            let mut watched = call.state.subscribe();
            // The call holds the sender, so this ends with it.
            let _ = watched.wait_for(|state| state.status_code != StatusCode::Running).await;
        }
    }

    /// Forgets what was finished long ago, and what is too much.
    fn forget(&self, kept: &mut HashMap<String, Arc<Call>>) {
        let now = self.clock.moment();
        kept.retain(|_, call| call.finished().is_none_or(|(at, _)| now.since(at) < KEPT));
        let mut finished: Vec<_> =
            kept.values().filter_map(|call| Some((call.finished()?.0, Arc::clone(call)))).collect();
        finished.sort_by(|(a, one), (b, other)| (a, &one.token).cmp(&(b, &other.token)));
        let mut finished: Vec<_> = finished.into_iter().map(|(_, call)| call).collect();
        while let Some(at) = too_much(&finished) {
            kept.remove(&finished.remove(at).token);
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Arc<Call>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
