//! Certificates that operators bring or ask for.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::disk::write_atomic;
use postern_shared::tls::server::{Bundle, Identity, IdentityError, self_signed_files};
use serde_json::Value;

use super::shown::described;
use super::{Keeper, Look, imported_file, own_names};
use crate::app::Core;
use crate::settings::{Tls, checked_domain};

/// The same as under `[acme]`.
const NAMES_MAX: usize = 100;

/// Why a certificate was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It is for something that is no name.
    #[error("a certificate is for host names and addresses: {0}")]
    Name(String),
    /// It is for too many.
    #[error("a certificate is for {NAMES_MAX} names at most")]
    Names,
    /// It cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is over.
    #[error("the certificate expired on {0}; get a new one")]
    Expired(UnixMillis),
    /// It cannot be stored.
    #[error("cannot store the certificate in {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One is there, and pinned perhaps.
    #[error(
        "there is a self-signed certificate until {0}, which archivers may have pinned; --force replaces it and its key"
    )]
    Exists(UnixMillis),
    /// It is stored, and the daemon does not take it.
    #[error("it is stored, but not served: {0}")]
    NotServed(String),
}

/// Stores a certificate with its key, and serves it when the mode is `imported`. The chain is put in order.
pub fn import(core: &Core, bundle: &Bundle) -> Result<Value, ChangeError> {
    let given = Path::new("the imported file");
    let identity = Identity::from_pem(bundle.as_bytes(), given, bundle.as_bytes(), given)?.in_order();
    let now = core.clock.wall();
    if let Some(expires) = identity.expires().filter(|expires| *expires <= now) {
        return Err(ChangeError::Expired(expires));
    }
    let dir = super::dir(&core.settings());
    let path = imported_file(&dir);
    let stored = core
        .disk
        .create_dir_all(&dir)
        .and_then(|()| write_atomic(&*core.disk, &path, identity.bundle().as_bytes()));
    stored.map_err(|source| ChangeError::Unwritable { path, source })?;
    tracing::info!(fingerprint = %format!("sha256:{}", identity.fingerprint()), "a certificate was imported");
    changed(core, &identity, &Tls::Imported, core.keeper.get().map(|keeper| keeper.look(true)))
}

/// Makes a self-signed certificate for `names` (its own when there are none), and serves it when the mode is
/// `self-signed`.
pub fn self_signed(core: &Core, names: &[String], force: bool) -> Result<Value, ChangeError> {
    let (dir, now) = (super::dir(&core.settings()), core.clock.wall());
    let names = if names.is_empty() { own_names(&core.settings()) } else { checked(names)? };
    // The keeper must not look while the files are replaced.
    let keeper = core.keeper.get();
    let mut seen = keeper.map(|keeper| keeper.seen());
    let (certificate, key) = self_signed_files(&dir);
    if !force
        && let Ok(there) = Identity::from_pem_files(&*core.disk, &certificate, &key)
        && let Some(expires) = there.expires().filter(|expires| now < *expires)
    {
        return Err(ChangeError::Exists(expires));
    }
    let identity = Identity::new_self_signed(&*core.disk, &dir, &names, now)?;
    let look = keeper.zip(seen.as_mut()).map(|(keeper, seen)| keeper.look_locked(seen, true));
    drop(seen);
    changed(core, &identity, &Tls::SelfSigned, look)
}

/// Names of hosts, with `*.` perhaps, and addresses.
fn checked(names: &[String]) -> Result<Vec<String>, ChangeError> {
    if names.len() > NAMES_MAX {
        return Err(ChangeError::Names);
    }
    let one = |name: &String| {
        if name.parse::<IpAddr>().is_ok() {
            return Ok(name.clone());
        }
        let host = name.strip_prefix("*.").unwrap_or(name);
        let checked = checked_domain("name", host).map_err(|(_, reason)| ChangeError::Name(reason))?;
        Ok(if host.len() < name.len() { format!("*.{checked}") } else { checked })
    };
    names.iter().map(one).collect()
}

/// What came of it, and what is left to do.
fn changed(core: &Core, identity: &Identity, mode: &Tls, look: Option<Look>) -> Result<Value, ChangeError> {
    let mut value = described(identity, &core.settings(), &*core.disk, core.clock.wall());
    let is_mode = core.settings().tls == *mode;
    if is_mode && let Some(Look::Kept(reason)) = look {
        return Err(ChangeError::NotServed(reason));
    }
    value["served"] = (is_mode && core.keeper.get().is_some()).into();
    value["next"] = next_step(core, mode).into();
    Ok(value)
}

/// How the operator makes the gateway serve what is stored.
pub(crate) fn next_step(core: &Core, mode: &Tls) -> Option<String> {
    (core.settings().tls != *mode).then(|| {
        let unset = match core.settings().tls {
            Tls::Files { .. } => ", without certificate and key",
            _ => "",
        };
        format!(
            "it is stored and not served yet: in the configuration, under [tls], set mode = \"{}\"{unset}; then restart \
             the gateway",
            mode.mode()
        )
    })
}

impl Keeper {
    /// Stores what the authority issued, and serves it when the mode is `acme`. By a clock that lags behind the
    /// authority's its time has not come yet: then a later look serves it, and another one is not asked for.
    pub fn store_issued(&self, identity: &Identity) -> Result<(), ChangeError> {
        super::store_issued(&self.settings(), &*self.disk, identity)?;
        self.look(true);
        Ok(())
    }
}
