//! A real disk that holds up whoever writes below `gated`, and refuses results when it is told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use postern_shared::disk::{Disk, DiskFile, DiskLock, RealDisk};
use tokio::sync::Notify;

/// A test that failed must not hang.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default)]
pub(crate) struct GatedDisk(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    opened: Condvar,
    reached: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    refuses_results: bool,
}

impl GatedDisk {
    /// Resolves when somebody stands at the gate.
    pub(crate) async fn reached(&self) {
        self.0.reached.notified().await;
    }

    pub(crate) fn open(&self) {
        self.0.state.lock().unwrap().is_open = true;
        self.0.opened.notify_all();
    }

    pub(crate) fn close(&self) {
        self.0.state.lock().unwrap().is_open = false;
    }

    pub(crate) fn refuse_results(&self, refuses: bool) {
        self.0.state.lock().unwrap().refuses_results = refuses;
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let passes = |name: &str| path.components().any(|part| part.as_os_str() == name);
        let mut state = self.0.state.lock().unwrap();
        if passes("results") && state.refuses_results {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if passes("gated") && !state.is_open {
            self.0.reached.notify_one();
            while !state.is_open {
                let (waited, late) = self.0.opened.wait_timeout(state, PATIENCE).unwrap();
                if late.timed_out() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                state = waited;
            }
        }
        drop(state);
        RealDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        RealDisk.open_read(path)
    }

    fn files(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.files(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.dirs(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }

    fn lock(&self, path: &Path, note: &str) -> io::Result<Option<DiskLock>> {
        RealDisk.lock(path, note)
    }
}
