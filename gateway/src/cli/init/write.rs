//! The configuration file, the data directory, and what to do next.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use postern_shared::disk::{
    Disk, Owner, RealDisk, access, give, give_to_owner_of, is_root, owner, write_atomic,
};
use postern_shared::telemetry::Level;
use serde_json::{Value, json};

use super::answers::{Answers, Certificate};
use super::is_default;
use crate::cli::backup;
use crate::cli::setup::check_all;
use crate::console::configuration::edited;
use crate::settings::{Settings, Tls};

const EXAMPLE: &str = include_str!("../../../../config/gateway.toml");
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Whom the package makes.
const USER: &str = "postern-gateway";
const UNIT: &str = "postern-gateway.service";
const UNIT_DIRS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

/// Writes the file; one that is there is kept as `.bak`.
pub(super) fn configuration(file: &Path, answers: &Answers) -> Result<()> {
    let text = text(answers)?;
    let settings = Settings::parse(&text, file, std::env::vars())?;
    check_all(&settings)?;
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
    let cannot = || format!("cannot create the data directory {}", dir.display());
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !RealDisk.exists(dir).unwrap_or(true);
    // With what leads to it, or the daemon would stand before a closed door.
    let made: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    RealDisk.create_dir_all(dir).with_context(cannot)?;
    made.into_iter().try_for_each(give_to_daemon).with_context(cannot)?;
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

/// What root has made for itself belongs to the user of the packaged service, when there is one.
fn give_to_daemon(dir: &Path) -> io::Result<()> {
    if !is_root() || owner(dir)?.user != 0 {
        return Ok(());
    }
    let users = RealDisk.read(Path::new("/etc/passwd"), FILE_BYTES_MAX).unwrap_or_default();
    match user_in(&String::from_utf8_lossy(&users), USER) {
        Some(daemon) => give(dir, daemon),
        None => Ok(()),
    }
}

/// passwd(5)
fn user_in(users: &str, name: &str) -> Option<Owner> {
    let mut fields = users.lines().map(|line| line.split(':')).find_map(|mut fields| {
        let is_ours = fields.next() == Some(name);
        is_ours.then(|| fields.skip(1))
    })?;
    let mut number = || fields.next()?.parse().ok();
    Some(Owner { user: number()?, group: number()? })
}

/// The packaged unit lets the daemon write to one data directory alone.
fn unit_step(data_dir: &Path) -> String {
    let has_unit = |dir: &str| RealDisk.exists(&Path::new(dir).join(UNIT)).unwrap_or(false);
    if data_dir == Settings::default_data_dir() || !UNIT_DIRS.iter().any(|dir| has_unit(dir)) {
        return String::new();
    }
    format!(
        "0. Let the service write there: systemctl edit postern-gateway, and put in: [Service] and below it \
         ReadWritePaths={}\n",
        data_dir.display()
    )
}

/// What is left to do.
pub(super) fn next_steps(settings: &Settings, file: &Path) -> String {
    let (host, domain) = (&settings.host_name, &settings.email_domain);
    let config = if is_default(file) { String::new() } else { format!(" --config {}", file.display()) };
    let console = settings.listen.console.0.first().map_or(8450, std::net::SocketAddr::port);
    let unit = unit_step(&settings.data_dir);
    let http01 =
        if settings.tls == Tls::Acme { ", and 80 from everywhere (Let's Encrypt asks there)" } else { "" };
    format!(
        "What to do next\n{unit}\
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
    fn a_user_is_found_by_its_whole_name() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\npostern-gateway2:x:7:8::/:\npostern-gateway:x:998:997:a:/:/x\n";
        assert_eq!(user_in(users, USER), Some(Owner { user: 998, group: 997 }));
        assert_eq!(user_in("root:x:0:0::/:\npostern-gateway:x\n", USER), None);
        assert_eq!(user_in("", USER), None);
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
