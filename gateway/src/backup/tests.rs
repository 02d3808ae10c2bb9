//! Backups made, damaged, interrupted and restored, on a real file system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::{Clock, SystemClock, UnixMillis};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::crypto::seal::Sealed;
use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step, access, write_atomic};
use postern_shared::id::{MailboxId, MessageId};
use postern_shared::shutdown::switch;
use postern_shared::telemetry::Progress;

use super::*;
use crate::mailbox::Registry;
use crate::spool::{self, NewBody, NewRecord, SegmentSpool, Spool};

const DOMAIN: &str = "gateway.example.com";

/// A data directory with a mailbox, some segments of mail and a large file; and a directory for backups.
struct Bench {
    dir: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    mailbox: MailboxId,
    spool: SegmentSpool,
    messages: u8,
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };
        let registry =
            Registry::open(Arc::clone(&disk), clock(), &data.join("mailboxes"), DOMAIN, cost).unwrap();
        let (mailbox, _) = registry.create("journal", "", None).unwrap();
        let settings =
            spool::Settings { segment_bytes: 4096, reserve_bytes: 0, ..spool::Settings::default() };
        let spool = SegmentSpool::open(Arc::clone(&disk), clock(), &data.join("spool"), settings).unwrap();
        let mut bench = Self { dir, disk, mailbox: mailbox.id, spool, messages: 0 };
        (0..12).for_each(|_| bench.store());
        RealDisk.create_dir_all(&data.join("tls")).unwrap();
        write_atomic(&RealDisk, &data.join("tls/self-signed.key.pem"), b"a key").unwrap();
        write_atomic(&RealDisk, &data.join("postern-gateway.lock"), b"a note").unwrap();
        write_atomic(&RealDisk, &data.join("half.tmp"), b"half").unwrap();
        write_atomic(&RealDisk, &bench.path("gateway.toml"), b"a configuration").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A kilobyte, so that four fill a segment.
    fn store(&mut self) {
        self.messages += 1;
        let pieces = vec![vec![self.messages; 1000]];
        let record = NewRecord {
            mailbox: self.mailbox,
            message: MessageId::from_bytes([self.messages; 16]),
            received: UnixMillis(1_700_000_000_000),
            sealed: Sealed { served_bytes: 900, trailer_bytes: 22 },
            body: NewBody::inline(pieces),
            prepared: false,
        };
        self.spool.append(vec![record]).wait().unwrap();
    }

    fn make_on(&self, disk: Arc<dyn Disk>, place: &str) -> Result<Made, BackupError> {
        let plan = Plan {
            disk,
            clock: clock(),
            data_dir: &self.path("data"),
            email_domain: DOMAIN,
            configuration: Some(&self.path("gateway.toml")),
            to: &self.path(place),
        };
        worked(|work| make(&plan, work))
    }

    fn make(&self, place: &str) -> Result<Made, BackupError> {
        self.make_on(Arc::clone(&self.disk), place)
    }

    fn check(&self, place: &str) -> Result<Checked, BackupError> {
        worked(|work| check(&self.disk, &clock(), &self.path(place), work))
    }

    fn restore(&self, place: &str, to: &str) -> Result<Restored, BackupError> {
        worked(|work| restore((&self.disk, &clock()), &self.path(place), &self.path(to), work))
    }

    fn alter(&self, file: &str, at: u64) {
        let file = RealDisk.open(&self.path(file)).unwrap();
        let mut octet = [0];
        file.read_exact_at(&mut octet, at).unwrap();
        file.write_all_at(&[&[octet[0] ^ 1]], at).unwrap();
    }
}

