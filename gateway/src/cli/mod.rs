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
mod running;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser;
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::control::{CallError, call};
use postern_shared::data_dir::{DataDirError, Holder};
use postern_shared::disk::{Disk, RealDisk};
use postern_shared::telemetry::start_log_to;
use serde_json::Value;

pub use args::Args;
use args::{AdminAction, CertificateAction, MailboxAction, ProxyAction, Task};
pub(crate) use restart::backup;
pub(crate) use setup::{check_certificate, check_named};

use crate::app::{Core, StartError};
use crate::command::{Command, execute};
use crate::console::Process;
use crate::mailbox::Edit;
use crate::reload::OnHangup;
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
    let asked = asked(&args.task)?;
    let settings = match Settings::load(&RealDisk, args.config.as_deref(), std::env::vars()) {
        Err(error) if matches!(args.task, Task::Serve) => {
            return restart::take_back(args.config.as_deref(), error.into());
        }
        Err(error) if matches!(args.task, Task::Reload) => {
            return Err(error).context("the configuration cannot be used; everything goes on as it was");
        }
        Err(error) => match asked {
            Some(asked) => return running::ask(args.config.as_deref(), &asked, error, args.json),
            None => return Err(error.into()),
        },
        Ok(settings) => settings,
    };
    if let Some(asked) = asked {
        return asked.run(&settings, args.json);
    }
    match args.task {
        Task::Serve => restart::serve(settings, args.config),
        Task::CheckConfig => setup::check_config(&settings, args.json),
        Task::Backup { place, .. } => backup::run(&settings, args.config.as_deref(), &place, args.json),
        Task::Restore { place } => backup::restore(&settings, &place, args.json),
        Task::Doctor => doctor::run(&settings, args.json),
        Task::Reload => reload(&settings, args.json),
        Task::Mailbox { action: MailboxAction::Recover { id, key, out } } => {
            recovery::recover(settings, id, &key, &out, args.json)
        }
        Task::Oauth { action } => oauth::run(&settings, action, args.json),
        Task::Certificate { action } => certificate::run(&settings, action, args.json),
        Task::Proxy { action: ProxyAction::Test(test) } => proxy::test(&settings, &test, args.json),
        // Done above.
        Task::Init(_)
        | Task::RecoveryKey { .. }
        | Task::Openapi
        | Task::ConfigReference
        | Task::Status
        | Task::Health
        | Task::LogLevel { .. }
        | Task::Admin { .. }
        | Task::Mailbox { .. } => Ok(()),
    }
}

/// Runs the daemon; whether it is to start anew.
fn daemon(settings: Settings, process: &Arc<Process>) -> Result<bool> {
    // Two may wait for the disk: one that commits a group (`spool::commits`), one that writes a long message (`intake`).
    let threads = std::thread::available_parallelism().map_or(1, usize::from) + 2;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).enable_all().build().context("cannot start threads")?;
    // Before the spool is read, which takes its time: until then SIGHUP would end the process.
    let on_hangup = {
        let _inside = runtime.enter();
        OnHangup::new().context("cannot wait for SIGHUP")?
    };
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    let file = settings.log.open(Arc::clone(&disk), Arc::clone(&clock))?;
    start_log_to(settings.log_level, settings.log_format, file);
    let core = Core::open(disk, clock, settings, Holder::Daemon)?;
    runtime.block_on(crate::daemon::run(Arc::new(core), Arc::clone(process), on_hangup))
}

/// A command with what it prints.
struct Asked {
    command: Command,
    show: fn(&Value) -> String,
}

impl Asked {
    fn new(command: Command, show: fn(&Value) -> String) -> Self {
        Self { command, show }
    }

    fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        match self.command {
            // Asks the daemon alone: opening the data directory here would keep one that is starting from it.
            Command::Health => self.print(&call(&settings.data_dir, &self.command, |_| ())?, json),
            _ => self.print(&answer(settings, &self.command)?, json),
        }
        Ok(())
    }

    fn print(&self, answer: &Value, json: bool) {
        println!("{}", if json { answer.to_string() } else { (self.show)(answer) });
    }
}

/// What a running daemon can answer whatever stands in the configuration by now.
fn asked(task: &Task) -> Result<Option<Asked>> {
    Ok(Some(match task {
        Task::Status => Asked::new(Command::Status, output::status),
        Task::Health => Asked::new(Command::Health, |_| "ready".into()),
        Task::LogLevel { level } => Asked::new(Command::LogLevel { level: *level }, output::log_level),
        Task::Mailbox { action } => return mailbox(action),
        Task::Admin { action } => admin(action),
        Task::Certificate { action: CertificateAction::Show } => {
            Asked::new(Command::CertificateShow, output::certificate)
        }
        _ => return Ok(None),
    }))
}

fn mailbox(action: &MailboxAction) -> Result<Option<Asked>> {
    Ok(Some(match action {
        MailboxAction::Create { name, description, recovery_key, policy } => {
            let command = Command::MailboxCreate {
                policy: policy.clone().into_edit(&RealDisk)?,
                name: name.clone(),
                description: description.clone(),
                recovery_key: recovery_key.as_deref().map(recovery::read_public_key).transpose()?,
            };
            Asked::new(command, output::password)
        }
        MailboxAction::Show { id } => Asked::new(Command::MailboxShow { id: *id }, output::mailbox),
        MailboxAction::Edit { id, name, description, status, policy } => {
            let (name, description, status) = (name.clone(), description.clone(), (*status).map(Into::into));
            let edit = Edit { name, description, status, policy: policy.clone().into_edit(&RealDisk)? };
            Asked::new(Command::MailboxEdit { id: *id, edit }, output::mailbox)
        }
        MailboxAction::ResetPassword { id } => {
            Asked::new(Command::MailboxResetPassword { id: *id }, output::password)
        }
        MailboxAction::Delete { id } => Asked::new(Command::MailboxDelete { id: *id }, output::deleted),
        MailboxAction::List => Asked::new(Command::MailboxList, output::mailboxes),
        MailboxAction::Recover { .. } => return Ok(None),
    }))
}

fn admin(action: &AdminAction) -> Asked {
    match action {
        AdminAction::List => Asked::new(Command::AdminList, output::administrators),
        AdminAction::SetupCode => Asked::new(Command::AdminSetupCode, output::setup_code),
        AdminAction::ResetPassword { name, clear_second_factors } => {
            let (name, clear_second_factors) = (name.clone(), *clear_second_factors);
            let command = Command::AdminResetPassword { name, clear_second_factors };
            Asked::new(command, output::administrator_password)
        }
    }
}

/// A certificate that is not taken is no mistake of the configuration, which counts now; but whoever asked must know.
fn reload(settings: &Settings, json: bool) -> Result<()> {
    let answer = answer(settings, &Command::Reload)?;
    Asked::new(Command::Reload, output::reloaded).print(&answer, json);
    match answer["certificate_trouble"].as_str() {
        Some(trouble) => bail!("the old certificate is served on: {trouble}"),
        None => Ok(()),
    }
}

fn command(settings: &Settings, command: &Command, json: bool, show: fn(&Value) -> String) -> Result<()> {
    Asked::new(command.clone(), show).run(settings, json)
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
