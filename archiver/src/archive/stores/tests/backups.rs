use std::path::Path;

use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk, write_atomic};

use super::bench::{Bench, all, commit, content, instance, message, rebuild, verify};
use super::damage::files;
use super::maintenance::{filled, patience};
use super::worn::{WornDisk, on};
use crate::archive::ArchiveError;
use crate::archive::stores::{Stores, restore};

pub(super) const TO: &str = "/backup";
/// Messages of an instance, in three packs.
pub(super) const MESSAGES: usize = 20;

/// An instance with everything that a backup wants.
pub(super) fn instance_of(bench: &Bench, disk: &SimulatedDisk) -> Stores {
    let stores = filled(bench, disk);
    for n in 200..204 {
        commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    }
    disk.create_dir_all(&instance().join("profiles")).unwrap();
    for name in ["instance.json", "keys.json", "users.json", "profiles/one.json"] {
        write_atomic(disk, &instance().join(name), b"{}").unwrap();
    }
    stores
}

pub(super) fn backup(stores: &Stores) -> Result<(), ArchiveError> {
    let done = stores.backup(&*stores.disk, "main", Path::new(TO), &mut |_, _, _| false)?;
    assert!(done.is_some());
    Ok(())
}

/// What a backup restores to.
pub(super) fn restored(disk: &SimulatedDisk, to: &str) -> Vec<Vec<u8>> {
    let back = Path::new(to);
    let done = restore(disk, Path::new(TO), back, false, &mut |_, _, _| false).unwrap();
    assert_eq!(done, Some(Vec::new()));
    let bench = Bench::new();
    let stores = bench.open_at(disk, back).unwrap();
    assert_eq!(verify(&stores), []);
    all(&stores).unwrap()
}

/// Goal: a backup taken while messages come in, ended and gone on with, restores to everything that was acknowledged before it began.
#[test]
fn a_backup_restores() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    stores.create_next().unwrap();
    commit(&stores, vec![message(content(300, Some(1)), "anna")]).unwrap();
    let whole = all(&stores).unwrap();
    let to = Path::new(TO);
    assert!(stores.backup(&*stores.disk, "main", to, &mut patience(3)).unwrap().is_none());
    assert!(!disk.exists(&to.join("backup.json")).unwrap());
    let mut n = 400;
    let mut busy = |_: &str, _: u64, _: Option<u64>| {
        n += 1;
        commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
        false
    };
    let backup = stores.backup(&*stores.disk, "main", to, &mut busy).unwrap().unwrap();
    assert!(backup.files.keys().all(|name| !name.contains("master.key") && !name.contains("catalog")));
    let found = restored(&disk, "/data/back");
    assert!(whole.iter().all(|content| found.contains(content)));

    let third = Path::new("/data/third");
    assert!(restore(&disk, to, third, false, &mut patience(2)).unwrap().is_none());
    assert!(!disk.exists(&third.join("instance.json")).unwrap());
    assert!(restore(&disk, to, third, false, &mut |_, _, _| false).unwrap().is_some());
}

/// Goal: a second backup writes what is new, and nothing else.
#[test]
fn a_second_backup_writes_what_is_new() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    backup(&stores).unwrap();
    let (used, operations) = (disk.used_bytes(), disk.operations());
    backup(&stores).unwrap();
    assert_eq!(disk.used_bytes(), used);
    let packs = files(&disk, "packs").len() as u64;
    // A sync of each file that may change, two lists; nothing of closed packs.
    assert!(packs >= 3 && disk.operations() - operations < 30, "{packs} {}", disk.operations() - operations);
    commit(&stores, vec![message(content(900, None), "anna")]).unwrap();
    let before = disk.used_bytes();
    backup(&stores).unwrap();
    assert!(disk.used_bytes() - before < 3000, "{}", disk.used_bytes() - before);
    assert_eq!(restored(&disk, "/data/back"), all(&stores).unwrap());
}

