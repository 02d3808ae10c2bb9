//! A script: what a hostile server does.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::imap;
use super::ron::{self, Value};
use crate::foreign::corpus;

/// What the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 1939.
    Pop3,
    /// RFC 3501.
    Imap,
}

/// Which certificate the server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// A good one, so that nothing but the protocol is wrong.
    Good,
    /// By nobody but itself.
    SelfSigned,
    /// By an authority nobody trusts.
    UnknownRoot,
    /// For another name.
    OtherName,
    /// One that ran out.
    Expired,
}

/// How a server behaves; texts are sent as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Where it stands below its folder, and which of its steps are taken.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Shown under TLS.
    pub certificate: Certificate,
    /// TLS from the first octet.
    pub implicit_tls: bool,
    /// What it says first.
    pub greeting: String,
    /// Answer to STARTTLS or STLS.
    pub starttls_response: String,
    /// Whether TLS begins behind that answer.
    pub starttls_begins: bool,
    /// Offered in clear: lines behind the first of EHLO, or of CAPA.
    pub offers: Vec<String>,
    /// Offered under TLS.
    pub offers_tls: Vec<String>,
    /// Commands it pretends not to know, in small letters.
    pub hidden: Vec<String>,
    /// Commands it does not answer under TLS, in small letters.
    pub ignored_tls: Vec<String>,
    /// Commands, in small letters, and their answers, which have no effect.
    pub answers: Vec<(String, String)>,
}

/// The scripts for SMTP and POP3 in the corpus; says so when there are none.
pub fn scripts() -> Result<Option<Vec<Script>>> {
    scripts_for(&[("smtp", Protocol::Smtp), ("pop3", Protocol::Pop3)])
}

/// Those for IMAP and POP3, which an archiver pulls from.
pub fn scripts_for_sources() -> Result<Option<Vec<Script>>> {
    scripts_for(&[("imap", Protocol::Imap), ("pop3", Protocol::Pop3)])
}

fn scripts_for(wanted: &[(&str, Protocol)]) -> Result<Option<Vec<Script>>> {
    let Some(dir) = corpus().map(|corpus| corpus.join("attack-east")).filter(|dir| dir.is_dir()) else {
        eprintln!("SKIPPED: the corpus has no scripts of EAST");
        return Ok(None);
    };
    let mut scripts = Vec::new();
    for folder in ["testcases", "testcases_extra/Certificate Validation"] {
        for &(sub, protocol) in wanted {
            collect(&dir, &dir.join(folder).join(sub), protocol, &mut scripts)?;
        }
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(scripts))
}

fn collect(root: &Path, dir: &Path, protocol: Protocol, scripts: &mut Vec<Script>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, protocol, scripts)?;
        } else if path.extension().is_some_and(|extension| extension == "ron") {
            let name = path.strip_prefix(root)?.with_extension("").display().to_string();
            let text = std::fs::read_to_string(&path)?;
            scripts.extend(Script::read_all(&name, protocol, &text).with_context(|| name.clone())?);
        }
    }
    Ok(())
}

impl Script {
    /// The script as it stands, and with further steps that it holds as comments: each alone, and all together.
    pub fn read_all(name: &str, protocol: Protocol, text: &str) -> Result<Vec<Self>> {
        let steps: Vec<usize> =
            text.lines().enumerate().filter(|(_, line)| is_step(line)).map(|(number, _)| number).collect();
        let mut choices = vec![(name.to_owned(), Vec::new())];
        choices.extend(
            steps.iter().zip(1..).map(|(line, number)| (format!("{name}, step {number}"), vec![*line])),
        );
        if steps.len() > 1 {
            choices.push((format!("{name}, all steps"), steps));
        }
        choices
            .into_iter()
            .map(|(name, taken)| {
                let lines = text.lines().enumerate().map(|(number, line)| match taken.contains(&number) {
                    true => line.replacen("//", "", 1),
                    false => line.to_owned(),
                });
                Self::read(name, protocol, &lines.collect::<Vec<_>>().join("\n"))
            })
            .collect()
    }

