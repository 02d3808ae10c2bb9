//! Mailboxes at an Exchange server: which there are now, the way into each, and `profile test` for them.

use std::sync::Arc;

use postern_shared::control::Context;
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::telemetry::Progress;
use url::Url;

use super::accounts::user_of;
use super::job::RunError;
use super::probe::{ACCOUNTS_MAX, Probed, Server as Where, StepResult, failed_before, look, nobodys};
use super::profile::Profile;
use super::run::{Opens, places};
use crate::archive::Instance;
use crate::sources::SourceError;
use crate::sources::ews::profile::{Mailboxes, Source};
use crate::sources::ews::{self, Access, EwsAccount, EwsError, Limits, Server, Settings};

/// A mailbox of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// Its primary SMTP address.
    pub(super) address: String,
    /// What names it across runs.
    pub(super) key: String,
    /// Whose mail it is, as far as the instance knows such a user.
    pub(super) user: Option<String>,
}

/// The mailboxes of a source, as they are now.
pub(super) fn mailboxes(source: &Source, instance: &Instance) -> Vec<Mailbox> {
    let mailbox = |address: &str, user: Option<String>| {
        let at = match &source.settings.server {
            Server::Url(url) => {
                format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(443))
            }
            Server::Autodiscover { .. } => "autodiscover".to_owned(),
        };
        let key = format!("ews {} at {at}", address.to_ascii_lowercase());
        Mailbox { address: address.to_owned(), key, user }
    };
    match &source.mailboxes {
        Mailboxes::Named(addresses) => {
            addresses.iter().map(|address| mailbox(address, user_of(instance, address))).collect()
        }
        Mailboxes::Users => {
            let users = instance.users();
            users
                .iter()
                .filter_map(|user| Some(mailbox(user.emails.first()?, Some(user.id.clone()))))
                .collect()
        }
    }
}

/// Whose sessions are counted together: the server, or the domain where it is not known yet.
pub(super) fn host(settings: &Settings, address: &str) -> String {
    let domain = address.rsplit_once('@').map_or(address, |(_, domain)| domain);
    match &settings.server {
        Server::Url(url) => url.host_str().unwrap_or(domain).to_owned(),
        Server::Autodiscover { .. } => domain.to_ascii_lowercase(),
    }
}

pub(super) struct OpensMailbox<'o> {
    pub(super) settings: &'o Settings,
    pub(super) mailbox: &'o Mailbox,
    pub(super) message_octets_max: u64,
}

impl Opens for OpensMailbox<'_> {
    type Account = EwsAccount;

    async fn open(&self) -> Result<EwsAccount, SourceError> {
        let limits = Limits { message_octets_max: self.message_octets_max, ..Limits::default() };
        EwsAccount::connect(self.settings, &self.mailbox.address, limits).await
    }
}

/// Tests the mailboxes one after the other; not the rest of them when it would be the same for those.
pub(super) async fn probe(
    instance: &Arc<Instance>,
    source: &Source,
    profile: &Profile,
    context: &Context,
) -> Result<Vec<Probed>, RunError> {
    let mailboxes = mailboxes(source, instance);
    if mailboxes.is_empty() {
        return Err(RunError::NoAccounts);
    }
    let total = mailboxes.len().min(ACCOUNTS_MAX) as u64;
    let mut all = Vec::new();
    for mailbox in mailboxes.iter().take(ACCOUNTS_MAX) {
        let host = host(&source.settings, &mailbox.address);
        let Some(_place) = places().session(&instance.info().id, &host, context).await else { break };
        let what = format!("testing {}", mailbox.address);
        context.progress(Progress { what, done: all.len() as u64, total: Some(total) });
        let mut way = Way { account: mailbox.address.clone(), steps: Vec::new() };
        let gone = way.go(&source.settings, profile).await;
        let ends = matches!(&gone, Err((_, error)) if ews::is_of_the_login(error));
        let mut probed = way.end(gone);
        if probed.advice.is_none() && mailbox.user.is_none() && profile.assigns_by_account() {
            probed.advice = Some(nobodys(&mailbox.address));
        }
        all.push(probed);
        if ends || context.is_cancelled() {
            break;
        }
    }
    Ok(all)
}

/// The way into a mailbox, as far as it was gone.
struct Way {
    account: String,
    steps: Vec<StepResult>,
}

impl Way {
    fn passed(&mut self, step: &str, words: String) {
        self.steps.push(StepResult { step: step.to_owned(), ok: true, words });
    }

