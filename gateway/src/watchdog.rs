//! Telling the service manager that the gateway does its work, for as long as it does.
//!
//! A service manager that hears nothing for its time ends the gateway and starts it anew. That costs every open session, so
//! the gateway falls silent only when it is what helps:
//!
//! * the runtime turns no more, or no thread is left for what blocks: then nobody gets to say anything;
//! * commits stand still for [`STILL_MAX`] while somebody waits for one, or the spool takes nothing any more.
//!
//! A full or failing disk is no reason: senders get 4xx, come again, and a restart would change nothing. `/readyz` tells of that.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::Moment;
use postern_shared::service::ServiceManager;

use crate::app::Core;
use crate::spool::Pulse;

/// Longer than any disk takes for a group that it writes at all.
pub const STILL_MAX: Duration = Duration::from_secs(120);
/// The longest time between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why the gateway must be started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// A commit does not end.
    #[error("a commit has not ended for {} s", .0.as_secs())]
    Still(Duration),
    /// Who commits is gone.
    #[error("the spool takes nothing any more")]
    Closed,
}

/// Judges by what it saw of the spool.
#[derive(Debug, Default)]
pub struct Watch {
    /// The commits begun when they were first seen to stand, and when that was.
    still: Option<(u64, Moment)>,
}

impl Watch {
    /// Whether the spool, seen as `pulse` now, does its work.
    pub fn judge(&mut self, pulse: Pulse, now: Moment) -> Result<(), Stuck> {
        if !pulse.is_open {
            return Err(Stuck::Closed);
        }
        if !pulse.waits {
            self.still = None;
            return Ok(());
        }
        let since = match self.still {
            Some((begun, since)) if begun == pulse.commits_begun => since,
            _ => self.still.insert((pulse.commits_begun, now)).1,
        };
        match now.since(since) {
            stood if stood > STILL_MAX => Err(Stuck::Still(stood)),
            _ => Ok(()),
        }
    }

    /// Judges, and tells `manager`: that all is well, or else nothing that it would take for that.
    fn tell(&mut self, pulse: Pulse, now: Moment, manager: &ServiceManager) {
        match self.judge(pulse, now) {
            Ok(()) => manager.alive(),
            Err(stuck) => {
                tracing::error!(%stuck, "the gateway does not do its work; the service manager is to start it anew");
                manager.status(&stuck.to_string());
            }
        }
    }
}

/// Tells it until the runtime ends, also while the gateway stops; nothing when nobody wants to hear it.
pub async fn keep(core: Arc<Core>, manager: Arc<ServiceManager>) {
    let Some(period) = manager.watchdog() else { return };
    let pause = (period / 3).min(PAUSE_MAX);
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(pause).await;
        let (core, manager) = (Arc::clone(&core), Arc::clone(&manager));
        let looked = tokio::task::spawn_blocking(move || {
            watch.tell(core.spool.pulse(), core.clock.moment(), &manager);
            watch
        });
        match looked.await {
            Ok(seen) => watch = seen,
            Err(error) => {
                tracing::error!(%error, "cannot look after the gateway");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    fn pulse(commits_begun: u64, waits: bool) -> Pulse {
        Pulse { commits_begun, waits, is_open: true }
    }

    #[test]
    fn a_commit_that_does_not_end_is_told_after_a_while_and_one_that_moves_is_not() {
        let mut watch = Watch::default();
        assert_eq!(watch.judge(pulse(7, true), at(0)), Ok(()));
        assert_eq!(watch.judge(pulse(7, true), at(120)), Ok(()));
        assert_eq!(watch.judge(pulse(7, true), at(121)), Err(Stuck::Still(Duration::from_secs(121))));
        assert_eq!(watch.judge(pulse(8, true), at(130)), Ok(()), "it did end");
        assert_eq!(watch.judge(pulse(8, true), at(240)), Ok(()));
        assert_eq!(watch.judge(pulse(8, false), at(245)), Ok(()));
        assert_eq!(watch.judge(pulse(8, true), at(251)), Ok(()), "nobody waited in between");
    }

    #[test]
    fn a_busy_or_an_idle_spool_is_no_reason() {
        let mut watch = Watch::default();
        for n in 0..100 {
            assert_eq!(watch.judge(pulse(n, true), at(60 * n)), Ok(()));
        }
        for n in 100..200 {
            assert_eq!(watch.judge(pulse(100, false), at(60 * n)), Ok(()));
        }
        let closed = Pulse { is_open: false, ..pulse(100, false) };
        assert_eq!(watch.judge(closed, at(0)), Err(Stuck::Closed));
    }

    /// Goal: the service manager hears nothing that sounds alive of a gateway that is stuck.
    #[test]
    fn what_is_stuck_is_not_told_to_be_alive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let variable = |name: &str| (name == "NOTIFY_SOCKET").then(|| path.clone().into_os_string());
        let manager = ServiceManager::named_by(variable, 1);
        let mut watch = Watch::default();
        for (seconds, heard) in
            [(0, "WATCHDOG=1"), (120, "WATCHDOG=1"), (150, "STATUS=a commit has not ended for 150 s")]
        {
            watch.tell(pulse(1, true), at(seconds), &manager);
            let mut buffer = [0; 100];
            let bytes = socket.recv(&mut buffer).unwrap();
            assert_eq!(String::from_utf8_lossy(&buffer[..bytes]), heard);
        }
    }
}
