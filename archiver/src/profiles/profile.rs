//! A profile as an operator writes it, and checked. docs/profiles.md tells administrators how to set up each source.
//!
//! ```toml
//! name = "journal"
//! [source]
//! type = "gateway"        # gateway, imap, pop3, ews, files
//! host = "gateway.example.com"
//! port = 995              # default: 995, with starttls 110
//! tls = "implicit"        # default; or starttls
//! trust = "system"        # default; or any, "sha256:<hex>" (pinned certificate), "file:<PEM with authorities>"
//! username = "mbx-dead1234beef5678"
//! password = "…"          # or password_file (relative to this file), or password_env; so with every secret
//! [[source.gateway]]      # instead of the six: one table for each gateway and mailbox
//! host = "mx1.example.com"
//! …
//!
//! [source]
//! type = "imap"           # pop3: the same without compress, act_as and [source.master]
//! host = "imap.example.com"
//! port = 993              # default: 993, with starttls 143; POP3 995 and 110
//! compress = false
//! mechanism = "plain"     # plain, login, scram-sha-256, xoauth2, oauthbearer; default: the best that is offered
//! username = "anna"       # one account
//! password = "…"
//! act_as = "bob"          # whose mail is wanted, if the user may act for others
//! address = "anna@example.com"    # whose mail it is; default: the user name
//! [[source.account]]      # instead of username: several accounts
//! username = "anna"
//! password = "…"          # or refresh_token, with [source.oauth]
//! address = "anna@example.com"
//!
//! accounts = ["anna", "bob"]      # instead of both, in [source]: these accounts; or "users": all users of the instance
//! account_name = "address"        # of users: by their first address (default), its local-part, or their id
//! [source.master]         # logs in for all of accounts
//! username = "master"
//! password = "…"
//! separator = "*"         # logs in as anna*master; without it, as master who acts for anna
//! [source.oauth]          # access tokens instead of passwords
//! token_endpoint = "https://login.example.com/token"
//! trust = "system"
//! client_id = "…"
//! client_secret = "…"
//! client_authentication = "basic" # or body
//! scopes = ["…"]
//! refresh_token = "…"     # of the one account; without any, the client's own credentials are used
//!
//! [source]
//! type = "ews"            # Exchange on-premises; all keys: see `sources::ews::profile`
//! url = "https://mail.example.com/EWS/Exchange.asmx"
//! username = 'CORP\svc-archive'
//! password = "…"
//! access = "impersonate"
//! mailboxes = ["anna@example.com"]
//!
//! [source]
//! type = "files"
//! path = "/home/anna/Maildir"     # a Maildir, an mbox file, or a directory with some
//! address = "anna@example.com"    # whose mail it is, with mode = "account"
//! verbatim = false        # true: octets as they lie there; else lines end with CRLF, as servers give them
//!
//! [scope]
//! folders = ["**"]        # names, wildcards, roles: see `scope`
//! exclude = ["role:junk"]
//! shared = false          # also other users' and public folders
//! older_than_days = 30
//! younger_than_days = 365
//! state = "any"           # read, unread
//! size_min = "1 KiB"
//! size_max = "50 MiB"
//!
//! [assign]
//! mode = "envelope"       # gateway's default: every internal participant's archive
//! mode = "account"        # others' default: that of the user whose address, or id, the account has
//! mode = "user"
//! user = "anna"           # with mode = "user"
//! prefix = "Gmail"        # folders go below this one
//!
//! [after]
//! delete = false          # gateway's default: true. Deletes at the source what is archived and was read back
//! days = 0                # so many days later
//!
//! [schedule]              # see `jobs::schedule`; none: it runs by hand only
//! every = "15m"
//! ```

use std::path::Path;

use postern_shared::config::{ConfigError, parse};
use postern_shared::disk::Disk;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{Document, Fault, Whole, Written};
pub use super::name::{BadName, ProfileName};
use super::raw::{
    Line, Mode, Raw, RawAfter, RawAssign, RawFiles, RawGateways, RawScope, RawServer, SourceType, Typed,
};
use super::scope::{Filter, Pattern, Scope};
use super::source::{SourceProfile, ews, files, gateways, imap, pop3};
use crate::jobs::schedule::Schedule;
use crate::sources::ews::profile::Table;

const DAYS_MAX: u32 = 36_500;

