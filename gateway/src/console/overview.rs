//! What the overview shows at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::shutdown::Shutdown;
use serde::Serialize;
use utoipa::ToSchema;

use super::Console;
use super::warnings::Warning;
use crate::activity::activity;
use crate::monitoring::{Totals, metrics};

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Looking at a thousand mailboxes costs a few milliseconds; nobody looks more often.
const LOOK_EVERY: u32 = 2;

/// The gateway at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Overview {
    /// When this was so, in milliseconds since 1970.
    pub(super) at: u64,
    /// The program's version.
    pub(super) version: &'static str,
    /// How long it has been running.
    pub(super) uptime_seconds: u64,
    /// Mailboxes in use.
    pub(super) mailboxes: u64,
    /// Messages that wait.
    pub(super) messages: u64,
    /// What pulling all of them would send.
    pub(super) bytes: u64,
    /// When the oldest of them arrived, in milliseconds since 1970.
    pub(super) oldest: Option<u64>,
    /// What can still be written to the disk.
    pub(super) free_bytes: Option<u64>,
    /// When the certificate expires, in milliseconds since 1970.
    pub(super) certificate_expires: Option<u64>,
    /// SHA-256 of the certificate, as archivers pin it.
    pub(super) certificate_fingerprint: String,
    /// Why clients may not trust the certificate; nothing when this machine does.
    pub(super) certificate_distrusted: Option<String>,
    /// The listeners.
    pub(super) listeners: Vec<ListenerState>,
    /// Counters since the start.
    pub(super) totals: Counted,
    /// Refusals to senders since the start, by reason.
    pub(super) refusals: BTreeMap<&'static str, u64>,
    /// What needs somebody, the gravest first.
    pub(super) warnings: Vec<Warning>,
}

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Counted {
    /// Messages acknowledged.
    pub(super) accepted: u64,
    /// Their content, in octets.
    pub(super) accepted_bytes: u64,
    /// Messages sent to archivers.
    pub(super) served: u64,
    /// Octets of messages sent whole.
    pub(super) served_bytes: u64,
    /// Messages that archivers have deleted.
    pub(super) deleted: u64,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ListenerState {
    /// The key in `[listen]`.
    pub(super) name: String,
    /// Where it listens; nowhere when it is off.
    pub(super) addresses: Vec<String>,
    /// Sessions open now, where they are counted.
    pub(super) sessions: Option<i64>,
}

impl Console {
    /// The gateway now. Blocks for the disk.
    pub(super) fn overview(&self) -> Overview {
        let core = &self.core;
        let mailboxes = core.registry.list();
        let now = core.clock.wall();
        let usages: Vec<_> = mailboxes.iter().map(|mailbox| core.spool.usage(mailbox.id)).collect();
        let totals = metrics().totals();
        let certificate = self.certificate();
        let mut overview = Overview {
            at: now.0,
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: core.uptime().as_secs(),
            mailboxes: mailboxes.len() as u64,
            messages: usages.iter().map(|usage| usage.messages).sum(),
            bytes: usages.iter().map(|usage| usage.served_bytes).sum(),
            oldest: usages.iter().filter_map(|usage| usage.oldest).min().map(|oldest| oldest.0),
            free_bytes: core.disk.free_bytes(&core.settings().data_dir).ok(),
            certificate_expires: certificate.expires.map(|expires| expires.0),
            certificate_fingerprint: certificate.fingerprint,
            certificate_distrusted: certificate.trusted.err(),
            listeners: self.listeners(),
            totals: Counted {
                accepted: totals.accepted,
                accepted_bytes: totals.accepted_bytes,
                served: totals.served,
                served_bytes: totals.served_bytes,
                deleted: totals.deleted,
            },
            refusals: Totals::REASONS
                .into_iter()
                .zip(totals.refusals)
                .filter(|(_, count)| *count > 0)
                .collect(),
            warnings: Vec::new(),
        };
        overview.warnings = self.warnings(&overview, &mailboxes, &usages);
        overview
    }

    fn listeners(&self) -> Vec<ListenerState> {
        let open: BTreeMap<_, _> = metrics().sessions_open().collect();
        let names = ["smtp", "smtps", "submission", "pop3", "pop3s", "console", "metrics", "http01"];
        let listening = self.core.listening.get();
        let state = |name: &str| {
            let addresses = listening.and_then(|all| all[name].as_array()).into_iter().flatten();
            let addresses = addresses.filter_map(|address| address.as_str().map(str::to_owned)).collect();
            ListenerState { name: name.into(), addresses, sessions: open.get(name).copied() }
        };
        names.into_iter().map(state).collect()
    }
}

/// Samples the counters, and looks at everything as long as somebody watches.
pub(super) async fn watch(console: Arc<Console>, mut stopped: Shutdown) {
    let mut ticks = 0u32;
    loop {
        tokio::select! {
            () = tokio::time::sleep(SAMPLE_EVERY) => {}
            () = stopped.requested() => return,
        }
        let sampled = console.core.clock.wall();
        console
            .rates
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .sample(sampled, metrics().totals());
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(600) {
            activity().retain(&console.core.registry.list().iter().map(|mailbox| mailbox.id).collect());
        }
        if ticks.is_multiple_of(LOOK_EVERY) && console.live.receiver_count() > 0 {
            let looking = Arc::clone(&console);
            if let Ok(overview) = tokio::task::spawn_blocking(move || looking.overview()).await {
                console.live.send_replace(Arc::new(overview));
            }
        }
    }
}
