//! Between two runs of a continuous profile: somebody waits at its source, and the next run begins as soon as something happens.
//!
//! A watch begins when a run ended well, one a job at most. It ends when the job runs again, is no continuous one any more or goes,
//! when its instance is stopped, and when the daemon stops. While it waits it holds no instance. The scheduler knows nothing of
//! it but that the job is put off; after [`LATEST`] the job runs, whatever became of the watch.
//!
//! Where there is nothing to wait on (gateways, POP3, files) the scheduler's pause between runs stays.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::control::Context;
use postern_shared::shutdown::Shutdown;
use tokio::sync::watch::Sender;

use super::{Jobs, State};
use crate::app::Core;
use crate::archive::Instance;
use crate::jobs::job::Template;
use crate::jobs::scheduler::{BACK_OFF_MIN, Key, PAUSE};
use crate::jobs::stored::StoredJobs;
use crate::profiles::{Profile, Profiles, continuous};
use crate::sources::account::Woken;

/// Somewhat longer than anybody waits.
const LATEST: Duration = Duration::from_secs(continuous::LONGEST.as_secs() + 5 * 60);

/// Somebody waits.
#[derive(Debug)]
pub(super) struct Watch {
    cancel: Sender<bool>,
}

/// A watch that is to be begun.
pub(super) struct Begun {
    key: Key,
    watch: Arc<Watch>,
    context: Context,
}

impl State {
    pub(super) fn end_watch(&mut self, key: &Key) {
        if let Some(watch) = self.watches.remove(key) {
            watch.cancel.send_replace(true);
        }
    }

    /// Ends the watches of jobs that are gone, or are no continuous ones any more.
    pub(super) fn end_idle_watches(&mut self) {
        let idle = |key: &&Key| !self.scheduler.is_continuous(key);
        let idle: Vec<Key> = self.watches.keys().filter(idle).cloned().collect();
        idle.iter().for_each(|key| self.end_watch(key));
    }

    pub(super) fn end_all_watches(&mut self) {
        self.ended_well.clear();
        for (_, watch) in self.watches.drain() {
            watch.cancel.send_replace(true);
        }
    }
}

impl Jobs {
    /// The watches that follow on runs that ended well.
    pub(super) fn watches_to_begin(&self) -> Vec<Begun> {
        let mut state = self.state();
        let mut begun = Vec::new();
        for key in std::mem::take(&mut state.ended_well) {
            let (scheduler, watches) = (&state.scheduler, &state.watches);
            if scheduler.is_continuous(&key) && !scheduler.is_running(&key) && !watches.contains_key(&key) {
                let (context, _told, cancel) = Context::new();
                let watch = Arc::new(Watch { cancel });
                state.watches.insert(key.clone(), Arc::clone(&watch));
                begun.push(Begun { key, watch, context });
            }
        }
        begun
    }

    /// Whether the watch was not ended meanwhile.
    fn is_on(state: &State, begun: &Begun) -> bool {
        state.watches.get(&begun.key).is_some_and(|own| Arc::ptr_eq(own, &begun.watch))
    }

    fn put_off(&self, begun: &Begun) {
        let mut state = self.state();
        if Self::is_on(&state, begun) {
            let until = self.clock.wall().plus(LATEST);
            state.scheduler.put_off(&begun.key, until);
        }
    }

    /// A watch is over; the job is due after that pause, or when the scheduler says.
    fn woken(&self, begun: &Begun, pause: Option<Duration>) {
        let mut state = self.state();
        if !Self::is_on(&state, begun) {
            return;
        }
        state.watches.remove(&begun.key);
        if let Some(pause) = pause {
            let at = self.clock.wall().plus(pause);
            state.scheduler.hasten(&begun.key, at);
        }
        drop(state);
        self.wake.notify_one();
    }
}

/// Waits at the source of a job's profile, then tells the scheduler.
pub(super) async fn watch(core: Arc<Core>, begun: Begun) {
    let pause = match wait(&core, &begun).await {
        Ok(pause) => pause,
        Err(error) => {
            tracing::warn!(job = %begun.key, error, "cannot wait at the source; it is asked again");
            Some(BACK_OFF_MIN)
        }
    };
    core.jobs.woken(&begun, pause);
}

/// After what time the job is due; `None` when there is nothing to wait on, or nobody is to wait any more.
async fn wait(core: &Arc<Core>, begun: &Begun) -> Result<Option<Duration>, String> {
    let (reader, key) = (Arc::clone(core), begun.key.clone());
    let opened = tokio::task::spawn_blocking(move || open(&reader, &key));
    let Some((instance, profile, mut stopping)) = opened.await.map_err(|error| error.to_string())?? else {
        return Ok(None);
    };
    let prepared = continuous::prepare(&instance, &profile, Arc::clone(&core.clock)).await;
    // Whoever stops the instance waits until nobody holds it.
    drop(instance);
    let Some(waits) = prepared.map_err(|error| error.to_string())? else { return Ok(None) };
    core.jobs.put_off(begun);
    let since = core.clock.moment();
    tokio::select! {
        woken = waits.wait(&begun.context) => {
            // Whether something happened, or nothing for long: the job is due. A source that always has something new is not
            // asked without a pause.
            let _: Woken = woken.map_err(|error| error.to_string())?;
            Ok(Some(PAUSE.saturating_sub(core.clock.moment().since(since))))
        }
        () = stopping.requested() => {
            // What is stopped has no jobs.
            core.jobs.nudge();
            Ok(None)
        }
    }
}

/// The profile that a job runs, its instance, and who tells that the instance is stopped; `None` for other jobs. Blocks for the
/// disk.
fn open(core: &Core, key: &Key) -> Result<Option<(Arc<Instance>, Profile, Shutdown)>, String> {
    let dir = core.instance_dir(&key.instance).map_err(|error| error.to_string())?;
    let jobs = StoredJobs::new(Arc::clone(&core.disk), &dir);
    let Template::Profile { profile: name } =
        jobs.show(&key.job).map_err(|error| error.to_string())?.job.template
    else {
        return Ok(None);
    };
    let Some(stopping) = core.stopping(&key.instance) else { return Ok(None) };
    let instance = core.instance(&key.instance).map_err(|error| error.to_string())?;
    let (dir, sealed_with) = instance.profiles();
    let stored = Profiles::new(Arc::clone(instance.disk()), dir).show(&name);
    let profile = stored.map_err(|error| error.to_string())?.open(&sealed_with);
    Ok(Some((instance, profile.map_err(|error| error.to_string())?, stopping)))
}
