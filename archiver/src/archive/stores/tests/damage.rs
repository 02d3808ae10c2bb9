use std::path::PathBuf;

use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, SimulatedDisk};

use super::bench::{Bench, all, commit, content, flip, id, instance, message, opened, read, rebuild, verify};
use super::worn::{WornDisk, on};

pub(super) fn files(disk: &SimulatedDisk, below: &str) -> Vec<PathBuf> {
    disk.files(&instance().join("stores/0001").join(below)).unwrap()
}

/// Goal: wherever a bit flips in packs, keys or leaves, no message is read other than it was; each that cannot be read is named by
/// verify, and the others are read.
#[test]
fn every_flipped_bit_is_found_and_named() {
    let (bench, disk, stores) = opened();
    let contents = [content(1, Some(1)), content(2, Some(1)), content(3, None)];
    let outcomes =
        commit(&stores, contents.iter().map(|content| message(content.clone(), "anna")).collect()).unwrap();
    let ids: Vec<_> = outcomes.into_iter().map(id).collect();
    assert_eq!(verify(&stores), []);
    drop(stores);
    for (below, step) in [("packs", 97), ("keys", 29), ("log", 11)] {
        let path = files(&disk, below).remove(0);
        let len = disk.open_read(&path).unwrap().len().unwrap();
        // Slot 0 of a key table is not used.
        let from = if below == "keys" { 32 + 64 } else { 0 };
        for at in (from..len).step_by(step) {
            let bent = disk.restart();
            flip(&bent, &path, at);
            let stores = bench.open(&bent).unwrap();
            let found = verify(&stores);
            assert!(!found.is_empty(), "{} at byte {at}", path.display());
            for (id, content) in ids.iter().zip(&contents) {
                match read(&stores, *id) {
                    Ok(read) => assert_eq!(read, *content, "{} at byte {at}", path.display()),
                    Err(_) => {
                        assert!(found.iter().any(|(named, _)| *named == Some(*id)), "{id}: {found:?}");
                    }
                }
            }
        }
    }
}

/// Goal: a part that is damaged is stored anew by the next message that brings it, and messages that come again are healed.
#[test]
fn what_arrives_again_does_not_rely_on_what_is_damaged() {
    let (bench, disk, stores) = opened();
    let first = id(commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap().remove(0));
    drop(stores);
    // In the part, which lies before the record.
    flip(&disk, &files(&disk, "packs")[0], 32 + 48 + 3000);
    let stores = bench.open(&disk).unwrap();
    assert!(read(&stores, first).is_err());
    let second = id(commit(&stores, vec![message(content(2, Some(1)), "anna")]).unwrap().remove(0));
    assert_eq!(read(&stores, second).unwrap(), content(2, Some(1)));
    let again = id(commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap().remove(0));
    assert_ne!(again, first, "it is archived anew");
    assert_eq!(read(&stores, again).unwrap(), content(1, Some(1)));
    assert_eq!(id(commit(&stores, vec![message(content(1, Some(1)), "bob")]).unwrap().remove(0)), again);
}

/// Goal: a catalog that is altered, of another day, or gone is no loss.
#[test]
fn catalogs_of_any_kind_are_no_loss() {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    bench.create(&disk);
    let real = postern_shared::disk::RealDisk;
    let stores = bench.open(&disk).unwrap();
    let archive = |n: usize| commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    archive(1);
    let attached = stores.current().unwrap();
    attached.store.catalog().settle().unwrap();
    let old = real.read(&bench.catalog("0001"), 1 << 30).unwrap();
    archive(2);
    archive(3);
    let whole = all(&stores).unwrap();
    drop((attached, stores));
    let replace = |bytes: &[u8]| {
        bench.forget_catalogs();
        real.create_dir_all(bench.catalog("0001").parent().unwrap()).unwrap();
        real.create(&bench.catalog("0001")).unwrap().write_all_at(&[bytes], 0).unwrap();
    };
    let middle = old.len() / 2;
    let altered = [&old[..middle], &[0x55; 4096], &old[middle..]].concat();
    for bytes in [&old[..], &altered, &[0x55; 9000], &old[..2000], b""] {
        replace(bytes);
        let found = bench.open(&disk);
        // Damage inside SQLite's pages may show when they are read only.
        let stores = found.unwrap();
        let read = all(&stores);
        if read.as_ref().ok() != Some(&whole) {
            rebuild(&stores);
            assert_eq!(all(&stores).unwrap(), whole);
        }
    }
}

