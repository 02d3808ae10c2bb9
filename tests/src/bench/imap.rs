//! IMAP pull of a full folder over TLS: the archiver's source, which hashes what comes, beside mbsync into a Maildir.
//!
//! Both are timed from the first to the last octet of their connection, login and list included. What comes is not archived
//! here; what mbsync writes is as durable as it makes it.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use postern_archiver::sources::account::{FolderId, Item, Sink};
use postern_archiver::sources::imap::{ImapSource, Limits, Login, Settings};
use postern_archiver::sources::{Account as _, Cursor, ItemId, NotFetched};
use postern_shared::crypto::digest::Sha256;
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;

use super::words::Words;
use super::{Plan, Rates, progress, rate, settle};
use crate::foreign::{self, has};
use crate::messages;
use crate::upstream::{Authority, Dovecot};

pub(super) const MESSAGE_BYTES: usize = 50_000;
const FOLDERS: usize = 500;
pub(super) const USER: &str = "pop";
pub(super) const PASSWORD: &str = "secret";

/// Fills a folder, pulls it by turns and prints two lines: everything, and nothing new.
pub fn run(plan: &Plan) -> Result<()> {
    if !plan.wants("IMAP pull") || !["dovecot", "mbsync"].into_iter().all(has) {
        return Ok(());
    }
    let count = plan.download_messages * 5 / 2;
    println!(
        "\nIMAP pull of {count} × 50 KB over TLS from one Dovecot; messages per second, and runs per second"
    );
    println!("{:20} {:>22} {:>20} {:>6}", "", "ours", "mbsync", "ratio");
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    let mut dovecot = Dovecot::with(&identity).below(&plan.dir).user(USER, PASSWORD).imap().start()?;
    progress(&format!("IMAP pull: {count} messages into the folder"));
    for first in (0..count).step_by(500) {
        let messages: Vec<_> = (first..count.min(first + 500)).map(message).collect();
        dovecot.deliver(USER, &messages)?;
    }
    let (_, imaps) = dovecot.imap.context("no IMAP")?;
    let credentials = PlainCredentials { user: USER.into(), password: PASSWORD.to_owned().into() };
    let settings = Settings {
        host: "localhost".into(),
        port: imaps.port(),
        tls: TlsStart::Implicit,
        trust: Trust::Authorities(authority.certificate()),
        login: Login { credentials: credentials.into(), act_as: None, mechanism: None },
        compress: false,
    };
    let mbsync =
        Mbsync { port: imaps.port(), authority: &authority.certificate(), dir: &plan.dir.join("mbsync") };
    // So that Dovecot's indexes exist.
    let (_, cursor) = ours(&settings, None, count)?;
    let (mut our_rates, mut their_rates) = (Rates::default(), Rates::default());
    let (mut our_nothing, mut their_nothing) = (Rates::default(), Rates::default());
    for round in 1..=plan.rounds {
        progress(&format!("IMAP pull, round {round} of {}", plan.rounds));
        settle()?;
        our_rates.push(ours(&settings, None, count)?.0);
        our_nothing.push(ours(&settings, Some(cursor.clone()), 0)?.0);
        settle()?;
        mbsync.prepare()?;
        their_rates.push(mbsync.pull(count)?);
        their_nothing.push(mbsync.pull(1)?);
    }
    let ratio = our_rates.median() / their_rates.median();
    println!("{:20} {our_rates:>22} {their_rates:>20} {ratio:>6.2}", "everything");
    let ratio = our_nothing.median() / their_nothing.median();
    println!("{:20} {our_nothing:>22} {their_nothing:>20} {ratio:>6.2}", "nothing new");
    dovecot.make_folders(USER, FOLDERS)?;
    println!("nothing new in {FOLDERS} folders: {:.2} s a run, login included", folders(&settings)?);
    Ok(())
}

