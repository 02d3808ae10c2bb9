//! What opens an instance: key file, passphrase, recovery key; each made anew when it is lost.

use std::path::Path;

use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::Disk;
use secrecy::SecretString;

use super::ArchiveError;
use super::instance::Instance;
use super::master::{self, Opener};

impl Instance {
    /// Whether an instance is opened by a passphrase only.
    pub fn needs_passphrase(disk: &dyn Disk, dir: &Path) -> Result<bool, ArchiveError> {
        master::needs_passphrase(disk, dir)
    }

    /// Makes a new key file for the instance in `dir`, whose old one is lost; one that a passphrase opens gets another passphrase
    /// instead, and keeps opening by nothing else.
    pub fn recover(
        disk: &dyn Disk,
        dir: &Path,
        keys_dir: Option<&Path>,
        recovery: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<(), ArchiveError> {
        let master = master::open(disk, dir, &Opener::Recovery(recovery.clone()))?;
        match (passphrase, master::needs_passphrase(disk, dir)?) {
            (Some(passphrase), _) => {
                master::renew_passphrase(disk, dir, &master, passphrase, Argon2Cost::DEFAULT)
            }
            (None, false) => master::renew_key_file(disk, dir, keys_dir, &master),
            (None, true) => {
                let id = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let reason = "a passphrase opens it, and a key file would open it without: give it another passphrase, \
                              with --passphrase-file"
                    .into();
                Err(ArchiveError::Locked { id, reason })
            }
        }
    }

    /// Whether the recovery key is that of the instance in `dir`.
    pub fn check_recovery_key(
        disk: &dyn Disk,
        dir: &Path,
        recovery: &SecretString,
    ) -> Result<(), ArchiveError> {
        master::open(disk, dir, &Opener::Recovery(recovery.clone())).map(|_| ())
    }

    /// Whether the passphrase opens the instance in `dir`. Costs what opening costs.
    pub fn check_passphrase(
        disk: &dyn Disk,
        dir: &Path,
        passphrase: &SecretString,
    ) -> Result<(), ArchiveError> {
        master::open(disk, dir, &Opener::Passphrase(passphrase.clone())).map(|_| ())
    }

    /// Makes another recovery key, when the one there is was lost or nobody saw it; that opens nothing any more.
    pub fn renew_recovery_key(&self) -> Result<SecretString, ArchiveError> {
        self.check_writable()?;
        master::renew_recovery_key(&*self.disk, &self.dir, &self.stores.master)
    }

    /// Gives the key file in `keys_dir` the name that belongs to the directory `to`, to which the instance in `from` is moved.
    pub fn rename_key_file(
        disk: &dyn Disk,
        from: &Path,
        to: &Path,
        keys_dir: &Path,
    ) -> Result<(), ArchiveError> {
        master::rename_key_file(disk, from, to, keys_dir)
    }
}
