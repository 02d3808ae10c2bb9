//! Trying whether a directory can be written to, and how long a sync takes there.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::Disk;
use crate::clock::Clock;

/// Writes and syncs 4 KiB `rounds` times in a file of its own in `dir`, which it removes again; how long each took.
pub fn write_probe(disk: &dyn Disk, clock: &dyn Clock, dir: &Path, rounds: u32) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!("probe-{}.tmp", hex::encode(crate::crypto::random::<6>())));
    let file = disk.create(&path)?;
    let mut took = Vec::new();
    let mut tried = Ok(());
    for round in 0..rounds {
        let begun = clock.moment();
        tried = file.write_all_at(&[&[0x5a; 4096]], u64::from(round) * 4096).and_then(|()| file.sync_data());
        if tried.is_err() {
            break;
        }
        took.push(clock.moment().since(begun));
    }
    let removed = disk.remove(&path);
    // The first error is the one worth telling.
    tried.and(removed)?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::disk::{Fault, FaultyDisk, RealDisk, Step};

    #[test]
    fn it_leaves_nothing_behind_and_tells_what_fails() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write_probe(&RealDisk, &SystemClock::new(), dir.path(), 3).unwrap().len(), 3);
        let fault = Fault::nth(Step::Sync, 1, io::ErrorKind::StorageFull);
        let disk = FaultyDisk::new(Arc::new(RealDisk), fault);
        let error = write_probe(&disk, &SystemClock::new(), dir.path(), 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(RealDisk.files(dir.path()).unwrap().is_empty());
    }
}
