//! Recovery keys, for when a mailbox's password is lost.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use postern_shared::clock::SystemClock;
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::seal::Opener;
use postern_shared::data_dir::Holder;
use postern_shared::disk::{Disk, RealDisk, write_atomic};
use postern_shared::id::MailboxId;
use postern_shared::proto::mime::trace::UNCONFIRMED;
use serde_json::json;
use zeroize::Zeroizing;

use super::args::RecoveryKeyAction;
use crate::app::Core;
use crate::settings::Settings;
use crate::spool::Entry;

const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

pub(super) fn run(action: &RecoveryKeyAction, json: bool) -> Result<()> {
    let RecoveryKeyAction::Generate { file } = action;
    let mut public_file = file.clone().into_os_string();
    public_file.push(".pub");
    let public_file = std::path::PathBuf::from(public_file);
    for path in [file, &public_file] {
        if RealDisk.exists(path)? {
            bail!("{} exists already; nothing is overwritten", path.display());
        }
    }
    let private = PrivateKey::generate();
    let seed = Zeroizing::new(hex::encode(*private.to_seed()) + "\n");
    let public = hex::encode(private.public().to_bytes()) + "\n";
    write(file, seed.as_bytes())?;
    write(&public_file, public.as_bytes())?;
    if json {
        println!("{}", json!({ "private_key_file": file, "public_key_file": public_file }));
    } else {
        println!("private key  {}\npublic key   {}", file.display(), public_file.display());
        eprintln!(
            "Move the private key off this machine now: whoever has it can read every mailbox created with it."
        );
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(&RealDisk, path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let bytes =
        RealDisk.read(path, KEY_FILE_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    Ok(Zeroizing::new(text))
}

pub(super) fn read_public_key(path: &Path) -> Result<String> {
    Ok(read(path)?.trim().to_owned())
}

/// Opens every message of a mailbox with the private recovery key and writes it to a file.
pub(super) fn recover(
    settings: Settings,
    mailbox: MailboxId,
    key: &Path,
    out: &Path,
    json: bool,
) -> Result<()> {
    let text = read(key)?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *seed)
        .with_context(|| format!("{} is not a private recovery key", key.display()))?;
    let private = PrivateKey::from_seed(&seed);
    let core = Core::open(Arc::new(RealDisk), Arc::new(SystemClock::new()), settings, Holder::Command)?;
    core.registry.show(mailbox)?;
    RealDisk.create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let entries = core.spool.entries(mailbox);
    for entry in &entries {
        let message = recover_one(&core, mailbox, entry, &private)
            .with_context(|| format!("cannot open message {}", entry.message))?;
        write(&out.join(format!("{}.eml", entry.message)), &message)?;
    }
    if json {
        println!("{}", json!({ "recovered": entries.len(), "directory": out }));
    } else {
        println!("{} messages written to {}; the mailbox still holds them", entries.len(), out.display());
    }
    Ok(())
}

fn recover_one(core: &Core, mailbox: MailboxId, entry: &Entry, private: &PrivateKey) -> Result<Vec<u8>> {
    let body = core.spool.open(mailbox, entry.message)?;
    let expected = body.expected();
    let mut opener = Opener::recover(body, expected, private)?;
    let mut bytes = if entry.unconfirmed { UNCONFIRMED.to_vec() } else { Vec::new() };
    bytes.extend_from_slice(&opener.trailer().trace_fields);
    while let Some(chunk) = opener.next_chunk()? {
        bytes.extend_from_slice(chunk);
    }
    Ok(bytes)
}
