//! What is kept between attempts and restarts. What cannot be read is told and done without: an account can be opened
//! again, an order made again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use instant_acme::AccountCredentials;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::{Disk, write_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::schedule::State;

const FILE_BYTES_MAX: u64 = 256 * 1024;

/// An order that is under way.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(super) struct UnderWay {
    pub(super) directory: String,
    pub(super) names: Vec<String>,
    pub(super) url: String,
    /// The new certificate's private key, PEM.
    pub(super) key: String,
}

/// The files; each call blocks for the disk.
#[derive(Debug, Clone)]
pub(super) struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Store {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// Does `work` where blocking harms nobody.
    pub(super) async fn do_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> T + Send + 'static,
    ) -> io::Result<T> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(store)).await.map_err(io::Error::other)
    }

    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        self.read(&self.account_file(directory))
    }

    pub(super) fn put_account(&self, directory: &str, account: &AccountCredentials) -> io::Result<()> {
        self.write(&self.account_file(directory), account)
    }

    pub(super) fn forget_account(&self, directory: &str) -> io::Result<()> {
        self.remove(&self.account_file(directory))
    }

    pub(super) fn order(&self) -> Option<UnderWay> {
        self.read(&self.dir.join("acme-order.json"))
    }

    pub(super) fn put_order(&self, order: &UnderWay) -> io::Result<()> {
        self.write(&self.dir.join("acme-order.json"), order)
    }

    pub(super) fn forget_order(&self) -> io::Result<()> {
        self.remove(&self.dir.join("acme-order.json"))
    }

    pub(super) fn state(&self) -> State {
        self.read(&self.dir.join("acme-state.json")).unwrap_or_default()
    }

    pub(super) fn put_state(&self, state: &State) -> io::Result<()> {
        self.write(&self.dir.join("acme-state.json"), state)
    }

    /// One for each directory: keys are not shared between authorities.
    fn account_file(&self, directory: &str) -> PathBuf {
        let name = hex::encode(&sha256(directory.as_bytes()).0[..8]);
        self.dir.join(format!("acme-account-{name}.json"))
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let bytes = match self.disk.read(path, FILE_BYTES_MAX) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read this file; going on without it");
                return None;
            }
        };
        let parsed = serde_json::from_slice(&bytes);
        if let Err(error) = &parsed {
            // The column alone: the content may be a key.
            let (line, column) = (error.line(), error.column());
            tracing::warn!(path = %path.display(), line, column, "this file is damaged; going on without it");
        }
        parsed.ok()
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        self.disk.create_dir_all(&self.dir)?;
        let text = Zeroizing::new(serde_json::to_vec(value)?);
        write_atomic(&*self.disk, path, &text)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.disk.sync_dir(&self.dir),
        }
    }
}
