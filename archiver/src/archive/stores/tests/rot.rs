use std::path::Path;

use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk};

use super::backups::{MESSAGES, TO, backup, instance_of, restored};
use super::bench::{Bench, all, body_of, commit, content, flip, id, message, rebuild, verify};
use super::damage::files;
use crate::archive::stores::Stores;

/// Makes compaction look at the first pack.
fn compact(bench: &Bench, stores: &Stores) -> Result<u64, String> {
    let connection = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    connection.execute("UPDATE objects SET bytes = bytes - 1 WHERE pack = 1", []).unwrap();
    let done = stores.current().unwrap().store.compact(0, &mut |_, _, _| false);
    done.map(|done| done.packs).map_err(|error| error.to_string())
}

fn filled() -> (Bench, SimulatedDisk, Stores) {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    backup(&stores).unwrap();
    (bench, disk, stores)
}

/// Goal: what a bit cost the instance is in the backup for ever, whatever compaction and later backups do.
#[test]
fn the_last_good_copy_of_anything_stays() {
    for kind in [1, 2, 3] {
        for rebuilt in [false, true] {
            let (bench, disk, stores) = filled();
            let whole = all(&stores).unwrap();
            let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
            // Neither the first object of its pack nor among the last ones.
            let query = "SELECT number FROM objects WHERE pack = 1 AND kind = ?1 ORDER BY number LIMIT 1";
            let object: i64 = catalog.query_row(query, [kind], |row| row.get(0)).unwrap();
            drop(catalog);
            let (pack, at) = body_of(&stores, u64::try_from(object).unwrap());
            drop(stores);
            flip(&disk, &pack, at + 20);
            if rebuilt {
                bench.forget_catalogs();
            }
            let stores = bench.open(&disk).unwrap();
            let at = format!("kind {kind}, {rebuilt}");
            let error = compact(&bench, &stores).unwrap_err();
            assert!(error.contains("so its pack stays"), "{at}: {error}");
            assert!(disk.exists(&pack).unwrap(), "{at}");
            backup(&stores).unwrap();
            assert_eq!(restored(&disk, "/data/back"), whole, "{at}");
            let bob = "SELECT count(*) FROM additions";
            let count = |path: &Path| {
                let catalog = rusqlite::Connection::open(path).unwrap();
                catalog.query_row(bob, [], |row| row.get::<_, i64>(0)).unwrap()
            };
            let other = Bench::new();
            drop(other.open_at(&disk, Path::new("/data/back")).unwrap());
            assert_eq!(count(&other.catalog("0001")), 8, "{at}");
        }
    }
}

/// Goal: a pack whose end may have been torn leaves the instance only to `torn/`, and the backup only when all of it is elsewhere.
#[test]
fn what_is_taken_for_torn_stays_in_the_backup() {
    let (bench, disk, stores) = filled();
    let whole = all(&stores).unwrap();
    let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    let query = "SELECT max(number) FROM objects WHERE pack = 1 AND kind = 3";
    let object: i64 = catalog.query_row(query, [], |row| row.get(0)).unwrap();
    let last =
        "SELECT min(number) FROM (SELECT number FROM objects WHERE pack = 1 ORDER BY offset DESC LIMIT 3)";
    let last: i64 = catalog.query_row(last, [], |row| row.get(0)).unwrap();
    assert!(object >= last, "it was among the last ones");
    drop(catalog);
    let (pack, at) = body_of(&stores, u64::try_from(object).unwrap());
    drop(stores);
    flip(&disk, &pack, at + 5);
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    assert!(stores.current().unwrap().store.compact(100, &mut |_, _, _| false).unwrap().keeps_parts);
    assert_eq!(compact(&bench, &stores), Ok(1));
    let torn = disk.files(&pack.parent().unwrap().with_file_name("torn")).unwrap();
    assert_eq!(torn.len(), 1, "{torn:?}");
    let _ = backup(&stores);
    assert_eq!(restored(&disk, "/data/back"), whole);
}

/// Goal: keys that the instance lost are not lost to the backup when the table is as long as before again.
#[test]
fn a_backup_keeps_keys_and_octets_that_were_lost() {
    for lost in ["table", "record", "newest pack"] {
        let (bench, disk, stores) = filled();
        let whole = all(&stores).unwrap();
        drop(stores);
        let keys = files(&disk, "keys").remove(0);
        match lost {
            "table" => disk.remove(&keys).unwrap(),
            "record" => flip(&disk, &keys, 32 + 64 + 5),
            _ => flip(&disk, files(&disk, "packs").last().unwrap(), 200),
        }
        let stores = bench.open(&disk).unwrap();
        let told = stores.current().unwrap().store.damage().lines();
        assert_eq!(told.iter().any(|what| what.contains("messages' keys are missing")), lost == "table");
        commit(&stores, vec![message(content(900, None), "anna")]).unwrap();
        // A pack that is full by now is not compared again, and the backup's copy stays.
        let told = backup(&stores).err().map(|error| error.to_string());
        let is_told = told.as_ref().is_some_and(|told| told.contains("differs from byte"));
        assert!(is_told || lost == "newest pack", "{lost}: {told:?}");
        let found = restored(&disk, "/data/one");
        assert!(found.len() == whole.len() + 1 && found.contains(&content(900, None)), "{lost}");
        // And at the next one, with more that is new.
        commit(&stores, vec![message(content(901, None), "anna")]).unwrap();
        assert!(backup(&stores).is_err() || lost == "newest pack", "{lost}");
        assert_eq!(restored(&disk, "/data/two").len(), MESSAGES + 2, "{lost}");
    }
}

