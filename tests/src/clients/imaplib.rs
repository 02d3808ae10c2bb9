//! Python's imaplib: another client that fills, changes and empties folders while ours looks on.

use anyhow::Result;
use serde_json::json;

use super::{Account, python};

/// Runs lines of Python with `M` logged in and `must` to check answers: `must(M.create('x'))`.
pub fn perform(account: &Account, script: &str) -> Result<()> {
    perform_with(account, script, &[])
}

/// The same with octet strings as `messages`.
pub fn perform_with(account: &Account, script: &str, messages: &[Vec<u8>]) -> Result<()> {
    let messages: Vec<String> = messages.iter().map(|message| python::encode(message)).collect();
    let task = json!({ "script": script, "messages": messages });
    python::script(include_str!("imaplib.py"), account, &task).map(drop)
}
