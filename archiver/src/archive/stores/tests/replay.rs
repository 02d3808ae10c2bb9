use std::path::PathBuf;
use std::time::Duration;

use postern_shared::disk::{Disk, RealDisk};

use super::bench::{
    all, body_of, commit, content, flip, id, instance, message, opened, read, rebuild, verify,
};
use super::worn::{WornDisk, on};
use crate::archive::store::Stored;
use crate::archive::stores::Stores;
use crate::archive::stores::draft::Draft;
use postern_shared::crypto::digest::sha256;

fn leaves() -> PathBuf {
    instance().join("stores/0001/log/leaves")
}

fn commit_one(stores: &Stores, n: usize) -> postern_shared::id::MessageId {
    id(commit(stores, vec![message(content(n, None), "anna")]).unwrap()[0])
}

/// Goal: a log that lost its end gives no number twice, and is made whole again from the messages.
#[test]
fn leaves_that_are_lost_are_made_again() {
    for left in [0, 32, 40, 64] {
        let (bench, disk, stores) = opened();
        for n in 0..3 {
            commit_one(&stores, n);
        }
        drop(stores);
        let before = disk.read(&leaves(), 1000).unwrap();
        disk.open(&leaves()).unwrap().set_len(left).unwrap();
        let stores = bench.open(&disk).unwrap();
        let store = &stores.current().unwrap().store;
        assert!(store.damage().told().iter().any(|damage| damage.what.contains("are missing")), "{left}");
        assert_eq!(disk.read(&leaves(), 1000).unwrap(), before, "{left}");
        commit_one(&stores, 3);
        assert_eq!(store.leaves(), 4, "{left}");
        assert_eq!(verify(&stores), [], "{left}");
    }
}

/// Goal: leaves of which no message is found are all that is left of messages that were lost: they stay, and are told.
#[test]
fn leaves_of_lost_messages_stay() {
    let (bench, disk, stores) = opened();
    commit_one(&stores, 1);
    drop(stores);
    disk.open(&leaves()).unwrap().write_all_at(&[&[7; 64]], 32).unwrap();
    let stores = bench.open(&disk).unwrap();
    let store = &stores.current().unwrap().store;
    assert_eq!(store.leaves(), 3);
    let told = store.damage().lines();
    assert!(told[0].contains("2 messages are in the log and in no pack: leaves 1 to 2"), "{told:?}");
    commit_one(&stores, 2);
    assert_eq!(disk.read(&leaves(), 1000).unwrap()[32..96], [7; 64]);
    let found = verify(&stores);
    assert!(found.iter().any(|(_, what)| what.contains("leaves 1 to 2")), "{found:?}");
}

/// Goal: a sector of the log that cannot be read keeps no store closed and ends no rebuild.
#[test]
fn a_sector_of_the_log_that_cannot_be_read_ends_nothing() {
    let (bench, disk, stores) = opened();
    for n in 0..3 {
        commit_one(&stores, n);
    }
    drop(stores);
    bench.forget_catalogs();
    let mut worn = WornDisk::new(&disk);
    worn.unreadable.push((leaves(), 32..64));
    let stores = bench.open_on(&on(&worn), &instance()).unwrap();
    assert_eq!(all(&stores).unwrap().len(), 3);
    rebuild(&stores);
    assert_eq!(all(&stores).unwrap().len(), 3);
    assert_eq!(verify(&stores).len(), 1);
}

/// Goal: an acknowledged arrival of a message that was there already is not taken for a torn tail: it has no leaf.
#[test]
fn additions_are_not_cut() {
    let (bench, disk, stores) = opened();
    commit_one(&stores, 1);
    stores.current().unwrap().store.catalog().settle().unwrap();
    let old = RealDisk.read(&bench.catalog("0001"), 1 << 30).unwrap();
    let end = stores.current().unwrap().store.packs.end().unwrap();
    let twice = ["bob", "carol"].map(|to| message(content(1, None), to));
    commit(&stores, twice.to_vec()).unwrap();
    drop(stores);
    bench.forget_catalogs();
    RealDisk.create_dir_all(bench.catalog("0001").parent().unwrap()).unwrap();
    RealDisk.create(&bench.catalog("0001")).unwrap().write_all_at(&[&old], 0).unwrap();
    let pack = disk.files(&instance().join("stores/0001/packs")).unwrap().remove(0);
    flip(&disk, &pack, end.offset + 60);
    let before = disk.read(&pack, 1 << 20).unwrap();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(disk.read(&pack, 1 << 20).unwrap(), before);
    let store = &stores.current().unwrap().store;
    assert_eq!(store.damage().count(), 1);
    assert!(store.catalog().folder("carol", "Inbox").unwrap().is_some());
}

