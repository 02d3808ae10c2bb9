//! What SPF, DKIM, ARC and DMARC make of a message when it comes: evidence for later, never a reason to refuse it.
//!
//! | what | source |
//! |---|---|
//! | SPF of the reverse-path, or of the HELO name when it is empty | RFC 7208 |
//! | DKIM, the first eight signatures | RFC 6376, RFC 8463 |
//! | ARC, chains of up to ten sets | RFC 8617 |
//! | DMARC of the author's domain | RFC 9989 |
//!
//! Of a journal report the original's DKIM and ARC are checked besides (`original-dkim`, `original-arc`): the report is the
//! journaling system's own, while the original's keys may be gone when somebody asks.
//!
//! A result reads `method=result (why) what=looked-at`, in the words of RFC 8601 §2.7.
//!
//! Promises
//! - Nothing waits longer than [`Bounds::deadline`]: what is not known by then is `temperror (deadline)`.
//! - Memory and work are bounded over all sessions: what is over a bound is `none`, with the reason.
//! - Whatever a message holds, it is stored: not even a panic in here is a reason to refuse it.
//! - Nothing a sender wrote can pass for a result.
//!
//! Not here: how results are written down (`postern_shared::proto::mime::trace`), who may send (`smtp_receiver::policy`).

mod checker;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use checker::{Checker, ResolverError};

/// A message that has come whole.
#[derive(Debug)]
pub struct Arrived {
    /// Who brought it.
    pub client: IpAddr,
    /// What that called itself.
    pub helo: String,
    /// The reverse-path; empty for `<>`.
    pub mail_from: String,
    /// Who received it.
    pub host_name: String,
    /// Its octets; `None` when they were not kept, and then SPF alone can be checked.
    pub content: Option<Vec<u8>>,
}

/// A way to authenticate mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table above says it")]
pub enum Method {
    Spf,
    Dkim,
    Arc,
    Dmarc,
    OriginalDkim,
    OriginalArc,
}

impl Method {
    const ALL: [Self; 6] =
        [Self::Spf, Self::Dkim, Self::Arc, Self::Dmarc, Self::OriginalDkim, Self::OriginalArc];
    const OF_CONTENT: [Self; 3] = [Self::Dkim, Self::Arc, Self::Dmarc];

    fn name(self) -> &'static str {
        match self {
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Arc => "arc",
            Self::Dmarc => "dmarc",
            Self::OriginalDkim => "original-dkim",
            Self::OriginalArc => "original-arc",
        }
    }

    /// Whether it speaks of what only journal reports have.
    fn is_of_original(self) -> bool {
        matches!(self, Self::OriginalDkim | Self::OriginalArc)
    }
}

/// Results as they come in, so that those which are there at the deadline count.
#[derive(Debug, Clone, Default)]
pub struct Findings(Arc<Mutex<BTreeMap<Method, Vec<String>>>>);

impl Findings {
    /// Enters what a method found: `pass header.d=example.com`, once for each thing it looked at.
    pub fn put(&self, method: Method, results: Vec<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(method, results);
    }

    /// Says that a method of journal reports will have results.
    pub fn expect(&self, method: Method) {
        self.put(method, Vec::new());
    }

    /// All results; of a method that has none, what `missing` says.
    fn all(&self, missing: &str) -> Vec<String> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |method: Method| match found.get(&method) {
            Some(results) if !results.is_empty() => {
                results.iter().map(|result| format!("{}={result}", method.name())).collect()
            }
            None if method.is_of_original() => Vec::new(),
            _ => vec![format!("{}={missing}", method.name())],
        };
        Method::ALL.into_iter().flat_map(of).collect()
    }
}

/// Looks at messages.
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Puts its results into `findings`. It is dropped when it takes too long.
    fn authenticate(&self, arrived: Arrived, findings: Findings) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// How much it may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// How long a message waits for its results.
    pub deadline: Duration,
    /// Of a longer one only SPF is checked.
    pub message_bytes_max: u64,
    /// Messages checked at once.
    pub at_once: usize,
    /// Content kept for this by all sessions together.
    pub memory_bytes: u64,
}

