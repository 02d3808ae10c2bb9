//! What is left of a binding that was revoked: so its proxy password is not taken for the server's own.

use postern_shared::clock::UnixMillis;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// A binding that was, in the place of its file. The room's header draws it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    version: u32,
    /// What the binding was called.
    pub account: String,
    /// The provider's name in the settings; none when the binding's file was damaged.
    pub provider: Option<String>,
    /// When it was revoked.
    pub revoked: UnixMillis,
}

impl Tombstone {
    pub(super) fn new(account: String, provider: Option<String>, now: UnixMillis) -> Self {
        Self { version: VERSION, account, provider, revoked: now }
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
    }

    /// `None` for every other file.
    pub(super) fn from_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|tombstone: &Self| tombstone.version == VERSION)
    }
}
