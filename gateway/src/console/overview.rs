//! What the overview shows at a glance, and what it warns of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::UnixMillis;
use postern_shared::shutdown::Shutdown;
use serde::Serialize;
use utoipa::ToSchema;

use super::Console;
use crate::acme::Renewer;
use crate::activity::activity;
use crate::mailbox::Status;
use crate::monitoring::{Totals, metrics};
use crate::settings::Tls;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Looking at a thousand mailboxes costs a few milliseconds; nobody looks more often.
const LOOK_EVERY: u32 = 2;
const CERTIFICATE_WARNING: Duration = Duration::from_secs(21 * 24 * 3600);
const CLOCK_WARNING_MS: u64 = 10_000;
const WARNINGS_EACH_MAX: usize = 20;

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

/// How grave a warning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Mail is refused, or will be soon.
    Critical,
    /// Somebody should look.
    Warning,
}

/// Something that needs somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Warning {
    /// How grave it is.
    pub(super) severity: Severity,
    /// A word that does not change: `disk`, `certificate`, `no-pull`, `silence`, `clock`, `damage`, `commit`, `audit`,
    /// `configuration`.
    pub(super) code: &'static str,
    /// The mailbox it is about.
    pub(super) mailbox: Option<String>,
    /// What is the matter and what to do.
    pub(super) text: String,
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
        overview.warnings = self.warnings(&overview, now);
        let waiting = mailboxes.iter().zip(&usages);
        let mut late = Vec::new();
        let mut silent = Vec::new();
        for (mailbox, usage) in waiting {
            let pulse = activity().pulse(mailbox.id);
            let since = usage.oldest.map(|oldest| now.since(pulse.last_pull.unwrap_or(oldest).max(oldest)));
            if since.is_some_and(|since| since >= core.settings().console.pull_warning) {
                let hours = since.unwrap_or_default().as_secs() / 3600;
                let text = format!(
                    "{:?} has mail that nobody has pulled for {hours} h; see that the archiver runs",
                    mailbox.name
                );
                late.push(warning(Severity::Warning, "no-pull", text).about(mailbox.id));
            }
            if mailbox.status == Status::Active && pulse.is_silent(now) {
                let text = format!(
                    "{:?} usually gets mail and has had none for 3 h; see that its sender still sends",
                    mailbox.name
                );
                silent.push(warning(Severity::Warning, "silence", text).about(mailbox.id));
            }
        }
        for mut several in [late, silent] {
            several.truncate(WARNINGS_EACH_MAX);
            overview.warnings.append(&mut several);
        }
        overview.warnings.sort_by_key(|warning| warning.severity);
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

    fn certificate_troubles(&self, overview: &Overview, now: UnixMillis) -> Vec<(Severity, String)> {
        let mut found = Vec::new();
        if let Some(expires) = overview.certificate_expires.map(UnixMillis) {
            let left = expires.since(now);
            if left.is_zero() {
                found.push((Severity::Critical, "the certificate has expired; renew it".into()));
            } else if left < CERTIFICATE_WARNING {
                let days = left.as_secs() / 86_400;
                found.push((Severity::Warning, format!("the certificate expires in {days} days; renew it")));
            }
        }
        if let Some(reason) = self.certificate().trouble {
            let text = format!("the new certificate cannot be used, the old one is served on: {reason}");
            found.push((Severity::Warning, text));
        }
        if self.core.settings().tls == Tls::Acme
            && let Some(error) = Renewer::told(&self.core)["last_error"].as_str()
        {
            found.push((Severity::Warning, format!("the authority issued no certificate: {error}")));
        }
        found
    }

    fn warnings(&self, overview: &Overview, now: UnixMillis) -> Vec<Warning> {
        let core = &self.core;
        let reserve = crate::spool::Settings::default().reserve_bytes;
        let mut warnings = Vec::new();
        let mut warn = |severity, code, text: String| warnings.push(warning(severity, code, text));
        match overview.free_bytes {
            Some(free) if free <= reserve => {
                warn(
                    Severity::Critical,
                    "disk",
                    "the disk is full and mail is refused for now; free some space".into(),
                );
            }
            Some(free) if free < core.settings().console.disk_warning_bytes => {
                let mib = free >> 20;
                warn(
                    Severity::Warning,
                    "disk",
                    format!("only {mib} MiB are free on the disk; pull mail or add space"),
                );
            }
            Some(_) => {}
            None => warn(Severity::Critical, "disk", "the data directory cannot be looked at".into()),
        }
        if metrics().last_group_failed() {
            warn(
                Severity::Critical,
                "commit",
                "the last message could not be written to the disk; the log tells why".into(),
            );
        }
        for (severity, text) in self.certificate_troubles(overview, now) {
            warn(severity, "certificate", text);
        }
        let moved = core.clock_moved_ms();
        if moved.unsigned_abs() > CLOCK_WARNING_MS {
            let text =
                format!("the clock was moved by {} s since the start; see that NTP runs", moved / 1000);
            warn(Severity::Warning, "clock", text);
        }
        let damage = core.spool.damage().iter().map(ToString::to_string).collect::<Vec<_>>();
        let registry = core.registry.damaged().into_iter().map(|error| error.to_string());
        for text in damage.into_iter().chain(registry).take(WARNINGS_EACH_MAX) {
            warn(Severity::Critical, "damage", text);
        }
        if let Some(broken) = core.audit.chain().broken {
            warn(Severity::Critical, "audit", broken);
        }
        if let Some(reason) = &self.process.taken_back {
            warn(
                Severity::Warning,
                "configuration",
                format!("the new configuration did not start, so the old one runs: {reason}"),
            );
        }
        warnings
    }
}

fn warning(severity: Severity, code: &'static str, text: String) -> Warning {
    Warning { severity, code, mailbox: None, text }
}

impl Warning {
    fn about(self, mailbox: postern_shared::id::MailboxId) -> Self {
        Self { mailbox: Some(mailbox.to_string()), ..self }
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
