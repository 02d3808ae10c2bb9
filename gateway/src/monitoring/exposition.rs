//! Everything counted, and what is looked up now, as text for Prometheus.

use postern_shared::telemetry::metrics::{Exposition, Kind};

use super::{Monitor, metrics, readiness};
use crate::spool::Usage;

impl Monitor {
    /// The answer to `/metrics`. Blocks for the disk.
    pub fn exposition(&self) -> String {
        let mut out = Exposition::default();
        self.process(&mut out);
        intake(&mut out);
        writer(&mut out);
        self.spool(&mut out);
        sessions(&mut out);
        pop3(&mut out);
        metrics().proxy.show(&mut out);
        let help = "Access tokens asked of OAuth providers, by result.";
        out.counters("postern_gateway_oauth_refreshes_total", help, &metrics().refreshes);
        out.finish()
    }

    fn process(&self, out: &mut Exposition) {
        let core = &self.core;
        out.family("postern_gateway_build_info", Kind::Gauge, "1; the label tells which version runs.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        out.gauge("postern_gateway_uptime_seconds", "Since the gateway started.", core.uptime().as_secs());
        let ready = u8::from(readiness::reasons(self).is_empty());
        out.gauge("postern_gateway_ready", "1 when /readyz says so, else 0.", ready);
        if let Some(expires) = core.keeper.get().and_then(|keeper| keeper.identity().expires()) {
            let help = "When the certificate expires, in seconds since 1970.";
            out.gauge("postern_gateway_certificate_expiry_timestamp_seconds", help, expires.0 / 1000);
        }
        if let Ok(free) = core.disk.free_bytes(&core.settings().data_dir) {
            let help = "What can still be written to the data directory's file system.";
            out.gauge("postern_gateway_data_dir_free_bytes", help, free);
        }
    }

    fn spool(&self, out: &mut Exposition) {
        let core = &self.core;
        let now = core.clock.wall();
        let damage = core.spool.damage().len() + core.registry.damaged().len();
        out.gauge("postern_gateway_damage", "Places found damaged; `status` names them.", damage);
        let mailboxes = core.registry.list();
        out.gauge("postern_gateway_mailboxes", "Mailboxes that can be used.", mailboxes.len());
        let usages: Vec<(String, Usage)> =
            mailboxes.iter().map(|mailbox| (mailbox.id.to_string(), core.spool.usage(mailbox.id))).collect();
        let mut by_mailbox = |name, help, value: &dyn Fn(&Usage) -> u64| {
            let mut family = out.family(name, Kind::Gauge, help);
            for (id, usage) in &usages {
                family.sample(&[("mailbox", id)], value(usage));
            }
        };
        let help = "Messages that wait to be pulled.";
        by_mailbox("postern_gateway_spool_messages", help, &|usage| usage.messages);
        let help = "What pulling all that waits would send.";
        by_mailbox("postern_gateway_spool_bytes", help, &|usage| usage.served_bytes);
        let help =
            "Messages among them of which nobody knows whether the server they were meant for took them.";
        by_mailbox("postern_gateway_spool_unconfirmed_messages", help, &|usage| usage.unconfirmed);
        let help = "Age of the oldest message that waits; 0 when none does.";
        by_mailbox("postern_gateway_spool_oldest_message_age_seconds", help, &|usage| {
            usage.oldest.map_or(0, |oldest| now.since(oldest).as_secs())
        });
    }
}

fn intake(out: &mut Exposition) {
    let metrics = metrics();
    let help = "Messages acknowledged with 250.";
    out.counter("postern_gateway_messages_accepted_total", help, &metrics.accepted);
    let help = "Their copies; a message for two mailboxes has two.";
    out.counter("postern_gateway_message_copies_total", help, &metrics.copies);
    let help = "Their content, each message counted once, without trace fields.";
    out.counter("postern_gateway_content_bytes_accepted_total", help, &metrics.content_bytes);
    let help = "From a message's end to all its copies being on disk.";
    out.histogram("postern_gateway_commit_seconds", help, &metrics.commit);
    let help = "Refusals to senders (4xx and 5xx), by reason.";
    out.counters("postern_gateway_smtp_refusals_total", help, &metrics.refusals);
}

fn writer(out: &mut Exposition) {
    let metrics = metrics();
    let help = "Writing and syncing one group of records (group commit).";
    out.histogram("postern_gateway_spool_group_seconds", help, &metrics.group);
    let help = "Records committed by one sync: messages, references to large files, deletions.";
    out.histogram("postern_gateway_spool_group_records", help, &metrics.group_records);
    let help = "Bytes of records written to segments; large files have their own bytes.";
    out.counter("postern_gateway_spool_group_bytes_total", help, &metrics.group_bytes);
    let help = "Groups that could not be written or synced; nothing of them was acknowledged.";
    out.counter("postern_gateway_spool_group_failures_total", help, &metrics.group_failures);
}

fn sessions(out: &mut Exposition) {
    let metrics = metrics();
    let mut family = out.family("postern_gateway_sessions_open", Kind::Gauge, "Sessions open now.");
    for (listener, open) in metrics.sessions_open() {
        family.sample(&[("listener", listener)], open);
    }
    out.counters("postern_gateway_sessions_total", "Sessions begun.", &metrics.sessions);
    let help = "Connections beyond the limits.";
    out.counters("postern_gateway_sessions_refused_total", help, &metrics.sessions_refused);
    let help = "TLS handshakes completed, by version.";
    out.counters("postern_gateway_tls_handshakes_total", help, &metrics.tls);
    let help = "TLS handshakes that failed or were not finished in time.";
    out.counter("postern_gateway_tls_handshake_failures_total", help, &metrics.tls_failures);
}

fn pop3(out: &mut Exposition) {
    let metrics = metrics();
    out.counters("postern_gateway_pop3_logins_total", "Logins tried, by result.", &metrics.logins);
    let help = "Messages sent to archivers, whole or their beginning.";
    out.counter("postern_gateway_pop3_messages_served_total", help, &metrics.served);
    let help = "Bytes of messages sent whole.";
    out.counter("postern_gateway_pop3_bytes_served_total", help, &metrics.served_bytes);
    let help = "Messages asked for that could not be sent.";
    out.counter("postern_gateway_pop3_messages_failed_total", help, &metrics.not_served);
    let help = "Messages that archivers have deleted.";
    out.counter("postern_gateway_pop3_messages_deleted_total", help, &metrics.deleted);
}
