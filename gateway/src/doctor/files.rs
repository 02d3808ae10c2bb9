//! The data directory: who may read it, how much room is left, how fast a sync is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_shared::clock::Clock;
use postern_shared::disk::{Access, Disk, access, write_probe};

use super::Finding;
use crate::spool;

const FREE_BYTES_WARN: u64 = 1024 * 1024 * 1024;
/// Files looked at in each directory; where one is wrong, most are.
const FILES_MAX: usize = 1000;
const PROBE_ROUNDS: u32 = 20;
/// Slower than a hard disk that has nothing else to do.
const SYNC_WARN: Duration = Duration::from_millis(50);

pub(super) fn check(dir: &Path, disk: &dyn Disk, clock: &dyn Clock) -> Vec<Finding> {
    vec![permissions(dir, disk), space(dir, disk), speed(dir, disk, clock)]
}

fn permissions(dir: &Path, disk: &dyn Disk) -> Finding {
    const CHECK: &str = "permissions";
    // What root makes belongs to whom the directory does, so root may run commands; everybody else must be the owner.
    let me = rustix::process::geteuid();
    let whose = access(dir).ok().filter(|_| me.is_root()).map_or(me.as_raw(), |dir| dir.owner);
    let (mut open, mut foreign, mut seen) = (Vec::new(), Vec::new(), 0);
    for path in paths(dir, disk) {
        // What is gone again, or out of reach, is for the other checks to tell.
        let Ok(Access { owner, mode }) = access(&path) else { continue };
        seen += 1;
        if mode & 0o077 != 0 {
            open.push(format!("{} has mode {:04o}", path.display(), mode & 0o7777));
        }
        if owner != whose {
            foreign.push(path);
        }
    }
    let dir = dir.display();
    if let Some(first) = open.first() {
        let found = format!("{first}, and {} more are open to others", open.len() - 1);
        return Finding::fail(CHECK, found, format!("chmod -R go= {dir}"));
    }
    if let Some(first) = foreign.first() {
        let found = format!("{} and {} more belong to another user", first.display(), foreign.len() - 1);
        let advice = if me.is_root() {
            format!("chown -R --reference={dir} {dir}, or the daemon cannot open them")
        } else {
            "run postern-gateway as root or as the user that the daemon runs as".to_owned()
        };
        return Finding::warn(CHECK, found, advice);
    }
    Finding::ok(CHECK, format!("{seen} files and directories in {dir} are their owner's alone"))
}

/// The data directory and what lies in it, down to the spool's files.
fn paths(dir: &Path, disk: &dyn Disk) -> Vec<PathBuf> {
    let (mut all, mut left) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(dir) = left.pop() {
        left.extend(disk.dirs(&dir).unwrap_or_default());
        all.extend(disk.files(&dir).unwrap_or_default().into_iter().take(FILES_MAX));
        all.push(dir);
    }
    all
}

fn space(dir: &Path, disk: &dyn Disk) -> Finding {
    const CHECK: &str = "disk space";
    let reserve = spool::Settings::default().reserve_bytes;
    let free = match disk.free_bytes(dir) {
        Ok(free) => free,
        Err(error) => return Finding::fail(CHECK, format!("{}: {error}", dir.display()), "mount it again"),
    };
    let found = format!("{} MiB free in {}", free >> 20, dir.display());
    if free < reserve {
        let advice = "senders are told to come again (452): let archivers pull, or give it a larger disk";
        Finding::fail(CHECK, found, advice)
    } else if free < FREE_BYTES_WARN {
        let advice =
            "let archivers pull what waits, or give it a larger disk, before senders are told to come again";
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::ok(CHECK, found)
    }
}

fn speed(dir: &Path, disk: &dyn Disk, clock: &dyn Clock) -> Finding {
    const CHECK: &str = "disk writes";
    let mut took = match write_probe(disk, clock, dir, PROBE_ROUNDS) {
        Ok(took) => took,
        Err(error) => {
            let advice = "senders are told to come again: see dmesg; is it mounted read-only, full, or another user's?";
            return Finding::fail(CHECK, format!("{} cannot be written to: {error}", dir.display()), advice);
        }
    };
    took.sort();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    let found =
        format!("a write with sync takes {:.1} ms (median of {PROBE_ROUNDS})", median.as_secs_f64() * 1000.0);
    if median > SYNC_WARN {
        return Finding::warn(
            CHECK,
            found,
            "every 250 waits for one: see what else uses this disk, or take a faster one",
        );
    }
    Finding::ok(CHECK, found)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use postern_shared::clock::SystemClock;
    use postern_shared::disk::{Fault, FaultyDisk, RealDisk, Step, write_atomic};

    use super::super::Verdict;
    use super::*;

    fn verdicts(disk: &dyn Disk) -> Vec<Verdict> {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), disk, &SystemClock::new()).iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_full_or_failing_disk_is_told() {
        let faulty = |fault| FaultyDisk::new(Arc::new(RealDisk), fault);
        assert_eq!(verdicts(&faulty(Fault::nearly_full(1 << 20)))[1], Verdict::Fail);
        assert_eq!(verdicts(&faulty(Fault::nearly_full(500 << 20)))[1], Verdict::Warn);
        assert_eq!(verdicts(&faulty(Fault::nearly_full(2 << 30)))[1], Verdict::Ok);
        let read_only = Fault::from(Step::Create, 0, io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(verdicts(&faulty(read_only))[2], Verdict::Fail);
    }

    #[test]
    fn a_file_that_others_can_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let path = data.join("tls/key.pem");
        RealDisk.create_dir_all(&data.join("tls")).unwrap();
        write_atomic(&RealDisk, &path, b"secret").unwrap();
        assert_eq!(permissions(&data, &RealDisk).verdict, Verdict::Ok);
        rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
        let finding = permissions(&data, &RealDisk);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.found.contains("key.pem has mode 0640"), "{}", finding.found);
        assert!(finding.advice.unwrap().starts_with("chmod -R go= "));
    }
}
