//! Profiles that run as soon as something happens: after a run, wait for it.
//!
//! At IMAP servers that can (IDLE, RFC 2177) a session waits in the inbox of each account, or in the first folder that is wanted.
//! Elsewhere there is nothing to wait on, and the source is asked again after a while. Before a session waits it is looked whether
//! something came since the run, so nothing falls in between. What happens in other folders is seen by the next run: after
//! [`LONGEST`] there is one in any case.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::control::Context;
use tokio::task::JoinSet;

use super::accounts::{Opener, Planned, Tokens, plan};
use super::job::{RunError, open_state};
use super::profile::Profile;
use super::scope::Scope;
use super::source::{Accounts, SourceProfile};
use super::state::State;
use crate::archive::Instance;
use crate::sources::account::{Account, Folder, Role, Woken};
use crate::sources::imap::ImapSource;
use crate::sources::{Cursor, SourceError};

/// After so long another run begins though nothing was heard.
pub const LONGEST: Duration = Duration::from_secs(25 * 60);
/// Where there is nothing to wait on.
pub const POLL: Duration = Duration::from_secs(60);
/// Accounts that are waited on at once; with more, the source is asked again after a while.
const ACCOUNTS_MAX: usize = 100;

/// Waits until something happens at a profile's source, or another run is due anyway.
///
/// # Errors
/// When the source cannot be reached; the caller should pause before the next run.
pub async fn wait(instance: &Arc<Instance>, profile: &Profile, context: &Context) -> Result<Woken, RunError> {
    let SourceProfile::Imap(accounts) = &profile.source else { return Ok(pause(context, POLL).await) };
    let planned = plan(&profile.source, instance);
    if planned.is_empty() || planned.len() > ACCOUNTS_MAX {
        return Ok(pause(context, POLL).await);
    }
    let state = open_state(instance, profile).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let watching = Arc::new(Watching { accounts: accounts.clone(), scope: profile.scope.clone(), state });
    let mut waits = JoinSet::new();
    for planned in planned {
        let (_, key) = instance.profiles();
        let tokens = Tokens::new(Arc::clone(&watching.state), key, Arc::clone(&clock));
        let watching = Arc::clone(&watching);
        waits.spawn(async move { watching.wait(tokens, &planned).await });
    }
    let mut cancelled = context.clone();
    let woken = async {
        while let Some(ended) = waits.join_next().await {
            match ended.map_err(|error| RunError::Inside(error.to_string()))? {
                Ok(Woken::Quiet) => {}
                Ok(Woken::Changed) => return Ok(Woken::Changed),
                Err(RunError::Source(SourceError::CannotWait)) => return Ok(pause(context, POLL).await),
                Err(other) => return Err(other),
            }
        }
        Ok(Woken::Quiet)
    };
    tokio::select! {
        woken = woken => woken,
        () = cancelled.cancelled() => Ok(Woken::Quiet),
    }
}

async fn pause(context: &Context, time: Duration) -> Woken {
    let mut context = context.clone();
    // Asked again whether or not something happened: nobody knows.
    match tokio::time::timeout(time, context.cancelled()).await {
        Ok(()) => Woken::Quiet,
        Err(_) => Woken::Changed,
    }
}

struct Watching {
    accounts: Accounts,
    scope: Scope,
    state: Arc<State>,
}

impl Watching {
    async fn wait(&self, tokens: Tokens, planned: &Planned) -> Result<Woken, RunError> {
        let opener = Opener { accounts: &self.accounts, message_octets_max: u64::MAX, tokens };
        let mut account = opener.imap(planned).await?;
        let folders = account.folders().await?;
        let wanted: Vec<&Folder> = folders.iter().filter(|folder| self.scope.wants(folder)).collect();
        let inbox = wanted.iter().find(|folder| folder.role == Some(Role::Inbox)).or(wanted.first());
        let Some(folder) = inbox else { return Ok(Woken::Quiet) };
        let cursors = self.state.cursors(&planned.key, &self.scope.filter.mark())?;
        // Where something is held back there is always something behind the cursor.
        let after = cursors.get(&folder.id).filter(|_| !self.scope.filter.holds_back());
        let woken = watch(&mut account, folder, after).await?;
        account.finish().await?;
        Ok(woken)
    }
}

/// Looks whether something is new behind the cursor, then waits.
async fn watch(
    account: &mut ImapSource,
    folder: &Folder,
    after: Option<&Cursor>,
) -> Result<Woken, SourceError> {
    // Opened first: what comes from now on is told.
    if account.wait(&folder.id, Duration::ZERO).await? == Woken::Changed {
        return Ok(Woken::Changed);
    }
    if after.is_some() {
        let changes = account.changes(&folder.id, after).await?;
        if !changes.items.is_empty() || changes.restarted.is_some() {
            return Ok(Woken::Changed);
        }
    }
    account.wait(&folder.id, LONGEST).await
}
