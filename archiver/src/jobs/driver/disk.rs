//! What the daemon's task reads and stores between runs: jobs that came, changed or went, results that wait or are old.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use postern_shared::clock::UnixMillis;

use super::{Jobs, plan};
use crate::app::Core;
use crate::archive::Mode;
use crate::jobs::job::JobName;
use crate::jobs::results::{Results, ResultsError};
use crate::jobs::scheduler::{Key, Last};
use crate::jobs::stored::{StoredJob, StoredJobs};

impl Jobs {
    /// Ends runs that a crash interrupted, and reads what was told. Blocks for the disk.
    pub(super) fn load(&self, core: &Core) {
        self.notifier.load();
        for instance in core.instance_ids().unwrap_or_default() {
            let results = Results::new(Arc::clone(&core.disk), &core.instances_dir().join(&instance));
            if let Ok(Some(newest)) = results.newest() {
                // Clocks may have been put back while the daemon was down.
                self.ids.at_least(newest);
            }
            match results.recover(self.clock.wall()) {
                Ok(found) => {
                    for (result, unsaved) in found {
                        let key = Key { instance: instance.clone(), job: result.job.clone() };
                        tracing::warn!(job = %key, "a job was interrupted when the archiver ended without warning");
                        if let Some(error) = unsaved {
                            tracing::error!(job = %key, %error, "its result cannot be stored; it is tried again");
                            self.keep_unsaved(&key, &result);
                        }
                        let dir = core.instances_dir().join(&instance);
                        let stored = StoredJobs::new(Arc::clone(&core.disk), &dir).show(&key.job);
                        // One that cannot be read is told.
                        if stored.is_ok_and(|stored| !stored.job.notify) {
                            continue;
                        }
                        self.tell(&key, &result);
                    }
                }
                Err(error) => tracing::error!(instance, %error, "results of jobs cannot be read"),
            }
        }
    }

    /// Looks at all files for jobs that came, changed or went. Blocks for the disk.
    pub(super) fn refresh(&self, core: &Core) {
        let now = self.clock.wall();
        let instances = match core.instance_ids() {
            Ok(instances) => instances,
            Err(error) => return self.tell_once(&error.to_string()),
        };
        let mut found = HashSet::new();
        let mut unreadable = HashSet::new();
        let mut damaged = HashMap::new();
        // What became of jobs that do not run now is told all the same.
        let mut at_rest = HashSet::new();
        for instance in instances {
            let dir = core.instances_dir().join(&instance);
            // One that is stopped, or for reading only, does nothing by itself.
            match Mode::read(&*core.disk, &dir) {
                Ok(Mode::Started) => {}
                Ok(Mode::Stopped | Mode::Safe) => {
                    at_rest.insert(instance);
                    continue;
                }
                Err(error) => {
                    self.tell_once(&error.to_string());
                    at_rest.insert(instance);
                    continue;
                }
            }
            let listed = match StoredJobs::new(Arc::clone(&core.disk), &dir).list() {
                Ok(listed) => listed,
                Err(error) => {
                    self.tell_once(&error.to_string());
                    unreadable.insert(instance);
                    continue;
                }
            };
            let mut known = Vec::new();
            for stored in listed {
                match stored {
                    Ok(stored) => known.push(stored),
                    Err(error) => {
                        if let Some(job) = error.job() {
                            damaged.insert(format!("{instance}/{job}"), error.to_string());
                        }
                        self.tell_once(&error.to_string());
                    }
                }
            }
            found.extend(self.put(core, &instance, &known, now));
        }
        let keep = |key: &Key| found.contains(key) || unreadable.contains(&key.instance);
        let mut state = self.state();
        state.scheduler.retain(keep);
        state.end_idle_watches();
        drop(state);
        if unreadable.is_empty() {
            let found: HashSet<String> = found.iter().map(Key::to_string).collect();
            let is_at_rest = |job: &str| job.split_once('/').is_some_and(|(id, _)| at_rest.contains(id));
            self.notifier.retain(|job| found.contains(job) || damaged.contains_key(job) || is_at_rest(job));
        }
        self.tell_damaged(damaged);
        self.store_unsaved(core);
    }

    /// A job that cannot be read does not run, which is told by mail as its failure, once for as long as it lasts.
    fn tell_damaged(&self, damaged: HashMap<String, String>) {
        let before = std::mem::replace(&mut self.state().damaged, damaged.keys().cloned().collect());
        for (job, error) in damaged.into_iter().filter(|(job, _)| !before.contains(job)) {
            self.notifier.ended(&job, Some(("unreadable", &error)));
        }
    }

    /// Tells the scheduler of an instance's jobs, and of new ones how their last runs ended.
    fn put(&self, core: &Core, instance: &str, jobs: &[StoredJob], now: UnixMillis) -> Vec<Key> {
        let key = |stored: &StoredJob| Key { instance: instance.to_owned(), job: stored.job.name.clone() };
        let is_new = |stored: &&StoredJob| !self.state().scheduler.knows(&key(stored));
        let new: HashSet<&JobName> = jobs.iter().filter(is_new).map(|stored| &stored.job.name).collect();
        let mut lasts = HashMap::new();
        if !new.is_empty() {
            let results = Results::new(Arc::clone(&core.disk), &core.instances_dir().join(instance));
            match results.lasts(|job| new.contains(job)) {
                Ok(found) => lasts = found,
                Err(error) => self.tell_once(&error.to_string()),
            }
        }
        let mut state = self.state();
        let keys = jobs.iter().map(|stored| {
            let last = lasts.get(&stored.job.name);
            // Without an end it was interrupted, and that could not be stored: nobody else runs it.
            let last = last.map(|last| Last {
                started: last.started,
                resume: last.resume || last.outcome.is_none(),
                interruptions: last.interruptions,
            });
            state.scheduler.put(&key(stored), plan(stored), || last, now);
            key(stored)
        });
        keys.collect()
    }

    /// An error that stays would fill the log.
    fn tell_once(&self, error: &str) {
        if self.state().told.insert(error.to_owned()) {
            tracing::error!(error, "jobs cannot be read; those are not run");
        }
    }

    fn store_unsaved(&self, core: &Core) {
        let unsaved = std::mem::take(&mut self.state().unsaved);
        for (instance, result) in unsaved {
            let results = Results::new(Arc::clone(&core.disk), &core.instances_dir().join(&instance));
            match results.end(&result) {
                Ok(()) | Err(ResultsError::Gone(_)) => {}
                Err(_) => self.state().unsaved.push((instance, result)),
            }
        }
    }

    pub(super) fn prune(&self, core: &Core) {
        for instance in core.instance_ids().unwrap_or_default() {
            let results = Results::new(Arc::clone(&core.disk), &core.instances_dir().join(&instance));
            if let Err(error) = results.prune(self.keep, self.clock.wall()) {
                tracing::warn!(instance, %error, "old results of jobs cannot be removed");
            }
        }
    }
}
