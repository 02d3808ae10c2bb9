//! mpop, msmtp's twin for POP3.

use std::process::Command;

use anyhow::Result;

use super::{Account, After, Home, Trust};
use crate::Security;
use crate::foreign::run;

/// Fetches all messages.
pub fn fetch(account: &Account, after: After) -> Result<Vec<Vec<u8>>> {
    let home = Home::new("mpop")?;
    let settings = format!(
        "{}keep {}\nreceived_header off\ndelivery maildir {}\nuidls_file {}\n",
        common_settings(account),
        if after == After::Keep { "on" } else { "off" },
        home.path("maildir").display(),
        home.path("uidls").display(),
    );
    let settings = home.private_file("mpoprc", &settings)?;
    run(Command::new("mpop").arg(format!("--file={}", settings.display())).arg("--debug"))?;
    home.messages()
}

/// What both twins read.
pub(super) fn common_settings(account: &Account) -> String {
    let (tls, starttls) = match account.security {
        Security::Clear => ("off", "off"),
        Security::StartTls => ("on", "on"),
        Security::Implicit => ("on", "off"),
    };
    let trust = match &account.trust {
        Trust::Any => "tls_certcheck off".to_owned(),
        Trust::Authority(file) => format!("tls_trust_file {}", file.display()),
        Trust::Pinned(digits) => format!("tls_trust_file\ntls_fingerprint {}", colons(digits)),
    };
    format!(
        "account default\nhost {}\nport {}\nuser \"{}\"\npassword \"{}\"\ntls {tls}\ntls_starttls {starttls}\n{trust}\n",
        account.host, account.port, account.user, account.password
    )
}

/// The digits in pairs, as openssl prints them.
fn colons(digits: &str) -> String {
    digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
}
