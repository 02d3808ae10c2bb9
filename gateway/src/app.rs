//! The gateway as one thing: opens its rooms in order, and keeps a second daemon out.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment, UnixMillis};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::data_dir::{self, DataDirError, Holder};
use postern_shared::disk::{Disk, DiskLock};
use postern_shared::id::MessageIds;
use postern_shared::telemetry::log_level;
use serde_json::{Value, json};

use crate::backup::RESTORING;
use crate::certificate::Keeper;
use crate::console::{Administrators, Audit};
use crate::mailbox::{MailboxError, Registry};
use crate::monitoring::metrics;
use crate::proxy::oauth::{Broker, BrokerError, Deadlines};
use crate::servers::Serving;
use crate::settings::Settings;
use crate::spool::{self, SegmentSpool, Spool, SpoolError};

/// Short enough that a message is hardly ever called unconfirmed after a crash, long enough for others to come.
const CONFIRM_DELAY: Duration = Duration::from_millis(20);

/// Everything but the listeners: what commands and sessions work on. Holds the data directory's lock.
#[derive(Debug)]
pub struct Core {
    /// The checked settings that count now.
    settings: RwLock<Arc<Settings>>,
    /// All mailboxes.
    pub registry: Arc<Registry>,
    /// All mail that waits.
    pub spool: Arc<dyn Spool>,
    /// Accounts at providers that take no passwords.
    pub oauth: Arc<Broker>,
    /// Message ids, greater than any stored one.
    pub ids: Arc<MessageIds>,
    /// Who may sign in at the console.
    pub administrators: Arc<Administrators>,
    /// What was done at the console and on the command line.
    pub audit: Arc<Audit>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// Where the daemon listens, by listener, once it does.
    pub listening: OnceLock<Value>,
    /// The certificate that the daemon serves, once it does.
    pub keeper: OnceLock<Arc<Keeper>>,
    /// What serves connections, once it does.
    pub(crate) serving: OnceLock<Serving>,
    /// When it was opened, on both clocks.
    started: (Moment, UnixMillis),
    _lock: DiskLock,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is in it is not whole.
    #[error("a restore into {} was interrupted: run `postern-gateway restore` again", .0.display())]
    Restoring(std::path::PathBuf),
    /// The mailboxes cannot be read.
    #[error(transparent)]
    Mailboxes(#[from] MailboxError),
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The OAuth bindings cannot be read.
    #[error(transparent)]
    Oauth(#[from] BrokerError),
}

impl Core {
    /// Takes the data directory's lock and opens what is in it.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        holder: Holder,
    ) -> Result<Self, StartError> {
        let dir = settings.data_dir.clone();
        let lock = data_dir::lock(&*disk, &dir, "postern-gateway", holder)?;
        if disk.exists(&dir.join(RESTORING)).unwrap_or(false) {
            return Err(StartError::Restoring(dir));
        }
        let registry = Registry::open(
            Arc::clone(&disk),
            Arc::clone(&clock),
            &dir.join("mailboxes"),
            &settings.email_domain,
            Argon2Cost::DEFAULT,
        )?;
        let spool = SegmentSpool::open(
            Arc::clone(&disk),
            Arc::clone(&clock),
            &dir.join("spool"),
            spool::Settings { confirm_delay: CONFIRM_DELAY, ..spool::Settings::default() },
        )?;
        let oauth = Broker::load(
            Arc::clone(&disk),
            Arc::clone(&clock),
            &dir.join("oauth"),
            &settings.oauth_providers,
            Deadlines::default(),
            Argon2Cost::DEFAULT,
        )?;
        let ids = Arc::new(MessageIds::default());
        spool.newest().into_iter().for_each(|newest| ids.at_least(newest));
        let (registry, spool, oauth) = (Arc::new(registry), Arc::new(spool), Arc::new(oauth));
        let console = dir.join("console");
        let (of_disk, of_clock) = (|| Arc::clone(&disk), || Arc::clone(&clock));
        let administrators = Administrators::open(of_disk(), of_clock(), &console, Argon2Cost::DEFAULT);
        let audit = Arc::new(Audit::open(of_disk(), of_clock(), &console));
        let administrators = Arc::new(administrators);
        let (listening, keeper, serving) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let settings = RwLock::new(Arc::new(settings));
        let started = (clock.moment(), clock.wall());
        Ok(Self {
            settings,
            registry,
            spool,
            oauth,
            ids,
            administrators,
            audit,
            clock,
            disk,
            listening,
            keeper,
            serving,
            started,
            _lock: lock,
        })
    }

    /// The settings that count now: those that the gateway started with, and of what a reload brought since, what can
    /// change without a restart.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these count.
    pub(crate) fn settle(&self, settings: Arc<Settings>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// How long it has been open.
    pub fn uptime(&self) -> Duration {
        self.clock.moment().since(self.started.0)
    }

    /// So little is free that what is dead gets no grace (see the spool's `sweep`).
    pub fn is_nearly_full(&self) -> bool {
        let free = self.disk.free_bytes(&self.settings().data_dir);
        free.is_ok_and(|free| free < 2 * spool::Settings::default().reserve_bytes)
    }

    /// By how many milliseconds the calendar clock was moved since it was opened.
    pub fn clock_moved_ms(&self) -> i64 {
        let elapsed = i64::try_from(self.uptime().as_millis()).unwrap_or(i64::MAX);
        let (then, now) = (self.started.1.0, self.clock.wall().0);
        now.cast_signed().saturating_sub(then.cast_signed()).saturating_sub(elapsed)
    }

    /// What `status` shows.
    pub fn status(&self) -> Value {
        let mailboxes = self.registry.list();
        let usages: Vec<_> = mailboxes.iter().map(|mailbox| self.spool.usage(mailbox.id)).collect();
        let mut damage: Vec<String> = self.spool.damage().iter().map(ToString::to_string).collect();
        damage.extend(self.registry.damaged().iter().map(ToString::to_string));
        let unusable = self.oauth.damaged().into_iter();
        damage.extend(unusable.map(|(path, reason)| format!("OAuth binding {}: {reason}", path.display())));
        let waiting: Vec<Value> = mailboxes
            .iter()
            .zip(&usages)
            .map(|(mailbox, usage)| {
                json!({
                    "id": mailbox.id,
                    "name": mailbox.name,
                    "status": mailbox.status,
                    "messages": usage.messages,
                    "unconfirmed": usage.unconfirmed,
                    "bytes": usage.served_bytes,
                    "oldest": usage.oldest.map(UnixMillis::rfc3339),
                })
            })
            .collect();
        let running = self.listening.get().is_some();
        let sessions: BTreeMap<_, _> = metrics().sessions_open().collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "running": running,
            "uptime_seconds": running.then(|| self.uptime().as_secs()),
            "clock_moved_ms": running.then(|| self.clock_moved_ms()),
            "log_level": running.then(log_level),
            "data_dir": self.settings().data_dir,
            "email_domain": self.settings().email_domain,
            "listening": self.listening.get(),
            "sessions": running.then_some(sessions),
            "mailboxes": mailboxes.len(),
            "messages": usages.iter().map(|usage| usage.messages).sum::<u64>(),
            "unconfirmed": usages.iter().map(|usage| usage.unconfirmed).sum::<u64>(),
            "bytes": usages.iter().map(|usage| usage.served_bytes).sum::<u64>(),
            "waiting": waiting,
            "free_bytes": self.disk.free_bytes(&self.settings().data_dir).ok(),
            "damage": damage,
        })
    }
}
