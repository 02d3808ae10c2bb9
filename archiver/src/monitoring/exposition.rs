//! Everything counted, and what is looked up now, as text for Prometheus.

use std::sync::Arc;

use postern_shared::telemetry::metrics::{Exposition, Kind};

use super::{Monitor, metrics};
use crate::archive::{Instance, Stats};

impl Monitor {
    /// The answer to `/metrics`. Blocks for the disk.
    pub fn exposition(&self) -> String {
        let mut out = Exposition::default();
        self.process(&mut out);
        self.instances(&mut out);
        let help = "Answers of the API, by class of status.";
        out.counters("postern_archiver_api_answers_total", help, &metrics().answers);
        let help = "Requests with a token that is not good.";
        out.counter("postern_archiver_api_wrong_tokens_total", help, &metrics().wrong_tokens);
        let help = "Long calls of the API that run now.";
        out.gauge("postern_archiver_api_calls_running", help, self.api.calls_running());
        out.finish()
    }

    fn process(&self, out: &mut Exposition) {
        let core = &self.core;
        out.family("postern_archiver_build_info", Kind::Gauge, "1; the label tells which version runs.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        out.gauge("postern_archiver_uptime_seconds", "Since the archiver started.", core.uptime().as_secs());
        let ready = u8::from(self.reasons().is_empty());
        out.gauge("postern_archiver_ready", "1 when /readyz says so, else 0.", ready);
        if let Ok(free) = core.disk.free_bytes(&core.settings.data_dir) {
            let help = "What can still be written to the data directory's file system.";
            out.gauge("postern_archiver_data_dir_free_bytes", help, free);
        }
    }

    fn instances(&self, out: &mut Exposition) {
        let ids = self.core.instance_ids().unwrap_or_default();
        let open: Vec<(String, Option<Arc<Instance>>)> =
            ids.into_iter().map(|id| (id.clone(), self.core.open_instance_of(&id))).collect();
        let help = "1 when the instance is open, also in safe mode, else 0.";
        let mut family = out.family("postern_archiver_instance_open", Kind::Gauge, help);
        for (id, instance) in &open {
            family.sample(&[("instance", id)], u8::from(instance.is_some()));
        }
        let stats: Vec<(&str, Stats)> = open
            .iter()
            .filter_map(|(id, instance)| Some((id.as_str(), instance.as_ref()?.stats().ok()?)))
            .collect();
        let mut by_instance = |name, help, value: &dyn Fn(&Stats) -> u64| {
            let mut family = out.family(name, Kind::Gauge, help);
            for (id, stats) in &stats {
                family.sample(&[("instance", id)], value(stats));
            }
        };
        by_instance("postern_archiver_messages", "Messages archived.", &|stats| stats.messages);
        by_instance("postern_archiver_bytes", "Octets of their content.", &|stats| stats.bytes);
        by_instance("postern_archiver_stored_bytes", "Octets of packs.", &|stats| stats.stored_bytes);
        let help = "Messages that belong to nobody.";
        by_instance("postern_archiver_unassigned_messages", help, &|stats| stats.unassigned);
        let help = "Messages that could not be parsed.";
        by_instance("postern_archiver_quarantined_messages", help, &|stats| stats.quarantined);
        let help = "Places found damaged when the instance was opened; `status` names them.";
        by_instance("postern_archiver_damage", help, &|stats| stats.damage.len() as u64);
    }
}
