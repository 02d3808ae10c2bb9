//! Exim 4 as a second MTA: submission and smtps, AUTH PLAIN and LOGIN only under TLS, for one user.
//!
//! Debian's Exim cannot be installed beside Postfix, so `install-tools` unpacks it into a cache outside the checkout.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::process::Group;
use super::received::{bare, first_field, maildir, wait_for_messages};
use super::{Identity, Received, chown, directory};
use crate::foreign::{free_port, wait_for};

/// The user Debian's Exim gives its rights up for.
const OWNER: &str = "Debian-exim";

/// Where Exim is; says so when it is not installed. `make test` installs it.
pub fn installed() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let program = cache.join("postern-tests/exim/usr/sbin/exim4");
    if program.exists() {
        return Some(program);
    }
    eprintln!("SKIPPED: there is no {}; run: tests/scripts/install-tools test", program.display());
    None
}

/// Stopped and removed at the end.
#[derive(Debug)]
pub struct Exim {
    group: Group,
    /// In clear with STARTTLS, as on port 587.
    pub submission: SocketAddr,
    /// Under TLS, as on port 465.
    pub smtps: SocketAddr,
    // Removed last.
    dir: TempDir,
}

impl Exim {
    /// Starts one for one user, whose name and password hold no colon; `more` is put into the main section of its
    /// configuration: `message_size_limit = 100K`, `pipelining_advertise_hosts =`.
    pub fn start(identity: &Identity, user: &str, password: &str, more: &str) -> Result<Self> {
        let program = installed().context("Exim is not installed")?;
        let dir = directory(&std::env::temp_dir(), "exim")?;
        let at = dir.path();
        identity.copy_to(at)?;
        for sub in ["spool", "log", "mail"] {
            std::fs::create_dir(at.join(sub))?;
        }
        std::fs::write(at.join("users"), format!("{user}: {password}\n"))?;
        let (submission, smtps) = (free_port()?, free_port()?);
        chown(OWNER, at)?;
        // This stays root's, or it would not be read.
        std::fs::write(at.join("exim.conf"), config(at, submission, smtps, more))?;
        let mut command = Command::new(program);
        let group = Group::start(command.arg("-C").arg(at.join("exim.conf")).args(["-bdf", "-q1h"]))?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut exim = Self { group, submission: local(submission), smtps: local(smtps), dir };
        for address in [exim.submission, exim.smtps] {
            wait_for(address).map_err(|error| error.context(exim.log()))?;
        }
        ensure!(!exim.group.is_over()?, "Exim ended at once:\n{}", exim.log());
        Ok(exim)
    }

    /// Waits until `count` messages were delivered since the start, and returns all in the order
    /// in which they were accepted.
    pub fn received(&self, count: usize) -> Result<Vec<Received>> {
        wait_for_messages(
            count,
            || self.log(),
            || {
                let files = maildir(&self.dir.path().join("mail"))?;
                let parsed = files.iter().map(|file| parse(file).context("not as Exim delivers"));
                let mut messages = parsed.collect::<Result<Vec<_>>>()?;
                let log = self.log();
                messages.sort_by_key(|message| log.find(&format!(" {} <= ", message.id)));
                Ok(messages)
            },
        )
    }

    /// What it logged.
    pub fn log(&self) -> String {
        let log = |name| std::fs::read_to_string(self.dir.path().join("log").join(name)).unwrap_or_default();
        log("mainlog") + &log("paniclog")
    }
}

/// One file for each message, its envelope in fields before it; no trace field, so that content is as it came.
fn config(at: &Path, submission: u16, smtps: u16, more: &str) -> String {
    let at = at.display();
    format!(
        "primary_hostname = exim.test\nspool_directory = {at}/spool\nlog_file_path = {at}/log/%slog\n\
         local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {submission} : {smtps}\ntls_on_connect_ports = {smtps}\n\
         tls_advertise_hosts = *\ntls_certificate = {at}/crt.pem\ntls_privatekey = {at}/key.pem\n\
         auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}\n\
         host_lookup =\nrfc1413_query_timeout = 0s\nreceived_header_text =\nqualify_domain = exim.test\n\
         deliver_drop_privilege = true\nnever_users =\nprdr_enable = true\nlog_selector = +all\n\
         acl_smtp_rcpt = acl_rcpt\nacl_smtp_data = accept\nacl_smtp_mail = acl_mail\n{more}\n\
         begin acl\n\
         acl_mail:\n  require message = 5.7.0 Authentication required\n    authenticated = *\n  accept\n\
         acl_rcpt:\n  deny message = 5.1.1 Unknown user\n    local_parts = nobody\n  accept\n\
         begin routers\n\
         everybody:\n  driver = accept\n  transport = kept\n\
         begin transports\n\
         kept:\n  driver = appendfile\n  directory = {at}/mail\n  maildir_format\n  user = {OWNER}\n  group = {OWNER}\n  \
         mode = 0600\n  batch_max = 1000\n  return_path_add\n  envelope_to_add\n  \
         headers_add = X-Queue-Id: $message_exim_id\n\
         begin authenticators\n\
         plain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n  \
         server_condition = ${{if eq{{$auth3}}{{${{lookup{{$auth2}}lsearch{{{at}/users}}{{$value}}fail}}}}}}\n  \
         server_set_id = $auth2\n\
         login:\n  driver = plaintext\n  public_name = LOGIN\n  server_prompts = Username:: : Password::\n  \
         server_condition = ${{if eq{{$auth2}}{{${{lookup{{$auth1}}lsearch{{{at}/users}}{{$value}}fail}}}}}}\n  \
         server_set_id = $auth1\n"
    )
}

/// Takes off what the transport puts before a message, and the queue id that it puts behind its header.
fn parse(file: &[u8]) -> Option<Received> {
    let (mut rest, mut from, mut to) = (file, None, None);
    while from.is_none() || to.is_none() {
        let (name, value, behind) = first_field(rest)?;
        match name.as_str() {
            "return-path" => from = Some(bare(&value)),
            "envelope-to" => to = Some(value.split(',').map(bare).collect::<Vec<_>>()),
            _ => return None,
        }
        rest = behind;
    }
    let mark = memchr::memmem::find(rest, b"X-Queue-Id: ")?;
    let (_, id, behind) = first_field(&rest[mark..])?;
    let mut to = to?;
    to.sort();
    Some(Received { id, from: from?, to, content: [&rest[..mark], behind].concat() })
}
