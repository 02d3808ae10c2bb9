//! Maildir and mbox as other programs leave them.

use std::path::Path;
use std::sync::Arc;

use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step, write_atomic};

use super::{FilesSource, LineEnds, Settings};
use crate::sources::account::{Account as _, FolderId, Item, Sink};
use crate::sources::{Cursor, ItemId, NotFetched};

#[derive(Default)]
struct Kept {
    whole: Vec<(Item, Vec<u8>)>,
    now: Vec<u8>,
    missing: Vec<(ItemId, NotFetched)>,
}

impl Sink for Kept {
    async fn begins(&mut self, _octets: u64) -> std::io::Result<()> {
        self.now.clear();
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.now.extend_from_slice(octets);
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> std::io::Result<()> {
        assert_eq!(item.octets, self.now.len() as u64);
        self.whole.push((item, std::mem::take(&mut self.now)));
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> std::io::Result<()> {
        self.missing.push((id, why));
        Ok(())
    }
}

fn write(dir: &Path, name: &str, octets: &[u8]) {
    let path = dir.join(name);
    RealDisk.create_dir_all(path.parent().unwrap()).unwrap();
    write_atomic(&RealDisk, &path, octets).unwrap();
}

fn open(path: &Path, verbatim: bool) -> FilesSource {
    let settings = Settings { path: path.into(), verbatim };
    FilesSource::open(Arc::new(RealDisk), settings, 1 << 30).unwrap()
}

fn open_faulty(path: &Path, fault: Fault) -> FilesSource {
    let disk = FaultyDisk::new(Arc::new(RealDisk), fault);
    let settings = Settings { path: path.into(), verbatim: true };
    FilesSource::open(Arc::new(disk), settings, 1 << 30).unwrap()
}

async fn pull(
    source: &mut FilesSource,
    folder: &str,
    after: Option<&Cursor>,
) -> (Kept, Cursor, Option<String>) {
    let folder = FolderId(folder.into());
    let changes = source.changes(&folder, after).await.unwrap();
    let mut kept = Kept::default();
    source.fetch(&folder, &changes.items, &mut kept).await.unwrap();
    (kept, changes.cursor, changes.restarted)
}

fn texts(kept: &Kept) -> Vec<&str> {
    kept.whole.iter().map(|(_, octets)| std::str::from_utf8(octets).unwrap()).collect()
}

/// Goal: folders with their names, messages with flags, CRLF at line ends; what is new comes alone, also when flags changed
/// meanwhile; what is ordered is removed and nothing else.
#[tokio::test]
async fn a_maildir_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for folder in ["", ".Projects.Entw&APw-rfe"] {
        for sub in ["cur", "new", "tmp"] {
            RealDisk.create_dir_all(&at.join(folder).join(sub)).unwrap();
        }
    }
    write(at, "new/1.a", b"a: 1\n\nx\n");
    write(at, "cur/2.b:2,FS", b"b: 2\r\n\r\ny\n");
    write(at, ".Projects.Entw&APw-rfe/cur/3.c:2,", b"c: 3\n\nz\n");
    let mut source = open(at, false);
    let folders = source.folders().await.unwrap();
    let paths: Vec<String> = folders.iter().map(|folder| folder.path.join("/")).collect();
    assert_eq!(paths, ["INBOX", "Projects/Entwürfe"]);
    let (kept, cursor, _) = pull(&mut source, &folders[0].id.0, None).await;
    assert_eq!(texts(&kept), ["a: 1\r\n\r\nx\r\n", "b: 2\r\n\r\ny\r\n"]);
    assert_eq!(kept.whole[1].0.flags, ["\\Flagged", "\\Seen"]);
    assert!(kept.whole[0].0.internal_date.is_some());
    assert_eq!(texts(&pull(&mut source, &folders[1].id.0, None).await.0), ["c: 3\r\n\r\nz\r\n"]);

    RealDisk.rename(&at.join("new/1.a"), &at.join("cur/1.a:2,S")).unwrap();
    write(at, "new/4.d", b"d: 4\n\n");
    let (kept, cursor, _) = pull(&mut source, "", Some(&cursor)).await;
    assert_eq!(texts(&kept), ["d: 4\r\n\r\n"]);
    assert!(pull(&mut source, "", Some(&cursor)).await.0.whole.is_empty());
    let order = [ItemId("1.a".into()), ItemId("gone".into())];
    let deleted = source.delete(&FolderId(String::new()), &order).await.unwrap();
    assert_eq!((deleted.deleted.len(), deleted.kept.len()), (1, 1));
    assert_eq!(texts(&pull(&mut open(at, true), "", None).await.0), ["b: 2\r\n\r\ny\n", "d: 4\n\n"]);
}

/// Goal: messages of an mbox file without what mbox puts around them; what was written behind comes alone; another file of
/// that name is read from its beginning.
#[tokio::test]
async fn an_mbox_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let first = b"From a@x Mon Jan  5 10:00:00 2026\nSubject: 1\n\nx\n>From y\n>>From z\nFromage\n\nFrom b@x\nSubject: 2\n\n\nend\n\n";
    write(dir.path(), "mail/sent.mbox", first);
    write(dir.path(), "mail/notes.txt", b"no mail\n");
    let mut source = open(dir.path(), false);
    let folders = source.folders().await.unwrap();
    assert_eq!((folders.len(), &folders[0].path), (1, &vec!["mail".to_owned(), "sent.mbox".into()]));
    let id = folders[0].id.0.clone();
    let (kept, cursor, _) = pull(&mut source, &id, None).await;
    assert_eq!(
        texts(&kept),
        ["Subject: 1\r\n\r\nx\r\nFrom y\r\n>From z\r\nFromage\r\n", "Subject: 2\r\n\r\n\r\nend\r\n"]
    );
    let more = [&first[..], b"From c@x\nSubject: 3\n\nlast\n\n"].concat();
    write(dir.path(), "mail/sent.mbox", &more);
    let (kept, cursor, restarted) = pull(&mut source, &id, Some(&cursor)).await;
    assert_eq!((texts(&kept), restarted), (vec!["Subject: 3\r\n\r\nlast\r\n"], None));
    write(dir.path(), "mail/sent.mbox", b"From c@x\nSubject: 4\n\n\n");
    let (kept, _, restarted) = pull(&mut source, &id, Some(&cursor)).await;
    assert_eq!((texts(&kept), restarted.is_some()), (vec!["Subject: 4\r\n\r\n"], true));
    let mut alone = open(&dir.path().join("mail/sent.mbox"), false);
    assert_eq!(alone.folders().await.unwrap()[0].path, ["sent.mbox"]);
    assert_eq!(pull(&mut alone, "", None).await.0.whole.len(), 1);
}

