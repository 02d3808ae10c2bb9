//! What the overview warns of: each warning has a word that does not change, the case of it, and the values that stand in
//! its text, so that pages can say it in any language.
//!
//! | code | case | values |
//! |---|---|---|
//! | `disk` | `full`, `low`, `unreadable` | `free_bytes` |
//! | `commit` | `failed` | |
//! | `certificate` | `expired`, `expires`, `kept`, `authority` | `days`, `reason` |
//! | `clock` | `moved` | `seconds` |
//! | `damage` | `found` | `reason` |
//! | `audit` | `broken` | `reason` |
//! | `configuration` | `taken-back` | `reason` |
//! | `no-pull` | `late` | `name`, `hours` |
//! | `silence` | `silent` | `name`, `hours` |

use std::time::Duration;

use postern_shared::clock::UnixMillis;
use serde::Serialize;
use utoipa::ToSchema;

use super::Console;
use super::overview::Overview;
use crate::acme::Renewer;
use crate::activity::{Pulse, activity};
use crate::mailbox::{Mailbox, Status};
use crate::monitoring::metrics;
use crate::settings::Tls;
use crate::spool::Usage;

const CERTIFICATE_WARNING: Duration = Duration::from_secs(21 * 24 * 3600);
const CLOCK_WARNING_MS: u64 = 10_000;
const WARNINGS_EACH_MAX: usize = 20;

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
    /// What of it, a word that does not change: of a disk `full`, `low` or `unreadable`; of a certificate `expired`,
    /// `expires`, `kept` (the new one cannot be used) or `authority` (it has issued none). With `code` it stands for a text
    /// that takes `values`.
    pub(super) case: &'static str,
    /// The mailbox it is about.
    pub(super) mailbox: Option<String>,
    /// What stands in the text.
    pub(super) values: Values,
    /// What is the matter and what to do, in English.
    pub(super) text: String,
}

/// What stands in a warning's text; what does not apply is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Values {
    /// The mailbox's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// For how many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hours: Option<u64>,
    /// How many days are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<u64>,
    /// What is free on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) free_bytes: Option<u64>,
    /// By how many seconds; less than nothing is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seconds: Option<i64>,
    /// Why, in English or in the words of whoever said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

impl Values {
    fn reason(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::default() }
    }
}

fn critical(code: &'static str, case: &'static str, values: Values, text: impl Into<String>) -> Warning {
    Warning { severity: Severity::Critical, code, case, mailbox: None, values, text: text.into() }
}

fn warning(code: &'static str, case: &'static str, values: Values, text: impl Into<String>) -> Warning {
    Warning { severity: Severity::Warning, ..critical(code, case, values, text) }
}

impl Console {
    /// What needs somebody, the gravest first.
    pub(super) fn warnings(
        &self,
        overview: &Overview,
        mailboxes: &[Mailbox],
        usages: &[Usage],
    ) -> Vec<Warning> {
        let now = UnixMillis(overview.at);
        let mut warnings = self.of_disk(overview.free_bytes);
        warnings.extend(self.of_certificate(overview.certificate_expires.map(UnixMillis), now));
        warnings.extend(of_clock(self.core.clock_moved_ms()));
        warnings.extend(self.of_what_is_stored());
        let patience = self.core.settings().console.pull_warning;
        let (mut late, mut silent) = (Vec::new(), Vec::new());
        for (mailbox, usage) in mailboxes.iter().zip(usages) {
            let pulse = activity().pulse(mailbox.id);
            late.extend(of_late(mailbox, usage.oldest, &pulse, now, patience));
            silent.extend(of_silent(mailbox, &pulse, now));
        }
        for mut several in [late, silent] {
            several.truncate(WARNINGS_EACH_MAX);
            warnings.append(&mut several);
        }
        warnings.sort_by_key(|warning| warning.severity);
        warnings
    }

    pub(super) fn of_disk(&self, free_bytes: Option<u64>) -> Vec<Warning> {
        let reserve = crate::spool::Settings::default().reserve_bytes;
        let values = Values { free_bytes, ..Values::default() };
        let mut warnings = Vec::new();
        match free_bytes {
            Some(free) if free <= reserve => {
                let text = "the disk is full and mail is refused for now; free some space";
                warnings.push(critical("disk", "full", values, text));
            }
            Some(free) if free < self.core.settings().console.disk_warning_bytes => {
                let text = format!("only {} MiB are free on the disk; pull mail or add space", free >> 20);
                warnings.push(warning("disk", "low", values, text));
            }
            Some(_) => {}
            None => {
                let text = "the data directory cannot be looked at";
                warnings.push(critical("disk", "unreadable", values, text));
            }
        }
        if metrics().last_group_failed() {
            let text = "the last message could not be written to the disk; the log tells why";
            warnings.push(critical("commit", "failed", Values::default(), text));
        }
        warnings
    }

