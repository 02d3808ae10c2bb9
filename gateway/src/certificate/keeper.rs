//! Holds what is served, and looks after its files.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::disk::Disk;
use postern_shared::tls::server::{Identity, IdentityError, SELF_SIGNED_RENEWAL, Served, self_signed_files};
use rustls::ServerConfig;
use zeroize::Zeroizing;

use super::{imported_file, issued_file, own_names};
use crate::settings::{Settings, Tls};

const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where the certificate that is served comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Made here.
    SelfSigned,
    /// Made here, until the authority has issued one.
    StandIn,
    /// The operator's files.
    Files,
    /// `certificate import`.
    Imported,
    /// An authority.
    Acme,
}

impl Origin {
    /// As `certificate show` says.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfSigned => "self-signed",
            Self::StandIn => "self-signed until the authority issues one",
            Self::Files => "files",
            Self::Imported => "imported",
            Self::Acme => "acme",
        }
    }
}

/// What a look at the files brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// What they hold is served already.
    Same,
    /// What they hold is served from now on.
    Swapped,
    /// What they hold cannot be used; the old certificate is served on.
    Kept(String),
}

/// What is served, and from which files.
#[derive(Debug)]
pub struct Keeper {
    settings: RwLock<Arc<Settings>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    served: Arc<Served>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
pub(super) struct Seen {
    /// Of the files that hold what is served.
    content: Digest,
    pub(super) origin: Origin,
    /// Why what the files hold now is not served.
    pub(super) trouble: Option<String>,
    /// The same, found once: an operator may be between replacing the one file and the other.
    suspicion: Option<String>,
}

/// Files of a certificate, read.
struct Found {
    content: Digest,
    origin: Origin,
    certificate: (PathBuf, Zeroizing<Vec<u8>>),
    key: (PathBuf, Zeroizing<Vec<u8>>),
}

impl Found {
    fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::from_pem(&self.certificate.1, &self.certificate.0, &self.key.1, &self.key.0)
    }
}

impl Keeper {
    /// Takes the certificate that the settings ask for; a self-signed one is made when it is missing, and made anew when
    /// it is near its end.
    pub fn open(
        settings: &Settings,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let (dir, now) = (super::dir(settings), clock.wall());
        let origin = origin(settings, &*disk);
        if matches!(origin, Origin::SelfSigned | Origin::StandIn) {
            let identity = Identity::self_signed(&*disk, &dir, &own_names(settings), now)?;
            if is_due(&identity, now) {
                renew(&identity, settings, &*disk, now)?;
            }
        }
        let found = read(settings, &*disk)?;
        let identity = found.identity()?;
        if identity.expires().is_some_and(|expires| expires <= now) {
            tracing::error!(
                origin = origin.name(),
                "the certificate has expired: whoever verifies it refuses it"
            );
        }
        let seen = Seen { content: found.content, origin: found.origin, trouble: None, suspicion: None };
        Ok(Self {
            settings: RwLock::new(Arc::new(settings.clone())),
            disk,
            clock,
            served: Served::new(identity),
            seen: Mutex::new(seen),
        })
    }