/// Goal: of two files with one unique name, and of names that are no text, each is archived, and the one that is deleted is the one
/// that was ordered.
#[tokio::test]
async fn no_file_of_a_maildir_stands_for_another() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "new/1.a", b"n: 1\n\n");
    write(at, "cur/1.a:2,S", b"c: 1\n\n");
    write(at, "cur/2.%", b"c: 2\n\n");
    for (name, text) in [(&b"3.\xff"[..], b"c: 3\n\n"), (b"3.\xfe", b"c: 4\n\n")] {
        write_atomic(&RealDisk, &at.join("cur").join(OsStr::from_bytes(name)), text).unwrap();
    }
    let mut source = open(at, true);
    let (kept, cursor, _) = pull(&mut source, "", None).await;
    assert_eq!(texts(&kept), ["c: 1\n\n", "n: 1\n\n", "c: 2\n\n", "c: 4\n\n", "c: 3\n\n"]);
    let inbox = FolderId(String::new());
    let items: Vec<Item> = kept.whole.iter().map(|(item, _)| item.clone()).collect();
    assert_eq!(source.look(&inbox, &items).await.unwrap().len(), 5);
    let order = [items[1].id.clone(), items[3].id.clone()];
    let deleted = source.delete(&inbox, &order).await.unwrap();
    assert_eq!((deleted.deleted.as_slice(), deleted.kept.len()), (&order[..], 0));
    let left = source.look(&inbox, &items).await.unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    // Alone, the other one has its unique name again; listed once more, it folds.
    assert_eq!(texts(&pull(&mut source, "", Some(&cursor)).await.0), ["c: 1\n\n"]);
}

