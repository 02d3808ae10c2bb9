//! `[console]`: how long sessions last, how many connections there may be, what the overview warns of.

use std::time::Duration;

use postern_shared::config::{ByteSize, Period};
use serde::Deserialize;

use super::{Wrong, at_least};

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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConsole {
    idle_timeout: Option<Period>,
    session_timeout: Option<Period>,
    hsts: Option<RawHsts>,
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    pull_warning: Option<Period>,
    disk_warning: Option<ByteSize>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"auto\"")]
enum RawHsts {
    Said(bool),
    Auto(Auto),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

impl RawConsole {
    pub(super) fn check(self) -> Result<Console, Wrong> {
        let some = |key, value: Option<usize>, default| Ok(at_least(key, 1, value)?.unwrap_or(default));
        let span = |value: Option<Period>, seconds| value.map_or(Duration::from_secs(seconds), |span| span.0);
        let (idle, lifetime) = (span(self.idle_timeout, 30 * 60), span(self.session_timeout, 12 * 3600));
        if lifetime < idle {
            return Err(("console.session_timeout", "it is shorter than console.idle_timeout".into()));
        }
        Ok(Console {
            idle,
            lifetime,
            hsts: match self.hsts {
                Some(RawHsts::Said(on)) => Some(on),
                Some(RawHsts::Auto(Auto::Auto)) | None => None,
            },
            connections: some("console.connections", self.connections, 256)?,
            connections_per_address: some(
                "console.connections_per_address",
                self.connections_per_address,
                64,
            )?,
            pull_warning: span(self.pull_warning, 24 * 3600),
            disk_warning_bytes: self.disk_warning.map_or(1 << 30, |size| size.0),
        })
    }
}
