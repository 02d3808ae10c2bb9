//! The instance's master key, and what opens it.
//!
//! The master key is 32 random bytes. `keys.json` holds it wrapped once for each way to open it, each by itself enough:
//!
//! * a key file, `master.key`: 32 bytes, hexadecimal. It lies in the instance's directory or wherever `keys_dir` of the settings says;
//! * a passphrase, through Argon2id (RFC 9106; parameters and salt beside it). Such an instance stays closed until
//!   `instance unlock`;
//! * the recovery key: 52 characters in groups, shown once when the instance is created and kept by whoever must open the archive when
//!   the other way is lost. 260 random bits need no Argon2id.
//!
//! Promises
//! - Whoever has packs, keys and log, as they are in a backup or a detached store, without `master.key`, passphrase or recovery key reads no
//!   mail and tells no duplicates. Catalogs and indexes beside them are not encrypted: subjects, addresses and words stand there.
//! - The master key itself is nowhere on disk.

use std::path::{Path, PathBuf};

use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::digest::hkdf_sha256;
use postern_shared::crypto::password::{self, Argon2Cost, SALT_BYTES, derive_key};
use postern_shared::crypto::{SecretBytes, random, random_secret};
use postern_shared::disk::Disk;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ArchiveError;
use super::files::{read, read_json, write, write_json};

const FORMAT: u32 = 2;
const KEY_FILE: &str = "master.key";

/// How the master key of a new instance is kept.
#[derive(Debug, Clone)]
pub enum KeepKey {
    /// In a file, in that directory or in the instance's.
    File(Option<PathBuf>),
    /// Under a passphrase.
    Passphrase(SecretString, Argon2Cost),
}

/// What opens an instance.
#[derive(Debug, Clone)]
pub enum Opener {
    /// The key file where it should be.
    KeyFile(Option<PathBuf>),
    /// A passphrase.
    Passphrase(SecretString),
    /// The recovery key.
    Recovery(SecretString),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    format: u32,
    slots: Vec<Slot>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "opened_by")]
enum Slot {
    KeyFile {
        #[serde(with = "hex::serde")]
        wrapped: Vec<u8>,
    },
    Passphrase {
        cost: Argon2Cost,
        #[serde(with = "hex::serde")]
        salt: [u8; SALT_BYTES],
        #[serde(with = "hex::serde")]
        wrapped: Vec<u8>,
    },
    RecoveryKey {
        #[serde(with = "hex::serde")]
        wrapped: Vec<u8>,
    },
}

/// A key for one purpose.
pub(super) fn derived(master: &SecretBytes, purpose: &[u8]) -> SecretBytes {
    hkdf_sha256::<32>(&**master, &[purpose])
}

fn keys_path(instance: &Path) -> PathBuf {
    instance.join("keys.json")
}

fn key_file(instance: &Path, keys_dir: Option<&Path>) -> PathBuf {
    match (keys_dir, instance.file_name()) {
        // Not `with_extension`: ids have dots.
        (Some(dir), Some(id)) => dir.join(format!("{}.master.key", id.to_string_lossy())),
        _ => instance.join(KEY_FILE),
    }
}

