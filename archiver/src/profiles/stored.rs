//! Profiles on disk: `<directory>/<name>.json`, one file each, replaced atomically.
//!
//! ```json
//! {"version":2,"enabled":true,
//!  "profile":{"name":"journal",
//!    "source":{"type":"gateway","host":"gateway.example.com","username":"mbx-dead1234beef5678"}},
//!  "sealed_secrets":"<hex>"}
//! ```
//!
//! `profile` has the keys of the file that an operator wrote, without the secrets. `sealed_secrets` is AES-256-GCM under the
//! instance key (`AeadKey::wrap`: nonce, ciphertext, tag) of a JSON object that gives each secret by where it stood (a JSON
//! pointer, `/source/password`); the associated data is `postern profile v2` followed by `profile` as compact JSON. So secrets open
//! only for the very servers, trust and users they were sealed for.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::crypto::aead::{AeadKey, NotAuthentic};
use postern_shared::disk::{Disk, write_atomic};
use postern_shared::tls::client::Trust;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::document::{Document, Fault};
use super::profile::{Profile, ProfileName};

const VERSION: u32 = 2;
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Of an instance: each may run.
const PROFILES_MAX: usize = 1000;

/// A profile as it lies on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct StoredProfile {
    /// Whether the scheduler may run it.
    pub enabled: bool,
    name: ProfileName,
    profile: Value,
    sealed_secrets: Vec<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    enabled: bool,
    profile: Value,
    #[serde(with = "hex::serde", alias = "sealed_password")]
    sealed_secrets: Vec<u8>,
}

impl TryFrom<Written> for StoredProfile {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.version != VERSION {
            return Err(format!(
                "it has version {}, this program knows {VERSION}; put the profile again",
                written.version
            ));
        }
        let name = written.profile["name"].as_str().ok_or("it has no name")?;
        let name = name.parse().map_err(|error: super::profile::BadName| error.to_string())?;
        let Written { enabled, profile, sealed_secrets, .. } = written;
        Ok(Self { enabled, name, profile, sealed_secrets })
    }
}

impl From<StoredProfile> for Written {
    fn from(stored: StoredProfile) -> Self {
        let StoredProfile { enabled, profile, sealed_secrets, .. } = stored;
        Self { version: VERSION, enabled, profile, sealed_secrets }
    }
}

/// Why a stored profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key is another instance's, or the file was edited.
    #[error("its secrets cannot be opened with this instance's key; put the profile again")]
    Sealed,
    /// This version wants something else in it.
    #[error("{0}; put the profile again")]
    Fault(#[from] Fault),
}

impl From<NotAuthentic> for OpenError {
    fn from(_: NotAuthentic) -> Self {
        Self::Sealed
    }
}

impl Profile {
    /// The form in which it may be stored; enabled.
    pub fn seal(&self, key: &AeadKey) -> StoredProfile {
        let Document { open, secrets } = &self.document;
        let secrets: BTreeMap<&str, &str> =
            secrets.iter().map(|(at, secret)| (at.as_str(), secret.expose_secret())).collect();
        // Texts: nothing of it can fail to become JSON.
        let secrets = Zeroizing::new(serde_json::to_vec(&secrets).unwrap_or_default());
        let sealed_secrets = key.wrap(&associated_data(open), &secrets);
        StoredProfile { enabled: true, name: self.name.clone(), profile: open.clone(), sealed_secrets }
    }
}

impl StoredProfile {
    /// Its name.
    pub fn name(&self) -> &ProfileName {
        &self.name
    }

    /// Everything but its secrets, with the keys that an operator wrote.
    pub fn shown(&self) -> &Value {
        &self.profile
    }

    /// The directory of this machine that it has read, when it is about files.
    pub fn directory(&self) -> Option<PathBuf> {
        let source = &self.profile["source"];
        (source["type"] == "files").then(|| PathBuf::from(source["path"].as_str().unwrap_or_default()))
    }

    /// Whether one of its trusts names a file of this machine.
    pub fn names_authorities(&self) -> bool {
        names_authorities(&self.profile)
    }

    /// The profile, its secrets opened.
    pub fn open(&self, key: &AeadKey) -> Result<Profile, OpenError> {
        let opened = key.unwrap(&associated_data(&self.profile), &self.sealed_secrets)?;
        let texts: BTreeMap<String, String> =
            serde_json::from_slice(&opened).map_err(|_| OpenError::Sealed)?;
        let mut secrets = BTreeMap::new();
        for (at, mut text) in texts {
            secrets.insert(at, SecretString::from(text.as_str()));
            text.zeroize();
        }
        Ok(Profile::of(Document { open: self.profile.clone(), secrets })?)
    }
}

