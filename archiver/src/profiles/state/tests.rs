//! The file itself.

use postern_shared::disk::RealDisk;
use rusqlite::Connection;

use super::*;
use postern_shared::clock::UnixMillis;

const ACCOUNT: &str = "imap anna at h:993";

fn item(number: u64) -> Item {
    let id = ItemId(format!("7/{number:04}"));
    Item { id, flags: vec!["\\Seen".into()], internal_date: Some(UnixMillis(number)), octets: 100 + number }
}

fn folder(name: &str) -> FolderId {
    FolderId(name.into())
}

fn open(dir: &Path) -> State {
    State::open(&RealDisk, dir, &"mail".parse().unwrap()).unwrap()
}

fn archived(numbers: std::ops::Range<u64>) -> Vec<(Item, String)> {
    numbers.map(|number| (item(number), format!("message {number}"))).collect()
}

/// Goal: deletions come in the order in which they become due, page by page, by the index alone, whatever else there is; and the
/// count of them is right whatever happens to them.
#[test]
fn what_is_due_is_found_without_reading_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    for (name, numbers, due) in [("B", 0..5, 20), ("A", 5..10, 10), ("A", 10..15, 30), ("C", 15..18, 20)] {
        state.archived(ACCOUNT, &folder(name), &archived(numbers), Some(due)).unwrap();
    }
    let later: Vec<Pending> = state.pending(ACCOUNT).unwrap();
    assert_eq!((later.len(), state.pending_count().unwrap()), (18, 18));
    let mut found: Vec<Pending> = Vec::new();
    loop {
        let page = state.due(ACCOUNT, UnixMillis(20), found.last(), 4).unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let names: Vec<&str> = found.iter().map(|one| one.folder.0.as_str()).collect();
    assert_eq!(names, [["A"; 5].as_slice(), &["B"; 5], &["C"; 3]].concat());
    assert_eq!((found[0].as_item().octets, found[0].internal_date), (105, Some(UnixMillis(5))));

    state.postpone_folder(ACCOUNT, &folder("B"), UnixMillis(20), UnixMillis(99)).unwrap();
    assert_eq!(state.due(ACCOUNT, UnixMillis(20), None, 100).unwrap().len(), 8);
    state.keep_pending(ACCOUNT, &[Pending { due: None, ..found[0].clone() }]).unwrap();
    assert_eq!(state.pending_count().unwrap(), 17);
    state.keep_pending(ACCOUNT, &found[..1]).unwrap();
    for day in [0, 24 * 3600 * 1000] {
        state.forget_folders(ACCOUNT, &HashSet::from([&folder("A")]), UnixMillis(day)).unwrap();
    }
    assert_eq!(state.pending_count().unwrap(), 10);
    state.restart(ACCOUNT, &folder("A")).unwrap();
    assert_eq!((state.pending_count().unwrap(), state.pending(ACCOUNT).unwrap().len()), (0, 0));

    let plan = "EXPLAIN QUERY PLAN SELECT folder FROM deletions WHERE account = 'a' AND due <= 5
        AND (due, folder, item) > (1, 'f', 'i') ORDER BY due, folder, item LIMIT 5";
    let plan = state.read(|connection| {
        let mut statement = connection.prepare(plan)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(3))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    });
    let plan = plan.unwrap().join("; ");
    assert!(plan.contains("deletions_due") && !plan.contains("TEMP B-TREE"), "{plan}");
}