/// Makes a master key and everything that opens it. Returns the recovery key, which is nowhere else.
pub(super) fn create(
    disk: &dyn Disk,
    instance: &Path,
    keep: &KeepKey,
) -> Result<(SecretBytes, SecretString), ArchiveError> {
    disk.create_dir_all(instance).map_err(ArchiveError::file(instance))?;
    let master = random_secret();
    let recovery = SecretString::from(format!(
        "{}-{}",
        password::generate().expose_secret(),
        password::generate().expose_secret()
    ));
    let mut slots = vec![Slot::RecoveryKey { wrapped: wrap(&recovery_key(&recovery), b"recovery", &master) }];
    slots.push(match keep {
        KeepKey::File(keys_dir) => {
            let (key, path) = (random_secret(), key_file(instance, keys_dir.as_deref()));
            if keys_dir.is_some() && disk.exists(&path).map_err(ArchiveError::file(&path))? {
                let reason = "a key lies there already, perhaps another archive's: move it away".into();
                return Err(ArchiveError::File { path, reason });
            }
            write_key_file(disk, &path, &key)?;
            Slot::KeyFile { wrapped: wrap(&key, b"key file", &master) }
        }
        KeepKey::Passphrase(passphrase, cost) => {
            let salt = random::<SALT_BYTES>();
            let key = passphrase_key(instance, passphrase, &salt, *cost)?;
            Slot::Passphrase { cost: *cost, salt, wrapped: wrap(&key, b"passphrase", &master) }
        }
    });
    write_json(disk, &keys_path(instance), &KeysFile { format: FORMAT, slots })?;
    Ok((master, recovery))
}

/// Whether an instance needs a passphrase.
pub(super) fn needs_passphrase(disk: &dyn Disk, instance: &Path) -> Result<bool, ArchiveError> {
    let file = keys_file(disk, instance)?;
    Ok(!file.slots.iter().any(|slot| matches!(slot, Slot::KeyFile { .. })))
}

fn keys_file(disk: &dyn Disk, instance: &Path) -> Result<KeysFile, ArchiveError> {
    let path = keys_path(instance);
    let file: KeysFile = read_json(disk, &path)?;
    if file.format == FORMAT {
        return Ok(file);
    }
    Err(ArchiveError::File { path, reason: format!("format {} is not known to this program", file.format) })
}

/// The master key. Costs what Argon2id costs when a passphrase opens it.
pub(super) fn open(disk: &dyn Disk, instance: &Path, opener: &Opener) -> Result<SecretBytes, ArchiveError> {
    let file = keys_file(disk, instance)?;
    let failed = |reason: &str| ArchiveError::Locked { id: id_of(instance), reason: reason.into() };
    for slot in &file.slots {
        let (key, purpose, wrapped, wrong): (_, &[u8], _, _) = match (slot, opener) {
            (Slot::KeyFile { wrapped }, Opener::KeyFile(keys_dir)) => {
                let path = key_file(instance, keys_dir.as_deref());
                let wrong =
                    format!("{} is not its key: it is another instance's, or altered", path.display());
                (read_key_file(disk, &path)?, b"key file", wrapped, wrong)
            }
            (Slot::Passphrase { cost, salt, wrapped }, Opener::Passphrase(passphrase)) => {
                let key = passphrase_key(instance, passphrase, salt, *cost)?;
                (key, b"passphrase", wrapped, "that is not its passphrase".to_owned())
            }
            (Slot::RecoveryKey { wrapped }, Opener::Recovery(text)) => {
                (recovery_key(text), b"recovery", wrapped, "that is not its recovery key".to_owned())
            }
            _ => continue,
        };
        let master = AeadKey::new(&key).unwrap(purpose, wrapped).map_err(|_| failed(&wrong))?;
        let master = <[u8; 32]>::try_from(master.as_slice());
        return master.map(Zeroizing::new).map_err(|_| failed("the master key has another length"));
    }
    Err(failed(match opener {
        Opener::KeyFile(_) => "it is opened by a passphrase: instance unlock",
        Opener::Passphrase(_) => "it has no passphrase; its key file opens it",
        Opener::Recovery(_) => "it has no recovery key",
    }))
}

/// Gives the key file in `keys_dir` the name that belongs to the instance's directory `to`, when it is there.
pub(super) fn rename_key_file(
    disk: &dyn Disk,
    from: &Path,
    to: &Path,
    keys_dir: &Path,
) -> Result<(), ArchiveError> {
    let (old, new) = (key_file(from, Some(keys_dir)), key_file(to, Some(keys_dir)));
    if !disk.exists(&old).map_err(ArchiveError::file(&old))? {
        return Ok(());
    }
    disk.rename(&old, &new).and_then(|()| disk.sync_dir(keys_dir)).map_err(ArchiveError::file(&old))
}

