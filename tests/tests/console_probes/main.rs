//! The console as an attacker would probe it: the real binary, HTTP as it goes over the wire.
//!
//! | file | what is tried |
//! |---|---|
//! | `paths` | ways out of the pages and the API by paths |
//! | `requests` | what is no HTTP, too long, too deep, of the wrong kind, or two requests in one |
//! | `headers` | what answers say to browsers and caches, and that no request gets into them |
//! | `foreign_pages` | what other pages can make a browser do |
//! | `sign_in` | cookies, planted sessions, and what guessing tells |
//! | `rights` | every operation of the OpenAPI document with too little |
//! | `texts` | scripts in every field that takes text |
//!
//! Not here: the same rules route by route and minute by minute, without a network (`gateway/src/console/tests`); the pages
//! in a browser (`webui/e2e`).

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod foreign_pages;
mod headers;
mod paths;
mod requests;
mod rights;
mod sign_in;
mod texts;

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use postern_tests::Wire;
use postern_tests::console::{Browser, Page};
use postern_tests::program::{Kind, Program};
use serde_json::Value;

/// All probes come from one address, and quickly.
const MANY: &str = "[limits]\nconnections_per_minute = 0\nhandshake_deadline = \"10 s\"\n";

/// A gateway, and a browser at its console.
fn console(more: &str) -> Result<(Program, Browser)> {
    let gateway = Program::started(Kind::Gateway, &format!("{MANY}{more}"))?;
    let browser = Browser::new(gateway.address("console")?);
    Ok((gateway, browser))
}

/// A request with these headers and no others.
struct Probe<'p> {
    method: &'p str,
    target: &'p str,
    headers: Vec<(&'p str, &'p str)>,
    body: &'p str,
}

impl<'p> Probe<'p> {
    fn new(method: &'p str, target: &'p str) -> Self {
        Self { method, target, headers: vec![("Host", "localhost")], body: "" }
    }

    /// With the header that our own pages send.
    fn own(self) -> Self {
        self.with("X-Postern-Console", "1")
    }

    fn with(mut self, name: &'p str, value: &'p str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a body that says it is JSON.
    fn json(self, body: &'p str) -> Self {
        Self { body, ..self }.with("Content-Type", "application/json")
    }

    fn octets(&self) -> Vec<u8> {
        let headers: String =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (method, target, body, length) = (self.method, self.target, self.body, self.body.len());
        format!("{method} {target} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    fn send(&self, address: SocketAddr) -> Result<Page> {
        let mut wire = Wire::connect(address, true)?;
        // It may be refused before all of it is sent.
        let sent = wire.send(&self.octets());
        Page::read(&mut wire).map_err(|error| sent.err().unwrap_or(error))
    }
}

/// Sends octets as they are; what comes back until the gateway closes.
fn raw(address: SocketAddr, octets: &[u8]) -> Result<String> {
    let mut wire = Wire::connect(address, true)?;
    let _ = wire.send(octets);
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = wire.read(&mut piece) {
        all.extend_from_slice(&piece[..count]);
        ensure!(all.len() < 1 << 20, "it goes on and on");
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// Method, path, and whether it is for everybody: each operation of the document that the gateway serves.
fn operations(browser: &mut Browser) -> Result<Vec<(String, String, bool)>> {
    let document = browser.ok("GET", "/api/openapi.json", None)?;
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let open = operation["security"] == serde_json::json!([{}]);
            found.push((method.to_uppercase(), path.clone(), open));
        }
    }
    ensure!(found.len() > 40, "only {} operations: is the document still read rightly?", found.len());
    Ok(found)
}

/// What an attack would have changed.
fn state(admin: &mut Browser) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for path in ["/api/v1/mailboxes", "/api/v1/administrators", "/api/v1/settings"] {
        let mut found = admin.ok("GET", path, None)?;
        // How many sessions there are changes with signing in.
        for row in found.as_array_mut().into_iter().flatten() {
            row.as_object_mut().and_then(|row| row.remove("sessions"));
        }
        all.push(found);
    }
    Ok(all)
}
