//! Where the server is, who pulls, what, and within which bounds.

use std::time::Duration;

use postern_shared::tls::client::Trust;
use url::Url;

use super::auth::Login;
use super::common::Common;
use super::soap::Disposal;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// `https://mail.example.com/EWS/Exchange.asmx`.
    Url(Url),
    /// Autodiscover finds it by the mailbox's address.
    Autodiscover {
        /// Where to ask first, when it is not where Exchange puts it.
        first: Option<Url>,
        /// Hosts that may be given the login, beside those under the domain of the mailbox.
        hosts: Vec<String>,
    },
}

/// By which right the mailbox is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is the account's own, and the server is asked for it by name; so are journal mailboxes read.
    Own,
    /// By the management role ApplicationImpersonation: the account acts as the mailbox's user.
    Impersonate,
    /// The account has full access to the mailbox.
    Delegate,
}

/// Part of what a mailbox's user can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The mailbox.
    Mailbox,
    /// Its archive, when it has one.
    Archive,
    /// The public folders that its user sees.
    PublicFolders,
}

/// A source, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the server is.
    pub server: Server,
    /// Which certificate is accepted.
    pub trust: Trust,
    /// Who logs in.
    pub login: Login,
    /// By which right.
    pub access: Access,
    /// What is read.
    pub parts: Vec<Part>,
    /// Folders of calendars, contacts, tasks, notes and journals too.
    pub everything: bool,
    /// What happens to what is deleted.
    pub disposal: Disposal,
    /// The mailbox that holds public folders, to which requests for them are sent.
    pub public_folder_mailbox: Option<String>,
    /// What is known of the server by this login.
    pub common: Common,
}

/// Bounds and deadlines.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A longer message is passed over.
    pub message_octets_max: u64,
    /// Folders that an account may list.
    pub folders_max: usize,
    /// Items of a page of changes; 512 at most (MS-OXWSSYNC §2.2.5.1).
    pub page_items_max: usize,
    /// Items of a page of a public folder; the usual throttling policy allows 1000.
    pub find_items_max: usize,
    /// Items of a public folder.
    pub public_items_max: usize,
    /// Items asked for at once.
    pub batch_items_max: usize,
    /// What they may take in the store together.
    pub batch_octets_max: u64,
    /// For the name, for each address, and for the TLS handshake.
    pub connect: Duration,
    /// For a list of folders or a page of changes.
    pub list: Duration,
    /// Without a single octet, while an answer is awaited.
    pub silence: Duration,
    /// A message may take [`Limits::silence`] and its size divided by this.
    pub octets_per_second_min: u64,
    /// The first pause when the server is busy and does not say for how long; it doubles.
    pub pause_first: Duration,
    /// The longest single pause.
    pub pause_max: Duration,
    /// How long all pauses of one request may be.
    pub pauses_max: Duration,
    /// For how long a folder that shows no change is believed.
    pub believe: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets_max: 256 * 1024 * 1024,
            folders_max: 100_000,
            page_items_max: 512,
            find_items_max: 1000,
            public_items_max: 5_000_000,
            batch_items_max: 32,
            batch_octets_max: 4 * 1024 * 1024,
            connect: Duration::from_secs(30),
            list: Duration::from_secs(300),
            silence: Duration::from_secs(120),
            octets_per_second_min: 1024,
            pause_first: Duration::from_secs(2),
            pause_max: Duration::from_secs(300),
            pauses_max: Duration::from_secs(900),
            believe: Duration::from_secs(24 * 3600),
        }
    }
}
