//! Mailboxes: what is there comes once, with flags and dates; what changes is told.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::io;

use anyhow::Result;
use postern_archiver::sources::NotFetched;
use postern_archiver::sources::account::{Account as _, FolderId, Item, Owner, Role, Sink};
use postern_archiver::sources::ews::{Access, Disposal, EwsAccount, Part};
use postern_archiver::sources::{Cursor, ItemId};
use postern_tests::ews::store::{Happened, Refusal};
use postern_tests::ews::{Exchange, Wants};

use crate::{ANNA, Kept, awkward, connect, id, inbox, limits, pull, sorted};

#[tokio::test]
async fn folders_come_with_names_roles_and_kinds() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let parent = exchange.store().inbox(ANNA);
    let sub = exchange.store().folder(&parent, "Projekte & <mehr>", "IPF.Note");
    exchange.store().folder(&sub, "2024", "");
    let mut account = connect(&exchange.settings()).await?;
    let folders = account.folders().await?;
    let told: Vec<_> =
        folders.iter().map(|f| (f.path.join("/"), f.role, f.holds_messages, f.owner, f.messages)).collect();
    let own = |path: &str, role, holds| (path.to_owned(), role, holds, Owner::Own, Some(0));
    assert_eq!(
        told,
        [
            own("Entwürfe", Some(Role::Drafts), true),
            own("Gelöscht", Some(Role::Trash), true),
            own("Gesendet", Some(Role::Sent), true),
            own("Kalender", None, false),
            own("Posteingang", Some(Role::Inbox), true),
            own("Posteingang/Projekte & <mehr>", None, true),
            own("Posteingang/Projekte & <mehr>/2024", None, true),
            own("Spam", Some(Role::Junk), true),
        ]
    );
    assert!(account.server().contains("Exchange 15.2.1748"));
    assert_eq!(exchange.anchor(), ANNA);
    assert!(exchange.judged()? >= 6);
    Ok(())
}

/// Goal: every message comes octet for octet, in pages and batches of any size; the next run brings nothing, and asks for
/// nothing where a folder shows that nothing happened.
#[tokio::test]
async fn everything_comes_once() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let messages: Vec<_> = (0..23).map(awkward).collect();
    messages.iter().for_each(|message| drop(exchange.store().deliver(&folder, message)));
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let (kept, pages, cursor) = pull(&mut account, &inbox, None).await?;
    assert_eq!(kept.contents(), sorted(messages));
    assert!(kept.missing.is_empty() && pages.len() == 5);
    let asked = exchange.asked("SyncFolderItems");
    // Within the same run the server is asked; what the list showed is used once.
    let (again, ..) = pull(&mut account, &inbox, Some(cursor.clone())).await?;
    assert!(again.whole.is_empty() && exchange.asked("SyncFolderItems") == asked + 1);
    let mut account = connect(&exchange.settings()).await?;
    account.folders().await?;
    let (again, _, same) = pull(&mut account, &inbox, Some(cursor.clone())).await?;
    assert!(again.whole.is_empty() && same == cursor && exchange.asked("SyncFolderItems") == asked + 1);
    // One more, which a list of folders shows.
    exchange.store().deliver(&folder, b"one more\r\n");
    account.folders().await?;
    let (more, ..) = pull(&mut account, &inbox, Some(cursor)).await?;
    assert_eq!(more.contents(), [b"one more\r\n".to_vec()]);
    account.finish().await?;
    assert!(exchange.judged()? > 20);
    Ok(())
}

