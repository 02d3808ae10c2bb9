//! The key that second factors are sealed under, in a file of its own.

use std::path::Path;

use postern_shared::crypto::aead::AeadKey;
use postern_shared::crypto::random_secret;
use postern_shared::disk::{Disk, write_atomic};

/// The key in `dir/key`; made when it is missing.
pub(super) fn sealing_key(disk: &dyn Disk, dir: &Path) -> std::io::Result<AeadKey> {
    let path = dir.join("key");
    if disk.exists(&path)? {
        let bytes = zeroize::Zeroizing::new(disk.read(&path, 32)?);
        let key: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| std::io::Error::other(format!("{} has not 32 octets", path.display())))?;
        return Ok(AeadKey::new(key));
    }
    let key = random_secret();
    write_atomic(disk, &path, &*key)?;
    Ok(AeadKey::new(&key))
}
