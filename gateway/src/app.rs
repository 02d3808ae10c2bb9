//! The gateway as one thing: opens its rooms in order, and keeps a second daemon out.

use std::sync::{Arc, OnceLock};

use postern_shared::clock::Clock;
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::data_dir::{self, DataDirError};
use postern_shared::disk::{Disk, DiskLock};
use postern_shared::id::MessageIds;
use serde_json::{Value, json};

use crate::mailbox::{MailboxError, Registry};
use crate::settings::Settings;
use crate::spool::{self, SegmentSpool, Spool, SpoolError};

/// Everything but the listeners: what commands and sessions work on. Holds the data directory's lock.
#[derive(Debug)]
pub struct Core {
    /// The checked settings.
    pub settings: Settings,
    /// All mailboxes.
    pub registry: Arc<Registry>,
    /// All mail that waits.
    pub spool: Arc<dyn Spool>,
    /// Message ids, greater than any stored one.
    pub ids: Arc<MessageIds>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// Where the daemon listens, by listener, once it does.
    pub listening: OnceLock<Value>,
    _lock: DiskLock,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The mailboxes cannot be read.
    #[error(transparent)]
    Mailboxes(#[from] MailboxError),
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Core {
    /// Takes the data directory's lock and opens what is in it.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, settings: Settings) -> Result<Self, StartError> {
        let dir = settings.data_dir.clone();
        let lock = data_dir::lock(&*disk, &dir, "postern-gateway")?;
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
            spool::Settings::default(),
        )?;
        let ids = Arc::new(MessageIds::default());
        spool.newest().into_iter().for_each(|newest| ids.at_least(newest));
        let (registry, spool) = (Arc::new(registry), Arc::new(spool));
        Ok(Self { settings, registry, spool, ids, clock, disk, listening: OnceLock::new(), _lock: lock })
    }

    /// What `status` shows.
    pub fn status(&self) -> Value {
        let mailboxes = self.registry.list();
        let usages: Vec<_> = mailboxes.iter().map(|mailbox| self.spool.usage(mailbox.id)).collect();
        let mut damage: Vec<String> = self.spool.damage().iter().map(ToString::to_string).collect();
        damage.extend(self.registry.damaged().iter().map(ToString::to_string));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "running": self.listening.get().is_some(),
            "data_dir": self.settings.data_dir,
            "email_domain": self.settings.email_domain,
            "listening": self.listening.get(),
            "mailboxes": mailboxes.len(),
            "messages": usages.iter().map(|usage| usage.messages).sum::<u64>(),
            "bytes": usages.iter().map(|usage| usage.served_bytes).sum::<u64>(),
            "free_bytes": self.disk.free_bytes(&self.settings.data_dir).ok(),
            "damage": damage,
        })
    }
}
