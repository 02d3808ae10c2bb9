//! A thousand mailboxes, and answers that do not make anybody wait.

use std::time::Instant;

use postern_shared::disk::{Fault, FaultyDisk, Step};

use super::*;

const MAILBOXES: usize = 1000;
const REQUESTS: usize = 50;
const P99_MAX: Duration = Duration::from_millis(20);

/// Goal: what the pages ask for again and again does not look at the disk for each mailbox, and is answered within 20 ms.
/// Method: files that are opened are counted. Of the time the shortest is judged, which other work on the machine cannot make
/// shorter; an unoptimised build is given ten times as long. `postern-bench --only console` measures the 99th of 100.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
async fn answers_come_quickly_with_a_thousand_mailboxes() {
    let disk = Fault::nth(Step::Open, u64::MAX, std::io::ErrorKind::Other);
    let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk), disk));
    let stage = Stage::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let admin = stage.first().await;
    let registry = &stage.console.core.registry;
    for n in 0..MAILBOXES {
        registry.create(&format!("mailbox {n}"), "", None).unwrap();
    }
    let by = By::cookie(&admin);
    let allowed = if cfg!(debug_assertions) { 10 * P99_MAX } else { P99_MAX };
    for path in ["/api/v1/mailboxes", "/api/v1/overview", "/api/v1/activity", "/api/v1/session"] {
        let (mut shortest, opened) = (Duration::MAX, disk.seen());
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            assert_eq!(stage.send(by, "GET", path, None).await.status, StatusCode::OK);
            shortest = shortest.min(begun.elapsed());
        }
        let opened = disk.seen() - opened;
        assert!(opened <= REQUESTS as u64, "{path}: {REQUESTS} requests opened {opened} files");
        assert!(shortest < allowed, "{path}: {shortest:?}");
    }
}
