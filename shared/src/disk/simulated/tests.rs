use std::collections::BTreeSet;

use super::*;

const SEEDS: u64 = 200;

fn path(name: &str) -> PathBuf {
    Path::new("/data").join(name)
}

fn disk(order: EntryOrder) -> SimulatedDisk {
    let disk = SimulatedDisk::new(order);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk
}

/// A file on `disk` with durable content and a durable name.
fn stored(disk: &SimulatedDisk, name: &str, content: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create(&path(name)).unwrap();
    file.write_all_at(&[content], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    file
}

fn read(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
    disk.read(&path(name), 1 << 20).ok()
}

/// Everything a power cut may leave of `disk`, as `look` sees it.
fn outcomes<R: Ord>(disk: &SimulatedDisk, look: impl Fn(&SimulatedDisk) -> R) -> BTreeSet<R> {
    (0..SEEDS).map(|seed| look(&disk.crash(seed))).collect()
}

#[test]
fn what_was_synced_is_there_whatever_the_seed() {
    for order in [EntryOrder::Journal, EntryOrder::Any] {
        let disk = disk(order);
        stored(&disk, "a", b"first");
        disk.rename(&path("a"), &path("b")).unwrap();
        disk.sync_dir(Path::new("/data")).unwrap();
        let names = |disk: &SimulatedDisk| (read(disk, "a"), read(disk, "b"));
        assert_eq!(outcomes(&disk, names), [(None, Some(b"first".to_vec()))].into());
    }
}

#[test]
fn octets_that_were_not_synced_are_old_or_new_sector_by_sector() {
    let disk = disk(EntryOrder::Journal);
    let file = stored(&disk, "a", &[1; 8192]);
    file.write_all_at(&[&[2; 8192]], 0).unwrap();
    assert_eq!(read(&disk, "a"), Some(vec![2; 8192]), "seen at once");
    let left = outcomes(&disk, |disk| read(disk, "a").unwrap());
    assert!(left.contains(&vec![1; 8192]) && left.contains(&vec![2; 8192]) && left.len() > 10);
    for content in left {
        assert!(content.chunks(512).all(|sector| sector == [1; 512] || sector == [2; 512]));
    }
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, |disk| read(disk, "a").unwrap()), [vec![2; 8192]].into());
}

#[test]
fn a_length_may_arrive_before_the_octets_and_the_other_way_round() {
    let disk = disk(EntryOrder::Journal);
    let file = stored(&disk, "a", b"");
    file.write_all_at(&[&[1; 600]], 0).unwrap();
    file.write_all_at(&[&[2; 600]], 600).unwrap();
    let left = outcomes(&disk, |disk| read(disk, "a").unwrap());
    let lengths: BTreeSet<usize> = left.iter().map(Vec::len).collect();
    assert_eq!(lengths, [0, 600, 1200].into());
    assert!(left.contains(&vec![0; 1200]), "length without octets");
    assert!(
        left.iter().any(|content| content.len() == 1200 && content[..512] == [0; 512] && content[1199] == 2)
    );
}

#[test]
fn a_cut_that_was_not_synced_may_bring_back_what_was_cut() {
    let disk = disk(EntryOrder::Journal);
    let file = stored(&disk, "a", b"0123456789");
    file.set_len(4).unwrap();
    assert_eq!(read(&disk, "a"), Some(b"0123".to_vec()));
    let both = [b"0123".to_vec(), b"0123456789".to_vec()].into();
    assert_eq!(outcomes(&disk, |disk| read(disk, "a").unwrap()), both);
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, |disk| read(disk, "a").unwrap()), [b"0123".to_vec()].into());
    file.set_len(6).unwrap();
    assert_eq!(read(&disk, "a"), Some(b"0123\0\0".to_vec()), "it grows with zeros");
}

/// Goal: syncing a file does not make its name durable, nor syncing the directory its content.
#[test]
fn name_and_content_are_synced_apart() {
    let disk = disk(EntryOrder::Journal);
    let file = disk.create(&path("a")).unwrap();
    file.write_all_at(&[b"x"], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, |disk| read(disk, "a")), [None, Some(b"x".to_vec())].into());

    let disk = self::disk(EntryOrder::Journal);
    disk.create(&path("a")).unwrap().write_all_at(&[b"x"], 0).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    let all = [Some(vec![]), Some(vec![0]), Some(b"x".to_vec())].into();
    assert_eq!(outcomes(&disk, |disk| read(disk, "a")), all);
}

