//! The configuration file, the data directory, and what to do next.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use postern_shared::clock::SystemClock;
use postern_shared::disk::{Disk, RealDisk, access, give_to_owner_of, write_atomic};
use postern_shared::telemetry::Level;
use serde_json::{Value, json};

use super::answers::{Answers, Certificate};
use super::is_default;
use crate::cli::backup;
use crate::cli::setup::check_named;
use crate::console::configuration::edited;
use crate::settings::{Settings, Tls};

const EXAMPLE: &str = include_str!("../../../../config/gateway.toml");
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Writes the file; one that is there is kept as `.bak`.
pub(super) fn configuration(file: &Path, answers: &Answers) -> Result<()> {
    let text = text(answers)?;
    let settings = Settings::parse(&text, file, std::env::vars())?;
    check_named(&settings, Arc::new(RealDisk), Arc::new(SystemClock::new()))?;
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        RealDisk.create_dir_all(dir).with_context(|| cannot(dir))?;
    }
    if RealDisk.exists(file)? {
        let (kept, before) = (backup(file), RealDisk.read(file, FILE_BYTES_MAX)?);
        write_atomic(&RealDisk, &kept, &before).with_context(|| cannot(&kept))?;
        eprintln!("kept the configuration before as {}", kept.display());
    }
    write_atomic(&RealDisk, file, text.as_bytes()).with_context(|| cannot(file))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

/// The commented example with the answers in their places.
fn text(answers: &Answers) -> Result<String> {
    let mut set: BTreeMap<String, Value> = BTreeMap::new();
    let mut say = |key: &str, value: Value| drop(set.insert(key.to_owned(), value));
    say("email_domain", json!(answers.domain));
    say("host_name", json!(answers.host_name));
    if let Some(dir) = &answers.data_dir {
        say("data_dir", json!(dir));
    }
    if answers.log_level != Level::default() {
        say("log_level", json!(answers.log_level));
    }
    match &answers.certificate {
        Certificate::SelfSigned => {}
        Certificate::Files { certificate, key } => {
            say("tls.mode", json!("files"));
            say("tls.certificate", json!(certificate));
            say("tls.key", json!(key));
        }
        Certificate::LetsEncrypt { contact } => {
            say("tls.mode", json!("acme"));
            say("acme.accept_terms", json!(true));
            if let Some(contact) = contact {
                say("acme.contact", json!([contact]));
            }
        }
    }
    edited(EXAMPLE, &set, &[]).context("the answers cannot be written")
}

/// Makes the data directory, for its owner alone. A `new` configuration file belongs to whom that does.
pub(super) fn data_dir(settings: &Settings, new: Option<&Path>) -> Result<()> {
    let dir = &settings.data_dir;
    RealDisk
        .create_dir_all(dir)
        .with_context(|| format!("cannot create the data directory {}", dir.display()))?;
    if let Some(file) = new {
        // The daemon reads it, and the console changes it.
        give_to_owner_of(dir, file)
            .with_context(|| format!("cannot give {} to the daemon's user", file.display()))?;
    }
    if access(dir).is_ok_and(|access| access.mode & 0o077 != 0) {
        eprintln!("note: others can look into {dir}; close it with: chmod 700 {dir}", dir = dir.display());
    }
    Ok(())
}

/// What is left to do.
pub(super) fn next_steps(settings: &Settings, file: &Path) -> String {
    let (host, domain) = (&settings.host_name, &settings.email_domain);
    let config = if is_default(file) { String::new() } else { format!(" --config {}", file.display()) };
    let console = settings.listen.console.0.first().map_or(8450, std::net::SocketAddr::port);
    let http01 =
        if settings.tls == Tls::Acme { ", and 80 from everywhere (Let's Encrypt asks there)" } else { "" };
    format!(
        "What to do next\n\
         1. Start it: systemctl enable --now postern-gateway (or: postern-gateway{config} serve)\n\
         2. Sign in at https://{host}:{console} as admin with the password admin, right away: it works once, and is replaced\n   \
            by one that is shown to you. From another machine it takes the code of: postern-gateway{config} admin setup-code\n   \
            Create the first mailbox there, or with: postern-gateway{config} mailbox create --name journal\n\
         3. Open the firewall: 25, 465 and 587 for senders, 995 (and 110) for archivers, {console} for administrators only{http01}\n\
         4. In the DNS: an A or AAAA record for {host}, and {domain}. MX 10 {host}.\n\
         5. See what is still wrong: postern-gateway{config} doctor"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(certificate: Certificate) -> Answers {
        let (domain, host_name) = ("mail.example.org".to_owned(), "gw.example.org".to_owned());
        Answers { domain, host_name, certificate, log_level: Level::Info, data_dir: None }
    }

    fn settings(answers: &Answers) -> (String, Settings) {
        let text = text(answers).unwrap();
        let settings = Settings::parse(&text, Path::new("gateway.toml"), []).unwrap();
        (text, settings)
    }

    #[test]
    fn the_file_says_what_was_answered_and_keeps_its_comments() {
        let (text, read) = settings(&answers(Certificate::SelfSigned));
        assert_eq!(
            (read.email_domain.as_str(), read.host_name.as_str()),
            ("mail.example.org", "gw.example.org")
        );
        assert_eq!(read.acme.names, ["gw.example.org"]);
        let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
        assert_eq!(comments(&text), comments(EXAMPLE));
        let authority = Certificate::LetsEncrypt { contact: Some("me@example.org".into()) };
        let more =
            Answers { log_level: Level::Debug, data_dir: Some("/srv/p \"q\"".into()), ..answers(authority) };
        let (_, read) = settings(&more);
        assert_eq!(
            (read.tls.mode(), read.acme.contact.as_slice()),
            ("acme", &["mailto:me@example.org".to_owned()][..])
        );
        assert_eq!((read.log_level, read.data_dir.as_path()), (Level::Debug, Path::new("/srv/p \"q\"")));
        let files = Certificate::Files { certificate: "/a.pem".into(), key: "/b.pem".into() };
        assert_eq!(settings(&answers(files)).1.tls.mode(), "files");
    }
}
