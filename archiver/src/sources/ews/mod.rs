//! Exchange on-premises, by Exchange Web Services (EWS) over HTTPS. Not Exchange Online, which blocks EWS since October 2026.
//!
//! | file | what |
//! |---|---|
//! | [`soap`] | requests and answers as octets and values |
//! | [`auth`] | Basic, NTLM, OAuth |
//! | `http`, `session` | one connection to one host, and the login there |
//! | `service` | whole answers; what is busy is waited for |
//! | `autodiscover` | from an address to the server |
//! | `common` | what all mailboxes read by one login share |
//! | `folders`, `position`, `item`, `changes`, `fetch`, `delete` | what [`Account`] promises |
//! | [`profile`] | the table in a profile |
//! | `online` | is it Exchange Online? |
//!
//! | what | how |
//! |---|---|
//! | a mailbox, a journal mailbox | [`Access::Own`] |
//! | many mailboxes | [`Access::Impersonate`] (MS-OXWSSID `ExchangeImpersonation`), or [`Access::Delegate`] |
//! | the archive of a mailbox | [`Part::Archive`] |
//! | public folders | [`Part::PublicFolders`]: FindFolder and FindItem, as they cannot be synchronised |
//! | Exchange 2010 SP2 to Subscription Edition | yes |
//! | Exchange 2007 and 2010 before SP2, Recoverable Items, notifications, ExportItems | No |
//!
//! Promises
//! - Nothing is read but by requests that change nothing at the source; nothing is deleted but what was ordered by its id.
//! - An item counts as fetched when its response message was whole and named it; what cannot be converted, is refused, or
//!   brings no answer that makes sense when it is asked for alone, twice, while the server answers other requests, goes to the
//!   list of what is tried again, with the server's words. Five such items one after the other end the run.
//! - What is deleted is what was archived: an item that was changed since is archived again first, and drafts and what is no mail
//!   are never deleted.
//! - A sync state that the server does not know any more has everything listed again.
//! - A server that wants to be left alone is left alone as long as it says, and longer and longer where it does not say; where
//!   that is longer than a run waits, by all mailboxes of the login.
//! - Every wait has a deadline, however slowly octets come.
//! - Login data goes to the host in the profile, or to one under the domain of the mailbox, or to one that the profile lists;
//!   always over TLS with a certificate that the profile trusts. No redirect is followed with them.
//! - Memory does not grow with folders or messages: pages, pieces, and [`Limits`]; but for public folders, of which every item
//!   that is still there is named by twelve octets in the cursor.
//!
//! Mail that changes after it was listed is told of with its flags, and not as new. Drafts, posts, appointments and the like are
//! listed again when they are changed, and each state that is met is archived; a draft that is sent is another item in another
//! folder.
//!
//! Not here: which folders and messages are wanted, what becomes of them (`profiles`).

pub mod auth;
mod autodiscover;
mod changes;
mod common;
mod delete;
mod error;
mod fetch;
mod folders;
mod http;
mod item;
mod online;
mod position;
pub mod profile;
mod service;
mod session;
mod settings;
pub mod soap;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use postern_shared::clock::SystemClock;
use tokio::time::timeout;
use url::Url;

use super::account::{Account, Changes, Deleted, Folder, FolderId, Item, Role, Sink, Woken};
use super::{Cursor, ItemId, SourceError};
pub use auth::Login;
use changes::Scan;
pub use common::Common;
use error::is_of_a_folder;
pub use error::{EwsError, is_of_the_login};
use http::Target;
use position::Shown;
use service::Service;
pub use settings::{Access, Limits, Part, Server, Settings};
pub use soap::Disposal;

/// What one account can read at an Exchange server, for one mailbox.
pub struct EwsAccount {
    service: Service,
    settings: Settings,
    mailbox: String,
    clock: SystemClock,
    /// Which folders are for what.
    roles: HashMap<String, Role>,
    /// What the list of folders showed of them, used once each.
    stamps: HashMap<FolderId, Shown>,
    /// The public folder that is being read.
    scan: Option<Scan>,
    /// Public folders whose folders could not be listed, and why.
    unlisted: Vec<String>,
    /// Items one after the other that brought no answer that makes sense.
    failed: u32,
}

/// Where the mailbox's EWS is, as Autodiscover tells.
///
/// # Errors
/// When it does not, with all that was tried.
pub async fn discover(settings: &Settings, mailbox: &str, limits: &Limits) -> Result<Url, SourceError> {
    let target = locate(settings, mailbox, limits).await?;
    target.url().ok_or(SourceError::BadHost { host: target.host })
}

