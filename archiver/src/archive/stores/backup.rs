//! Backups: a directory with every file that cannot be made again, and `backup.json`, which names each with length and SHA-256.
//!
//! Consistent while archiving goes on: how long each file is counts from one moment at which no commit was under way, and
//! everything before that never changes. Each file is read again behind its writing. What lies in the directory of an earlier backup is used
//! again when it is still what it was; a backup that was ended goes on. The key file is not in it: whoever finds the backup reads no
//! mail, and who restores it needs the key file, the passphrase or the recovery key.
//!
//! Promises
//! - Until another backup is whole, the earlier one is, whatever happens meanwhile.
//! - What the instance lost, or cannot see, stays in the backup: files of stores that are detached, disabled or not there, and packs, keys and logs
//!   that should be there and are not, or cannot be read. It is told, as an error behind the end: the rest was backed up.
//! - Packs, keys and the log are only appended to. Where one is another than the backup has it, the backup's octets stay, and what is new
//!   comes behind them; only keys that were destroyed on purpose are destroyed there too.
//! - Only packs that a compaction removed leave a backup, once the store is known to lack no message, and each message and addition in them was
//!   found elsewhere in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_shared::disk::Disk;

use super::Watch;
use super::appended::keep_first;
use super::file::{Entry, FORMAT, StoresFile};
use super::kept::{BACKUP_FILE, Backup, From, Kept, PROGRESS_FILE, Source, copy_beside, read_backup};
use super::set::{Attached, Stores};
use crate::archive::ArchiveError;
use crate::archive::files::write_json;
use crate::archive::store::{Kind, StoreError, scan_copy};

/// What is missing is told one by one up to this number.
const TOLD_MAX: usize = 20;
const KEY_TABLE_SLOTS: u64 = 1 << 20;
/// How far it has come is written each time so many files are copied, or so many octets.
const SAVED_EACH_FILES: u64 = 64;
const SAVED_EACH_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Everything that cannot be made again, as it is at one moment.
#[derive(Debug, Default)]
struct Sources {
    files: BTreeMap<String, Source>,
    /// Files that should be there, or be longer, and why that is known. The earlier backup's are kept.
    missing: BTreeMap<String, String>,
    /// Attached stores, open or not.
    attached: BTreeSet<String>,
    /// Those that are open, and whose files are all there.
    whole: BTreeSet<String>,
}

impl Sources {
    fn must_have(&mut self, name: String, bytes: u64, why: &str) {
        match self.files.get(&name) {
            Some(source) if source.bytes >= bytes => {}
            Some(source) => {
                let what = format!("{name} has {} octets and should have {bytes}: {why}", source.bytes);
                self.missing.insert(name, what);
            }
            None => {
                let what = format!("{name} is missing: {why}");
                self.missing.insert(name, what);
            }
        }
    }
}

impl Stores {
    /// Backs everything up into `to` on `disk`; `None` when it was ended before its time. When something is missing the rest is backed up all the
    /// same, and then it is an error.
    pub(in crate::archive) fn backup(
        &self,
        disk: &dyn Disk,
        instance: &str,
        to: &Path,
        watch: Watch<'_>,
    ) -> Result<Option<Backup>, ArchiveError> {
        disk.create_dir_all(to).map_err(ArchiveError::file(to))?;
        let earlier = earlier(disk, to, BACKUP_FILE, instance)?;
        let unfinished = earlier_or_none(disk, to, instance);
        let mut sources = self.sources()?;
        let total = sources.files.values().map(|source| source.bytes).sum();
        let files = BTreeMap::new();
        let mut backup =
            Backup { format: FORMAT, instance: instance.into(), taken: self.clock.wall(), files };
        let mut done = 0;
        let (mut saved_files, mut saved_bytes) = (0, 0);
        let save = |backup: &Backup| write_json(disk, &to.join(PROGRESS_FILE), backup);
        for (name, source) in std::mem::take(&mut sources.files) {
            let before = earlier.get(&name);
            done += source.bytes;
            if let Some(before) =
                before.filter(|before| sources.missing.contains_key(&name) && before.bytes > source.bytes)
            {
                backup.files.insert(name, before.clone());
                continue;
            }
            let known = before.or_else(|| unfinished.get(&name));
            let again = known.filter(|kept| {
                source.is_final
                    && !kept.partial
                    && kept.bytes == source.bytes
                    && kept.is_whole(disk, to, &name)
            });
            let kept = match again {
                Some(kept) => Ok(kept.clone()),
                None => copy_or_keep(disk, &source, to, &name, before, &mut sources.missing),
            };
            match kept {
                Ok(kept) => backup.files.insert(name, kept),
                Err(error) => {
                    // The next one goes on from there, when at least that can be written.
                    let _ = save(&backup);
                    return Err(error);
                }
            };
            if watch("backing up", done, Some(total)) {
                save(&backup)?;
                return Ok(None);
            }
            let files = backup.files.len() as u64;
            if files >= saved_files + SAVED_EACH_FILES || done >= saved_bytes + SAVED_EACH_BYTES {
                (saved_files, saved_bytes) = (files, done);
                save(&backup)?;
            }
        }
        self.keep_what_is_away(disk, to, &earlier, &mut sources, &mut backup)?;
        write_json(disk, &to.join(BACKUP_FILE), &backup)?;
        let left = to.join(PROGRESS_FILE);
        if disk.exists(&left).map_err(ArchiveError::file(&left))? {
            disk.remove(&left).map_err(ArchiveError::file(&left))?;
        }
        remove_others(disk, to, &earlier, &sources.whole, &backup)?;
        match sources.missing.is_empty() {
            true => Ok(Some(backup)),
            false => Err(ArchiveError::Backup(told(&sources.missing))),
        }
    }

