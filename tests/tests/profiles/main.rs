//! Profiles run into an instance, with real servers as their sources.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod batch;
mod continuous;
mod corpus;
mod deletion;
mod files;
mod gateways;
mod imap;
mod killed;
mod long;
mod oauth;
mod pop3;
mod retries;
mod state;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use postern_archiver::archive::{Instance, KeepKey, Opener, Placement};
use postern_archiver::intake::index_fields;
use postern_archiver::profiles::job::{self, RunError, RunResult};
use postern_archiver::profiles::state::State;
use postern_archiver::profiles::{Profile, SourceProfile};
use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::control::Context;
use postern_shared::disk::{Disk, RealDisk};
use postern_tests::clients::{Account, imaplib};
use postern_tests::foreign::has;
use postern_tests::messages::awkward;
use postern_tests::program::Program;
use postern_tests::upstream::dovecot::Setup;
use postern_tests::upstream::{Authority, Dovecot};
use postern_tests::{Security, sorted};
use serde_json::{Value, json};

const USER: &str = "anna";
const PASSWORD: &str = "s3cret pass\"word";
/// Long behind the dates of all messages.
const START: UnixMillis = UnixMillis(1_900_000_000_000);

/// An instance of its own, and a clock that stands still.
struct Archive {
    dir: tempfile::TempDir,
    instance: Arc<Instance>,
    clock: Arc<ManualClock>,
}

impl Archive {
    fn new(users: &[(&str, &str)]) -> Result<Self> {
        Self::at(START, users)
    }

    fn at(now: UnixMillis, users: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let clock = Arc::new(ManualClock::at(now));
        let (disk, time): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), clock.clone());
        let at = dir.path().join("main");
        Instance::create(&disk, &time, &at, "main", &KeepKey::File(None))?;
        let instance = Instance::open(&disk, &time, &at, "main", &Opener::KeyFile(None), index_fields)?;
        for (user, email) in users {
            instance.add_user(user, &[(*email).to_owned()])?;
        }
        Ok(Self { dir, instance: Arc::new(instance), clock })
    }

    async fn run(&self, profile: &Profile) -> Result<RunResult, RunError> {
        let (context, _told, _cancel) = Context::new();
        self.run_in(profile, &context).await
    }

    async fn run_in(&self, profile: &Profile, context: &Context) -> Result<RunResult, RunError> {
        let clock = self.clock.clone();
        job::run_by(clock, &self.instance, profile, 256 * 1024 * 1024, context).await.1
    }

    async fn run_up_to(&self, profile: &Profile, octets_max: u64) -> Result<RunResult, RunError> {
        let (context, _told, _cancel) = Context::new();
        job::run_by(self.clock.clone(), &self.instance, profile, octets_max, &context).await.1
    }

    fn state(&self, profile: &Profile) -> Result<State> {
        Ok(State::open(&RealDisk, &job::state_dir(&self.instance), &profile.name)?)
    }

    /// What a folder of an archive holds, in the order of arrival.
    fn contents(&self, archive: &str, folder: &str) -> Result<Vec<Vec<u8>>> {
        let folder = Placement { archive: archive.into(), folder: folder.into() };
        let held = self.instance.in_folder(&folder, 0, 100_000)?;
        held.iter().map(|message| Ok(self.instance.message(&message.id.to_string())?)).collect()
    }

    fn folders(&self, archive: &str) -> Result<Vec<(String, u64)>> {
        let folders = self.instance.folders(Some(archive))?;
        Ok(folders.into_iter().map(|folder| (folder.path, folder.messages)).collect())
    }

    fn messages(&self) -> Result<u64> {
        Ok(self.instance.stats()?.messages)
    }

    /// Spoils what lies in the packs.
    fn damage(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.dir.path().join("main/stores/0001/packs"))? {
            let path = entry?.path();
            let mut octets = std::fs::read(&path)?;
            octets.iter_mut().skip(200).step_by(97).for_each(|octet| *octet ^= 0xff);
            std::fs::write(&path, octets)?;
        }
        Ok(())
    }
}