/// Goal: what was passed over and comes later leaves nothing behind that hides another message of its name.
#[test]
fn what_comes_later_is_not_kept_as_done() {
    let dir = tempfile::tempdir().unwrap();
    let (state, inbox) = (open(dir.path()), folder("INBOX"));
    state.hold(ACCOUNT, &inbox, &[item(1), item(2)]).unwrap();
    state.retry(ACCOUNT, (&inbox, "INBOX"), &item(3), "why", UnixMillis(5)).unwrap();
    let held = |behind: Option<u64>, limit| {
        let behind = behind.map(|number| item(number).id);
        state.held(ACCOUNT, &inbox, behind.as_ref(), limit).unwrap()
    };
    assert_eq!(
        (held(None, 9), held(None, 1), held(Some(1), 9)),
        (vec![item(1), item(2)], vec![item(1)], vec![item(2)])
    );
    state.archived(ACCOUNT, &inbox, &archived(1..5), None).unwrap();
    assert_eq!(held(None, 9), []);
    assert_eq!(state.retries_of(ACCOUNT).unwrap(), []);
    assert_eq!(state.done(ACCOUNT, &inbox).unwrap(), HashSet::from([item(4).id]));
    state.keep_cursor(ACCOUNT, &inbox, ("f", &Cursor("c".into())), &[item(4).id]).unwrap();
    assert!(state.done(ACCOUNT, &inbox).unwrap().is_empty());
}

/// Goal: what could not be had when its time had come is on one list alone, so what becomes of it there counts.
#[test]
fn what_fails_waits_for_its_time_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (state, inbox) = (open(dir.path()), folder("INBOX"));
    state.hold(ACCOUNT, &inbox, &[item(1), item(2), item(3)]).unwrap();
    state.retry(ACCOUNT, (&inbox, "INBOX"), &item(2), "why", UnixMillis(5)).unwrap();
    let rows =
        state.read(|connection| connection.query_row("SELECT count(*) FROM held", [], |row| row.get(0)));
    let rows: i64 = rows.unwrap();
    assert_eq!(rows, 2);
    // Whatever puts it there once more.
    state.hold(ACCOUNT, &inbox, &[item(2)]).unwrap();
    state.discard(None).unwrap();
    assert_eq!(state.held(ACCOUNT, &inbox, None, 9).unwrap(), [item(1), item(3)]);
}

/// Goal: what is known of a folder that a source leaves out of one list is kept, what an operator discarded and terms of deletion
/// among it; nothing is deleted there meanwhile. Only what is missing for a day is forgotten.
#[test]
fn a_folder_that_is_left_out_of_a_list_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (state, hour) = (open(dir.path()), 3600 * 1000);
    let (a, b) = (folder("A"), folder("B"));
    for folder in [&a, &b] {
        state.archived(ACCOUNT, folder, &archived(1..2), Some(30 * 24 * hour)).unwrap();
        state.archived(ACCOUNT, folder, &archived(2..3), Some(hour)).unwrap();
        state.hold(ACCOUNT, folder, &[item(3)]).unwrap();
        state.retry(ACCOUNT, (folder, "name"), &item(4), "why", UnixMillis(5)).unwrap();
        state.keep_cursor(ACCOUNT, folder, ("f", &Cursor("c".into())), &[]).unwrap();
    }
    state.discard(None).unwrap();
    let seen = |there: &[&FolderId], at: u64| {
        state.forget_folders(ACCOUNT, &there.iter().copied().collect(), UnixMillis(at * hour)).unwrap()
    };
    let known = || {
        let retries = state.retries_of(ACCOUNT).unwrap();
        assert!(retries.iter().all(|retry| retry.discarded));
        (state.cursors(ACCOUNT, "f").unwrap().len(), state.pending(ACCOUNT).unwrap().len(), retries.len())
    };
    assert_eq!(seen(&[&a, &b], 1), 0);
    assert_eq!((seen(&[&a], 2), known()), (0, (2, 4, 2)), "missing for the first time");
    let due = state.due(ACCOUNT, UnixMillis(2 * hour), None, 9).unwrap();
    assert_eq!(due.iter().map(|one| &one.folder).collect::<Vec<_>>(), [&a]);
    assert_eq!((seen(&[&a, &b], 20), known()), (0, (2, 4, 2)), "there again");
    assert_eq!((seen(&[&a], 30), known()), (0, (2, 4, 2)), "missing once more");
    assert_eq!((seen(&[&a], 53), known()), (0, (2, 4, 2)));
    assert_eq!((seen(&[&a], 54), known()), (1, (1, 2, 1)), "gone");
    assert_eq!(state.held(ACCOUNT, &b, None, 9).unwrap(), []);
}