#[tokio::test]
async fn flags_dates_and_what_vanishes_are_told() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let ids: Vec<_> = (0..4).map(|number| exchange.store().deliver(&folder, &awkward(number))).collect();
    exchange.store().change(&folder, &ids[0], Happened::Updated, |item| {
        (item.message_flags, item.flag_status, item.last_verb) = (1, 2, 102);
        item.categories = vec!["Rot".into(), "a&b".into(), "\\Seen".into()];
    });
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let (kept, _, cursor) = pull(&mut account, &inbox, None).await?;
    let first = kept.whole.iter().find(|(item, _)| id(&item.id) == ids[0]).expect("it came");
    assert_eq!(first.0.flags, ["\\Seen", "\\Answered", "\\Flagged", "Rot", "a&b"]);
    assert_eq!(first.0.internal_date.expect("a date").rfc3339().get(..10), Some("2026-01-01"));
    let second = kept.whole.iter().find(|(item, _)| id(&item.id) == ids[1]).expect("it came");
    assert!(second.0.flags.is_empty());

    exchange.store().change(&folder, &ids[1], Happened::Read, |item| {
        (item.message_flags, item.categories) = (1, vec!["Blau".into()]);
    });
    exchange.store().change(&folder, &ids[2], Happened::Updated, |item| item.last_verb = 104);
    exchange.store().delete(&ids[3]);
    let (kept, pages, _) = pull(&mut account, &inbox, Some(cursor)).await?;
    assert!(kept.whole.is_empty());
    let short = |(item, flags): &(ItemId, Vec<String>)| (id(item).to_owned(), flags.clone());
    let flags: Vec<_> = sorted(pages[0].flags.iter().map(short).collect());
    let told = |id: &str, flags: &[&str]| (id.to_owned(), flags.iter().map(|f| (*f).to_owned()).collect());
    assert_eq!(flags, sorted(vec![told(&ids[1], &["\\Seen", "Blau"]), told(&ids[2], &["$Forwarded"])]));
    assert!(pages[0].vanished.contains(&ItemId(ids[3].clone())) && pages[0].vanished.len() == 1);
    exchange.judged()?;
    Ok(())
}

/// Goal: a server that forgot how far was read has everything told again, in one run, and that is said.
#[tokio::test]
async fn a_lost_sync_state_lists_everything_again() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let messages: Vec<_> = (0..8).map(awkward).collect();
    messages.iter().for_each(|message| drop(exchange.store().deliver(&folder, message)));
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let (_, _, cursor) = pull(&mut account, &inbox, None).await?;
    exchange.store().forget(&folder);
    for lost in [cursor, Cursor("no cursor".into())] {
        let (kept, pages, _) = pull(&mut account, &inbox, Some(lost)).await?;
        assert_eq!(kept.contents(), sorted(messages.clone()));
        assert!(pages[0].restarted.is_some() && pages[1].restarted.is_none());
    }
    // In the midst of pages too.
    let page = account.changes(&inbox, None).await?;
    assert!(page.more);
    exchange.store().forget(&folder);
    let page = account.changes(&inbox, Some(&page.cursor)).await?;
    let why = page.restarted.expect("it is said");
    assert!(why.contains("ErrorInvalidSyncStateData: Synchronization state data is corrupt"), "{why}");
    exchange.judged()?;
    Ok(())
}

/// What an item was called when it came, or did not.
fn named(kept: &Kept, wanted: &str) -> ItemId {
    let came = kept.whole.iter().map(|(item, _)| &item.id).chain(kept.missing.iter().map(|(item, _)| item));
    came.into_iter().find(|item| id(item) == wanted).expect("it was listed").clone()
}

