//! Replacing a small file so that a crash leaves the old or the new content.

use std::io;
use std::path::Path;

use super::Disk;

/// Writes `bytes` to `path`: a temporary file beside it, synced, renamed over it, directory synced.
///
/// When it fails, the old content stands (unless the last step, the directory's sync, failed: then either may be
/// found after a power cut) and the temporary file is removed as far as the disk allows.
pub fn write_atomic(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a path without a directory"))?;
    let mut name =
        path.file_name().ok_or_else(|| io::Error::other("a path without a file name"))?.to_os_string();
    name.push(format!(".{}.tmp", hex::encode(crate::crypto::random::<6>())));
    let temporary = dir.join(name);

    let written = disk.create(&temporary).and_then(|file| {
        file.write_all_at(&[bytes], 0)?;
        file.sync_data()?;
        disk.rename(&temporary, path)
    });
    if let Err(error) = written {
        // The first error is the one worth telling; a temporary file left behind is ignored by every reader.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Fault, FaultyDisk, RealDisk, Step};

    /// Goal: whichever step fails, a reader finds the old content whole.
    #[test]
    fn every_failing_step_leaves_the_old_content() {
        for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("settings");
            write_atomic(&RealDisk, &path, b"old").unwrap();
            let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(step, 0, io::ErrorKind::StorageFull));
            let error = write_atomic(&disk, &path, b"new").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{step:?}");
            assert_eq!(RealDisk.read(&path, 100).unwrap(), b"old", "{step:?}");
            assert_eq!(RealDisk.files(dir.path()).unwrap(), [path], "{step:?}: nothing is left behind");
        }
    }
}
