//! Pebble, the test authority of Let's Encrypt, with a DNS of its own in which every name is this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use postern_shared::tls::server::{Identity, self_signed_files};

use crate::Wire;
use crate::foreign::{free_port, wait_for};

/// An authority. It forgets everything when it ends.
#[derive(Debug)]
pub struct Pebble {
    dir: tempfile::TempDir,
    dns: Child,
    dns_port: u16,
    authority: Option<Child>,
    port: u16,
    management: SocketAddr,
    environment: Vec<(String, String)>,
}

impl Pebble {
    /// One that looks for challenges at `http_port` of this machine. Validates at once and accepts each nonce unless
    /// `environment` says otherwise; `validity_seconds` is how long its certificates last.
    pub fn start(http_port: u16, validity_seconds: u64, environment: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        Identity::self_signed(&RealDisk, dir.path(), &names, SystemClock::new().wall())?;
        let (certificate, key) = self_signed_files(dir.path());
        let (port, management, dns_port) = (free_port()?, free_port()?, free_port()?);
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": http_port,
            "tlsPort": free_port()?,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity_seconds,
        }});
        std::fs::write(dir.path().join("config.json"), config.to_string())?;
        let none = |option: &str| [option.to_owned(), String::new()];
        let dns = Command::new("pebble-challtestsrv")
            .args(["-dns01", &format!("127.0.0.1:{dns_port}"), "-defaultIPv4", "127.0.0.1"])
            .args(["-management", &format!("127.0.0.1:{}", free_port()?)])
            .args(
                ["-defaultIPv6", "-http01", "-https01", "-tlsalpn01"].iter().flat_map(|option| none(option)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("pebble-challtestsrv")?;
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let management = ([127, 0, 0, 1], management).into();
        let mut pebble = Self { dir, dns, dns_port, authority: None, port, management, environment };
        pebble.go_on()?;
        Ok(pebble)
    }

    /// Starts it (again), with nothing known.
    pub fn go_on(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new("pebble");
        command.arg("-config").arg(self.dir.path().join("config.json"));
        command.args(["-dnsserver", &format!("127.0.0.1:{}", self.dns_port)]);
        command.env("PEBBLE_WFE_NONCEREJECT", "0").env("PEBBLE_AUTHZREUSE", "0");
        if !self.environment.iter().any(|(name, _)| name == "PEBBLE_VA_SLEEPTIME") {
            command.env("PEBBLE_VA_NOSLEEP", "1");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let spawned = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.authority = Some(spawned.context("pebble")?);
        wait_for(([127, 0, 0, 1], self.dns_port).into())?;
        wait_for(([127, 0, 0, 1], self.port).into())
    }

    /// Ends it; nobody answers there then.
    pub fn stop(&mut self) -> Result<()> {
        let mut authority = self.authority.take().context("it does not run")?;
        authority.kill()?;
        authority.wait()?;
        Ok(())
    }

    /// Its directory.
    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The certificate behind its directory, PEM.
    pub fn trust(&self) -> PathBuf {
        self_signed_files(self.dir.path()).0
    }

    /// For a server with the same certificate.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>> {
        let (certificate, key) = self_signed_files(self.dir.path());
        Ok(Identity::from_pem_files(&RealDisk, &certificate, &key)?.server_config()?)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// The root of what it issues, PEM.
    pub fn root(&self) -> Result<String> {
        Self::get(self.management, "/roots/0")
    }

    /// Its directory's content, JSON.
    pub fn directory(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&Self::get(([127, 0, 0, 1], self.port).into(), "/dir")?)?)
    }

    fn get(address: SocketAddr, path: &str) -> Result<String> {
        let mut wire = Wire::connect(address, true)?;
        wire.send(format!("GET {path} HTTP/1.0\r\nHost: localhost:{}\r\n\r\n", address.port()).as_bytes())?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while let n @ 1.. = wire.read(&mut buffer)? {
            answer.extend_from_slice(&buffer[..n]);
        }
        let answer = String::from_utf8(answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        Ok(body.to_owned())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in self.authority.iter_mut().chain([&mut self.dns]) {
            // The test is over, however it went.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of pebble\n{}", self.log());
        }
    }
}