/// Goal: leaves of messages that a rebuild cannot read stay, and nobody gets their numbers.
#[test]
fn leaves_of_damaged_messages_stay() {
    let (bench, disk, stores) = opened();
    let ids = [commit_one(&stores, 0), commit_one(&stores, 1)];
    let record = stores.current().unwrap().store.catalog().record(ids[1]).unwrap().unwrap();
    let (pack, at) = body_of(&stores, record.object);
    drop(stores);
    flip(&disk, &pack, at + 5);
    let before = disk.read(&leaves(), 1000).unwrap();
    bench.forget_catalogs();
    drop(bench.open(&disk).unwrap());
    let stores = bench.open(&disk).unwrap();
    assert_eq!(disk.read(&leaves(), 1000).unwrap(), before);
    commit_one(&stores, 2);
    assert_eq!(stores.current().unwrap().store.leaves(), 3);
}

/// Goal: no number of an object is given a second time, though nothing of the first is left: two texts would be sealed under one key.
#[test]
fn numbers_that_a_crash_took_are_not_given_again() {
    let (bench, disk, stores) = opened();
    commit_one(&stores, 1);
    let next = |stores: &Stores| stores.current().unwrap().store.packs.next_number();
    let given: Vec<u64> = (0..5000).map(|_| next(&stores)).collect();
    drop(stores);
    let stores = bench.open(&disk).unwrap();
    assert!(next(&stores) > *given.last().unwrap());
}

/// Goal: what was acknowledged is not taken for a torn tail when it is damaged and the catalog is behind; what never was is cut, and a copy is
/// kept.
#[test]
fn only_what_was_never_acknowledged_is_cut() {
    for acknowledged in [true, false] {
        let (bench, disk, stores) = opened();
        commit_one(&stores, 1);
        stores.current().unwrap().store.catalog().settle().unwrap();
        let old = RealDisk.read(&bench.catalog("0001"), 1 << 30).unwrap();
        let second = commit_one(&stores, 2);
        let record = stores.current().unwrap().store.catalog().record(second).unwrap().unwrap();
        let (pack, at) = body_of(&stores, record.object);
        drop(stores);
        bench.forget_catalogs();
        RealDisk.create_dir_all(bench.catalog("0001").parent().unwrap()).unwrap();
        RealDisk.create(&bench.catalog("0001")).unwrap().write_all_at(&[&old], 0).unwrap();
        if acknowledged {
            flip(&disk, &pack, at + 5);
        } else {
            let file = disk.open(&pack).unwrap();
            file.set_len(file.len().unwrap() - 5).unwrap();
            // Leaves are written behind the packs.
            disk.open(&leaves()).unwrap().set_len(32).unwrap();
        }
        let before = disk.read(&pack, 1 << 20).unwrap();
        let stores = bench.open(&disk).unwrap();
        let damage = stores.current().unwrap().store.damage();
        let after = disk.read(&pack, 1 << 20).unwrap();
        let torn = disk.files(&instance().join("stores/0001/torn")).unwrap();
        if acknowledged {
            assert_eq!(after, before);
            assert_eq!(damage.count(), 1, "{damage:?}");
            assert!(torn.is_empty());
        } else {
            let from = usize::try_from(at - 48).unwrap();
            assert_eq!(after, before[..from]);
            assert_eq!(damage.told(), []);
            assert_eq!(disk.read(&torn[0], 1 << 20).unwrap(), before[from..]);
        }
        commit_one(&stores, 3);
        let count = stores.current().unwrap().store.leaves();
        assert_eq!(count, if acknowledged { 3 } else { 2 }, "a leaf number is given once");
        drop(stores);
        assert_eq!(all(&bench.open(&disk).unwrap()).unwrap().len(), 2);
    }
}

