//! Sends what is to be told.
//!
//! `notifications.json` in the data directory has what was told, so that a restart neither forgets nor repeats. One that cannot
//! be read is begun anew: then jobs that fail are told once more.

use std::path::PathBuf;
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
        Self { disk, clock, path, settings, ids: MessageIds::default(), notices, wake: Notify::new() }
    }

    fn notices(&self) -> std::sync::MutexGuard<'_, Notices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was told. Blocks for the disk.
    pub fn load(&self) {
        let Some(settings) = &self.settings else { return };
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

    /// A run of the job ended: well, or how not and with which error.
    pub fn ended(&self, job: &str, trouble: Option<(&str, &str)>) {
        if self.settings.is_some() {
            self.notices().ended(job, trouble, self.clock.wall());
            self.wake.notify_one();
        }
    }

    /// Forgets jobs that `keep` does not name: they are gone.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.notices().retain(keep);
    }

    /// Sends until `shutdown` says so.
    pub async fn serve(&self, mut shutdown: Shutdown) {
        let Some(settings) = &self.settings else { return };
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

    async fn send(&self, settings: &NotificationSettings, mail: &Mail) {
        let text = Text::of(mail);
        match self.submit(settings, &text).await {
            Ok(submitted) => {
                tracing::info!(subject = text.subject, said = submitted.said, "told by mail");
                for refused in submitted.refused {
                    tracing::warn!(refused, "not everybody could be told by mail");
                }
                self.notices().sent(mail, self.clock.wall());
                self.store().await;
            }
            Err(error) => {
                tracing::error!(%error, subject = text.subject, "cannot be told by mail; it is tried again");
                self.notices().failed(self.clock.wall());
            }
        }
    }

    async fn store(&self) {
        let (disk, path) = (Arc::clone(&self.disk), self.path.clone());
        let json = serde_json::to_vec_pretty(self.notices().troubles()).unwrap_or_default();
        let stored = tokio::task::spawn_blocking(move || write_atomic(&*disk, &path, &json)).await;
        if let Err(error) = stored.map_err(std::io::Error::other).and_then(|stored| stored) {
            tracing::warn!(%error, path = %self.path.display(), "a restart may tell again what was told");
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