    /// What is found at its end; or the step that fails, with what to do, and why.
    async fn go(
        &mut self,
        settings: &Settings,
        profile: &Profile,
    ) -> Result<String, ((&'static str, String), SourceError)> {
        let mut settings = settings.clone();
        let limits = Limits::default();
        let url = match &settings.server {
            Server::Url(url) => url.clone(),
            Server::Autodiscover { .. } => {
                let found = ews::discover(&settings, &self.account, &limits).await;
                let url = found.map_err(|error| (("Autodiscover", undiscovered(&error)), error))?;
                self.passed("Autodiscover", format!("it is at {url}"));
                url
            }
        };
        settings.server = Server::Url(url.clone());
        let found = match EwsAccount::connect(&settings, &self.account, limits).await {
            Ok(account) => look(account, profile).await.map_err(|stop| stop.error),
            Err(error) => Err(error),
        };
        let steps = good(&settings, &url);
        match found {
            Ok(words) => {
                steps.into_iter().for_each(|(step, words)| self.passed(step, words));
                Ok(words)
            }
            Err(error) => {
                let (at, advice) = failing(&error, &settings, &url);
                let mut steps = steps.into_iter();
                for (step, words) in steps.by_ref().take(at) {
                    self.passed(step, words);
                }
                let step = steps.next().map_or("folders", |(step, _)| step);
                Err(((step, advice), error))
            }
        }
    }

    fn end(mut self, gone: Result<String, ((&'static str, String), SourceError)>) -> Probed {
        let (step, ok, words, advice) = match gone {
            Ok(words) => ("folders", true, words, None),
            Err(((step, advice), error)) => (step, false, error.to_string(), Some(advice)),
        };
        self.steps.push(StepResult { step: step.to_owned(), ok, words });
        Probed { account: self.account, steps: self.steps, advice }
    }
}

/// The steps before the folders, when they led on.
fn good(settings: &Settings, url: &Url) -> [(&'static str, String); 5] {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(443));
    let right = match settings.access {
        Access::Impersonate => ("impersonation", "the account may act for the mailbox".to_owned()),
        Access::Own | Access::Delegate => ("mailbox", "the account may read it".to_owned()),
    };
    [
        ("DNS", format!("{host} has an address")),
        ("TCP", format!("port {port} answers")),
        ("TLS", "the certificate is trusted".to_owned()),
        ("login", "let in".to_owned()),
        right,
    ]
}

const LOGIN: usize = 3;
const RIGHT: usize = 4;

/// At which of these steps, and what to do.
fn failing(error: &SourceError, settings: &Settings, url: &Url) -> (usize, String) {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port().unwrap_or(443));
    let server = Where { host, port, tls: TlsStart::Implicit, trust: &settings.trust };
    match error {
        SourceError::Ews { error, .. } => of_exchange(error, settings),
        SourceError::Login { .. } => (
            LOGIN,
            "check username, password and auth; behind a load balancer that ends TLS itself, Extended Protection refuses NTLM"
                .to_owned(),
        ),
        SourceError::Name { .. } | SourceError::Connect { .. } => {
            let (step, _) = failed_before(error, server);
            (step, "check url in the profile, that the server runs, name resolution, and firewalls between it and this machine".into())
        }
        SourceError::Tls { .. } => (2, "check the host and the port in url: does a web server with TLS answer there?".into()),
        SourceError::Folder { .. } | SourceError::TooMany { .. } => (RIGHT + 1, "look at the mailbox with another client".into()),
        error => failed_before(error, server),
    }
}

fn of_exchange(error: &EwsError, settings: &Settings) -> (usize, String) {
    let advice = |text: &str| text.to_owned();
    match error {
        EwsError::Impersonation { .. } => (
            RIGHT,
            advice(
                "grant the role ApplicationImpersonation as docs/ews.md says; it may take an hour until all servers know",
            ),
        ),
        EwsError::Refused { code, .. }
            if settings.access != Access::Impersonate && code != "ErrorNonExistentMailbox" =>
        {
            (
                RIGHT,
                advice(
                    "is it the account's own mailbox? Else full access (access = \"delegate\") or impersonation is needed",
                ),
            )
        }
        EwsError::Refused { .. } => {
            (RIGHT, advice("check mailbox: the primary SMTP address of a mailbox on this server"))
        }
        EwsError::Online(_) => {
            (LOGIN, advice("let Microsoft 365 journal to a mailbox of a Postern gateway instead"))
        }
        EwsError::Busy { .. } => {
            (LOGIN, advice("try again later; docs/ews.md has a throttling policy for the account"))
        }
        EwsError::NotOffered { .. } => {
            (LOGIN, advice("set auth to what the server offers, or switch it on at its virtual directory"))
        }
        EwsError::Token(_) => {
            (LOGIN, advice("check token_endpoint, client_id, the secret, scope and resource"))
        }
        _ => (LOGIN, advice("check url; does EWS answer there?")),
    }
}

fn undiscovered(error: &SourceError) -> String {
    match error {
        SourceError::Ews { error, .. } if matches!(**error, EwsError::Online(_)) => {
            "let Microsoft 365 journal to a mailbox of a Postern gateway instead".into()
        }
        SourceError::Login { .. } => "check username, password and auth".into(),
        _ => "put url = \"https://…/EWS/Exchange.asmx\" into the profile".into(),
    }
}
