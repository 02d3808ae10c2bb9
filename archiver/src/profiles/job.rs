//! A run of a profile, and what comes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_shared::clock::{Clock, SystemClock};
use postern_shared::control::Context;
use postern_shared::disk::Disk;
use postern_shared::telemetry::Progress;
use serde::{Deserialize, Serialize};

use super::accounts::{Opener, Plan, Planned, Tokens, plan, user_of};
use super::exchange::{OpensMailbox, host, mailboxes};
use super::name::ProfileName;
use super::profile::Profile;
use super::run::{Opens, Shared, Tally, places, pull, pull_gateway};
use super::source::SourceProfile;
use super::state::{State, StateError};
use crate::archive::{ArchiveError, Instance};
use crate::sources::SourceError;
use crate::sources::ews;
use crate::sources::files::{self, FilesSource};
use crate::sources::imap::ImapSource;
use crate::sources::pop3::Pop3Source;

/// A run waits for the index no longer.
const INDEX_PATIENCE: Duration = Duration::from_secs(60);

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunResult {
    /// Messages archived.
    pub archived: u64,
    /// Messages that were there already; what was new about them was added.
    pub duplicates: u64,
    /// Messages that could not be fetched or archived; they stay at the source and are tried again.
    pub failed: u64,
    /// Messages that the source confirmed as deleted.
    pub deleted_at_source: u64,
    /// Messages that the profile's scope leaves out.
    pub unwanted: u64,
    /// Messages that were gone before they could be fetched or deleted.
    pub gone: u64,
    /// Messages of earlier runs that have other flags now; the archive keeps those it has.
    pub flags_changed: u64,
    /// Messages of earlier runs that are gone at the source; the archive keeps them.
    pub vanished: u64,
    /// Folders that could not be opened.
    pub folders_failed: u64,
    /// Accounts that could not be pulled to the end.
    pub accounts_failed: u64,
    /// Messages that are to be tried again, those of earlier runs too.
    pub retries: u64,
    /// Messages that wait for their deletion at the source.
    pub pending_deletions: u64,
    /// How long it took until all of it was durable, in milliseconds.
    pub pull_ms: u64,
    /// How long the index took to follow behind that, where nobody follows in the background.
    pub index_ms: u64,
    /// Account by account, as far as there is room.
    pub accounts: Vec<AccountResult>,
    /// Why messages failed, or were not deleted, as far as there is room.
    pub errors: Vec<String>,
    /// How many errors had no room.
    pub errors_left_out: u64,
    /// What went on, a line each, with its time, as far as there is room.
    pub log: Vec<String>,
    /// Whether the run was cancelled before everything was pulled.
    pub cancelled: bool,
}

impl RunResult {
    /// Whether there is something to tell of a run that failed.
    pub fn came_to_something(&self) -> bool {
        let messages = self.archived + self.duplicates + self.failed + self.deleted_at_source;
        messages > 0 && self.accounts_failed > 0
    }
}

