//! msmtp, which many use as their sendmail.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::{Account, Home, Mail, lf, mpop};
use crate::foreign::run;

/// Sends a message; it takes Bcc fields off, as users of it expect. All that was said, passwords left out.
pub fn send(account: &Account, mail: Mail<'_>) -> Result<String> {
    let home = Home::new("msmtp")?;
    let settings = format!(
        "{}auth on\nset_date_header off\nset_from_header off\nfrom {}\n",
        mpop::common_settings(account),
        mail.from
    );
    let settings = home.private_file("msmtprc", &settings)?;
    std::fs::write(home.path("message"), lf(mail.content))?;
    let mut command = Command::new("msmtp");
    command.arg(format!("--file={}", settings.display())).args(["--debug", "--"]).args(mail.to);
    command.stdin(Stdio::from(std::fs::File::open(home.path("message"))?));
    let output = run(&mut command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
