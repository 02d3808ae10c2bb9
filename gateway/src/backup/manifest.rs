//! `manifest.json`: which files a backup has, and what they hold.
//!
//! ```text
//! { "manifest": { "format": 1, "made_by", "begun", "ended", "data_dir", "email_domain", "damage": […],
//!                 "files": [{ "path", "bytes", "sha256", "source": { "bytes", "modified_ns" } | null }, …] },
//!   "sha256": "of the compact JSON of what stands behind \"manifest\"" }
//! ```

use std::path::{Path, PathBuf};

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::digest::{Digest, sha256};
use postern_shared::disk::{Disk, write_atomic};
use serde::{Deserialize, Serialize};

use super::BackupError;

pub(super) const NAME: &str = "manifest.json";
const FORMAT: u32 = 1;
/// Some millions of files.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What belongs to a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: u32,
    /// The version of the program.
    pub(super) made_by: String,
    /// What was acknowledged before is in it.
    pub(super) begun: UnixMillis,
    pub(super) ended: UnixMillis,
    /// Where the data lay.
    pub(super) data_dir: PathBuf,
    pub(super) email_domain: String,
    /// What was damaged already when it was made.
    pub(super) damage: Vec<String>,
    pub(super) files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) path: RelativePath,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
    /// By what the file it was copied from is known again; `None` when it is always copied.
    pub(super) source: Option<Facts>,
}

/// By what a file that is only ever appended to is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    pub(super) bytes: u64,
    pub(super) modified_ns: i64,
}

/// A path below a directory: no `..`, nothing absolute, text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct RelativePath(String);

impl RelativePath {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn below(&self, dir: &Path) -> PathBuf {
        dir.join(&self.0)
    }

    /// `path` as seen from `root`, in which it lies.
    pub(super) fn of(path: &Path, root: &Path) -> Result<Self, BackupError> {
        let text = path.strip_prefix(root).ok().and_then(Path::to_str).map(str::to_owned);
        text.and_then(|text| Self::try_from(text).ok()).ok_or_else(|| BackupError::Name(path.into()))
    }
}

impl TryFrom<String> for RelativePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_name = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if text.split('/').all(is_name) { Ok(Self(text)) } else { Err(format!("{text:?} is no path below")) }
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<M> {
    manifest: M,
    sha256: Digest,
}

impl Manifest {
    pub(super) fn new(
        (begun, ended): (UnixMillis, UnixMillis),
        data_dir: &Path,
        email_domain: &str,
        files: Vec<Entry>,
    ) -> Self {
        let (data_dir, email_domain) = (data_dir.to_path_buf(), email_domain.to_owned());
        let made_by = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, made_by, begun, ended, data_dir, email_domain, damage: Vec::new(), files }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.bytes).sum()
    }

    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let sha256 = sha256(&serde_json::to_vec(self)?);
        serde_json::to_vec_pretty(&Sealed { manifest: self, sha256 })
    }

    fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let sealed: Sealed<serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest ({error})"))?;
        let format = &sealed.manifest["format"];
        if *format != FORMAT {
            return Err(format!("its format is {format}, this version knows {FORMAT}"));
        }
        let manifest: Self = serde_json::from_value(sealed.manifest)
            .map_err(|error| format!("it is no manifest ({error})"))?;
        let is = serde_json::to_vec(&manifest).map_err(|error| error.to_string())?;
        if sha256(&is) == sealed.sha256 { Ok(manifest) } else { Err("it was altered".into()) }
    }

    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(NAME);
        let bytes = disk.read(&path, BYTES_MAX).map_err(BackupError::io("read", &path))?;
        Self::from_json(&bytes).map_err(|what| BackupError::Manifest { path, what })
    }

    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(NAME);
        let bytes = self.to_json().map_err(std::io::Error::other);
        let written = bytes.and_then(|bytes| write_atomic(disk, &path, &bytes));
        written.map_err(BackupError::io("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let path = RelativePath::try_from("data/spool/segments/1.seg".to_owned()).unwrap();
        let source = Some(Facts { bytes: 7, modified_ns: -3 });
        let files = vec![Entry { path, bytes: 5, sha256: sha256(b"x"), source }];
        Manifest::new((UnixMillis(1), UnixMillis(2)), Path::new("/data"), "example.com", files)
    }

    /// Goal: whichever octet of a manifest is altered, it is not taken for one, or says the same.
    #[test]
    fn an_altered_manifest_is_none() {
        let (whole, json) = (manifest(), manifest().to_json().unwrap());
        assert_eq!(Manifest::from_json(&json).unwrap(), whole);
        for at in 0..json.len() {
            let mut altered = json.clone();
            altered[at] ^= 1;
            let read = Manifest::from_json(&altered);
            assert!(read.is_err() || read == Ok(whole.clone()), "octet {at}");
        }
        let later = String::from_utf8(json).unwrap().replace("\"format\": 1", "\"format\": 2");
        assert!(Manifest::from_json(later.as_bytes()).unwrap_err().contains("format is 2"));
    }

    #[test]
    fn no_path_leads_out() {
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".", "a\0b"] {
            assert!(RelativePath::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(RelativePath::try_from("a/..b/c".to_owned()).is_ok());
    }
}
