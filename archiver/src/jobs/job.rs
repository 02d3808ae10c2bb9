//! A job as an administrator writes it, checked.
//!
//! ```toml
//! name = "nightly-verify"
//! enabled = true              # default
//! timeout = "6 h"             # default: none
//! missed = "run"              # default; or skip: what became due while the daemon was down
//! notify = true               # default
//! [schedule]                  # see `schedule`; none: it runs by hand only
//! when = "daily at 02:00"
//! [template]
//! type = "verify"             # profile | verify | backup | compact | rebuild
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use postern_shared::config::{ConfigError, Period, load};
use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use super::schedule::Schedule;
use crate::profiles::ProfileName;

/// What stands before a profile's name in the name of the job that its schedule makes.
const OF_PROFILE: &str = "profile:";

/// What is done, when, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What it is called within its instance.
    pub name: JobName,
    /// Whether its schedule counts.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// After that it is ended at its next safe point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// What becomes of times that passed while nothing could run.
    #[serde(default)]
    pub missed: Missed,
    /// Whether a failure is told by mail.
    #[serde(default = "yes")]
    pub notify: bool,
    /// When; `None` runs by hand only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// What.
    pub template: Template,
}

fn yes() -> bool {
    true
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Template {
    /// Runs a profile.
    Profile {
        /// Which.
        profile: ProfileName,
    },
    /// Reads every message and compares it with what was archived.
    Verify {
        /// Only this store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        store: Option<String>,
    },
    /// Backs the instance up.
    Backup {
        /// The directory.
        to: PathBuf,
    },
    /// Frees what nobody needs.
    Compact {
        /// In packs of which so much is not needed, in per cent.
        #[serde(default = "twenty")]
        unused_percent: u64,
    },
    /// Makes anew what is found broken of catalogs and indexes, and nothing else.
    Rebuild {},
}

fn twenty() -> u64 {
    20
}

impl Template {
    /// What it is called in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Profile { .. } => "profile",
            Self::Verify { .. } => "verify",
            Self::Backup { .. } => "backup",
            Self::Compact { .. } => "compact",
            Self::Rebuild {} => "rebuild",
        }
    }
}

/// What becomes of times that passed while the daemon was down or the machine asleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// One run makes up for all of them, at once. A run that was interrupted is repeated.
    #[default]
    Run,
    /// Nothing; the next time comes.
    Skip,
}

impl Job {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Naming file, line and key.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self, ConfigError> {
        load(disk, Some(path), "", [])
    }

    /// The job that a profile's schedule makes.
    pub fn of_profile(profile: &ProfileName, schedule: Option<Schedule>, enabled: bool) -> Self {
        Self {
            name: JobName::of_profile(profile),
            enabled,
            timeout: None,
            missed: Missed::Run,
            notify: true,
            schedule,
            template: Template::Profile { profile: profile.clone() },
        }
    }

    /// The directory of this machine that it writes into.
    pub fn directory(&self) -> Option<PathBuf> {
        match &self.template {
            Template::Backup { to } => Some(to.clone()),
            _ => None,
        }
    }

    /// Why it cannot be stored, when it cannot.
    pub fn fault(&self) -> Option<&'static str> {
        match &self.template {
            _ if self.name.profile().is_some() => {
                Some("names that begin with profile: belong to the profiles' own schedules")
            }
            Template::Backup { to } if !to.is_absolute() => {
                Some("the directory of a backup is wanted from / on")
            }
            Template::Compact { unused_percent } if !(1..=100).contains(unused_percent) => {
                Some("unused_percent is 1 to 100")
            }
            _ if self.timeout.is_some_and(|timeout| timeout.0 < Duration::from_secs(1)) => {
                Some("a timeout of less than a second ends every run")
            }
            _ => None,
        }
    }
}

/// A job's name: as a profile's; or `profile:` and the name of the profile whose schedule it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// That of the job which a profile's schedule makes.
    pub fn of_profile(profile: &ProfileName) -> Self {
        Self(format!("{OF_PROFILE}{profile}"))
    }

    /// The profile whose schedule it is.
    pub fn profile(&self) -> Option<ProfileName> {
        self.0.strip_prefix(OF_PROFILE)?.parse().ok()
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot be a job's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no job name: a letter or digit, then at most 63 letters, digits, '.', '_' or '-'")]
pub struct BadJobName(String);

impl FromStr for JobName {
    type Err = BadJobName;

    fn from_str(text: &str) -> Result<Self, BadJobName> {
        let bare = text.strip_prefix(OF_PROFILE).unwrap_or(text);
        match bare.parse::<ProfileName>() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(BadJobName(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for JobName {
    type Error = BadJobName;

    fn try_from(text: String) -> Result<Self, BadJobName> {
        text.parse()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}