fn worked<T>(work: impl FnOnce(&mut Work<'_>) -> T) -> T {
    let (_switch, stop) = switch();
    work(&mut Work::new(&stop, &mut |_: &Progress| ()))
}

/// Every file below, by its path and content.
fn all(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut left = vec![dir.to_path_buf()];
    let mut found = Vec::new();
    while let Some(at) = left.pop() {
        left.extend(RealDisk.dirs(&at).unwrap());
        for path in RealDisk.files(&at).unwrap() {
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            found.push((name, RealDisk.read(&path, u64::MAX).unwrap()));
        }
    }
    found.sort();
    found
}

/// Goal: what comes back is what was there, owner's alone; a directory and an archive alike.
#[test]
fn what_is_restored_is_what_was_there() {
    for place in ["backup", "backup.tar"] {
        let bench = Bench::new();
        let made = bench.make(place).unwrap();
        assert_eq!((made.contents.messages, made.contents.mailboxes), (12, 1), "{place}");
        assert_eq!((made.contents.damage.as_slice(), made.left_out.as_slice()), (&[][..], &[][..]));
        assert_eq!(bench.check(place).unwrap().contents, made.contents);
        assert_eq!(bench.restore(place, "restored").unwrap().contents, made.contents);
        let mut before = all(&bench.path("data"));
        before.retain(|(name, _)| !name.ends_with(".tmp") && !name.contains("/prepared."));
        let restored = all(&bench.path("restored"));
        assert_eq!(restored.len(), before.len(), "{place}");
        for ((name, now), (was_name, was)) in restored.iter().zip(&before) {
            let is_lock = name == "postern-gateway.lock";
            assert!(name == was_name && (is_lock || was.starts_with(now)), "{place}: {name}");
            assert_eq!(access(&bench.path("restored").join(name)).unwrap().mode & 0o7777, 0o600, "{name}");
        }
        assert_eq!(access(&bench.path("restored/spool/segments")).unwrap().mode & 0o7777, 0o700);
    }
}

/// Goal: every file comes back where it was, whatever its directories are called.
#[test]
fn a_directory_named_as_the_backup_names_its_own_comes_back() {
    let bench = Bench::new();
    for name in ["data/data/x", "data/data/data/x", "data/x"] {
        RealDisk.create_dir_all(bench.path(name).parent().unwrap()).unwrap();
        write_atomic(&RealDisk, &bench.path(name), name.as_bytes()).unwrap();
    }
    bench.make("backup").unwrap();
    bench.restore("backup", "restored").unwrap();
    for name in ["data/x", "data/data/x", "x"] {
        let content = RealDisk.read(&bench.path("restored").join(name), 100).unwrap();
        assert_eq!(content, format!("data/{name}").into_bytes());
    }
}

/// Goal: closed segments are copied once, and what changed is copied again.
#[test]
fn a_second_backup_copies_what_is_new() {
    let mut bench = Bench::new();
    let first = bench.make("backup").unwrap();
    assert_eq!(first.copied_bytes, first.bytes);
    bench.store();
    write_atomic(&RealDisk, &bench.path("data/tls/self-signed.key.pem"), b"another").unwrap();
    let second = bench.make("backup").unwrap();
    assert!(second.copied_bytes < first.copied_bytes / 2, "{second:?}");
    assert_eq!(second.contents.messages, 13);
    bench.check("backup").unwrap();
    let key = RealDisk.read(&bench.path("backup/current/data/tls/self-signed.key.pem"), 99).unwrap();
    assert_eq!(key, b"another");
    assert_eq!(RealDisk.dirs(&bench.path("backup")).unwrap(), [bench.path("backup/current")]);
    // A file that went bad in the backup and was removed there is copied anew.
    let first_segment = RealDisk.files(&bench.path("backup/current/data/spool/segments")).unwrap().remove(0);
    RealDisk.remove(&first_segment).unwrap();
    assert!(bench.check("backup").unwrap_err().to_string().contains("is missing"));
    bench.make("backup").unwrap();
    bench.check("backup").unwrap();
}

/// Goal: whichever file of a backup is altered, cut or lost, checking names it, and restoring refuses and leaves nothing.
#[test]
fn a_damaged_backup_is_named_and_not_restored() {
    let bench = Bench::new();
    bench.make("whole").unwrap();
    let files: Vec<String> = all(&bench.path("whole/current")).into_iter().map(|(name, _)| name).collect();
    assert!(files.len() > 6, "{files:?}");
    for file in &files {
        let from = bench.path("whole/current").join(file);
        let bytes = RealDisk.read(&from, u64::MAX).unwrap();
        let altered = {
            let mut altered = bytes.clone();
            altered[bytes.len() / 2] ^= 1;
            altered
        };
        for (how, content) in [("altered", altered), ("cut", bytes[..bytes.len() - 1].to_vec())] {
            write_atomic(&RealDisk, &from, &content).unwrap();
            let said = bench.check("whole").unwrap_err().to_string();
            assert!(said.contains(file.as_str()), "{how} {file}: {said}");
            let is_data = file.starts_with("data/") || file == "manifest.json";
            let restored = bench.restore("whole", "restored");
            assert_eq!(restored.is_err(), is_data, "{how} {file}");
            let left =
                all(&bench.path("restored")).into_iter().filter(|(name, _)| name != "postern-gateway.lock");
            assert!(!is_data || left.count() == 0, "{how} {file}");
            let _ = RealDisk.remove_dir_all(&bench.path("restored"));
        }
        write_atomic(&RealDisk, &from, &bytes).unwrap();
    }
    bench.check("whole").unwrap();

    bench.make("whole.tar").unwrap();
    let content = RealDisk.read(&bench.path("whole.tar"), u64::MAX).unwrap();
    let at = content.windows(5).position(|octets| octets == [3; 5]).unwrap() as u64;
    bench.alter("whole.tar", at + 100);
    let said = bench.check("whole.tar").unwrap_err().to_string();
    assert!(said.contains("data/spool/segments/0000000000000001.seg was altered"), "{said}");
    assert!(matches!(bench.restore("whole.tar", "restored"), Err(BackupError::Damaged { .. })));
}

/// Goal: whichever operation fails, the place still has the earlier backup, whole, and the next one is made.
#[test]
fn whatever_fails_the_earlier_backup_stands() {
    for place in ["backup", "backup.tar"] {
        let mut bench = Bench::new();
        bench.make(place).unwrap();
        bench.store();
        for step in
            [Step::Create, Step::Open, Step::Read, Step::Write, Step::Sync, Step::SyncDir, Step::Rename]
        {
            for nth in (0..).step_by(3) {
                let fault = Fault::nth(step, nth, io::ErrorKind::StorageFull);
                let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault));
                let made = bench.make_on(disk, place);
                let checked = bench.check(place);
                let messages = checked.map(|checked| checked.contents.messages);
                assert!(matches!(messages, Ok(12 | 13)), "{place}, {step:?} {nth}: {messages:?}, {made:?}");
                match made {
                    // Behind the swap, only clearing away can fail, and that is told.
                    Err(error) => assert!(error.to_string().contains("injected fault"), "{error}"),
                    Ok(_) => break,
                }
            }
        }
        assert_eq!(bench.make(place).unwrap().contents.messages, 13);
    }
}