#[test]
fn a_journal_keeps_a_beginning_and_renames_whole() {
    let names = |disk: &SimulatedDisk| disk.files(Path::new("/data")).unwrap();
    let changed = |order| {
        let disk = disk(order);
        disk.create(&path("a")).unwrap();
        disk.rename(&path("a"), &path("b")).unwrap();
        disk.create(&path("c")).unwrap();
        disk
    };
    let beginnings = [vec![], vec![path("a")], vec![path("b")], vec![path("b"), path("c")]];
    assert_eq!(outcomes(&changed(EntryOrder::Journal), names), beginnings.into());
    let any = outcomes(&changed(EntryOrder::Any), names);
    assert!(any.contains(&vec![path("c")]), "in any order");
    assert!(any.contains(&vec![path("a"), path("b")]), "half a rename");
    assert_eq!(any.len(), 8);
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    for order in [EntryOrder::Journal, EntryOrder::Any] {
        let disk = disk(order);
        stored(&disk, "a", b"x");
        disk.remove(&path("a")).unwrap();
        assert_eq!(disk.remove(&path("a")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(outcomes(&disk, |disk| read(disk, "a")), [None, Some(b"x".to_vec())].into());
        disk.sync_dir(Path::new("/data")).unwrap();
        assert_eq!(outcomes(&disk, |disk| read(disk, "a")), [None].into());
    }
}

#[test]
fn nothing_works_without_power_and_a_crashed_disk_has_it_again() {
    let disk = disk(EntryOrder::Journal);
    let file = stored(&disk, "a", b"x");
    disk.cut_power_after(1);
    file.write_all_at(&[b"y"], 0).unwrap();
    assert!(!disk.is_powered());
    assert!(file.write_all_at(&[b"z"], 0).is_err() && file.sync_data().is_err() && file.len().is_err());
    assert!(disk.create(&path("b")).is_err() && disk.read(&path("a"), 9).is_err());
    assert_eq!(outcomes(&disk, |disk| read(disk, "a").unwrap()), [b"x".to_vec(), b"y".to_vec()].into());
    assert_eq!(read(&disk.restart(), "a"), Some(b"y".to_vec()), "the machine kept running");
    assert_eq!(outcomes(&disk.restart(), |disk| read(disk, "a").unwrap()).len(), 2, "and nothing was synced");
    assert_eq!(SimulatedDisk::new(EntryOrder::Any).with_power_until(0).operations(), 0);
}

/// Goal: as Linux has it, what a failed sync did not write is not written by the next one either.
#[test]
fn what_a_failed_sync_lost_stays_lost() {
    let mut left = BTreeSet::new();
    let disk = disk(EntryOrder::Journal);
    for n in 0..30 {
        let name = n.to_string();
        let file = stored(&disk, &name, b"old");
        file.write_all_at(&[b"new"], 0).unwrap();
        disk.fail_after(0, io::ErrorKind::Other);
        assert!(disk.fault_is_pending());
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(read(&disk, &name), Some(b"new".to_vec()));
        let found = outcomes(&disk, |disk| read(disk, &name).unwrap());
        assert_eq!(found.len(), 1, "it is decided");
        left.extend(found);
    }
    assert_eq!(left, [b"old".to_vec(), b"new".to_vec()].into());
}

#[test]
fn a_full_a_read_only_and_a_failing_disk_say_so() {
    let disk = disk(EntryOrder::Journal);
    let file = stored(&disk, "a", b"0123");
    disk.limit_bytes(Some(6));
    assert_eq!(disk.free_bytes(Path::new("/data")).unwrap(), 2);
    assert_eq!(file.write_all_at(&[b"456789"], 4).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(read(&disk, "a"), Some(b"012345".to_vec()), "what fits was written");
    assert_eq!(file.set_len(7).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all_at(&[b"a"], 0).unwrap();
    disk.limit_bytes(None);

    disk.set_read_only(true);
    assert_eq!(file.write_all_at(&[b"b"], 0).unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(disk.remove(&path("a")).unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    disk.set_read_only(false);

    disk.fail_after(1, io::ErrorKind::Other);
    disk.create(&path("b")).unwrap();
    let error = file.write_all_at(&[b"xy", b"zw"], 6).unwrap_err();
    assert!(error.to_string().contains("/data/a"), "{error}");
    assert_eq!(read(&disk, "a"), Some(b"a12345xy".to_vec()), "half of it");
    file.write_all_at(&[b"zw"], 8).unwrap();
    assert_eq!(disk.used_bytes(), 10);
    let reader = disk.open_read(&path("a")).unwrap();
    assert_eq!(reader.write_all_at(&[b"x"], 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn directories_are_entries_too_and_locks_end() {
    let disk = disk(EntryOrder::Any);
    disk.create_dir_all(&path("x/y")).unwrap();
    stored(&disk, "f", b"1");
    assert_eq!(disk.dirs(Path::new("/data")).unwrap(), [path("x")]);
    assert_eq!(disk.create(&path("nowhere/f")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(outcomes(&disk, |disk| disk.exists(&path("x/y")).unwrap()).iter().all(|there| *there));
    disk.remove_dir_all(&path("x")).unwrap();
    assert!(!disk.exists(&path("x/y")).unwrap());

    let held = disk.lock(&path("lock"), "me").unwrap();
    assert!(held.is_some() && disk.lock(&path("lock"), "you").unwrap().is_none());
    drop(held);
    assert!(disk.lock(&path("lock"), "you").unwrap().is_some());
}

/// Goal: a seed repeats what it decided.
#[test]
fn the_same_seed_leaves_the_same() {
    let make = || {
        let disk = disk(EntryOrder::Any);
        for n in 0..20 {
            let file = disk.create(&path(&n.to_string())).unwrap();
            file.write_all_at(&[&vec![1; 3000]], 0).unwrap();
        }
        disk
    };
    let look = |disk: &SimulatedDisk| {
        let files = disk.files(Path::new("/data")).unwrap();
        files.iter().map(|file| (file.clone(), disk.read(file, 9999).unwrap())).collect::<Vec<_>>()
    };
    for seed in 0..20 {
        assert_eq!(look(&make().crash(seed)), look(&make().crash(seed)));
    }
}
