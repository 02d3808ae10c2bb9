//! A script that does what Thunderbird does, as far as the server sees it.
//!
//! POP3: CAPA, STLS, CAPA, AUTH in two steps, STAT, LIST, UIDL, RETRs, DELEs, QUIT. SMTP: EHLO, STARTTLS, EHLO, AUTH PLAIN
//! with its initial response, MAIL with BODY and SIZE where they are offered. Or, harder than Thunderbird, in
//! [`Flights::One`].

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Account, After, Mail, python};

const SCRIPT: &str = include_str!("thunderbird.py");

/// How much is sent before an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flights {
    /// One command each.
    Each,
    /// Once TLS is on: all of POP3, CAPA and AUTH to QUIT; of SMTP from MAIL to DATA when PIPELINING is offered.
    One,
}

/// What came of a POP3 session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Of the last CAPA.
    pub capabilities: Vec<String>,
    /// The line behind STAT.
    pub stat: String,
    /// The lines of LIST.
    pub list: Vec<String>,
    /// The lines of UIDL.
    pub uidls: Vec<String>,
    /// What was retrieved.
    pub messages: Vec<Vec<u8>>,
}

/// Fetches messages 1 to `count`, authenticated by that mechanism (PLAIN, XOAUTH2, OAUTHBEARER).
pub fn fetch(
    account: &Account,
    mechanism: &str,
    count: usize,
    after: After,
    flights: Flights,
) -> Result<Fetched> {
    let task = json!({
        "mechanism": mechanism, "count": count, "delete": after == After::Delete, "one_flight": flights == Flights::One,
    });
    let answer = python::script(SCRIPT, account, &task)?;
    Ok(Fetched {
        capabilities: texts(&answer["CAPA"])?,
        stat: answer["STAT"].as_str().context("no STAT")?.to_owned(),
        list: texts(&answer["LIST"])?,
        uidls: texts(&answer["UIDL"])?,
        messages: python::decode_all(&answer["messages"])?,
    })
}

/// What came of an SMTP session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The lines of the last EHLO reply but the first, codes included.
    pub offered: Vec<String>,
    /// The reply to the final dot.
    pub last: String,
}

/// Sends a message, authenticated by that mechanism (PLAIN, XOAUTH2, OAUTHBEARER).
pub fn send(account: &Account, mechanism: &str, mail: Mail<'_>, flights: Flights) -> Result<Sent> {
    let task = json!({
        "mechanism": mechanism, "from": mail.from, "to": mail.to, "content": python::encode(mail.content),
        "one_flight": flights == Flights::One,
    });
    let answer = python::script(SCRIPT, account, &task)?;
    Ok(Sent {
        offered: texts(&answer["offered"])?,
        last: answer["last"].as_str().context("no reply")?.to_owned(),
    })
}

fn texts(list: &Value) -> Result<Vec<String>> {
    let text = |one: &Value| one.as_str().map(str::to_owned).context("no text");
    list.as_array().context("no list")?.iter().map(text).collect()
}