#[test]
fn a_missing_pack_is_told_and_its_number_not_given_again() {
    let (bench, disk, stores) = opened();
    for n in 0..5 {
        commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
    }
    drop(stores);
    let packs = files(&disk, "packs");
    assert!(packs.len() > 1);
    let gone = packs.last().unwrap();
    disk.remove(gone).unwrap();
    let stores = bench.open(&disk).unwrap();
    let current = stores.current().unwrap();
    assert!(current.store.damage().told()[0].what.contains("missing"));
    assert!(!verify(&stores).is_empty());
    commit(&stores, vec![message(content(9, Some(9)), "anna")]).unwrap();
    assert!(!disk.exists(gone).unwrap());
}

/// Goal: a pack that vanished is told for as long as its messages are missing, also once a rebuild has forgotten it.
#[test]
fn a_lost_pack_is_told_after_a_rebuild_too() {
    let (bench, disk, stores) = opened();
    let ids: Vec<_> = (0..12)
        .map(|n| id(commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap().remove(0)))
        .collect();
    let pack_of =
        |n: usize| stores.current().unwrap().store.catalog().record(ids[n]).unwrap().unwrap().place.pack;
    let lost: Vec<usize> = (0..12).filter(|n| pack_of(*n) == pack_of(6)).collect();
    assert!(pack_of(0) < pack_of(6) && pack_of(6) < pack_of(11));
    let nth = usize::try_from(pack_of(6) - 1).unwrap();
    drop(stores);
    let gone = files(&disk, "packs").remove(nth);
    let copy = disk.read(&gone, 1 << 20).unwrap();
    disk.remove(&gone).unwrap();
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    let told = |found: &[String]| found.iter().any(|what| what.contains("in the log and in no pack"));
    assert!(told(&stores.current().unwrap().store.damage().lines()), "rebuilt by itself");
    assert!(told(&rebuild(&stores)), "rebuilt by hand");
    let found: Vec<String> = verify(&stores).into_iter().map(|(_, what)| what).collect();
    let (first, last) = (lost[0], lost[lost.len() - 1]);
    let count = lost.len();
    let range = match count {
        1 => format!("leaf {first};"),
        _ => format!("{count} messages are in the log and in no pack: leaves {first} to {last};"),
    };
    assert!(found.iter().any(|what| what.contains(&range)), "{range}: {found:?}");
    // Put back from a copy.
    drop(stores);
    disk.create(&gone).unwrap().write_all_at(&[&copy], 0).unwrap();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(rebuild(&stores), [""; 0]);
    assert_eq!(verify(&stores), []);
    assert_eq!(all(&stores).unwrap().len(), 12);
}

/// Goal: a catalog that says anything else of a message than its record does is found out, and the message named.
#[test]
fn verify_compares_the_catalog_with_the_records() {
    let (bench, _disk, stores) = opened();
    let ids =
        [1, 2].map(|n| id(commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap().remove(0)));
    commit(&stores, vec![message(content(1, Some(1)), "bob")]).unwrap();
    assert_eq!(verify(&stores), []);
    for altered in [
        "UPDATE placements SET uid = uid + 100 WHERE seq = 1",
        "UPDATE placements SET uid = uid + 50, folder = (SELECT id FROM folders WHERE archive = 'bob') WHERE seq = 1 AND folder =
            (SELECT id FROM folders WHERE archive = 'anna')",
        "UPDATE placements SET flags = '\\Deleted' WHERE seq = 1",
        "DELETE FROM placements WHERE seq = 1",
        "UPDATE messages SET subject = 'another' WHERE seq = 1",
        "UPDATE messages SET leaf = 7 WHERE seq = 1",
        "UPDATE messages SET content_hmac = x'00' WHERE seq = 1",
        "UPDATE messages SET archived_ms = 0 WHERE seq = 1",
        "INSERT INTO participants VALUES (1, 'eve@example.com', 'to', 'header', '')",
        "DELETE FROM additions",
        "DELETE FROM part_users WHERE seq = 1",
        "DELETE FROM objects WHERE number = (SELECT object FROM messages WHERE seq = 1)",
    ] {
        let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
        catalog.execute_batch(&format!("PRAGMA foreign_keys = OFF; DROP INDEX placements_message; {altered};")).unwrap();
        drop(catalog);
        let found = verify(&stores);
        assert!(found.iter().any(|(named, _)| *named == Some(ids[0])), "{altered}: {found:?}");
        assert!(found.iter().all(|(named, _)| *named != Some(ids[1])), "{altered}: {found:?}");
        assert_eq!(rebuild(&stores), [""; 0], "{altered}");
        assert_eq!(verify(&stores), [], "{altered}");
    }
}