/// What a run did in one account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in RunResult")]
pub struct AccountResult {
    pub account: String,
    pub archived: u64,
    pub duplicates: u64,
    pub failed: u64,
    pub deleted_at_source: u64,
    /// Why it was not pulled to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why a run ended before its time. What was archived until then is safe, and counted.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is known of the source.
    #[error(transparent)]
    State(#[from] StateError),
    /// A long message on its way.
    #[error("a long message cannot be read from the instance's work directory: {0}")]
    Spool(std::io::Error),
    /// Nobody to pull for.
    #[error("the instance has no user whose account could be pulled; add users with their addresses")]
    NoAccounts,
    /// A thread panicked.
    #[error("archiving failed inside: {0}")]
    Inside(String),
}

impl RunError {
    /// Whether the next account has no better chance: the trouble is here.
    fn is_ours(&self) -> bool {
        !matches!(self, Self::Source(_))
    }
}

/// Runs `profile` into `instance` until all sources are read or `context` is cancelled. Waits for a place while many runs go on.
///
/// # Errors
/// When nothing could be pulled from any account, or the archive takes nothing. When some accounts could be pulled the others are
/// in the result.
pub async fn run(
    instance: &Arc<Instance>,
    profile: &Profile,
    message_octets_max: u64,
    context: &Context,
) -> Result<RunResult, RunError> {
    run_by(Arc::new(SystemClock::new()), instance, profile, message_octets_max, context).await.1
}

/// The same by another clock; what was done until an error is told too.
pub async fn run_by(
    clock: Arc<dyn Clock>,
    instance: &Arc<Instance>,
    profile: &Profile,
    message_octets_max: u64,
    context: &Context,
) -> (RunResult, Result<RunResult, RunError>) {
    let tally = Arc::new(Tally::new(profile.name.as_str(), Arc::clone(&clock)));
    let job = Job { instance, profile, message_octets_max, context, tally: &tally, clock };
    let done = job.run().await;
    let result = tally.result();
    (result.clone(), done.map(|()| result))
}

/// What is to be tried again, and what waits to be deleted.
fn left(state: &State) -> Result<(u64, u64), StateError> {
    Ok((state.retries(0)?.1, state.pending_count()?))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

struct Job<'j> {
    instance: &'j Arc<Instance>,
    profile: &'j Profile,
    message_octets_max: u64,
    context: &'j Context,
    tally: &'j Arc<Tally>,
    clock: Arc<dyn Clock>,
}

impl Job<'_> {
    async fn run(&self) -> Result<(), RunError> {
        let Some(place) = places().run(&self.instance.info().id, self.context).await else {
            self.tally.add(|result| result.cancelled = true);
            return Ok(());
        };
        let start = self.clock.moment();
        let mut state = open_state(self.instance, self.profile).await?;
        let mut pulled = self.pull(&state).await;
        let mut left = left(&state);
        if state.is_damaged() {
            self.tally.error(
                "what is known of the source was damaged; it is put aside, and everything there is listed again".into(),
            );
            drop(state);
            state = begin_state_anew(self.instance, self.profile).await?;
            pulled = self.pull(&state).await;
            left = self::left(&state);
        }
        let (retries, pending) = left?;
        let durable = self.clock.moment();
        self.tally.add(|result| {
            result.pull_ms = milliseconds(durable.since(start));
            result.cancelled = self.context.is_cancelled();
            result.retries = retries;
            result.pending_deletions = pending;
        });
        pulled?;
        drop(place);
        self.index().await;
        let index_ms = milliseconds(self.clock.moment().since(durable));
        self.tally.add(|result| result.index_ms = index_ms);
        Ok(())
    }

    async fn pull(&self, state: &Arc<State>) -> Result<(), RunError> {
        match &self.profile.source {
            SourceProfile::Gateway(gateways) => self.gateways(gateways, state).await,
            SourceProfile::Imap(_) | SourceProfile::Pop3(_) => self.accounts(state).await,
            SourceProfile::Ews(source) => Box::pin(self.exchange(source, state)).await,
            SourceProfile::Files(settings, address) => self.files(settings, address.as_deref(), state).await,
        }
    }

    fn shared(&self, state: &Arc<State>, account: String, name: &str) -> Arc<Shared> {
        Arc::new(Shared {
            instance: Arc::clone(self.instance),
            profile: Arc::new(self.profile.clone()),
            state: Arc::clone(state),
            clock: Arc::clone(&self.clock),
            context: self.context.clone(),
            tally: Arc::clone(self.tally),
            account,
            name: name.to_owned(),
            message_octets_max: self.message_octets_max,
        })
    }

    async fn gateways(
        &self,
        gateways: &[crate::sources::gateway::Settings],
        state: &Arc<State>,
    ) -> Result<(), RunError> {
        let mut ended = Ended::of(gateways.len());
        for settings in gateways {
            let user = &settings.credentials.user;
            let name = format!("{user} at {}", settings.host);
            let shared = self.shared(state, format!("gateway {name}:{}", settings.port), &name);
            let Some(_place) = places().session(&self.instance.info().id, &settings.host, self.context).await
            else {
                break;
            };
            self.tally.begin();
            ended.add(self.tally, &name, pull_gateway(&shared, settings).await)?;
            if self.context.is_cancelled() {
                break;
            }
        }
        ended.result()
    }

