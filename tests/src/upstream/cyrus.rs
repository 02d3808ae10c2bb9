//! A Cyrus IMAP 3.6 of its own: IMAP in clear with STARTTLS, IMAPS and POP3S, with SCRAM-SHA-256 and a proxy user.
//!
//! Debian's Cyrus cannot be installed beside Dovecot's IMAP, so `install-tools` unpacks it into a cache outside the checkout.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::process::Group;
use super::{Identity, chown, directory};
use crate::Security;
use crate::clients::{Account, Trust, imaplib};
use crate::foreign::{free_port, run, wait_for};

/// Whose processes read the mail; any user but root.
const OWNER: &str = "nobody:nogroup";
/// What users belong to.
const REALM: &str = "cyrus.test";
/// Who makes mailboxes.
const ADMIN: (&str, &str) = ("admin", "the admin's password");

/// Where Cyrus is; says so when it is not installed. `make test` installs it.
pub fn installed() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let root = cache.join("postern-tests/cyrus");
    if root.join("usr/lib/cyrus/bin/master").exists() {
        return Some(root);
    }
    eprintln!("SKIPPED: there is no {}; run: tests/scripts/install-tools test", root.display());
    None
}

/// Stopped and removed at the end.
#[derive(Debug)]
pub struct Cyrus {
    group: Group,
    /// IMAP in clear with STARTTLS; nobody is let in before.
    pub imap: SocketAddr,
    /// IMAP under TLS.
    pub imaps: SocketAddr,
    /// POP3 under TLS.
    pub pop3s: SocketAddr,
    // Removed last.
    dir: TempDir,
}

impl Cyrus {
    /// Starts one with a mailbox for each of these users; `proxy` may act for all of them.
    pub fn start(identity: &Identity, users: &[(&str, &str)], proxy: (&str, &str)) -> Result<Self> {
        let cache = installed().context("Cyrus is not installed")?;
        let dir = directory(&std::env::temp_dir(), "cyrus")?;
        let at = dir.path();
        // Its processes are another user's, who may not get into our cache.
        run(Command::new("cp").arg("-r").arg(cache.join("usr/lib")).arg(at))?;
        identity.copy_to(at)?;
        for sub in ["conf", "spool", "proc"] {
            std::fs::create_dir(at.join(sub))?;
        }
        for (user, password) in users.iter().chain([&proxy, &ADMIN]) {
            set_password(at, user, password)?;
        }
        let (imap, imaps, pop3s) = (free_port()?, free_port()?, free_port()?);
        std::fs::write(at.join("imapd.conf"), imapd_conf(at, proxy.0))?;
        std::fs::write(at.join("cyrus.conf"), cyrus_conf(at, [imap, imaps, pop3s]))?;
        chown(OWNER, at)?;
        let mut command = Command::new(at.join("lib/cyrus/bin/master"));
        command.env("LD_LIBRARY_PATH", at.join(libraries()));
        command.arg("-C").arg(at.join("imapd.conf")).arg("-M").arg(at.join("cyrus.conf"));
        let group = Group::start(command.arg("-p").arg(at.join("master.pid")))?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut cyrus = Self { group, imap: local(imap), imaps: local(imaps), pop3s: local(pop3s), dir };
        for address in [cyrus.imap, cyrus.imaps, cyrus.pop3s] {
            wait_for(address)?;
        }
        ensure!(!cyrus.group.is_over()?, "Cyrus ended at once");
        let admin = Account::new(cyrus.imaps, Security::Implicit, ADMIN.0, ADMIN.1).trusting(Trust::Any);
        for (user, _) in users {
            imaplib::perform(&admin, &format!("must(M.create('user/{user}'))"))?;
        }
        Ok(cyrus)
    }

    /// Where everything of it lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn libraries() -> String {
    format!("lib/{}-linux-gnu", std::env::consts::ARCH)
}

fn set_password(at: &Path, user: &str, password: &str) -> Result<()> {
    let mut command = Command::new("saslpasswd2");
    command.args(["-p", "-c", "-u", REALM, "-f"]).arg(at.join("sasldb2")).arg(user).stdin(Stdio::piped());
    let mut child = command.spawn().context("saslpasswd2")?;
    child.stdin.take().context("no stdin")?.write_all(password.as_bytes())?;
    ensure!(child.wait()?.success(), "saslpasswd2 failed");
    Ok(())
}

fn imapd_conf(at: &Path, proxy: &str) -> String {
    format!(
        "configdirectory: {0}/conf\npartition-default: {0}/spool\ndefaultpartition: default\nproc_path: {0}/proc\n\
         cyrus_user: nobody\ncyrus_group: nogroup\nservername: {REALM}\nadmins: {admin}\nproxyservers: {proxy}\n\
         allowplaintext: no\nsasl_pwcheck_method: auxprop\nsasl_auxprop_plugin: sasldb\nsasl_sasldb_path: {0}/sasldb2\n\
         sasl_mech_list: PLAIN LOGIN SCRAM-SHA-256\nsasl_minimum_layer: 0\n\
         tls_server_cert: {0}/crt.pem\ntls_server_key: {0}/key.pem\ntls_session_timeout: 0\n\
         altnamespace: yes\nunixhierarchysep: yes\n",
        at.display(),
        admin = ADMIN.0
    )
}

fn cyrus_conf(at: &Path, [imap, imaps, pop3s]: [u16; 3]) -> String {
    let (bin, config) = (at.join("lib/cyrus/bin"), at.join("imapd.conf"));
    let service = |name: &str, program: &str, port: u16| {
        let command = format!("{}/{program} -C {}", bin.display(), config.display());
        let tls = if name.ends_with('s') { " -s" } else { "" };
        format!("  {name} cmd=\"{command}{tls} -U 30\" listen=\"127.0.0.1:{port}\" prefork=0\n")
    };
    format!(
        "START {{\n  recover cmd=\"{}/ctl_cyrusdb -C {} -r\"\n}}\nSERVICES {{\n{}{}{}}}\nEVENTS {{\n}}\n",
        bin.display(),
        config.display(),
        service("imap", "imapd", imap),
        service("imaps", "imapd", imaps),
        service("pop3s", "pop3d", pop3s)
    )
}
