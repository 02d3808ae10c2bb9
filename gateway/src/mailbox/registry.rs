//! All mailboxes, in memory and on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use postern_shared::clock::Clock;
use postern_shared::crypto::keys::{LockedPrivateKey, PrivateKey, PublicKey};
use postern_shared::crypto::password::{Argon2Cost, BadCost};
use postern_shared::crypto::seal::Encapsulation;
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::id::MailboxId;
use secrecy::SecretString;

use super::moment::Shared;
use super::record::Record;
use super::{Edit, Mailbox, MailboxError, Policy, PolicyEdit, Status};

/// The longest description and a thousand networks leave half of it free.
const FILE_BYTES_MAX: u64 = 256 * 1024;
const NAME_CHARS_MAX: usize = 100;
const DESCRIPTION_CHARS_MAX: usize = 1000;

/// All mailboxes of a gateway.
#[derive(Debug)]
pub struct Registry {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    domain: String,
    cost: Argon2Cost,
    /// Sessions read it all the time, so it is never held while the disk or Argon2id is waited for.
    mailboxes: RwLock<BTreeMap<MailboxId, Kept>>,
    /// One change at a time.
    changes: Mutex<()>,
}

#[derive(Debug)]
enum Kept {
    Usable(Box<Usable>),
    Damaged { reason: String },
}

#[derive(Debug)]
struct Usable {
    record: Record,
    /// Held by every message that is on its way.
    receiving: Arc<()>,
    shared: Shared,
    /// Its keys are being replaced, or it is being deleted: no message may begin.
    going: bool,
}

impl Kept {
    fn usable(record: Record) -> Self {
        Self::Usable(Box::new(Usable {
            record,
            receiving: Arc::default(),
            shared: Shared::default(),
            going: false,
        }))
    }
}

/// A message on its way into a mailbox: as long as this lives, the mailbox's keys stay.
#[derive(Debug, Clone)]
pub struct Receiving {
    _receiving: Arc<()>,
}

