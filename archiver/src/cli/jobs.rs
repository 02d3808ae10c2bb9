//! Jobs, results and notifications on the command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use postern_shared::disk::RealDisk;
use serde_json::Value;

use super::Show;
use super::args::InInstance;
use super::output::{lines, members, text};
use crate::command::Command;
use crate::jobs::Job;

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobAction {
    /// Add or replace a job.
    Put {
        #[command(flatten)]
        instance: InInstance,
        /// A TOML file; config/job.toml shows every key.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List all jobs, also those that profiles with a schedule make (profile:NAME).
    List {
        #[command(flatten)]
        instance: InInstance,
    },
    /// Show a job, when it is due, and how its last run ended.
    Show {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Run a job now and wait for its end. Ctrl-C ends it at the next safe point. Fails when the run does not succeed.
    Run {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// End a job's run at the next safe point.
    Cancel {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Let a job's schedule count.
    Enable {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Let a job run by hand only.
    Disable {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
    /// Delete a job. Its results stay for their time.
    Delete {
        #[command(flatten)]
        instance: InInstance,
        /// Its name.
        name: String,
    },
}

/// What to do with results.
#[derive(Debug, Subcommand)]
pub enum ResultAction {
    /// List what runs did, the newest first.
    List {
        #[command(flatten)]
        instance: InInstance,
        /// Only this job's.
        #[arg(long, value_name = "NAME")]
        job: Option<String>,
        /// The most results shown, at most 1000.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Only those before the one with this id, for the next page.
        #[arg(long, value_name = "ID")]
        before: Option<String>,
    },
    /// Show one, with its errors and log.
    Show {
        #[command(flatten)]
        instance: InInstance,
        /// Its id.
        id: String,
    },
}

/// What to do with notifications.
#[derive(Debug, Subcommand)]
pub enum NotificationAction {
    /// Send a mail as if a job had failed, and tell what the mail server says.
    Test,
}

pub(super) fn job_command(action: JobAction) -> Result<(Command, Show)> {
    Ok(match action {
        JobAction::Put { instance, file } => {
            let read = Box::new(Job::read(&RealDisk, &file)?);
            (Command::JobPut { instance: instance.instance, job: read }, job)
        }
        JobAction::List { instance } => (Command::JobList { instance: instance.instance }, jobs),
        JobAction::Show { instance, name } => (Command::JobShow { instance: instance.instance, name }, job),
        JobAction::Run { instance, name } => (Command::JobRun { instance: instance.instance, name }, result),
        JobAction::Cancel { instance, name } => {
            (Command::JobCancel { instance: instance.instance, name }, cancelled)
        }
        JobAction::Enable { instance, name } => {
            (Command::JobEnable { instance: instance.instance, name, enabled: true }, job)
        }
        JobAction::Disable { instance, name } => {
            (Command::JobEnable { instance: instance.instance, name, enabled: false }, job)
        }
        JobAction::Delete { instance, name } => {
            (Command::JobDelete { instance: instance.instance, name }, deleted)
        }
    })
}

pub(super) fn result_command(action: ResultAction) -> (Command, Show) {
    match action {
        ResultAction::List { instance, job, limit, before } => {
            (Command::ResultList { instance: instance.instance, job, limit, before }, results)
        }
        ResultAction::Show { instance, id } => {
            (Command::ResultShow { instance: instance.instance, id }, result)
        }
    }
}

pub(super) fn notification_command(action: &NotificationAction) -> (Command, Show) {
    match action {
        NotificationAction::Test => (Command::NotificationsTest, mail_tested),
    }
}

fn job(value: &Value) -> String {
    let mut shown = value.clone();
    shown["template"] = template(value).into();
    shown["schedule"] = value["schedule_text"].clone();
    shown["last"] = last(value).into();
    members(
        &shown,
        &[
            "name", "template", "schedule", "enabled", "missed", "timeout", "notify", "next", "running",
            "waiting", "last",
        ],
    )
}

fn jobs(value: &Value) -> String {
    let none = "no jobs; config/job.toml is an example of one";
    lines(value, none, |row| match row["error"].as_str() {
        Some(error) => format!("unreadable: {error}"),
        None => {
            let next = match (row["running"] == true, row["enabled"] == true) {
                (true, _) => "running".into(),
                (false, true) if row["waiting"] == true => "waits for mail".into(),
                (false, true) => format!("next {}", text(&row["next"])),
                (false, false) => "disabled".into(),
            };
            format!(
                "{}  {}  {}  {next}  last {}",
                text(&row["name"]),
                template(row),
                text(&row["schedule_text"]),
                last(row)
            )
        }
    })
}

fn template(job: &Value) -> String {
    let template = &job["template"];
    let what = ["profile", "store", "to"].into_iter().find_map(|key| template[key].as_str());
    what.map_or_else(|| text(&template["type"]), |what| format!("{} {what}", text(&template["type"])))
}

fn last(job: &Value) -> String {
    match job["last"]["outcome"].as_str() {
        Some(outcome) => format!("{outcome} {}", text(&job["last"]["ended"])),
        None => "-".into(),
    }
}

fn cancelled(value: &Value) -> String {
    format!("job {} ends at its next safe point", text(&value["name"]))
}

fn deleted(value: &Value) -> String {
    format!("job {} is deleted", text(&value["name"]))
}

fn counts(result: &Value) -> String {
    let counts = result["counts"].as_object().into_iter().flatten();
    counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn results(value: &Value) -> String {
    let rows = lines(&value["results"], "no results", |row| match row["error"].as_str() {
        Some(error) => format!("unreadable: {error}"),
        None => {
            let runs = row["runs"].as_u64().filter(|runs| *runs > 1);
            let runs = runs.map(|runs| format!("  {runs} runs")).unwrap_or_default();
            let error = row["errors"][0].as_str().map(|error| format!("\n    {error}")).unwrap_or_default();
            format!(
                "{}  {}  {}  {}{runs}  {}{error}",
                text(&row["id"]),
                text(&row["started"]),
                text(&row["job"]),
                text(&row["outcome"]),
                counts(row)
            )
        }
    });
    match value["next"].as_str() {
        Some(next) => format!("{rows}\nmore: --before {next}"),
        None => rows,
    }
}

fn result(value: &Value) -> String {
    let mut shown = value.clone();
    shown["counts"] = counts(value).into();
    let head = members(
        &shown,
        &["id", "job", "template", "trigger", "started", "ended", "outcome", "runs", "counts"],
    );
    let part = |name: &str, title: &str| {
        let lines = lines(&value[name], "", |line| format!("  {}", text(line)));
        if lines.is_empty() { String::new() } else { format!("\n{title}\n{lines}") }
    };
    format!("{head}{}{}", part("errors", "errors"), part("log", "log"))
}

fn mail_tested(value: &Value) -> String {
    format!("the mail server took it: {}", text(&value["said"]))
}
