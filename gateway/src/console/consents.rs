//! Accounts that are being bound: how many at once, and where the addresses go that people paste.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_shared::crypto::random;
use secrecy::SecretString;
use tokio::sync::mpsc;

/// Accounts bound at once; sealing each takes 64 MiB.
const CONSENTS_MAX: usize = 4;

type Waiting = BTreeMap<String, mpsc::Sender<SecretString>>;

/// Consents that are waited for.
#[derive(Debug, Default)]
pub(super) struct Consents(Mutex<Waiting>);

/// One of the few places, until it is dropped.
#[derive(Debug)]
pub(super) struct Consent {
    /// What a pasted address is sent to; nobody guesses it.
    pub(super) id: String,
    /// Where pasted addresses come out.
    pub(super) pasted: mpsc::Receiver<SecretString>,
    all: Arc<Consents>,
}

impl Consents {
    /// A place; `None` when all are taken.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Consent> {
        let (sender, pasted) = mpsc::channel(1);
        let id: String = random::<16>().iter().map(|octet| format!("{octet:02x}")).collect();
        let mut waiting = self.waiting();
        if waiting.len() >= CONSENTS_MAX {
            return None;
        }
        waiting.insert(id.clone(), sender);
        Some(Consent { id, pasted, all: Arc::clone(self) })
    }

    /// Hands over what was pasted; whether anybody waits for it.
    pub(super) fn paste(&self, id: &str, address: SecretString) -> bool {
        // With one under way already the next one is not needed.
        self.waiting().get(id).map(|sender| sender.try_send(address)).is_some()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Consent {
    fn drop(&mut self) {
        self.all.waiting().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_is_pasted_reaches_the_one_that_waits_for_it() {
        let consents = Arc::new(Consents::default());
        let all: Vec<_> = (0..CONSENTS_MAX).map_while(|_| consents.begin()).collect();
        assert_eq!(all.len(), CONSENTS_MAX);
        assert!(consents.begin().is_none(), "all places are taken");
        let mut first = all.into_iter().next().unwrap();
        assert!(consents.paste(&first.id, "address".into()));
        assert_eq!(first.pasted.try_recv().unwrap().expose_secret(), "address");
        let id = first.id.clone();
        drop(first);
        assert!(!consents.paste(&id, "address".into()), "it is over");
        assert!(consents.begin().is_some());
    }
}