/// Goal: whenever the power goes while a backup is renewed, the earlier one is there, or the new one.
#[test]
fn a_backup_that_dies_leaves_one_that_restores() {
    for order in [EntryOrder::Journal, EntryOrder::Any] {
        let made = Bench::new();
        let full = SimulatedDisk::new(order);
        let stores = instance_of(&made, &full);
        let first = all(&stores).unwrap();
        backup(&stores).unwrap();
        commit(&stores, vec![message(content(600, Some(600)), "anna")]).unwrap();
        commit(&stores, vec![message(content(601, None), "anna")]).unwrap();
        for name in ["users.json", "profiles/one.json"] {
            write_atomic(&full, &instance().join(name), b"{\"altered\":true}").unwrap();
        }
        full.remove(&instance().join("keys.json")).unwrap();
        write_atomic(&full, &instance().join("keys.json"), b"[]").unwrap();
        let second = all(&stores).unwrap();
        drop(stores);
        for cut in 0.. {
            let (bench, disk) = (Bench::new(), full.restart());
            let stores = bench.open(&disk).unwrap();
            disk.cut_power_after(cut);
            let is_over = backup(&stores).is_ok();
            drop(stores);
            let at = format!("{order:?}, cut after {cut}");
            let disk = disk.crash(cut);
            let found = restored(&disk, "/data/back");
            assert!(found == second || (found == first && !is_over), "{at}");
            let users = disk.read(Path::new("/data/back/users.json"), 100).unwrap();
            assert_eq!(users != b"{}", found == second, "{at}: of one and the same moment");
            // And the next one.
            let stores = bench.open(&disk).unwrap();
            backup(&stores).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(restored(&disk, "/data/again"), second, "{at}");
            if is_over {
                break;
            }
        }
    }
}

/// Goal: a backup keeps what the instance lost, tells it, and backs the rest up; also once a rebuild has forgotten it.
#[test]
fn a_backup_keeps_what_the_instance_lost() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    backup(&stores).unwrap();
    let gone = files(&disk, "packs").remove(1);
    disk.remove(&gone).unwrap();
    commit(&stores, vec![message(content(700, Some(700)), "anna")]).unwrap();
    let named = gone.file_name().unwrap().to_str().unwrap().to_owned();
    let error = backup(&stores).unwrap_err().to_string();
    assert!(error.contains(&named), "{error}");
    let found = restored(&disk, "/data/one");
    assert!(found.len() == MESSAGES + 1 && found.contains(&content(700, Some(700))), "{}", found.len());
    // The catalog knows nothing of it any more.
    drop(stores);
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    backup(&stores).unwrap();
    assert_eq!(restored(&disk, "/data/two").len(), MESSAGES + 1);
    // A key table that lost its end, and a log.
    for (below, bytes) in [("keys", 128), ("log", 64)] {
        let path = files(&disk, below).remove(0);
        let whole = disk.read(&path, 1 << 20).unwrap();
        disk.open(&path).unwrap().set_len(whole.len() as u64 - bytes).unwrap();
        let error = backup(&stores).unwrap_err().to_string();
        assert!(error.contains(below), "{error}");
        assert_eq!(restored(&disk, &format!("/data/{below}")).len(), MESSAGES + 1);
        disk.open(&path).unwrap().write_all_at(&[&whole], 0).unwrap();
    }
    backup(&stores).unwrap();
}

/// Goal: a store that is not there is told, and what the backup has of it stays; that of a detached one too.
#[test]
fn a_backup_keeps_stores_that_are_away() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    stores.create_next().unwrap();
    commit(&stores, vec![message(content(300, Some(1)), "anna")]).unwrap();
    let whole = all(&stores).unwrap();
    backup(&stores).unwrap();
    drop(stores);
    let away = disk.restart();
    away.remove_dir_all(&instance().join("stores/0001")).unwrap();
    let stores = bench.open(&away).unwrap();
    commit(&stores, vec![message(content(301, Some(2)), "anna")]).unwrap();
    let error = backup(&stores).unwrap_err().to_string();
    assert!(
        error.contains("stores/0001/store.json is missing") && error.contains("store detach 0001"),
        "{error}"
    );
    let found = restored(&away, "/data/back");
    assert!(found.len() == whole.len() + 1 && whole.iter().all(|content| found.contains(content)));
    drop(stores);

    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    stores.detach("0001").unwrap();
    backup(&stores).unwrap();
    assert_eq!(restored(&disk, "/data/detached"), [content(300, Some(1))]);
    let bench = Bench::new();
    let stores = bench.open_at(&disk, Path::new("/data/detached")).unwrap();
    stores.attach(Path::new("/data/detached/stores/0001")).unwrap();
    assert_eq!(all(&stores).unwrap(), whole);
}