/// By the text alone, under whatever key: what means a trust decides whoever reads the profile.
fn names_authorities(value: &Value) -> bool {
    match value {
        Value::String(text) => matches!(text.parse(), Ok(Trust::Authorities(_))),
        Value::Array(all) => all.iter().any(names_authorities),
        Value::Object(table) => table.values().any(names_authorities),
        _ => false,
    }
}

fn associated_data(open: &Value) -> Vec<u8> {
    let mut data = b"postern profile v2".to_vec();
    data.extend(serde_json::to_vec(open).unwrap_or_default());
    data
}

/// Why profiles cannot be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is none of that name.
    #[error("there is no profile {0}; `profile list` shows all")]
    Unknown(ProfileName),
    /// An instance has no more.
    #[error(
        "there are {0} profiles already, and no more can be stored; delete some, or put several accounts into one"
    )]
    TooMany(usize),
    /// A file holds something else.
    #[error("{path} is not a stored profile: {reason}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The profiles of an instance.
#[derive(Debug, Clone)]
pub struct Profiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Profiles {
    /// Those in `dir`, which is created with the first one.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// Stores `profile` durably, in place of the one of the same name.
    pub fn put(&self, profile: &StoredProfile) -> Result<(), StoreError> {
        self.put_up_to(PROFILES_MAX, profile)
    }

    fn put_up_to(&self, profiles_max: usize, profile: &StoredProfile) -> Result<(), StoreError> {
        let path = self.path(profile.name());
        let io = |source| StoreError::Io { path: path.clone(), source };
        let count = self.files()?.count();
        if count >= profiles_max && !self.disk.exists(&path).map_err(io)? {
            return Err(StoreError::TooMany(count));
        }
        let mut json = serde_json::to_vec_pretty(profile).map_err(|error| io(error.into()))?;
        json.push(b'\n');
        self.disk.create_dir_all(&self.dir).map_err(io)?;
        write_atomic(&*self.disk, &path, &json).map_err(io)
    }

