//! One encapsulation for the messages of a moment.
//!
//! X-Wing costs more processor time than everything else that is done to a message of 50 KB. So a mailbox's messages
//! of a moment share a secret; each has keys of its own, derived from the secret and its id. What this gives up: whoever
//! reads the memory of the sealing side finds the secret of that moment, where its messages themselves lie in clear.

use super::write::Recipients;
use crate::crypto::SecretBytes;
use crate::crypto::keys::ENCAPSULATION_BYTES;

/// A message secret, and what the holders of the private keys find it with. Wiped when dropped.
pub struct Encapsulation {
    pub(super) secret: SecretBytes,
    pub(super) to_mailbox: [u8; ENCAPSULATION_BYTES],
    pub(super) to_recovery: Option<ToRecovery>,
}

pub(super) struct ToRecovery {
    pub(super) shared: SecretBytes,
    pub(super) encapsulation: [u8; ENCAPSULATION_BYTES],
}

impl Encapsulation {
    /// A fresh secret for these recipients.
    pub fn new(recipients: &Recipients) -> Self {
        let (to_mailbox, secret) = recipients.mailbox.encapsulate();
        let to_recovery = recipients.recovery.as_ref().map(|public| {
            let (encapsulation, shared) = public.encapsulate();
            ToRecovery { shared, encapsulation }
        });
        Self { secret, to_mailbox, to_recovery }
    }
}

impl std::fmt::Debug for Encapsulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encapsulation(..)")
    }
}
