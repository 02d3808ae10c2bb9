//! A file system that fills up amid a run. It is mounted for the test, which needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use postern_tests::program::{Kind, Program};

use crate::stage::Stage;

/// Unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said aloud, when this machine does not let us.
    fn on(dir: &Path, size: &str) -> Result<Option<Self>> {
        std::fs::create_dir_all(dir)?;
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(dir).output()?;
        if output.status.success() {
            return Ok(Some(Self(dir.to_path_buf())));
        }
        eprintln!(
            "SKIPPED: only root may mount a small disk: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(None)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Goal: when the disk is full a run fails in words, what is archived stays, and what is not stays at the source; with room again,
/// everything is archived once.
#[test]
fn a_full_disk_loses_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(_mounted) = Mounted::on(&dir.path().join("data"), "size=48m")? else { return Ok(()) };
    let mut stage = Stage::with(Program::in_dir(Kind::Archiver, dir.path(), "")?)?;
    stage.put_job("name = 'pull'\n[template]\ntype = 'profile'\nprofile = 'journal'")?;
    stage.archive.program.start()?;
    stage.deliver(20, 20_000)?;
    ensure!(stage.ask(&["job", "run", "pull"])?["counts"]["archived"] == 20);
    // No room at all: neither for messages nor for results.
    let ballast = dir.path().join("data/ballast");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", ballast.display()))
        .output()?;
    stage.deliver(200, 20_000)?;
    let said = stage.fails(&["job", "run", "pull"])?;
    ensure!(!said.contains("panicked") && said.lines().count() <= 6, "{said}");
    ensure!(said.to_lowercase().contains("no space") || said.to_lowercase().contains("full"), "{said}");
    std::fs::remove_file(&ballast)?;
    let done = stage.ask(&["job", "run", "pull"])?;
    ensure!(done["outcome"] == "succeeded", "{done}");
    stage.has_everything()?;
    // The daemon is the same, and what it could not store it stores now or never: its list is whole.
    let results = stage.results()?;
    ensure!(
        results.iter().all(|one| one["error"].is_null()) && results[0]["outcome"] == "succeeded",
        "{results:?}"
    );
    Ok(())
}
