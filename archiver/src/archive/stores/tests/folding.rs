use postern_shared::disk::Disk;

use super::bench::{body_of, commit, content, flip, id, instance, message, opened, read, reported, verify};
use crate::archive::Kept;
use crate::archive::message::{Evidence, NewMessage, Outcome};
use crate::archive::stores::Stores;

fn one(stores: &Stores, message: NewMessage) -> Outcome {
    commit(stores, vec![message]).unwrap()[0]
}

fn check(stores: &Stores, kept: &Kept) -> bool {
    matches!(stores.current().unwrap().store.check_arrival(kept), Ok(true))
}

fn record_of(stores: &Stores, outcome: &Outcome) -> u64 {
    stores.current().unwrap().store.catalog().record(outcome.id()).unwrap().unwrap().object
}

/// Octets that stay as long as they are, beside the record.
fn noise(seed: usize) -> Vec<u8> {
    let encoded = content(0, Some(seed));
    encoded.repeat(3)
}

/// Goal: a message whose key is gone, damaged or destroyed on purpose, stops nothing: a copy of it is archived anew.
#[test]
fn a_copy_of_a_message_without_key_is_archived_anew() {
    let (bench, disk, stores) = opened();
    let first = one(&stores, reported(1, "by a", "report a"));
    drop(stores);
    let keys = disk.files(&instance().join("stores/0001/keys")).unwrap().remove(0);
    disk.open(&keys).unwrap().write_all_at(&[&[0; 64]], 32 + 64).unwrap();
    let stores = bench.open(&disk).unwrap();
    let copy = reported(1, "by b", "report b");
    let both = commit(&stores, vec![copy.clone(), message(content(2, None), "anna")]).unwrap();
    assert!(matches!(both[..], [Outcome::Archived(_), Outcome::Archived(_)]), "{both:?}");
    assert_ne!(both[0].id(), first.id());
    assert_eq!(read(&stores, both[0].id()).unwrap(), copy.content);
    // The next one folds into that.
    let third = one(&stores, reported(1, "by c", "report c"));
    assert!(matches!(third, Outcome::Duplicate(kept) if kept.id == both[0].id()));
    assert!(check(&stores, third.kept()));
}

/// Goal: a message that cannot be read takes no copies.
#[test]
fn a_damaged_message_swallows_no_copies() {
    let (_bench, disk, stores) = opened();
    let first = one(&stores, reported(1, "by a", "report a"));
    let (pack, at) = body_of(&stores, record_of(&stores, &first));
    flip(&disk, &pack, at + 5);
    let second = one(&stores, reported(1, "by b", "report b"));
    assert!(matches!(second, Outcome::Archived(_)));
    assert_eq!(read(&stores, second.id()).unwrap(), reported(1, "by b", "").content);
    // Healed: what comes later finds the good one, also what has the octets of the damaged one.
    for again in [reported(1, "by c", "report c"), reported(1, "by a", "report a")] {
        let again = one(&stores, again);
        assert!(matches!(again, Outcome::Duplicate(kept) if kept.id == second.id()));
        assert!(check(&stores, again.kept()));
    }
}

/// Goal: a journal report counts as here, and as to be deleted at its source, only when it can be read: that of a copy that was folded too.
#[test]
fn the_report_of_a_copy_is_read_back_and_kept_anew_when_damaged() {
    let (bench, disk, stores) = opened();
    let first = one(&stores, reported(1, "by a", "report a"));
    let folded = one(&stores, reported(1, "by b", "report b"));
    assert!(matches!(folded, Outcome::Duplicate(kept) if kept.id == first.id()));
    assert!(check(&stores, first.kept()) && check(&stores, folded.kept()));
    let addition = stores.current().unwrap().store.catalog().additions(first.id()).unwrap()[0];
    let (pack, at) = body_of(&stores, addition);
    flip(&disk, &pack, at + 5);
    assert!(check(&stores, first.kept()), "that one is whole");
    assert!(!check(&stores, folded.kept()), "its only copy is damaged");
    let again = one(&stores, reported(1, "by b", "report b"));
    assert!(matches!(again, Outcome::Duplicate(kept) if kept.id == first.id()));
    assert!(check(&stores, again.kept()) && check(&stores, folded.kept()), "it is here again");
    drop(stores);
    bench.forget_catalogs();
    let stores = bench.open(&disk).unwrap();
    assert!(check(&stores, folded.kept()), "after a rebuild too");
}

/// Goal: what stands around a message in its report is read back too.
#[test]
fn what_stands_around_a_message_is_read_back() {
    let (_bench, disk, stores) = opened();
    let prefix = noise(7);
    let evidence = Some(Evidence::Report { prefix: prefix.clone(), suffix: b"end".to_vec() });
    let report = NewMessage { evidence, ..reported(1, "by a", "") };
    let outcome = one(&stores, report.clone());
    assert!(check(&stores, outcome.kept()));
    let store = &stores.current().unwrap().store;
    let opened = store.opened(outcome.id()).unwrap().unwrap();
    let part = opened.message.arrival.parts().next().unwrap().object;
    let (pack, at) = body_of(&stores, part);
    flip(&disk, &pack, at + 100);
    assert!(read(&stores, outcome.id()).is_ok(), "the content is whole");
    assert!(!check(&stores, outcome.kept()));
    assert!(!verify(&stores).is_empty());
    let again = one(&stores, report);
    assert!(matches!(again, Outcome::Duplicate(_)));
    assert!(check(&stores, again.kept()));
}

/// Goal: a catalog that leads to another message makes no duplicate of what arrives.
#[test]
fn what_folds_has_the_octets_that_arrived() {
    let (bench, _disk, stores) = opened();
    let first = one(&stores, message(content(1, None), "anna"));
    let other = one(&stores, message(content(2, None), "bob"));
    let catalog = rusqlite::Connection::open(bench.catalog("0001")).unwrap();
    // A flipped bit in an index entry: the first one's octets lead to the other.
    let swap =
        "UPDATE messages SET content_hmac = (SELECT content_hmac FROM messages WHERE id = ?1) WHERE id = ?2";
    catalog.execute(swap, [&first.id().to_bytes()[..], &other.id().to_bytes()[..]]).unwrap();
    let again = one(&stores, message(content(1, None), "carol"));
    assert_ne!(again.id(), other.id(), "carol does not get bob's mail");
    assert_eq!(read(&stores, again.id()).unwrap(), content(1, None));
}

#[test]
fn where_something_is_kept_can_be_written_down() {
    let (_bench, _disk, stores) = opened();
    for outcome in [
        one(&stores, message(content(1, None), "anna")),
        one(&stores, reported(2, "by a", "report a")),
        one(&stores, reported(2, "by b", "report b")),
    ] {
        let text = outcome.kept().to_string();
        assert_eq!(text.parse::<Kept>().unwrap(), *outcome.kept());
        assert_eq!(text.split(':').next().unwrap(), outcome.id().to_string());
    }
    let first = id(one(&stores, message(content(1, None), "anna")));
    assert!(check(&stores, &first.to_string().parse().unwrap()), "an id alone");
    assert!("nonsense".parse::<Kept>().is_err());
    assert!(format!("{first}:xyz:").parse::<Kept>().is_err());
}
