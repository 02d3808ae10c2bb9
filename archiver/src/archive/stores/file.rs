//! `stores.json` and each store's `store.json`.

use std::path::{Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::{random, random_secret};
use postern_shared::disk::Disk;
use serde::{Deserialize, Serialize};

use crate::archive::ArchiveError;
use crate::archive::files::{read_json, write_json};
use crate::archive::master::derived;
use crate::archive::store::StoreUid;

pub(super) const FORMAT: u32 = 2;

/// What a store may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// New messages go there.
    Current,
    /// It takes more of the messages that it has.
    Normal,
    /// It is read only.
    WriteProtected,
    /// It is not even opened.
    Disabled,
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "current" => Ok(Self::Current),
            "normal" => Ok(Self::Normal),
            "write-protected" => Ok(Self::WriteProtected),
            "disabled" => Ok(Self::Disabled),
            _ => Err(format!("{text:?} is no state: use current, normal, write-protected or disabled")),
        }
    }
}

/// When another store becomes the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollOver {
    /// At so many messages.
    pub messages: u64,
    /// At so many octets of packs.
    pub bytes: u64,
}

impl Default for RollOver {
    fn default() -> Self {
        Self { messages: 5_000_000, bytes: 1 << 40 }
    }
}

/// `stores.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoresFile {
    pub(super) format: u32,
    #[serde(default)]
    pub(super) roll_over: RollOver,
    pub(super) stores: Vec<Entry>,
}

/// An attached store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) state: State,
    /// Where it is, when it is not below `stores/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dir: Option<PathBuf>,
}

impl StoresFile {
    pub(super) fn path(instance: &Path) -> PathBuf {
        instance.join("stores.json")
    }

    pub(super) fn read(disk: &dyn Disk, instance: &Path) -> Result<Self, ArchiveError> {
        let path = Self::path(instance);
        if disk.exists(&path).map_err(ArchiveError::file(&path))? {
            let file: Self = read_json(disk, &path)?;
            let twice = file
                .stores
                .iter()
                .enumerate()
                .find(|(at, entry)| file.stores[..*at].iter().any(|before| before.id == entry.id));
            return match twice {
                Some((_, entry)) => {
                    Err(ArchiveError::File { path, reason: format!("it names store {:?} twice", entry.id) })
                }
                None => Ok(file),
            };
        }
        // Lost: the stores that lie there, the last one made being the current one. The others may have been disabled or detached,
        // so nothing is written to them.
        let dirs = disk.dirs(&instance.join("stores")).map_err(ArchiveError::file(instance))?;
        let mut stores: Vec<Entry> = Vec::new();
        for dir in dirs {
            let info = dir.join("store.json");
            if disk.exists(&info).map_err(ArchiveError::file(&info))? {
                let id = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                stores.push(Entry { id, state: State::WriteProtected, dir: None });
            }
        }
        if let Some(last) = stores.last_mut() {
            last.state = State::Current;
        }
        Ok(Self { format: FORMAT, roll_over: RollOver::default(), stores })
    }

    pub(super) fn write(&self, disk: &dyn Disk, instance: &Path) -> Result<(), ArchiveError> {
        write_json(disk, &Self::path(instance), self)
    }

    /// A name that no store has or had, as far as is known.
    pub(super) fn next_id(&self, disk: &dyn Disk, instance: &Path) -> Result<String, ArchiveError> {
        let dir = instance.join("stores");
        let dirs = disk.dirs(&dir).map_err(ArchiveError::file(&dir))?;
        let names = dirs.iter().filter_map(|dir| dir.file_name()?.to_str());
        let taken = names.chain(self.stores.iter().map(|entry| entry.id.as_str()));
        let last = taken.filter_map(|name| name.parse::<u32>().ok()).max().unwrap_or(0);
        Ok(format!("{:04}", last + 1))
    }
}

/// A store's `store.json`: with the instance's master key it tells all that is needed to read it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::archive) struct StoreFile {
    pub(super) id: String,
    pub(super) format: u32,
    pub(super) uid: StoreUid,
    pub(super) created: UnixMillis,
    #[serde(with = "hex::serde")]
    wrapped_key: Vec<u8>,
}

impl StoreFile {
    /// Whether there is a store in `dir`.
    pub(super) fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, ArchiveError> {
        let path = dir.join("store.json");
        disk.exists(&path).map_err(ArchiveError::file(&path))
    }

    /// Makes a store's directory. With this file in it the store exists. One that is there is never replaced: with it would go the
    /// only key to what it holds.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        id: &str,
        now: UnixMillis,
        master: &SecretBytes,
    ) -> Result<(), ArchiveError> {
        if Self::exists(disk, dir)? {
            let reason = "there is a store already, and its key is in this file".into();
            return Err(ArchiveError::File { path: dir.join("store.json"), reason });
        }
        disk.create_dir_all(dir).map_err(ArchiveError::file(dir))?;
        let uid = StoreUid(random());
        let wrapped_key = wrapping_key(master).wrap(&uid.0, &*random_secret());
        let file = Self { id: id.into(), format: FORMAT, uid, created: now, wrapped_key };
        write_json(disk, &dir.join("store.json"), &file)
    }

    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, ArchiveError> {
        let path = dir.join("store.json");
        let file: Self = read_json(disk, &path)?;
        if file.format != FORMAT {
            let reason =
                format!("store format {} is not known to this program, which knows {FORMAT}", file.format);
            return Err(ArchiveError::File { path, reason });
        }
        Ok(file)
    }

    pub(super) fn key(&self, dir: &Path, master: &SecretBytes) -> Result<AeadKey, ArchiveError> {
        let failed =
            |reason: &str| ArchiveError::File { path: dir.join("store.json"), reason: reason.into() };
        let key = wrapping_key(master).unwrap(&self.uid.0, &self.wrapped_key).map_err(|_| {
            failed("the master key does not open it: it belongs to another instance, or is altered")
        })?;
        let key: &[u8; 32] =
            key.as_slice().try_into().map_err(|_| failed("the store key has another length"))?;
        Ok(AeadKey::new(key))
    }
}

fn wrapping_key(master: &SecretBytes) -> AeadKey {
    AeadKey::new(&derived(master, b"postern store keys v2"))
}