/// The way to results, shared by all sessions.
#[derive(Debug, Clone)]
pub struct Authentication {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    authenticator: Arc<dyn Authenticator>,
    bounds: Bounds,
    places: Arc<Semaphore>,
    /// In units of [`MEMORY_UNIT`].
    memory: Arc<Semaphore>,
}

const MEMORY_UNIT: u64 = 1024;
/// The first piece of memory for a message: most of them fit.
const FIRST_PIECE: usize = 64 * 1024;

const BUSY: &str = "none (not checked: busy)";
const TOO_LONG: &str = "none (too long to check)";
const DEADLINE: &str = "temperror (deadline)";
const BROKEN: &str = "temperror (internal error)";

impl Authentication {
    /// Asks `authenticator`, within `bounds`.
    pub fn new(authenticator: Arc<dyn Authenticator>, bounds: Bounds) -> Self {
        let units = usize::try_from(bounds.memory_bytes / MEMORY_UNIT).unwrap_or(usize::MAX);
        let memory = Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)));
        let places = Arc::new(Semaphore::new(bounds.at_once.min(Semaphore::MAX_PERMITS)));
        Self { parts: Arc::new(Parts { authenticator, bounds, places, memory }) }
    }

    pub(super) fn begin(&self) -> Check {
        let content = Content::Kept { octets: Vec::new(), memory: None };
        Check { parts: Arc::clone(&self.parts), content }
    }
}

/// A message on its way, to be checked when it is there.
#[derive(Debug)]
pub(super) struct Check {
    parts: Arc<Parts>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Kept {
        octets: Vec<u8>,
        memory: Option<OwnedSemaphorePermit>,
    },
    /// What its methods say instead.
    NotKept(&'static str),
}

impl Check {
    /// Takes the next piece of content.
    pub(super) fn write(&mut self, piece: &[u8]) {
        let Content::Kept { octets, memory } = &mut self.content else { return };
        let needed = octets.len() + piece.len();
        let refusal = if needed as u64 > self.parts.bounds.message_bytes_max {
            Some(TOO_LONG)
        } else if needed > octets.capacity() && !grow(&self.parts, octets, memory, needed) {
            Some(BUSY)
        } else {
            octets.extend_from_slice(piece);
            None
        };
        if let Some(why) = refusal {
            self.content = Content::NotKept(why);
        }
    }

    /// The results, at the deadline at the latest. `arrived` comes without its content.
    pub(super) async fn finish(self, arrived: Arrived) -> Vec<String> {
        let findings = Findings::default();
        let Ok(place) = Arc::clone(&self.parts.places).try_acquire_owned() else { return findings.all(BUSY) };
        let (content, memory) = match self.content {
            Content::Kept { octets, memory } => (Some(octets), memory),
            Content::NotKept(why) => {
                Method::OF_CONTENT.into_iter().for_each(|method| findings.put(method, vec![why.into()]));
                (None, None)
            }
        };
        let work = self.parts.authenticator.authenticate(Arrived { content, ..arrived }, findings.clone());
        // A task of its own ends at its worst alone; and it ends with this future, should the session be over.
        let mut task = JoinSet::new();
        task.spawn(async move {
            let _held = (place, memory);
            work.await;
        });
        match timeout(self.parts.bounds.deadline, task.join_next()).await {
            Err(_) => findings.all(DEADLINE),
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "authenticating a message failed inside; it is stored without");
                findings.all(BROKEN)
            }
            Ok(_) => findings.all(BROKEN),
        }
    }
}

/// Makes room for `needed` octets; `false` when all sessions together have no more of it.
fn grow(
    parts: &Parts,
    octets: &mut Vec<u8>,
    memory: &mut Option<OwnedSemaphorePermit>,
    needed: usize,
) -> bool {
    let longest = usize::try_from(parts.bounds.message_bytes_max).unwrap_or(usize::MAX);
    let wanted = needed.max(octets.capacity().saturating_mul(2)).max(FIRST_PIECE).min(longest.max(needed));
    let more = ((wanted - octets.capacity()) as u64).div_ceil(MEMORY_UNIT);
    let Ok(more) = u32::try_from(more) else { return false };
    let Ok(permit) = Arc::clone(&parts.memory).try_acquire_many_owned(more) else { return false };
    match memory {
        Some(memory) => memory.merge(permit),
        none => *none = Some(permit),
    }
    octets.reserve_exact(wanted - octets.len());
    true
}
