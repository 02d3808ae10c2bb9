use std::io::ErrorKind;
use std::sync::PoisonError;

use postern_shared::disk::{Disk, write_atomic};

use super::bench::{all, commit, content, instance, message, opened, read};
use crate::archive::ArchiveError;
use crate::archive::message::Outcome;
use crate::archive::stores::file::StoreFile;
use crate::archive::stores::{Commits, State};

/// Goal: nobody gets a second hold of a store that somebody still has.
#[test]
fn a_store_is_open_once() {
    let (_bench, _disk, stores) = opened();
    commit(&stores, vec![message(content(1, None), "anna")]).unwrap();
    stores.create_next().unwrap();
    let held = stores.get("0001").unwrap();
    stores.set_state("0001", State::Disabled).unwrap();
    for state in [State::Normal, State::Current] {
        assert!(matches!(stores.set_state("0001", state), Err(ArchiveError::StoreInUse { .. })));
    }
    let dir = stores.detach("0001").unwrap();
    assert!(matches!(stores.attach(&dir), Err(ArchiveError::File { .. })));
    drop(held);
    stores.attach(&dir).unwrap();
    stores.set_state("0001", State::Normal).unwrap();
    assert_eq!(all(&stores).unwrap().len(), 1);
}

#[test]
fn no_store_is_closed_under_a_maintenance() {
    let (_bench, _disk, stores) = opened();
    stores.create_next().unwrap();
    let work = stores.maintaining().lock().unwrap_or_else(PoisonError::into_inner);
    assert!(matches!(stores.detach("0001"), Err(ArchiveError::Busy)));
    for state in [State::Disabled, State::WriteProtected] {
        assert!(matches!(stores.set_state("0001", state), Err(ArchiveError::Busy)));
    }
    drop(work);
    stores.detach("0001").unwrap();
}

/// Goal: nothing is written to a store that was closed since it was prepared.
#[test]
fn a_commit_goes_where_the_store_is_open() {
    for state in [None, Some(State::Disabled), Some(State::WriteProtected)] {
        let (_bench, _disk, stores) = opened();
        let mut arrived = stores.arrived(message(content(1, Some(1)), "anna"), None).unwrap();
        stores.create_next().unwrap();
        match state {
            Some(state) => stores.set_state("0001", state).unwrap(),
            None => drop(stores.detach("0001").unwrap()),
        }
        let outcome = stores.write([&mut arrived]).unwrap()[0];
        assert_eq!(stores.with_message(outcome.id()).unwrap().unwrap().store.id, "0002");
        assert_eq!(read(&stores, outcome.id()).unwrap(), content(1, Some(1)));
    }
}

/// Goal: a pack that is there already is never removed, and archiving goes on behind it.
#[test]
fn what_somebody_else_made_stays() {
    let (_bench, disk, stores) = opened();
    let theirs = instance().join("stores/0001/packs/0000000000000001.pack");
    disk.create(&theirs).unwrap().write_all_at(&[b"theirs"], 0).unwrap();
    assert!(commit(&stores, vec![message(content(1, None), "anna")]).is_err());
    assert_eq!(disk.read(&theirs, 100).unwrap(), b"theirs");
    let outcome = commit(&stores, vec![message(content(1, None), "anna")]).unwrap()[0];
    assert_eq!(read(&stores, outcome.id()).unwrap(), content(1, None));
    assert_eq!(disk.read(&theirs, 100).unwrap(), b"theirs");
}

/// Goal: the key to a store is never written over.
#[test]
fn stores_that_are_made_at_once_are_two() {
    let (bench, disk, stores) = opened();
    let made = std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| stores.create_next().unwrap()));
        let mut made = threads.map(|thread| thread.join().unwrap());
        made.sort();
        made
    });
    assert_eq!(made, ["0002", "0003", "0004"]);
    let outcome = commit(&stores, vec![message(content(1, None), "anna")]).unwrap()[0];
    drop(stores);
    let stores = bench.open(&disk).unwrap();
    assert_eq!(read(&stores, outcome.id()).unwrap(), content(1, None));

    let path = instance().join("stores/0001/store.json");
    let before = disk.read(&path, 10_000).unwrap();
    let again = StoreFile::create(&disk, path.parent().unwrap(), "0001", stores.now(), stores.master());
    assert!(again.unwrap_err().to_string().contains("there is a store already"));
    assert_eq!(disk.read(&path, 10_000).unwrap(), before);
}

#[test]
fn a_store_is_named_once() {
    let (bench, disk, stores) = opened();
    drop(stores);
    let path = instance().join("stores.json");
    let one = r#"{"id": "0001", "state": "normal"}, {"id": "0001", "state": "current"}"#;
    write_atomic(&disk, &path, format!(r#"{{"format": 2, "stores": [{one}]}}"#).as_bytes()).unwrap();
    assert!(bench.open(&disk).unwrap_err().to_string().contains("twice"));
}

/// Goal: a store that cannot be made leaves one directory, however often that is tried.
#[test]
fn another_attempt_uses_what_the_first_one_made() {
    for fault in 0.. {
        let (bench, disk, stores) = opened();
        disk.fail_after(fault, ErrorKind::Other);
        let first = stores.create_next();
        let was_hit = !disk.fault_is_pending();
        if first.is_err() {
            assert_eq!(stores.create_next().unwrap(), "0002", "fault {fault}");
        }
        let dirs = disk.dirs(&instance().join("stores")).unwrap();
        assert_eq!(dirs.len(), 2, "fault {fault}: {dirs:?}");
        if !was_hit {
            break;
        }
        let outcome = commit(&stores, vec![message(content(1, None), "anna")]).unwrap()[0];
        drop(stores);
        let stores = bench.open(&disk).unwrap();
        assert_eq!(read(&stores, outcome.id()).unwrap(), content(1, None), "fault {fault}");
    }
}

/// Goal: nobody is told of success whose batch was not written.
/// Method: the leader's own batch is gone, as after a panic; what waits is another's, and its first write fails.
#[test]
fn a_leader_without_a_batch_answers_for_others_as_it_is() {
    for all_writes_fail in [false, true] {
        let (_bench, disk, stores) = opened();
        let commits = Commits::default();
        let arrived = stores.arrived(message(content(1, None), "anna"), None).unwrap();
        commits.waiting.lock().unwrap().push((7, vec![arrived]));
        if all_writes_fail {
            disk.limit_bytes(Some(disk.used_bytes()));
        } else {
            disk.fail_after(0, ErrorKind::Other);
        }
        assert!(stores.lead(&commits, 3).is_err(), "its own was not written");
        let told = commits.done.lock().unwrap().remove(&7).unwrap();
        match told {
            Ok(outcomes) => assert!(!all_writes_fail && matches!(outcomes[..], [Outcome::Archived(_)])),
            Err(_) => assert!(all_writes_fail),
        }
        assert_eq!(all(&stores).unwrap().len(), usize::from(!all_writes_fail));
    }
}
