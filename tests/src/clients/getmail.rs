//! getmail6, which parses messages and writes them anew.

use std::process::Command;

use anyhow::{Result, bail};

use super::{Account, After, Home, Trust};
use crate::Security;
use crate::foreign::run;

/// Fetches all messages; it knows no STLS.
pub fn fetch(account: &Account, after: After) -> Result<Vec<Vec<u8>>> {
    let home = Home::new("getmail")?;
    // As root it wants to deliver as somebody else, who must reach the maildir.
    run(Command::new("chmod").args(["-R", "a+rwX"]).arg(home.path("")))?;
    let kind = match account.security {
        Security::Clear => "SimplePOP3Retriever",
        Security::StartTls => bail!("getmail6 knows no STLS"),
        Security::Implicit => "SimplePOP3SSLRetriever",
    };
    let trust = match &account.trust {
        Trust::Any => String::new(),
        Trust::Authority(file) => format!("ca_certs = {}\n", file.display()),
        Trust::Pinned(digits) => format!("ssl_fingerprints = ('{digits}',)\n"),
    };
    let settings = format!(
        "[retriever]\ntype = {kind}\nserver = {}\nport = {}\nusername = {}\npassword = {}\n{trust}\
         [destination]\ntype = Maildir\npath = {}/maildir/\nuser = games\n\
         [options]\ndelete = {}\nread_all = true\nverbose = 2\nreceived = false\ndelivered_to = false\n",
        account.host,
        account.port,
        account.user,
        account.password,
        home.path("").display(),
        after == After::Delete,
    );
    home.private_file("getmailrc", &settings)?;
    run(Command::new("getmail").arg(format!("--getmaildir={}", home.path("").display())))?;
    let messages = home.messages()?;
    Ok(messages.iter().map(|one| one.strip_prefix(UNKNOWN_SENDER).unwrap_or(one).to_vec()).collect())
}

/// What it puts before a message that has no Return-Path.
const UNKNOWN_SENDER: &[u8] = b"Return-Path: <unknown>\r\n";