/// Goal: a part is relied on unread for a moment only.
#[test]
fn what_was_read_long_ago_is_read_again() {
    let (bench, disk, stores) = opened();
    let first = id(commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap()[0]);
    let opened = stores.current().unwrap().store.opened(first).unwrap().unwrap();
    let (pack, at) = body_of(&stores, opened.message.parts().next().unwrap().object);
    // What relies on it makes it no younger.
    bench.clock.advance(Duration::from_secs(50));
    commit(&stores, vec![message(content(2, Some(1)), "anna")]).unwrap();
    bench.clock.advance(Duration::from_secs(50));
    flip(&disk, &pack, at + 1000);
    let third = id(commit(&stores, vec![message(content(3, Some(1)), "anna")]).unwrap()[0]);
    assert_eq!(read(&stores, third).unwrap(), content(3, Some(1)));
}

/// Goal: whoever looked a place up before compaction moved it and removed the pack reads it where it is now.
#[test]
fn what_is_moved_while_it_is_read_is_found() {
    let (_bench, _disk, stores) = opened();
    let moved = id(commit(&stores, vec![message(content(1, Some(1)), "anna")]).unwrap()[0]);
    let store = &stores.current().unwrap().store;
    let catalog = store.catalog();
    let record = catalog.record(moved).unwrap().unwrap();
    let opened = store.opened(moved).unwrap().unwrap();
    let pack = record.place.pack;
    let mut writing = store.writing();
    store.packs.close_newest(&mut writing.tail).unwrap();
    let needed = catalog.needed_in(pack, 0, false, 100).unwrap().into_iter();
    let stored =
        needed.map(|(number, place)| Stored { header: store.packs.header(place, number).unwrap(), place });
    let (places, end) = store.packs.move_objects(&mut writing.tail, &stored.collect::<Vec<_>>()).unwrap();
    catalog.moved(&places, end).unwrap();
    catalog.forget_pack(pack).unwrap();
    store.packs.remove(pack).unwrap();
    drop(writing);
    assert_eq!(
        *store.record_place(&record).unwrap(),
        *store.record_place(&catalog.record(moved).unwrap().unwrap()).unwrap()
    );
    let mut octets = Vec::new();
    let taken = store.copy_content(&opened, &mut |piece| {
        octets.extend_from_slice(piece);
        Ok(())
    });
    taken.unwrap();
    assert_eq!(octets, content(1, Some(1)));
}

/// Goal: a long message with many parts is not held in memory, whatever the length of each.
#[test]
fn many_parts_wait_in_files() {
    const PART: usize = 3 * 1024 * 1024;
    let (_bench, disk, stores) = opened();
    let mut whole = b"Subject: long\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec();
    let mut state = 1u64;
    for _ in 0..8 {
        whole.extend(b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
        whole.extend((0..PART / 8).flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ (state >> 29)).to_be_bytes()
        }));
        whole.extend(b"\r\n");
    }
    whole.extend(b"--b--\r\n");
    let store = &stores.current().unwrap().store;
    let mut draft = Draft::default();
    let drafted = draft.message(store, &whole, sha256(&whole)).unwrap();
    assert_eq!(drafted.parts().count(), 8);
    let held: u64 = draft.new_parts.iter().map(|new| new.sealed.held_bytes()).sum();
    assert!(held <= 16 * 1024 * 1024, "{held}");
    drop(draft);
    let first = id(commit(&stores, vec![message(whole.clone(), "anna")]).unwrap()[0]);
    assert!(read(&stores, first).unwrap() == whole);
    let packs = disk.files(&instance().join("stores/0001/packs")).unwrap();
    assert!(packs.iter().all(|path| path.extension().unwrap() == "pack"), "{packs:?}");
}
