//! `[authentication]`: whether messages are checked when they come, and how much that may cost.

use std::net::SocketAddr;
use std::time::Duration;

use postern_shared::config::{ByteSize, ListenAddresses, Period};

use super::reference::table;
use super::{Wrong, at_least, count};
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

/// Messages checked at once may keep so much, unless more is asked for.
const MEMORY: ByteSize = ByteSize(32 << 20);

table! {
    /// `[authentication]`
    pub(super) struct RawAuthentication {
        /// Whether it is looked at at all.
        [Reload] enabled: bool = false,
        /// How long a message may wait for its results; those that are not there by then read "temperror (deadline)".
        [Reload] deadline: Period = Period(Duration::from_secs(2)),
        /// Of longer messages only SPF is checked.
        [Reload] max_message_size: ByteSize = ByteSize(1 << 20),
        /// Messages checked at once, at least 1; what comes on top is recorded as not checked.
        [Reload] at_once: usize = 64,
        /// Content kept for that in all, at least max_message_size.
        [Reload] memory: ByteSize = MEMORY,
        /// Name servers to ask; without any, those in /etc/resolv.conf as it was at start or at the last reload.
        [Reload] resolvers: ListenAddresses = ListenAddresses::default(),
    }
}

impl RawAuthentication {
    pub(super) fn check(self) -> Result<Authentication, Wrong> {
        let message_bytes_max = self.max_message_size.0;
        let memory =
            if self.memory == MEMORY { ByteSize(MEMORY.0.max(message_bytes_max)) } else { self.memory };
        Ok(Authentication {
            enabled: self.enabled,
            bounds: Bounds {
                deadline: self.deadline.0,
                message_bytes_max,
                at_once: count("authentication.at_once", self.at_once)?,
                memory_bytes: at_least("authentication.memory", message_bytes_max, memory.0)?,
            },
            resolvers: self.resolvers.0,
        })
    }
}