/// Goal: what is cancelled is gone, and what was there stays.
#[test]
fn a_cancelled_backup_or_restore_leaves_nothing() {
    let bench = Bench::new();
    let plan_to = |place: &str, after: u32| {
        let (switch, stop) = switch();
        let mut told = 0;
        let (data, to) = (bench.path("data"), bench.path(place));
        let disk = Arc::clone(&bench.disk);
        let plan = Plan {
            disk,
            clock: clock(),
            data_dir: &data,
            email_domain: DOMAIN,
            configuration: None,
            to: &to,
        };
        let mut tell = |_: &Progress| {
            told += 1;
            if told == after {
                switch.turn();
            }
        };
        make(&plan, &mut Work::new(&stop, &mut tell))
    };
    for after in [1, 3, 7] {
        for place in ["backup", "backup.tar"] {
            assert!(matches!(plan_to(place, after), Err(BackupError::Cancelled)));
            assert!(matches!(bench.check(place), Err(BackupError::None { .. })));
        }
    }
    bench.make("backup").unwrap();
    assert!(matches!(plan_to("backup", 4), Err(BackupError::Cancelled)));
    bench.check("backup").unwrap();
    let (switch, stop) = switch();
    switch.turn();
    let to = bench.path("restored");
    let mut tell = |_: &Progress| ();
    let mut work = Work::new(&stop, &mut tell);
    let cancelled = restore((&bench.disk, &clock()), &bench.path("backup"), &to, &mut work);
    assert!(matches!(cancelled, Err(BackupError::Cancelled)));
    assert_eq!(all(&to).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["postern-gateway.lock"]);
    bench.restore("backup", "restored").unwrap();
}

