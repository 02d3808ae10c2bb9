//! A thousand mailboxes, and answers that do not make anybody wait.

use std::time::Instant;

use super::*;

const MAILBOXES: usize = 1000;
const REQUESTS: usize = 200;
const P99_MAX: Duration = Duration::from_millis(20);

/// Goal: 99 of 100 answers come within 20 ms with a thousand mailboxes.
/// Method: an optimised build is held to that. Of an unoptimised one, on a machine that does other work as well, the half of
/// the answers is given ten times as long. What would make it slow, a disk access for each mailbox say, takes longer still.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "what is measured is the machine's own time")]
async fn answers_come_quickly_with_a_thousand_mailboxes() {
    let stage = Stage::new();
    let admin = stage.first().await;
    let registry = &stage.console.core.registry;
    for n in 0..MAILBOXES {
        registry.create(&format!("mailbox {n}"), "", None).unwrap();
    }
    let by = By::cookie(&admin);
    for path in ["/api/v1/mailboxes", "/api/v1/overview", "/api/v1/activity", "/api/v1/session"] {
        let mut took = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            assert_eq!(stage.send(by, "GET", path, None).await.status, StatusCode::OK);
            took.push(begun.elapsed());
        }
        took.sort();
        let p99 = took[REQUESTS * 99 / 100];
        let median = took[REQUESTS / 2];
        eprintln!("{path}: median {median:?}, p99 {p99:?}");
        let (judged, allowed) = if cfg!(debug_assertions) { (median, 10 * P99_MAX) } else { (p99, P99_MAX) };
        assert!(judged < allowed, "{path}: median {median:?}, p99 {p99:?}");
    }
}
