//! What messages of one mailbox share that arrive at the same moment: an encapsulation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_shared::clock::Moment;
use postern_shared::crypto::seal::{Encapsulation, Recipients};

/// How long an encapsulation serves; its secret is wiped soon after.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The encapsulation in use, with the moment it was made.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Option<(Moment, Arc<Encapsulation>)>>);

impl Shared {
    pub(super) fn encapsulation(&self, now: Moment, recipients: &Recipients) -> Arc<Encapsulation> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = shared.as_ref().filter(|(made, _)| now.since(*made) < SHARED_FOR);
        if let Some((_, encapsulation)) = fresh {
            return Arc::clone(encapsulation);
        }
        let made = Arc::new(Encapsulation::new(recipients));
        *shared = Some((now, Arc::clone(&made)));
        made
    }

    /// Lets go of what no further message may use; it is wiped once those that begin just now have their keys.
    pub(super) fn forget(&self, now: Moment) {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.take_if(|(made, _)| now.since(*made) >= SHARED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::crypto::keys::PrivateKey;

    use super::*;

    /// Goal: messages of one second share an encapsulation, and nothing stays behind.
    /// Method: a clock moved by hand.
    #[test]
    fn an_encapsulation_serves_one_second_and_is_let_go() {
        let recipients = Recipients { mailbox: PrivateKey::generate().public(), recovery: None };
        let shared = Shared::default();
        let at = |ms| Moment::after_start(Duration::from_millis(ms));
        let first = shared.encapsulation(at(0), &recipients);
        assert!(Arc::ptr_eq(&first, &shared.encapsulation(at(999), &recipients)));
        let second = shared.encapsulation(at(1000), &recipients);
        assert!(!Arc::ptr_eq(&first, &second));
        shared.forget(at(1999));
        assert_eq!(Arc::strong_count(&second), 2);
        shared.forget(at(2000));
        assert_eq!(Arc::strong_count(&second), 1);
    }
}
