//! The two programs as processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// postern-gateway
    Gateway,
    /// postern-archiver
    Archiver,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "postern-gateway",
            Self::Archiver => "postern-archiver",
        }
    }

    /// Everything on loopback, on ports the system chooses.
    fn config(self, data_dir: &Path, more: &str) -> String {
        let data_dir = data_dir.display();
        match self {
            Self::Gateway => format!(
                "email_domain = \"gateway.example.com\"\nhost_name = \"localhost\"\ndata_dir = \"{data_dir}\"\n\
                 [listen]\nsmtp = \"127.0.0.1:0\"\nsmtps = \"127.0.0.1:0\"\nsubmission = \"127.0.0.1:0\"\n\
                 pop3 = \"127.0.0.1:0\"\npop3s = \"127.0.0.1:0\"\nconsole = \"127.0.0.1:0\"\n{more}"
            ),
            Self::Archiver => format!("data_dir = \"{data_dir}\"\n{more}"),
        }
    }
}

/// Where this build's programs are.
pub fn binary(name: &str) -> Result<PathBuf> {
    let mut dir = std::env::current_exe()?;
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(name);
    ensure!(path.exists(), "{} is not built; run: cargo build --workspace --bins", path.display());
    Ok(path)
}

/// A program with a directory of its own, its daemon running or not.
#[derive(Debug)]
pub struct Program {
    kind: Kind,
    dir: PathBuf,
    /// Removed with its content at the end; `None` when the caller keeps the directory.
    _temporary: Option<tempfile::TempDir>,
    daemon: Option<Child>,
    /// Set for its daemon.
    environment: Vec<(String, String)>,
}

/// Long enough for a busy machine, short enough to end a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

impl Program {
    /// A program in a fresh temporary directory; `more` is put behind its configuration.
    pub fn new(kind: Kind, more: &str) -> Result<Self> {
        let temporary = tempfile::tempdir()?;
        let mut program = Self::in_dir(kind, temporary.path(), more)?;
        program._temporary = Some(temporary);
        Ok(program)
    }

    /// A program in a directory that stays.
    pub fn in_dir(kind: Kind, dir: &Path, more: &str) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("config.toml"), kind.config(&dir.join("data"), more))?;
        Ok(Self::of(kind, dir))
    }

    fn of(kind: Kind, dir: PathBuf) -> Self {
        Self { kind, dir, _temporary: None, daemon: None, environment: Vec::new() }
    }

    /// The same; a configuration that is there stays as somebody has changed it.
    pub fn kept_in(kind: Kind, dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir)?;
        if dir.join("config.toml").exists() {
            return Ok(Self::of(kind, dir));
        }
        Self::in_dir(kind, &dir, "")
    }

    /// A program with its daemon running.
    pub fn started(kind: Kind, more: &str) -> Result<Self> {
        let mut program = Self::new(kind, more)?;
        program.start()?;
        Ok(program)
    }

    /// Sets a variable for daemons that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// What its daemons logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        self.spawn()?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let daemon = self.daemon.as_mut().context("no daemon")?;
            if let Some(status) = daemon.try_wait()? {
                bail!("{} ended at once, {status}:\n{}", self.kind.name(), self.log());
            }
            if self.is_listening() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{} did not start:\n{}", self.kind.name(), self.log())
    }

    /// Starts the daemon without waiting for it.
    pub fn spawn(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = self.command(&["serve"])?;
        command.envs(self.environment.iter().cloned());
        self.daemon = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    /// A daemon that does not answer yet holds the lock, and a command would wait for it; so ask the socket alone.
    fn is_listening(&self) -> bool {
        let status: Result<Value, _> =
            postern_shared::control::call(&self.data_dir(), &Value::from("status"), |_| ());
        status.is_ok_and(|status| status["running"] == true)
    }

    /// The octets of memory that the running daemon has resident.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most octets of memory that the running daemon ever had resident.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Begins [`Program::peak_bytes`] anew (proc(5), clear_refs).
    pub fn forget_peak(&self) -> Result<()> {
        let daemon = self.daemon.as_ref().context("no daemon")?;
        Ok(std::fs::write(format!("/proc/{}/clear_refs", daemon.id()), "5")?)
    }

    /// Tells, as often as it is asked, how many octets the running daemon has in memory that no file stands behind.
    pub fn anonymous(&self) -> Result<impl Fn() -> Result<u64> + Send + 'static> {
        let daemon = self.daemon.as_ref().context("no daemon")?.id();
        Ok(move || memory(daemon, "RssAnon:"))
    }

    fn memory(&self, what: &'static str) -> Result<u64> {
        memory(self.daemon.as_ref().context("no daemon")?.id(), what)
    }

    /// Ends the daemon as an operator would (SIGTERM); how it ended.
    pub fn stop(&mut self) -> Result<std::process::ExitStatus> {
        let mut daemon = self.daemon.take().context("no daemon")?;
        signal(&daemon, "TERM")?;
        Ok(daemon.wait()?)
    }

    /// Sends the daemon a signal by its name.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(self.daemon.as_ref().context("no daemon")?, name)
    }

    /// Whether the daemon has a handler for SIGHUP by now (proc(5), SigCgt; it is the first of the mask).
    pub fn catches_hangup(&self) -> Result<bool> {
        let daemon = self.daemon.as_ref().context("no daemon")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id()))?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("SigCgt")?;
        Ok(u64::from_str_radix(caught.trim(), 16)? & 1 == 1)
    }

    /// Ends the daemon as a power cut would (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("no daemon")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Waits for the daemon to end by itself.
    pub fn wait(&mut self) -> Result<std::process::ExitStatus> {
        Ok(self.daemon.take().context("no daemon")?.wait()?)
    }

    /// A command line of this program, not run yet.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary(self.kind.name())?);
        command.arg("--config").arg(self.config_file()).args(arguments);
        if self.kind == Kind::Archiver {
            // Not in the file: what tests put behind it may have tables of its own.
            command.env("POSTERN_ARCHIVER__LISTEN__API", "127.0.0.1:0");
        }
        Ok(command)
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output()?)
    }

    /// Runs a command with `--json`; its result, or an error with what it said.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(&[&["--json"], arguments].concat())?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// The first address on which a listener of the running daemon answers.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        let status = self.json(&["status"])?;
        let address =
            status["listening"][listener][0].as_str().with_context(|| format!("{listener}: {status}"))?;
        Ok(address.parse()?)
    }
}

/// A line of a process's status (proc(5)), in octets.
fn memory(process: u32, what: &'static str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context(what)?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // The test is over, however it went.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.kind.name(), self.log());
        }
    }
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status()?;
    ensure!(status.success(), "kill -{name} failed");
    Ok(())
}

/// A mailbox as `mailbox create --json` answers.
#[derive(Debug, Clone)]
pub struct NewMailbox {
    /// mbx-…
    pub id: String,
    /// mbx-…@domain
    pub address: String,
    /// Shown once.
    pub password: String,
}

impl NewMailbox {
    /// Creates a mailbox.
    pub fn create(gateway: &Program, name: &str) -> Result<Self> {
        let answer = gateway.json(&["mailbox", "create", "--name", name])?;
        let text = |key: &str| answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        Ok(Self { id: text("id")?, address: text("address")?, password: text("password")? })
    }
}
