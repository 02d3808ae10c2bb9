//! How scripts are run: the account and what to do as JSON in the first argument, what came of it as JSON on stdout.

use std::process::Command;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Account, Trust};
use crate::Security;
use crate::foreign::run;

/// What every script begins with.
const ACCOUNT: &str = include_str!("account.py");

/// Runs a script; its answer.
pub(super) fn script(text: &str, account: &Account, task: &Value) -> Result<Value> {
    let security = match account.security {
        Security::Clear => "clear",
        Security::StartTls => "starttls",
        Security::Implicit => "implicit",
    };
    let (authority, pin) = match &account.trust {
        Trust::Any => (Value::Null, Value::Null),
        Trust::Authority(file) => (json!(file), Value::Null),
        Trust::Pinned(digits) => (Value::Null, json!(digits)),
    };
    let argument = json!({
        "host": account.host, "port": account.port, "security": security, "authority": authority, "pin": pin,
        "user": account.user, "password": account.password, "task": task,
    });
    let home = super::Home::new("python")?;
    // Messages are too long for an argument.
    let argument = home.private_file("task.json", &argument.to_string())?;
    let output = run(Command::new("python3").args(["-c", &format!("{ACCOUNT}\n{text}")]).arg(argument))?;
    serde_json::from_slice(&output.stdout).context("the script's answer")
}

pub(super) fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// A list of octet strings in base64.
pub(super) fn decode_all(list: &Value) -> Result<Vec<Vec<u8>>> {
    let decode = |one: &Value| Ok(STANDARD.decode(one.as_str().context("no text")?)?);
    list.as_array().context("no list")?.iter().map(decode).collect()
}
