//! The service manager's side of a daemon: that it is ready, and that it still does its work (sd_notify(3)).
//!
//! The protocol is a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names; nothing answers. Without that
//! variable nothing is sent, so a daemon needs not know who started it.
//!
//! Promises
//! - Nobody waits long for a service manager that does not listen ([`PATIENCE`]).
//! - A failure to tell it is logged and has no other consequence: mail is not affected.
//!
//! Not here: judging whether a program does its work; each program knows that itself.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long the service manager may take to receive a datagram.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever started this daemon, if it wants to be told.
#[derive(Debug)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that this process's environment names.
    pub fn of_this_process() -> Self {
        Self::named_by(|name| std::env::var_os(name), std::process::id())
    }

    /// The one that an environment names, for the process of that id.
    pub fn named_by(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Self {
        let socket = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        let address = socket.and_then(|socket| match address(&socket) {
            Ok(address) => Some(address),
            Err(error) => {
                tracing::warn!(?socket, %error, "NOTIFY_SOCKET cannot be used; the service manager is told nothing");
                None
            }
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|wanted| wanted == u64::from(process));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0);
        Self { watchdog: watchdog.filter(|_| address.is_some()).map(Duration::from_micros), address }
    }

    /// How often it wants to hear that we live, at least; `None` when it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells that everything runs. From now on it counts how long it has not heard [`ServiceManager::alive`].
    pub fn ready(&self) {
        let watchdog =
            self.watchdog.map(|period| format!("\nWATCHDOG_USEC={}\nWATCHDOG=1", period.as_micros()));
        self.tell(&format!("READY=1\nSTATUS=serving{}", watchdog.unwrap_or_default()));
    }

    /// Tells that the daemon does its work. May block for [`PATIENCE`].
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Tells in words how it goes.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Tells that [`ServiceManager::alive`] is not to be expected until the next [`ServiceManager::ready`].
    pub fn unwatched(&self) {
        if self.watchdog.is_some() {
            self.tell("WATCHDOG_USEC=0");
        }
    }

    fn tell(&self, state: &str) {
        let Some(address) = &self.address else { return };
        let told = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.send_to_addr(state.as_bytes(), address)
        });
        if let Err(error) = told {
            tracing::warn!(%error, "cannot tell the service manager how it goes");
        }
    }
}

/// A path, or behind `@` a name that is in no file system.
fn address(socket: &OsString) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor a name behind @")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: u32 = 4711;

    fn manager(variables: &[(&str, &str)]) -> ServiceManager {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        ServiceManager::named_by(find, PROCESS)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 200];
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let bytes = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }

    #[test]
    fn it_hears_that_we_are_ready_and_live() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "3000000")]);
        assert_eq!(manager.watchdog(), Some(Duration::from_secs(3)));
        manager.ready();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serving\nWATCHDOG_USEC=3000000\nWATCHDOG=1");
        manager.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1");
        manager.status("two\nlines");
        assert_eq!(heard(&socket), "STATUS=two lines");
        manager.unwatched();
        assert_eq!(heard(&socket), "WATCHDOG_USEC=0");
    }

    #[test]
    fn it_may_listen_in_no_file_system_and_watch_another_process() {
        let name = format!("postern-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let at = format!("@{name}");
        let watched = |process: &str| {
            manager(&[("NOTIFY_SOCKET", at.as_str()), ("WATCHDOG_USEC", "1"), ("WATCHDOG_PID", process)])
        };
        assert!(watched("4711").watchdog().is_some() && watched("4712").watchdog().is_none());
        watched("4712").ready();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=serving");
    }

    /// Goal: without a service manager, or with one that is gone or nonsense, everything goes on.
    #[test]
    fn nobody_needs_to_listen() {
        for socket in ["", "nonsense", "/nowhere/notify", "@nobody"] {
            let manager = manager(&[("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "x")]);
            assert_eq!(manager.watchdog(), None, "{socket}");
            manager.ready();
        }
        assert_eq!(manager(&[("WATCHDOG_USEC", "1000000")]).watchdog(), None);
    }
}