/// Puts a copy of a key file where the instance looks for it, once it was found to open the instance.
pub(super) fn install_key_file(
    disk: &dyn Disk,
    instance: &Path,
    keys_dir: Option<&Path>,
    from: &Path,
) -> Result<(), ArchiveError> {
    let key = read_key_file(disk, from)?;
    let opens = |slot: &Slot| matches!(slot, Slot::KeyFile { wrapped } if AeadKey::new(&key).unwrap(b"key file", wrapped).is_ok());
    if !keys_file(disk, instance)?.slots.iter().any(opens) {
        let reason = format!("{} does not open it", from.display());
        return Err(ArchiveError::Locked { id: id_of(instance), reason });
    }
    write_key_file(disk, &key_file(instance, keys_dir), &key)
}

/// Makes a new key file that opens `master`, in the place of one that is lost.
pub(super) fn renew_key_file(
    disk: &dyn Disk,
    instance: &Path,
    keys_dir: Option<&Path>,
    master: &SecretBytes,
) -> Result<(), ArchiveError> {
    let mut file = keys_file(disk, instance)?;
    file.slots.retain(|slot| !matches!(slot, Slot::KeyFile { .. }));
    let key = random_secret();
    write_key_file(disk, &key_file(instance, keys_dir), &key)?;
    file.slots.push(Slot::KeyFile { wrapped: wrap(&key, b"key file", master) });
    write_json(disk, &keys_path(instance), &file)
}

/// Sets a passphrase that opens `master`, in the place of the one that is forgotten.
pub(super) fn renew_passphrase(
    disk: &dyn Disk,
    instance: &Path,
    master: &SecretBytes,
    passphrase: &SecretString,
    cost: Argon2Cost,
) -> Result<(), ArchiveError> {
    let mut file = keys_file(disk, instance)?;
    if file.slots.iter().any(|slot| matches!(slot, Slot::KeyFile { .. })) {
        let reason = "its key file opens it; leave --passphrase-file out and it gets a new one".into();
        return Err(ArchiveError::Locked { id: id_of(instance), reason });
    }
    file.slots.retain(|slot| !matches!(slot, Slot::Passphrase { .. }));
    let salt = random::<SALT_BYTES>();
    let key = passphrase_key(instance, passphrase, &salt, cost)?;
    file.slots.push(Slot::Passphrase { cost, salt, wrapped: wrap(&key, b"passphrase", master) });
    write_json(disk, &keys_path(instance), &file)
}

fn wrap(key: &SecretBytes, purpose: &[u8], master: &SecretBytes) -> Vec<u8> {
    AeadKey::new(key).wrap(purpose, &**master)
}

fn passphrase_key(
    instance: &Path,
    passphrase: &SecretString,
    salt: &[u8; SALT_BYTES],
    cost: Argon2Cost,
) -> Result<SecretBytes, ArchiveError> {
    derive_key(passphrase, salt, cost)
        .map_err(|error| ArchiveError::File { path: keys_path(instance), reason: error.to_string() })
}

/// Spaces, hyphens and line ends are only for reading it.
fn recovery_key(text: &SecretString) -> SecretBytes {
    let characters = text.expose_secret().bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-');
    let characters = Zeroizing::new(characters.collect::<Vec<u8>>());
    hkdf_sha256::<32>(&characters, &[b"postern recovery key v2"])
}

fn write_key_file(disk: &dyn Disk, path: &Path, key: &SecretBytes) -> Result<(), ArchiveError> {
    if let Some(dir) = path.parent() {
        disk.create_dir_all(dir).map_err(ArchiveError::file(dir))?;
    }
    let text = Zeroizing::new(hex::encode(**key) + "\n");
    write(disk, path, text.as_bytes())
}