    fn sources(&self) -> Result<Sources, ArchiveError> {
        let mut sources = Sources::default();
        let open = self.open_stores();
        // No commit is under way while lengths are read.
        let held: Vec<_> = open.iter().map(|attached| attached.store.writing()).collect();
        let mut file = StoresFile::read(&*self.disk, &self.dir)?;
        for entry in &mut file.stores {
            let attached = open.iter().find(|attached| attached.store.id == entry.id);
            self.add_store(&mut sources, entry, attached.map(|attached| &**attached))?;
            entry.dir = None;
        }
        let json = serde_json::to_vec_pretty(&file).unwrap_or_default();
        let bytes = json.len() as u64;
        let stores_file = Source { from: From::Octets(json), bytes, is_final: false };
        sources.files.insert("stores.json".into(), stores_file);
        for name in ["instance.json", "keys.json", "users.json", "audit.log", "dictionary-1.txt"] {
            self.add_file(&mut sources, &self.dir, "", name, false)?;
        }
        for name in ["instance.json", "keys.json"] {
            sources.must_have(name.into(), 1, "no instance is without it");
        }
        self.add_dir(&mut sources, &self.dir.join("profiles"), "profiles", false)?;
        self.add_dir(&mut sources, &self.dir.join("jobs"), "jobs", false)?;
        drop(held);
        Ok(sources)
    }

    fn add_store(
        &self,
        sources: &mut Sources,
        entry: &Entry,
        open: Option<&Attached>,
    ) -> Result<(), ArchiveError> {
        let (dir, below) = (self.dir_of(entry), format!("stores/{}", entry.id));
        sources.attached.insert(entry.id.clone());
        self.add_file(sources, &dir, &below, "store.json", false)?;
        if !sources.files.contains_key(&format!("{below}/store.json")) {
            let why = format!(
                "it should be in {}: put the store back (is its disk mounted?), or take it out of the instance: store detach {}",
                dir.display(),
                entry.id
            );
            sources.must_have(format!("{below}/store.json"), 1, &why);
            return Ok(());
        }
        self.add_dir(sources, &dir.join("packs"), &format!("{below}/packs"), true)?;
        self.add_dir(sources, &dir.join("keys"), &format!("{below}/keys"), false)?;
        self.add_dir(sources, &dir.join("log"), &format!("{below}/log"), false)?;
        let Some(open) = open else { return Ok(()) };
        for number in open.store.packs.numbers() {
            // What could not be taken back of a commit that failed is no part of it.
            if let Some(source) = sources.files.get_mut(&format!("{below}/packs/{number:016x}.pack")) {
                source.bytes = source.bytes.min(open.store.packs.pack_bytes(number));
            }
        }
        let missing = sources.missing.len();
        let catalog = open.store.catalog();
        let known = catalog.pack_ends().and_then(|ends| Ok((ends, catalog.highest()?)));
        let (ends, (_, slot, leaves)) = match known {
            Ok(known) => known,
            Err(error) => {
                // Nobody knows what should be there, so nothing is forgotten.
                sources.missing.insert(below, format!("{error}; rebuild --store {}", entry.id));
                return Ok(());
            }
        };
        let why = "messages lie there; put it back from a copy";
        for pack in ends {
            sources.must_have(format!("{below}/packs/{:016x}.pack", pack.pack), pack.end, why);
        }
        if slot > 0 {
            let why = "messages' keys lie there; put it back from a copy";
            let (table, last) = (slot / KEY_TABLE_SLOTS, slot % KEY_TABLE_SLOTS);
            for number in 0..table {
                sources.must_have(format!("{below}/keys/{number:016x}.keys"), 32 + KEY_TABLE_SLOTS * 64, why);
            }
            sources.must_have(format!("{below}/keys/{table:016x}.keys"), 32 + (last + 1) * 64, why);
        }
        sources.must_have(format!("{below}/log/leaves"), leaves * 32, "it is the log of all messages");
        if sources.missing.len() == missing {
            sources.whole.insert(entry.id.clone());
        }
        Ok(())
    }

