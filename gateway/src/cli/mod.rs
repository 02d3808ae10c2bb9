//! The command line: arguments to commands, answers to text.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod args;
mod backup;
mod certificate;
mod doctor;
mod init;
mod oauth;
mod output;
mod password;
mod policy;
mod proxy;
mod recovery;
mod restart;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::control::{CallError, call};
use postern_shared::data_dir::{DataDirError, Holder};
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::telemetry::start_log_to;
use serde_json::Value;

pub use args::Args;
use args::{AdminAction, MailboxAction, ProxyAction, Task};
pub(crate) use restart::backup;
pub(crate) use setup::check_named;

use crate::app::{Core, StartError};
use crate::command::{Command, execute};
use crate::console::Process;
use crate::mailbox::Edit;
use crate::settings::Settings;

/// Reads the arguments (wrong ones end the process with 2) and does what they say.
pub fn run() -> Result<()> {
    let args = Args::parse();
    if let Task::Init(flags) = &args.task {
        return init::run(&args, flags);
    }
    if matches!(args.task, Task::Openapi) {
        print!("{}", crate::console::document_text());
        return Ok(());
    }
    if matches!(args.task, Task::ConfigReference) {
        print!("{}", crate::settings::reference::page());
        return Ok(());
    }
    if let Task::RecoveryKey { action } = &args.task {
        return recovery::run(action, args.json);
    }
    // On whichever machine it lies.
    if let Task::Backup { place, verify: true } = &args.task {
        return backup::verify(place, args.json);
    }
    let settings = match Settings::load(&RealDisk, args.config.as_deref(), std::env::vars()) {
        Err(error) if matches!(args.task, Task::Serve) => {
            return restart::take_back(args.config.as_deref(), error.into());
        }
        Err(error) if matches!(args.task, Task::Reload) => {
            return Err(error).context("the configuration cannot be used; everything goes on as it was");
        }
        loaded => loaded?,
    };
    match args.task {
        Task::Serve => restart::serve(settings, args.config),
        Task::CheckConfig => setup::check_config(&settings, args.json),
        Task::Backup { place, .. } => backup::run(&settings, args.config.as_deref(), &place, args.json),
        Task::Restore { place } => backup::restore(&settings, &place, args.json),
        Task::Doctor => doctor::run(&settings, args.json),
        Task::Status => command(&settings, &Command::Status, args.json, output::status),
        Task::Health => health(&settings, args.json),
        Task::LogLevel { level } => {
            command(&settings, &Command::LogLevel { level }, args.json, output::log_level)
        }
        Task::Reload => command(&settings, &Command::Reload, args.json, output::reloaded),
        Task::Mailbox { action } => mailbox(settings, action, args.json),
        Task::Oauth { action } => oauth::run(&settings, action, args.json),
        Task::Admin { action: AdminAction::List } => {
            command(&settings, &Command::AdminList, args.json, output::administrators)
        }
        Task::Admin { action: AdminAction::SetupCode } => {
            command(&settings, &Command::AdminSetupCode, args.json, output::setup_code)
        }
        Task::Admin { action: AdminAction::ResetPassword { name, clear_second_factors } } => {
            let command_ = Command::AdminResetPassword { name, clear_second_factors };
            command(&settings, &command_, args.json, output::administrator_password)
        }
        Task::Certificate { action } => certificate::run(&settings, action, args.json),
        Task::Proxy { action: ProxyAction::Test(test) } => proxy::test(&settings, &test, args.json),
        Task::Init(_) | Task::RecoveryKey { .. } | Task::Openapi | Task::ConfigReference => Ok(()),
    }
}

/// Runs the daemon; whether it is to start anew.
fn daemon(settings: Settings, process: &Arc<Process>) -> Result<bool> {
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let file = settings.log.open(Arc::clone(&disk), Arc::clone(&clock))?;
    start_log_to(settings.log_level, settings.log_format, file);
    let core = Core::open(disk, clock, settings, Holder::Daemon)?;
    // Two may wait for the disk: one that commits a group (`spool::commits`), one that writes a long message (`intake`).
    let threads = std::thread::available_parallelism().map_or(1, usize::from) + 2;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build().context("cannot start threads")?;
    runtime.block_on(crate::daemon::run(Arc::new(core), Arc::clone(process)))
}

fn mailbox(settings: Settings, action: MailboxAction, json: bool) -> Result<()> {
    let show: fn(&Value) -> String = match &action {
        MailboxAction::Create { .. } | MailboxAction::ResetPassword { .. } => output::password,
        MailboxAction::List => output::mailboxes,
        MailboxAction::Delete { .. } => output::deleted,
        MailboxAction::Show { .. } | MailboxAction::Edit { .. } => output::mailbox,
        MailboxAction::Recover { id, key, out } => return recovery::recover(settings, *id, key, out, json),
    };
    let command_ = match action {
        MailboxAction::Create { name, description, recovery_key, policy } => Command::MailboxCreate {
            policy: policy.into_edit(&RealDisk)?,
            name,
            description,
            recovery_key: recovery_key.map(|path| recovery::read_public_key(&path)).transpose()?,
        },
        MailboxAction::Show { id } => Command::MailboxShow { id },
        MailboxAction::Edit { id, name, description, status, policy } => {
            let (status, policy) = (status.map(Into::into), policy.into_edit(&RealDisk)?);
            Command::MailboxEdit { id, edit: Edit { name, description, status, policy } }
        }
        MailboxAction::ResetPassword { id } => Command::MailboxResetPassword { id },
        MailboxAction::Delete { id } => Command::MailboxDelete { id },
        MailboxAction::List | MailboxAction::Recover { .. } => Command::MailboxList,
    };
    command(&settings, &command_, json, show)
}

fn command(settings: &Settings, command: &Command, json: bool, show: fn(&Value) -> String) -> Result<()> {
    let answer = answer(settings, command)?;
    println!("{}", if json { answer.to_string() } else { show(&answer) });
    Ok(())
}

/// Asks the daemon alone: opening the data directory here would keep one that is starting from it.
fn health(settings: &Settings, json: bool) -> Result<()> {
    let answer: Value = call(&settings.data_dir, &Command::Health, |_| ())?;
    println!("{}", if json { answer.to_string() } else { "ready".into() });
    Ok(())
}

/// How long a command waits for another one, or for a daemon that is just starting or ending.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Lets the daemon answer when one runs; else opens the data directory for the moment and answers here.
fn answer(settings: &Settings, command: &Command) -> Result<Value> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let start = clock.moment();
    loop {
        match call(&settings.data_dir, command, |_| ()) {
            Ok(answer) => return Ok(answer),
            Err(CallError::NotRunning) => {}
            Err(error) => return Err(error.into()),
        }
        match Core::open(Arc::clone(&disk), Arc::clone(&clock), settings.clone(), Holder::Command) {
            Ok(core) => return execute(&Arc::new(core), command.clone()).map_err(|message| anyhow!(message)),
            Err(StartError::DataDir(DataDirError::InUse { .. }))
                if clock.moment().since(start) < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