fn read_key_file(disk: &dyn Disk, path: &Path) -> Result<SecretBytes, ArchiveError> {
    let bytes = Zeroizing::new(read(disk, path)?);
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(bytes.trim_ascii(), &mut *key)
        .map_err(|_| ArchiveError::File { path: path.into(), reason: "this is no key file".into() })?;
    Ok(key)
}

fn id_of(instance: &Path) -> String {
    instance.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::RealDisk;

    use super::*;

    #[test]
    fn each_way_opens_the_same_key_and_no_other_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        let (master, recovery) = create(&RealDisk, &file, &KeepKey::File(None)).unwrap();
        assert_eq!(open(&RealDisk, &file, &Opener::KeyFile(None)).unwrap(), master);
        let spaced = SecretString::from(format!(" {}\n", recovery.expose_secret().replace('-', " ")));
        assert_eq!(open(&RealDisk, &file, &Opener::Recovery(spaced)).unwrap(), master);
        let wrong = Opener::Recovery(password::generate());
        assert!(open(&RealDisk, &file, &wrong).unwrap_err().to_string().contains("recovery key"));
        assert!(!needs_passphrase(&RealDisk, &file).unwrap());
        // A lost key file.
        RealDisk.remove(&file.join(KEY_FILE)).unwrap();
        assert!(open(&RealDisk, &file, &Opener::KeyFile(None)).is_err());
        renew_key_file(&RealDisk, &file, None, &master).unwrap();
        assert_eq!(open(&RealDisk, &file, &Opener::KeyFile(None)).unwrap(), master);
    }

    /// Goal: no instance's key takes the place of another one's.
    #[test]
    fn key_files_of_several_instances_lie_beside_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let keep = KeepKey::File(Some(keys.clone()));
        let instance = |id: &str| dir.path().join(id);
        let masters: Vec<_> =
            ["a", "a.b", "a.c"].map(|id| create(&RealDisk, &instance(id), &keep).unwrap().0).into();
        for (id, master) in ["a", "a.b", "a.c"].into_iter().zip(masters) {
            assert_eq!(
                open(&RealDisk, &instance(id), &Opener::KeyFile(Some(keys.clone()))).unwrap(),
                master,
                "{id}"
            );
        }
        assert!(create(&RealDisk, &instance("a"), &keep).unwrap_err().to_string().contains("move it away"));
        rename_key_file(&RealDisk, &instance("a.b"), &instance("a.b-1"), &keys).unwrap();
        assert!(keys.join("a.b-1.master.key").exists() && !keys.join("a.b.master.key").exists());
    }

    #[test]
    fn a_passphrase_opens_and_nothing_of_the_key_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let passphrase = SecretString::from("correct horse");
        let keep = KeepKey::Passphrase(passphrase.clone(), Argon2Cost::TESTS_ONLY);
        let (master, _) = create(&RealDisk, &path, &keep).unwrap();
        assert!(needs_passphrase(&RealDisk, &path).unwrap());
        assert_eq!(open(&RealDisk, &path, &Opener::Passphrase(passphrase)).unwrap(), master);
        let wrong = Opener::Passphrase(SecretString::from("correct house"));
        assert!(open(&RealDisk, &path, &wrong).unwrap_err().to_string().contains("not its passphrase"));
        let said = open(&RealDisk, &path, &Opener::KeyFile(None)).unwrap_err().to_string();
        assert!(said.contains("instance unlock"), "{said}");
        let text = String::from_utf8(RealDisk.read(&keys_path(&path), 10_000).unwrap()).unwrap();
        assert!(!text.contains(&hex::encode(*master)));
        // A forgotten passphrase.
        let next = SecretString::from("battery staple");
        renew_passphrase(&RealDisk, &path, &master, &next, Argon2Cost::TESTS_ONLY).unwrap();
        assert!(needs_passphrase(&RealDisk, &path).unwrap(), "nothing else opens it");
        assert_eq!(open(&RealDisk, &path, &Opener::Passphrase(next)).unwrap(), master);
        assert!(open(&RealDisk, &path, &Opener::Passphrase("correct horse".into())).is_err());
    }
}