    fn of_certificate(&self, expires: Option<UnixMillis>, now: UnixMillis) -> Vec<Warning> {
        let mut warnings: Vec<_> = expires.and_then(|expires| of_expiry(expires, now)).into_iter().collect();
        if let Some(reason) = self.certificate().trouble {
            let text = format!("the new certificate cannot be used, the old one is served on: {reason}");
            warnings.push(warning("certificate", "kept", Values::reason(reason), text));
        }
        if self.core.settings().tls == Tls::Acme
            && let Some(error) = Renewer::past(&self.core).last_error
        {
            let text = format!("the authority issued no certificate: {error}");
            warnings.push(warning("certificate", "authority", Values::reason(error), text));
        }
        warnings
    }

    fn of_what_is_stored(&self) -> Vec<Warning> {
        let core = &self.core;
        let damage = core.spool.damage().iter().map(ToString::to_string).collect::<Vec<_>>();
        let registry = core.registry.damaged().into_iter().map(|error| error.to_string());
        let damaged = damage.into_iter().chain(registry).take(WARNINGS_EACH_MAX);
        let mut warnings: Vec<Warning> =
            damaged.map(|text| critical("damage", "found", Values::reason(text.clone()), text)).collect();
        if let Some(broken) = core.audit.chain().broken {
            warnings.push(critical("audit", "broken", Values::reason(broken.clone()), broken));
        }
        if let Some(reason) = &self.process.taken_back {
            let text = format!("the new configuration did not start, so the old one runs: {reason}");
            warnings.push(warning("configuration", "taken-back", Values::reason(reason.clone()), text));
        }
        warnings
    }
}

fn of_expiry(expires: UnixMillis, now: UnixMillis) -> Option<Warning> {
    let left = expires.since(now);
    let days = left.as_secs() / 86_400;
    let values = Values { days: Some(days), ..Values::default() };
    if left.is_zero() {
        return Some(critical("certificate", "expired", values, "the certificate has expired; renew it"));
    }
    let text = format!("the certificate expires in {days} days; renew it");
    (left < CERTIFICATE_WARNING).then(|| warning("certificate", "expires", values, text))
}

pub(super) fn of_clock(moved_ms: i64) -> Option<Warning> {
    let seconds = moved_ms / 1000;
    let values = Values { seconds: Some(seconds), ..Values::default() };
    let text = format!("the clock was moved by {seconds} s since the start; see that NTP runs");
    (moved_ms.unsigned_abs() > CLOCK_WARNING_MS).then(|| warning("clock", "moved", values, text))
}

/// Mail that nobody pulls. `oldest`: when the oldest message came that waits.
fn of_late(
    mailbox: &Mailbox,
    oldest: Option<UnixMillis>,
    pulse: &Pulse,
    now: UnixMillis,
    patience: Duration,
) -> Option<Warning> {
    let oldest = oldest?;
    let since = now.since(pulse.last_pull.unwrap_or(oldest).max(oldest));
    let hours = since.as_secs() / 3600;
    let text = format!(
        "{:?} has mail that nobody has pulled for {hours} h; see that the archiver runs",
        mailbox.name
    );
    let values = Values { name: Some(mailbox.name.clone()), hours: Some(hours), ..Values::default() };
    (since >= patience).then(|| warning("no-pull", "late", values, text).about(mailbox))
}

/// No mail where there usually is some.
fn of_silent(mailbox: &Mailbox, pulse: &Pulse, now: UnixMillis) -> Option<Warning> {
    let is_silent = mailbox.status == Status::Active && pulse.is_silent(now);
    let last = pulse.last_delivery.filter(|_| is_silent)?;
    let hours = now.since(last).as_secs() / 3600;
    let text = format!(
        "{:?} usually gets mail and has had none for {hours} h; see that its sender still sends",
        mailbox.name
    );
    let values = Values { name: Some(mailbox.name.clone()), hours: Some(hours), ..Values::default() };
    Some(warning("silence", "silent", values, text).about(mailbox))
}

impl Warning {
    fn about(self, mailbox: &Mailbox) -> Self {
        Self { mailbox: Some(mailbox.id.to_string()), ..self }
    }
}
