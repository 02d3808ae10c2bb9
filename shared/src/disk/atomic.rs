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
    use crate::disk::simulated::EntryOrder;
    use crate::disk::{Fault, FaultyDisk, RealDisk, SimulatedDisk, Step};

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

    /// Goal: whenever the power goes, a reader finds the old content or the new one whole; the new one once it returned.
    /// Method: cut behind every operation, in both orders of entries, with many seeds each.
    #[test]
    fn a_power_cut_leaves_the_old_content_or_the_new() {
        let path = Path::new("/data/settings");
        let (old, new) = (vec![1; 5000], vec![2; 3000]);
        for order in [EntryOrder::Journal, EntryOrder::Any] {
            let mut found_either_amid = [false; 2];
            for cut in 0.. {
                let disk = SimulatedDisk::new(order);
                disk.create_dir_all(Path::new("/data")).unwrap();
                write_atomic(&disk, path, &old).unwrap();
                disk.cut_power_after(cut);
                let written = write_atomic(&disk, path, &new).is_ok();
                for seed in 0..50 {
                    let found = disk.crash(seed).read(path, 9999).unwrap();
                    assert!(found == old || found == new, "{order:?}, cut after {cut}, seed {seed}");
                    assert!(!written || found == new, "{order:?}, cut after {cut}, seed {seed}");
                    found_either_amid[usize::from(found == new)] |= !written;
                }
                if written {
                    break;
                }
            }
            assert_eq!(found_either_amid, [true; 2], "the cuts were where it matters");
        }
    }
}
