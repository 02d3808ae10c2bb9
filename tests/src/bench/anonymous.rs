//! Memory of a process that no file stands behind: what cannot be given back without being lost. The system keeps no highest value of it,
//! so it is looked at again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::program::Program;

const LOOK: Duration = Duration::from_millis(20);

/// Looks until it is asked for the most that there was.
pub(super) struct Anonymous {
    enough: Arc<AtomicBool>,
    looking: JoinHandle<u64>,
}

impl Anonymous {
    /// Begins to look at a program's daemon.
    pub(super) fn of(program: &Program) -> Result<Self> {
        let memory = program.anonymous()?;
        let enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&enough);
        let looking = std::thread::spawn(move || {
            let mut most = 0;
            while !until.load(Ordering::Relaxed) {
                most = memory().unwrap_or(0).max(most);
                std::thread::sleep(LOOK);
            }
            most
        });
        Ok(Self { enough, looking })
    }

    /// The most octets that there were.
    pub(super) fn most(self) -> Result<u64> {
        self.enough.store(true, Ordering::Relaxed);
        self.looking.join().map_err(|_| anyhow!("nobody looked"))
    }
}
