//! A Postfix of its own that relays for clients on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use tempfile::TempDir;

use super::process::end_daemon;
use super::{chown, directory};
use crate::foreign::{free_port, run, wait_for};

/// A Postfix of its own in a temporary directory, stopped and removed at the end. Needs root.
#[derive(Debug)]
pub struct Postfix {
    dir: TempDir,
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
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
";

impl Postfix {
    /// Starts one; `more` is put behind its main.cf, one line for each setting.
    pub fn start(more: &str) -> Result<Self> {
        Self::start_in(&std::env::temp_dir(), more)
    }

    /// The same, its directory below `parent`.
    pub fn start_in(parent: &Path, more: &str) -> Result<Self> {
        let port = free_port()?;
        let address = ([127, 0, 0, 1], port).into();
        let relay = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
        Self::launch(directory(parent, "postfix")?, address, &relay, more)
    }

    /// Starts one in `dir` with these services of master.cf before those that every Postfix needs, and waits until one
    /// answers at `address`.
    pub(super) fn launch(dir: TempDir, address: SocketAddr, services: &str, more: &str) -> Result<Self> {
        let at = dir.path();
        for sub in ["etc", "spool", "lib", "log"] {
            std::fs::create_dir(at.join(sub))?;
        }
        chown("postfix", &at.join("lib"))?;
        let main_cf = format!(
            "compatibility_level = 3.6\nqueue_directory = {0}/spool\ndata_directory = {0}/lib\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nshlib_directory = /usr/lib/postfix\n\
             mail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {0}/log/maillog\nmaillog_file_prefixes = {0}\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = sender.example.com\nmydestination =\n\
             mynetworks = 127.0.0.0/8\nsmtpd_peername_lookup = no\ndisable_dns_lookups = yes\nsmtp_dns_support_level = disabled\n\
             biff = no\nappend_dot_mydomain = no\nmessage_size_limit = 104857600\nmailbox_size_limit = 0\n{more}\n",
            at.display()
        );
        std::fs::write(at.join("etc/main.cf"), each_once(&main_cf))?;
        std::fs::write(at.join("etc/master.cf"), services.to_owned() + MASTER_CF)?;
        let postfix = Self { address, dir };
        run(&mut postfix.command("start"))?;
        wait_for(postfix.address).map_err(|error| error.context(postfix.log()))?;
        Ok(postfix)
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
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

/// The settings with the last value of each only. Every process warns of doubles, and postlogd stands still for ever when
/// it warns itself of more than its socket holds.
fn each_once(main_cf: &str) -> String {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let lines: Vec<&str> = main_cf.lines().filter(|line| !line.is_empty()).collect();
    let last = |(number, line): &(usize, &&str)| {
        !lines.iter().skip(number + 1).any(|later| name(later) == name(line))
    };
    lines.iter().enumerate().filter(last).fold(String::new(), |file, (_, line)| file + line + "\n")
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Its own `abort` writes to the log first, which may stand still.
        let master =
            std::fs::read_to_string(self.dir.path().join("spool/pid/master.pid")).unwrap_or_default();
        if let Ok(master) = master.trim().parse() {
            // The directory goes with it in any case.
            let _ = end_daemon(master);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::each_once;

    /// Goal: what a test puts behind our settings replaces them.
    #[test]
    fn the_last_value_of_a_setting_stays() {
        assert_eq!(each_once("a = 1\nb = x=y\n\na = 2\n"), "b = x=y\na = 2\n");
    }
}
