//! What lies on the gateway's disk: sealed messages, and the spool that holds them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_gateway::spool::{
    INLINE_BYTES_MAX, NewBody, NewRecord, SealedBody, SegmentSpool, Settings, Spool,
};
use postern_shared::clock::{ManualClock, UnixMillis};
use postern_shared::crypto::keys::PrivateKey;
use postern_shared::crypto::seal::{Expected, Header, OpenError, Opener, ReadSealed, Sealed};
use postern_shared::disk::RealDisk;
use postern_shared::id::{MailboxId, MessageId};

/// Sealed once by version 1 of the format and kept: every run has the same octets, and later versions must open it.
const SEALED: &[u8] = include_bytes!("../../fixtures/sealed/message.sealed");
/// What is in it.
const CONTENT: &[u8] = b"Subject: sealed\r\n\r\nWhat was sealed once is opened for ever.\r\n";
/// The octets of its trailer.
const TRAILER_BYTES: usize = 44 + TRACE_FIELDS.len() + ENVELOPE.len() + 16;
const TRACE_FIELDS: &[u8] = b"Return-Path: <>\r\n";
const ENVELOPE: &[u8] = b"{}";

fn mailbox() -> MailboxId {
    MailboxId::from_bytes([7; 8])
}

fn id() -> MessageId {
    MessageId::from_bytes([9; 16])
}

fn private_key() -> PrivateKey {
    PrivateKey::from_seed(&[3; 32])
}

/// The octet that the id of the seeds' large message consists of.
const LARGE: u8 = 5;

/// A header read is written the same.
pub(super) fn header(data: &[u8]) {
    if let Ok(header) = Header::from_bytes(data) {
        assert!(header.len() <= Header::BYTES_MAX);
        assert!(header.to_bytes() == data[..header.len()], "written differently");
    }
}

/// What opens is what was sealed: whatever was changed, cut, or said of its length, an opener gives that, a part of it
/// from the start, or an error. The first octet says what is wrong about the trailer's length.
pub(super) fn message(data: &[u8]) {
    let Some((&wrong, sealed)) = data.split_first() else { return };
    let trailer_bytes = if wrong < 200 { TRAILER_BYTES } else { usize::from(wrong) * 30_000 };
    let expected =
        Expected { mailbox: mailbox(), message: id(), sealed_bytes: sealed.len() as u64, trailer_bytes };
    let opened = open(sealed.to_vec(), expected);
    assert_eq!(opened.is_ok(), sealed == SEALED && trailer_bytes == TRAILER_BYTES, "{opened:?}");
}

/// The whole content, checked against what was sealed on the way.
fn open(source: impl ReadSealed, expected: Expected) -> Result<usize, OpenError> {
    let mut opener = Opener::new(source, expected, &private_key())?;
    assert_eq!(opener.trailer().envelope, ENVELOPE);
    let mut at = 0;
    while let Some(piece) = opener.next_chunk()? {
        assert!(CONTENT[at..].starts_with(piece));
        at += piece.len();
    }
    assert_eq!(at, CONTENT.len(), "the end is told only at the end");
    Ok(at)
}

/// A spool opens on whatever lies in its directory; what it lists is opened, damaged or gone, never something else; what is
/// stored then is there after another start. When nothing was damaged, so is all that was listed before; when something was,
/// nothing comes back that opens.
///
/// The octets are files: kind (even: a segment, odd: a large file), number, two octets of length, content.
pub(super) fn spool(data: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    unpack(data, dir.path());
    let spool = start(dir.path());
    let before = ids(&spool);
    let whole = spool.damage().is_empty();
    for message in &before {
        if let Ok(body) = spool.open(mailbox(), *message) {
            assert_eq!(body.expected().message, *message);
            // One of another id is refused by the opener, one that is damaged as well.
            let _ = opens(body);
        }
    }
    let added = MessageId::from_bytes([0xfe; 16]);
    let sealed = Sealed { served_bytes: 1, trailer_bytes: TRAILER_BYTES };
    let record = NewRecord {
        mailbox: mailbox(),
        message: added,
        received: UnixMillis(1_700_000_000_000),
        sealed,
        body: NewBody::inline(vec![SEALED.to_vec()]),
        prepared: false,
    };
    assert!(SEALED.len() < INLINE_BYTES_MAX);
    let stored = spool.append(vec![record]).wait();
    assert!(stored.is_ok(), "{stored:?}");
    let mut expected = before;
    if !expected.contains(&added) {
        expected.push(added);
    }
    assert_eq!(sorted(ids(&spool)), sorted(expected.clone()));
    drop(spool);
    let spool = start(dir.path());
    for listed in ids(&spool) {
        let opens = || spool.open(mailbox(), listed).is_ok_and(opens);
        assert!(expected.contains(&listed) || !opens(), "{listed} comes back from the dead");
    }
    let lost: Vec<_> = expected.iter().filter(|known| !ids(&spool).contains(known)).collect();
    assert!(
        !whole || lost.is_empty(),
        "lost by another start: {lost:?} of {expected:?}; {:?}",
        spool.damage()
    );
    let body = spool.open(mailbox(), added).map(|body| {
        let mut found = vec![0; SEALED.len()];
        body.read_exact_at(&mut found, 0).map(|()| found)
    });
    assert!(matches!(body, Ok(Ok(found)) if found == SEALED), "what was stored is not there");
}

