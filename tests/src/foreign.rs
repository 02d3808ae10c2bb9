//! Foreign programs and data, and how a test says aloud that one is missing.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Whether a program is installed; says so when it is not. `make test` installs all of them.
pub fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(program).exists());
    if !found {
        eprintln!("SKIPPED: {program} is not installed; run: tests/scripts/install-tools test");
    }
    found
}

/// The folder with real mail beside the checkout, or where `POSTERN_CORPUS` says; says so when there is none.
pub fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("POSTERN_CORPUS").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: there is no corpus of real mail at {}", path.display());
    None
}

/// A port nobody uses now, for programs that cannot choose one themselves. It is none of those the system gives to
/// connections, so it stays free until the program takes it, and each process of tests looks elsewhere first.
pub fn free_port() -> Result<u16> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(41);
    for _ in 0..PORTS {
        let number = first.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(FIRST_PORT + number)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free from {FIRST_PORT} on")
}

/// Ports below those that Linux gives to connections (32768 to 60999).
const FIRST_PORT: u32 = 11_000;
const PORTS: u32 = 21_000;

/// Waits until something listens there.
pub fn wait_for(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing answers at {address}")
}

/// Runs a command; an error with all it printed when it fails.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
    Ok(output)
}
