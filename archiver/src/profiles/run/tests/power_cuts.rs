//! Power cuts amid a run that deletes at the source what it archived.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

use postern_shared::disk::SimulatedDisk;
use postern_shared::disk::simulated::EntryOrder;

use super::*;
use crate::archive::Placement;

/// An account with two folders; what is in them still.
#[derive(Default)]
struct Source(Mutex<BTreeSet<String>>);

const MESSAGES: [&str; 7] = ["A/1", "A/2", "A/3", "B/1", "B/2", "A/4", "B/3"];
/// There at the first run; the others come before the second.
const EARLY: usize = 5;

impl Source {
    fn left(&self) -> BTreeSet<String> {
        self.0.lock().unwrap().clone()
    }

    fn come(&self, ids: &[&str]) {
        self.0.lock().unwrap().extend(ids.iter().map(|id| (*id).to_owned()));
    }
}

fn content(id: &str) -> Vec<u8> {
    format!("Subject: {id}\r\n\r\nbody of {id}\r\n").into_bytes()
}

fn item(id: &str) -> Item {
    Item { id: ItemId(id.into()), flags: Vec::new(), internal_date: None, octets: content(id).len() as u64 }
}

struct Session<'s>(&'s Source);

impl<'s> Opens for &'s Source {
    type Account = Session<'s>;

    async fn open(&self) -> Result<Session<'s>, SourceError> {
        Ok(Session(self))
    }
}

impl Account for Session<'_> {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        FakeAccount(false).folders().await
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        let after = after.map_or("", |cursor| cursor.0.as_str());
        let left = self.0.left();
        let new: Vec<_> = left.iter().filter(|id| id.starts_with(&folder.0) && id.as_str() > after).collect();
        let cursor = Cursor(new.last().map_or(after, |id| id.as_str()).to_owned());
        Ok(Changes { cursor, ..all_at_once(None, new.into_iter().map(|id| item(id))) })
    }

    async fn fetch(
        &mut self,
        _: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        for item in items {
            hand_over(item, &content(&item.id.0), sink).await?;
        }
        Ok(())
    }

    async fn look(&mut self, _: &FolderId, items: &[Item]) -> Result<Vec<Item>, SourceError> {
        let left = self.0.left();
        Ok(items.iter().filter(|item| left.contains(&item.id.0)).cloned().collect())
    }

    async fn delete(&mut self, _: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        let mut left = self.0.0.lock().unwrap();
        items.iter().for_each(|id| assert!(left.remove(&id.0), "{id} is deleted twice"));
        Ok(Deleted { deleted: items.to_vec(), ..Deleted::default() })
    }

    async fn wait(&mut self, _: &FolderId, _: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(self) -> Result<Deleted, SourceError> {
        Ok(Deleted::default())
    }
}

/// What a power cut leaves of SQLite's files, which are on the machine's disk: of a log, what was synced and a part of what was written
/// since. Here nothing of it is synced.
#[derive(Debug, Clone, Copy)]
enum Left {
    Whole,
    /// So many of eight parts of its log.
    Parts(usize),
    Nothing,
}

const PAGE_BYTES: usize = 4096;
const LOG_HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + PAGE_BYTES;

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("sqlite-wal")
}

/// The files of a state as they are amid a run.
struct Cut {
    path: PathBuf,
    files: Option<(Vec<u8>, Vec<u8>)>,
}

impl Cut {
    fn of(path: &Path, left: Left) -> Self {
        let read = |path: &Path| RealDisk.read(path, 1 << 20).unwrap();
        let cut = |mut log: Vec<u8>| {
            let frames = log.len().saturating_sub(LOG_HEADER_BYTES) / FRAME_BYTES;
            match left {
                Left::Parts(parts) => log.truncate(LOG_HEADER_BYTES + frames * parts / 8 * FRAME_BYTES),
                Left::Whole | Left::Nothing => {}
            }
            log
        };
        let files = (!matches!(left, Left::Nothing)).then(|| (read(path), cut(read(&log_of(path)))));
        Self { path: path.into(), files }
    }

    /// Puts them in the place of what was left when the run's process went on.
    fn place(self) {
        let (dir, name) = (self.path.parent().unwrap(), "fake".parse().unwrap());
        State::remove(&RealDisk, dir, &name).unwrap();
        if let Some((database, log)) = self.files {
            postern_shared::disk::write_atomic(&RealDisk, &self.path, &database).unwrap();
            postern_shared::disk::write_atomic(&RealDisk, &log_of(&self.path), &log).unwrap();
        }
    }
}

/// An instance that is acknowledged, and where SQLite's files are.
struct Ground {
    dir: tempfile::TempDir,
    disk: SimulatedDisk,
}

impl Ground {
    fn new(order: EntryOrder) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let disk = SimulatedDisk::new(order);
        disk.create_dir_all(dir.path()).unwrap();
        let this = Self { dir, disk };
        RealDisk.create_dir_all(&this.catalog_dir()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(this.disk.clone());
        drop(Archive::create_on(&disk, this.dir.path()));
        this
    }

