//! The gateway, without its listeners.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, ManualClock};
use postern_shared::crypto::password::Argon2Cost;
use postern_shared::disk::{Disk, SimulatedDisk};
use postern_shared::id::MessageIds;

use crate::intake::SealingIntake;
use crate::mailbox::Registry;
use crate::pop3_server::SpooledMaildrops;
use crate::pop3_server::maildrop::Locks;
use crate::smtp_receiver::{SessionLimits, SessionSettings, SpooledMailboxes};
use crate::spool::{SegmentSpool, Settings, Spool};

pub(super) const DOMAIN: &str = "gateway.example.com";
const MESSAGE_BYTES_MAX: u64 = 500_000;

/// A gateway that runs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) registry: Arc<Registry>,
    pub(super) spool: Arc<SegmentSpool>,
    pub(super) intake: SealingIntake,
    pub(super) maildrops: Arc<SpooledMaildrops>,
    pub(super) locks: Locks,
    pub(super) smtp: Arc<SessionSettings>,
}

impl Node {
    /// Starts it as `app` does.
    pub(super) fn open(disk: &SimulatedDisk, clock: &Arc<ManualClock>) -> Result<Self, String> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let clock: Arc<dyn Clock> = clock.clone();
        let dir = Path::new("/data/mailboxes");
        let registry =
            Registry::open(Arc::clone(&disk), Arc::clone(&clock), dir, DOMAIN, Argon2Cost::TESTS_ONLY)
                .map_err(|error| error.to_string())?;
        let settings = Settings {
            segment_bytes: 32 * 1024,
            reserve_bytes: 4096,
            grace: Duration::from_secs(60),
            prepare_after_bytes: 4096,
            confirm_delay: Duration::ZERO,
        };
        let spool = SegmentSpool::open_stepped(disk, Arc::clone(&clock), Path::new("/data/spool"), settings)
            .map_err(|error| error.to_string())?;
        let ids = Arc::new(MessageIds::default());
        spool.newest().into_iter().for_each(|newest| ids.at_least(newest));
        let (registry, spool) = (Arc::new(registry), Arc::new(spool));
        let as_spool: Arc<dyn Spool> = spool.clone();
        let intake =
            SealingIntake::new(Arc::clone(&registry), Arc::clone(&as_spool), clock, ids, DOMAIN.to_owned());
        let smtp = Arc::new(SessionSettings {
            host_name: DOMAIN.to_owned(),
            domain: DOMAIN.to_owned(),
            mailboxes: Arc::new(SpooledMailboxes::new(Arc::clone(&registry), Arc::clone(&as_spool))),
            message_bytes_max: MESSAGE_BYTES_MAX,
            limits: SessionLimits::default(),
            product: "Postern",
        });
        let maildrops = Arc::new(SpooledMaildrops::new(as_spool));
        Ok(Self { registry, spool, intake, maildrops, locks: Locks::default(), smtp })
    }
}
