use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_shared::clock::{Clock, ManualClock, UnixMillis};
use postern_shared::crypto::SecretBytes;
use postern_shared::crypto::digest::sha256;
use postern_shared::disk::simulated::EntryOrder;
use postern_shared::disk::{Disk, RealDisk, SimulatedDisk};
use postern_shared::id::MessageId;
use zeroize::Zeroizing;

use crate::archive::message::{Evidence, IndexFields, NewMessage, Outcome, Placement, Source};
use crate::archive::store::Damages;
use crate::archive::stores::store::Beside;
use crate::archive::stores::{Commits, Stores, Verification};
use crate::archive::{ArchiveError, StoreError};

/// Short packs, so that a few messages fill several.
pub(super) const PACK_BYTES_MAX: u64 = 24 * 1024;

/// Stores on a disk of a test's choice; catalogs and indexes are on the machine's.
pub(super) struct Bench {
    pub(super) beside: tempfile::TempDir,
    pub(super) clock: Arc<ManualClock>,
}

pub(super) fn instance() -> PathBuf {
    PathBuf::from("/data/main")
}

/// Stores that are new, and the disk under them.
pub(super) fn opened() -> (Bench, SimulatedDisk, Stores) {
    let bench = Bench::new();
    let disk = SimulatedDisk::new(EntryOrder::Journal);
    bench.create(&disk);
    let stores = bench.open(&disk).unwrap();
    (bench, disk, stores)
}

fn master() -> SecretBytes {
    Zeroizing::new([9; 32])
}

impl Bench {
    pub(super) fn new() -> Self {
        // In memory where there is such a place: what catalogs sync does not matter here.
        let beside = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { beside: beside.unwrap(), clock: Arc::new(ManualClock::at(UnixMillis(1_800_000_000_000))) }
    }

    pub(super) fn create(&self, disk: &SimulatedDisk) {
        disk.create_dir_all(&instance()).unwrap();
        Stores::create(disk, &*self.clock, &instance(), &master()).unwrap();
    }

    pub(super) fn open(&self, disk: &SimulatedDisk) -> Result<Stores, ArchiveError> {
        self.open_at(disk, &instance())
    }

    pub(super) fn open_at(&self, disk: &SimulatedDisk, dir: &Path) -> Result<Stores, ArchiveError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        self.open_on(&disk, dir)
    }

    pub(super) fn open_on(&self, disk: &Arc<dyn Disk>, dir: &Path) -> Result<Stores, ArchiveError> {
        let beside = Beside { disk: Arc::new(RealDisk), dir: self.beside.path().to_path_buf() };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Stores::open_beside(disk, &clock, dir, master(), Some(beside), PACK_BYTES_MAX)
    }

    /// What a power cut may leave of the catalogs: nothing.
    pub(super) fn forget_catalogs(&self) {
        for dir in RealDisk.dirs(self.beside.path()).unwrap() {
            RealDisk.remove_dir_all(&dir).unwrap();
        }
    }

    /// The catalog of a store.
    pub(super) fn catalog(&self, id: &str) -> PathBuf {
        self.beside.path().join(id).join("catalog.sqlite")
    }
}

/// Message `n`, with attachment `attached`: the same octets for the same number.
pub(super) fn content(n: usize, attached: Option<usize>) -> Vec<u8> {
    use base64::Engine as _;
    let head = format!("From: anna@example.com\r\nSubject: Report {n}\r\nMessage-ID: <{n}@x>\r\n");
    let Some(attached) = attached else { return format!("{head}\r\nnumber {n}\r\n").into_bytes() };
    let mut state = u32::try_from(attached).unwrap() + 1;
    let octets: Vec<u8> = (0..6000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let encoded = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnumber {n}\r\n--b\r\nContent-Type: application/pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

pub(super) fn message(content: Vec<u8>, to: &str) -> NewMessage {
    NewMessage {
        content,
        fold_key: None,
        evidence: None,
        mail_from: Some("anna@example.com".into()),
        participants: Vec::new(),
        filed_in: vec![Placement { archive: to.into(), folder: "Inbox".into() }],
        internal_date: None,
        flags: vec!["\\Seen".into()],
        quarantined: None,
        source: Source { profile: "p".into(), uidl: "1".into(), received: None, trace: None },
        sha256: None,
        untrusted_fields: Vec::new(),
        index: IndexFields::default(),
    }
}

/// A journal report of message `n` as one of its copies travelled.
pub(super) fn reported(n: usize, travelled: &str, report: &str) -> NewMessage {
    NewMessage {
        content: [format!("Received: {travelled}\r\n").as_bytes(), &content(n, None)].concat(),
        fold_key: Some(sha256(format!("fold {n}").as_bytes())),
        evidence: Some(Evidence::Report { prefix: report.as_bytes().to_vec(), suffix: b"end".to_vec() }),
        ..message(Vec::new(), "anna")
    }
}

/// Where an object lies: its pack, and where its body begins.
pub(super) fn body_of(stores: &Stores, object: u64) -> (PathBuf, u64) {
    let store = &stores.current().unwrap().store;
    let place = store.catalog().object(object).unwrap().unwrap();
    (store.packs.path(place), place.offset + 48)
}

/// Alters one octet.
pub(super) fn flip(disk: &SimulatedDisk, path: &Path, at: u64) {
    let file = disk.open(path).unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, at).unwrap();
    file.write_all_at(&[&[octet[0] ^ 0x10]], at).unwrap();
    file.sync_data().unwrap();
}

/// What verify finds in all stores.
pub(super) fn verify(stores: &Stores) -> Vec<(Option<MessageId>, String)> {
    let mut found = Vec::new();
    for attached in stores.open_stores() {
        let mut state = Verification::default();
        let mut save = |_: &Verification| Ok(());
        assert!(attached.store.verify(&mut state, &mut |_, _, _| false, &mut save).unwrap());
        found.extend(state.findings.into_iter().map(|finding| (finding.message, finding.what)));
    }
    found
}

pub(super) fn commit(stores: &Stores, batch: Vec<NewMessage>) -> Result<Vec<Outcome>, ArchiveError> {
    let ready = batch.into_iter().map(|message| stores.ready(message, None)).collect::<Result<_, _>>();
    stores.commit(&Commits::default(), ready?)
}

pub(super) fn id(outcome: Outcome) -> MessageId {
    outcome.id()
}

/// A message's octets.
pub(super) fn read(stores: &Stores, id: MessageId) -> Result<Vec<u8>, ArchiveError> {
    let attached = stores.with_message(id)?.ok_or_else(|| ArchiveError::NoMessage(id.to_string()))?;
    let opened = attached.store.opened(id)?.unwrap();
    let mut content = Vec::new();
    attached.store.copy_content(&opened, &mut |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}

/// All messages, read.
pub(super) fn all(stores: &Stores) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut found = Vec::new();
    for attached in stores.open_stores() {
        for (_, record) in attached.store.catalog().records(0, 10_000)? {
            found.push(read(stores, record.id)?);
        }
    }
    found.sort();
    Ok(found)
}

/// Rebuilds the current store's catalog; what is damaged.
pub(super) fn rebuild(stores: &Stores) -> Vec<String> {
    let mut damage = Damages::default();
    let current = stores.current().unwrap();
    assert!(current.store.rebuild(stores.ids(), &mut |_, _, _| false, &mut damage).unwrap());
    damage.lines()
}

/// Whether the disk is why it failed.
pub(super) fn is_io(error: &ArchiveError) -> bool {
    matches!(
        error,
        ArchiveError::Store(StoreError::Io { .. } | StoreError::Poisoned) | ArchiveError::File { .. }
    )
}
