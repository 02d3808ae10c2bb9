//! What an operator can ask of an archiver, with or without a running daemon.
//!
//! A [`Command`] travels as JSON over the control socket when a daemon runs, and is executed on the spot when none
//! does; [`Commands`] is the same code either way, and behind the API too. `access` judges each before it is done, and writes
//! a line to the audit log of every reading of mail and every change.

mod audit;
mod every;
mod instance;
mod jobs;
#[cfg(test)]
mod names;
mod profile;
mod read;
mod secret;
mod store;
mod token;
mod until;
mod user;

use std::sync::Arc;

pub(crate) use audit::LINES_MAX;
pub use every::{Command, Tested, Then};
#[cfg(test)]
pub(crate) use names::{fields, names};
use postern_shared::control::{Context, Handler};
use postern_shared::shutdown::Shutdown;
#[cfg(test)]
pub(crate) use read::execute as read_for_tests;
pub use secret::{Secret, TransportKey};
use serde_json::{Value, json};

use self::jobs::JobError;
use crate::access::{Asked, Caller, Denied, TokenError, admit};
use crate::app::Core;
use crate::archive::ArchiveError;
use crate::profiles::job::RunError;
use crate::profiles::state::StateError;
use crate::profiles::{OpenError, StoreError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("{0}")]
    NotAllowed(String),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Profile(#[from] StoreError),
    #[error("profile {name:?}: {source}")]
    Run { name: String, source: RunError },
    #[error("profile {0:?} is running already; wait for it, or end it")]
    Running(String),
    #[error(
        "several messages are called {0:?}; say whose folder (folder) and account (account) it is, as the list shows them"
    )]
    Several(String),
    #[error("{0:?} is no profile name")]
    BadName(String),
    #[error("profile {name:?}: {source}")]
    Open { name: String, source: OpenError },
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("{0}")]
    Inside(String),
}

/// A command that may be done and stands in the audit log.
#[derive(Debug)]
pub(crate) struct Admitted {
    command: Command,
    asked: Asked,
    stopping: Option<Shutdown>,
}

impl Admitted {
    /// Told when the instance it is about is stopped.
    pub(crate) fn stopping(&self) -> Option<Shutdown> {
        self.stopping.clone()
    }

    /// The instance it is about.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.asked.instance.as_deref()
    }
}

/// The archiver's commands.
#[derive(Debug, Clone)]
pub struct Commands(pub Arc<Core>);

impl Handler for Commands {
    type Command = Command;

    async fn handle(&self, command: Command, context: Context) -> Result<Value, String> {
        let operator = Arc::new(Caller::operator());
        self.handle_as(operator, command, context).await.map_err(|error| error.to_string())
    }
}

impl From<Denied> for CommandError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotAllowed(why) => Self::NotAllowed(why),
            Denied::Archive(error) => Self::Archive(error),
        }
    }
}

impl Commands {
    /// Does what somebody asks for, if they may.
    pub(crate) async fn handle_as(
        &self,
        caller: Arc<Caller>,
        command: Command,
        context: Context,
    ) -> Result<Value, CommandError> {
        let admitted = self.admit(&caller, command).await?;
        self.carry_out(caller, admitted, context).await
    }

    /// Judges and records a command.
    pub(crate) async fn admit(
        &self,
        caller: &Arc<Caller>,
        command: Command,
    ) -> Result<Admitted, CommandError> {
        let (core, caller) = (Arc::clone(&self.0), Arc::clone(caller));
        blocking(move || {
            let asked = Asked::of(&command);
            admit(&core, &caller, &asked)?;
            // Whoever stops an instance is not stopped by that.
            let works = asked.instance.as_ref().filter(|_| !asked.name.starts_with("instance-"));
            let stopping = works.and_then(|id| core.stopping(id));
            Ok(Admitted { command, asked, stopping })
        })
        .await
    }

    /// Does what was admitted.
    pub(crate) async fn carry_out(
        &self,
        caller: Arc<Caller>,
        admitted: Admitted,
        context: Context,
    ) -> Result<Value, CommandError> {
        let Admitted { command, asked, stopping } = admitted;
        let reschedules = jobs::reschedules(&command);
        let done = until::stopped(stopping, context, |context| self.execute(&caller, command, context)).await;
        if reschedules {
            self.0.jobs.nudge();
        }
        let done = done?;
        Ok(if asked.instance.is_none() { instance::only_own(done, &caller) } else { done })
    }