    /// What listeners serve with, now and after each change.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        self.served.server_config()
    }

    /// What is served.
    pub fn identity(&self) -> Arc<Identity> {
        self.served.identity()
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.seen().origin
    }

    /// Why what the files hold now is not served.
    pub fn trouble(&self) -> Option<String> {
        self.seen().trouble.clone()
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the files that these settings name are looked at.
    pub(crate) fn follow(&self, settings: Arc<Settings>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files, and serves what they hold from now on. Trouble is told once it is found twice, or at once when
    /// `insist` says so. Blocks for the disk.
    pub fn look(&self, insist: bool) -> Look {
        self.look_locked(&mut self.seen(), insist)
    }

    pub(super) fn look_locked(&self, seen: &mut Seen, insist: bool) -> Look {
        let now = self.clock.wall();
        let served = self.served.identity();
        if matches!(seen.origin, Origin::SelfSigned | Origin::StandIn) && is_due(&served, now) {
            match renew(&served, &self.settings(), &*self.disk, now) {
                Ok(()) => {}
                Err(error) => return self.keep(seen, error.to_string(), insist),
            }
        }
        let found = match read(&self.settings(), &*self.disk) {
            Ok(found) if found.content == seen.content => {
                if seen.trouble.take().is_some() {
                    tracing::info!("the certificate's files hold what is served again");
                }
                seen.suspicion = None;
                return Look::Same;
            }
            Ok(found) => found,
            Err(error) => return self.keep(seen, error.to_string(), insist),
        };
        match found.identity() {
            Ok(identity) => match usable(&identity, &served, now) {
                Ok(()) => {
                    let fingerprint = format!("sha256:{}", identity.fingerprint());
                    let expires = identity.expires().map(UnixMillis::rfc3339).unwrap_or_default();
                    let origin = found.origin.name();
                    self.served.swap(identity);
                    *seen =
                        Seen { content: found.content, origin: found.origin, trouble: None, suspicion: None };
                    tracing::info!(%fingerprint, %expires, origin, "serving another certificate from now on");
                    Look::Swapped
                }
                Err(reason) => {
                    let text = format!("{}: {reason}", found.certificate.0.display());
                    self.keep(seen, text, insist)
                }
            },
            Err(error) => self.keep(seen, error.to_string(), insist),
        }
    }

    fn keep(&self, seen: &mut Seen, reason: String, insist: bool) -> Look {
        let again = seen.suspicion.as_ref() == Some(&reason);
        if (insist || again) && seen.trouble.as_ref() != Some(&reason) {
            let until = self.identity().expires().map(UnixMillis::rfc3339).unwrap_or_default();
            tracing::error!(%reason, %until, "the new certificate cannot be used; the old one is served on");
            seen.trouble = Some(reason.clone());
        }
        seen.suspicion = Some(reason.clone());
        Look::Kept(reason)
    }
}

fn origin(settings: &Settings, disk: &dyn Disk) -> Origin {
    match &settings.tls {
        Tls::SelfSigned => Origin::SelfSigned,
        Tls::Files { .. } => Origin::Files,
        Tls::Imported => Origin::Imported,
        // When even that cannot be told, reading the file will say why.
        Tls::Acme if disk.exists(&issued_file(&super::dir(settings))).unwrap_or(true) => Origin::Acme,
        Tls::Acme => Origin::StandIn,
    }
}

fn read(settings: &Settings, disk: &dyn Disk) -> Result<Found, IdentityError> {
    let dir = super::dir(settings);
    let origin = origin(settings, disk);
    let (certificate, key) = match (&settings.tls, origin) {
        (Tls::Files { certificate, key }, _) => (certificate.clone(), key.clone()),
        (_, Origin::Imported) => (imported_file(&dir), imported_file(&dir)),
        (_, Origin::Acme) => (issued_file(&dir), issued_file(&dir)),
        _ => self_signed_files(&dir),
    };
    let content = |what: &'static str, path: &PathBuf| {
        let read = disk.read(path, FILE_BYTES_MAX).map(Zeroizing::new);
        read.map_err(|source| IdentityError::Unreadable { what, path: path.clone(), source })
    };
    let certificate_pem = content("certificate", &certificate)?;
    let key_pem = content("private key", &key)?;
    let both = [sha256(&certificate_pem).0, sha256(&key_pem).0].concat();
    Ok(Found {
        content: sha256(&both),
        origin,
        certificate: (certificate, certificate_pem),
        key: (key, key_pem),
    })
}

fn is_due(identity: &Identity, now: UnixMillis) -> bool {
    identity.expires().is_some_and(|expires| expires.since(now) <= SELF_SIGNED_RENEWAL)
}

fn renew(
    identity: &Identity,
    settings: &Settings,
    disk: &dyn Disk,
    now: UnixMillis,
) -> Result<(), IdentityError> {
    let renewed = identity.renewed_self_signed(disk, &super::dir(settings), now)?;
    let fingerprint = format!("sha256:{}", renewed.fingerprint());
    tracing::warn!(%fingerprint, "the self-signed certificate was renewed: archivers that pin it must be told");
    Ok(())
}

/// Whether it is better to serve `new` than to go on with `old`.
fn usable(new: &Identity, old: &Identity, now: UnixMillis) -> Result<(), String> {
    let Some(leaf) = new.leaf() else { return Err("the certificate cannot be read".into()) };
    let old_is_valid = old.leaf().is_some_and(|old| old.not_before <= now && now < old.not_after);
    match leaf {
        leaf if old_is_valid && leaf.not_after <= now => Err(format!("it expired on {}", leaf.not_after)),
        leaf if old_is_valid && now < leaf.not_before => {
            Err(format!("it is not valid before {}", leaf.not_before))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
