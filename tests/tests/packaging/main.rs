//! What operators install: the Debian package on a machine of its own, its systemd unit, the container image's steps.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod archiver;
mod container;
mod debian;
mod unit;

use std::path::{Path, PathBuf};

/// A file of the checkout.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