/// A profile that can be run.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What it is called within its instance.
    pub name: ProfileName,
    /// Where mail comes from.
    pub source: SourceProfile,
    /// Which of it is wanted.
    pub scope: Scope,
    /// Whose it becomes.
    pub assign: Assign,
    /// Below which folder of the archive an account's folders go.
    pub prefix: Option<String>,
    /// What becomes of it at the source.
    pub after: AfterCare,
    /// When it runs.
    pub schedule: Option<Schedule>,
    pub(super) document: Document,
}

/// Whose archive a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assign {
    /// Every internal participant's, by the envelope; nobody's goes to the archive "unassigned".
    Envelope {},
    /// That of the user whose address or id the account has; else "unassigned".
    Account {},
    /// One user's.
    User {
        /// The user's name within the instance.
        user: String,
    },
}

/// What becomes of a message at its source once it is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCare {
    /// It stays.
    Keep,
    /// It is deleted so many days later, when it was read back from the archive.
    Delete {
        /// 0: at once.
        days: u32,
    },
}

/// Why there is no profile in a text.
enum Wrong {
    Config(ConfigError),
    Fault(Fault),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What a profile is read from.
enum Form<'f> {
    Toml(&'f Written<'f>),
    Json(&'f Value),
}

impl Form<'_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        match self {
            Self::Toml(written) => parse(&written.text, written.path(), "", []).map_err(Wrong::Config),
            Self::Json(value) => {
                T::deserialize(*value).map_err(|error| Fault::new(&[], error.to_string()).into())
            }
        }
    }
}

impl Profile {
    /// Reads and checks the file at `path`. `environment` gives the value of a variable that `password_env` names.
    ///
    /// # Errors
    /// Naming file, line and key.
    pub fn read(
        disk: &dyn Disk,
        path: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let written = Written::read(disk, path, environment)?;
        let form = Form::Toml(&written);
        let read = form.read::<Value>().and_then(|value| check(&form, Document::of(value)));
        read.map_err(|wrong| match wrong {
            Wrong::Config(error) => error,
            Wrong::Fault(fault) => written.error(&fault),
        })
    }

    /// The same from JSON, secrets in it. There are no files or variables to point to.
    ///
    /// # Errors
    /// Naming the key.
    pub fn from_json(value: Value) -> Result<Self, Fault> {
        Self::of(Document::of(value))
    }

    pub(super) fn of(document: Document) -> Result<Self, Fault> {
        let whole: Whole = document.whole();
        check(&Form::Json(&whole.0), document).map_err(|wrong| match wrong {
            Wrong::Fault(fault) => fault,
            Wrong::Config(error) => Fault::new(&[], error.to_string()),
        })
    }

    /// Everything but its secrets, with the keys that it is written with.
    pub fn shown(&self) -> &Value {
        &self.document.open
    }
}

fn check(form: &Form<'_>, document: Document) -> Result<Profile, Wrong> {
    let kind = form.read::<Typed>()?.source.kind;
    match kind {
        SourceType::Gateway => {
            let raw = form.read::<Raw<RawGateways>>()?;
            Ok(whole(raw, kind, document, gateways)?)
        }
        SourceType::Imap => {
            let raw = form.read::<Raw<RawServer>>()?;
            Ok(whole(raw, kind, document, imap)?)
        }
        SourceType::Pop3 => {
            let raw = form.read::<Raw<RawServer>>()?;
            Ok(whole(raw, kind, document, pop3)?)
        }
        SourceType::Ews => {
            let raw = form.read::<Raw<Table>>()?;
            Ok(whole(raw, kind, document, ews)?)
        }
        SourceType::Files => {
            let raw = form.read::<Raw<RawFiles>>()?;
            Ok(whole(raw, kind, document, files)?)
        }
    }
}

