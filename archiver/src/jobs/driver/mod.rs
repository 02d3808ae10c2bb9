//! What connects scheduler, runs, results and notices; in the daemon, the task that drives them.
//!
//! [`Jobs`] is in memory and belongs to [`Core`]; [`serve`] is the daemon's task. `disk` is what the task reads and stores between
//! runs; `watch` waits at the sources of continuous profiles. Without a daemon a command runs one job, at once.

mod disk;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment, UnixMillis};
use postern_shared::control::Context;
use postern_shared::disk::Disk;
use postern_shared::id::{MessageId, MessageIds};
use postern_shared::shutdown::Shutdown;
use postern_shared::telemetry::Progress;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use super::notify::Notifier;
use super::results::{JobResult, Keep, Outcome};
use super::run::{self, EndedBy, Live, NotRun};
use super::schedule::Zone;
use super::scheduler::{Action, End, Key, Plan, Scheduler, Why};
use super::settings::JobSettings;
use super::stored::StoredJob;
use crate::app::Core;
use crate::settings::Settings;

/// How often files are looked at for what changed without notice, and clocks for having been set.
const LOOK: Duration = Duration::from_secs(60);
/// How often old results are removed.
const PRUNE: Duration = Duration::from_secs(3600);
/// Results that could not be stored and are kept in memory until they can.
const UNSAVED_MAX: usize = 100;

/// All jobs of all instances.
#[derive(Debug)]
pub struct Jobs {
    /// Tells by mail.
    pub notifier: Arc<Notifier>,
    clock: Arc<dyn Clock>,
    ids: MessageIds,
    keep: Keep,
    zone: Zone,
    state: Mutex<State>,
    /// Something happened.
    wake: Notify,
    /// A round of the daemon's task is over; for tests.
    #[cfg(test)]
    pub(super) rounds: tokio::sync::watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    scheduler: Scheduler,
    runs: HashMap<Key, Arc<Live>>,
    /// Who asked for a run, and waits for its turn.
    turns: HashMap<Key, oneshot::Sender<()>>,
    /// Jobs of which a run ended well since the last round.
    ended_well: Vec<Key>,
    /// Who waits at the sources of continuous profiles.
    watches: HashMap<Key, Arc<watch::Watch>>,
    unsaved: Vec<(String, JobResult)>,
    /// Last results that found nothing to do.
    idle: HashMap<Key, JobResult>,
    /// Files that were told to be unreadable.
    told: HashSet<String>,
    /// Jobs whose files are.
    damaged: HashSet<String>,
    /// Files may have changed.
    changed: bool,
    closing: bool,
}

impl State {
    fn live(&self, key: &Key, tell: impl FnOnce(&Live)) {
        if let Some(live) = self.runs.get(key) {
            tell(live);
        }
    }
}

/// Tells the scheduler that a run is over, also when it fell over.
struct Begun<'j> {
    jobs: &'j Jobs,
    key: &'j Key,
    end: End,
    /// Whether it did all it was to do.
    well: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let mut state = self.jobs.state();
        state.scheduler.ended(self.key, self.end, self.jobs.clock.wall());
        if self.well && state.scheduler.is_continuous(self.key) {
            state.ended_well.push(self.key.clone());
        }
        drop(state);
        self.jobs.wake.notify_one();
    }
}

/// A job's state, for whoever looks.
#[derive(Debug, Default)]
pub struct Shown {
    /// When it is due next.
    pub due: Option<UnixMillis>,
    /// Whether it runs.
    pub running: bool,
    /// Whether it waits for something to happen at its source.
    pub waiting: bool,
    /// How far its run is.
    pub progress: Option<Progress>,
}