/// Goal: what is edited after it was archived is not deleted in its place: mail is to be fetched again under another name; drafts
/// and what is no mail stay.
#[tokio::test]
async fn what_was_changed_since_is_not_deleted() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let ids: Vec<_> = (0..5).map(|number| exchange.store().deliver(&folder, &awkward(number))).collect();
    exchange.store().change(&folder, &ids[3], Happened::Updated, |item| item.message_flags = 8);
    exchange.store().change(&folder, &ids[4], Happened::Updated, |item| item.class = "IPM.Task".into());
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let (kept, _, cursor) = pull(&mut account, &inbox, None).await?;
    let order: Vec<ItemId> = ids.iter().map(|id| named(&kept, id)).collect();
    exchange.store().change(&folder, &ids[0], Happened::Updated, |item| item.content = b"edited".to_vec());
    exchange.store().change(&folder, &ids[1], Happened::Read, |item| item.message_flags = 1);
    let deleted = account.delete(&inbox, &order).await?;
    assert_eq!(deleted.deleted, order[1..3], "what was only read is what was archived");
    let left: Vec<_> = exchange.store().folders[&folder].items.iter().map(|item| item.id.clone()).collect();
    assert_eq!(left, [ids[0].clone(), ids[3].clone(), ids[4].clone()]);
    let [(first, Some(now)), (draft, None), (task, None)] = &deleted.changed[..] else {
        panic!("{deleted:?}")
    };
    assert_eq!((first, draft, task), (&order[0], &order[3], &order[4]));
    // Under that name it is fetched, and then it may go.
    let again = Item { id: now.clone(), flags: Vec::new(), internal_date: None, octets: 0 };
    let mut kept = Kept::default();
    account.fetch(&inbox, &[again], &mut kept).await?;
    assert_eq!(kept.contents(), [b"edited".to_vec()]);
    assert_eq!(account.delete(&inbox, &[kept.whole[0].0.id.clone()]).await?.deleted.len(), 1);
    // What people work on comes in each state that is met; mail does not.
    exchange.store().change(&folder, &ids[3], Happened::Updated, |item| item.content = b"v2".to_vec());
    exchange.store().change(&folder, &ids[4], Happened::Updated, |item| item.content = b"done".to_vec());
    let (kept, ..) = pull(&mut account, &inbox, Some(cursor)).await?;
    assert_eq!(kept.contents(), [b"done".to_vec(), b"v2".to_vec()]);
    exchange.judged()?;
    Ok(())
}

#[tokio::test]
async fn what_was_ordered_is_deleted_and_nothing_else() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let ids: Vec<_> = (0..5).map(|number| exchange.store().deliver(&folder, &awkward(number))).collect();
    exchange.store().change(&folder, &ids[2], Happened::Updated, |item| {
        item.refusal = Some(Refusal::Error("ErrorCannotDeleteObject", "It is on hold."));
    });
    let mut settings = exchange.settings();
    settings.disposal = Disposal::Hard;
    let mut account = connect(&settings).await?;
    let inbox = inbox(&mut account).await?;
    let (kept, ..) = pull(&mut account, &inbox, None).await?;
    let order: Vec<ItemId> = ids.iter().take(3).map(|id| named(&kept, id)).collect();
    exchange.store().delete(&ids[1]);
    let deleted = account.delete(&inbox, &order).await?;
    assert_eq!(sorted(deleted.deleted), order[..2], "what was gone is deleted");
    assert_eq!(deleted.kept, [(order[2].clone(), "ErrorCannotDeleteObject: It is on hold.".to_owned())]);
    let left: Vec<_> = exchange.store().folders[&folder].items.iter().map(|item| item.id.clone()).collect();
    assert_eq!(left, [ids[2].clone(), ids[3].clone(), ids[4].clone()]);
    let spoken = exchange.spoken();
    let request = spoken.iter().find(|text| text.contains("<m:DeleteItem ")).expect("it was asked");
    assert!(
        request.contains("DeleteType=\"HardDelete\"") && request.contains("SuppressReadReceipts=\"true\"")
    );
    exchange.judged()?;
    Ok(())
}

/// Goal: the archive of a mailbox comes with it; a mailbox without one is no error; calendars come when they are wanted.
#[tokio::test]
async fn archives_and_calendars_come_when_they_are_wanted() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let mut settings = exchange.settings();
    settings.parts = vec![Part::Mailbox, Part::Archive];
    settings.everything = true;
    let mut account = connect(&settings).await?;
    assert_eq!(account.folders().await?.len(), 6, "there is no archive yet");
    let root = exchange.store().archive(ANNA);
    let old = exchange.store().folder(&root, "Alt", "IPF.Note");
    exchange.store().deliver(&old, b"old\r\n");
    let folders = account.folders().await?;
    assert!(folders.iter().all(|folder| folder.holds_messages));
    let archived = folders.iter().find(|f| f.path == ["Online archive", "Alt"]).expect("it is listed");
    let (kept, ..) = pull(&mut account, &archived.id, None).await?;
    assert_eq!(kept.contents(), [b"old\r\n".to_vec()]);
    exchange.judged()?;
    Ok(())
}