/// Goal: a folder of more than a page is listed once, page by page, and a message that comes or is renamed meanwhile is neither
/// missed nor told twice.
#[tokio::test]
async fn a_large_maildir_is_told_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["cur", "new"] {
        RealDisk.create_dir_all(&dir.path().join(sub)).unwrap();
    }
    write(dir.path(), "message", b"a: 1\n\n");
    for number in 0..10_500 {
        let link = dir.path().join(format!("new/{number:05}"));
        std::fs::hard_link(dir.path().join("message"), link).unwrap();
    }
    let mut source = open(dir.path(), true);
    let inbox = FolderId(String::new());
    let first = source.changes(&inbox, None).await.unwrap();
    assert_eq!((first.items.len(), first.more), (10_000, true));
    RealDisk.rename(&dir.path().join("new/00001"), &dir.path().join("cur/00001:2,S")).unwrap();
    let mut kept = Kept::default();
    source.fetch(&inbox, &first.items[..2], &mut kept).await.unwrap();
    assert_eq!((kept.whole.len(), kept.whole[1].0.flags.len()), (2, 1));
    let second = source.changes(&inbox, Some(&first.cursor)).await.unwrap();
    assert_eq!((second.items.len(), second.more), (500, false));
    let nothing = open(dir.path(), true).changes(&inbox, Some(&second.cursor)).await.unwrap();
    assert_eq!((nothing.items.len(), nothing.cursor == second.cursor), (0, true));
}

/// Goal: a file that is there and cannot be opened is told of, is missing with the system's words, is not gone for whoever looks at
/// it, and is not removed; once it can be opened it comes.
#[tokio::test]
async fn a_file_that_cannot_be_opened_is_not_gone() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "new/1.a", b"a: 1\n\n");
    write(dir.path(), "cur/2.b:2,S", b"b: 2\n\n");
    let inbox = FolderId(String::new());
    let refused = std::io::ErrorKind::PermissionDenied;
    let mut source = open_faulty(dir.path(), Fault::from(Step::Open, 1, refused));
    let page = source.changes(&inbox, None).await.unwrap();
    let told: Vec<(&str, u64)> = page.items.iter().map(|item| (item.id.0.as_str(), item.octets)).collect();
    assert_eq!(told, [("1.a", 6), ("2.b", 0)]);
    assert!(page.items[1].flags == ["\\Seen"] && page.items[1].internal_date.is_some());
    let mut kept = Kept::default();
    source.fetch(&inbox, &page.items, &mut kept).await.unwrap();
    assert_eq!((kept.whole.len(), kept.missing.len()), (0, 2));
    for (id, why) in &kept.missing {
        assert!(why.to_string().starts_with("the source refuses it: injected fault"), "{id:?}: {why}");
    }
    assert_eq!(source.look(&inbox, &page.items).await.unwrap(), page.items);
    let ids: Vec<ItemId> = page.items.iter().map(|item| item.id.clone()).collect();
    assert_eq!(source.delete(&inbox, &ids).await.unwrap().kept.len(), 2);

    let mut kept = Kept::default();
    open(dir.path(), true).fetch(&inbox, &page.items, &mut kept).await.unwrap();
    assert_eq!(texts(&kept), ["a: 1\n\n", "b: 2\n\n"]);
    RealDisk.remove(&dir.path().join("new/1.a")).unwrap();
    let mut kept = Kept::default();
    open(dir.path(), true).fetch(&inbox, &page.items[..1], &mut kept).await.unwrap();
    assert_eq!(kept.missing, [(ids[0].clone(), NotFetched::Gone)]);
}