impl Registry {
    /// Reads all mailboxes in `dir`, which is created when missing. A file that cannot be read is logged and kept.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        domain: &str,
        cost: Argon2Cost,
    ) -> Result<Self, MailboxError> {
        let io = |source| MailboxError::Io { path: dir.into(), source };
        disk.create_dir_all(dir).map_err(io)?;
        let mut mailboxes = BTreeMap::new();
        for path in disk.files(dir).map_err(io)? {
            let Some(id) = id_of(&path) else { continue };
            mailboxes.insert(id, read(&*disk, &path, id));
        }
        let (dir, domain) = (dir.to_path_buf(), domain.to_ascii_lowercase());
        Ok(Self {
            disk,
            clock,
            dir,
            domain,
            cost,
            mailboxes: RwLock::new(mailboxes),
            changes: Mutex::default(),
        })
    }

    /// The domain of all addresses, lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Creates a mailbox that takes everything; its password is returned here and kept nowhere.
    pub fn create(
        &self,
        name: &str,
        description: &str,
        recovery: Option<PublicKey>,
    ) -> Result<(Mailbox, SecretString), MailboxError> {
        self.create_with(name, description, recovery, &PolicyEdit::default())
    }

    /// Creates a mailbox with a policy.
    pub fn create_with(
        &self,
        name: &str,
        description: &str,
        recovery: Option<PublicKey>,
        policy: &PolicyEdit,
    ) -> Result<(Mailbox, SecretString), MailboxError> {
        let texts = (checked_name(name)?, checked_description(description)?);
        let policy = Policy::default().edited(policy)?;
        let (record, password) = Record::create(texts, policy, recovery, self.clock.wall(), self.cost)
            .map_err(|error| self.bad_cost(error))?;
        let shown = record.shown(&self.domain);
        let _one = self.change();
        if let Err(error) = self.store(&record) {
            self.forget(record.id);
            return Err(error);
        }
        self.write_lock().insert(record.id, Kept::usable(record));
        Ok((shown, password))
    }

    /// All mailboxes that can be used, by id.
    pub fn list(&self) -> Vec<Mailbox> {
        let mailboxes = self.read_lock();
        let usable = mailboxes.values().filter_map(|kept| match kept {
            Kept::Usable(usable) => Some(usable.record.shown(&self.domain)),
            Kept::Damaged { .. } => None,
        });
        usable.collect()
    }

    /// All mailboxes whose file cannot be read, with the reason.
    pub fn damaged(&self) -> Vec<MailboxError> {
        let mailboxes = self.read_lock();
        mailboxes.iter().filter_map(|(id, kept)| self.usable(*id, kept).err()).collect()
    }

    /// One mailbox.
    pub fn show(&self, id: MailboxId) -> Result<Mailbox, MailboxError> {
        self.with(id, |usable| usable.record.shown(&self.domain))
    }

    /// Whether a mailbox takes mail. One whose file is damaged does not, for now.
    pub fn status(&self, id: MailboxId) -> Option<Status> {
        match self.read_lock().get(&id)? {
            Kept::Usable(usable) => Some(usable.record.status),
            Kept::Damaged { .. } => Some(Status::Suspended),
        }
    }

    /// What a mailbox takes, and from whom.
    pub fn policy(&self, id: MailboxId) -> Option<Arc<Policy>> {
        match self.read_lock().get(&id)? {
            Kept::Usable(usable) => Some(Arc::clone(&usable.record.policy)),
            Kept::Damaged { .. } => None,
        }
    }

    /// Announces a message for a mailbox, and gives what its keys are derived from. That is to be dropped at once: held
    /// for as long as a slow sender takes, it would keep the secret of all messages of this moment in memory.
    pub fn receive(&self, id: MailboxId) -> Result<(Receiving, Arc<Encapsulation>), MailboxError> {
        self.with(id, |Usable { record, receiving, shared, going }| {
            if *going {
                return Err(MailboxError::Changing(id));
            }
            let encapsulation = shared.encapsulation(self.clock.moment(), &record.recipients);
            Ok((Receiving { _receiving: Arc::clone(receiving) }, encapsulation))
        })?
    }

    /// The key that mail is sealed to.
    #[cfg(test)]
    pub(super) fn sealed_to(&self, id: MailboxId) -> Result<PublicKey, MailboxError> {
        self.with(id, |usable| usable.record.recipients.mailbox.clone())
    }

    /// Wipes what messages of the last moment were sealed with; to be called about once a second.
    pub fn forget_secrets(&self) {
        let now = self.clock.moment();
        for kept in self.read_lock().values() {
            if let Kept::Usable(usable) = kept {
                usable.shared.forget(now);
            }
        }
    }

    /// Changes name, description, status or policy.
    pub fn edit(&self, id: MailboxId, edit: Edit) -> Result<Mailbox, MailboxError> {
        let _one = self.change();
        let mut record = self.with(id, |usable| usable.record.clone())?;
        if let Some(name) = edit.name {
            record.name = checked_name(&name)?;
        }
        if let Some(description) = edit.description {
            record.description = checked_description(&description)?;
        }
        record.status = edit.status.unwrap_or(record.status);
        record.policy = Arc::new(record.policy.edited(&edit.policy)?);
        self.replace(record)
    }

    /// Gives a suspended, empty mailbox a new key pair and password. `waiting` tells how many messages it holds.
    pub fn reset_password(
        &self,
        id: MailboxId,
        waiting: impl FnOnce() -> u64,
    ) -> Result<(Mailbox, SecretString), MailboxError> {
        let _one = self.change();
        let old = self.close(id, waiting)?;
        let renewed = old.with_new_keys(self.clock.wall(), self.cost).map_err(|error| self.bad_cost(error));
        let replaced =
            renewed.and_then(|(record, password)| self.replace(record).map(|shown| (shown, password)));
        self.reopen(id);
        replaced
    }

    /// Deletes a suspended, empty mailbox for good. `waiting` tells how many messages it holds.
    pub fn delete(&self, id: MailboxId, waiting: impl FnOnce() -> u64) -> Result<(), MailboxError> {
        let _one = self.change();
        let old = self.close(id, waiting)?;
        let path = self.path(id);
        let removed = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir));
        if let Err(source) = removed {
            self.take_back(&old);
            self.reopen(id);
            return Err(MailboxError::Io { path, source });
        }
        self.write_lock().remove(&id);
        Ok(())
    }

    /// Lets no further message begin for a mailbox that is suspended, empty and not receiving; what its record is.
    fn close(&self, id: MailboxId, waiting: impl FnOnce() -> u64) -> Result<Record, MailboxError> {
        let mut mailboxes = self.write_lock();
        self.usable(id, mailboxes.get(&id).ok_or(MailboxError::Unknown(id))?)
            .and_then(|usable| check_idle(usable, waiting))?;
        match mailboxes.get_mut(&id) {
            Some(Kept::Usable(usable)) => {
                usable.going = true;
                Ok(usable.record.clone())
            }
            _ => Err(MailboxError::Unknown(id)),
        }
    }

    fn reopen(&self, id: MailboxId) {
        if let Some(Kept::Usable(usable)) = self.write_lock().get_mut(&id) {
            usable.going = false;
        }
    }

    /// The private key of the mailbox that `user` names (its id or address, in any case), when the password is right.
    /// Costs the same time when there is no such mailbox. Blocks for Argon2id.
    pub fn unlock(&self, user: &str, password: &SecretString) -> Option<(MailboxId, PrivateKey)> {
        let found = self.id_of_user(user).and_then(|id| match self.read_lock().get(&id) {
            Some(Kept::Usable(usable)) => Some(usable.record.clone()),
            _ => None,
        });
        let Some(record) = found else {
            LockedPrivateKey::unlock_nobody(password);
            return None;
        };
        record.unlock(password).map(|key| (record.id, key))
    }

    fn id_of_user(&self, user: &str) -> Option<MailboxId> {
        let local = match user.split_once('@') {
            Some((local, domain)) if domain.eq_ignore_ascii_case(&self.domain) => local,
            Some(_) => return None,
            None => user,
        };
        local.parse().ok()
    }

    fn with<R>(&self, id: MailboxId, read: impl FnOnce(&Usable) -> R) -> Result<R, MailboxError> {
        let mailboxes = self.read_lock();
        self.usable(id, mailboxes.get(&id).ok_or(MailboxError::Unknown(id))?).map(read)
    }

    fn usable<'k>(&self, id: MailboxId, kept: &'k Kept) -> Result<&'k Usable, MailboxError> {
        match kept {
            Kept::Usable(usable) => Ok(usable),
            Kept::Damaged { reason } => {
                Err(MailboxError::Damaged { id, path: self.path(id), reason: reason.clone() })
            }
        }
    }

    fn replace(&self, new: Record) -> Result<Mailbox, MailboxError> {
        let shown = new.shown(&self.domain);
        if let Err(error) = self.store(&new) {
            if let Ok(old) = self.with(new.id, |usable| usable.record.clone()) {
                self.take_back(&old);
            }
            return Err(error);
        }
        if let Some(Kept::Usable(usable)) = self.write_lock().get_mut(&new.id) {
            // The keys may be new, and messages for the old ones are none on their way (see `check_idle`).
            usable.shared = Shared::default();
            usable.record = new;
        }
        Ok(shown)
    }

    /// After a change that failed: makes sure that the disk has what memory has, above all the keys that mail is sealed
    /// to. A mailbox for which that fails as well is not used until a restart has read it.
    fn take_back(&self, old: &Record) {
        let path = self.path(old.id);
        let restored = old.to_json().map_err(std::io::Error::from).and_then(|json| {
            match self.disk.read(&path, FILE_BYTES_MAX) {
                Ok(found) if found == json => Ok(()),
                _ => write_atomic(&*self.disk, &path, &json),
            }
        });
        if let Err(error) = restored {
            tracing::error!(path = %path.display(), %error, "a mailbox cannot be used; mail for it is refused for now");
            let reason =
                format!("a change failed halfway ({error}); restart the gateway when its disk works again");
            self.write_lock().insert(old.id, Kept::Damaged { reason });
        }
    }

    /// After a creation that failed: nobody has the password, so nobody shall find it after a restart.
    fn forget(&self, id: MailboxId) {
        let path = self.path(id);
        if self.disk.exists(&path).unwrap_or(false)
            && let Err(error) = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir))
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a mailbox that could not be created");
        }
    }

    fn store(&self, record: &Record) -> Result<(), MailboxError> {
        let path = self.path(record.id);
        let stored = record
            .to_json()
            .map_err(std::io::Error::from)
            .and_then(|json| write_atomic(&*self.disk, &path, &json));
        stored.map_err(|source| MailboxError::Io { path, source })
    }

    fn path(&self, id: MailboxId) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn bad_cost(&self, error: BadCost) -> MailboxError {
        MailboxError::Io { path: self.dir.clone(), source: std::io::Error::other(error) }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, BTreeMap<MailboxId, Kept>> {
        // A change is made in memory only after it was stored, in one step, so a poisoned map is still right.
        self.mailboxes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, BTreeMap<MailboxId, Kept>> {
        self.mailboxes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id_of(path: &Path) -> Option<MailboxId> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

fn read(disk: &dyn Disk, path: &Path, id: MailboxId) -> Kept {
    let bytes = disk.read(path, FILE_BYTES_MAX).map_err(|error| error.to_string());
    match bytes.and_then(|bytes| Record::from_json(&bytes, id)) {
        Ok(record) => Kept::usable(record),
        Err(reason) => {
            tracing::error!(path = %path.display(), reason, "a mailbox cannot be used; mail for it is refused for now");
            Kept::Damaged { reason }
        }
    }
}

fn check_idle(usable: &Usable, waiting: impl FnOnce() -> u64) -> Result<(), MailboxError> {
    let Usable { record, receiving, .. } = usable;
    if record.status != Status::Suspended {
        return Err(MailboxError::NotSuspended(record.id));
    }
    // First whether one is arriving, then what has arrived: the other way round one could slip through between.
    if Arc::strong_count(receiving) > 1 {
        return Err(MailboxError::Receiving(record.id));
    }
    match waiting() {
        0 => Ok(()),
        messages => Err(MailboxError::NotEmpty { id: record.id, messages }),
    }
}

fn checked_name(name: &str) -> Result<String, MailboxError> {
    checked("name", name, 1, NAME_CHARS_MAX)
}

fn checked_description(description: &str) -> Result<String, MailboxError> {
    checked("description", description, 0, DESCRIPTION_CHARS_MAX)
}

fn checked(what: &'static str, text: &str, min: usize, max: usize) -> Result<String, MailboxError> {
    let text = text.trim();
    let chars = text.chars().count();
    if chars < min || chars > max || text.chars().any(char::is_control) {
        return Err(MailboxError::BadText { what, min, max });
    }
    Ok(text.to_owned())
}
