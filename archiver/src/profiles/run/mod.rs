//! One run of a profile, account by account.
//!
//! | file | what |
//! |---|---|
//! | `account` | an account that keeps its mail: folders, pages, what is to be tried again |
//! | `gateway` | a gateway's mailbox, which empties itself |
//! | `collect` | what comes, to batches; long messages to a file |
//! | `budget` | how much of it is in memory at once, of all runs together |
//! | `spool` | that file: sealed under a key that is nowhere else, and without a name |
//! | `archivist` | batches to the archive, in order, on threads of its own |
//! | `held` | what was not wanted when it was listed, and is by now |
//! | `delete` | what is due is read back from the archive, looked at once more at the source, then deleted there |
//! | `tally` | what the run did |
//! | `patience` | when a server that hands nothing over is left alone |
//! | `places` | how many runs and sessions go on at once |
//!
//! While the archivist commits a batch, the next one is made ready and the one behind it is fetched; a page's cursor goes through the same channel behind its
//! messages, so it is kept when all of them are durable.
//!
//! Promises
//! - A folder is read past a message only when that is archived, on the list of what is to be tried again or
//!   of what may be wanted later, gone, or unwanted.
//! - What a run has archived is known to the next one, however the run ended; what a crash or a power cut takes of that is
//!   archived again and folds.
//! - Nothing is deleted at a source that was not read back from the archive and found whole, with the journal report that it came in,
//!   nor what has another size or date there than what was archived under that name, or neither.
//! - An archive keeps what it has: flags that change and messages that vanish at the source change nothing in it. They are
//!   counted.
//! - Memory: four batches of 12 MiB a run, two of them twice, 96 MiB of all runs together, twice at most, and a message that is no journal report and of any
//!   length. What finds no room goes over the disk. Journal reports are held whole, long ones one at a time of all runs.
//! - A message at which a server fails, in whatever way, is tried twice, then it is on the list; a folder likewise is left for
//!   the next run. Neither keeps another one.
//! - A server that lets in and lists, and hands nothing over, is given up after five messages; the next run goes on behind them.
//! - A run that is cancelled ends within seconds, whatever it waits for. None waits for what others archive to be indexed.

mod account;
mod archivist;
mod budget;
mod collect;
mod delete;
mod gateway;
mod held;
mod patience;
mod places;
mod spool;
mod tally;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, UnixMillis};
use postern_shared::control::Context;

pub(super) use account::{Opens, pull};
pub(super) use gateway::pull_gateway;
pub(super) use places::{Place, places};
pub(super) use tally::Tally;

use super::profile::{AfterCare, Profile};
use super::state::State;
use crate::archive::Instance;

const DAY_MS: u64 = 24 * 3600 * 1000;
/// What is under way when a run is cancelled may come to its end in good order within that.
const GRACE: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5000 });

/// What all parts of an account's run share.
pub(super) struct Shared {
    pub(super) instance: Arc<Instance>,
    pub(super) profile: Arc<Profile>,
    pub(super) state: Arc<State>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) context: Context,
    pub(super) tally: Arc<Tally>,
    /// What names the account across runs.
    pub(super) account: String,
    /// What operators know it by.
    pub(super) name: String,
    pub(super) message_octets_max: u64,
}

impl Shared {
    /// From when on a message archived now is to be deleted.
    fn due(&self, now: UnixMillis) -> Option<u64> {
        match self.profile.after {
            AfterCare::Keep => None,
            AfterCare::Delete { days } => Some(now.0.saturating_add(u64::from(days) * DAY_MS)),
        }
    }

    /// What comes of `work`; `None` when the run was cancelled and `work` did not end soon.
    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut context = self.context.clone();
        let given_up = async {
            context.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = given_up => None,
        }
    }

    fn progress(&self) {
        let what = format!("pulling {}: {}", self.profile.name, self.name);
        self.context.progress(self.tally.progress(what));
    }
}
