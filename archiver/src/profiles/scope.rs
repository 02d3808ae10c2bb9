//! Which folders and messages of a source are wanted.
//!
//! A folder is named by the names from the root to it with `/` between them, whatever the server puts there; a `/` within a name is
//! written `∕` (U+2215). `*` stands for anything within one name, `**` for anything at all: `Projects/*` is what is in Projects,
//! `Projects/**` also what is below that, `**/Old` any folder of that name that is not at the root. `role:sent` is the folder
//! with that role. INBOX is the same in any case.

use std::fmt;
use std::time::Duration;

use postern_shared::clock::UnixMillis;

use super::raw::State;
use crate::sources::account::{Folder, Item, Owner, Role};

const DAY: u64 = 24 * 3600;

/// What stands for a `/` within a folder's name.
pub(crate) const SLASH_IN_NAME: char = '\u{2215}';

/// Folders and messages that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub(super) folders: Vec<Pattern>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) shared: bool,
    pub(super) filter: Filter,
}

/// Messages that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    pub(super) older_than_days: Option<u32>,
    pub(super) younger_than_days: Option<u32>,
    pub(super) state: State,
    pub(super) octets_min: Option<u64>,
    pub(super) octets_max: Option<u64>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Wanted,
    /// Not now, but it may be wanted when time has passed or it was read.
    Later,
    Unwanted,
}

impl Default for Scope {
    fn default() -> Self {
        Self { folders: vec![Pattern::All], exclude: Vec::new(), shared: false, filter: Filter::default() }
    }
}

impl Scope {
    /// Whether messages of that folder may be wanted.
    pub(super) fn wants(&self, folder: &Folder) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(folder));
        folder.holds_messages
            && (self.shared || folder.owner == Owner::Own)
            && matches(&self.folders)
            && !matches(&self.exclude)
    }
}

impl Filter {
    /// Whether a message is wanted now. One whose date or size is not known is not too young, old, short or long.
    pub(super) fn judge(&self, item: &Item, now: UnixMillis) -> Verdict {
        let age = item.internal_date.map(|date| now.since(date));
        let days = |days: u32| Duration::from_secs(u64::from(days) * DAY);
        let is_read = item.flags.iter().any(|flag| flag.eq_ignore_ascii_case("\\Seen"));
        let too_old = self.younger_than_days.zip(age).is_some_and(|(max, age)| age >= days(max));
        let too_short = self.octets_min.is_some_and(|min| item.octets != 0 && item.octets < min);
        let too_long = self.octets_max.is_some_and(|max| item.octets > max);
        if too_old || too_short || too_long || (self.state == State::Unread && is_read) {
            return Verdict::Unwanted;
        }
        let too_young = self.older_than_days.zip(age).is_some_and(|(min, age)| age < days(min));
        if too_young || (self.state == State::Read && !is_read) {
            return Verdict::Later;
        }
        Verdict::Wanted
    }

    /// Whether a message may be wanted once its flags are other ones.
    pub(super) fn waits_for_flags(&self) -> bool {
        self.state == State::Read
    }

    /// Whether it asks for what a POP3 server does not tell.
    pub(super) fn needs_dates_or_flags(&self) -> Option<&'static str> {
        let asked = [
            ("older_than_days", self.older_than_days.is_some()),
            ("younger_than_days", self.younger_than_days.is_some()),
            ("state", self.state != State::Any),
        ];
        asked.into_iter().find(|(_, is)| *is).map(|(key, _)| key)
    }

    /// Filters that pass over the same messages are written the same: a folder that was read with another one is read again.
    pub(super) fn mark(&self) -> String {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let day = |days: Option<u32>| number(days.map(u64::from));
        format!(
            "{}-{}-{:?}-{}-{}",
            day(self.older_than_days),
            day(self.younger_than_days),
            self.state,
            number(self.octets_min),
            number(self.octets_max)
        )
    }
}

/// Some folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    All,
    Role(Role),
    Path(String),
}

/// No folder can be meant by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no role {0:?}; there are inbox, all, archive, drafts, flagged, important, junk, sent, trash"
)]
pub(super) struct BadRole(String);

impl std::str::FromStr for Pattern {
    type Err = BadRole;

    fn from_str(text: &str) -> Result<Self, BadRole> {
        if text == "**" {
            return Ok(Self::All);
        }
        let Some(role) = text.strip_prefix("role:") else { return Ok(Self::Path(normal(text))) };
        let role = serde_json::from_value(role.into()).map_err(|_| BadRole(role.to_owned()))?;
        Ok(Self::Role(role))
    }
}

impl Pattern {
    fn matches(&self, folder: &Folder) -> bool {
        match self {
            Self::All => true,
            Self::Role(role) => folder.role == Some(*role),
            Self::Path(pattern) => glob(pattern, &normal(&path_of(folder))),
        }
    }
}

/// A folder's names with `/` between them.
pub(super) fn path_of(folder: &Folder) -> String {
    let name = |name: &String| -> String {
        let change = |c: char| match c {
            '/' => SLASH_IN_NAME,
            c if c.is_control() => ' ',
            c => c,
        };
        name.chars().map(change).collect()
    };
    folder.path.iter().map(name).collect::<Vec<_>>().join("/")
}

