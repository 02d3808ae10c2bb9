//! Who judges both sides: Microsoft's schema by xmllint, and exchangelib as a client of others.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Exchange, PASSWORD, USER};
use crate::foreign::{corpus, has, run};

const NAMESPACES: &str = " xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" \
    xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\"";
const PYTHON: &str = "/usr/bin/python3";

impl Exchange {
    /// Whether all requests and answers are as they must be: by the schema where there is one, and in any case each one
    /// envelope with one body. How many there were.
    pub fn judged(&self) -> Result<usize> {
        judge(&self.spoken())
    }
}

/// Whether these envelopes are as they must be; how many there are.
pub fn judge(spoken: &[String]) -> Result<usize> {
    let dir = tempfile::Builder::new().prefix("soap").tempdir()?;
    for (index, envelope) in spoken.iter().enumerate() {
        let body = inside(envelope, "Body")?;
        let header = inside(envelope, "Header").unwrap_or_default();
        std::fs::write(dir.path().join(format!("{index}-body.xml")), declared(body))?;
        // What stands in a header is judged one by one.
        for (part, element) in elements(header).into_iter().enumerate() {
            std::fs::write(dir.path().join(format!("{index}-header-{part}.xml")), declared(element))?;
        }
    }
    if let Some(schema) = corpus().map(|corpus| corpus.join("ews-xsd-usable/messages.xsd"))
        && has("xmllint")
    {
        validate(&schema, dir.path())?;
    }
    Ok(spoken.len())
}

fn validate(schema: &Path, dir: &Path) -> Result<()> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir)?.map(|file| file.map(|file| file.path())).collect::<Result<_, _>>()?;
    files.sort();
    for files in files.chunks(500) {
        let mut xmllint = Command::new("xmllint");
        let judged =
            xmllint.args(["--noout", "--nonet", "--huge", "--schema"]).arg(schema).args(files).output()?;
        let said = String::from_utf8_lossy(&judged.stderr);
        let errors: Vec<&str> = said.lines().filter(|line| !line.ends_with(" validates")).collect();
        ensure!(judged.status.success(), "not valid by the schema:\n{}", errors.join("\n"));
    }
    Ok(())
}

/// What stands in that element of the envelope, whatever its prefix.
fn inside<'e>(envelope: &'e str, name: &str) -> Result<&'e str> {
    let open =
        envelope.find(&format!(":{name}>")).with_context(|| format!("no {name} in {envelope:.300}"))?;
    let begin = open + name.len() + 2;
    let close = envelope.rfind(&format!(":{name}>")).context("it does not end")?;
    let end = envelope.get(..close).and_then(|text| text.rfind("</")).context("it does not end")?;
    ensure!(begin <= end, "several {name} in {envelope:.300}");
    Ok(&envelope[begin..end])
}

/// The elements of a header, each of which either is empty or ends before the next one begins.
fn elements(mut header: &str) -> Vec<&str> {
    let mut found = Vec::new();
    while let Some(name) = header.strip_prefix('<').and_then(|rest| rest.split([' ', '>', '/']).next()) {
        let close = format!("</{name}>");
        let end = match (header.find(&close), header.find("/>")) {
            (Some(end), _) => end + close.len(),
            (None, Some(end)) => end + 2,
            _ => break,
        };
        found.push(&header[..end]);
        header = &header[end..];
    }
    found
}

/// The namespaces that its envelope declared.
fn declared(element: &str) -> String {
    let at = element.find(['>', ' ', '/']).unwrap_or_default();
    let (name, rest) = element.split_at(at);
    // What declares them itself must not do it twice.
    if rest.split('>').next().is_some_and(|tag| tag.contains("xmlns")) {
        element.to_owned()
    } else {
        format!("{name}{NAMESPACES}{rest}")
    }
}

/// Whether exchangelib is here; says so when not.
pub fn has_exchangelib() -> bool {
    // Not imported: that alone takes seconds where much goes on.
    let find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('exchangelib') is None)";
    let found = Command::new(PYTHON).args(["-c", find]).output();
    let here = found.is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("SKIPPED: python3-exchangelib is not installed; run: tests/scripts/install-tools test");
    }
    here
}

/// What exchangelib, logged in by `auth`, prints of the mailbox `anna@example.com`.
pub fn exchangelib(exchange: &Exchange, auth: &str, script: &str) -> Result<String> {
    let program = format!("{}\n{script}", include_str!("exchangelib.py"));
    let mut python = Command::new(PYTHON);
    python.args(["-c", &program]).env("EWS_URL", exchange.url()).env("EWS_AUTH", auth);
    python.env("EWS_USER", USER).env("EWS_PASSWORD", PASSWORD).env("PYTHONWARNINGS", "ignore");
    // The server is on this machine, whatever proxy there is to others; and nothing is asked of a mailbox for `.netrc`.
    python.env("NO_PROXY", "*").env("no_proxy", "*").env_remove("NETRC");
    Ok(String::from_utf8(run(&mut python)?.stdout)?)
}