impl Jobs {
    /// No jobs yet.
    pub fn new(settings: &Settings, disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Self {
        let JobSettings { limits, zone, keep } = settings.jobs.clone();
        let zone = zone.unwrap_or_else(Zone::machine);
        let notifications = settings.notifications.clone();
        Self {
            notifier: Arc::new(Notifier::new(
                Arc::clone(disk),
                Arc::clone(clock),
                &settings.data_dir,
                notifications,
            )),
            clock: Arc::clone(clock),
            ids: MessageIds::default(),
            keep,
            zone: zone.clone(),
            state: Mutex::new(State {
                scheduler: Scheduler::new(limits, zone),
                runs: HashMap::new(),
                turns: HashMap::new(),
                ended_well: Vec::new(),
                watches: HashMap::new(),
                unsaved: Vec::new(),
                idle: HashMap::new(),
                told: HashSet::new(),
                damaged: HashSet::new(),
                changed: false,
                closing: false,
            }),
            wake: Notify::new(),
            #[cfg(test)]
            rounds: tokio::sync::watch::channel(0).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that jobs, profiles or instances may have changed, or time has passed.
    pub fn nudge(&self) {
        self.state().changed = true;
        self.wake.notify_one();
    }

    /// What schedules that name no zone mean.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What is known of a job.
    pub fn shown(&self, key: &Key) -> Shown {
        let state = self.state();
        let live = state.runs.get(key);
        Shown {
            due: state.scheduler.due(key),
            running: live.is_some(),
            waiting: state.watches.contains_key(key),
            progress: live.and_then(|live| live.progress()),
        }
    }

    /// Ends a job's run at its next safe point; whether there is one.
    pub fn cancel(&self, key: &Key) -> bool {
        let mut state = self.state();
        let waited = state.turns.remove(key).is_some();
        if waited {
            state.scheduler.withdraw(key);
        }
        let live = state.runs.get(key).map(|live| live.end(EndedBy::Somebody));
        live.is_some() || waited
    }

    /// Runs a job that is stored now, or when there is a place for it, and tells `context` how far it is.
    pub(crate) async fn run_now(
        &self,
        core: &Arc<Core>,
        key: &Key,
        stored: &StoredJob,
        mut context: Context,
    ) -> Result<JobResult, NotRun> {
        let mut turn = self.ask(key, stored)?;
        if core.running {
            self.nudge();
        } else {
            // Nobody else runs jobs here.
            self.step(self.clock.wall(), self.clock.moment());
        }
        let come = tokio::select! {
            come = &mut turn => come.is_ok(),
            () = context.cancelled() => false,
        };
        if !come && !self.has_come(key, &mut turn) {
            return Err(NotRun::Withdrawn);
        }
        self.run(core, key, Why::Asked, Some(context)).await
    }

    /// A run that the scheduler began; it learns of the end, whatever that is.
    async fn run(
        &self,
        core: &Arc<Core>,
        key: &Key,
        why: Why,
        caller: Option<Context>,
    ) -> Result<JobResult, NotRun> {
        let mut begun = Begun { jobs: self, key, end: End::Badly, well: false };
        let ran = run::run(core, key, why, caller).await;
        begun.end = run::end_of(&ran);
        begun.well = ran.as_ref().is_ok_and(|result| result.outcome == Some(Outcome::Succeeded));
        if let Err(error) = &ran {
            tracing::warn!(job = %key, %error, "a job did not run");
        }
        ran
    }

    fn ask(&self, key: &Key, stored: &StoredJob) -> Result<oneshot::Receiver<()>, NotRun> {
        let mut state = self.state();
        let now = self.clock.wall();
        if !state.scheduler.knows(key) {
            // One without a schedule, or one that was just put.
            state.scheduler.put(key, Plan { schedule: None, ..plan(stored) }, || None, now);
        }
        state.scheduler.ask(key).map_err(|_| NotRun::Running(key.clone()))?;
        let (turn, come) = oneshot::channel();
        state.turns.insert(key.clone(), turn);
        Ok(come)
    }

    /// Takes back what was asked for, unless its turn has just come.
    fn has_come(&self, key: &Key, turn: &mut oneshot::Receiver<()>) -> bool {
        let mut state = self.state();
        match turn.try_recv() {
            Ok(()) => true,
            // `cancel` took it back.
            Err(TryRecvError::Closed) => false,
            Err(TryRecvError::Empty) => {
                state.turns.remove(key);
                state.scheduler.withdraw(key);
                false
            }
        }
    }

    /// Does what the scheduler says. Returns the runs that nobody waits for, to be begun, and when to do this again.
    fn step(&self, now: UnixMillis, moment: Moment) -> (Vec<(Key, Why)>, Option<UnixMillis>) {
        let mut state = self.state();
        let mut starts = Vec::new();
        for action in state.scheduler.poll(now, moment) {
            match action {
                Action::Start { key, why } => match state.turns.remove(&key) {
                    None => starts.push((key, why)),
                    Some(turn) => {
                        // An error: nobody waits any more.
                        if turn.send(()).is_err() {
                            state.scheduler.ended(&key, End::Well, now);
                        }
                    }
                },
                Action::TimeOut(key) => state.live(&key, |live| live.end(EndedBy::Timeout)),
                Action::GiveUp(key) => state.live(&key, Live::give_up),
            }
        }
        (starts, state.scheduler.wake())
    }

    pub(super) fn began(&self, key: &Key, live: &Arc<Live>) {
        let mut state = self.state();
        state.end_watch(key);
        state.runs.insert(key.clone(), Arc::clone(live));
        if state.closing {
            live.end(EndedBy::Shutdown);
        }
    }

    pub(super) fn over(&self, key: &Key) {
        self.state().runs.remove(key);
    }

    /// Who ends runs whose caller goes away.
    pub(super) fn why_cancelled(&self) -> EndedBy {
        if self.state().closing { EndedBy::Shutdown } else { EndedBy::Somebody }
    }

    pub(super) fn next_id(&self) -> MessageId {
        self.ids.next(self.clock.wall())
    }

    /// Keeps a result in memory that the disk did not take.
    pub(super) fn keep_unsaved(&self, key: &Key, result: &JobResult) {
        let unsaved = &mut self.state().unsaved;
        if unsaved.len() >= UNSAVED_MAX {
            unsaved.remove(0);
        }
        unsaved.push((key.instance.clone(), result.clone()));
    }

    /// The last result of a job, when it found nothing to do.
    pub(super) fn idle_before(&self, key: &Key) -> Option<JobResult> {
        self.state().idle.get(key).cloned()
    }

    /// Remembers a result that found nothing to do, so that the next one need not look for it.
    pub(super) fn keep_idle(&self, key: &Key, result: &JobResult) {
        let idle = &mut self.state().idle;
        match result.is_idle() {
            true => drop(idle.insert(key.clone(), result.clone())),
            false => drop(idle.remove(key)),
        }
    }

    /// Forgets an instance that was deleted.
    pub(crate) fn forget(&self, instance: &str) {
        let mut state = self.state();
        state.unsaved.retain(|(id, _)| id != instance);
        state.idle.retain(|key, _| key.instance != instance);
    }

    /// Lets a result be told by mail, if it should. Blocks for the disk.
    pub(super) fn tell(&self, key: &Key, result: &JobResult) {
        let job = key.to_string();
        let error = result.errors.first().map_or("", String::as_str);
        match result.outcome {
            Some(Outcome::Succeeded) => self.notifier.ended(&job, None),
            Some(outcome @ (Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted)) => {
                self.notifier.ended(&job, Some((outcome.as_str(), error)));
            }
            Some(Outcome::Cancelled) | None => {}
        }
    }
}

fn plan(stored: &StoredJob) -> Plan {
    Plan {
        schedule: stored.job.schedule.clone().filter(|_| stored.job.enabled),
        timeout: stored.job.timeout.map(|timeout| timeout.0),
        missed: stored.job.missed,
        since: stored.since,
    }
}

/// Ends the runs that a crash interrupted. To be called before any is asked for.
pub async fn prepare(core: &Arc<Core>) {
    blocking(core, |core| core.jobs.load(core)).await;
}

/// Runs jobs when they are due, until `shutdown` says so; then lets those in progress come to a safe point.
pub async fn serve(core: Arc<Core>, mut shutdown: Shutdown) {
    let jobs = &core.jobs;
    let notifying = tokio::spawn(Arc::clone(&jobs.notifier).serve(shutdown.clone()));
    let mut runs = JoinSet::new();
    let (mut looked, mut pruned) = (None, None);
    loop {
        let moment = core.clock.moment();
        let passed = |since: Option<_>, time| since.is_none_or(|since| moment.since(since) >= time);
        if std::mem::take(&mut jobs.state().changed) || passed(looked, LOOK) {
            blocking(&core, |core| core.jobs.refresh(core)).await;
            looked = Some(moment);
        }
        if passed(pruned, PRUNE) {
            blocking(&core, |core| core.jobs.prune(core)).await;
            pruned = Some(moment);
        }
        let now = core.clock.wall();
        let (starts, wake) = jobs.step(now, core.clock.moment());
        for (key, why) in starts {
            let core = Arc::clone(&core);
            // What went wrong is in the log.
            runs.spawn(async move { drop(core.jobs.run(&core, &key, why, None).await) });
        }
        for begun in jobs.watches_to_begin() {
            runs.spawn(watch::watch(Arc::clone(&core), begun));
        }
        #[cfg(test)]
        jobs.rounds.send_modify(|rounds| *rounds += 1);
        let pause = wake.map_or(LOOK, |wake| wake.since(now).min(LOOK));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = jobs.wake.notified() => {}
            Some(_) = runs.join_next() => {}
            () = shutdown.requested() => break,
        }
    }
    jobs.close();
    while runs.join_next().await.is_some() {}
    if let Err(error) = notifying.await {
        tracing::error!(%error, "telling by mail failed inside");
    }
}

impl Jobs {
    #[cfg(test)]
    pub(super) fn is_told_to_end(&self, key: &Key) -> bool {
        self.state().runs.get(key).is_some_and(|live| live.ended_by().is_some())
    }

    #[cfg(test)]
    pub(super) fn unsaved(&self) -> usize {
        self.state().unsaved.len()
    }

    fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        for live in state.runs.values() {
            live.end(EndedBy::Shutdown);
        }
        state.end_all_watches();
        // Whoever waits for a turn learns that it does not come.
        state.turns.clear();
        #[cfg(test)]
        self.rounds.send_modify(|rounds| *rounds += 1);
    }
}

async fn blocking(core: &Arc<Core>, work: impl FnOnce(&Core) + Send + 'static) {
    let core = Arc::clone(core);
    if let Err(error) = tokio::task::spawn_blocking(move || work(&core)).await {
        tracing::error!(%error, "a round of jobs failed inside");
    }
}