/// Goal: a backup of damaged data takes nothing away: the last one without damage is kept until there is another.
#[test]
fn damaged_data_replace_no_good_backup() {
    let mut bench = Bench::new();
    bench.make("backup").unwrap();
    let segment = "data/spool/segments/0000000000000002.seg";
    let whole = RealDisk.read(&bench.path(segment), u64::MAX).unwrap();
    bench.alter(segment, 40);
    for _ in 0..2 {
        bench.store();
        let made = bench.make("backup").unwrap();
        assert_eq!(made.contents.damage.len(), 1, "{:?}", made.contents);
        assert!(made.contents.damage[0].starts_with("spool/segments/0000000000000002.seg at byte 32"));
        assert_eq!(made.kept, Some(bench.path("backup/previous")));
        assert_eq!(bench.check("backup/previous").unwrap().contents.damage, [""; 0]);
    }
    let restored = bench.restore("backup/previous", "restored").unwrap();
    assert_eq!(restored.contents.messages, 12);
    write_atomic(&RealDisk, &bench.path(segment), &whole).unwrap();
    assert_eq!(bench.make("backup").unwrap().kept, None);
    assert_eq!(RealDisk.dirs(&bench.path("backup")).unwrap(), [bench.path("backup/current")]);
}

/// Goal: nothing of anybody else's is touched, and who asks for nonsense is told what to do.
#[test]
fn what_is_not_ours_is_left_alone() {
    let bench = Bench::new();
    let refused = |place: &str| bench.make(place).unwrap_err().to_string();
    assert!(refused("data/backup").contains("lies in the data directory"));
    RealDisk.create_dir_all(&bench.path("foreign/photos")).unwrap();
    assert!(refused("foreign").contains("choose an empty directory"));
    write_atomic(&RealDisk, &bench.path("letters.tar"), b"letters").unwrap();
    assert!(refused("letters.tar").contains("holds no backup"));
    std::os::unix::fs::symlink(bench.path("data"), bench.path("link")).unwrap();
    assert!(refused("link/backup").contains("lies in the data directory"));
    assert!(!RealDisk.exists(&bench.path("data/backup")).unwrap());

    bench.make("backup").unwrap();
    let held = RealDisk.lock(&bench.path("backup/postern-backup.lock"), "another").unwrap();
    assert!(refused("backup").contains("another backup is being made"));
    drop(held);
    let (data, to) = (bench.path("data"), bench.path("backup"));
    let disk = Arc::clone(&bench.disk);
    let plan = Plan {
        disk,
        clock: clock(),
        data_dir: &data,
        email_domain: "other.example",
        configuration: None,
        to: &to,
    };
    assert!(worked(|work| make(&plan, work)).unwrap_err().to_string().contains(DOMAIN));

    assert!(bench.restore("backup", "data").unwrap_err().to_string().contains("mv "));
    assert!(bench.restore("foreign", "new").unwrap_err().to_string().contains("holds no whole backup"));
    assert!(!RealDisk.exists(&bench.path("new")).unwrap());
}

/// Goal: a restore that died is begun anew, and what it left keeps a gateway from starting.
#[test]
fn an_interrupted_restore_is_begun_anew() {
    let bench = Bench::new();
    bench.make("backup").unwrap();
    let data = bench.path("restored");
    RealDisk.create_dir_all(&data.join("spool/segments")).unwrap();
    write_atomic(&RealDisk, &data.join(RESTORING), b"").unwrap();
    write_atomic(&RealDisk, &data.join("spool/segments/0000000000000009.seg"), b"half").unwrap();
    let restored = bench.restore("backup", "restored").unwrap();
    assert_eq!(restored.contents.messages, 12);
    assert!(!RealDisk.exists(&data.join(RESTORING)).unwrap());
    assert!(!RealDisk.exists(&data.join("spool/segments/0000000000000009.seg")).unwrap());
}

#[test]
fn too_little_room_is_told_before_anything_is_copied() {
    let bench = Bench::new();
    let disk = || Arc::new(FaultyDisk::new(Arc::new(RealDisk), Fault::nearly_full(5000)));
    assert!(matches!(bench.make_on(disk(), "backup"), Err(BackupError::Full { free: 5000, .. })));
    bench.make("backup").unwrap();
    let full: Arc<dyn Disk> = disk();
    let restored =
        worked(|work| restore((&full, &clock()), &bench.path("backup"), &bench.path("restored"), work));
    assert!(matches!(restored, Err(BackupError::Full { .. })));
}