fn opens(body: SealedBody) -> bool {
    let expected = body.expected();
    open(body, expected).is_ok()
}

fn start(dir: &Path) -> SegmentSpool {
    let settings = Settings {
        segment_bytes: 4096,
        reserve_bytes: 0,
        grace: Duration::from_secs(60),
        prepare_after_bytes: u64::MAX,
        confirm_delay: Duration::ZERO,
    };
    let opened = SegmentSpool::open(Arc::new(RealDisk), Arc::new(ManualClock::default()), dir, settings);
    opened.unwrap_or_else(|error| panic!("the spool does not open: {error}"))
}

fn ids(spool: &SegmentSpool) -> Vec<MessageId> {
    spool.entries(mailbox()).into_iter().map(|entry| entry.message).collect()
}

fn sorted(mut ids: Vec<MessageId>) -> Vec<MessageId> {
    ids.sort_by_key(|id| id.to_bytes());
    ids
}

fn unpack(data: &[u8], dir: &Path) {
    let (segments, large) = (dir.join("segments"), dir.join("large"));
    for dir in [&segments, &large] {
        if std::fs::create_dir_all(dir).is_err() {
            return;
        }
    }
    let mut rest = data;
    for _ in 0..8 {
        let Some((&[kind, number, high, low], behind)) = rest.split_first_chunk::<4>() else { return };
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (content, behind) = behind.split_at(length);
        rest = behind;
        let path = if kind % 2 == 0 {
            segments.join(format!("{number:016x}.seg"))
        } else {
            large.join(format!("{}-{}.msg", MessageId::from_bytes([number; 16]), mailbox()))
        };
        // A file that cannot be written is one that is not there.
        let _ = std::fs::write(path, content);
    }
}

fn pack(dir: &Path) -> Vec<u8> {
    let mut packed = Vec::new();
    for (kind, sub) in [(0, "segments"), (1, "large")] {
        let mut files: Vec<_> = std::fs::read_dir(dir.join(sub))
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.path())
            .collect();
        files.sort();
        for (number, file) in (0..).zip(files) {
            let content = std::fs::read(file).unwrap_or_default();
            // Preallocated space reads as zeros; a few of them do.
            let used = content.iter().rposition(|octet| *octet != 0).map_or(0, |at| at + 1);
            let content = &content[..content.len().min(used + 50)];
            let number = if kind == 0 { first_number(dir) + number } else { LARGE };
            packed.extend_from_slice(&[kind, number]);
            packed.extend_from_slice(&u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
            packed.extend_from_slice(content);
        }
    }
    packed
}

/// The number of the first segment, which its name and its header tell.
fn first_number(dir: &Path) -> u8 {
    let names = std::fs::read_dir(dir.join("segments")).into_iter().flatten().flatten();
    let numbers = names.filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        u8::from_str_radix(name.strip_suffix(".seg")?, 16).ok()
    });
    numbers.min().unwrap_or(0)
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let with = |first: u8| [&[first][..], SEALED].concat();
    // The header's target takes it without the octet before.
    vec![with(0), with(255), SEALED.to_vec()]
}

/// A spool of two segments with messages, prepared ones among them, a deletion, a confirmation and a large file.
pub(super) fn spool_seeds() -> Vec<Vec<u8>> {
    let Ok(dir) = tempfile::tempdir() else { return Vec::new() };
    {
        let spool = start(dir.path());
        for number in 1..=LARGE {
            let message = if number == 1 { id() } else { MessageId::from_bytes([number; 16]) };
            let sealed = Sealed {
                served_bytes: (TRACE_FIELDS.len() + CONTENT.len()) as u64,
                trailer_bytes: TRAILER_BYTES,
            };
            let received = UnixMillis(1_600_000_000_000 + u64::from(number));
            let prepared = number > 2;
            let body = if number < LARGE {
                Some(NewBody::inline(vec![SEALED.to_vec()]))
            } else {
                large_body(&spool, message, sealed, prepared)
            };
            let Some(body) = body else { continue };
            let record = NewRecord { mailbox: mailbox(), message, received, sealed, body, prepared };
            let _ = spool.append(vec![record]).wait();
        }
        let _ = spool.delete(mailbox(), &[MessageId::from_bytes([2; 16])]).wait();
        let _ = spool.confirm(mailbox(), MessageId::from_bytes([3; 16])).wait();
    }
    let whole = pack(dir.path());
    let half = whole[..whole.len() / 2].to_vec();
    vec![whole, half, Vec::new()]
}

fn large_body(spool: &SegmentSpool, message: MessageId, sealed: Sealed, prepared: bool) -> Option<NewBody> {
    let mut file = spool.large_file(mailbox(), message).ok()?;
    file.write(&[SEALED]).ok()?;
    file.finish(mailbox(), message, UnixMillis(1_600_000_000_005), sealed, prepared).ok()?;
    Some(NewBody::Large(file))
}
