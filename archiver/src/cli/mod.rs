//! The command line: arguments to commands, answers to text.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod args;
mod ask;
mod output;
mod setup;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use postern_shared::clock::SystemClock;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::random_secret;
use postern_shared::disk::RealDisk;
use postern_shared::telemetry::{Level, start_log};
use serde_json::Value;

pub use args::Args;
use args::{InstanceAction, MessageAction, ProfileAction, Task, UserAction};

use crate::app::Core;
use crate::command::{Command, TransportKey};
use crate::profiles::Profile;
use crate::settings::Settings;

/// Reads the arguments (wrong ones end the process with 2) and does what they say.
pub fn run() -> Result<ExitCode> {
    let args = Args::parse();
    if let Task::Init = args.task {
        return setup::init(args.config.as_deref());
    }
    let settings = Settings::load(&RealDisk, args.config.as_deref(), std::env::vars())?;
    let json = args.json;
    match args.task {
        Task::Serve => return serve(settings),
        Task::CheckConfig => return Ok(setup::check_config(&settings, json)),
        _ => {}
    }
    // What a command logs is for its daemon's log; here only what is wrong concerns the operator.
    start_log(Level::Warn);
    let doctor = matches!(args.task, Task::Doctor);
    let (command, show) = command(args.task)?;
    let answer = ask::answer(&settings, command)?;
    if doctor {
        return setup::doctor(&settings, &answer, json);
    }
    print(&answer, json, show)?;
    let failed = answer["failed"].as_u64().unwrap_or(0);
    for error in answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("postern-archiver: {error}");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Show = fn(&Value) -> String;

fn command(task: Task) -> Result<(Command, Show)> {
    Ok(match task {
        Task::Instance { action } => match action {
            InstanceAction::Create { id } => (Command::InstanceCreate { id }, output::instance_created),
            InstanceAction::List => (Command::InstanceList, output::instances),
            InstanceAction::Show { id } => (Command::InstanceShow { id }, output::instance),
        },
        Task::User { action } => match action {
            UserAction::Add { instance, id, mut addresses, emails } => {
                addresses.extend(emails);
                let emails = addresses;
                (Command::UserAdd { instance: instance.instance, id, emails }, output::user)
            }
            UserAction::List { instance } => {
                (Command::UserList { instance: instance.instance }, output::users)
            }
            UserAction::Show { instance, id } => {
                (Command::UserShow { instance: instance.instance, id }, output::user)
            }
        },
        Task::Profile { action } => profile_command(action)?,
        Task::Search { instance, user, limit, offset, query } => {
            let query = query.join(" ");
            (Command::Search { instance: instance.instance, user, query, limit, offset }, output::hits)
        }
        Task::Message { action: MessageAction::Get { instance, report, id } } => {
            (Command::MessageGet { instance: instance.instance, id, report }, output::raw)
        }
        Task::Status | Task::Doctor | Task::Serve | Task::Init | Task::CheckConfig => {
            (Command::Status, output::status)
        }
    })
}

fn profile_command(action: ProfileAction) -> Result<(Command, Show)> {
    Ok(match action {
        ProfileAction::Put { instance, file } => {
            let profile = Profile::read(&RealDisk, &file, |name| std::env::var(name).ok())?;
            let key = random_secret();
            let profile = Box::new(profile.seal(&AeadKey::new(&key)));
            let key = TransportKey::new(&key);
            (Command::ProfilePut { instance: instance.instance, profile, key }, output::profile_put)
        }
        ProfileAction::List { instance } => {
            (Command::ProfileList { instance: instance.instance }, output::profiles)
        }
        ProfileAction::Show { instance, name } => {
            (Command::ProfileShow { instance: instance.instance, name }, output::profile)
        }
        ProfileAction::Delete { instance, name } => {
            (Command::ProfileDelete { instance: instance.instance, name }, output::profile_deleted)
        }
        ProfileAction::Run { instance, name } => {
            (Command::ProfileRun { instance: instance.instance, name }, output::run)
        }
    })
}

fn serve(settings: Settings) -> Result<ExitCode> {
    start_log(settings.log_level);
    for key in &settings.without_effect {
        tracing::warn!(key, "this setting has no effect in this version");
    }
    let core = Core::open(Arc::new(RealDisk), Arc::new(SystemClock::new()), settings, true)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(crate::daemon::run(Arc::new(core)))?;
    Ok(ExitCode::SUCCESS)
}

fn print(answer: &Value, json: bool, show: Show) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match answer["base64"].as_str() {
        // Raw octets, whatever --json says: that is what the command is for.
        Some(text) => out.write_all(&STANDARD.decode(text).context("the daemon's answer")?)?,
        None if json => writeln!(out, "{answer}")?,
        None => writeln!(out, "{}", show(answer))?,
    }
    Ok(out.flush()?)
}
