//! Python's poplib.

use anyhow::Result;
use serde_json::json;

use super::{Account, After, python};

/// Fetches all messages by USER and PASS.
pub fn fetch(account: &Account, after: After) -> Result<Vec<Vec<u8>>> {
    let task = json!({ "delete": after == After::Delete });
    let answer = python::script(include_str!("poplib.py"), account, &task)?;
    python::decode_all(&answer["messages"])
}