    /// The one called `name`.
    pub fn show(&self, name: &ProfileName) -> Result<StoredProfile, StoreError> {
        let path = self.path(name);
        match self.read(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Unknown(name.clone()))
            }
            Ok(found) if found.name() != name => {
                let reason = format!("it holds the profile {}", found.name());
                Err(StoreError::Damaged { path, reason })
            }
            other => other,
        }
    }

    /// All of them, by name; a file that cannot be read does not hide the others.
    pub fn list(&self) -> Result<Vec<Result<StoredProfile, StoreError>>, StoreError> {
        Ok(self.files()?.map(|path| self.read(&path)).collect())
    }

    fn files(&self) -> Result<impl Iterator<Item = PathBuf> + use<>, StoreError> {
        let files = self.disk.files(&self.dir);
        let files = files.map_err(|source| StoreError::Io { path: self.dir.clone(), source })?;
        // A temporary file that a crash left behind ends in `.tmp`.
        Ok(files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")))
    }

    /// Deletes the one called `name`, durably.
    pub fn delete(&self, name: &ProfileName) -> Result<(), StoreError> {
        let path = self.path(name);
        match self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Unknown(name.clone())),
            other => other.map_err(|source| StoreError::Io { path, source }),
        }
    }

    fn read(&self, path: &Path) -> Result<StoredProfile, StoreError> {
        let bytes = self
            .disk
            .read(path, FILE_BYTES_MAX)
            .map_err(|source| StoreError::Io { path: path.into(), source })?;
        let found: StoredProfile = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::Damaged { path: path.into(), reason: error.to_string() })?;
        Ok(found)
    }

    fn path(&self, name: &ProfileName) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::{Fault, FaultyDisk, RealDisk, Step};
    use serde_json::json;

    use super::*;
    use crate::profiles::{Assign, SourceProfile};

    fn profile(name: &str) -> Profile {
        Profile::from_json(json!({
            "name": name,
            "source": {
                "type": "gateway", "host": "gateway.example.com", "port": 995, "tls": "implicit", "trust": "system",
                "username": "mbx-dead1234beef5678", "password": "geheim",
            },
            "assign": { "mode": "user", "user": "anna" },
            "schedule": { "every": "15m" },
        }))
        .unwrap()
    }

    fn key() -> AeadKey {
        AeadKey::new(&[5; 32])
    }

    #[test]
    fn what_is_stored_is_read_and_holds_no_password() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = Profiles::new(Arc::new(RealDisk), dir.path().join("profiles"));
        profiles.put(&profile("journal").seal(&key())).unwrap();
        let mut other = profile("another").seal(&key());
        other.enabled = false;
        profiles.put(&other).unwrap();

        let bytes = RealDisk.read(&dir.path().join("profiles/journal.json"), 10_000).unwrap();
        assert!(!String::from_utf8(bytes).unwrap().contains("geheim"));
        let found = profiles.show(&"journal".parse().unwrap()).unwrap().open(&key()).unwrap();
        let SourceProfile::Gateway(settings) = &found.source else { panic!("{found:?}") };
        assert_eq!(settings[0].credentials.password.expose_secret(), "geheim");
        let anna = Assign::User { user: "anna".into() };
        assert_eq!((settings[0].host.as_str(), found.assign), ("gateway.example.com", anna));
        assert_eq!(found.schedule.unwrap().to_string(), "every 15m");

        let listed = profiles.list().unwrap();
        let listed: Vec<_> = listed.iter().flatten().map(|one| (one.name().as_str(), one.enabled)).collect();
        assert_eq!(listed, [("another", false), ("journal", true)]);
        profiles.delete(&"another".parse().unwrap()).unwrap();
        for gone in [
            profiles.delete(&"another".parse().unwrap()),
            profiles.show(&"another".parse().unwrap()).map(drop),
        ] {
            assert!(matches!(gone, Err(StoreError::Unknown(_))), "{gone:?}");
        }
    }

    #[test]
    fn profiles_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = Profiles::new(Arc::new(RealDisk), dir.path().join("profiles"));
        profiles.put_up_to(2, &profile("a").seal(&key())).unwrap();
        profiles.put_up_to(2, &profile("b").seal(&key())).unwrap();
        let third = profiles.put_up_to(2, &profile("c").seal(&key()));
        assert!(matches!(third, Err(StoreError::TooMany(2))), "{third:?}");
        profiles.put_up_to(2, &profile("a").seal(&key())).unwrap();
    }

    /// Goal: who edits the file cannot have the password sent elsewhere.
    #[test]
    fn the_password_opens_only_for_the_server_it_was_sealed_for() {
        let json = serde_json::to_string(&profile("journal").seal(&key())).unwrap();
        for (from, to) in [
            ("gateway.example.com", "evil.example.com"),
            ("995", "996"),
            ("\"system\"", "\"any\""),
            ("\"implicit\"", "\"starttls\""),
            ("anna", "bob"),
            ("journal", "diary"),
        ] {
            assert!(json.contains(from), "{from}");
            let edited: StoredProfile = serde_json::from_str(&json.replace(from, to)).unwrap();
            assert_eq!(edited.open(&key()).unwrap_err(), OpenError::Sealed, "{from} -> {to}");
        }
        let stored: StoredProfile = serde_json::from_str(&json).unwrap();
        assert_eq!(
            stored.open(&AeadKey::new(&[6; 32])).unwrap_err(),
            OpenError::Sealed,
            "another instance's key"
        );
        assert!(stored.open(&key()).is_ok());
    }

    #[test]
    fn damaged_files_are_named_and_hide_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = Profiles::new(Arc::new(RealDisk), dir.path().into());
        profiles.put(&profile("good").seal(&key())).unwrap();
        let json = serde_json::to_string(&profile("good").seal(&key())).unwrap();
        for (name, text) in [
            ("cut.json", json[..40].to_owned()),
            ("future.json", json.replace("\"version\":2", "\"version\":3")),
            ("unknown.json", json.replace("\"enabled\"", "\"x\":1,\"enabled\"")),
            ("left.json.1234.tmp", String::new()),
        ] {
            write_atomic(&RealDisk, &dir.path().join(name), text.as_bytes()).unwrap();
        }
        let listed = profiles.list().unwrap();
        let faults: Vec<_> =
            listed.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
        assert_eq!((listed.len(), faults.len()), (4, 3), "{faults:?}");
        for (fault, name) in faults.iter().zip(["cut.json", "future.json", "unknown.json"]) {
            assert!(fault.contains(name), "{fault}");
        }
        write_atomic(&RealDisk, &dir.path().join("renamed.json"), json.as_bytes()).unwrap();
        let error = profiles.show(&"renamed".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("it holds the profile good"), "{error}");
    }

    #[test]
    fn a_failing_disk_leaves_the_old_profile() {
        let dir = tempfile::tempdir().unwrap();
        Profiles::new(Arc::new(RealDisk), dir.path().into()).put(&profile("journal").seal(&key())).unwrap();
        for step in [Step::Create, Step::Write, Step::Sync, Step::Rename] {
            let disk = FaultyDisk::new(Arc::new(RealDisk), Fault::nth(step, 0, io::ErrorKind::StorageFull));
            let profiles = Profiles::new(Arc::new(disk), dir.path().into());
            let mut new = profile("journal").seal(&key());
            new.enabled = false;
            assert!(matches!(profiles.put(&new), Err(StoreError::Io { .. })), "{step:?}");
            assert!(profiles.show(&"journal".parse().unwrap()).unwrap().enabled, "{step:?}");
        }
    }
}
