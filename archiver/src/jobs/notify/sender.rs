//! Sends what is to be told.
//!
//! `notifications.json` in the data directory has what was told, so that a restart neither forgets nor repeats. One that cannot
//! be read is begun anew: then jobs that fail are told once more.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_shared::clock::Clock;
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::id::MessageIds;
use postern_shared::shutdown::Shutdown;
use tokio::sync::Notify;

use super::message::Text;
use super::notices::{Mail, Notices, Troubles};
use super::settings::NotificationSettings;
use super::submit::{SubmitError, Submitted, submit};

const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Clocks may be set while nothing happens.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Tells about jobs; nothing when the settings name no mail server.
#[derive(Debug)]
pub struct Notifier {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    settings: Option<NotificationSettings>,
    ids: MessageIds,
    notices: Mutex<Notices>,
    /// One stores at a time, so that the latest is what stays.
    storing: Mutex<()>,
    /// What is on disk was read. Without a daemon it is not, and nothing is stored over it.
    loaded: AtomicBool,
    /// Something happened.
    wake: Notify,
}

impl Notifier {
    /// One that keeps what it told in `data_dir`.
    pub fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        data_dir: &std::path::Path,
        settings: Option<NotificationSettings>,
    ) -> Self {
        let never = (Duration::MAX, Duration::MAX);
        let (gather, repeat) = settings.as_ref().map_or(never, |settings| (settings.gather, settings.repeat));
        let notices = Mutex::new(Notices::new(gather, repeat, Troubles::new()));
        let path = data_dir.join("notifications.json");
        Self {
            disk,
            clock,
            path,
            settings,
            ids: MessageIds::default(),
            notices,
            storing: Mutex::default(),
            loaded: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    fn notices(&self) -> std::sync::MutexGuard<'_, Notices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was told. Blocks for the disk.
    pub fn load(&self) {
        let Some(settings) = &self.settings else { return };
        self.loaded.store(true, Ordering::Release);
        let read = match self.disk.exists(&self.path) {
            Ok(false) => return,
            Ok(true) => self.disk.read(&self.path, FILE_BYTES_MAX),
            Err(error) => Err(error),
        };
        let read = read.map_err(|error| error.to_string());
        match read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
            Ok(troubles) => *self.notices() = Notices::new(settings.gather, settings.repeat, troubles),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), error, "what was told of failing jobs is begun anew");
            }
        }
    }

    /// A run of the job ended: well, or how not and with which error. What is new of that is on disk when this returns. Blocks
    /// for the disk.
    pub fn ended(&self, job: &str, trouble: Option<(&str, &str)>) {
        if self.settings.is_some() {
            let is_new = self.notices().ended(job, trouble, self.clock.wall());
            if is_new && self.loaded.load(Ordering::Acquire) {
                self.store();
            }
            self.wake.notify_one();
        }
    }

    /// Forgets jobs that `keep` does not name: they are gone.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.notices().retain(keep);
    }

    /// Sends until `shutdown` says so.
    pub async fn serve(self: Arc<Self>, shutdown: Shutdown) {
        let Some(settings) = &self.settings else { return };
        self.send_until(settings, shutdown).await;
        self.store_behind().await;
    }

    async fn send_until(self: &Arc<Self>, settings: &NotificationSettings, mut shutdown: Shutdown) {
        loop {
            let now = self.clock.wall();
            let (mail, wake) = {
                let notices = self.notices();
                (notices.poll(now), notices.wake())
            };
            if let Some(mail) = mail {
                tokio::select! {
                    () = self.send(settings, &mail) => {}
                    () = shutdown.requested() => return,
                }
                continue;
            }
            let pause = wake.map_or(SLEEP_MAX, |wake| wake.since(now).min(SLEEP_MAX));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
                () = shutdown.requested() => return,
            }
        }
    }

    async fn send(self: &Arc<Self>, settings: &NotificationSettings, mail: &Mail) {
        let text = Text::of(mail);
        match self.submit(settings, &text).await {
            Ok(submitted) => {
                tracing::info!(subject = text.subject, said = submitted.said, "told by mail");
                for refused in submitted.refused {
                    tracing::warn!(refused, "not everybody could be told by mail");
                }
                self.notices().sent(mail, self.clock.wall());
                self.store_behind().await;
            }
            Err(error) => {
                tracing::error!(%error, subject = text.subject, "cannot be told by mail; it is tried again");
                self.notices().failed(self.clock.wall());
            }
        }
    }

    async fn store_behind(self: &Arc<Self>) {
        let this = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || this.store()).await {
            tracing::error!(%error, "keeping what was told failed inside");
        }
    }

    fn store(&self) {
        let _one = self.storing.lock().unwrap_or_else(PoisonError::into_inner);
        let json = serde_json::to_vec_pretty(self.notices().troubles()).unwrap_or_default();
        if let Err(error) = write_atomic(&*self.disk, &self.path, &json) {
            tracing::warn!(%error, path = %self.path.display(), "a restart may tell again what was told, or forget what was not");
        }
    }

    async fn submit(&self, settings: &NotificationSettings, text: &Text) -> Result<Submitted, SubmitError> {
        let now = self.clock.wall();
        submit(settings, &text.message(settings, self.ids.next(now), now)).await
    }

    /// Sends a mail that shows that mail goes through; `None` when the settings name no mail server.
    pub async fn test(&self) -> Option<Result<Submitted, SubmitError>> {
        let settings = self.settings.as_ref()?;
        Some(self.submit(settings, &Text::test()).await)
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::{ManualClock, UnixMillis};
    use postern_shared::disk::RealDisk;

    use super::super::settings::RawNotifications;
    use super::*;

    /// Goal: what failed or recovered and was not told yet is told by the next daemon.
    #[test]
    fn a_restart_forgets_nothing_that_was_not_told() {
        let dir = tempfile::tempdir().unwrap();
        let raw: RawNotifications =
            toml::from_str("host = 'x'\nfrom = 'a@example.com'\nto = 'b@example.com'").unwrap();
        let settings = raw.check(&RealDisk, dir.path(), |_| None).unwrap();
        let clock = Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000)));
        let notifier = || {
            let clock = Arc::clone(&clock) as Arc<dyn Clock>;
            let notifier = Notifier::new(Arc::new(RealDisk), clock, dir.path(), settings.clone());
            notifier.load();
            notifier
        };
        notifier().ended("main/verify", Some(("failed", "damage")));
        clock.advance(Duration::from_secs(60));
        let mail = notifier().notices().poll(clock.wall()).unwrap();
        assert_eq!(mail.new["main/verify"].error, "damage");
        let next = notifier();
        next.notices().sent(&mail, clock.wall());
        next.ended("main/verify", None);
        drop(next);
        clock.advance(Duration::from_secs(60));
        let mail = notifier().notices().poll(clock.wall()).unwrap();
        assert!(mail.recovered.contains_key("main/verify"), "{mail:?}");
    }
}
