//! A browser of a few lines: HTTPS/1.1 to the gateway's console, with its cookie.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Wire;

/// Somebody at the console.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Where the console is.
    pub address: SocketAddr,
    /// `name=value`, once there is one.
    pub cookie: String,
    /// Sent in place of the cookie.
    pub token: String,
}

/// An answer.
#[derive(Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<String>,
    /// The body: JSON, or text.
    pub body: Value,
}

impl Browser {
    /// Nobody yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, cookie: String::new(), token: String::new() }
    }

    /// Signs `admin` in for the first time; the password from then on.
    pub fn first_sign_in(&mut self) -> Result<String> {
        let credentials = serde_json::json!({ "name": "admin", "password": "admin" });
        let shown = self.ok("POST", "/api/v1/first-sign-in", Some(&credentials))?;
        self.ok("POST", "/api/v1/session/password-stored", None)?;
        shown["password"].as_str().map(str::to_owned).context("no password was shown")
    }

    /// Makes a request; what it answers must be a success.
    pub fn ok(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let page = self.request(method, path, body)?;
        ensure!(page.status < 300, "{method} {path}: {page:?}");
        Ok(page.body)
    }

    /// Asks for something that goes on coming; the connection behind the question.
    pub fn open(&self, path: &str) -> Result<Wire> {
        let mut wire = Wire::connect(self.address, true)?;
        let cookie = &self.cookie;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
        );
        wire.send(head.as_bytes())?;
        Ok(wire)
    }

    /// Makes a request, and takes over the cookie that it may bring.
    pub fn request(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Page> {
        let mut wire = Wire::connect(self.address, true)?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let who = match (self.token.as_str(), self.cookie.as_str()) {
            ("", "") => String::new(),
            ("", cookie) => format!("Cookie: {cookie}\r\n"),
            (token, _) => format!("Authorization: Bearer {token}\r\n"),
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Postern-Console: 1\r\n{who}{kind}Content-Length: {length}\r\n\r\n"
        );
        wire.send(head.as_bytes())?;
        wire.send(body.as_bytes())?;
        let page = Page::read(&mut wire)?;
        let set = page.headers.iter().find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some(cookie) = set.and_then(|set| set.split(';').next()) {
            cookie.clone_into(&mut self.cookie);
        }
        Ok(page)
    }
}

impl Page {
    /// Reads an answer to its end.
    pub fn read(wire: &mut Wire) -> Result<Self> {
        let (status, headers, octets) = Self::octets(wire)?;
        let text = String::from_utf8(octets)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self { status, headers, body })
    }

    /// Reads an answer to its end: status, header lines, body as it is.
    pub fn octets(wire: &mut Wire) -> Result<(u16, Vec<String>, Vec<u8>)> {
        let status = wire.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.context("that is no HTTP")?;
        let mut headers = Vec::new();
        loop {
            let line = wire.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push(format!("{}: {}", name.to_ascii_lowercase(), value.trim()));
        }
        let is_chunked = headers.iter().any(|line| line == "transfer-encoding: chunked");
        let length = headers.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut octets = Vec::new();
        match length.map(str::parse::<usize>).transpose()? {
            _ if is_chunked => loop {
                let size = usize::from_str_radix(wire.line()?.trim(), 16)?;
                octets.extend(exactly(wire, size)?);
                wire.line()?;
                if size == 0 {
                    break;
                }
            },
            Some(length) => octets = exactly(wire, length)?,
            None => {}
        }
        Ok((status, headers, octets))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The word of a problem.
    pub fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:postern:problem:").unwrap_or_default()
    }

    /// The data of each server-sent event.
    pub fn events(&self) -> Vec<Value> {
        let text = self.body.as_str().unwrap_or_default();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }
}

fn exactly(wire: &mut Wire, length: usize) -> Result<Vec<u8>> {
    let mut octets = vec![0; length];
    let mut read = 0;
    while read < length {
        let count = wire.read(&mut octets[read..])?;
        ensure!(count > 0, "the answer was cut off");
        read += count;
    }
    Ok(octets)
}