fn whole<S>(
    raw: Raw<S>,
    kind: SourceType,
    document: Document,
    source: impl FnOnce(S) -> Result<SourceProfile, Fault>,
) -> Result<Profile, Fault> {
    let mut scope = scope(raw.scope)?;
    match (kind, scope == Scope::default(), scope.filter.needs_dates_or_flags()) {
        (SourceType::Gateway, false, _) => {
            return Err(Fault::new(&["scope"], "a gateway's mailbox is pulled whole: it has no scope"));
        }
        (SourceType::Pop3, _, Some(key)) => {
            return Err(Fault::new(&["scope", key], "a POP3 server tells neither dates nor what was read"));
        }
        _ => {}
    }
    // What is read of an Exchange server's says `parts`; whose it is there does not matter.
    scope.shared |= kind == SourceType::Ews;
    let is_gateway = kind == SourceType::Gateway;
    let prefix = raw.assign.prefix.clone();
    if is_gateway && prefix.is_some() {
        return Err(Fault::new(&["assign", "prefix"], "a gateway has no folders that could go below one"));
    }
    let (source, assign) = (source(raw.source)?, assign(raw.assign, is_gateway)?);
    if matches!((&source, &assign), (SourceProfile::Files(_, None), Assign::Account {})) {
        let why = "whose mail is it? An address = \"…\" is needed beside it, or [assign] with mode = \"user\" or \"envelope\"";
        return Err(Fault::new(&["source", "path"], why));
    }
    Ok(Profile {
        name: raw.name,
        source,
        scope,
        assign,
        prefix: prefix.map(|prefix| prefix.0.trim_matches('/').to_owned()).filter(|text| !text.is_empty()),
        after: after(&raw.after, is_gateway)?,
        schedule: raw.schedule,
        document,
    })
}

fn scope(raw: RawScope) -> Result<Scope, Fault> {
    let patterns = |key: &'static str, texts: Vec<Line>| -> Result<Vec<Pattern>, Fault> {
        let parse = |text: &Line| text.0.parse();
        texts
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map_err(|error: super::scope::BadRole| Fault::new(&["scope", key], error.to_string()))
    };
    let (octets_min, octets_max) = (raw.size_min.map(|size| size.0), raw.size_max.map(|size| size.0));
    for (key, days) in
        [("older_than_days", raw.older_than_days), ("younger_than_days", raw.younger_than_days)]
    {
        if days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
            return Err(Fault::new(&["scope", key], format!("1 to {DAYS_MAX} days are expected here")));
        }
    }
    let none_between = |min: Option<u64>, max: Option<u64>| min.zip(max).is_some_and(|(min, max)| min > max);
    if none_between(octets_min, octets_max) {
        return Err(Fault::new(
            &["scope", "size_max"],
            "no message is longer than size_min and shorter than this",
        ));
    }
    if none_between(raw.older_than_days.map(u64::from), raw.younger_than_days.map(u64::from)) {
        return Err(Fault::new(
            &["scope", "younger_than_days"],
            "no message is older than older_than_days and younger than this",
        ));
    }
    let folders = match raw.folders {
        None => Scope::default().folders,
        Some(folders) if folders.is_empty() => {
            return Err(Fault::new(
                &["scope", "folders"],
                "this is no folder at all; leave it out for all of them",
            ));
        }
        Some(folders) => patterns("folders", folders)?,
    };
    Ok(Scope {
        folders,
        exclude: patterns("exclude", raw.exclude)?,
        shared: raw.shared,
        filter: Filter {
            older_than_days: raw.older_than_days,
            younger_than_days: raw.younger_than_days,
            state: raw.state,
            octets_min,
            octets_max,
        },
    })
}

fn assign(raw: RawAssign, is_gateway: bool) -> Result<Assign, Fault> {
    let usual = if is_gateway { Mode::Envelope } else { Mode::Account };
    match (raw.mode.unwrap_or(usual), raw.user) {
        (Mode::Envelope, None) => Ok(Assign::Envelope {}),
        (Mode::Account, None) if !is_gateway => Ok(Assign::Account {}),
        (Mode::Account, None) => Err(Fault::new(
            &["assign", "mode"],
            "a gateway's mailbox is nobody's account; use envelope or user",
        )),
        (Mode::User, Some(user)) => Ok(Assign::User { user: user.0 }),
        (Mode::User, None) => {
            Err(Fault::new(&["assign", "mode"], "mode = \"user\" needs a user = \"…\" beside it"))
        }
        (_, Some(_)) => Err(Fault::new(&["assign", "user"], "user goes with mode = \"user\" only")),
    }
}

fn after(raw: &RawAfter, is_gateway: bool) -> Result<AfterCare, Fault> {
    match (raw.delete.unwrap_or(is_gateway), raw.days) {
        (true, days) if days.unwrap_or(0) <= DAYS_MAX => Ok(AfterCare::Delete { days: days.unwrap_or(0) }),
        (true, _) => Err(Fault::new(&["after", "days"], format!("0 to {DAYS_MAX} days are expected here"))),
        (false, None) => Ok(AfterCare::Keep),
        (false, Some(_)) => Err(Fault::new(&["after", "days"], "days go with delete = true only")),
    }
}
