//! Whether the gateway can do its work now.

use postern_shared::disk::write_probe;

use super::{Monitor, metrics};
use crate::spool;

/// Why the gateway is not ready; nothing when it is. Blocks for the disk.
///
/// After a failed commit the disk is tried: senders that went elsewhere would never show that it works again.
pub(super) fn reasons(monitor: &Monitor) -> Vec<String> {
    let core = &monitor.core;
    let mut reasons = Vec::new();
    if monitor.stopping.is_requested() {
        reasons.push("the gateway is stopping".to_owned());
    } else if core.listening.get().is_none() {
        reasons.push("the gateway is starting".to_owned());
    }
    let dir = &core.settings().data_dir;
    let reserve = spool::Settings::default().reserve_bytes;
    match core.disk.free_bytes(dir) {
        Ok(free) if free <= reserve => {
            reasons.push(format!("the disk is full: {free} bytes free, {reserve} are held back"));
        }
        Ok(_) => {}
        Err(error) => reasons.push(format!("the data directory cannot be looked at: {}", error.kind())),
    }
    if metrics().last_group_failed()
        && let Err(error) = write_probe(&*core.disk, &*core.clock, dir, 1)
    {
        reasons.push(format!("the last commit failed, and the disk still does: {}", error.kind()));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use postern_shared::clock::SystemClock;
    use postern_shared::disk::{Disk, Fault, FaultyDisk, RealDisk, Step, write_atomic};
    use postern_shared::shutdown::switch;

    use postern_shared::data_dir::Holder;

    use super::*;
    use crate::app::Core;
    use crate::settings::Settings;

    fn monitor(dir: &std::path::Path, disk: Arc<dyn Disk>) -> (Monitor, postern_shared::shutdown::Switch) {
        let config = dir.join("gateway.toml");
        let text = format!("email_domain = 'gateway.example.com'\ndata_dir = {:?}", dir.join("data"));
        write_atomic(&RealDisk, &config, text.as_bytes()).unwrap();
        let settings = Settings::load(&RealDisk, Some(&config), []).unwrap();
        let core = Core::open(disk, Arc::new(SystemClock::new()), settings, Holder::Daemon).unwrap();
        let (switch, stopping) = switch();
        (Monitor { core: Arc::new(core), stopping }, switch)
    }

    /// Goal: ready from the moment the listeners are open until the stop is asked for.
    #[test]
    fn it_is_ready_while_it_listens() {
        let dir = tempfile::tempdir().unwrap();
        let (monitor, switch) = monitor(dir.path(), Arc::new(RealDisk));
        assert_eq!(reasons(&monitor), ["the gateway is starting"]);
        monitor.core.listening.set(serde_json::json!({})).unwrap();
        assert!(reasons(&monitor).is_empty());
        switch.turn();
        assert_eq!(reasons(&monitor), ["the gateway is stopping"]);
    }

    #[test]
    fn a_full_disk_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nearly_full(1000));
        let (monitor, _switch) = monitor(dir.path(), Arc::new(disk));
        monitor.core.listening.set(serde_json::json!({})).unwrap();
        assert!(reasons(&monitor)[0].starts_with("the disk is full: 1000 bytes free"));
    }

    /// Goal: a failed commit makes it unready only as long as the disk fails.
    #[test]
    fn after_a_failed_commit_the_disk_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let fault = Fault::nth(Step::Sync, 0, io::ErrorKind::ReadOnlyFilesystem);
        let (monitor, _switch) = monitor(dir.path(), Arc::new(FaultyDisk::new(Arc::new(RealDisk), fault)));
        monitor.core.listening.set(serde_json::json!({})).unwrap();
        metrics().group_committed(1, 100, Duration::ZERO, false);
        assert!(reasons(&monitor)[0].contains("still does: read-only filesystem"), "{:?}", reasons(&monitor));
        assert!(reasons(&monitor).is_empty(), "the fault was a passing one");
    }
}
