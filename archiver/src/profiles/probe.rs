//! `profile test`: the way into each account of a profile, step by step, and in words which one fails and what to do.
//!
//! It goes the way that a run goes, with the same certificates and logins, and reads no message.

use std::sync::Arc;

use postern_shared::clock::SystemClock;
use postern_shared::control::Context;
use postern_shared::telemetry::Progress;
use serde::{Deserialize, Serialize};

use super::accounts::{Opener, Plan, Planned, Tokens, plan};
use super::job::{RunError, open_state};
use super::profile::Profile;
use super::run::places;
use super::source::{Accounts, SourceProfile};
use crate::archive::Instance;
use crate::sources::account::{Account, Folder};
use crate::sources::files::{self, FilesSource};
use crate::sources::gateway::{self, GatewaySource};
use crate::sources::{Source as _, SourceError};

/// Accounts that are tested; the others of a batch go the same way.
const ACCOUNTS_MAX: usize = 1000;

/// How far the way into an account led.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Which.
    pub account: String,
    /// The steps that were gone, the failing one last.
    pub steps: Vec<StepResult>,
    /// What to do when one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// A step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// DNS, TCP, TLS, token, login, folders.
    pub step: String,
    /// Whether it led on.
    pub ok: bool,
    /// What was found there, or why it failed.
    pub words: String,
}

const STEPS: [&str; 5] = ["DNS", "TCP", "TLS", "login", "folders"];
const LOGIN: usize = 3;
const FOLDERS: usize = 4;

/// Tests all accounts of a profile.
pub async fn probe(
    instance: &Arc<Instance>,
    profile: &Profile,
    context: &Context,
) -> Result<Vec<Probed>, RunError> {
    match &profile.source {
        SourceProfile::Gateway(gateways) => Ok(probe_gateways(instance, gateways, context).await),
        SourceProfile::Files(settings, _) => Ok(vec![probe_files(instance, settings, profile).await]),
        SourceProfile::Imap(accounts) | SourceProfile::Pop3(accounts) => {
            probe_accounts(instance, accounts, profile, context).await
        }
    }
}

async fn probe_gateways(
    instance: &Arc<Instance>,
    gateways: &[gateway::Settings],
    context: &Context,
) -> Vec<Probed> {
    let mut all = Vec::new();
    for settings in gateways {
        let Some(_place) = places().session(&instance.info().id, &settings.host, context).await else {
            break;
        };
        let found = async {
            let mut source = GatewaySource::connect(settings, gateway::Limits::default()).await?;
            let waiting = source.list(None).await?.len();
            source.finish().await?;
            Ok(format!("{waiting} messages wait"))
        };
        let name = format!("{} at {}", settings.credentials.user, settings.host);
        all.push(probed(name, &settings.host, settings.port, &found.await));
    }
    all
}

async fn probe_files(instance: &Arc<Instance>, settings: &files::Settings, profile: &Profile) -> Probed {
    let opened = FilesSource::open(Arc::clone(instance.disk()), settings.clone(), u64::MAX);
    let found = match opened {
        Ok(account) => look(account, profile).await,
        Err(error) => Err(error),
    };
    let advice = "check path in the profile, and that the archiver's user may read there";
    let advice = found.is_err().then(|| advice.to_owned());
    let ok = found.is_ok();
    let words = found.unwrap_or_else(|error| error.to_string());
    let step = StepResult { step: STEPS[FOLDERS].to_owned(), ok, words };
    Probed { account: settings.path.display().to_string(), steps: vec![step], advice }
}

async fn probe_accounts(
    instance: &Arc<Instance>,
    accounts: &Accounts,
    profile: &Profile,
    context: &Context,
) -> Result<Vec<Probed>, RunError> {
    let (_, key) = instance.profiles();
    let tokens = Tokens::new(open_state(instance, profile).await?, key, Arc::new(SystemClock::new()));
    let opener = Opener { accounts, message_octets_max: u64::MAX, tokens };
    let Plan { accounts: planned, refused } = plan(&profile.source, instance);
    if planned.is_empty() && refused.is_empty() {
        return Err(RunError::NoAccounts);
    }
    let total = planned.len().min(ACCOUNTS_MAX) as u64;
    let refused = refused.into_iter().map(|(account, words)| {
        let step = StepResult { step: STEPS[LOGIN].to_owned(), ok: false, words };
        Probed { account, steps: vec![step], advice: None }
    });
    let mut all: Vec<Probed> = refused.collect();
    for planned in planned.iter().take(ACCOUNTS_MAX) {
        let Some(_place) = places().session(&instance.info().id, &accounts.host, context).await else {
            break;
        };
        let what = format!("testing {}", planned.name);
        context.progress(Progress { what, done: all.len() as u64, total: Some(total) });
        let found = enter(&opener, planned, profile).await;
        let mut found = probed(planned.name.clone(), &accounts.host, accounts.port, &found);
        if found.advice.is_none() && planned.user.is_none() && profile.assigns_by_account() {
            found.advice = Some(format!(
                "no user of the instance has the address {}: its mail goes to \"unassigned\"; give the address to a user, or \
                 write address = \"…\" into the profile",
                planned.name
            ));
        }
        all.push(found);
        if context.is_cancelled() {
            break;
        }
    }
    Ok(all)
}

