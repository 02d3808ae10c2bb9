//! What an archive takes on disk, beside each message compressed by itself as well as zstd can.

#![expect(clippy::disallowed_methods, reason = "it stands outside the programs, as an operator does")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_archiver::archive::{
    FileOctets, Instance, KeepKey, NewMessage, Octets as _, Opener, Outcome, Placement, Source,
};
use postern_archiver::intake::index_fields;
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::{Disk, RealDisk};

const MESSAGES: usize = 400;

/// The generator of realistic mail beside the checkout.
fn generator() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.ancestors().map(|dir| dir.join("shared/peers/mailgen.py")).find(|path| path.is_file())
}

fn corpus(dir: &Path) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(generator) = generator() else {
        eprintln!("skipped: ../shared/peers/mailgen.py is not there");
        return Ok(None);
    };
    let made =
        Command::new("python3").arg(generator).arg("corpus").arg(dir).arg(MESSAGES.to_string()).output()?;
    if !made.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&made.stderr));
        return Ok(None);
    }
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.join("cur"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    files.iter().map(|file| Ok(std::fs::read(file)?)).collect::<Result<_>>().map(Some)
}

/// As an organisation has mail: of every ten messages, one went to three people of ours whose copies differ in how they travelled, one to two of
/// them as it was; and whoever got an attachment sent it on, one time in two.
fn mixed(corpus: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut mail = Vec::new();
    for (n, message) in corpus.iter().enumerate() {
        mail.push(message.clone());
        let with = |head: String| [head.as_bytes(), message].concat();
        match n % 10 {
            3 => mail.extend(
                (1..3).map(|copy| with(format!("Received: from a by b{copy} for <u{copy}@example.com>\n"))),
            ),
            7 => mail.push(message.clone()),
            _ => {}
        }
        let has_attachment = memchr::memmem::find(message, b"Content-Disposition: attachment").is_some();
        if has_attachment && n.is_multiple_of(2) {
            mail.push(with(format!("Resent-From: <u{n}@example.com>\n")));
        }
    }
    mail
}

fn new_instance(path: &Path) -> Result<Instance> {
    let (disk, clock): (Arc<dyn Disk>, Arc<dyn Clock>) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
    Instance::create(&disk, &clock, path, "main", &KeepKey::File(None))?;
    let opened = Instance::open(&disk, &clock, path, "main", &Opener::KeyFile(None), |content, _| {
        index_fields(content, None)
    });
    Ok(opened?)
}

/// Goal: an archive of mixed mail takes at most 0.6 of what its messages take when each is compressed by itself at zstd's level 19; and twenty
/// recipients cost one copy.
#[test]
fn an_archive_takes_little() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(corpus) = corpus(&dir.path().join("maildir"))? else { return Ok(()) };
    let mail = mixed(&corpus);
    let alone: usize =
        mail.iter().map(|message| Ok(zstd::bulk::compress(message, 19)?.len())).sum::<Result<_>>()?;
    let path = dir.path().join("main");
    let instance = new_instance(&path)?;
    let batch: Vec<NewMessage> = mail.iter().map(|content| message(content, "anna")).collect();
    for part in batch.chunks(128) {
        instance.commit(part.to_vec())?;
    }
    let stored = on_disk(&path.join("stores/0001"))?;
    let octets: usize = mail.iter().map(Vec::len).sum();
    let ratio = stored as f64 / alone as f64;
    println!(
        "{} messages, {octets} octets; zstd -19 each: {alone}; archived: {stored}, {ratio:.3} of that",
        mail.len()
    );

    let longest = corpus.iter().max_by_key(|message| message.len()).map(|message| message.as_slice());
    for n in 0..20 {
        instance.commit(vec![message(longest.unwrap_or_default(), &format!("user{n}"))])?;
    }
    let grown = on_disk(&path.join("stores/0001"))? - stored;
    ensure!(grown < 20 * 500, "{grown} octets for twenty recipients");
    ensure!(ratio <= RATIO_MAX, "{ratio:.3}");
    Ok(())
}

const RATIO_MAX: f64 = 0.6;

/// Goal: a message of 150 MB goes in and out without being in memory as a whole.
/// Method: from a file to an archive and back; the process's peak is looked at, which with nextest is this test's own.
#[test]
fn a_message_of_150_mb_takes_little_memory() -> Result<()> {
    const BYTES: usize = 150_000_000;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("long.eml");
    write_long(&file, BYTES)?;
    let path = dir.path().join("main");
    let instance = new_instance(&path)?;
    let octets = FileOctets::new(RealDisk.open_read(&file)?, 0..file.metadata()?.len());
    let outcome = instance.commit_long(message(b"", "anna"), Arc::new(octets.clone()))?;
    let Outcome::Archived(kept) = outcome else { anyhow::bail!("{outcome:?}") };
    let id = kept.id;
    let (mut at, mut expected) = (0u64, Vec::new());
    instance.copy_message(&id.to_string(), &mut |piece| {
        expected.resize(piece.len(), 0);
        octets.read_exact_at(&mut expected, at)?;
        at += piece.len() as u64;
        if piece == expected {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("other octets before {at}")))
        }
    })?;
    ensure!(at == octets.len(), "{at}");
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    println!("{peak} KiB at the most");
    ensure!(peak < 100 * 1024, "{peak} KiB");
    let stored = on_disk(&path.join("stores/0001"))?;
    ensure!(stored < 115_000_000, "decoded, {stored} octets");
    Ok(())
}

/// A message with an attachment that does not compress.
fn write_long(file: &Path, bytes: usize) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    write!(
        out,
        "Subject: long\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )?;
    let mut state = 1u64;
    for _ in 0..bytes / 78 {
        let mut line = [0; 57];
        for word in line.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        writeln!(out, "{}\r", STANDARD.encode(line))?;
    }
    write!(out, "\r\n--b--\r\n")?;
    Ok(out.flush()?)
}

fn message(content: &[u8], to: &str) -> NewMessage {
    NewMessage {
        content: content.to_vec(),
        fold_key: None,
        evidence: None,
        mail_from: None,
        participants: Vec::new(),
        filed_in: vec![Placement { archive: to.into(), folder: "Inbox".into() }],
        internal_date: None,
        flags: Vec::new(),
        quarantined: None,
        source: Source { profile: "p".into(), uidl: "1".into(), received: None, trace: None },
        sha256: None,
        untrusted_fields: Vec::new(),
        index: index_fields(content, None),
    }
}

/// Packs, keys and leaves: what the mail itself takes.
fn on_disk(store: &Path) -> Result<u64> {
    let mut bytes = 0;
    for below in ["packs", "keys", "log"] {
        for entry in std::fs::read_dir(store.join(below))? {
            bytes += entry?.metadata()?.len();
        }
    }
    Ok(bytes)
}
