//! The files that events are written to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_shared::disk::{Disk, DiskFile};
use postern_shared::shutdown::Shutdown;

use super::{Event, activity};
use crate::app::Core;

const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const CLOSED_MAX: usize = 8;
/// What is read back at start.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The file being written, and where the closed ones are.
#[derive(Debug)]
pub struct ActivityFile {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
}

impl ActivityFile {
    /// Opens the file in `dir`; the last events in it.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> std::io::Result<(Self, Vec<Event>)> {
        disk.create_dir_all(dir)?;
        let path = path(dir);
        let file = if disk.exists(&path)? { disk.open(&path)? } else { disk.create(&path)? };
        let len = file.len()?;
        let from = len.saturating_sub(READ_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(len - from).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut bytes, from)?;
        // A line that is cut off at either end, or torn by a crash, is no event.
        let events =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        // What was torn must not run into the next line.
        let whole = memchr::memrchr(b'\n', &bytes).map_or(from, |at| from + at as u64 + 1);
        file.set_len(whole)?;
        Ok((Self { disk, dir: dir.to_path_buf(), file, len: whole }, events))
    }

    /// Puts events behind the others.
    pub fn write(&mut self, events: &[Event]) -> std::io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        if self.len > 0 && self.len + lines.len() as u64 > FILE_BYTES_MAX {
            self.begin_another(events[0].at.0)?;
        }
        self.file.write_all_at(&[&lines], self.len)?;
        self.len += lines.len() as u64;
        Ok(())
    }

    fn begin_another(&mut self, name: u64) -> std::io::Result<()> {
        self.disk.rename(&path(&self.dir), &self.dir.join(format!("activity.{name:016}.jsonl")))?;
        self.file = self.disk.create(&path(&self.dir))?;
        self.len = 0;
        let is_closed = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("activity.0"))
        };
        let closed: Vec<PathBuf> = self.disk.files(&self.dir)?.into_iter().filter(is_closed).collect();
        for old in &closed[..closed.len().saturating_sub(CLOSED_MAX)] {
            self.disk.remove(old)?;
        }
        Ok(())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("activity.jsonl")
}

/// Writes what happens, once a second, until the end. Trouble with it is told in the log, and stops nothing.
pub async fn keep(core: Arc<Core>, mut stopped: Shutdown) {
    let (disk, dir) = (Arc::clone(&core.disk), core.settings().data_dir.join("activity"));
    let opened = tokio::task::spawn_blocking(move || ActivityFile::open(disk, &dir)).await;
    let mut file = match opened {
        Ok(Ok((file, events))) => {
            activity().remember(events);
            file
        }
        Ok(Err(error)) => return tracing::error!(%error, "activity is kept in memory only"),
        Err(_) => return,
    };
    let mut failed = false;
    loop {
        let stopping = tokio::select! {
            () = tokio::time::sleep(WRITE_EVERY) => false,
            () = stopped.requested() => true,
        };
        let events = activity().unwritten(core.clock.wall());
        let written = tokio::task::spawn_blocking(move || {
            let result = file.write(&events);
            (file, result)
        });
        let Ok((again, result)) = written.await else { return };
        file = again;
        if let Err(error) = &result
            && !failed
        {
            tracing::warn!(%error, "activity cannot be written to its file");
        }
        failed = result.is_err();
        if stopping {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::clock::UnixMillis;
    use postern_shared::disk::{RealDisk, write_atomic};

    use super::super::{Kind, New, ring::Ring};
    use super::*;

    fn events(count: u32, result: &str) -> Vec<Event> {
        let mut ring = Ring::default();
        for n in 0..count {
            let now = UnixMillis(1_800_000_000_000 + u64::from(n) * 1000);
            ring.push(now, New::of(Kind::Capture, "ESMTPS", result));
        }
        ring.take_unwritten(UnixMillis(0))
    }

    fn open(dir: &Path) -> (ActivityFile, Vec<Event>) {
        ActivityFile::open(Arc::new(RealDisk), dir).unwrap()
    }

    #[test]
    fn events_come_back_after_a_restart_and_a_torn_line_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let three = events(3, "stored");
        open(dir.path()).0.write(&three).unwrap();
        let mut bytes = RealDisk.read(&path(dir.path()), 10_000).unwrap();
        bytes.extend_from_slice(b"{\"sequence\":4,\"at");
        write_atomic(&RealDisk, &path(dir.path()), &bytes).unwrap();
        let (mut file, found) = open(dir.path());
        assert_eq!(found, three);
        file.write(&three[..1]).unwrap();
        assert_eq!(open(dir.path()).1.len(), 4);
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(dir.path()).0;
        let mut long = events(1, &"x".repeat(9 * 1024 * 1024));
        for n in 0..12 {
            long[0].at = UnixMillis(1_800_000_000_000 + n);
            file.write(&long).unwrap();
        }
        let files = RealDisk.files(dir.path()).unwrap();
        assert_eq!(files.len(), CLOSED_MAX + 1, "{files:?}");
    }
}
