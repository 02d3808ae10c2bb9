//! What the browser says an answer is for (Web Authentication §5.8.1).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use postern_shared::crypto::equal_constant_time;
use serde::Deserialize;

use super::PasskeyError;

/// `clientDataJSON`. Browsers may add fields.
#[derive(Debug, Deserialize)]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<String>,
}

impl ClientData {
    pub(super) fn read(octets: &[u8]) -> Result<Self, PasskeyError> {
        serde_json::from_slice(octets).map_err(|_| PasskeyError::Malformed("the client data"))
    }

    /// Whether it is an answer to `challenge`, of this kind, for a page of ours.
    pub(super) fn check(&self, kind: &str, challenge: &[u8], origin: &str) -> Result<(), PasskeyError> {
        if self.kind != kind {
            return Err(PasskeyError::For("something else"));
        }
        if self.origin != origin || self.cross_origin || self.top_origin.is_some() {
            return Err(PasskeyError::For("another site"));
        }
        let answered = BASE64_URL_SAFE_NO_PAD.decode(&self.challenge).unwrap_or_default();
        if !equal_constant_time(&answered, challenge) {
            return Err(PasskeyError::For("another attempt"));
        }
        Ok(())
    }
}