async fn locate(settings: &Settings, mailbox: &str, limits: &Limits) -> Result<Target, SourceError> {
    match &settings.server {
        Server::Url(url) => {
            Target::of(url).ok_or_else(|| SourceError::BadHost { host: url.as_str().to_owned() })
        }
        Server::Autodiscover { first, hosts } => {
            autodiscover::find(first.as_ref(), hosts, settings, mailbox, limits).await
        }
    }
}

impl EwsAccount {
    /// Finds the server, logs in, and looks whether the mailbox can be read. `mailbox` is its primary SMTP address.
    ///
    /// # Errors
    /// Naming the step that failed: Autodiscover, name, TCP, TLS, certificate, login, the right to the mailbox.
    pub async fn connect(settings: &Settings, mailbox: &str, limits: Limits) -> Result<Self, SourceError> {
        let target = locate(settings, mailbox, &limits).await?;
        let service = Service::new(target, settings, mailbox, limits)?;
        let mut account = Self {
            service,
            settings: settings.clone(),
            mailbox: mailbox.to_owned(),
            clock: SystemClock::new(),
            roles: HashMap::new(),
            stamps: HashMap::new(),
            scan: None,
            unlisted: Vec::new(),
            failed: 0,
        };
        // A busy server is waited for here as anywhere.
        let limit = account.patience();
        if settings.parts.iter().any(|part| *part != Part::PublicFolders) {
            let found = within(limit, account.find_roles()).await;
            found.unwrap_or_else(|| Err(account.late("the login", limit)))?;
        }
        Ok(account)
    }

    /// The server's version and where it is, for people who look into a profile.
    pub fn server(&self) -> String {
        let (client, version) = (&self.service.session.client, self.service.version().unwrap_or_default());
        format!("{} (Exchange {}.{}.{})", client.host(), version.major, version.minor, version.build)
    }

    /// How many requests were sent.
    pub fn requests(&self) -> u64 {
        self.service.requests()
    }

    fn route(&mut self, part: Part) {
        let public = self.settings.public_folder_mailbox.clone();
        self.service.route(public.as_deref().filter(|_| part == Part::PublicFolders));
    }

    fn late(&self, during: &'static str, limit: Duration) -> SourceError {
        SourceError::TimedOut { host: self.service.session.client.host().to_owned(), during, limit }
    }

    fn too_many(&self, what: &'static str, max: usize) -> SourceError {
        SourceError::TooMany { host: self.service.session.client.host().to_owned(), what, max }
    }

    fn no_folder(&self, folder: &FolderId, text: &str) -> SourceError {
        let host = self.service.session.client.host().to_owned();
        SourceError::Folder { host, folder: folder.clone(), text: text.to_owned() }
    }

    /// All pauses that a busy server may ask for, and as long as the work itself may take.
    fn patience(&self) -> Duration {
        self.service.limits.list.saturating_mul(10) + self.service.limits.pauses_max
    }
}

/// Waits for `what`, for `limit` at most.
async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, SourceError>> + Send,
) -> Option<Result<T, SourceError>> {
    timeout(limit, what).await.ok()
}

impl Account for EwsAccount {
    async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let limit = self.patience();
        let folders = within(limit, self.list_folders()).await;
        folders.unwrap_or_else(|| Err(self.late("the list of folders", limit)))
    }

    fn unlisted(&self) -> Vec<String> {
        self.unlisted.clone()
    }

    async fn changes(&mut self, folder: &FolderId, after: Option<&Cursor>) -> Result<Changes, SourceError> {
        let limit = self.patience();
        let changes = within(limit, self.next_changes(folder, after)).await;
        match changes.unwrap_or_else(|| Err(self.late("the changes in a folder", limit))) {
            Err(error) if is_of_a_folder(&error) => {
                self.service.session.client.close();
                // The folders behind this one shall not wait for it, if the server answers at all.
                self.is_there().await?;
                Err(self.no_folder(folder, &error.to_string()))
            }
            changes => changes,
        }
    }

    fn names_come_again(&self) -> bool {
        false
    }

    async fn fetch(
        &mut self,
        folder: &FolderId,
        items: &[Item],
        sink: &mut (impl Sink + ?Sized),
    ) -> Result<(), SourceError> {
        self.fetch_all(folder, items, sink).await
    }

    async fn delete(&mut self, folder: &FolderId, items: &[ItemId]) -> Result<Deleted, SourceError> {
        let limit = self.patience();
        let deleted = within(limit, self.delete_now(folder, items)).await;
        deleted.unwrap_or_else(|| Err(self.late("the deletion of messages", limit)))
    }

    async fn wait(&mut self, _folder: &FolderId, _limit: Duration) -> Result<Woken, SourceError> {
        Err(SourceError::CannotWait)
    }

    async fn finish(mut self) -> Result<Deleted, SourceError> {
        self.service.session.client.close();
        Ok(Deleted::default())
    }
}
