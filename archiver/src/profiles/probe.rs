//! `profile test`: the way into each account of a profile, step by step, and in words which one fails and what to do.
//!
//! It goes the way that a run goes, with the same certificates and logins, and reads no message. A step is called good only
//! when the next one was reached.

use std::sync::Arc;

use postern_shared::clock::SystemClock;
use postern_shared::control::Context;
use postern_shared::proto::pop3::client::{ClientError, TlsStart};
use postern_shared::telemetry::Progress;
use postern_shared::tls::client::Trust;
use serde::{Deserialize, Serialize};

use super::accounts::{Opener, Plan, Planned, Tokens, plan};
use super::exchange;
use super::job::{RunError, open_state};
use super::profile::Profile;
use super::run::places;
use super::source::{Accounts, SourceProfile};
use crate::archive::Instance;
use crate::sources::account::{Account, Folder};
use crate::sources::files::{self, FilesSource};
use crate::sources::gateway::{self, GatewaySource};
use crate::sources::imap::ImapError;
use crate::sources::{Source as _, SourceError};

/// Accounts that are tested; the others of a batch go the same way.
pub(super) const ACCOUNTS_MAX: usize = 1000;

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
    /// DNS, TCP, TLS, token, login, folders; at Exchange also Autodiscover, impersonation and mailbox.
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
        SourceProfile::Ews(source) => Box::pin(exchange::probe(instance, source, profile, context)).await,
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
            let limits = gateway::Limits::default();
            let mut source = GatewaySource::connect(settings, limits).await.map_err(Stop::before)?;
            let waiting = source.list(None).await.map_err(Stop::inside)?.len();
            source.finish().await.map_err(Stop::inside)?;
            Ok(format!("{waiting} messages wait"))
        };
        let gateway::Settings { host, port, tls, trust, .. } = settings;
        let server = Server { host, port: *port, tls: *tls, trust };
        let name = format!("{} at {}", settings.credentials.user, settings.host);
        all.push(probed(name, server, &found.await));
    }
    all
}

async fn probe_files(instance: &Arc<Instance>, settings: &files::Settings, profile: &Profile) -> Probed {
    let opened = FilesSource::open(Arc::clone(instance.disk()), settings.clone(), u64::MAX);
    let found = match opened {
        Ok(account) => look(account, profile).await,
        Err(error) => Err(Stop::before(error)),
    };
    let advice = "check path in the profile, and that the archiver's user may read there";
    let advice = found.is_err().then(|| advice.to_owned());
    let ok = found.is_ok();
    let words = found.unwrap_or_else(|stop| stop.error.to_string());
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
        let Accounts { host, port, tls, trust, .. } = accounts;
        let server = Server { host, port: *port, tls: *tls, trust };
        let mut found = probed(planned.name.clone(), server, &found);
        if found.advice.is_none() && planned.user.is_none() && profile.assigns_by_account() {
            found.advice = Some(nobodys(&planned.name));
        }
        all.push(found);
        if context.is_cancelled() {
            break;
        }
    }
    Ok(all)
}

async fn enter(opener: &Opener<'_>, planned: &Planned, profile: &Profile) -> Result<String, Stop> {
    match &profile.source {
        SourceProfile::Pop3(_) => look(opener.pop3(planned).await.map_err(Stop::before)?, profile).await,
        _ => look(opener.imap(planned).await.map_err(Stop::before)?, profile).await,
    }
}

pub(super) fn nobodys(name: &str) -> String {
    format!(
        "no user of the instance has the address {name}: its mail goes to \"unassigned\"; give the address to a user, or write \
         address = \"…\" or [assign] with mode = \"user\" into the profile"
    )
}

impl Profile {
    pub(super) fn assigns_by_account(&self) -> bool {
        self.assign == super::Assign::Account {}
    }
}

pub(super) async fn look(mut account: impl Account, profile: &Profile) -> Result<String, Stop> {
    let folders = account.folders().await.map_err(Stop::inside)?;
    account.finish().await.map_err(Stop::inside)?;
    let wanted: Vec<&Folder> = folders.iter().filter(|folder| profile.scope.wants(folder)).collect();
    let messages: u64 = wanted.iter().filter_map(|folder| folder.messages).sum();
    let names: Vec<String> = wanted.iter().take(5).map(|folder| folder.path.join("/")).collect();
    let more = if wanted.len() > names.len() { ", …" } else { "" };
    let (all, wanted) = (folders.len(), wanted.len());
    Ok(format!("{wanted} of {all} are wanted, with {messages} messages: {}{more}", names.join(", ")))
}

/// Where the way into an account goes along.
#[derive(Clone, Copy)]
pub(super) struct Server<'s> {
    pub(super) host: &'s str,
    pub(super) port: u16,
    pub(super) tls: TlsStart,
    pub(super) trust: &'s Trust,
}

/// What ended the way.
pub(super) struct Stop {
    pub(super) error: SourceError,
    /// Behind the login.
    inside: bool,
}

impl Stop {
    fn before(error: SourceError) -> Self {
        Self { error, inside: false }
    }

    fn inside(error: SourceError) -> Self {
        Self { error, inside: true }
    }
}