    /// Does what a job of the instance asks for, until the instance is stopped.
    pub(crate) async fn perform(
        &self,
        instance: &str,
        command: Command,
        context: Context,
    ) -> Result<Value, CommandError> {
        let (core, id, asked) = (Arc::clone(&self.0), instance.to_owned(), Asked::of(&command));
        let stopping = blocking(move || {
            // What a profile's run did is recorded when it has ended; most find nothing.
            if asked.is_change() && asked.name != "profile-run" {
                core.instance(&id)?.audit().record(&asked.name, &asked.particulars)?;
            }
            Ok(core.stopping(&id))
        })
        .await?;
        let operator = Arc::new(Caller::operator());
        until::stopped(stopping, context, |context| self.execute(&operator, command, context)).await
    }

    async fn execute(
        &self,
        caller: &Arc<Caller>,
        command: Command,
        context: Context,
    ) -> Result<Value, CommandError> {
        let (core, caller) = (Arc::clone(&self.0), Arc::clone(caller));
        match command {
            Command::ProfileRun { instance, name } => self.run(instance, name, context).await,
            Command::JobRun { instance, name } => jobs::run(&core, instance, &name, context).await,
            Command::NotificationsTest => jobs::test_notifications(&core, context).await,
            Command::ProfileTest { instance, profile } => self.test(instance, *profile, context).await,
            mail @ (Command::Search { .. } | Command::MessageGet { .. } | Command::FolderList { .. }) => {
                blocking(move || read::execute(&core, &caller, mail, &context)).await
            }
            token @ (Command::TokenCreate { .. } | Command::TokenList | Command::TokenRevoke { .. }) => {
                blocking(move || token::execute(&core, &caller, token)).await
            }
            other => blocking(move || execute(&core, other, &context)).await,
        }
    }
}

/// Does what waits for the disk where nobody else waits with it.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, CommandError> + Send + 'static,
) -> Result<R, CommandError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(CommandError::Inside(format!("the command failed inside: {error}"))))
}

/// Everything that does not wait for a network. Blocks for the disk.
fn execute(core: &Core, command: Command, context: &Context) -> Result<Value, CommandError> {
    match command {
        Command::Status => status(core),
        Command::InstanceCreate { .. }
        | Command::InstanceStart { .. }
        | Command::InstanceStop { .. }
        | Command::InstanceDelete { .. }
        | Command::InstanceUnlock { .. }
        | Command::InstanceRecover { .. }
        | Command::InstanceNewRecoveryKey { .. }
        | Command::InstanceList
        | Command::InstanceShow { .. } => instance::execute(core, command),
        Command::UserAdd { .. }
        | Command::UserList { .. }
        | Command::UserShow { .. }
        | Command::UserEdit { .. }
        | Command::UserDelete { .. } => user::execute(core, command),
        Command::AuditList { .. } | Command::AuditVerify { .. } => audit::execute(core, command, context),
        Command::ProfilePut { .. }
        | Command::ProfileList { .. }
        | Command::ProfileShow { .. }
        | Command::ProfileDelete { .. }
        | Command::ProfileEnable { .. }
        | Command::ProfileRetries { .. }
        | Command::ProfileTest { .. }
        | Command::ProfileRun { .. } => profile::execute(core, command),
        Command::JobPut { .. }
        | Command::JobList { .. }
        | Command::JobShow { .. }
        | Command::JobCancel { .. }
        | Command::JobEnable { .. }
        | Command::JobDelete { .. }
        | Command::ResultList { .. }
        | Command::ResultShow { .. } => jobs::execute(core, command),
        other => store::execute(core, other, context),
    }
}

fn status(core: &Core) -> Result<Value, CommandError> {
    let instances = instance::all_shown(core)?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "running": core.running,
        "data_dir": core.settings.data_dir,
        "free_bytes": core.disk.free_bytes(&core.settings.data_dir).ok(),
        "uptime_seconds": core.uptime().as_secs(),
        "listening": core.listening.get(),
        "instances": instances,
    }))
}
