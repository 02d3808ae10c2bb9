//! The archiver's side: workers that are started, asked, and replaced.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use postern_shared::crypto::digest::{Digest, sha256};

use super::frames;
use crate::archive::{AttachmentText, DocumentReader};

/// Documents that a worker reads before another one takes its place.
const DOCUMENTS_MAX: u32 = 200;
/// Poisonous documents that are remembered.
const POISONOUS_MAX: usize = 10_000;

/// Bounds of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one document.
    pub deadline: Duration,
    /// Workers at once.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(20), workers: 2 }
    }
}

/// Workers, started when there is something to read.
#[derive(Debug)]
pub struct Workers {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: Limits,
    /// Those at rest, and how many are at work.
    workers: Mutex<(Vec<Worker>, usize)>,
    free: Condvar,
    /// Documents that killed their workers.
    poisonous: Mutex<HashSet<Digest>>,
}

/// Why there is no answer.
enum Failure {
    /// There is no worker to be had.
    NotStarted(io::Error),
    /// It took too long, and was ended.
    Deadline,
    /// It died.
    Died,
}

impl Workers {
    /// Workers that are this program, run with these arguments.
    pub fn new(program: PathBuf, arguments: &[&str], limits: Limits) -> Self {
        Self {
            program,
            arguments: arguments.iter().map(OsString::from).collect(),
            limits,
            workers: Mutex::default(),
            free: Condvar::new(),
            poisonous: Mutex::default(),
        }
    }

    /// Asks a worker; one that died of an earlier document's remains is replaced once.
    fn ask(&self, name: &str, octets: &[u8]) -> Result<(String, String), Failure> {
        let mut worker = self.worker()?;
        let mut answer = worker.ask(name, octets);
        if matches!(answer, Err(Failure::Died)) && worker.served > 0 {
            worker = Worker::start(self).map_err(Failure::NotStarted)?;
            answer = worker.ask(name, octets);
        }
        let answer = answer?;
        if worker.served < DOCUMENTS_MAX {
            self.lock().0.push(worker);
        }
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Vec<Worker>, usize)> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) -> Result<Worker, Failure> {
        match self.lock().0.pop() {
            Some(worker) => Ok(worker),
            None => Worker::start(self).map_err(Failure::NotStarted),
        }
    }

    /// Holds a place for a worker at work.
    fn place(&self) -> Place<'_> {
        let full = |(_, working): &mut (Vec<Worker>, usize)| *working >= self.limits.workers.max(1);
        let waited = self.free.wait_while(self.lock(), full);
        waited.unwrap_or_else(PoisonError::into_inner).1 += 1;
        Place(self)
    }
}

struct Place<'w>(&'w Workers);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().1 -= 1;
        self.0.free.notify_one();
    }
}

impl DocumentReader for Workers {
    fn read(&self, name: &str, octets: &[u8]) -> AttachmentText {
        let hash = sha256(octets);
        let poisonous = || self.poisonous.lock().unwrap_or_else(PoisonError::into_inner);
        if poisonous().contains(&hash) {
            return AttachmentText::Missing("reading it failed before".into());
        }
        let _place = self.place();
        let why = match self.ask(name, octets) {
            Ok((text, why)) if why.is_empty() => {
                return if text.trim().is_empty() {
                    AttachmentText::None
                } else {
                    AttachmentText::Text(text)
                };
            }
            Ok((text, why)) => {
                return if text.trim().is_empty() {
                    AttachmentText::Missing(why)
                } else {
                    AttachmentText::Part(text, why)
                };
            }
            Err(Failure::NotStarted(error)) => {
                tracing::error!(%error, "no process to read documents can be started; their text stays missing");
                return AttachmentText::Missing(format!("no process to read it could be started: {error}"));
            }
            Err(Failure::Deadline) => {
                format!("reading it took longer than {} s", self.limits.deadline.as_secs())
            }
            Err(Failure::Died) => "reading it took more memory than it may, or failed".to_owned(),
        };
        tracing::warn!(octets = octets.len(), why, "a document cannot be read");
        let mut known = poisonous();
        if known.len() < POISONOUS_MAX {
            known.insert(hash);
        }
        AttachmentText::Missing(why)
    }
}

/// A process that reads documents.
#[derive(Debug)]
struct Worker {
    child: Child,
    socket: UnixStream,
    served: u32,
}

impl Worker {
    fn start(workers: &Workers) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        // Of one write and one read; the answer comes in one go, when it is whole.
        socket.set_read_timeout(Some(workers.limits.deadline))?;
        socket.set_write_timeout(Some(workers.limits.deadline))?;
        let child = Command::new(&workers.program)
            .args(&workers.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, socket, served: 0 })
    }

    fn ask(&mut self, name: &str, octets: &[u8]) -> Result<(String, String), Failure> {
        let asked = frames::ask(&mut self.socket, name, octets);
        let answered = asked.and_then(|()| frames::answered(&mut self.socket));
        answered.inspect(|_| self.served += 1).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Deadline,
            _ => Failure::Died,
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
