//! `[console]`: how long sessions last, how many connections there may be, what the overview warns of.

use std::time::Duration;

use postern_shared::config::{ByteSize, Period};
use serde::{Deserialize, Serialize};

use super::reference::{choice, table};
use super::{Wrong, count};

/// How the operators' console behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// A session ends after so long without a request.
    pub idle: Duration,
    /// A session ends after so long in any case.
    pub lifetime: Duration,
    /// Whether browsers are told to come by HTTPS only; `None` when that depends on the certificate.
    pub hsts: Option<bool>,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Mail that waits for so long since the last pull is warned of.
    pub pull_warning: Duration,
    /// Less free space than that is warned of.
    pub disk_warning_bytes: u64,
}

table! {
    /// `[console]`
    pub(super) struct RawConsole {
        /// A session ends after so long without a request.
        [Reload] idle_timeout: Period = Period(Duration::from_secs(30 * 60)),
        /// A session ends after so long in any case; not shorter than idle_timeout.
        [Reload] session_timeout: Period = Period(Duration::from_secs(12 * 3600)),
        /// Whether browsers are told to come by HTTPS only, also after a certificate that they do not trust (HSTS).
        /// "auto": while the certificate is one that this machine trusts for host_name.
        [Reload] hsts: RawHsts = RawHsts::Auto(Auto::Auto),
        /// Connections at once.
        [Reload] connections: usize = 256,
        /// Connections at once from one address.
        [Reload] connections_per_address: usize = 64,
        /// The overview warns when mail waits that nobody has pulled for so long.
        [Reload] pull_warning: Period = Period(Duration::from_secs(24 * 3600)),
        /// The overview warns when less than this is free on the disk.
        [Reload] disk_warning: ByteSize = ByteSize(1 << 30),
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"auto\"")]
enum RawHsts {
    Said(bool),
    Auto(Auto),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

choice! { RawHsts: "`true`, `false` or `\"auto\"`" }

impl RawConsole {
    pub(super) fn check(self) -> Result<Console, Wrong> {
        let (idle, lifetime) = (self.idle_timeout.0, self.session_timeout.0);
        if lifetime < idle {
            return Err(("console.session_timeout", "it is shorter than console.idle_timeout".into()));
        }
        let per_address = self.connections_per_address;
        Ok(Console {
            idle,
            lifetime,
            hsts: match self.hsts {
                RawHsts::Said(on) => Some(on),
                RawHsts::Auto(Auto::Auto) => None,
            },
            connections: count("console.connections", self.connections)?,
            connections_per_address: count("console.connections_per_address", per_address)?,
            pull_warning: self.pull_warning.0,
            disk_warning_bytes: self.disk_warning.0,
        })
    }
}
