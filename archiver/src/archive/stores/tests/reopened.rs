use std::path::Path;

use postern_shared::disk::{Disk, SimulatedDisk};

use super::bench::{Bench, all, commit, content, flip, instance, message, opened, verify};
use super::damage::files;
use super::worn::{WornDisk, on};
use crate::archive::ArchiveError;
use crate::archive::stores::{State, Stores};

fn one(stores: &Stores, n: usize) {
    commit(stores, vec![message(content(n, Some(n)), "anna")]).unwrap();
}

/// Two messages, of which a part of the second one did not come to the disk.
fn torn() -> (Bench, SimulatedDisk) {
    let (bench, disk, stores) = opened();
    one(&stores, 1);
    let end = stores.current().unwrap().store.packs.end().unwrap();
    one(&stores, 2);
    drop(stores);
    flip(&disk, &files(&disk, "packs").pop().unwrap(), end.offset + 1000);
    (bench, disk)
}

fn state_of(stores: &Stores, id: &str) -> State {
    stores.shown().unwrap().into_iter().find(|shown| shown.id == id).unwrap().state
}

/// Goal: a store that was only read is looked through before anything is appended to it.
/// Method: one that lay on a crashed machine ends with half a record; it is attached, which opens it for reading, and made the current one.
#[test]
fn nothing_is_appended_behind_a_torn_end() {
    for restarted in [false, true] {
        let (bench, disk, stores) = opened();
        one(&stores, 1);
        one(&stores, 2);
        stores.create_next().unwrap();
        stores.set_state("0001", State::WriteProtected).unwrap();
        drop(stores);
        bench.forget_catalogs();
        let pack = files(&disk, "packs").pop().unwrap();
        let file = disk.open(&pack).unwrap();
        file.set_len(file.len().unwrap() - 10).unwrap();
        disk.open(&instance().join("stores/0001/log/leaves")).unwrap().set_len(32).unwrap();
        let mut stores = bench.open(&disk).unwrap();
        assert_eq!(all(&stores).unwrap(), [content(1, Some(1))]);
        if restarted {
            drop(stores);
            stores = bench.open(&disk).unwrap();
        }
        stores.set_state("0001", State::Current).unwrap();
        one(&stores, 3);
        assert_eq!(all(&stores).unwrap(), [content(1, Some(1)), content(3, Some(3))]);
        drop(stores);
        bench.forget_catalogs();
        let stores = bench.open(&disk).unwrap();
        assert_eq!(all(&stores).unwrap(), [content(1, Some(1)), content(3, Some(3))]);
        assert_eq!(verify(&stores), [], "{restarted}");
    }
}

/// Goal: whoever reads a store keeps it from being opened anew, and it is read as before.
#[test]
fn a_store_that_is_read_stays_as_it_is() {
    let (bench, disk, stores) = opened();
    one(&stores, 1);
    stores.create_next().unwrap();
    stores.set_state("0001", State::WriteProtected).unwrap();
    drop(stores);
    let stores = bench.open(&disk).unwrap();
    let held = stores.get("0001").unwrap();
    let error = stores.set_state("0001", State::Normal).unwrap_err();
    assert!(matches!(error, ArchiveError::StoreInUse { .. }), "{error}");
    assert_eq!(state_of(&stores, "0001"), State::WriteProtected);
    assert_eq!(all(&stores).unwrap().len(), 1);
    drop(held);
    stores.set_state("0001", State::Normal).unwrap();
    commit(&stores, vec![message(content(1, Some(1)), "bob")]).unwrap();
    assert_eq!((state_of(&stores, "0001"), all(&stores).unwrap().len()), (State::Normal, 1));
}

/// Goal: a message that was torn and never committed is not entered by a later rebuild, and takes no other message's leaf.
#[test]
fn what_was_refused_once_is_refused_for_ever() {
    let (bench, disk) = torn();
    // Nor did the leaf come to the disk.
    disk.open(&instance().join("stores/0001/log/leaves")).unwrap().set_len(32).unwrap();
    for round in 0..3 {
        bench.forget_catalogs();
        let stores = bench.open(&disk).unwrap();
        let mut expected = vec![content(1, Some(1))];
        expected.extend((0..round).map(|n| content(10 + n, None)));
        expected.sort();
        assert_eq!(all(&stores).unwrap(), expected, "round {round}");
        assert!(verify(&stores).iter().all(|(named, _)| named.is_none()), "{:?}", verify(&stores));
        commit(&stores, vec![message(content(10 + round, None), "anna")]).unwrap();
        assert_eq!(stores.current().unwrap().store.leaves(), 2 + round as u64);
    }
}

/// Goal: a message that was acknowledged is listed though a part of it is damaged, also when it was among the last ones of its pack.
#[test]
fn what_has_a_leaf_was_committed() {
    let (bench, disk) = torn();
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    assert_eq!(stores.current().unwrap().store.catalog().counts().unwrap().messages, 2);
    assert!(verify(&stores).iter().any(|(named, _)| named.is_some()));
}

/// Goal: a store on a medium that cannot be written gets no state in which it would be.
#[test]
fn a_store_on_media_that_cannot_be_written_stays_write_protected() {
    let (bench, disk, stores) = opened();
    one(&stores, 1);
    stores.create_next().unwrap();
    let home = stores.detach("0001").unwrap();
    let medium = Path::new("/media/0001");
    drop(stores);
    bench.forget_catalogs();
    let worn = WornDisk::with_medium(&disk, &home, medium);
    let stores = bench.open_on(&on(&worn), &instance()).unwrap();
    stores.attach(medium).unwrap();
    for disabled in [false, true] {
        if disabled {
            stores.set_state("0001", State::Disabled).unwrap();
        }
        let before = state_of(&stores, "0001");
        for state in [State::Normal, State::Current] {
            let error = stores.set_state("0001", state).unwrap_err().to_string();
            assert!(!error.contains("safe mode"), "{error}");
            assert_eq!(state_of(&stores, "0001"), before);
        }
    }
    stores.set_state("0001", State::WriteProtected).unwrap();
    one(&stores, 2);
    drop(stores);
    let stores = bench.open_on(&on(&worn), &instance()).unwrap();
    assert_eq!(all(&stores).unwrap().len(), 2);
}