async fn enter(opener: &Opener<'_>, planned: &Planned, profile: &Profile) -> Result<String, SourceError> {
    match &profile.source {
        SourceProfile::Pop3(_) => look(opener.pop3(planned).await?, profile).await,
        _ => look(opener.imap(planned).await?, profile).await,
    }
}

impl Profile {
    fn assigns_by_account(&self) -> bool {
        self.assign == super::Assign::Account {}
    }
}

async fn look(mut account: impl Account, profile: &Profile) -> Result<String, SourceError> {
    let folders = account.folders().await?;
    account.finish().await?;
    let wanted: Vec<&Folder> = folders.iter().filter(|folder| profile.scope.wants(folder)).collect();
    let messages: u64 = wanted.iter().filter_map(|folder| folder.messages).sum();
    let names: Vec<String> = wanted.iter().take(5).map(|folder| folder.path.join("/")).collect();
    let more = if wanted.len() > names.len() { ", …" } else { "" };
    let (all, wanted) = (folders.len(), wanted.len());
    Ok(format!("{wanted} of {all} are wanted, with {messages} messages: {}{more}", names.join(", ")))
}

fn probed(account: String, host: &str, port: u16, found: &Result<String, SourceError>) -> Probed {
    let (last, words, advice) = match found {
        Ok(words) => (FOLDERS, words.clone(), None),
        Err(error) => {
            let (step, advice) = failed(error, host, port);
            (step, error.to_string(), Some(advice))
        }
    };
    if let Err(SourceError::OAuth { .. }) = found {
        let step = StepResult { step: "token".into(), ok: false, words };
        return Probed { account, steps: vec![step], advice };
    }
    let good = [
        format!("{host} has an address"),
        format!("port {port} answers"),
        "the certificate is trusted".into(),
        "let in".into(),
    ];
    let mut steps: Vec<StepResult> = STEPS
        .iter()
        .zip(good)
        .take(last)
        .map(|(step, words)| StepResult { step: (*step).to_owned(), ok: true, words })
        .collect();
    steps.push(StepResult { step: STEPS[last].to_owned(), ok: found.is_ok(), words });
    Probed { account, steps, advice }
}

/// At which step, and what to do.
fn failed(error: &SourceError, host: &str, port: u16) -> (usize, String) {
    let (step, advice) = match error {
        SourceError::Name { .. } => {
            (0, format!("check host = \"{host}\" in the profile, and that this machine can resolve names"))
        }
        SourceError::Connect { .. } => (
            1,
            format!("check port = {port} in the profile, that the server runs, and firewalls between it and this machine"),
        ),
        SourceError::BadHost { .. } | SourceError::Trust(_) => (2, "correct host or trust in the profile".into()),
        SourceError::NotTrusted { .. } => (
            2,
            "compare the fingerprint with the server's own; when it is the right one, put it into the profile as trust = …"
                .into(),
        ),
        SourceError::Tls { .. } => (
            2,
            "check tls in the profile: \"implicit\" for ports that begin with TLS (993, 995), \"starttls\" for 143 and 110"
                .into(),
        ),
        SourceError::OAuth { temporary, .. } => (
            3,
            match temporary {
                true => "the provider is busy or broken; try again later".into(),
                false => "check [source.oauth]: token_endpoint, client_id, client_secret, scopes, and refresh_token, which may \
                          have run out or been taken back"
                    .to_owned(),
            },
        ),
        SourceError::Login { .. } => (
            3,
            "check username and password; that the account may use this protocol; for master users that they may act for it; \
             for tokens that the scopes allow this protocol"
                .into(),
        ),
        SourceError::InUse { .. } => (3, "another program reads this mailbox; stop that, or let it finish".into()),
        SourceError::Closed { .. } | SourceError::Broken { .. } | SourceError::TimedOut { .. } => (
            3,
            format!(
                "check port = {port} and tls in the profile: servers that expect the other way into TLS fall silent or hang up"
            ),
        ),
        SourceError::TooMany { .. } | SourceError::Folder { .. } => {
            (FOLDERS, "check the account at the server with another client".into())
        }
        _ => (3, "see what the server said; its own log may tell more".into()),
    };
    (step, advice)
}
