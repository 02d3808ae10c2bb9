//! A Dovecot 2.3 of its own that serves one Maildir by POP3S. Needs root.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::reader::Maildrop;
use crate::foreign::{free_port, run, wait_for};

/// Stopped and removed at the end.
#[derive(Debug)]
pub struct Dovecot {
    dir: TempDir,
    address: SocketAddr,
}

/// Whose processes read the Maildir; any user but root.
const OWNER: &str = "nobody:nogroup";

impl Dovecot {
    /// Starts one below `dir` whose Maildir holds `messages` (CRLF lines), with that certificate and key.
    pub fn start(dir: &Path, messages: &[Vec<u8>], identity: &(PathBuf, PathBuf)) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("dovecot").tempdir_in(dir)?;
        let at = dir.path();
        // Its processes run as other users and must reach what is theirs.
        run(Command::new("chmod").arg("755").arg(at))?;
        std::fs::copy(&identity.0, at.join("crt.pem"))?;
        std::fs::copy(&identity.1, at.join("key.pem"))?;
        deliver(&at.join("mail"), messages)?;
        run(Command::new("chown").args(["-R", OWNER]).arg(at.join("mail")))?;
        let port = free_port()?;
        std::fs::write(at.join("dovecot.conf"), config(at, port))?;
        let dovecot = Self { address: ([127, 0, 0, 1], port).into(), dir };
        dovecot.launch()?;
        Ok(dovecot)
    }

    /// The daemon keeps the outputs it is given, so these are no pipes: they would never end.
    fn launch(&self) -> Result<()> {
        let mut command = Command::new("/usr/sbin/dovecot");
        command.arg("-c").arg(self.dir.path().join("dovecot.conf"));
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "Dovecot did not start:\n{}", self.log());
        wait_for(self.address)
    }

    /// What a reader needs.
    pub fn maildrop(&self) -> Maildrop {
        Maildrop { address: self.address, user: "pop".to_owned(), password: "secret".to_owned() }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // The directory goes with it in any case.
        let config = self.dir.path().join("dovecot.conf");
        let _ = Command::new("/usr/sbin/dovecot").arg("-c").arg(config).arg("stop").output();
    }
}

fn config(at: &Path, port: u16) -> String {
    format!(
        "base_dir = {0}/run\nstate_dir = {0}/state\nlog_path = {0}/log\nprotocols = pop3\nlisten = 127.0.0.1\n\
         mail_location = maildir:{0}/mail\nmail_uid = nobody\nmail_gid = nogroup\nfirst_valid_uid = 1\n\
         default_login_user = dovenull\ndefault_internal_user = dovecot\n\
         ssl = yes\nssl_cert = <{0}/crt.pem\nssl_key = <{0}/key.pem\n\
         passdb {{\n driver = static\n args = password=secret\n}}\n\
         userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={0}/mail\n}}\n\
         service pop3-login {{\n inet_listener pop3 {{\n port = 0\n }}\n inet_listener pop3s {{\n port = {port}\n ssl = yes\n }}\n}}\n",
        at.display()
    )
}

/// Files as a delivery agent leaves them: LF lines, both sizes in the name.
fn deliver(maildir: &Path, messages: &[Vec<u8>]) -> Result<()> {
    for sub in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(maildir.join(sub))?;
    }
    for (number, message) in messages.iter().enumerate() {
        let lines: Vec<u8> = message.iter().copied().filter(|octet| *octet != b'\r').collect();
        let name =
            format!("{}.M{number}P1.bench,S={},W={}", 1_700_000_000 + number, lines.len(), message.len());
        std::fs::write(maildir.join("new").join(name), lines)?;
    }
    Ok(())
}
