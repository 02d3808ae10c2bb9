//! The archiver's IMAP and POP3 sources with real servers, with hostile ones, and with what other projects' servers say.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod cyrus;
mod dovecot;
mod east;
mod james;
mod pop3;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use postern_archiver::sources::account::{FolderId, Item, ItemSet};
use postern_archiver::sources::imap::{ImapSource, Limits, Login, Settings};
use postern_archiver::sources::{Account as _, Cursor, ItemId};
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use postern_tests::messages::awkward;
use postern_tests::{Kept, sorted};

const USER: &str = "anna";
const PASSWORD: &str = "s3cret pass\"word";

fn password(user: &str, password: &str) -> Login {
    let credentials = PlainCredentials { user: user.into(), password: password.to_owned().into() };
    Login { credentials: credentials.into(), act_as: None, mechanism: None }
}

/// At `localhost`, trusting the authority in that file.
fn settings(address: SocketAddr, tls: TlsStart, authority: &Path, login: Login) -> Settings {
    let trust = Trust::Authorities(authority.to_owned());
    Settings { host: "localhost".into(), port: address.port(), tls, trust, login, compress: false }
}

/// Everything behind a cursor, page by page, fetched; and the cursor behind it.
async fn pull(source: &mut ImapSource, folder: &str, after: Option<Cursor>) -> Result<(Kept, Cursor)> {
    let folder = FolderId(folder.into());
    let (mut kept, mut cursor) = (Kept::default(), after);
    loop {
        let changes = source.changes(&folder, cursor.as_ref()).await?;
        source.fetch(&folder, &changes.items, &mut kept).await?;
        cursor = Some(changes.cursor.clone());
        if !changes.more {
            return Ok((kept, changes.cursor));
        }
    }
}

/// What happened in a folder behind a cursor.
struct Since {
    items: Vec<Item>,
    flags: Vec<(ItemId, Vec<String>)>,
    vanished: Vec<ItemSet>,
}

/// All of it, page by page.
async fn since(source: &mut ImapSource, folder: &FolderId, mut after: Cursor) -> Result<Since> {
    let mut since = Since { items: Vec::new(), flags: Vec::new(), vanished: Vec::new() };
    loop {
        let changes = source.changes(folder, Some(&after)).await?;
        since.items.extend(changes.items);
        since.flags.extend(changes.flags);
        since.vanished.push(changes.vanished);
        after = changes.cursor;
        if !changes.more {
            return Ok(since);
        }
    }
}

fn limits() -> Limits {
    Limits { page_messages_max: 7, ..Limits::default() }
}
