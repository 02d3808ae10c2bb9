//! The certificate that all listeners show: where it comes from, when it is looked at again, and what is told about it.
//!
//! ```text
//! data_dir/tls/self-signed.crt.pem, self-signed.key.pem    made at first start, or by `certificate self-signed`
//!              imported.pem                                stored by `certificate import`: key and chain in one file
//!              acme.pem                                    what the authority issued: key and chain in one file
//!              acme-….json                                 see the room `acme`
//! ```
//!
//! Everything there is written atomically and for its owner alone (0600).
//!
//! Promises
//! - Files that change are taken within seconds, whatever way they were replaced: their content is compared, not their
//!   dates. No session is cut by that; the next handshake at every listener shows the new certificate.
//! - What cannot be used (half written, without its key, expired) replaces nothing: the old certificate is served on, and
//!   log, `certificate show` and `doctor` say so.
//! - A self-signed certificate that archivers pin is never replaced before its time, unless an operator says so.
//!
//! Not here: TLS itself (`shared::tls`), asking an authority (`acme`).

mod change;
mod keeper;
mod shown;
mod tend;

pub(crate) use change::next_step;
pub use change::{ChangeError, import, self_signed};
pub use keeper::{Keeper, Look, Origin};
pub use tend::Tending;

use std::path::{Path, PathBuf};

use postern_shared::disk::{Disk, write_atomic};
use postern_shared::tls::server::Identity;

use crate::settings::Settings;

/// Where certificates are stored.
pub(crate) fn dir(settings: &Settings) -> PathBuf {
    settings.data_dir.join("tls")
}

/// What `certificate import` stores.
fn imported_file(dir: &Path) -> PathBuf {
    dir.join("imported.pem")
}

/// What the authority issued.
pub(crate) fn issued_file(dir: &Path) -> PathBuf {
    dir.join("acme.pem")
}

/// The names of a self-signed certificate that nobody named.
fn own_names(settings: &Settings) -> Vec<String> {
    let mut names = vec![settings.host_name.clone(), settings.email_domain.clone()];
    names.dedup();
    names
}

/// Stores what the authority issued.
pub(crate) fn store_issued(
    settings: &Settings,
    disk: &dyn Disk,
    identity: &Identity,
) -> Result<(), ChangeError> {
    let dir = dir(settings);
    let path = issued_file(&dir);
    let stored =
        disk.create_dir_all(&dir).and_then(|()| write_atomic(disk, &path, identity.bundle().as_bytes()));
    stored.map_err(|source| ChangeError::Unwritable { path, source })
}
