//! A Debian machine of its own: systemd as its first process, in namespaces (systemd-nspawn), with loopback as its network.
//!
//! Its ports, users and services are its own, so a package can be installed there as an operator would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::foreign::{has, run};

/// A busy machine takes a while to boot one.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine; it is gone when this is dropped.
#[derive(Debug)]
pub struct Machine {
    root: tempfile::TempDir,
    name: String,
    supervisor: Child,
    /// Its first process, as this machine numbers it.
    first: u32,
}

/// Whether machines can be had here: by root alone, with a few programs, where the system allows namespaces. Says so when not.
pub fn is_possible() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !root {
        eprintln!("SKIPPED: only root can start a machine of its own; run the tests as root");
    }
    if !root || !["systemd-nspawn", "nsenter", "mmdebstrap"].iter().all(|program| has(program)) {
        return false;
    }
    let mut unshare = Command::new("unshare");
    let allowed = run(unshare.args(["--mount", "--pid", "--net", "--fork", "true"]));
    if let Err(error) = &allowed {
        eprintln!("SKIPPED: there are no namespaces for a machine of its own: {error}");
    }
    allowed.is_ok()
}

/// Unpacks a small Debian to a directory.
pub fn unpack(dir: &Path) -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/debian-root");
    let made = run(&mut Command::new(script))?;
    let archive = String::from_utf8(made.stdout)?;
    run(Command::new("tar").arg("--extract").arg("--file").arg(archive.trim()).arg("--directory").arg(dir))?;
    Ok(())
}

/// Puts the shell that runs it into control groups of its own, so that the machine's are below them.
const OWN_GROUPS: &str = r#"
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
  [ -e "$hierarchy/cgroup.procs" ] || continue
  mkdir -p "$hierarchy/$1"
  echo $$ > "$hierarchy/$1/cgroup.procs"
done
exec systemd-nspawn --quiet --directory="$2" --machine="$1" --register=no --keep-unit --private-network --boot \
  --console=pipe
"#;

impl Machine {
    /// Boots one.
    pub fn boot() -> Result<Self> {
        static BOOTED: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::tempdir()?;
        unpack(root.path())?;
        let name = format!("postern-{}-{}", std::process::id(), BOOTED.fetch_add(1, Ordering::Relaxed));
        let supervisor = Command::new("sh")
            .args(["-c", OWN_GROUPS, "sh", &name])
            .arg(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut machine = Self { root, name, supervisor, first: 0 };
        machine.wait_until_up()?;
        Ok(machine)
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let start = Instant::now();
        let children = format!("/proc/{0}/task/{0}/children", self.supervisor.id());
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.supervisor.try_wait()? {
                bail!("systemd-nspawn ended at once, {status}");
            }
            let child = fs::read_to_string(&children).unwrap_or_default();
            self.first = child.split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(0);
            // Fails while there is nobody to ask.
            if self.first != 0
                && let Ok(asked) = self.command(&["systemctl", "is-system-running"]).output()
                && ["running", "degraded"].contains(&String::from_utf8_lossy(&asked.stdout).trim())
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the machine did not come up")
    }

    /// A command in it, not run yet.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.first.to_string(), "--all", "--"]).args(command);
        enter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        enter
    }

    /// Runs a command in it as root; what it printed, or an error with all that it said.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        Ok(String::from_utf8(run(&mut self.command(command))?.stdout)?.trim().to_owned())
    }

    /// A program of this machine, in the network of that one.
    pub fn beside(&self, program: &str) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &self.first.to_string(), "--net", "--", program]);
        enter
    }

    /// Where one of its files is here.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// What a unit has for a property.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        self.run(&["systemctl", "show", "--property", name, "--value", unit])
    }

    /// Waits until `holds`.
    pub fn eventually(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if holds(self)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("not within {} s: {what}\n{}", PATIENCE.as_secs(), self.journal())
    }

    /// Its journal, for when something went wrong.
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "--lines=100"]).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- journal of {}\n{}", self.name, self.journal());
        }
        // All its processes end with its first one.
        if self.first != 0 {
            let _ = Command::new("kill").arg("-KILL").arg(self.first.to_string()).status();
        } else {
            let _ = self.supervisor.kill();
        }
        let _ = self.supervisor.wait();
        // systemd-nspawn leaves it behind when it has to run from outside the system's own slices.
        let _ = fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(&self.name));
        for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
            remove_groups(&Path::new(hierarchy).join(&self.name));
        }
    }
}

/// Control groups can only be removed from below; one that is left costs nothing.
fn remove_groups(dir: &Path) {
    let below = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_groups(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}

/// The gateway of this build as a Debian package of that revision, in `dir`.
pub fn package(dir: &Path, revision: &str) -> Result<PathBuf> {
    package_of("postern-gateway", dir, revision)
}

/// A program of this build as a Debian package of that revision, in `dir`.
pub fn package_of(name: &str, dir: &Path, revision: &str) -> Result<PathBuf> {
    // cargo-deb packages release builds; this one is as good, and there already.
    let program = dir.join("target/release").join(name);
    if !program.exists() {
        fs::create_dir_all(program.parent().context("a directory")?)?;
        fs::copy(crate::program::binary(name)?, &program)?;
    }
    let package = dir.join(format!("{name}_{revision}.deb"));
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).env("CARGO_TARGET_DIR", dir.join("target"));
    cargo.args(["deb", "--package", name, "--locked", "--offline", "--no-build", "--strip"]);
    run(cargo.args(["--fast", "--quiet", "--deb-revision", revision, "--output"]).arg(&package))?;
    Ok(package)
}
