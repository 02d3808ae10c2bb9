//! Public folders: listed level by level, read by name of every item.

use anyhow::Result;
use postern_archiver::sources::Account as _;
use postern_archiver::sources::account::Owner;
use postern_archiver::sources::ews::{EwsAccount, Part};
use postern_tests::ews::{Exchange, Wants};

use crate::{ANNA, awkward, limits, pull, sorted};

async fn connect(exchange: &Exchange) -> Result<EwsAccount> {
    let mut settings = exchange.settings();
    settings.parts = vec![Part::PublicFolders];
    settings.public_folder_mailbox = Some("pf1@example.com".into());
    Ok(EwsAccount::connect(&settings, ANNA, limits()).await?)
}

#[tokio::test]
async fn public_folders_are_listed_on_all_levels() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let root = exchange.store().public();
    let parents: Vec<_> =
        (0..9).map(|n| exchange.store().folder(&root, &format!("f{n}"), "IPF.Note")).collect();
    for parent in &parents {
        (0..6).for_each(|n| drop(exchange.store().folder(parent, &format!("g{n}"), "IPF.Note")));
    }
    let mut account = connect(&exchange).await?;
    let folders = account.folders().await?;
    assert_eq!(folders.len(), 9 + 54);
    assert!(folders.iter().all(|folder| folder.owner == Owner::Shared && folder.path[0] == "Public folders"));
    assert_eq!(folders[1].path, ["Public folders", "f0", "g0"]);
    assert_eq!(exchange.anchor(), "pf1@example.com");
    exchange.judged()?;
    Ok(())
}

/// Goal: a folder whose folders are not listed is told, and is not taken for one without any; one that is gone is gone.
#[tokio::test]
async fn what_cannot_be_listed_is_told() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let root = exchange.store().public();
    let parents: Vec<_> = ["a", "b"].map(|name| exchange.store().folder(&root, name, "IPF.Note")).to_vec();
    for parent in &parents {
        exchange.store().folder(parent, "below", "IPF.Note");
    }
    let mut account = connect(&exchange).await?;
    assert_eq!((account.folders().await?.len(), account.unlisted()), (4, Vec::new()));
    let denied = ("ErrorAccessDenied", "Access is denied.");
    exchange.store().close(&parents[0], Some(denied));
    assert_eq!(account.folders().await?.len(), 3);
    let told = account.unlisted();
    assert_eq!(
        told,
        ["the folders in the public folder \"a\" cannot be listed: ErrorAccessDenied: Access is denied."]
    );
    exchange.store().close(&parents[0], Some(("ErrorFolderNotFound", "It is gone.")));
    assert_eq!((account.folders().await?.len(), account.unlisted()), (3, Vec::new()));
    exchange.judged()?;
    Ok(())
}

/// Goal: everything comes once, over pages and runs, whatever others insert or remove meanwhile; nothing is asked for where
/// a folder shows that nothing happened.
#[tokio::test]
async fn items_come_once_whatever_happens_meanwhile() -> Result<()> {
    let exchange = Exchange::start(Wants::Basic)?;
    let root = exchange.store().public();
    let folder = exchange.store().folder(&root, "Rundschreiben", "IPF.Note");
    let mut messages: Vec<_> = (0..11).map(awkward).collect();
    let ids: Vec<_> = messages.iter().map(|message| exchange.store().deliver(&folder, message)).collect();
    let mut account = connect(&exchange).await?;
    let public = account.folders().await?.remove(0).id;
    // The first page; then one of it goes, so that what follows moves up by one.
    let first = account.changes(&public, None).await?;
    assert!(first.more && first.items.len() == 4);
    exchange.store().delete(&ids[0]);
    let (kept, _, cursor) = pull(&mut account, &public, Some(first.cursor.clone())).await?;
    assert_eq!(kept.whole.len(), 6, "one was passed over");
    let (late, _, cursor) = pull(&mut account, &public, Some(cursor)).await?;
    assert_eq!(late.contents(), [messages[4].clone()], "and comes with the next run");
    let asked = exchange.asked("FindItem");
    account.folders().await?;
    let (none, _, cursor) = pull(&mut account, &public, Some(cursor)).await?;
    assert!(none.whole.is_empty());
    account.folders().await?;
    let (none, _, cursor) = pull(&mut account, &public, Some(cursor)).await?;
    assert!(none.whole.is_empty() && exchange.asked("FindItem") <= asked + 3);
    let more = awkward(99);
    exchange.store().deliver(&folder, &more);
    account.folders().await?;
    let (kept, ..) = pull(&mut account, &public, Some(cursor)).await?;
    assert_eq!(kept.contents(), std::slice::from_ref(&more));
    // A run that dies after its first page goes on from that page's cursor.
    let mut other = connect(&exchange).await?;
    let (kept, ..) = pull(&mut other, &public, Some(first.cursor)).await?;
    messages.push(more);
    assert_eq!(kept.contents(), sorted(messages.split_off(4)));
    exchange.judged()?;
    Ok(())
}
