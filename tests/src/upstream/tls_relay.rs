//! HAProxy as a relay that knows no mail: it ends TLS on one side and begins it on the other. What any proxy between two
//! TLS connections costs, for comparison.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use super::authority::Identity;
use super::directory;
use super::process::Group;
use crate::foreign::{free_port, wait_for};

/// Stopped and removed at the end.
#[derive(Debug)]
pub struct TlsRelay {
    // Before its directory.
    _processes: Group,
    _dir: TempDir,
    ports: Vec<(SocketAddr, SocketAddr)>,
}

impl TlsRelay {
    /// Starts one before these servers, which speak TLS from the first octet. `threads` of it.
    pub fn start_in(
        parent: &Path,
        identity: &Identity,
        servers: &[SocketAddr],
        threads: usize,
    ) -> Result<Self> {
        let dir = directory(parent, "relay")?;
        let at = |name: &str| dir.path().join(name);
        let both = std::fs::read_to_string(&identity.certificate)? + &std::fs::read_to_string(&identity.key)?;
        std::fs::write(at("both.pem"), both)?;
        let mut config = format!(
            "global\n  nbthread {threads}\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 30s\n  timeout client 600s\n  \
             timeout server 600s\n"
        );
        let mut ports = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            let port = SocketAddr::from(([127, 0, 0, 1], free_port()?));
            config += &format!(
                "listen l{number}\n  bind {port} ssl crt {}\n  server s{number} {server} ssl verify none\n",
                at("both.pem").display()
            );
            ports.push((*server, port));
        }
        std::fs::write(at("haproxy.cfg"), config)?;
        let processes =
            Group::start(Command::new("/usr/sbin/haproxy").arg("-db").arg("-f").arg(at("haproxy.cfg")))?;
        for (_, port) in &ports {
            wait_for(*port)?;
        }
        Ok(Self { _processes: processes, _dir: dir, ports })
    }

    /// Where it takes connections for that server.
    pub fn before(&self, server: SocketAddr) -> Option<SocketAddr> {
        self.ports.iter().find(|(known, _)| *known == server).map(|(_, port)| *port)
    }
}
