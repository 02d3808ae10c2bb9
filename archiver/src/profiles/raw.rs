//! What may stand in a profile, before it is checked. Unknown keys are errors.

use std::num::NonZeroU16;

use postern_shared::config::ByteSize;
use postern_shared::proto::pop3::client::TlsStart;
use postern_shared::tls::client::Trust;
use secrecy::SecretString;
use serde::Deserialize;

use super::name::ProfileName;
use crate::jobs::schedule::Schedule;

/// A profile whose source is of one type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw<S> {
    pub(super) name: ProfileName,
    pub(super) source: S,
    #[serde(default)]
    pub(super) scope: RawScope,
    #[serde(default)]
    pub(super) assign: RawAssign,
    #[serde(default)]
    pub(super) after: RawAfter,
    /// Checked by whoever runs it.
    pub(super) schedule: Option<Schedule>,
}

/// Tells the type of a source and nothing else.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    pub(super) source: TypedSource,
}

#[derive(Debug, Deserialize)]
pub(super) struct TypedSource {
    #[serde(rename = "type")]
    pub(super) kind: SourceType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum SourceType {
    Gateway,
    Imap,
    Pop3,
    Ews,
    Files,
}

impl TryFrom<String> for SourceType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "gateway" => Ok(Self::Gateway),
            "imap" => Ok(Self::Imap),
            "pop3" => Ok(Self::Pop3),
            "ews" => Ok(Self::Ews),
            "files" => Ok(Self::Files),
            "graph" => Err(format!(
                "sources of type {text:?} are not supported by this version; \"gateway\", \"imap\", \"pop3\", \"ews\" and \
                 \"files\" are"
            )),
            _ => Err(format!(
                "{text:?} is no type of source; \"gateway\", \"imap\", \"pop3\", \"ews\" and \"files\" are"
            )),
        }
    }
}

/// One gateway's mailbox in the table itself, or several in `[[source.gateway]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGateways {
    #[serde(rename = "type")]
    _kind: SourceType,
    pub(super) host: Option<Line>,
    pub(super) port: Option<NonZeroU16>,
    pub(super) tls: Option<Tls>,
    pub(super) trust: Option<Trust>,
    pub(super) username: Option<Line>,
    pub(super) password: Option<SecretString>,
    #[serde(default)]
    pub(super) gateway: Vec<RawGateway>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGateway {
    pub(super) host: Line,
    pub(super) port: Option<NonZeroU16>,
    pub(super) tls: Option<Tls>,
    pub(super) trust: Option<Trust>,
    pub(super) username: Line,
    pub(super) password: Option<SecretString>,
}

/// A Maildir, mbox files, or a directory with some.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFiles {
    #[serde(rename = "type")]
    _kind: SourceType,
    pub(super) path: std::path::PathBuf,
    pub(super) address: Option<Line>,
    #[serde(default)]
    pub(super) verbatim: bool,
}

/// An IMAP or POP3 server and whose mail is pulled from it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    #[serde(rename = "type")]
    _kind: SourceType,
    pub(super) host: Line,
    pub(super) port: Option<NonZeroU16>,
    pub(super) tls: Option<Tls>,
    pub(super) trust: Option<Trust>,
    pub(super) compress: Option<bool>,
    pub(super) mechanism: Option<RawMechanism>,
    pub(super) username: Option<Line>,
    pub(super) password: Option<SecretString>,
    pub(super) act_as: Option<Line>,
    pub(super) address: Option<Line>,
    #[serde(default)]
    pub(super) account: Vec<RawAccount>,
    pub(super) accounts: Option<RawAccounts>,
    pub(super) account_name: Option<AccountName>,
    pub(super) master: Option<RawMaster>,
    pub(super) oauth: Option<RawOAuth>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAccount {
    pub(super) username: Line,
    pub(super) password: Option<SecretString>,
    pub(super) refresh_token: Option<SecretString>,
    pub(super) address: Option<Line>,
}

/// `"users"`, or a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected \"users\" or a list of user names")]
pub(super) enum RawAccounts {
    All(AllUsers),
    Named(Vec<Line>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AllUsers {
    Users,
}

/// What a user of the instance is called at the source.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountName {
    /// By the first e-mail address.
    #[default]
    Address,
    /// By what stands before its `@`.
    LocalPart,
    /// By the user's id.
    Id,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMaster {
    pub(super) username: Line,
    pub(super) password: Option<SecretString>,
    /// Between account and master user, as in `anna*master`; else the master user acts for the account (SASL).
    pub(super) separator: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOAuth {
    pub(super) token_endpoint: Line,
    #[serde(default = "system")]
    pub(super) trust: Trust,
    pub(super) client_id: Line,
    pub(super) client_secret: Option<SecretString>,
    #[serde(default)]
    pub(super) client_authentication: ClientAuthentication,
    #[serde(default)]
    pub(super) scopes: Vec<Line>,
    pub(super) refresh_token: Option<SecretString>,
}

/// How the client's secret travels (RFC 6749 §2.3.1).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClientAuthentication {
    #[default]
    Basic,
    Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawMechanism {
    Plain,
    Login,
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    Xoauth2,
    Oauthbearer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScope {
    pub(super) folders: Option<Vec<Line>>,
    #[serde(default)]
    pub(super) exclude: Vec<Line>,
    #[serde(default)]
    pub(super) shared: bool,
    pub(super) older_than_days: Option<u32>,
    pub(super) younger_than_days: Option<u32>,
    #[serde(default)]
    pub(super) state: State,
    pub(super) size_min: Option<ByteSize>,
    pub(super) size_max: Option<ByteSize>,
}

/// Messages that were read, those that were not, or both.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    #[default]
    Any,
    Read,
    Unread,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAssign {
    pub(super) mode: Option<Mode>,
    pub(super) user: Option<Line>,
    pub(super) prefix: Option<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Envelope,
    Account,
    User,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAfter {
    pub(super) delete: Option<bool>,
    pub(super) days: Option<u32>,
}

/// How TLS begins, as it is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tls {
    #[default]
    Implicit,
    Starttls,
}

impl From<Tls> for TlsStart {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Implicit => Self::Implicit,
            Tls::Starttls => Self::Stls,
        }
    }
}

fn system() -> Trust {
    Trust::System
}

/// 1 to 255 characters, none of them a control character, no blanks around them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Line(pub(super) String);

impl TryFrom<String> for Line {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > 255 || text.trim() != text || text.chars().any(char::is_control) {
            return Err(
                "1 to 255 characters are expected here, without control characters, and without blanks around",
            );
        }
        Ok(Self(text))
    }
}
