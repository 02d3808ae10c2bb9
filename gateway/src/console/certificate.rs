//! What the console knows of the certificate that is served, at this moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Moment, UnixMillis};
use postern_shared::tls::server::Identity;

use crate::app::Core;

/// How long a judgement holds: authorities and time may change it.
const JUDGED_FOR: Duration = Duration::from_secs(10 * 60);

/// The certificate that is served.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    /// When it expires.
    pub(super) expires: Option<UnixMillis>,
    /// SHA-256 of it.
    pub(super) fingerprint: String,
    /// Whether clients that trust this machine's authorities accept it for `host_name`; else why not.
    pub(super) trusted: Result<(), String>,
    /// Why the certificate that should have replaced it did not.
    pub(super) trouble: Option<String>,
}

/// The last certificate that was looked at, so that it is judged once and not for every answer.
#[derive(Debug, Default)]
pub(super) struct Judged(Mutex<Option<Judgement>>);

#[derive(Debug)]
struct Judgement {
    identity: Arc<Identity>,
    at: Moment,
    trusted: Result<(), String>,
}

impl Judged {
    /// What `core` serves now: what was swapped in a moment ago counts from the next answer on.
    pub(super) fn now(&self, core: &Core) -> Certificate {
        let Some(keeper) = core.keeper.get() else {
            let trusted = Err("no certificate is served".into());
            return Certificate { expires: None, fingerprint: String::new(), trusted, trouble: None };
        };
        let identity = keeper.identity();
        Certificate {
            expires: identity.expires(),
            fingerprint: format!("sha256:{}", identity.fingerprint()),
            trusted: self.judge(core, identity),
            trouble: keeper.trouble(),
        }
    }

    fn judge(&self, core: &Core, identity: Arc<Identity>) -> Result<(), String> {
        let now = core.clock.moment();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Arc::ptr_eq(&last.identity, &identity)
            && now.since(last.at) < JUDGED_FOR
        {
            return last.trusted.clone();
        }
        let trusted = identity.verify(&core.settings().host_name, core.clock.wall());
        *last = Some(Judgement { identity, at: now, trusted: trusted.clone() });
        trusted
    }

    /// Whether clients that trust this machine's authorities accept what `core` serves.
    pub(super) fn is_trusted(&self, core: &Core) -> bool {
        core.keeper.get().is_some_and(|keeper| self.judge(core, keeper.identity()).is_ok())
    }
}
