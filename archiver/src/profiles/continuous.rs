//! Profiles that run as soon as something happens: after a run, wait for it.
//!
//! At IMAP servers that can (IDLE, RFC 2177) a session waits in the inbox of each account, or in the first folder that is wanted.
//! Elsewhere there is nothing to wait on. Before a session waits it is looked whether something came since the run, with the folder
//! open already, so nothing falls in between. What happens in other folders is seen by the next run: after [`LONGEST`] there is one
//! in any case. An account that refuses, or whose session ends, keeps nobody from waiting in the others.
//!
//! Waiting takes two steps: [`prepare`] reads what is needed of the instance, [`Waits::wait`] holds it no more.

use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::Clock;
use postern_shared::control::Context;
use tokio::task::JoinSet;

use super::accounts::{Opener, Planned, Tokens, plan};
use super::job::{RunError, open_state};
use super::profile::Profile;
use super::run::{Place, places};
use super::scope::Scope;
use super::source::{Accounts, SourceProfile};
use super::state::State;
use crate::archive::Instance;
use crate::sources::account::{Account, Folder, Role, Woken};
use crate::sources::imap::ImapSource;
use crate::sources::{Cursor, SourceError};

/// After so long another run begins though nothing was heard.
pub const LONGEST: Duration = Duration::from_secs(25 * 60);
/// Where there is nothing to wait on after all: too many accounts, or too many who wait already.
pub const POLL: Duration = Duration::from_secs(60);
/// Where one of several accounts could not be waited on.
const POLL_FAILED: Duration = Duration::from_secs(5 * 60);
/// Accounts that are waited on at once; with more, the source is asked again after a while.
const ACCOUNTS_MAX: usize = 100;

/// Ready to wait at a profile's source.
pub struct Waits {
    watching: Arc<Watching>,
    /// None: there are too many.
    planned: Vec<(Planned, Tokens)>,
}

/// Reads what is needed to wait at a profile's source; `None` when nobody can wait there.
///
/// # Errors
/// When what is known of the source cannot be read.
pub async fn prepare(
    instance: &Arc<Instance>,
    profile: &Profile,
    clock: Arc<dyn Clock>,
) -> Result<Option<Waits>, RunError> {
    let SourceProfile::Imap(accounts) = &profile.source else { return Ok(None) };
    let state = open_state(instance, profile).await?;
    let mut planned = plan(&profile.source, instance).accounts;
    if planned.len() > ACCOUNTS_MAX {
        planned.clear();
    }
    let planned = planned.into_iter().map(|planned| {
        let (_, key) = instance.profiles();
        (planned, Tokens::new(Arc::clone(&state), key, Arc::clone(&clock)))
    });
    let planned = planned.collect();
    let watching = Watching {
        instance: instance.info().id.clone(),
        accounts: accounts.clone(),
        scope: profile.scope.clone(),
        state,
    };
    Ok(Some(Waits { watching: Arc::new(watching), planned }))
}

impl Waits {
    /// Waits until something happens, or another run is due anyway.
    ///
    /// # Errors
    /// When no account can be reached; the caller should pause before the next run.
    pub async fn wait(self, context: &Context) -> Result<Woken, RunError> {
        if self.planned.is_empty() {
            return Ok(pause(context, POLL).await);
        }
        let mut waits = JoinSet::new();
        for (planned, tokens) in self.planned {
            let (watching, context) = (Arc::clone(&self.watching), context.clone());
            waits.spawn(async move { watching.wait(tokens, &planned, &context).await });
        }
        let mut cancelled = context.clone();
        tokio::select! {
            woken = first(waits, context) => woken,
            () = cancelled.cancelled() => Ok(Woken::Quiet),
        }
    }
}

/// The first that hears something. Instead of those that cannot wait, the source is asked again after a while.
async fn first(mut waits: JoinSet<Result<Woken, RunError>>, context: &Context) -> Result<Woken, RunError> {
    while let Some(ended) = waits.join_next().await {
        let after = match ended.map_err(|error| RunError::Inside(error.to_string()))? {
            Ok(Woken::Quiet) => continue,
            Ok(Woken::Changed) => return Ok(Woken::Changed),
            Err(RunError::Source(SourceError::CannotWait)) => POLL,
            // Nobody waits any more.
            Err(error) if waits.is_empty() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "an account cannot be waited on; the others can");
                POLL_FAILED
            }
        };
        let context = context.clone();
        waits.spawn(async move { Ok(pause(&context, after).await) });
    }
    Ok(Woken::Quiet)
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
    instance: String,
    accounts: Accounts,
    scope: Scope,
    state: Arc<State>,
}

impl Watching {
    async fn wait(&self, tokens: Tokens, planned: &Planned, context: &Context) -> Result<Woken, RunError> {
        let host = &self.accounts.host;
        let waiting: Option<Place> = places().wait(&self.instance, host);
        let Some(_waiting) = waiting else { return Err(SourceError::CannotWait.into()) };
        // Logging in is what servers count; waiting costs them little.
        let Some(place) = places().session(&self.instance, host, context).await else {
            return Ok(Woken::Quiet);
        };
        let mut account = {
            let opener = Opener { accounts: &self.accounts, message_octets_max: u64::MAX, tokens };
            opener.imap(planned).await?
        };
        let folders = account.folders().await?;
        let wanted: Vec<&Folder> = folders.iter().filter(|folder| self.scope.wants(folder)).collect();
        let inbox = wanted.iter().find(|folder| folder.role == Some(Role::Inbox)).or(wanted.first());
        let Some(folder) = inbox else { return Ok(Woken::Quiet) };
        let cursors = self.state.cursors(&planned.key, &self.scope.filter.mark())?;
        if has_changed(&mut account, folder, cursors.get(&folder.id)).await? {
            account.finish().await?;
            return Ok(Woken::Changed);
        }
        drop(place);
        let woken = account.wait(&folder.id, LONGEST).await?;
        account.finish().await?;
        Ok(woken)
    }
}

/// Whether something is new behind the cursor. The folder stays open: what comes from now on is told.
async fn has_changed(
    account: &mut ImapSource,
    folder: &Folder,
    after: Option<&Cursor>,
) -> Result<bool, SourceError> {
    if account.wait(&folder.id, Duration::ZERO).await? == Woken::Changed {
        return Ok(true);
    }
    // A folder without a cursor was not read to its end.
    let Some(after) = after else { return Ok(true) };
    let changes = account.changes(&folder.id, Some(after)).await?;
    Ok(!changes.items.is_empty() || changes.restarted.is_some())
}
