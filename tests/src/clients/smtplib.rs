//! Python's smtplib.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Account, Mail, python};

/// Sends a message with that mechanism (PLAIN, LOGIN, XOAUTH2, OAUTHBEARER); recipients that were refused while others were
/// not, with the reply.
pub fn send(account: &Account, mechanism: &str, mail: Mail<'_>) -> Result<BTreeMap<String, String>> {
    let eight_bit = mail.content.iter().any(|octet| !octet.is_ascii());
    let task = json!({
        "mechanism": mechanism, "from": mail.from, "to": mail.to, "content": python::encode(mail.content),
        "options": if eight_bit { vec!["BODY=8BITMIME"] } else { vec![] },
    });
    let answer = python::script(include_str!("smtplib.py"), account, &task)?;
    let reply = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("no text");
    let refused = answer.as_object().context("no object")?;
    refused.iter().map(|(to, value)| Ok((to.clone(), reply(value)?))).collect()
}