/// Goal: a directory that cannot be listed and a file that cannot be opened are named, and keep no folder from being read; only
/// the directory itself ends the run.
/// Method: directories are listed in the order `mail` (twice), `A`, `B` (twice), `mail`; `box` is the only file that is opened.
#[tokio::test]
async fn what_cannot_be_looked_into_keeps_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let mail = dir.path().join("mail");
    for (name, text) in [("A/cur/1", "x"), ("A/new/2", "x"), ("B/box", "From x\n\n"), ("box", "From y\n\n")] {
        write(&mail, name, text.as_bytes());
    }
    let refused = std::io::ErrorKind::PermissionDenied;
    for (step, nth, named, folders) in [
        (Step::List, 3, "B cannot be looked into: injected fault", ["A", "B/box", "box"].as_slice()),
        (Step::List, 4, "B cannot be looked into: injected fault", &["A", "box"]),
        (Step::Open, 0, "B/box cannot be looked into: injected fault", &["A", "box"]),
        (Step::List, 99, "", &["A", "B/box", "box"]),
    ] {
        let mut source = open_faulty(&mail, Fault::nth(step, nth, refused));
        let found = source.folders().await.unwrap();
        let found: Vec<String> = found.iter().map(|folder| folder.path.join("/")).collect();
        assert_eq!(found, folders, "{step:?} {nth}");
        let unlisted = source.unlisted().join("; ");
        assert!(unlisted.contains(named) && unlisted.is_empty() == named.is_empty(), "{unlisted}");
    }
    let error = open_faulty(&mail, Fault::nth(Step::List, 0, refused)).folders().await.unwrap_err();
    assert!(error.to_string().contains("mail: injected fault"), "{error}");
}

/// Goal: offsets of an older file fetch nothing of the one that is there now; what may still be written is left for later.
#[tokio::test]
async fn an_mbox_file_that_changes_gives_no_false_messages() {
    let dir = tempfile::tempdir().unwrap();
    let two = b"From a@x\nSubject: 1\n\nlong enough\n\nFrom b@x\nSubject: 2\n\n\n";
    write(dir.path(), "box", two);
    let path = dir.path().join("box");
    let mut source = open(&path, true);
    let folder = FolderId(String::new());
    let all = source.changes(&folder, None).await.unwrap();
    assert_eq!(all.items.len(), 2);
    write(
        dir.path(),
        "box",
        b"From c@x\nSubject: 3\n\nand longer, longer, longer, longer than both before it\n\n",
    );
    let mut kept = Kept::default();
    source.fetch(&folder, &all.items, &mut kept).await.unwrap();
    assert!(kept.whole.is_empty(), "{:?}", texts(&kept));
    assert_eq!(kept.missing.len(), 2);

    // Amid its delivery, by somebody who locks and by somebody who does not.
    write(dir.path(), "box", two);
    write(dir.path(), "box.lock", b"");
    let locked = source.changes(&folder, None).await.unwrap();
    assert_eq!(locked.items.len(), 1);
    RealDisk.remove(&dir.path().join("box.lock")).unwrap();
    write(dir.path(), "box", &two[..two.len() - 2]);
    assert_eq!(source.changes(&folder, Some(&locked.cursor)).await.unwrap().items.len(), 0);
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
    let quiet = source.changes(&folder, Some(&locked.cursor)).await.unwrap();
    assert_eq!((quiet.items.len(), quiet.restarted), (1, None));
}

#[test]
fn line_ends_are_the_same_wherever_pieces_end() {
    let text = b"a\r\nb\nc\r\rd\n\n\r\n\n";
    for cut in 0..=text.len() {
        let mut ends = LineEnds::default();
        let mut out = ends.push(&text[..cut]).to_vec();
        out.extend_from_slice(ends.push(&text[cut..]));
        assert_eq!(out, b"a\r\nb\r\nc\r\rd\r\n\r\n\r\n\r\n", "{cut}");
    }
}
