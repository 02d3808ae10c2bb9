//! A provider's servers with the gateway before them, as the recording proxy's tests want them: what a mail client of the
//! provider would be told to set up, and what the mailbox holds afterwards.
//!
//! Everything is on loopback, so private targets are allowed; certificates are of an authority that the gateway trusts.
//!
//! Not here: the servers themselves (`upstream`), clients (`clients`).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use postern_shared::proto::mime::trace::{self, Trace};

use crate::Security;
use crate::clients::Account;
use crate::pop3::Pop3Client;
use crate::program::{Kind, NewMailbox, Program};
use crate::smtp::SmtpClient;
use crate::upstream::{Authority, Dovecot, Exim, Identity, Submission};

/// A user whose name holds the divider.
pub const USER: &str = "anna%b@mail.test";
/// The user's password at the provider.
pub const PASSWORD: &str = "s3cret pass%word";

/// What keeps failed logins from slowing a test.
const LIMITS: &str = "[limits]\nlogin_failure_pause = \"1 ms\"\nlogin_failures_free = 100000\n";

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the gateway trusts, and what its servers show.
#[derive(Debug)]
pub struct Provider {
    /// Vouches for the servers.
    pub authority: Authority,
    /// Of all the servers.
    pub identity: Identity,
}

impl Provider {
    /// A provider without servers.
    pub fn new() -> Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.identity()?;
        Ok(Self { authority, identity })
    }

    /// Its POP3 server, which knows [`USER`]; it also tells Postfix who is who.
    pub fn dovecot(&self) -> Result<Dovecot> {
        Dovecot::with(&self.identity).user(USER, PASSWORD).start()
    }

    /// Its Postfix; `more` is put behind main.cf.
    pub fn postfix(&self, users: &Dovecot, more: &str) -> Result<Submission> {
        Submission::start(&self.identity, users, more)
    }

    /// Its Exim; `more` is put into the main section.
    pub fn exim(&self, more: &str) -> Result<Exim> {
        Exim::start(&self.identity, USER, PASSWORD, more)
    }

    /// A gateway that trusts this provider; `more` are lines of `[proxy]`, and tables behind it.
    pub fn gateway(&self, more: &str) -> Result<Gateway> {
        Gateway::start(&format!("{LIMITS}{}{more}", self.settings()))
    }

    /// The beginning of `[proxy]`.
    pub fn settings(&self) -> String {
        let ca = self.authority.certificate();
        format!("[proxy]\nallow_private_targets = true\ntrust = \"file:{}\"\n", ca.display())
    }
}

/// A gateway and the mailbox that mail is recorded into.
#[derive(Debug)]
pub struct Gateway {
    /// It runs.
    pub program: Program,
    /// Where copies go.
    pub mailbox: NewMailbox,
}

/// A copy, as an archiver gets it.
#[derive(Debug)]
pub struct Copy {
    /// What the gateway says of it.
    pub trace: Trace,
    /// The message.
    pub content: Vec<u8>,
}

impl Copy {
    /// Whose account it went through, and where.
    pub fn account(&self) -> &str {
        self.trace.proxied.as_ref().map_or("", |proxied| proxied.account.as_str())
    }
}

impl Gateway {
    /// Starts one; `more` is put behind `[listen]`.
    pub fn start(more: &str) -> Result<Self> {
        let program = Program::started(Kind::Gateway, more)?;
        let mailbox = NewMailbox::create(&program, "recorded")?;
        Ok(Self { program, mailbox })
    }

    /// [`USER`] at the server of that port, as a mail client is told.
    pub fn user(&self, port: u16) -> String {
        self.route(USER, &format!("localhost:{port}"))
    }

    /// Any user and server.
    pub fn route(&self, user: &str, server: &str) -> String {
        format!("{user}%{server}%{}", self.mailbox.id)
    }

    /// The account of [`USER`] at that port, through one of the gateway's listeners (`smtp`, `pop3s` …).
    pub fn account(&self, listener: &str, port: u16) -> Result<Account> {
        let address = self.program.address(listener)?;
        Ok(Account::new(address, security(listener), &self.user(port), PASSWORD))
    }

    /// An SMTP session before its login.
    pub fn smtp(&self, listener: &str) -> Result<SmtpClient> {
        SmtpClient::connect(self.program.address(listener)?, security(listener))
    }

    /// An SMTP session of [`USER`] with the server of that port, behind the EHLO that follows the login.
    pub fn sending(&self, listener: &str, port: u16) -> Result<SmtpClient> {
        let mut client = self.smtp(listener)?;
        let reply = client.command(&format!("AUTH PLAIN {}", plain(&self.user(port), PASSWORD)))?;
        ensure!(reply.code == 235, "{reply:?}\n{}", self.program.log());
        client.ehlo()?;
        Ok(client)
    }

    /// A POP3 session of [`USER`] with the server of that port.
    pub fn fetching(&self, listener: &str, port: u16) -> Result<Pop3Client> {
        let address = self.program.address(listener)?;
        Pop3Client::login(address, security(listener), &self.user(port), PASSWORD)
    }

    /// What the mailbox holds, pulled as an archiver does.
    pub fn copies(&self) -> Result<Vec<Copy>> {
        self.pull(false)
    }

    /// The same, and deletes it.
    pub fn take(&self) -> Result<Vec<Copy>> {
        self.pull(true)
    }

    fn pull(&self, delete: bool) -> Result<Vec<Copy>> {
        let mut client = self.archiver()?;
        let served = client.retrieve_all()?;
        let copies = served.iter().map(|served| {
            let (trace, content) = trace::split(served);
            Ok(Copy { trace: trace.context("no trace fields")?, content: content.to_vec() })
        });
        let copies = copies.collect::<Result<Vec<_>>>()?;
        if delete {
            for number in 1..=served.len() {
                client.command(&format!("DELE {number}"))?;
            }
        }
        client.quit()?;
        Ok(copies)
    }

    /// Waits for the session before to leave the maildrop.
    fn archiver(&self) -> Result<Pop3Client> {
        let NewMailbox { id, password, .. } = &self.mailbox;
        let begun = Instant::now();
        loop {
            match Pop3Client::login(self.program.address("pop3s")?, Security::Implicit, id, password) {
                Err(error) if error.to_string().contains("[IN-USE]") && begun.elapsed() < PATIENCE => {}
                other => return other,
            }
        }
    }

    /// Waits until the log says that so many times.
    pub fn wait_for_log(&self, what: &str, times: usize) -> Result<()> {
        let begun = Instant::now();
        while self.program.log().matches(what).count() < times {
            if begun.elapsed() > PATIENCE {
                bail!("no {what:?} x {times} in\n{}", self.program.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Suspends the mailbox, or makes it active again.
    pub fn set_status(&self, status: &str) -> Result<()> {
        self.program.json(&["mailbox", "edit", &self.mailbox.id, "--status", status]).map(drop)
    }
}

/// How TLS begins at a listener.
pub fn security(listener: &str) -> Security {
    match listener {
        "smtps" | "pop3s" => Security::Implicit,
        _ => Security::StartTls,
    }
}

/// The response of AUTH PLAIN (RFC 4616).
pub fn plain(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"))
}
