//! A segment made ready before it is needed: full of zeros, and on disk.
//!
//! A sync after writing into space that is on disk already has no block to allocate and no length to record, and takes
//! about half as long. That is worth writing every octet twice only while messages come one by one; where many share
//! a sync, segments grow as they are written. It is made by a thread of its own under a name that no scan reads and
//! that is never used twice, and gets its number when it is used: zeros must never meet mail.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use postern_shared::disk::DiskFile;

use super::segment::Inner;
use super::{SpoolError, Step};

static PIECE: [u8; 64 * 1024] = [0; 64 * 1024];
/// Free space that must be left beyond the reserve, in segments: zeros must not crowd out mail.
const SPARE_SEGMENTS: u64 = 8;

/// The next segment's file, when it is ready.
#[derive(Debug)]
pub(super) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<Inner>,
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    ready: Option<Prepared>,
    made: u64,
    closed: bool,
}

/// A segment's file to be.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) file: Arc<dyn DiskFile>,
    /// Its name until it has a number.
    pub(super) path: PathBuf,
}

const NAME: &str = "prepared.";

impl Preparer {
    /// Removes what an earlier run left, and waits to be asked. `stepped`: without a thread, at once when asked.
    pub(super) fn start(inner: Arc<Inner>, stepped: bool) -> Result<Self, SpoolError> {
        let dir = inner.segments_dir.clone();
        for path in inner.disk.files(&dir).map_err(SpoolError::io(Step::Read, &dir))? {
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME)) {
                continue;
            }
            if let Err(error) = inner.disk.remove(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a prepared segment");
            }
        }
        let shared = Arc::new(Shared { inner, state: Mutex::default(), called: Condvar::new() });
        if stepped {
            return Ok(Self { shared, thread: None });
        }
        let works = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("spool-prepare".into())
            .spawn(move || works.run())
            .map_err(SpoolError::io(Step::Create, &dir))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for a segment to be made ready; does nothing while one is.
    pub(super) fn ask(&self) {
        if self.thread.is_none() {
            return self.shared.work();
        }
        self.shared.state().wanted = true;
        self.shared.called.notify_one();
    }

    pub(super) fn is_ready(&self) -> bool {
        self.shared.state().ready.is_some()
    }

    /// The file that is ready. Whoever takes it owns it.
    pub(super) fn take(&self) -> Option<Prepared> {
        self.shared.state().ready.take()
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.called.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.state();
            while !state.wanted && !state.closed {
                state = self.called.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            state.wanted = false;
            drop(state);
            self.work();
        }
    }

    /// Makes one ready, unless one is.
    fn work(&self) {
        let mut state = self.state();
        if state.ready.is_some() {
            return;
        }
        state.made += 1;
        let path = self.inner.segments_dir.join(format!("{NAME}{}", state.made));
        drop(state);
        match self.prepare(&path) {
            Ok(file) => self.state().ready = Some(Prepared { file, path }),
            // Only speed depends on it; whether the disk is in trouble, the next message tells.
            Err(error) => {
                tracing::debug!(%error, "no segment is prepared");
                // It may not be there, and what stays is removed at the next start.
                let _ = self.inner.disk.remove(&path);
            }
        }
    }

    fn prepare(&self, path: &Path) -> Result<Arc<dyn DiskFile>, SpoolError> {
        let inner = &self.inner;
        let bytes = inner.settings.segment_bytes;
        inner.check_space(SPARE_SEGMENTS * bytes)?;
        let file = inner.disk.create(path).map_err(SpoolError::io(Step::Create, path))?;
        let mut at = 0;
        while at < bytes {
            if self.state().closed {
                return Err(SpoolError::Closed);
            }
            let piece = &PIECE[..usize::try_from(bytes - at).unwrap_or(PIECE.len()).min(PIECE.len())];
            file.write_all_at(&[piece], at).map_err(SpoolError::io(Step::Write, path))?;
            at += piece.len() as u64;
        }
        file.sync_data().map_err(SpoolError::io(Step::Sync, path))?;
        Ok(file)
    }
}
