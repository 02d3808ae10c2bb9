//! The command line: arguments to commands, answers to text.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod args;
mod ask;
mod audit;
mod instance;
mod jobs;
mod output;
mod profile;
mod search;
mod setup;
mod token;
mod user;

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use postern_shared::clock::SystemClock;
use postern_shared::disk::{Disk as _, RealDisk};
use postern_shared::telemetry::{Level, start_log};
use serde_json::Value;
use zeroize::Zeroizing;

pub use args::Args;
use args::{MessageAction, StoreAction, Task};

use crate::app::Core;
use crate::command::{Command, Secret};
use crate::settings::Settings;

/// Reads the arguments (wrong ones end the process with 2) and does what they say.
pub fn run() -> Result<ExitCode> {
    let args = Args::parse();
    if let Task::ExtractWorker = args.task {
        return Ok(crate::documents::run());
    }
    if let Task::Init = args.task {
        return setup::init(args.config.as_deref());
    }
    if let Task::Openapi = args.task {
        print!("{}", crate::api::document_text());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::load(&RealDisk, args.config.as_deref(), std::env::vars())?;
    let json = args.json;
    match args.task {
        Task::Serve => return serve(settings),
        Task::CheckConfig => return setup::check_config(&settings, json),
        _ => {}
    }
    // What a command logs is for its daemon's log; here only what is wrong concerns the operator.
    start_log(Level::Warn);
    let doctor = matches!(args.task, Task::Doctor);
    let page = match &args.task {
        Task::Search(search) => Some(search.wants_page()),
        _ => None,
    };
    let (command, show) = command(args.task)?;
    let mut answer = ask::answer(&settings, command)?;
    if let Some(whole) = page {
        search::notes(&answer);
        answer = if json { search::json(answer, whole) } else { answer };
    }
    if doctor {
        return setup::doctor(&settings, &answer, json);
    }
    print(&answer, json, show)?;
    let count = |key: &str| answer[key].as_u64().unwrap_or(0);
    let failed = count("failed") + count("accounts_failed") + count("folders_failed");
    for error in answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("postern-archiver: {error}");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Show = fn(&Value) -> String;

fn command(task: Task) -> Result<(Command, Show)> {
    Ok(match task {
        Task::Instance { action } => action.command()?,
        Task::User { action } => action.command()?,
        Task::Audit { action } => action.command(),
        Task::Token { action } => action.command(),
        Task::Profile { action } => profile::command(action)?,
        Task::Job { action } => jobs::job_command(action)?,
        Task::Result { action } => jobs::result_command(action),
        Task::Notifications { action } => jobs::notification_command(&action),
        Task::Search(search) => (search.command(), search::hits),
        Task::Message { action: MessageAction::Get { instance, report, id } } => {
            (Command::MessageGet { instance: instance.instance, id, report }, output::raw)
        }
        Task::Folders { instance, user } => {
            (Command::FolderList { instance: instance.instance, user }, output::folders)
        }
        Task::Store { action } => store_command(action)?,
        Task::Verify { instance, store, afresh } => {
            (Command::Verify { instance: instance.instance, store, afresh }, output::verified)
        }
        Task::Rebuild { instance, store, index_only: false, .. } => {
            (Command::Rebuild { instance: instance.instance, store }, output::rebuilt)
        }
        Task::Rebuild { instance, store, index_only: true, damaged, afresh } => {
            (Command::IndexRebuild { instance: instance.instance, store, damaged, afresh }, output::rebuilt)
        }
        Task::Compact { instance, unused } => {
            (Command::Compact { instance: instance.instance, unused_percent: unused }, output::compacted)
        }
        Task::Backup { instance, to } => {
            let to = std::path::absolute(to)?;
            (Command::Backup { instance: instance.instance, to }, output::backed_up)
        }
        Task::Restore { id, from, key_file, recovery_key_file, despite_damage } => {
            let from = std::path::absolute(from)?;
            let key_file = key_file.map(std::path::absolute).transpose()?;
            let recovery_key = recovery_key_file.map(|file| secret_line(&file)).transpose()?;
            (Command::Restore { id, from, key_file, recovery_key, despite_damage }, output::restored)
        }
        Task::Status
        | Task::Doctor
        | Task::Serve
        | Task::Init
        | Task::CheckConfig
        | Task::Openapi
        | Task::ExtractWorker => (Command::Status, output::status),
    })
}

fn store_command(action: StoreAction) -> Result<(Command, Show)> {
    Ok(match action {
        StoreAction::List { instance } => {
            (Command::StoreList { instance: instance.instance }, output::stores)
        }
        StoreAction::Create { instance } => {
            (Command::StoreCreate { instance: instance.instance }, output::store)
        }
        StoreAction::SetState { instance, id, state } => {
            (Command::StoreState { instance: instance.instance, store: id, state }, output::store)
        }
        StoreAction::Attach { instance, dir } => {
            let dir = std::path::absolute(dir)?;
            (Command::StoreAttach { instance: instance.instance, dir }, output::store)
        }
        StoreAction::Detach { instance, id } => {
            (Command::StoreDetach { instance: instance.instance, store: id }, output::store_detached)
        }
        StoreAction::RollOver { instance, messages, bytes } => {
            (Command::StoreRollOver { instance: instance.instance, messages, bytes }, output::roll_over)
        }
    })
}

/// The first line of a file; of standard input for `-`.
fn secret_line(file: &Path) -> Result<Secret> {
    const BYTES_MAX: u64 = 4096;
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        eprint!("passphrase or key: ");
        std::io::stdin().lock().take(BYTES_MAX).read_line(&mut text)?;
    } else {
        let bytes =
            RealDisk.read(file, BYTES_MAX).with_context(|| format!("cannot read {}", file.display()))?;
        text = Zeroizing::new(String::from_utf8(bytes).context("this is no text")?);
    }
    let line = text.lines().next().unwrap_or_default();
    anyhow::ensure!(!line.trim().is_empty(), "{} has no passphrase or key in its first line", file.display());
    Ok(Secret::new(line.to_owned()))
}

fn serve(settings: Settings) -> Result<ExitCode> {
    start_log(settings.log_level);
    for key in &settings.without_effect {
        tracing::warn!(key, "this setting has no effect in this version");
    }
    ask::check_user(&settings)?;
    // Each part of an index is three, each session with a source one.
    postern_shared::descriptors::allow_many();
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