/// Goal: a key that was destroyed on purpose is destroyed in the next backup too.
#[test]
fn a_destroyed_key_leaves_the_backup() {
    let (_bench, disk, stores) = filled();
    let keys = files(&disk, "keys").remove(0);
    disk.open(&keys).unwrap().write_all_at(&[&[0; 64]], 32 + 64).unwrap();
    backup(&stores).unwrap();
    let kept = disk.read(&Path::new(TO).join("backup.json"), 1 << 20).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
    let kept = &kept["files"]["stores/0001/keys/0000000000000000.keys"];
    let at = kept["at"].as_str().unwrap_or("stores/0001/keys/0000000000000000.keys");
    assert_eq!(disk.read(&Path::new(TO).join(at), 1 << 20).unwrap(), disk.read(&keys, 1 << 20).unwrap());
}

/// Goal: a backup that ends with an error goes on, as one that is cancelled does.
#[test]
fn a_backup_that_fails_goes_on() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    let stores = instance_of(&bench, &disk);
    let began = disk.operations();
    backup(&stores).unwrap();
    let all_of_it = disk.operations() - began;
    disk.remove_dir_all(Path::new(TO)).unwrap();
    disk.fail_after(all_of_it * 2 / 3, std::io::ErrorKind::Other);
    backup(&stores).unwrap_err();
    assert!(!disk.fault_is_pending());
    let unfinished = disk.read(&Path::new(TO).join("backup.unfinished.json"), 1 << 20).unwrap();
    let unfinished: serde_json::Value = serde_json::from_slice(&unfinished).unwrap();
    assert!(unfinished["files"].as_object().unwrap().len() >= 3, "{unfinished}");
    let began = disk.operations();
    backup(&stores).unwrap();
    assert!(disk.operations() - began < all_of_it);
    assert_eq!(restored(&disk, "/data/back").len(), MESSAGES);
}

/// Goal: another store's pack of the same name takes nobody's place, and nothing is removed for it.
#[test]
fn a_pack_of_another_store_is_not_read() {
    let (bench, disk, stores) = filled();
    let whole = all(&stores).unwrap();
    stores.create_next().unwrap();
    for n in 0..12 {
        commit(&stores, vec![message(content(500 + n, Some(n)), "anna")]).unwrap();
    }
    let pack = files(&disk, "packs").remove(1);
    let own = disk.read(&pack, 1 << 20).unwrap();
    let other = pack.to_string_lossy().replace("0001/packs", "0002/packs");
    let other = disk.read(Path::new(&other), 1 << 20).unwrap();
    drop(stores);
    let put = |octets: &[u8]| {
        disk.remove(&pack).unwrap();
        disk.create(&pack).unwrap().write_all_at(&[octets], 0).unwrap();
    };
    put(&other);
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    stores.set_state("0001", crate::archive::stores::State::Current).unwrap();
    let told = stores.current().unwrap().store.damage().lines();
    assert!(told.iter().any(|what| what.contains("belongs to another store")), "{told:?}");
    let left = all(&stores).unwrap();
    assert!(left.iter().filter(|content| whole.contains(content)).count() > 4);
    let error = stores.current().unwrap().store.compact(0, &mut |_, _, _| false).unwrap_err().to_string();
    assert!(error.contains("belongs to another store"), "{error}");
    drop(stores);
    put(&own);
    let stores = bench.open(&disk).unwrap();
    assert_eq!(rebuild(&stores), [""; 0]);
    assert_eq!(all(&stores).unwrap().len(), whole.len() + 12);
    assert_eq!(verify(&stores), []);
}

/// Goal: a number in the catalog that nothing has come to is sealed into nothing.
#[test]
fn a_flipped_bit_in_the_catalogs_numbers_is_sealed_into_nothing() {
    for altered in ["leaf_next = leaf_next + 8589934592", "slot_max = slot_max + 1099511627776"] {
        let (bench, disk, stores) = filled();
        let whole = all(&stores).unwrap();
        drop(stores);
        let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
        catalog.execute(&format!("UPDATE state SET {altered}"), []).unwrap();
        drop(catalog);
        let stores = bench.open(&disk).unwrap();
        let new = id(commit(&stores, vec![message(content(900, None), "anna")]).unwrap()[0]);
        let store = &stores.current().unwrap().store;
        assert_eq!(store.leaves(), MESSAGES as u64 + 1, "{altered}");
        assert_eq!(store.opened(new).unwrap().unwrap().message.leaf, MESSAGES as u64, "{altered}");
        assert_eq!(all(&stores).unwrap().len(), whole.len() + 1);
        assert_eq!(verify(&stores), [], "{altered}");
    }
}