/// Goal: an addition whose message is lost and which cannot be read itself keeps no store from opening.
#[test]
fn a_lost_addition_of_a_lost_message_keeps_nothing_closed() {
    let (bench, disk, stores) = opened();
    let first = id(commit(&stores, vec![message(content(1, None), "anna")]).unwrap().remove(0));
    commit(&stores, vec![message(content(1, None), "bob"), message(content(2, None), "bob")]).unwrap();
    let catalog = stores.current().unwrap().store.catalog();
    let record = catalog.record(first).unwrap().unwrap().place.offset;
    let addition = catalog.object(catalog.additions(first).unwrap()[0]).unwrap().unwrap().offset;
    drop((catalog, stores));
    let pack = files(&disk, "packs").remove(0);
    flip(&disk, &pack, record + 60);
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(stores.current().unwrap().store.catalog().pending(0, 10).unwrap().len(), 1);
    drop(stores);
    flip(&disk, &pack, addition + 3);
    let stores = bench.open(&disk).unwrap();
    assert!(!stores.current().unwrap().store.damage().is_empty());
    assert_eq!(all(&stores).unwrap(), [content(2, None)]);
}

/// Goal: what a medium does not give back costs what lies there and no more: verify names it, a rebuild goes on behind it, and nothing is
/// cut off.
#[test]
fn a_sector_that_cannot_be_read_costs_what_lies_there() {
    let (bench, disk, stores) = opened();
    let ids: Vec<_> = (0..6)
        .map(|n| id(commit(&stores, vec![message(content(n, Some(n)), "anna")]).unwrap().remove(0)))
        .collect();
    drop(stores);
    let packs = files(&disk, "packs");
    for pack in &packs {
        let len = disk.open_read(pack).unwrap().len().unwrap();
        for at in [0, 4096, len - 100] {
            let lengths =
                || packs.iter().map(|pack| disk.open_read(pack).unwrap().len().unwrap()).collect::<Vec<_>>();
            let before = lengths();
            let mut worn = WornDisk::new(&disk);
            worn.unreadable.push((pack.clone(), at..at + 512));
            let at = format!("{} at byte {at}", pack.display());
            // The catalog is there: verify names the messages.
            let open =
                || bench.open_on(&on(&worn), &instance()).unwrap_or_else(|error| panic!("{at}: {error}"));
            let stores = open();
            let found = verify(&stores);
            assert!(!found.is_empty(), "{at}");
            for id in &ids {
                let is_named = found.iter().any(|(named, _)| named == &Some(*id));
                assert_eq!(read(&stores, *id).is_err(), is_named, "{at}: {found:?}");
            }
            drop(stores);
            // It is missing: the store opens, with the others.
            bench.forget_catalogs();
            let stores = open();
            assert!(
                stores
                    .current()
                    .unwrap()
                    .store
                    .damage()
                    .lines()
                    .iter()
                    .any(|what| what.contains("cannot be read") || what.contains("header")),
                "{at}"
            );
            assert!(!rebuild(&stores).is_empty(), "{at}");
            drop(stores);
            assert_eq!(lengths(), before, "{at}: nothing is cut");
            // Once it can be read again, everything is there.
            bench.forget_catalogs();
            let stores = bench.open(&disk).unwrap();
            assert_eq!(all(&stores).unwrap().len(), 6, "{at}");
        }
    }
}

/// Goal: a store on a medium that cannot be written is read from there.
#[test]
fn a_store_on_media_that_cannot_be_written_opens() {
    let (bench, disk, stores) = opened();
    commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap();
    stores.create_next().unwrap();
    let home = stores.detach("0001").unwrap();
    let medium = std::path::Path::new("/media/0001");
    drop(stores);
    bench.forget_catalogs();
    let worn = WornDisk::with_medium(&disk, &home, medium);
    let stores = bench.open_on(&on(&worn), &instance()).unwrap();
    stores.attach(medium).unwrap();
    assert_eq!(all(&stores).unwrap(), [content(1, Some(1))]);
    assert_eq!(verify(&stores), []);
}