    async fn accounts(&self, state: &Arc<State>) -> Result<(), RunError> {
        let (SourceProfile::Imap(accounts) | SourceProfile::Pop3(accounts)) = &self.profile.source else {
            return Ok(());
        };
        let Plan { accounts: planned, refused } = plan(&self.profile.source, self.instance);
        if planned.is_empty() && refused.is_empty() {
            return Err(RunError::NoAccounts);
        }
        for (account, why) in refused {
            self.tally.begin();
            self.tally.error(format!("{account}: {why}"));
            self.tally.end(&account, Some(why));
        }
        let (_, key) = self.instance.profiles();
        let tokens = Tokens::new(Arc::clone(state), key, Arc::clone(&self.clock));
        let opener = Opener { accounts, message_octets_max: self.message_octets_max, tokens };
        let mut ended = Ended::of(planned.len());
        for planned in &planned {
            let shared = self.shared(state, planned.key.clone(), &planned.name);
            let user = planned.user.as_deref();
            let Some(_place) = places().session(&self.instance.info().id, &accounts.host, self.context).await
            else {
                break;
            };
            self.tally.begin();
            let pulled = match &self.profile.source {
                SourceProfile::Pop3(_) => pull(&shared, user, &OpensPop3 { opener: &opener, planned }).await,
                _ => pull(&shared, user, &OpensImap { opener: &opener, planned }).await,
            };
            ended.add(self.tally, &planned.name, pulled)?;
            if self.context.is_cancelled() {
                break;
            }
        }
        ended.result()
    }

    /// One login reads all mailboxes: when it is refused, or the server wants to be left alone, the others are not tried.
    async fn exchange(&self, source: &ews::profile::Source, state: &Arc<State>) -> Result<(), RunError> {
        let mailboxes = mailboxes(source, self.instance);
        if mailboxes.is_empty() {
            return Err(RunError::NoAccounts);
        }
        let mut ended = Ended::of(mailboxes.len());
        for (index, mailbox) in mailboxes.iter().enumerate() {
            let shared = self.shared(state, mailbox.key.clone(), &mailbox.address);
            let host = host(&source.settings, &mailbox.address);
            let Some(_place) = places().session(&self.instance.info().id, &host, self.context).await else {
                break;
            };
            self.tally.begin();
            let opens = OpensMailbox {
                settings: &source.settings,
                mailbox,
                message_octets_max: self.message_octets_max,
            };
            let pulled = Box::pin(pull(&shared, mailbox.user.as_deref(), &opens)).await;
            let ends = matches!(&pulled, Err(RunError::Source(error)) if ews::is_of_the_login(error));
            ended.add(self.tally, &mailbox.address, pulled)?;
            let left = (mailboxes.len() - index - 1) as u64;
            if ends && left > 0 {
                let why = format!("{left} more mailboxes are not tried: it would be the same for them");
                self.tally.error(why);
                self.tally.add(|result| result.accounts_failed += left);
                break;
            }
            if self.context.is_cancelled() {
                break;
            }
        }
        ended.result()
    }

    async fn files(
        &self,
        settings: &files::Settings,
        address: Option<&str>,
        state: &Arc<State>,
    ) -> Result<(), RunError> {
        let name = settings.path.display().to_string();
        let user = address.and_then(|address| user_of(self.instance, address));
        let shared = self.shared(state, format!("files {name}"), address.unwrap_or(&name));
        let opens =
            OpensFiles { disk: self.instance.disk(), settings, message_octets_max: self.message_octets_max };
        let mut ended = Ended::of(1);
        self.tally.begin();
        ended.add(self.tally, &name, pull(&shared, user.as_deref(), &opens).await)?;
        ended.result()
    }

