//! A Dovecot 2.3 of its own: POP3 in clear with STLS, POP3S, IMAP when asked for, and SASL for Postfix.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::process::Group;
use super::{Identity, chown, directory};
use crate::crlf;
use crate::foreign::{free_port, wait_for};

/// Whose processes read the maildrops; any user but root.
const OWNER: &str = "nobody:nogroup";

/// How tokens of XOAUTH2 and OAUTHBEARER are checked.
#[derive(Debug, Clone)]
pub enum OAuth2 {
    /// By settings of Dovecot's own, a line each: `introspection_url = http://…`.
    Settings(String),
    /// As JWTs signed with this secret (HS256, no `kid`), the user in `sub`.
    Secret(Vec<u8>),
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Setup<'s> {
    parent: PathBuf,
    identity: &'s Identity,
    users: Vec<(String, String)>,
    oauth2: Option<OAuth2>,
    master: Option<(String, String)>,
    imap: bool,
    more: String,
}

impl Setup<'_> {
    /// In a directory below `parent`, not below the system's for temporary files.
    pub fn below(mut self, parent: &Path) -> Self {
        parent.clone_into(&mut self.parent);
        self
    }

    /// With a user, who may have any name and password without line ends.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// With XOAUTH2 and OAUTHBEARER for the same users.
    pub fn oauth2(mut self, oauth2: OAuth2) -> Self {
        self.oauth2 = Some(oauth2);
        self
    }

    /// With IMAP in clear with STARTTLS, and IMAPS: COMPRESS, SPECIAL-USE, SCRAM-SHA-256 among what it offers.
    pub fn imap(mut self) -> Self {
        self.imap = true;
        self
    }

    /// With a user who may read everybody's mail: `anna*master`, or acting for `anna`.
    pub fn master(mut self, name: &str, password: &str) -> Self {
        self.master = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// With lines of dovecot.conf that stand behind ours and so win: `pop3_uidl_format = %g`.
    pub fn with(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self.more.push('\n');
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Dovecot> {
        let dir = directory(&self.parent, "dovecot")?;
        let at = dir.path();
        self.identity.copy_to(at)?;
        std::fs::write(at.join("users"), passwd_file(&self.users))?;
        std::fs::create_dir(at.join("mail"))?;
        for (user, _) in &self.users {
            for sub in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(at.join("mail").join(user).join(sub))?;
            }
        }
        chown(OWNER, &at.join("mail"))?;
        let (pop3, pop3s) = (free_port()?, free_port()?);
        let mut config = config(at, pop3, pop3s);
        let imap = if self.imap { Some((free_port()?, free_port()?)) } else { None };
        if let Some((imap, imaps)) = imap {
            config.push_str(&imap_config(imap, imaps));
        }
        config.push_str(&self.master_config(at)?);
        config.push_str(&self.oauth2_config(at)?);
        config.push_str(&passdb("passwd-file", &format!("username_format=%u {}/users", at.display())));
        config.push_str(&self.more);
        std::fs::write(at.join("dovecot.conf"), config)?;
        let mut command = Command::new("/usr/sbin/dovecot");
        let group = Group::start(command.arg("-F").arg("-c").arg(at.join("dovecot.conf")))?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let imap = imap.map(|(imap, imaps)| (local(imap), local(imaps)));
        let mut dovecot = Dovecot { group, pop3: local(pop3), pop3s: local(pop3s), imap, delivered: 0, dir };
        dovecot.wait()?;
        Ok(dovecot)
    }

    fn master_config(&self, at: &Path) -> Result<String> {
        let Some(master) = &self.master else { return Ok(String::new()) };
        std::fs::write(at.join("masters"), passwd_file(std::slice::from_ref(master)))?;
        Ok(format!(
            "auth_master_user_separator = *\n\
             passdb {{\n driver = passwd-file\n args = {}/masters\n master = yes\n result_success = continue\n}}\n",
            at.display()
        ))
    }

    fn oauth2_config(&self, at: &Path) -> Result<String> {
        let Some(oauth2) = &self.oauth2 else { return Ok(String::new()) };
        let settings = match oauth2 {
            OAuth2::Settings(settings) => settings.clone(),
            OAuth2::Secret(secret) => {
                use base64::Engine as _;
                // <authorized party>/<algorithm>/<key id>, in capitals, as Dovecot looks them up.
                let keys = at.join("keys/default/HS256");
                std::fs::create_dir_all(&keys)?;
                let secret = base64::engine::general_purpose::STANDARD.encode(secret);
                std::fs::write(keys.join("default"), secret)?;
                format!(
                    "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/keys/\n\
                     username_attribute = sub",
                    at.display()
                )
            }
        };
        std::fs::write(at.join("oauth2.conf.ext"), settings + "\n")?;
        Ok(format!(
            "auth_mechanisms = $auth_mechanisms xoauth2 oauthbearer\n{}",
            passdb("oauth2", &format!("{}/oauth2.conf.ext\n mechanisms = xoauth2 oauthbearer", at.display()))
        ))
    }
}

/// Passwords in base64, so that any octet may be in them.
fn passwd_file(users: &[(String, String)]) -> String {
    use base64::Engine as _;
    let encode = |text: &String| base64::engine::general_purpose::STANDARD.encode(text);
    users.iter().fold(String::new(), |mut file, (user, password)| {
        // Writing to a String cannot fail.
        let _ = writeln!(file, "{user}:{{PLAIN.b64}}{}", encode(password));
        file
    })
}

