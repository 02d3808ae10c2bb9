//! What all mailboxes that one login reads have in common while a profile runs: an access token, and how long the server wants
//! to be left alone by it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock, Moment, SystemClock};
use secrecy::SecretString;

/// Shared by all clones.
#[derive(Clone, Default)]
pub struct Common(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Moments of one clock cannot be compared with another's.
    clock: SystemClock,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// An access token, and until when it is used.
    token: Option<(SecretString, Moment)>,
    /// When somebody gave up because the server was busy: when it may be asked again, and what it said.
    busy: Option<(Moment, String, String)>,
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").finish_non_exhaustive()
    }
}

impl Common {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An access token that still serves.
    pub(super) fn token(&self) -> Option<SecretString> {
        let now = self.0.clock.moment();
        self.known().token.as_ref().filter(|(_, until)| *until > now).map(|(token, _)| token.clone())
    }

    pub(super) fn keep_token(&self, token: SecretString, lasts: Duration) {
        self.known().token = Some((token, self.0.clock.moment().plus(lasts)));
    }

    /// It was refused.
    pub(super) fn forget_token(&self) {
        self.known().token = None;
    }

    /// Nobody shall ask for so long.
    pub(super) fn leave_alone(&self, pause: Duration, code: &str, text: &str) {
        self.known().busy = Some((self.0.clock.moment().plus(pause), code.to_owned(), text.to_owned()));
    }

    /// Whether the server is to be left alone now, and what it said.
    pub(super) fn busy(&self) -> Option<(String, String)> {
        let now = self.0.clock.moment();
        let known = self.known();
        let (_, code, text) = known.busy.as_ref().filter(|(until, ..)| *until > now)?;
        Some((code.clone(), text.clone()))
    }
}