/// Goal: only what a compaction freed leaves a backup.
#[test]
fn a_backup_forgets_packs_that_were_compacted() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    let whole = all(&stores).unwrap();
    backup(&stores).unwrap();
    let stray = Path::new(TO).join("stores/0001/packs/00000000000000ff.pack");
    disk.create(&stray).unwrap();
    // All of the first pack is moved, as if much of it were not needed.
    let current = stores.current().unwrap();
    let connection = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    connection.execute("UPDATE objects SET bytes = bytes - 1 WHERE pack = 1", []).unwrap();
    assert_eq!(current.store.compact(0, &mut |_, _, _| false).unwrap().packs, 1);
    backup(&stores).unwrap();
    let kept = disk.files(&Path::new(TO).join("stores/0001/packs")).unwrap();
    assert_eq!(kept.len(), files(&disk, "packs").len());
    assert!(!disk.exists(&stray).unwrap());
    assert_eq!(restored(&disk, "/data/back"), whole);
}

/// Goal: a sector that cannot be read ends no backup: the rest is copied, and what an earlier backup has is kept.
#[test]
fn a_sector_that_cannot_be_read_ends_no_backup() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    drop(instance_of(&bench, &disk));
    let pack = files(&disk, "packs").remove(1);
    let mut worn = WornDisk::new(&disk);
    worn.unreadable.push((pack.clone(), 4096..4200));
    let stores = bench.open_on(&on(&worn), &instance()).unwrap();
    let error = backup(&stores).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    let back = Path::new("/data/back");
    assert_eq!(restore(&disk, Path::new(TO), back, false, &mut |_, _, _| false).unwrap(), Some(Vec::new()));
    let other = Bench::new();
    let found = other.open_at(&disk, back).unwrap();
    let named = verify(&found).iter().filter(|(named, _)| named.is_some()).count();
    assert!(named <= 4 && !verify(&found).is_empty(), "{named}");
    drop((found, stores));
    // An earlier backup has it.
    let stores = bench.open(&disk).unwrap();
    backup(&stores).unwrap();
    drop(stores);
    let stores = bench.open_on(&on(&worn), &instance()).unwrap();
    commit(&stores, vec![message(content(800, None), "anna")]).unwrap();
    // Nobody needs to read it again.
    backup(&stores).unwrap();
    assert_eq!(restored(&disk, "/data/whole").len(), MESSAGES + 1);
}

/// Goal: a backup altered on its medium is refused, and named; what is whole of it can be had all the same.
#[test]
fn a_damaged_backup_is_refused_and_restored_when_it_is_asked_for() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    backup(&stores).unwrap();
    let to = Path::new(TO);
    let packs = disk.files(&to.join("stores/0001/packs")).unwrap();
    disk.open(&packs[0]).unwrap().write_all_at(&[b"x"], 100).unwrap();
    disk.remove(&packs[2]).unwrap();
    let back = Path::new("/data/back");
    let error = restore(&disk, to, back, false, &mut |_, _, _| false).unwrap_err().to_string();
    assert!(error.contains(packs[0].to_str().unwrap()), "{error}");
    let damaged = restore(&disk, to, back, true, &mut |_, _, _| false).unwrap().unwrap();
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    let other = Bench::new();
    let found = other.open_at(&disk, back).unwrap();
    let named: Vec<_> = verify(&found).into_iter().map(|(_, what)| what).collect();
    assert!(named.iter().any(|what| what.contains("in the log and in no pack")), "{named:?}");
    assert!(found.current().unwrap().store.catalog().counts().unwrap().messages > 8);
    // The next backup mends it.
    let was = rebuild(&stores);
    assert_eq!(was, [""; 0]);
    backup(&stores).unwrap();
    assert_eq!(restored(&disk, "/data/mended"), all(&stores).unwrap());
}

/// Goal: nothing is restored over an instance, nor over the rest of one.
#[test]
fn a_restore_goes_on_only_where_it_began() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    backup(&stores).unwrap();
    commit(&stores, vec![message(content(900, None), "anna")]).unwrap();
    disk.remove(&instance().join("instance.json")).unwrap();
    let error = restore(&disk, Path::new(TO), &instance(), false, &mut |_, _, _| false).unwrap_err();
    assert!(error.to_string().contains("move"), "{error}");
    assert_eq!(all(&stores).unwrap().len(), MESSAGES + 1);
}
