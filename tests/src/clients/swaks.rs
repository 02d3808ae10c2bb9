//! swaks, the Swiss army knife for SMTP.

use std::process::Command;

use anyhow::{Result, bail};

use super::{Account, Home, Mail, Trust};
use crate::Security;
use crate::foreign::run;
use crate::smtp::stuffed;

/// Sends a message as it is; all that was said. `more` are options such as `--auth LOGIN` (PLAIN unless told
/// otherwise) or `--pipeline`.
pub fn send(account: &Account, mail: Mail<'_>, more: &[&str]) -> Result<String> {
    let home = Home::new("swaks")?;
    std::fs::write(home.path("data"), stuffed(mail.content))?;
    let mut command = Command::new("swaks");
    command.args(["--server", &account.host, "--port", &account.port.to_string()]);
    command.args(["--ehlo", "client.example.org", "--from", mail.from, "--to", &mail.to.join(",")]);
    // Otherwise it would replace words such as %FROM% and double the dots itself.
    command.arg("--no-data-fixup").arg("--data").arg(format!("@{}", home.path("data").display()));
    match account.security {
        Security::Clear => &mut command,
        Security::StartTls => command.arg("--tls"),
        Security::Implicit => command.arg("--tls-on-connect"),
    };
    match &account.trust {
        Trust::Any => {}
        Trust::Authority(file) => {
            command.args(["--tls-verify", "--tls-ca-path"]).arg(file);
        }
        Trust::Pinned(_) => bail!("swaks cannot pin a certificate"),
    }
    if !account.user.is_empty() {
        command.args(["--auth-user", &account.user, "--auth-password", &account.password]);
        if !more.contains(&"--auth") {
            command.args(["--auth", "PLAIN"]);
        }
    }
    let output = run(command.args(more))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