    fn catalog_dir(&self) -> PathBuf {
        self.dir.path().join("main/stores/0001")
    }

    /// The instance on that disk, whose catalog and state are as they were left.
    fn open(&self, disk: &SimulatedDisk) -> Archive {
        RealDisk.create_dir_all(&self.catalog_dir()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Archive::open_on(&disk, self.dir.path())
    }

    fn forget(&self) {
        for dir in RealDisk.dirs(self.dir.path()).unwrap() {
            RealDisk.remove_dir_all(&dir).unwrap();
        }
    }
}

fn archived(archive: &Archive) -> Vec<Vec<u8>> {
    let folders = archive.instance.folders(Some("anna")).unwrap();
    let ids = folders.iter().flat_map(|folder| {
        let folder = Placement { archive: "anna".into(), folder: folder.path.clone() };
        archive.instance.in_folder(&folder, 0, 100).unwrap()
    });
    let mut found: Vec<_> =
        ids.map(|found| archive.instance.message(&found.id.to_string()).unwrap()).collect();
    found.sort();
    found
}

/// A run that deletes at the source, another one when more has come, and a power cut behind so many operations of the archive's disk; then
/// the power is back. Whether it was cut at all; how much was gone at the source by then.
async fn cut_and_go_on(ground: &Ground, cut: u64, left: Left, keeps_catalog: bool) -> (bool, usize) {
    ground.forget();
    let (source, disk) = (Source::default(), ground.disk.crash(0));
    let archive = ground.open(&disk);
    disk.cut_power_after(cut);
    source.come(&MESSAGES[..EARLY]);
    let (shared, goes_on) = archive.shared(&json!({ "after": { "delete": true } }));
    // What came of it nobody is told any more.
    let _ = pull(&shared, Some("anna"), &&source).await;
    let came = if disk.is_powered() { &MESSAGES[..] } else { &MESSAGES[..EARLY] };
    if came.len() > EARLY {
        source.come(&came[EARLY..]);
        let _ = pull(&shared, Some("anna"), &&source).await;
    }
    let was_cut = !disk.is_powered();
    let state = Cut::of(&job::state_dir(&archive.instance).join("fake.sqlite"), left);
    drop((shared, goes_on, archive));
    state.place();

    let at = format!("cut after {cut}, {left:?}, {keeps_catalog}");
    let gone: Vec<_> = came.iter().filter(|id| !source.left().contains(**id)).collect();
    // A catalog that was opened has grown, so with one there is one seed.
    for seed in if keeps_catalog { cut..cut + 1 } else { 0..3 } {
        if !keeps_catalog {
            RealDisk.remove_dir_all(&ground.catalog_dir()).unwrap();
        }
        let there = archived(&ground.open(&disk.crash(seed)));
        assert!(gone.iter().all(|id| there.contains(&content(id))), "{at}, seed {seed}: {gone:?}");
    }
    let archive = ground.open(&disk.crash(if keeps_catalog { cut } else { 2 }));
    let there = archived(&archive).len();
    source.come(&MESSAGES[came.len()..]);
    let ran = archive.pull_and_delete(&&source).await;
    // What could not be read back without power waits for its next time.
    archive.clock.advance(Duration::from_secs(25 * 3600));
    let later = archive.pull_and_delete(&&source).await;
    let mut everything: Vec<_> = MESSAGES.iter().map(|id| content(id)).collect();
    everything.sort();
    assert_eq!(archived(&archive), everything, "{at}: {ran:?}");
    assert_eq!((ran.failed + later.failed, source.left().len()), (0, 0), "{at}: {ran:?} {later:?}");
    assert_eq!(ran.archived + later.archived, (MESSAGES.len() - there) as u64, "{at}: {ran:?} {later:?}");
    (was_cut, gone.len())
}

/// Goal: whenever the power goes, what is gone at the source is in the archive byte for byte, and further runs bring the rest, each
/// message once, and empty the source.
/// Method: cut behind every operation of the archive's disk, in both orders of entries, once with the catalog and once without; each time
/// with all, a part and nothing of what is known of the source.
#[tokio::test]
async fn a_power_cut_amid_a_run_loses_and_doubles_nothing() {
    for (order, keeps_catalog) in [(EntryOrder::Journal, true), (EntryOrder::Any, false)] {
        let ground = Ground::new(order);
        for left in [Left::Whole, Left::Parts(4), Left::Nothing] {
            // Cuts before which something was gone at the source.
            let mut amid = 0;
            for cut in 0.. {
                let (was_cut, gone) = cut_and_go_on(&ground, cut, left, keeps_catalog).await;
                if !was_cut {
                    break;
                }
                amid += usize::from(gone > 0);
            }
            assert!(amid > 0, "no cut was where it matters");
        }
    }
}
