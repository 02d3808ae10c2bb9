//! Whether a backup is what it was, and what a gateway would find in it.

use std::path::Path;
use std::sync::Arc;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::Disk;

use super::copy::digest;
use super::manifest::Entry;
use super::read_only::ReadOnly;
use super::source::Source;
use super::{BackupError, Work};
use crate::mailbox::Registry;
use crate::proxy::oauth::{Broker, Deadlines};
use crate::spool::{self, SegmentSpool, Spool};

/// What a gateway would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Mailboxes that can be used.
    pub mailboxes: u64,
    /// Messages that wait in them.
    pub messages: u64,
    /// Places found damaged, as `status` tells them, paths below the data directory.
    pub damage: Vec<String>,
}

/// A backup that is as it was when it was made.
#[derive(Debug)]
pub struct Checked {
    /// What was acknowledged before is in it.
    pub begun: UnixMillis,
    /// Files.
    pub files: u64,
    /// Their octets.
    pub bytes: u64,
    /// What a gateway would find in it.
    pub contents: Contents,
}

/// Compares every file of the backup at `place` with its manifest, and opens it as a gateway would.
pub fn check(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    place: &Path,
    work: &mut Work<'_>,
) -> Result<Checked, BackupError> {
    let source = Source::open(disk, place)?;
    let manifest = &source.manifest;
    work.begin("checking", manifest.bytes());
    let mut findings = Vec::new();
    for entry in &manifest.files {
        findings.extend(finding(&*source.disk, &source.root, entry, work)?);
    }
    if !findings.is_empty() {
        let advice =
            "Remove these files there and make the backup again: what the gateway still has is copied anew";
        return Err(BackupError::Damaged { place: place.into(), findings, advice: advice.into() });
    }
    let contents = contents(&source.disk, clock, &source.root, &manifest.email_domain)?;
    let (files, bytes) = (manifest.files.len() as u64, manifest.bytes());
    Ok(Checked { begun: manifest.begun, files, bytes, contents })
}

/// What is wrong with a file of a backup.
pub(super) fn finding(
    disk: &dyn Disk,
    root: &Path,
    entry: &Entry,
    work: &mut Work<'_>,
) -> Result<Option<String>, BackupError> {
    let (path, name) = (entry.path.below(root), entry.path.as_str());
    match digest(disk, &path, work) {
        Ok((bytes, _)) if bytes != entry.bytes => {
            Ok(Some(format!("{name} has {bytes} octets instead of {}", entry.bytes)))
        }
        Ok((_, sha256)) if sha256 != entry.sha256 => Ok(Some(format!("{name} was altered"))),
        Ok(_) => Ok(None),
        Err(BackupError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Some(format!("{name} is missing")))
        }
        Err(BackupError::Io { source, .. }) => Ok(Some(format!("{name} cannot be read ({source})"))),
        Err(error) => Err(error),
    }
}

/// Opens the rooms on the copy below `root`, without changing anything in it.
pub(super) fn contents(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    root: &Path,
    email_domain: &str,
) -> Result<Contents, BackupError> {
    open(disk, clock, &root.join("data"), email_domain)
}

/// The same for a data directory.
pub(super) fn open(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    dir: &Path,
    email_domain: &str,
) -> Result<Contents, BackupError> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnly(Arc::clone(disk)));
    let other = |error: &dyn std::fmt::Display| {
        BackupError::io("open", dir)(std::io::Error::other(error.to_string()))
    };
    let (cost, settings) = (Argon2Cost::DEFAULT, spool::Settings::default());
    let doors = || (Arc::clone(&disk), Arc::clone(clock));
    let (files, time) = doors();
    let registry = Registry::open(files, time, &dir.join("mailboxes"), email_domain, cost)
        .map_err(|error| other(&error))?;
    let (files, time) = doors();
    let spool = SegmentSpool::open_stepped(files, time, &dir.join("spool"), settings)
        .map_err(|error| other(&error))?;
    let (files, time) = doors();
    let oauth = Broker::load(files, time, &dir.join("oauth"), &[], Deadlines::default(), cost)
        .map_err(|error| other(&error))?;
    let mailboxes = registry.list();
    let messages = mailboxes.iter().map(|mailbox| spool.usage(mailbox.id).messages).sum();
    let mut damage: Vec<String> = spool.damage().iter().map(ToString::to_string).collect();
    damage.extend(registry.damaged().iter().map(ToString::to_string));
    let bindings = oauth.damaged().into_iter();
    damage.extend(bindings.map(|(path, reason)| format!("OAuth binding {}: {reason}", path.display())));
    let prefix = format!("{}/", dir.display());
    let damage = damage.iter().map(|text| text.replace(&prefix, "")).collect();
    Ok(Contents { mailboxes: mailboxes.len() as u64, messages, damage })
}