fn probed(account: String, server: Server<'_>, found: &Result<String, Stop>) -> Probed {
    let (last, words, advice) = match found {
        Ok(words) => (FOLDERS, words.clone(), None),
        Err(stop) => {
            let (step, advice) = failed(stop, server);
            (step, stop.error.to_string(), Some(advice))
        }
    };
    if let Err(Stop { error: SourceError::OAuth { .. }, .. }) = found {
        let step = StepResult { step: "token".into(), ok: false, words };
        return Probed { account, steps: vec![step], advice };
    }
    let good = [
        format!("{} has an address", server.host),
        format!("port {} answers", server.port),
        match server.trust {
            Trust::Any => "encrypted; nobody looks at the certificate (trust = \"any\")".into(),
            _ => "the certificate is trusted".into(),
        },
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
fn failed(stop: &Stop, server: Server<'_>) -> (usize, String) {
    if stop.inside {
        return (FOLDERS, "check the account at the server with another client".into());
    }
    failed_before(&stop.error, server)
}

/// The same of what failed up to the login.
pub(super) fn failed_before(error: &SourceError, server: Server<'_>) -> (usize, String) {
    let Server { host, port, .. } = server;
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
            if is_before_tls(error, server.tls) { 2 } else { 3 },
            format!(
                "check port = {port} and tls in the profile: servers that expect the other way into TLS fall silent or hang up"
            ),
        ),
        error if is_before_tls(error, server.tls) => {
            (2, "see what the server said; use tls = \"implicit\" when it has a port for that".into())
        }
        _ => (3, "see what the server said; its own log may tell more".into()),
    };
    (step, advice)
}

/// Whether what was wrong was so before TLS was up.
fn is_before_tls(error: &SourceError, tls: TlsStart) -> bool {
    let in_clear = tls == TlsStart::Stls;
    match error {
        SourceError::Closed { during, .. }
        | SourceError::Broken { during, .. }
        | SourceError::TimedOut { during, .. } => {
            *during == "the TLS handshake"
                || (in_clear && ["the connection", "STARTTLS", "STLS"].contains(during))
        }
        SourceError::Imap { error, .. } => {
            matches!(**error, ImapError::StartTls(_) | ImapError::PreAuth)
                || (in_clear && matches!(**error, ImapError::Greeting(_)))
        }
        SourceError::Protocol { error, .. } => match error {
            ClientError::Refused { command, .. } | ClientError::NotPop3 { command, .. } => {
                in_clear && ["the connection", "STLS"].contains(command)
            }
            ClientError::Greeting(_) => in_clear,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_shared::proto::imap::Text;

    use super::*;

    fn steps(tls: TlsStart, trust: &Trust, stop: Stop) -> Vec<(String, bool)> {
        let server = Server { host: "mail.test", port: 993, tls, trust };
        let probed = probed("anna".into(), server, &Err(stop));
        assert!(probed.advice.is_some());
        probed.steps.into_iter().map(|step| (step.step, step.ok)).collect()
    }

    fn late(during: &'static str) -> SourceError {
        SourceError::TimedOut { host: "mail.test".into(), during, limit: Duration::from_secs(1) }
    }

    /// Goal: no step is called good that was not gone.
    #[test]
    fn the_failing_step_is_the_one_that_failed() {
        let imap = |error| SourceError::Imap { host: "mail.test".into(), error: Box::new(error) };
        let text = || Text { code: None, words: "no".into() };
        for (tls, stop, step) in [
            (TlsStart::Implicit, Stop::before(late("the TLS handshake")), "TLS"),
            (TlsStart::Stls, Stop::before(late("the connection")), "TLS"),
            (TlsStart::Implicit, Stop::before(late("the connection")), "login"),
            (TlsStart::Stls, Stop::before(late("the login")), "login"),
            (TlsStart::Stls, Stop::before(imap(ImapError::StartTls(text()))), "TLS"),
            (TlsStart::Stls, Stop::before(imap(ImapError::PreAuth)), "TLS"),
            (TlsStart::Implicit, Stop::before(imap(ImapError::Bye(text()))), "login"),
            (
                TlsStart::Implicit,
                Stop::inside(imap(ImapError::Refused { command: "LIST", text: text() })),
                "folders",
            ),
            (TlsStart::Implicit, Stop::inside(late("the list of folders")), "folders"),
        ] {
            let words = stop.error.to_string();
            let steps = steps(tls, &Trust::System, stop);
            assert_eq!(steps.last(), Some(&(step.to_owned(), false)), "{words}");
            let before = STEPS.iter().take_while(|name| **name != step).count();
            assert!(steps.len() == before + 1 && steps[..before].iter().all(|(_, ok)| *ok), "{words}");
        }
    }

    #[test]
    fn a_certificate_that_nobody_looks_at_is_not_called_trusted() {
        let server = Server { host: "mail.test", port: 993, tls: TlsStart::Implicit, trust: &Trust::Any };
        let probed = probed("anna".into(), server, &Ok("all".into()));
        assert!(probed.steps[2].words.contains("nobody looks at the certificate"), "{:?}", probed.steps[2]);
    }
}
