//! Servers as process groups, ended whole.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a server may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends a daemon that leads a process group, and what is left of the group.
pub(super) fn end_daemon(leader: u32) -> Result<()> {
    let kill = |arguments: &[&str]| Command::new("kill").args(arguments).stderr(Stdio::null()).status();
    kill(&["-TERM", &leader.to_string()])?;
    let start = Instant::now();
    while is_running(leader) && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Fails when none is left, which is as it should be.
    kill(&["-KILL", "--", &format!("-{leader}")])?;
    Ok(())
}

/// Whether there is such a process, and not only what is kept of it for a parent that asks.
fn is_running(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
}

/// A server in the foreground. The first process of its group; all are ended when it is dropped.
#[derive(Debug)]
pub(super) struct Group(Child);

impl Group {
    /// Starts the command, which must stay in the foreground.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let command =
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().with_context(|| format!("{command:?}"))?))
    }

    /// Whether the first process has ended already.
    pub(super) fn is_over(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    fn end(&mut self) -> Result<()> {
        if self.is_over()? {
            return Ok(());
        }
        end_daemon(self.0.id())?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("a server may be left running: {error:#}");
        }
    }
}
