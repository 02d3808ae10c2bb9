//! `[proxy]`: whether mail clients may go through to their servers, to which, and how long anything may take.

use std::time::Duration;

use postern_shared::config::Period;
use postern_shared::tls::client::Trust;
use serde::Deserialize;

use super::oauth::RawProvider;
use super::{Wrong, at_least};
use crate::proxy::targets::{Exception, Pattern, Targets, TlsMode};

/// Checked settings of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// Whether there is one.
    pub enabled: bool,
    /// What stands between the parts of a route.
    pub divider: char,
    /// Which servers, and how.
    pub targets: Targets,
    /// How long resolving a name may take, connecting, and the TLS handshake, each.
    pub connect_deadline: Duration,
    /// How long a server may take from its greeting to the login, in all.
    pub login_deadline: Duration,
    /// How long a server may take to answer one command.
    pub reply_deadline: Duration,
    /// How long a server may take to answer the end of data.
    pub end_of_data_deadline: Duration,
    /// How long an SMTP client may be silent.
    pub smtp_idle_deadline: Duration,
    /// How long a POP3 client may be silent.
    pub pop3_idle_deadline: Duration,
    /// Sessions at once of one account.
    pub sessions_per_account: usize,
    /// What a POP3 client gets of a message that cannot be recorded.
    pub on_recording_failure: OnRecordingFailure,
}

/// What a POP3 client gets of a message that cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRecordingFailure {
    /// An error, for now.
    #[default]
    Refuse,
    /// The message, without a record.
    Pass,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProxy {
    enabled: Option<bool>,
    divider: Option<String>,
    allow_private_targets: bool,
    allow: Vec<String>,
    deny: Vec<String>,
    trust: Option<Trust>,
    connect_deadline: Option<Period>,
    login_deadline: Option<Period>,
    reply_deadline: Option<Period>,
    end_of_data_deadline: Option<Period>,
    smtp_idle_deadline: Option<Period>,
    pop3_idle_deadline: Option<Period>,
    sessions_per_account: Option<usize>,
    on_recording_failure: OnRecordingFailure,
    target: Vec<RawTarget>,
    pub(super) provider: Vec<RawProvider>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    host: String,
    protocol: Option<RawProtocol>,
    port: Option<u16>,
    tls: Option<TlsMode>,
    trust: Option<Trust>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawProtocol {
    Smtp,
    Pop3,
}

const DIVIDER: char = '%';
const SESSIONS_PER_ACCOUNT: usize = 20;
/// What would be mistaken for a part of an address, a host or a port.
const NO_DIVIDERS: &str = "@.-_:[]";

impl RawProxy {
    pub(super) fn check(self) -> Result<ProxySettings, Wrong> {
        let or =
            |value: Option<Period>, seconds| value.map_or(Duration::from_secs(seconds), |period| period.0);
        Ok(ProxySettings {
            enabled: self.enabled.unwrap_or(true),
            divider: divider(self.divider.as_deref())?,
            targets: Targets {
                allow_private: self.allow_private_targets,
                allow: patterns("proxy.allow", &self.allow)?,
                deny: patterns("proxy.deny", &self.deny)?,
                trust: self.trust.unwrap_or(Trust::System),
                exceptions: self.target.into_iter().map(RawTarget::check).collect::<Result<_, _>>()?,
            },
            connect_deadline: or(self.connect_deadline, 30),
            login_deadline: or(self.login_deadline, 60),
            reply_deadline: or(self.reply_deadline, 300),
            end_of_data_deadline: or(self.end_of_data_deadline, 600),
            smtp_idle_deadline: or(self.smtp_idle_deadline, 300),
            pop3_idle_deadline: or(self.pop3_idle_deadline, 600),
            sessions_per_account: at_least("proxy.sessions_per_account", 1, self.sessions_per_account)?
                .unwrap_or(SESSIONS_PER_ACCOUNT),
            on_recording_failure: self.on_recording_failure,
        })
    }
}

impl RawTarget {
    fn check(self) -> Result<Exception, Wrong> {
        if self.port == Some(0) {
            return Err(("proxy.target.port", "0 is no port".into()));
        }
        Ok(Exception {
            host: self.host.parse().map_err(|error| wrong("proxy.target.host", &error))?,
            pop3: self.protocol.map(|protocol| protocol == RawProtocol::Pop3),
            port: self.port,
            tls: self.tls,
            trust: self.trust,
        })
    }
}

fn wrong(key: &'static str, error: &impl ToString) -> Wrong {
    (key, error.to_string())
}

fn patterns(key: &'static str, texts: &[String]) -> Result<Vec<Pattern>, Wrong> {
    texts.iter().map(|text| text.parse().map_err(|error| wrong(key, &error))).collect()
}

fn divider(text: Option<&str>) -> Result<char, Wrong> {
    let Some(text) = text else { return Ok(DIVIDER) };
    let mut chars = text.chars();
    let fits =
        |c: &char| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control() && !NO_DIVIDERS.contains(*c);
    match (chars.next().filter(fits), chars.next()) {
        (Some(divider), None) => Ok(divider),
        _ => {
            let message = format!(
                "{text:?} is not one character that is no letter, digit, space or any of {NO_DIVIDERS}"
            );
            Err(("proxy.divider", message))
        }
    }
}
