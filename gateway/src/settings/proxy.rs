//! `[proxy]`: whether mail clients may go through to their servers, to which, and how long anything may take.

use std::time::Duration;

use postern_shared::config::Period;
use postern_shared::tls::client::Trust;
use serde::{Deserialize, Serialize};

use super::oauth::RawProvider;
use super::reference::{choice, entry, table};
use super::{Wrong, count};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRecordingFailure {
    /// An error, for now.
    #[default]
    Refuse,
    /// The message, without a record.
    Pass,
}

table! {
    /// `[proxy]`
    pub(super) struct RawProxy {
        /// Whether mail clients may go through at all.
        [Reload] enabled: bool = true,
        /// What stands between the parts of that user name: one character, no letter, no digit, none of `@ . - _ : [ ]`.
        [Reload] divider: String = "%".to_owned(),
        /// Whether servers may have private, loopback or otherwise not public addresses.
        [Reload] allow_private_targets: bool = false,
        /// Only these servers, when there are any: host names, "*.example.com", addresses, networks ("192.0.2.0/24"). What
        /// is named here may have private addresses.
        [Reload] allow: Vec<String> = Vec::new(),
        /// None of these, whatever allow says.
        [Reload] deny: Vec<String> = Vec::new(),
        /// Whose certificates are accepted: "system" (the machine's authorities), "sha256:…" (only this one), "file:/path"
        /// (own authorities, PEM), "any" (whoever sits on the line can read along).
        [Reload] trust: Trust = Trust::System,
        /// How long resolving a server's name may take, connecting, and the TLS handshake, each.
        [Reload] connect_deadline: Period = Period(Duration::from_secs(30)),
        /// How long a server may take from its greeting to the login.
        [Reload] login_deadline: Period = Period(Duration::from_secs(60)),
        /// How long a server may take to answer one command.
        [Reload] reply_deadline: Period = Period(Duration::from_secs(300)),
        /// How long a server may take to answer the end of a message.
        [Reload] end_of_data_deadline: Period = Period(Duration::from_secs(600)),
        /// How long an SMTP client may be silent.
        [Reload] smtp_idle_deadline: Period = Period(Duration::from_secs(300)),
        /// How long a POP3 client may be silent.
        [Reload] pop3_idle_deadline: Period = Period(Duration::from_secs(600)),
        /// Sessions at once of one account at one server.
        [Reload] sessions_per_account: usize = 20,
        /// What a POP3 client gets of a message that cannot be recorded: an error for now ("refuse"), or the message
        /// ("pass").
        [Reload] on_recording_failure: OnRecordingFailure = OnRecordingFailure::Refuse,
        tables {
            /// What is different at some servers.
            target: Vec<RawTarget>,
            /// OAuth providers, for accounts whose provider takes no passwords and whose mail client can do nothing else:
            /// [oauth.md](oauth.md). `postern-gateway oauth bind USER --provider NAME` binds an account.
            pub(super) provider: Vec<RawProvider>,
        }
    }
}

entry! {
    /// `[[proxy.target]]`
    struct RawTarget {
        /// The server's host name or address.
        [Reload] host: String,
        /// "smtp" or "pop3"; both when left out.
        [Reload] protocol: Option<RawProtocol>,
        /// Counts when the user name has none; tls and trust are for that port only.
        [Reload] port: Option<u16>,
        /// How TLS begins. When left out, ports 465 and 995 have implicit TLS, 25, 587 and 110 have STARTTLS, and others
        /// what the client's own listener has.
        [Reload] tls: Option<TlsMode>,
        /// Whose certificates are accepted; as proxy.trust when left out.
        [Reload] trust: Option<Trust>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawProtocol {
    Smtp,
    Pop3,
}

choice! {
    RawProtocol: "`\"smtp\"` or `\"pop3\"`",
    TlsMode: "`\"implicit\"` or `\"starttls\"`",
    OnRecordingFailure: "`\"refuse\"` or `\"pass\"`",
}

/// What would be mistaken for a part of an address, a host or a port.
const NO_DIVIDERS: &str = "@.-_:[]";

impl RawProxy {
    pub(super) fn check(self) -> Result<ProxySettings, Wrong> {
        Ok(ProxySettings {
            enabled: self.enabled,
            divider: divider(&self.divider)?,
            targets: Targets {
                allow_private: self.allow_private_targets,
                allow: patterns("proxy.allow", &self.allow)?,
                deny: patterns("proxy.deny", &self.deny)?,
                trust: self.trust,
                exceptions: self.target.into_iter().map(RawTarget::check).collect::<Result<_, _>>()?,
            },
            connect_deadline: self.connect_deadline.0,
            login_deadline: self.login_deadline.0,
            reply_deadline: self.reply_deadline.0,
            end_of_data_deadline: self.end_of_data_deadline.0,
            smtp_idle_deadline: self.smtp_idle_deadline.0,
            pop3_idle_deadline: self.pop3_idle_deadline.0,
            sessions_per_account: count("proxy.sessions_per_account", self.sessions_per_account)?,
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

fn divider(text: &str) -> Result<char, Wrong> {
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