/// Goal: one account reads many mailboxes, by impersonation and by full access, each its own.
#[tokio::test]
async fn many_mailboxes_are_read_by_one_account() -> Result<()> {
    for access in [Access::Impersonate, Access::Delegate] {
        let exchange = Exchange::start(Wants::Basic)?;
        exchange.store().mailbox("ben@example.com");
        for user in [ANNA, "ben@example.com"] {
            let folder = exchange.store().inbox(user);
            exchange.store().deliver(&folder, user.as_bytes());
        }
        let mut settings = exchange.settings();
        settings.access = access;
        for user in [ANNA, "ben@example.com"] {
            let mut account = EwsAccount::connect(&settings, user, limits()).await?;
            let inbox = inbox(&mut account).await?;
            let (kept, ..) = pull(&mut account, &inbox, None).await?;
            assert_eq!(kept.contents(), [user.as_bytes().to_vec()], "{access:?}");
            assert_eq!(exchange.anchor(), user);
        }
        exchange.judged()?;
    }
    Ok(())
}

/// Goal: what is passed over for its length is said to be, and folders that are gone are told.
#[tokio::test]
async fn bounds_hold() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    exchange.store().deliver(&folder, &vec![b'x'; 30_000]);
    exchange.store().deliver(&folder, &vec![b'y'; 1200]);
    exchange.store().deliver(&folder, &vec![b'z'; 900]);
    let mut limits = limits();
    limits.message_octets_max = 1000;
    let mut account = EwsAccount::connect(&exchange.settings(), ANNA, limits).await?;
    let inbox = inbox(&mut account).await?;
    let (kept, ..) = pull(&mut account, &inbox, None).await?;
    assert_eq!(kept.contents(), [vec![b'z'; 900]]);
    assert_eq!(
        kept.whys(),
        [
            "it has 1200 octets or more, at most 1000 are taken",
            "it has 30100 octets or more, at most 1000 are taken"
        ]
    );
    for folder in ["mailbox/AAMkgone", "nonsense"] {
        let folder = FolderId(folder.into());
        let error = account.changes(&folder, None).await.unwrap_err().to_string();
        assert!(error.contains("does not open the folder"), "{error}");
        assert!(account.fetch(&folder, &[], &mut Kept::default()).await.is_ok() == (folder.0 != "nonsense"));
    }
    Ok(())
}

/// Counts what comes.
#[derive(Default)]
struct Counted {
    octets: u64,
    largest: usize,
    whole: u64,
}

impl Sink for Counted {
    async fn begins(&mut self, _octets: u64) -> io::Result<()> {
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> io::Result<()> {
        self.octets += octets.len() as u64;
        self.largest = self.largest.max(octets.len());
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> io::Result<()> {
        self.whole += item.octets;
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> io::Result<()> {
        panic!("{id}: {why}")
    }
}

/// Goal: a message of 150 MB passes through in little memory; the server is in this process too, and holds none of it either.
#[tokio::test]
async fn a_long_message_takes_little_memory() -> Result<()> {
    const OCTETS: u64 = 150 * 1024 * 1024 / 3 * 3;
    let exchange = Exchange::start(Wants::Basic)?;
    let folder = exchange.store().inbox(ANNA);
    let id = exchange.store().deliver(&folder, b"x");
    exchange.store().change(&folder, &id, Happened::Updated, |item| item.long = Some(OCTETS / 3));
    let mut account = connect(&exchange.settings()).await?;
    let inbox = inbox(&mut account).await?;
    let page = account.changes(&inbox, None).await?;
    let mut counted = Counted::default();
    account.fetch(&inbox, &page.items, &mut counted).await?;
    assert_eq!((counted.octets, counted.whole), (OCTETS, OCTETS));
    assert!(counted.largest <= 256 * 1024, "{} octets in one piece", counted.largest);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    println!("peak of {} MiB for a message of {} MiB", peak / 1024, OCTETS >> 20);
    assert!(peak < 120 * 1024, "{peak} KiB");
    Ok(())
}
