//! `audit …`

use clap::Subcommand;
use serde_json::Value;

use super::Show;
use super::output::{lines, text};
use crate::command::Command;

/// What to do with audit logs.
#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// Show lines, the newest first. Looking at them leaves a line too.
    List {
        /// Of this instance; without it, of the archiver: instances, tokens, and what was refused to tokens of other instances.
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
        /// Older than the line of this number, for the next page.
        #[arg(long, value_name = "SEQUENCE")]
        before: Option<u64>,
        /// The most lines shown.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
    /// Check that no line was altered, inserted or taken out. Fails when one was.
    Verify {
        /// Of this instance; without it, of the archiver.
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
    },
}

impl AuditAction {
    pub(super) fn command(self) -> (Command, Show) {
        match self {
            Self::List { instance, before, limit } => (Command::AuditList { instance, before, limit }, shown),
            Self::Verify { instance } => (Command::AuditVerify { instance }, verified),
        }
    }
}

fn shown(value: &Value) -> String {
    lines(value, "no lines", |row| {
        let [time, who, how, from, what] = ["time", "who", "how", "from", "what"].map(|key| text(&row[key]));
        let refused = row["refused"].as_str().map(|why| format!("  REFUSED: {why}")).unwrap_or_default();
        format!("{}  {time}  {who} ({how}, {from})  {what}  {}{refused}", row["sequence"], row["particulars"])
    })
}

fn verified(value: &Value) -> String {
    let (count, last) = (&value["lines"], text(&value["last"]));
    match value["broken"].as_str() {
        Some(broken) => format!("DAMAGED {broken}; {count} lines, the last one {last}"),
        None => format!("{count} lines are as they were written; the last one is {last}"),
    }
}