/// A Dovecot with IMAP, or nothing when it is not installed.
fn dovecot(with: impl FnOnce(Setup<'_>) -> Setup<'_>) -> Result<Option<(Authority, Dovecot)>> {
    if !["dovecot", "openssl", "python3"].into_iter().all(has) {
        return Ok(None);
    }
    let authority = Authority::new()?;
    let identity = authority.identity()?;
    // Other clients append hundreds of messages here.
    let setup = Dovecot::with(&identity).user(USER, PASSWORD).imap().with("mail_fsync = never");
    Ok(Some((authority, with(setup).start()?)))
}

/// A profile of an IMAP account there; `more` stands in `[source]` or beside it.
fn imap_profile(authority: &Authority, dovecot: &Dovecot, more: &Value) -> Result<Profile> {
    let (_, imaps) = dovecot.imap.context("no IMAP")?;
    let mut profile = json!({
        "name": "mail",
        "source": server("imap", imaps.port(), &authority.certificate()),
        "assign": { "mode": "user", "user": "anna" },
    });
    merge(&mut profile, more);
    if more["source"].is_null() {
        merge(&mut profile, &json!({ "source": { "username": USER, "password": PASSWORD } }));
    }
    Ok(Profile::from_json(profile)?)
}

fn server(kind: &str, port: u16, authority: &Path) -> Value {
    let trust = format!("file:{}", authority.display());
    json!({ "type": kind, "host": "localhost", "port": port, "trust": trust })
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// What another client does at the server.
fn meanwhile(
    dovecot: &Dovecot,
    user: &str,
    password: &str,
    script: &str,
    messages: &[Vec<u8>],
) -> Result<()> {
    let (_, imaps) = dovecot.imap.context("no IMAP")?;
    imaplib::perform_with(&Account::new(imaps, Security::Implicit, user, password), script, messages)
}

/// An archiver with the profile `mail` of Anna's account there, in a file; `more` stands behind `[source]`. Not put yet.
fn archiver_of(
    archiver: Program,
    (authority, dovecot): (&Authority, &Dovecot),
    more: &str,
) -> Result<(Program, String)> {
    archiver.json(&["instance", "create", "main"])?;
    archiver.json(&["user", "add", "anna", "--email", "anna@example.com", "--instance", "main"])?;
    let file = archiver.config_file().with_file_name("mail.toml");
    let (_, imaps) = dovecot.imap.context("no IMAP")?;
    std::fs::write(
        &file,
        format!(
            "name = \"mail\"\n[source]\ntype = \"imap\"\nhost = \"localhost\"\nport = {}\ntrust = \"file:{}\"\n\
             username = \"{USER}\"\npassword = '{PASSWORD}'\n{more}",
            imaps.port(),
            authority.certificate().display()
        ),
    )?;
    let path = file.to_str().context("no text")?.to_owned();
    Ok((archiver, path))
}

/// Stores a profile.
fn put(archiver: &Program, profile: &str) -> Result<()> {
    let file = archiver.config_file().with_file_name("put.toml");
    std::fs::write(&file, profile)?;
    let path = file.to_str().context("no text")?;
    archiver.json(&["profile", "put", "--file", path, "--instance", "main"]).map(drop)
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    sorted(numbers.into_iter().map(awkward).collect())
}

#[test]
fn a_profile_is_the_same_from_toml_and_json() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("p.toml");
    let json = json!({
        "name": "p", "source": { "type": "imap", "host": "h", "username": "u", "password": "geheim" },
        "scope": { "exclude": ["role:junk"] }, "schedule": { "every": "15m" },
    });
    std::fs::write(
        &path,
        "name = \"p\"\nscope.exclude = [\"role:junk\"]\n[source]\ntype = \"imap\"\nhost = \"h\"\nusername = \"u\"\n\
         password = \"geheim\"\n[schedule]\nevery = \"15m\"\n",
    )?;
    let (written, given) = (Profile::read(&RealDisk, &path, |_| None)?, Profile::from_json(json)?);
    assert_eq!(written.shown(), given.shown());
    assert!(matches!(written.source, SourceProfile::Imap(_)) && written.scope == given.scope);
    assert!(!written.shown().to_string().contains("geheim"));
    Ok(())
}