/// Goal: a cursor that is not what was written is none.
#[test]
fn a_cursor_that_was_altered_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let (state, cursor) = (open(dir.path()), Cursor("{\"uid\":812}".into()));
    for name in ["A", "B"] {
        state.keep_cursor(ACCOUNT, &folder(name), ("f", &cursor), &[]).unwrap();
    }
    assert_eq!(state.cursors(ACCOUNT, "f").unwrap().len(), 2);
    assert!(state.cursors(ACCOUNT, "g").unwrap().is_empty());
    let alter = "UPDATE cursors SET cursor = '{\"uid\":912}' WHERE folder = 'A'";
    state.write(|transaction| transaction.execute(alter, [])).unwrap();
    assert_eq!(state.cursors(ACCOUNT, "f").unwrap(), HashMap::from([(folder("B"), cursor)]));
}

/// Goal: of a damaged file the refresh tokens are taken along where they can be read, and files that were put aside before are kept.
#[test]
fn tokens_outlive_damage() {
    let dir = tempfile::tempdir().unwrap();
    for time in 1..=3 {
        let state = open(dir.path());
        if time == 1 {
            state.keep_token(ACCOUNT, b"sealed").unwrap();
        }
        state.archived(ACCOUNT, &folder("A"), &archived(0..200), Some(1)).unwrap();
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'done'";
        let page: i64 = state.read(|connection| connection.query_row(sql, [], |row| row.get(0))).unwrap();
        let page = usize::try_from(page).unwrap();
        drop(state);
        let path = dir.path().join("mail.sqlite");
        let mut octets = RealDisk.read(&path, u64::MAX).unwrap();
        octets[(page - 1) * 4096..][..4096].fill(0xff);
        postern_shared::disk::write_atomic(&RealDisk, &path, &octets).unwrap();

        let state = open(dir.path());
        let error = state.done(ACCOUNT, &folder("A")).unwrap_err();
        assert!(
            state.is_damaged() && error.to_string().contains("the next run puts the file aside"),
            "{error}"
        );
        drop(state);
        let state = State::begin_anew(&RealDisk, dir.path(), &"mail".parse().unwrap()).unwrap();
        assert_eq!(state.token(ACCOUNT).unwrap().unwrap(), b"sealed");
        assert!(state.done(ACCOUNT, &folder("A")).unwrap().is_empty());
        assert!(dir.path().join(format!("mail.sqlite.damaged-{time}")).exists());
    }
    assert!(Connection::open(dir.path().join("mail.sqlite.damaged-1")).is_ok());
}

/// Goal: one of several messages of a name is meant when folder and account are said.
#[test]
fn a_message_is_discarded_in_its_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    for (account, name) in [("a", "A"), ("a", "B"), ("b", "A")] {
        state.retry(account, (&folder(name), name), &item(1), "why", UnixMillis(5)).unwrap();
    }
    let which = |folder: Option<&str>, account: Option<&str>| Which {
        item: item(1).id.0,
        folder: folder.map(str::to_owned),
        account: account.map(str::to_owned),
    };
    assert_eq!(state.meant(&which(None, None)).unwrap(), 3);
    assert_eq!(state.meant(&which(Some("A"), None)).unwrap(), 2);
    let one = which(Some("A"), Some("b"));
    assert_eq!((state.meant(&one).unwrap(), state.discard(Some(&one)).unwrap()), (1, 1));
    assert_eq!(state.retries(10).unwrap().1, 2);
    assert_eq!(state.discard(None).unwrap(), 2);
    state.retry_now().unwrap();
    assert_eq!(state.retries(10).unwrap().1, 3);
}