/// INBOX in capitals.
fn normal(path: &str) -> String {
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    if first.eq_ignore_ascii_case("INBOX") { format!("INBOX{rest}") } else { path.to_owned() }
}

/// In time that grows with the product of both lengths and no faster.
fn glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // Which ends of beginnings of the text the pattern read so far can reach.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut pattern = pattern.chars().peekable();
    while let Some(c) = pattern.next() {
        let any = c == '*';
        let beyond = any && pattern.next_if_eq(&'*').is_some();
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = if any {
                let passes = |at: usize| beyond || text[at] != '/';
                reached[end] || (end > 0 && next[end - 1] && passes(end - 1))
            } else {
                end > 0 && reached[end - 1] && text[end - 1] == c
            };
        }
        reached = next;
    }
    reached[text.len()]
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("**"),
            Self::Role(role) => write!(f, "role:{}", format!("{role:?}").to_lowercase()),
            Self::Path(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::ItemId;
    use crate::sources::account::FolderId;

    fn folder(path: &[&str], role: Option<Role>) -> Folder {
        Folder {
            id: FolderId(path.join("/")),
            path: path.iter().map(|&name| name.to_owned()).collect(),
            role,
            owner: Owner::Own,
            holds_messages: true,
            messages: None,
        }
    }

    fn scope(folders: &[&str], exclude: &[&str]) -> Scope {
        let patterns = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
        Scope { folders: patterns(folders), exclude: patterns(exclude), ..Scope::default() }
    }

    #[test]
    fn folders_are_named_by_name_wildcard_and_role() {
        for (pattern, path, matches) in [
            ("Projects/*", &["Projects", "a"][..], true),
            ("Projects/*", &["Projects", "a", "b"], false),
            ("Projects/**", &["Projects", "a", "b"], true),
            ("Projects/**", &["Projects"], false),
            ("**/Old", &["x", "y", "Old"], true),
            ("*", &["x", "y"], false),
            ("inbox", &["INBOX"], true),
            ("inbox/*", &["Inbox", "x"], true),
            ("a*c", &["abbc"], true),
            ("a\u{2215}b", &["a/b"], true),
            ("Entw*", &["Entwürfe"], true),
            ("", &["x"], false),
        ] {
            assert_eq!(scope(&[pattern], &[]).wants(&folder(path, None)), matches, "{pattern} {path:?}");
        }
        let not_trash = scope(&["**"], &["role:trash", "Junk*"]);
        assert!(not_trash.wants(&folder(&["Papierkorb"], None)));
        assert!(!not_trash.wants(&folder(&["Papierkorb"], Some(Role::Trash))));
        assert!(!not_trash.wants(&folder(&["Junk mail"], None)));
        let shared = Folder { owner: Owner::Shared, ..folder(&["Public"], None) };
        assert!(!scope(&["**"], &[]).wants(&shared));
        assert!(Scope { shared: true, ..scope(&["**"], &[]) }.wants(&shared));
        assert!("role:junk".parse::<Pattern>().is_ok() && "role:spam".parse::<Pattern>().is_err());
    }

    #[test]
    fn patterns_take_no_longer_than_they_are_long() {
        let (pattern, text) = ("*a".repeat(100), "a".repeat(99) + &"b".repeat(5000));
        assert!(!glob(&pattern, &text) && glob(&pattern, &(text + "a")));
    }

    #[test]
    fn messages_are_judged_by_age_state_and_size() {
        let now = UnixMillis(100 * DAY * 1000);
        let item = |days_old: u64, flags: &[&str], octets| Item {
            id: ItemId("1/1".into()),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            internal_date: Some(UnixMillis((100 - days_old) * DAY * 1000)),
            octets,
        };
        let older = Filter { older_than_days: Some(30), ..Filter::default() };
        assert_eq!(older.judge(&item(30, &[], 1), now), Verdict::Wanted);
        assert_eq!(older.judge(&item(29, &[], 1), now), Verdict::Later);
        let younger = Filter { younger_than_days: Some(30), ..Filter::default() };
        assert_eq!(younger.judge(&item(30, &[], 1), now), Verdict::Unwanted);
        assert_eq!(younger.judge(&item(29, &[], 1), now), Verdict::Wanted);
        let read = Filter { state: State::Read, ..Filter::default() };
        assert_eq!(read.judge(&item(1, &["\\seen"], 1), now), Verdict::Wanted);
        assert_eq!(read.judge(&item(1, &[], 1), now), Verdict::Later);
        let unread = Filter { state: State::Unread, ..Filter::default() };
        assert_eq!(unread.judge(&item(1, &["\\Seen"], 1), now), Verdict::Unwanted);
        let sized = Filter { octets_min: Some(10), octets_max: Some(20), ..Filter::default() };
        for (octets, verdict) in [(9, Verdict::Unwanted), (10, Verdict::Wanted), (21, Verdict::Unwanted)] {
            assert_eq!(sized.judge(&item(1, &[], octets), now), verdict);
        }
        assert_eq!(sized.judge(&item(1, &[], 0), now), Verdict::Wanted, "nobody knows how long it is");
        assert_ne!(older.mark(), younger.mark());
        assert_eq!(sized.needs_dates_or_flags(), None);
        assert_eq!(read.needs_dates_or_flags(), Some("state"));
    }
}