    fn read(name: String, protocol: Protocol, text: &str) -> Result<Self> {
        let script = ron::parse(text)?;
        if protocol == Protocol::Imap {
            return imap::read(name, &script);
        }
        let text = |key: &str, default: &str| {
            script.field(key).map_or(Ok(default.to_owned()), |value| value.text().map(str::to_owned))
        };
        let names = |key: &str| -> Result<Vec<String>> {
            match script.field(key) {
                Some(list) => list.list()?.iter().map(|one| Ok(one.text()?.to_lowercase())).collect(),
                None => Ok(Vec::new()),
            }
        };
        let (greeting, begin, offers, offers_tls) = match protocol {
            Protocol::Smtp => (
                "220 smtp.example.com ESMTP fake\r\n",
                "220 Ready to start TLS\r\n",
                smtp_offers(script.field("capabilities"))?,
                smtp_offers(script.field("capabilities_tls"))?,
            ),
            Protocol::Pop3 | Protocol::Imap => (
                "+OK\r\n",
                "+OK Begin fake TLS negotiation now.\r\n",
                pop3_offers(script.field("capa"))?,
                pop3_offers(script.field("capa_tls"))?,
            ),
        };
        let certificate = script.field("cert").and_then(|cert| cert.field("crt_path")).context("no cert")?;
        let begins = script.field("stls_make_transition").map_or(Ok(true), Value::bool)?;
        Ok(Self {
            name,
            protocol,
            certificate: certificate_of(certificate.text()?),
            implicit_tls: script.field("implicit_tls").context("no implicit_tls")?.bool()?,
            greeting: text("greeting", greeting)?,
            starttls_response: text("stls_response", begin)?,
            starttls_begins: begins,
            offers,
            offers_tls,
            hidden: names("hide_commands")?,
            ignored_tls: names("ignore_commands_tls")?,
            answers: match script.field("override_response") {
                Some(Value::Fields(fields)) => fields
                    .iter()
                    .map(|(key, value)| Ok((key.to_lowercase(), value.text()?.to_owned())))
                    .collect::<Result<_>>()?,
                other => {
                    ensure!(other.is_none(), "override_response is no map");
                    Vec::new()
                }
            },
        })
    }

    /// The answer of the script's own choice to a command (small letters), if it has one: empty for none at all.
    pub(super) fn chosen(&self, command: &str, under_tls: bool, unknown: &str) -> Option<String> {
        let is = |name: &String| name == command;
        if under_tls && self.ignored_tls.iter().any(is) {
            return Some(String::new());
        }
        if self.hidden.iter().any(is) {
            return Some(unknown.to_owned());
        }
        self.answers.iter().find(|(name, _)| name == command).map(|(_, answer)| answer.clone())
    }
}

/// Whether the line is a setting in a comment: `//stls_response: …`.
fn is_step(line: &str) -> bool {
    let Some(setting) = line.trim_start().strip_prefix("//") else { return false };
    [
        "ignore_commands_tls:",
        "stls_response:",
        "stls_make_transition:",
        "starttls_response:",
        "starttls_transition:",
    ]
    .iter()
    .any(|name| setting.trim_start().starts_with(name))
}

pub(super) fn certificate_of(path: &str) -> Certificate {
    match path {
        _ if path.contains("self-signed") => Certificate::SelfSigned,
        _ if path.contains("unknown-root") => Certificate::UnknownRoot,
        _ if path.contains("expired") => Certificate::Expired,
        _ if path.contains("other.") => Certificate::OtherName,
        _ => Certificate::Good,
    }
}

fn pop3_offers(list: Option<&Value>) -> Result<Vec<String>> {
    list.context("no capa")?.list()?.iter().map(|one| Ok(one.text()?.to_owned())).collect()
}

fn smtp_offers(list: Option<&Value>) -> Result<Vec<String>> {
    let offer = |one: &Value| match one {
        Value::Name(name, mechanisms) if name == "Auth" => {
            let mechanisms = mechanisms.first().context("AUTH without mechanisms")?.list()?;
            let words = mechanisms.iter().map(word).collect::<Result<Vec<_>>>()?;
            Ok(format!("AUTH {}", words.join(" ")))
        }
        other => word(other),
    };
    list.context("no capabilities")?.list()?.iter().map(offer).collect()
}

/// `Plain` is PLAIN, `Other("X")` is X.
fn word(value: &Value) -> Result<String> {
    match value {
        Value::Name(_, values) if !values.is_empty() => Ok(values[0].text()?.to_owned()),
        Value::Name(name, _) => Ok(name.to_uppercase()),
        other => Ok(other.text()?.to_owned()),
    }
}
