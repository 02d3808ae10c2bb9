//! Time zones by name, from the machine's database or else from the one inside the binary.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::BadSchedule;

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The one the machine is set to (`TZ`, /etc/localtime); UTC when it is not set, or to one without a name.
    pub fn machine() -> Self {
        let found = TimeZone::try_system().ok().filter(|zone| zone.iana_name().is_some());
        Self(found.unwrap_or(TimeZone::UTC))
    }

    pub(super) fn rules(&self) -> &TimeZone {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn bundled(name: &str) -> Self {
        Self(jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl FromStr for Zone {
    type Err = BadSchedule;

    fn from_str(name: &str) -> Result<Self, BadSchedule> {
        let wrong = || {
            let name: String = name.chars().take(80).collect();
            BadSchedule(format!("{name:?} is no time zone like Europe/Berlin or UTC"))
        };
        // The database is a directory: nothing that could lead out of it.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        if name.is_empty() || name.len() > 64 || name.starts_with('/') || !name.bytes().all(plain) {
            return Err(wrong());
        }
        TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some()).map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Zone {
    type Error = BadSchedule;

    fn try_from(name: String) -> Result<Self, BadSchedule> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}
