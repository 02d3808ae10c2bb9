//! The archiver's EWS source with an Exchange server written from the published schemas; each test has Microsoft's schema judge
//! both sides where it is there.

mod discover;
mod exchangelib;
mod faults;
mod login;
mod profile;
mod public;
mod pull;

use std::time::Duration;

use anyhow::Result;
use postern_archiver::sources::account::{Changes, Folder, FolderId, Role};
use postern_archiver::sources::ews::{EwsAccount, Limits, Settings};
use postern_archiver::sources::{Account as _, Cursor, ItemId};
use postern_tests::{Kept, sorted};

const ANNA: &str = "anna@example.com";

/// Small pages and batches, short pauses.
fn limits() -> Limits {
    Limits {
        page_items_max: 5,
        find_items_max: 4,
        batch_items_max: 3,
        silence: Duration::from_secs(20),
        pause_first: Duration::from_millis(10),
        pauses_max: Duration::from_millis(2500),
        ..Limits::default()
    }
}

async fn connect(settings: &Settings) -> Result<EwsAccount> {
    Ok(EwsAccount::connect(settings, ANNA, limits()).await?)
}

/// Whatever is awkward in a message: bare line ends, octets beyond ASCII, what looks like XML.
fn awkward(number: usize) -> Vec<u8> {
    let mut message = format!("Subject: {number} <&>\r\n\r\n]]></t:MimeContent>\n").into_bytes();
    message.extend_from_slice(&[0, 255, 0xc3, b'\r', b'&']);
    message.resize(message.len() + number * 37 % 5000, b'x');
    message
}

/// The server's id in an item's name.
fn id(item: &ItemId) -> &str {
    item.0.split_once(' ').expect("an id and a time").0
}

/// The inbox.
async fn inbox(account: &mut EwsAccount) -> Result<FolderId> {
    let folders: Vec<Folder> = account.folders().await?;
    Ok(folders.into_iter().find(|folder| folder.role == Some(Role::Inbox)).expect("there is one").id)
}

/// Everything behind a cursor, page by page, fetched; the pages, and the cursor behind them.
async fn pull(
    account: &mut EwsAccount,
    folder: &FolderId,
    after: Option<Cursor>,
) -> Result<(Kept, Vec<Changes>, Cursor)> {
    let (mut kept, mut pages, mut cursor) = (Kept::default(), Vec::new(), after);
    loop {
        let page = account.changes(folder, cursor.as_ref()).await?;
        account.fetch(folder, &page.items, &mut kept).await?;
        cursor = Some(page.cursor.clone());
        let more = page.more;
        pages.push(page);
        if !more {
            return Ok((kept, pages, cursor.expect("it was just set")));
        }
    }
}