    /// The files in `dir`; all but the last of them can change no more when `closed`.
    fn add_dir(
        &self,
        sources: &mut Sources,
        dir: &Path,
        below: &str,
        closed: bool,
    ) -> Result<(), ArchiveError> {
        let files = self.disk.files(dir).map_err(ArchiveError::file(dir))?;
        let last = files.len().saturating_sub(1);
        for (number, path) in files.iter().enumerate() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_ours = [".tmp", ".waiting", "~"].iter().all(|ending| !name.ends_with(ending));
            if is_ours {
                self.add_file(sources, dir, below, name, closed && number < last)?;
            }
        }
        Ok(())
    }

    fn add_file(
        &self,
        sources: &mut Sources,
        dir: &Path,
        below: &str,
        name: &str,
        is_final: bool,
    ) -> Result<(), ArchiveError> {
        let path = dir.join(name);
        if !self.disk.exists(&path).map_err(ArchiveError::file(&path))? {
            return Ok(());
        }
        let file = self.disk.open_read(&path).map_err(ArchiveError::file(&path))?;
        let bytes = file.len().map_err(ArchiveError::file(&path))?;
        let name = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        sources.files.insert(name, Source { from: From::File(path), bytes, is_final });
        Ok(())
    }

    /// Names what the earlier backup has and the instance does not, unless the instance has no use for it any more.
    fn keep_what_is_away(
        &self,
        disk: &dyn Disk,
        to: &Path,
        earlier: &BTreeMap<String, Kept>,
        sources: &mut Sources,
        backup: &mut Backup,
    ) -> Result<(), ArchiveError> {
        let gone: BTreeMap<&String, &Kept> =
            earlier.iter().filter(|(name, _)| !backup.files.contains_key(*name)).collect();
        let mut may_forget = BTreeMap::new();
        for id in sources.whole.clone() {
            let of_store = gone.iter().filter(|(name, _)| store_of(name) == Some(&id));
            let of_store: Vec<(&String, &Kept)> = of_store.map(|(name, kept)| (*name, *kept)).collect();
            if of_store.is_empty() {
                continue;
            }
            let lost = self.lost_with(disk, to, &id, &of_store)?;
            may_forget.insert(id.clone(), lost.is_none());
            if let Some(what) = lost.flatten() {
                sources.missing.insert(format!("stores/{id}"), what);
            }
        }
        for (name, kept) in gone {
            let is_kept = match store_of(name) {
                None => sources.missing.contains_key(name) || matches!(&**name, "users.json" | "audit.log"),
                Some(id) if sources.whole.contains(id) => !may_forget.get(id).copied().unwrap_or(false),
                Some(id) if sources.attached.contains(id) => true,
                // Detached: whoever wants it out of the backup removes its directory there.
                Some(_) => {
                    let path = to.join(kept.place(name));
                    self.disk.exists(&path).map_err(ArchiveError::file(&path))?
                }
            };
            if is_kept {
                backup.files.insert(name.clone(), kept.clone());
            }
        }
        Ok(())
    }

    /// Why files of a store are not to leave the backup: the store lacks something, or, in words, something is in them and in no pack of the
    /// instance. `None`: nobody needs them.
    #[expect(clippy::option_option, reason = "the outer one says whether, the inner one why")]
    fn lost_with(
        &self,
        disk: &dyn Disk,
        to: &Path,
        id: &str,
        gone: &[(&String, &Kept)],
    ) -> Result<Option<Option<String>>, ArchiveError> {
        if !self.lacks_nothing(id) {
            return Ok(Some(None));
        }
        let attached = self.get(id)?;
        let (store, catalog) = (&attached.store, attached.store.catalog());
        for (name, kept) in gone {
            if !name.contains("/packs/") {
                return Ok(Some(Some(format!("{name} is missing; put it back from a copy"))));
            }
            let path = to.join(kept.place(name));
            if !disk.exists(&path).map_err(ArchiveError::file(&path))? {
                continue;
            }
            let mut lost = None;
            let mut failed = None;
            let scanned = scan_copy(disk, &path, kept.bytes, &mut |header, offset| {
                // Parts that messages need are there: the store lacks nothing.
                if header.kind == Kind::Part || lost.is_some() {
                    return Ok(());
                }
                match catalog.object(header.number) {
                    Ok(Some(place)) if store.packs.is_whole_at(place, header.number)? => Ok(()),
                    Ok(_) => {
                        lost = Some(offset);
                        Ok(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        Err(StoreError::Cancelled)
                    }
                }
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            scanned?;
            if let Some(offset) = lost {
                let what = format!(
                    "{name} is missing, and what lies in it at byte {offset} is nowhere else: put it back from this backup and rebuild"
                );
                return Ok(Some(Some(what)));
            }
        }
        Ok(None)
    }

    /// Whether a store has every message that it ever had. What cannot be found out is no.
    fn lacks_nothing(&self, id: &str) -> bool {
        let Ok(attached) = self.get(id) else { return false };
        let leaves = attached.store.leaves();
        attached.store.lost(&*attached.store.catalog(), leaves).is_ok_and(|lost| lost.is_nothing())
    }
}

/// Copies a file. Of one that cannot be read as a whole the earlier copy is kept.
fn copy_or_keep(
    disk: &dyn Disk,
    source: &Source,
    to: &Path,
    name: &str,
    before: Option<&Kept>,
    missing: &mut BTreeMap<String, String>,
) -> Result<Kept, ArchiveError> {
    if let Some(before) = before
        && let Some((kept, why)) = keep_first(disk, source, to, name, before)?
    {
        missing.insert(name.into(), format!("{name} {why}"));
        return Ok(kept);
    }
    let copied = copy_beside(disk, source, to, name, before)?;
    let Some(error) = copied.unreadable else { return Ok(copied.kept) };
    missing.insert(name.into(), format!("{name} cannot be read: {error}"));
    Ok(before
        .filter(|before| !before.partial && before.is_whole(disk, to, name))
        .cloned()
        .unwrap_or(copied.kept))
}

/// The store that a file belongs to.
fn store_of(name: &str) -> Option<&str> {
    name.strip_prefix("stores/")?.split_once('/').map(|(id, _)| id)
}

fn told(missing: &BTreeMap<String, String>) -> String {
    let mut lines: Vec<&str> = missing.values().map(String::as_str).take(TOLD_MAX).collect();
    let more = format!("and {} more", missing.len().saturating_sub(TOLD_MAX));
    if missing.len() > TOLD_MAX {
        lines.push(&more);
    }
    format!(
        "what is there was backed up, and what an earlier backup has of the rest was kept, but the instance is not whole:\n{}",
        lines.join("\n")
    )
}

/// What an earlier backup has in `dir`.
fn earlier(
    disk: &dyn Disk,
    dir: &Path,
    file: &str,
    instance: &str,
) -> Result<BTreeMap<String, Kept>, ArchiveError> {
    let path = dir.join(file);
    if !disk.exists(&path).map_err(ArchiveError::file(&path))? {
        return Ok(BTreeMap::new());
    }
    let backup = read_backup(disk, &path)?;
    if backup.instance != instance {
        let other = backup.instance;
        return Err(ArchiveError::Backup(format!("{} holds one of instance {other:?}", dir.display())));
    }
    Ok(backup.files)
}

/// What one that was ended has; it only saves time.
fn earlier_or_none(disk: &dyn Disk, dir: &Path, instance: &str) -> BTreeMap<String, Kept> {
    earlier(disk, dir, PROGRESS_FILE, instance).unwrap_or_default()
}

/// Removes files of an earlier backup that are no part of this one, and what backups that died left of the stores in `whole`.
fn remove_others(
    disk: &dyn Disk,
    dir: &Path,
    earlier: &BTreeMap<String, Kept>,
    whole: &BTreeSet<String>,
    backup: &Backup,
) -> Result<(), ArchiveError> {
    let wanted: BTreeSet<&str> = backup.files.iter().map(|(name, kept)| kept.place(name)).collect();
    let mut unwanted: BTreeSet<String> = BTreeSet::new();
    for (name, kept) in earlier.iter().chain(&backup.files) {
        unwanted.extend([kept.place(name).to_owned(), name.clone(), format!("{name}~")]);
    }
    for id in whole {
        for below in ["packs", "keys", "log"] {
            let found = dir.join("stores").join(id).join(below);
            for path in disk.files(&found).map_err(ArchiveError::file(&found))? {
                unwanted.extend(path.strip_prefix(dir).ok().and_then(Path::to_str).map(str::to_owned));
            }
        }
    }
    for name in unwanted.iter().filter(|name| !wanted.contains(name.as_str())) {
        let path = dir.join(name);
        if disk.exists(&path).map_err(ArchiveError::file(&path))? {
            disk.remove(&path).map_err(ArchiveError::file(&path))?;
        }
    }
    Ok(())
}
