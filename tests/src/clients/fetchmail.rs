//! fetchmail, the oldest of them.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Account, After, Home, Trust, files};
use crate::Security;

/// Its exit code when there is nothing to fetch.
const NO_MAIL: i32 = 1;

/// Fetches all messages.
pub fn fetch(account: &Account, after: After) -> Result<Vec<Vec<u8>>> {
    let home = Home::new("fetchmail")?;
    let store = format!("sh -c 'cat > $(mktemp -p {})'", home.path("maildir/new").display());
    let tls = match account.security {
        Security::Clear => "sslproto ''",
        Security::StartTls => "sslproto 'TLS1+'",
        Security::Implicit => "ssl",
    };
    let trust = match &account.trust {
        Trust::Any => "no sslcertck".to_owned(),
        Trust::Authority(file) => format!("sslcertck sslcertfile \"{}\"", file.display()),
        Trust::Pinned(_) => bail!("fetchmail pins by MD5 only"),
    };
    let after = if after == After::Keep { "keep" } else { "nokeep" };
    let settings = format!(
        "set invisible\nset no bouncemail\nset no spambounce\n\
         poll {} protocol POP3 port {} timeout 60\n user \"{}\" password \"{}\"\n {tls} {trust}\n \
         fetchall {after} no rewrite\n mda \"{store}\"\n",
        account.host, account.port, account.user, account.password
    );
    let settings = home.private_file("fetchmailrc", &settings)?;
    let mut command = Command::new("fetchmail");
    command.env("FETCHMAILHOME", home.path("")).arg("--fetchmailrc").arg(settings).args(["-v", "--nosyslog"]);
    let output = command.output().context("fetchmail")?;
    let fetched = output.status.success() || output.status.code() == Some(NO_MAIL);
    ensure!(
        fetched,
        "fetchmail: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    files(&home.path("maildir/new"))
}
