//! The archiver's side: workers that are started, asked, and replaced.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use postern_shared::clock::{Clock as _, Moment, SystemClock};
use postern_shared::crypto::digest::{Digest, sha256};

use super::frames;
use crate::archive::{AttachmentText, DocumentReader, NotRead};

/// Documents that a worker reads before another one takes its place.
const DOCUMENTS_MAX: u32 = 200;
/// How soon a wait is looked at again: whether anybody still wants its end.
const GLANCE: Duration = Duration::from_millis(100);
/// Poisonous documents that are remembered.
const POISONOUS_MAX: usize = 10_000;

/// Bounds of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For one document.
    pub deadline: Duration,
    /// Workers at once, for one who asks.
    pub workers: usize,
    /// For all together.
    pub workers_in_all: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(20), workers: 2, workers_in_all: 4 }
    }
}

/// Workers as one who asks has them: an instance, which learns nothing of others' documents.
#[derive(Debug)]
pub struct Workers {
    pool: Arc<Pool>,
    /// How many are at work for this one; changes while the pool is locked.
    mine: AtomicUsize,
    /// Documents that killed their workers.
    poisonous: Mutex<HashSet<Digest>>,
}

/// Workers of all, started when there is something to read. One that has nothing to do for a while ends itself.
#[derive(Debug)]
struct Pool {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: Limits,
    /// Those at rest, and how many are at work.
    workers: Mutex<(Vec<Worker>, usize)>,
    free: Condvar,
    clock: SystemClock,
}

/// Why there is no answer.
enum Failure {
    /// There is no worker to be had.
    NotStarted(io::Error),
    /// It took too long, and was ended.
    Deadline,
    /// It died.
    Died,
    /// Nobody waits any more.
    Ended,
}

impl Workers {
    /// Workers that are this program, run with these arguments.
    pub fn new(program: PathBuf, arguments: &[&str], limits: Limits) -> Self {
        let pool = Pool {
            program,
            arguments: arguments.iter().map(OsString::from).collect(),
            limits,
            workers: Mutex::default(),
            free: Condvar::new(),
            clock: SystemClock::new(),
        };
        Self { pool: Arc::new(pool), mine: AtomicUsize::new(0), poisonous: Mutex::default() }
    }

    /// The same workers for somebody else.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self { pool: Arc::clone(&self.pool), mine: AtomicUsize::new(0), poisonous: Mutex::default() }
    }

    /// Holds a place for a worker at work; `None` when nobody waits for it any more.
    fn place(&self, ended: &dyn Fn() -> bool) -> Option<Place<'_>> {
        let limits = self.pool.limits;
        let mut workers = self.pool.lock();
        while workers.1 >= limits.workers_in_all.max(1)
            || self.mine.load(Ordering::Relaxed) >= limits.workers.max(1)
        {
            if ended() {
                return None;
            }
            let waited = self.pool.free.wait_timeout(workers, GLANCE);
            workers = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        workers.1 += 1;
        self.mine.fetch_add(1, Ordering::Relaxed);
        Some(Place(self))
    }
}

impl Pool {
    /// Asks a worker, and another one when it dies: it may have died of an earlier document, or because the machine was short of memory.
    fn ask(&self, name: &str, octets: &[u8], ended: &dyn Fn() -> bool) -> Result<(String, String), Failure> {
        let mut worker = self.worker()?;
        let mut answer = worker.ask(self, name, octets, ended);
        if matches!(answer, Err(Failure::Died)) {
            worker = Worker::start(self).map_err(Failure::NotStarted)?;
            answer = worker.ask(self, name, octets, ended);
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
        let resting = {
            let mut workers = self.lock();
            // Those that had nothing to do have ended.
            workers.0.retain_mut(Worker::is_alive);
            workers.0.pop()
        };
        resting.map_or_else(|| Worker::start(self).map_err(Failure::NotStarted), Ok)
    }
}

struct Place<'w>(&'w Workers);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut workers = self.0.pool.lock();
        workers.1 -= 1;
        self.0.mine.fetch_sub(1, Ordering::Relaxed);
        drop(workers);
        // Whoever is woken may have no place left of their own.
        self.0.pool.free.notify_all();
    }
}

impl DocumentReader for Workers {
    fn read(&self, name: &str, octets: &[u8], ended: &dyn Fn() -> bool) -> Result<AttachmentText, NotRead> {
        let hash = sha256(octets);
        let poisonous = || self.poisonous.lock().unwrap_or_else(PoisonError::into_inner);
        if poisonous().contains(&hash) {
            return Ok(AttachmentText::Missing("reading it failed before".into()));
        }
        let _place = self.place(ended).ok_or(NotRead::Ended)?;
        let why = match self.pool.ask(name, octets, ended) {
            Ok((text, why)) => {
                return Ok(match (text.trim().is_empty(), why.is_empty()) {
                    (true, true) => AttachmentText::None,
                    (false, true) => AttachmentText::Text(text),
                    (true, false) => AttachmentText::Missing(why),
                    (false, false) => AttachmentText::Part(text, why),
                });
            }
            Err(Failure::Ended) => return Err(NotRead::Ended),
            Err(Failure::NotStarted(error)) => {
                return Err(NotRead::NotNow(format!("no process to read documents can be started: {error}")));
            }
            Err(Failure::Deadline) => {
                format!("reading it took longer than {} s", self.pool.limits.deadline.as_secs())
            }
            Err(Failure::Died) => "reading it took more memory than it may, or failed".to_owned(),
        };
        tracing::warn!(octets = octets.len(), why, "a document cannot be read");
        let mut known = poisonous();
        if known.len() < POISONOUS_MAX {
            known.insert(hash);
        }
        Err(NotRead::Broken(why))
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
    fn start(workers: &Pool) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(GLANCE))?;
        socket.set_write_timeout(Some(GLANCE))?;
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

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn ask(
        &mut self,
        workers: &Pool,
        name: &str,
        octets: &[u8],
        ended: &dyn Fn() -> bool,
    ) -> Result<(String, String), Failure> {
        let (clock, until) = (&workers.clock, workers.clock.moment().plus(workers.limits.deadline));
        let mut talk = Talk { socket: &self.socket, ended, clock, until, over: None };
        let asked = frames::ask(&mut talk, name, octets);
        let answered = asked.and_then(|()| frames::answered(&mut talk));
        let over = talk.over;
        answered.inspect(|_| self.served += 1).map_err(|_| over.unwrap_or(Failure::Died))
    }
}

/// What is said to a worker and by it, until the deadline, or until nobody waits.
struct Talk<'t> {
    socket: &'t UnixStream,
    ended: &'t dyn Fn() -> bool,
    clock: &'t SystemClock,
    until: Moment,
    over: Option<Failure>,
}

impl Talk<'_> {
    /// Repeats what has to wait. However little comes at a time, the deadline stands.
    fn until(&mut self, mut one: impl FnMut(&UnixStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            if (self.ended)() {
                self.over = Some(Failure::Ended);
            } else if self.clock.moment() >= self.until {
                self.over = Some(Failure::Deadline);
            }
            if self.over.is_some() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match one(self.socket) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                done => return done,
            }
        }
    }
}

impl Read for Talk<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.until(|mut socket| socket.read(into))
    }
}

impl Write for Talk<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.until(|mut socket| socket.write(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