/// Seconds of a run over all folders in which nothing changed, after one that read them.
fn folders(settings: &Settings) -> Result<f64> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let (mut cursors, mut seconds) = (std::collections::HashMap::new(), 0.0);
        for _ in 0..2 {
            let start = Instant::now();
            let mut source = ImapSource::connect(settings, Limits::default()).await?;
            for folder in source.folders().await? {
                let mut after = cursors.remove(&folder.id);
                while let Some(changes) = Some(source.changes(&folder.id, after.as_ref()).await?) {
                    after = Some(changes.cursor);
                    if !changes.more {
                        break;
                    }
                }
                cursors.extend(after.map(|after| (folder.id, after)));
            }
            source.finish().await?;
            seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    })
}

/// Lines of letters that do not repeat.
pub(super) fn message(number: usize) -> Vec<u8> {
    let mut words = Words::new(number);
    let mut body = String::with_capacity(MESSAGE_BYTES);
    while body.len() < MESSAGE_BYTES - 300 {
        words.line(&mut body, "\r\n");
    }
    messages::plain(number, "anna@mail.test", "bob@mail.test", "bench", &body)
}

#[derive(Default)]
struct Hashing {
    hash: Sha256,
    octets: u64,
    messages: usize,
}

impl Sink for Hashing {
    async fn begins(&mut self, _octets: u64) -> std::io::Result<()> {
        self.hash = Sha256::new();
        Ok(())
    }

    async fn piece(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.hash.update(octets);
        Ok(())
    }

    async fn ends(&mut self, item: Item) -> std::io::Result<()> {
        // The hash must not be left out.
        self.octets += item.octets + u64::from(std::mem::take(&mut self.hash).finish().0[0] & 1);
        self.messages += 1;
        Ok(())
    }

    async fn missing(&mut self, id: ItemId, why: NotFetched) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("{id}: {why}")))
    }
}

/// Pulls what is behind a cursor; the rate (of runs when nothing is expected), and the next cursor.
fn ours(settings: &Settings, after: Option<Cursor>, expected: usize) -> Result<(f64, Cursor)> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let start = Instant::now();
        let mut source = ImapSource::connect(settings, Limits::default()).await?;
        let (mut sink, mut cursor) = (Hashing::default(), after);
        let folder = FolderId("INBOX".into());
        source.folders().await?;
        let cursor = loop {
            let changes = source.changes(&folder, cursor.as_ref()).await?;
            source.fetch(&folder, &changes.items, &mut sink).await?;
            if !changes.more {
                break changes.cursor;
            }
            cursor = Some(changes.cursor);
        };
        source.finish().await?;
        let taken = start.elapsed();
        ensure!(sink.messages == expected, "{} messages came, {expected} are there", sink.messages);
        ensure!(sink.octets >= (expected * (MESSAGE_BYTES - 1000)) as u64, "they are too short");
        Ok((rate(expected.max(1), taken), cursor))
    })
}

pub(super) struct Mbsync<'b> {
    pub(super) port: u16,
    pub(super) authority: &'b Path,
    pub(super) dir: &'b Path,
}

impl Mbsync<'_> {
    /// An empty Maildir.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.dir.exists() {
            std::fs::remove_dir_all(self.dir)?;
        }
        std::fs::create_dir_all(self.dir.join("mail"))?;
        let config = format!(
            "IMAPAccount peer\nHost localhost\nPort {0}\nUser {USER}\nPass {PASSWORD}\nSSLType IMAPS\nCertificateFile {1}\n\
             AuthMechs LOGIN\n\nIMAPStore far\nAccount peer\n\nMaildirStore near\nPath {2}/mail/\nInbox {2}/mail/INBOX\n\
             SubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n",
            self.port,
            self.authority.display(),
            self.dir.display(),
        );
        Ok(std::fs::write(self.dir.join("mbsyncrc"), config)?)
    }

    /// Messages, or runs, per second.
    pub(super) fn pull(&self, count: usize) -> Result<f64> {
        let start = Instant::now();
        foreign::run(Command::new("mbsync").arg("-c").arg(self.dir.join("mbsyncrc")).args(["-q", "c"]))?;
        let taken = start.elapsed();
        let stored: usize = ["cur", "new"]
            .iter()
            .map(|sub| std::fs::read_dir(self.dir.join("mail/INBOX").join(sub)).map_or(0, Iterator::count))
            .sum();
        ensure!(stored >= count, "mbsync stored {stored} of {count}");
        Ok(rate(count, taken))
    }
}
