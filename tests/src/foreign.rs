//! Foreign programs and data, and how a test says aloud that one is missing.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Whether a program is installed; says so when it is not. `make test` installs all of them.
pub fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(program).exists());
    if !found {
        eprintln!("SKIPPED: {program} is not installed; run: tests/scripts/install-tools test");
    }
    found
}

/// The folder with real mail beside the checkout, or where `POSTERN_CORPUS` says; says so when there is none.
pub fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("POSTERN_CORPUS").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: there is no corpus of real mail at {}", path.display());
    None
}

/// A port nobody uses now, for programs that cannot choose one themselves.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until something listens there.
pub fn wait_for(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing answers at {address}")
}

/// Runs a command; an error with all it printed when it fails.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
    Ok(output)
}

/// A Postfix of its own in a temporary directory, stopped and removed at the end. Needs root.
#[derive(Debug)]
pub struct Postfix {
    dir: tempfile::TempDir,
    /// Where it listens for SMTP from loopback.
    pub address: SocketAddr,
}

const MASTER_CF: &str = "\
postlog   unix-dgram n  -       n       -       1       postlogd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
";

impl Postfix {
    /// Starts one; `more` is put behind its main.cf.
    pub fn start(more: &str) -> Result<Self> {
        Self::start_in(&std::env::temp_dir(), more)
    }

    /// The same, its directory below `parent`.
    pub fn start_in(parent: &Path, more: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("postfix").tempdir_in(parent)?;
        let at = dir.path();
        // Its processes run as another user and must reach what is theirs.
        run(Command::new("chmod").arg("755").arg(at))?;
        for sub in ["etc", "spool", "lib", "log"] {
            std::fs::create_dir(at.join(sub))?;
        }
        run(Command::new("chown").arg("postfix").arg(at.join("lib")))?;
        let port = free_port()?;
        let main_cf = format!(
            "compatibility_level = 3.6\nqueue_directory = {0}/spool\ndata_directory = {0}/lib\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nshlib_directory = /usr/lib/postfix\n\
             mail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {0}/log/maillog\nmaillog_file_prefixes = {0}\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = sender.example.com\nmydestination =\n\
             mynetworks = 127.0.0.0/8\nsmtpd_peername_lookup = no\ndisable_dns_lookups = yes\nsmtp_dns_support_level = disabled\n\
             biff = no\nappend_dot_mydomain = no\nmessage_size_limit = 104857600\nmailbox_size_limit = 0\n{more}\n",
            at.display()
        );
        std::fs::write(at.join("etc/main.cf"), main_cf)?;
        let smtpd = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
        std::fs::write(at.join("etc/master.cf"), smtpd + MASTER_CF)?;
        let postfix = Self { address: ([127, 0, 0, 1], port).into(), dir };
        run(&mut postfix.command("start"))?;
        wait_for(postfix.address)?;
        Ok(postfix)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(self.dir.path().join("etc")).arg(verb);
        command
    }

    /// Removes every message from its queues.
    pub fn clear(&self) -> Result<()> {
        let etc = self.dir.path().join("etc");
        run(Command::new("/usr/sbin/postsuper").arg("-c").arg(etc).args(["-d", "ALL"])).map(drop)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log/maillog")).unwrap_or_default()
    }

    /// Waits until its log holds `what` that many times.
    pub fn wait_for_log(&self, what: &str, times: usize) -> Result<()> {
        let start = Instant::now();
        while self.log().matches(what).count() < times {
            ensure!(start.elapsed() < Duration::from_secs(60), "no {what:?} x {times} in:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // The directory goes with it in any case.
        let _ = self.command("abort").output();
    }
}
