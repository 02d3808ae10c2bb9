//! An Exchange server for tests, written from the published schemas, with the faults of real ones.
//!
//! | module | what |
//! |---|---|
//! | [`store`] | mailboxes, folders, items, and what happened in them |
//! | `tree` | a request as a tree |
//! | `answers` | EWS: from a request to an answer |
//! | `server` | HTTP over TLS, faults on order, Autodiscover, a token endpoint |
//! | `login` | Basic, NTLM with channel binding, Bearer |
//! | [`judge`] | every request and answer by the schema; exchangelib as a client of others |
//!
//! Promises
//! - What it answers is valid by the schema, and what it is asked is kept, so that [`Exchange::judged`] can say the same of us.
//! - It is gone when its value is dropped.

mod answers;
pub mod judge;
mod login;
mod server;
pub mod store;
mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use postern_archiver::sources::ews::{Access, Common, Disposal, Login, Part, Server, Settings};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use postern_shared::proto::sasl::PlainCredentials;
use postern_shared::tls::client::Trust;
use postern_shared::tls::server::Identity;

use store::Store;

/// The account that logs in.
pub const USER: &str = "svc-archive@example.com";
/// Its password.
pub const PASSWORD: &str = "s3cret: \u{fc}ber";
/// The secret of the application that asks for tokens.
pub const CLIENT_SECRET: &str = "client&secret";

/// How the server wants to be logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// User and password.
    Basic,
    /// NTLMv2, with the hash of the certificate when that is `true`.
    Ntlm(bool),
    /// An access token of the token endpoint.
    Bearer,
}

/// What goes wrong next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Status 500 and a fault with this code, words, and pause in milliseconds.
    Soap(&'static str, &'static str, Option<u64>),
    /// Status 200 and response messages that say busy, from the n-th on.
    BusyFrom(usize),
    /// This status, with `Retry-After`.
    Status(u16, Option<u64>),
    /// This status, with this field.
    StatusField(u16, &'static str, &'static str),
    /// The connection ends behind so many octets of the answer.
    Cut(usize),
    /// This, with status 200.
    Text(&'static str),
    /// Status 500, and a body of which an octet comes now and then, without an end.
    Drip,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) wants: Wants,
    /// Whether the account may impersonate.
    pub(crate) impersonates: bool,
    /// Whether it has full access to others' mailboxes.
    pub(crate) has_access: bool,
    /// Whether connections are closed as soon as they are up.
    pub(crate) hangs_up: bool,
    /// Of each request to Autodiscover, whether it brought a login.
    pub(crate) brought: Vec<bool>,
    pub(crate) version: (u32, u32),
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    /// Requests by name.
    pub(crate) asked: BTreeMap<String, usize>,
    /// What went over the line, for the judge.
    pub(crate) spoken: Vec<String>,
    /// `X-AnchorMailbox` of the last request.
    pub(crate) anchor: String,
    /// What Autodiscover answers, as XML and as JSON.
    pub(crate) autodiscover: (Option<String>, Option<String>),
    pub(crate) tokens: Vec<String>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) connections: usize,
}

/// The server.
pub struct Exchange {
    shared: Arc<Mutex<Shared>>,
    address: SocketAddr,
    fingerprint: String,
    /// Of its own, so that tests may wait within theirs.
    runtime: Option<tokio::runtime::Runtime>,
    _dir: tempfile::TempDir,
}

impl Exchange {
    /// Starts one with an empty mailbox for `anna@example.com`.
    pub fn start(wants: Wants) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("exchange").tempdir()?;
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let identity = Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall())?;
        let fingerprint = format!("sha256:{}", identity.fingerprint());
        let shared = Shared {
            store: Store::default(),
            wants,
            impersonates: true,
            has_access: true,
            hangs_up: false,
            brought: Vec::new(),
            version: (15, 2),
            faults: VecDeque::new(),
            asked: BTreeMap::new(),
            spoken: Vec::new(),
            anchor: String::new(),
            autodiscover: (None, None),
            tokens: Vec::new(),
            certificate: server::certificate(dir.path())?,
            connections: 0,
        };
        let shared = Arc::new(Mutex::new(shared));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let address = server::serve(runtime.handle(), &*identity.server_config()?, Arc::clone(&shared))?;
        let exchange = Self { shared, address, fingerprint, runtime: Some(runtime), _dir: dir };
        exchange.store().mailbox("anna@example.com");
        Ok(exchange)
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What it holds, to be changed.
    pub fn store(&self) -> StoreGuard<'_> {
        StoreGuard(self.shared())
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/EWS/Exchange.asmx", self.address.port())
    }

    /// Another path there.
    pub fn at(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.address.port())
    }

    /// SHA-256 of its certificate, as profiles pin it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What trusts it.
    pub fn trust(&self) -> Trust {
        self.fingerprint.parse().unwrap_or(Trust::System)
    }

    /// What a client of ours needs: the account's password, the mailbox read as the account's own.
    pub fn settings(&self) -> Settings {
        let credentials = PlainCredentials { user: USER.into(), password: PASSWORD.to_owned().into() };
        let wants = self.shared().wants;
        Settings {
            server: Server::Url(self.url().parse().expect("a URL")),
            trust: self.trust(),
            login: match wants {
                Wants::Ntlm(_) => Login::Ntlm(credentials),
                _ => Login::Basic(credentials),
            },
            access: Access::Impersonate,
            parts: vec![Part::Mailbox],
            everything: false,
            disposal: Disposal::Soft,
            public_folder_mailbox: None,
            common: Common::default(),
        }
    }

    /// Lets the next request of that name fail; those that come later wait their turn.
    pub fn fail(&self, request: &'static str, fault: Fault) {
        self.shared().faults.push_back((request, fault));
    }

    /// Whether the account may impersonate.
    pub fn impersonates(&self, may: bool) {
        self.shared().impersonates = may;
    }

    /// Whether the account has full access to the mailboxes of others.
    pub fn has_access(&self, has: bool) {
        self.shared().has_access = has;
    }

    /// Whether it closes connections as soon as they are up, as a load balancer does that has no server behind it.
    pub fn hangs_up(&self, hangs_up: bool) {
        self.shared().hangs_up = hangs_up;
    }

    /// Of each request to Autodiscover's XML, whether it brought a login.
    pub fn brought(&self) -> Vec<bool> {
        self.shared().brought.clone()
    }

    /// Which version it says it is.
    pub fn is_version(&self, major: u32, minor: u32) {
        self.shared().version = (major, minor);
    }

    /// What Autodiscover answers as XML (the content of `Account`), and as JSON.
    pub fn autodiscovers(&self, xml: Option<&str>, json: Option<&str>) {
        self.shared().autodiscover = (xml.map(str::to_owned), json.map(str::to_owned));
    }

    /// Forgets all access tokens.
    pub fn forget_tokens(&self) {
        self.shared().tokens.clear();
    }

    /// How many requests of that name came.
    pub fn asked(&self, request: &str) -> usize {
        self.shared().asked.get(request).copied().unwrap_or_default()
    }

    /// How many connections came.
    pub fn connections(&self) -> usize {
        self.shared().connections
    }

    /// `X-AnchorMailbox` of the last request.
    pub fn anchor(&self) -> String {
        self.shared().anchor.clone()
    }

    /// What went over the line so far.
    pub fn spoken(&self) -> Vec<String> {
        self.shared().spoken.clone()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The store, locked.
pub struct StoreGuard<'a>(MutexGuard<'a, Shared>);

impl std::ops::Deref for StoreGuard<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0.store
    }
}

impl std::ops::DerefMut for StoreGuard<'_> {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.0.store
    }
}
