//! `[authentication]`: whether messages are checked when they come, and how much that may cost.

use std::net::SocketAddr;
use std::time::Duration;

use postern_shared::config::{ByteSize, ListenAddresses, Period};
use serde::Deserialize;

use super::{Wrong, at_least};
use crate::intake::authentication::Bounds;

/// How messages are checked when they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Whether they are.
    pub enabled: bool,
    /// How much it may cost.
    pub bounds: Bounds,
    /// The name servers to ask; when there are none, those of the machine.
    pub resolvers: Vec<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuthentication {
    enabled: bool,
    deadline: Option<Period>,
    max_message_size: Option<ByteSize>,
    at_once: Option<usize>,
    memory: Option<ByteSize>,
    resolvers: ListenAddresses,
}

impl RawAuthentication {
    pub(super) fn check(self) -> Result<Authentication, Wrong> {
        let message_bytes_max = self.max_message_size.map_or(1024 * 1024, |size| size.0);
        let memory = self.memory.map(|size| size.0);
        Ok(Authentication {
            enabled: self.enabled,
            bounds: Bounds {
                deadline: self.deadline.map_or(Duration::from_secs(2), |period| period.0),
                message_bytes_max,
                at_once: at_least("authentication.at_once", 1, self.at_once)?.unwrap_or(64),
                memory_bytes: at_least("authentication.memory", message_bytes_max, memory)?
                    .unwrap_or(message_bytes_max.max(32 * 1024 * 1024)),
            },
            resolvers: self.resolvers.0,
        })
    }
}