/// Behind the rest: it wins.
fn imap_config(imap: u16, imaps: u16) -> String {
    format!(
        "protocols = imap pop3\nauth_mechanisms = plain login scram-sha-256\n\
         protocol imap {{\n mail_plugins = imap_zlib\n}}\n\
         service imap-login {{\n inet_listener imap {{\n port = {imap}\n }}\n inet_listener imaps {{\n port = {imaps}\n ssl = yes\n }}\n}}\n\
         namespace inbox {{\n inbox = yes\n separator = /\n mailbox Sent {{\n special_use = \\Sent\n auto = create\n }}\n\
         mailbox Entwürfe {{\n special_use = \\Drafts\n auto = create\n }}\n}}\n"
    )
}

fn passdb(driver: &str, args: &str) -> String {
    format!("passdb {{\n driver = {driver}\n args = {args}\n}}\n")
}

/// Users of any name: `%` stands in theirs. Whoever fails to log in does not wait the longer for it.
fn config(at: &Path, pop3: u16, pop3s: u16) -> String {
    format!(
        "base_dir = {0}/run\nstate_dir = {0}/state\nlog_path = {0}/log\nprotocols = pop3\nlisten = 127.0.0.1\n\
         mail_location = maildir:{0}/mail/%u\nmail_uid = nobody\nmail_gid = nogroup\nfirst_valid_uid = 1\n\
         default_login_user = dovenull\ndefault_internal_user = dovecot\ndisable_plaintext_auth = yes\n\
         auth_mechanisms = plain login\nauth_username_chars =\nauth_verbose = yes\n\
         auth_failure_delay = 0\nmail_max_userip_connections = 1000\n\
         ssl = yes\nssl_cert = <{0}/crt.pem\nssl_key = <{0}/key.pem\n\
         userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={0}/mail/%u allow_all_users=yes\n}}\n\
         service pop3-login {{\n inet_listener pop3 {{\n port = {pop3}\n }}\n inet_listener pop3s {{\n port = {pop3s}\n ssl = yes\n }}\n}}\n\
         service anvil {{\n unix_listener anvil-auth-penalty {{\n mode = 0\n }}\n}}\n\
         service auth {{\n unix_listener {0}/sasl {{\n mode = 0666\n }}\n}}\n",
        at.display()
    )
}

/// Stopped and removed at the end.
#[derive(Debug)]
pub struct Dovecot {
    group: Group,
    /// POP3 in clear with STLS. Dovecot takes loopback for safe, so logins need not wait for it.
    pub pop3: SocketAddr,
    /// POP3 under TLS.
    pub pop3s: SocketAddr,
    /// IMAP in clear with STARTTLS, and under TLS; with [`Setup::imap`].
    pub imap: Option<(SocketAddr, SocketAddr)>,
    delivered: usize,
    // Removed last.
    dir: TempDir,
}

impl Dovecot {
    /// What to start, with that certificate.
    pub fn with(identity: &Identity) -> Setup<'_> {
        Setup {
            parent: std::env::temp_dir(),
            identity,
            users: Vec::new(),
            oauth2: None,
            master: None,
            imap: false,
            more: String::new(),
        }
    }

    fn wait(&mut self) -> Result<()> {
        let imap = self.imap.map(|(imap, imaps)| [imap, imaps]).into_iter().flatten();
        for address in [self.pop3s, self.pop3].into_iter().chain(imap) {
            wait_for(address).map_err(|error| error.context(self.log()))?;
        }
        ensure!(!self.group.is_over()?, "Dovecot ended at once:\n{}", self.log());
        Ok(())
    }

    /// Puts messages into a user's maildrop as a delivery agent leaves them: LF lines, both sizes in the name.
    pub fn deliver(&mut self, user: &str, messages: &[Vec<u8>]) -> Result<()> {
        let maildir = self.maildir(user);
        let mut names = Vec::new();
        for message in messages {
            let lines: Vec<u8> = message.iter().copied().filter(|octet| *octet != b'\r').collect();
            let (number, sizes) = (self.delivered, format!("S={},W={}", lines.len(), message.len()));
            let name = format!("{}.M{number}P1.test,{sizes}", 1_700_000_000 + number);
            std::fs::write(maildir.join("tmp").join(&name), lines)?;
            names.push(name);
            self.delivered += 1;
        }
        chown(OWNER, &maildir.join("tmp"))?;
        for name in names {
            std::fs::rename(maildir.join("tmp").join(&name), maildir.join("new").join(name))?;
        }
        Ok(())
    }

    /// Makes empty folders `f0`, `f1`, and so on, as another program would in the file system.
    pub fn make_folders(&self, user: &str, count: usize) -> Result<()> {
        for number in 0..count {
            let folder = self.maildir(user).join(format!(".f{number}"));
            for sub in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(folder.join(sub))?;
            }
            std::fs::write(folder.join("maildirfolder"), "")?;
        }
        chown(OWNER, &self.maildir(user))
    }

    /// The messages left in a user's maildrop, oldest first, with CRLF lines.
    pub fn messages(&self, user: &str) -> Result<Vec<Vec<u8>>> {
        let mut files = Vec::new();
        for sub in ["cur", "new"] {
            for entry in std::fs::read_dir(self.maildir(user).join(sub))? {
                files.push(entry?.path());
            }
        }
        files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        files.iter().map(|path| Ok(crlf(&std::fs::read(path)?))).collect()
    }

    fn maildir(&self, user: &str) -> PathBuf {
        self.dir.path().join("mail").join(user)
    }

    /// The socket at which Postfix asks for SASL (`smtpd_sasl_path`).
    pub fn sasl(&self) -> PathBuf {
        self.dir.path().join("sasl")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}
