//! The certificate at every listener: from files, imports and authorities, swapped while sessions are open.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod authority;
mod console;
mod doors;
mod renewal;
mod sources;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use postern_tests::program::Program;
use serde_json::Value;

/// What `certificate show` tells.
fn shown(gateway: &Program) -> Result<Value> {
    gateway.json(&["certificate", "show"])
}

fn fingerprint(shown: &Value) -> String {
    shown["fingerprint"].as_str().unwrap_or_default().to_owned()
}

/// Asks until the answer is right.
fn eventually(what: &str, mut right: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !right()? {
        ensure!(start.elapsed() < Duration::from_secs(60), "{what}: it never became so");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
