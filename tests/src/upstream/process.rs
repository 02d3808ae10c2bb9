//! A server in the foreground, in a process group of its own that is ended whole.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::program::signal;

/// How long a server may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first process of the group; all are ended when it is dropped.
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

    /// Asks the server to end, for it ends its processes of other groups too, and makes sure of the rest.
    fn end(&mut self) -> Result<()> {
        if !self.is_over()? {
            signal(&self.0, "TERM")?;
        }
        let start = Instant::now();
        while !self.is_over()? && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Fails when none is left, which is as it should be.
        let group = format!("-{}", self.0.id());
        Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status()?;
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