    /// Where nobody follows in the background the index does now, for a while: it may lag and may fail, the archive has everything.
    async fn index(&self) {
        let (instance, context) = (Arc::clone(self.instance), self.context.clone());
        let follow = tokio::task::spawn_blocking(move || {
            instance.catch_up_for(INDEX_PATIENCE, &mut |_, done, _| {
                context.progress(Progress { what: "indexing".into(), done, total: None });
                context.is_cancelled()
            })
        });
        let mut context = self.context.clone();
        let tally = self.tally;
        tokio::select! {
            biased;
            // It ends by itself, behind the message that it is in.
            () = context.cancelled() => {}
            () = tokio::time::sleep(2 * INDEX_PATIENCE) => {}
            caught_up = follow => match caught_up {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tally.error(format!("everything is archived, but the index is behind: {error}"));
                }
                Err(error) => {
                    tally.error(format!("everything is archived, but indexing failed inside: {error}"));
                }
            },
        }
    }
}

/// Accounts that came to their end.
struct Ended {
    of: usize,
    good: usize,
    first_error: Option<RunError>,
}

impl Ended {
    fn of(accounts: usize) -> Self {
        Self { of: accounts, good: 0, first_error: None }
    }

    /// # Errors
    /// When the next account has no better chance.
    fn add(&mut self, tally: &Tally, account: &str, pulled: Result<(), RunError>) -> Result<(), RunError> {
        let error = match pulled {
            Ok(()) => {
                self.good += 1;
                tally.end(account, None);
                return Ok(());
            }
            Err(error) => error,
        };
        tally.end(account, Some(error.to_string()));
        // The only one's error is that of the run.
        match self.of {
            1 => tally.log(&format!("{account}: {error}")),
            _ => tally.error(format!("{account}: {error}")),
        }
        if error.is_ours() {
            return Err(error);
        }
        self.first_error.get_or_insert(error);
        Ok(())
    }

    fn result(self) -> Result<(), RunError> {
        match self.first_error {
            Some(error) if self.good == 0 => Err(error),
            _ => Ok(()),
        }
    }
}

/// The state of a profile of that instance.
pub(super) async fn open_state(instance: &Arc<Instance>, profile: &Profile) -> Result<Arc<State>, RunError> {
    match with_state(instance, profile, State::open).await {
        Err(RunError::State(error)) if error.is_damaged() => begin_state_anew(instance, profile).await,
        other => other,
    }
}

/// The same, of a file that turned out to be damaged.
async fn begin_state_anew(instance: &Arc<Instance>, profile: &Profile) -> Result<Arc<State>, RunError> {
    with_state(instance, profile, State::begin_anew).await
}

async fn with_state(
    instance: &Arc<Instance>,
    profile: &Profile,
    open: impl FnOnce(&dyn Disk, &Path, &ProfileName) -> Result<State, StateError> + Send + 'static,
) -> Result<Arc<State>, RunError> {
    let (instance, name) = (Arc::clone(instance), profile.name.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let state = open(&**instance.disk(), &state_dir(&instance), &name)?;
        state.tie(&instance)?;
        Ok::<_, StateError>(state)
    });
    Ok(Arc::new(opened.await.map_err(|error| RunError::Inside(error.to_string()))??))
}

/// Where the states of an instance's profiles are.
pub fn state_dir(instance: &Instance) -> std::path::PathBuf {
    instance.profiles().0.with_file_name("pull")
}

pub(super) struct OpensImap<'o> {
    pub(super) opener: &'o Opener<'o>,
    pub(super) planned: &'o Planned,
}

impl Opens for OpensImap<'_> {
    type Account = ImapSource;

    async fn open(&self) -> Result<ImapSource, SourceError> {
        self.opener.imap(self.planned).await
    }
}

pub(super) struct OpensPop3<'o> {
    pub(super) opener: &'o Opener<'o>,
    pub(super) planned: &'o Planned,
}

impl Opens for OpensPop3<'_> {
    type Account = Pop3Source;

    async fn open(&self) -> Result<Pop3Source, SourceError> {
        self.opener.pop3(self.planned).await
    }
}

struct OpensFiles<'o> {
    disk: &'o Arc<dyn Disk>,
    settings: &'o files::Settings,
    message_octets_max: u64,
}

impl Opens for OpensFiles<'_> {
    type Account = FilesSource;

    async fn open(&self) -> Result<FilesSource, SourceError> {
        FilesSource::open(Arc::clone(self.disk), self.settings.clone(), self.message_octets_max)
    }
}
