use proptest::prelude::*;

use super::*;
use crate::clock::UnixMillis;
use crate::crypto::aead::TAG_BYTES;
use crate::crypto::keys::PrivateKey;
use crate::id::{MailboxId, MessageId, MessageIds};

struct Message {
    expected: Expected,
    sealed: Vec<u8>,
    private: PrivateKey,
    recovery: PrivateKey,
}

fn seal(content: &[u8], piece: usize, with_recovery: bool) -> Message {
    let (private, recovery) = (PrivateKey::generate(), PrivateKey::generate());
    let recipients =
        Recipients { mailbox: private.public(), recovery: with_recovery.then(|| recovery.public()) };
    let mailbox = MailboxId::random();
    let message = MessageIds::default().next(UnixMillis(1));
    let mut sealed = Vec::new();
    let mut sealer = Sealer::new(mailbox, message, &Encapsulation::new(&recipients));
    for piece in content.chunks(piece.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = &rest[sealer.write(rest).unwrap()..];
        }
        // As it is stored elsewhere now and then; pieces of an odd length stay to the end.
        if piece.len() % 2 == 0 {
            let store = |pieces: &[Vec<u8>]| {
                sealed.extend(pieces.concat());
                Ok::<(), ()>(())
            };
            sealer.take_sealed(store).unwrap();
        }
    }
    let (rest, done) = sealer.finish(b"X-Trace: yes\r\n".to_vec(), b"{}".to_vec()).unwrap();
    sealed.extend(rest.concat());
    assert_eq!(done.served_bytes, content.len() as u64 + 14);
    let expected =
        Expected { mailbox, message, sealed_bytes: sealed.len() as u64, trailer_bytes: done.trailer_bytes };
    Message { expected, sealed, private, recovery }
}

fn read_all<R: ReadSealed>(mut opener: Opener<R>) -> Result<Vec<u8>, OpenError> {
    let mut content = Vec::new();
    while let Some(chunk) = opener.next_chunk()? {
        content.extend_from_slice(chunk);
    }
    Ok(content)
}

fn open(message: &Message) -> Result<Vec<u8>, OpenError> {
    read_all(Opener::new(message.sealed.clone(), message.expected, &message.private)?)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

#[test]
fn opens_to_what_was_sealed_at_every_chunk_border() {
    for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7] {
        let content = content(len);
        let message = seal(&content, 10_000, false);
        assert_eq!(open(&message).unwrap(), content, "{len}");
        let opener = Opener::new(message.sealed.clone(), message.expected, &message.private).unwrap();
        assert_eq!(opener.trailer().trace_fields, b"X-Trace: yes\r\n");
        assert_eq!(opener.trailer().envelope, b"{}");
        assert_eq!(opener.trailer().content_sha256, crate::crypto::digest::sha256(&content));
    }
}

#[test]
fn the_recovery_key_opens_what_was_sealed_to_it_and_nothing_else() {
    let with = seal(b"content", 3, true);
    assert_eq!(open(&with).unwrap(), b"content");
    let recovered = Opener::recover(with.sealed.clone(), with.expected, &with.recovery).unwrap();
    assert_eq!(read_all(recovered).unwrap(), b"content");
    assert!(Opener::recover(with.sealed.clone(), with.expected, &with.private).is_err());

    let without = seal(b"content", 3, false);
    let refused = Opener::recover(without.sealed.clone(), without.expected, &without.recovery);
    assert!(matches!(refused.unwrap_err(), OpenError::NoRecovery));
}

#[test]
fn another_private_key_is_told_by_the_commitment() {
    let message = seal(b"content", 3, false);
    let error = Opener::new(message.sealed.clone(), message.expected, &PrivateKey::generate()).unwrap_err();
    assert!(matches!(error, OpenError::NotAuthentic { part: Part::Commitment, .. }), "{error}");
}

/// Goal: not one bit of a sealed message can be changed unnoticed.
/// Method: flip one bit in every byte of header and trailer, and in every 97th byte of the chunks.
#[test]
fn an_edited_message_is_refused() {
    let message = seal(&content(CHUNK_BYTES + 100), 1000, true);
    let sealed_len = message.sealed.len();
    let interesting = (0..Header::BYTES_MAX)
        .chain((Header::BYTES_MAX..sealed_len).step_by(97))
        .chain(sealed_len - 200..sealed_len);
    let mut refused = 0;
    for at in interesting {
        let mut bent = Message {
            sealed: message.sealed.clone(),
            private: PrivateKey::from_seed(&message.private.to_seed()),
            recovery: PrivateKey::generate(),
            expected: message.expected,
        };
        bent.sealed[at] ^= 0x10;
        assert!(open(&bent).is_err(), "byte {at} of {sealed_len}");
        refused += 1;
    }
    assert!(refused > Header::BYTES_MAX);
}

#[test]
fn a_truncated_message_is_refused() {
    let message = seal(&content(2 * CHUNK_BYTES), 1000, false);
    for cut in [1, 15, 16, 17, CHUNK_BYTES, CHUNK_BYTES + TAG_BYTES, message.sealed.len() - 10] {
        let sealed = message.sealed[..message.sealed.len() - cut].to_vec();
        // Both with the length that was stored and with one corrected to the cut file.
        assert!(Opener::new(sealed.clone(), message.expected, &message.private).is_err(), "cut {cut}");
        let expected = Expected { sealed_bytes: sealed.len() as u64, ..message.expected };
        assert!(Opener::new(sealed, expected, &message.private).is_err(), "cut {cut}, length corrected");
    }
}

/// Goal: whole chunks cannot be reordered, dropped, or repeated.
#[test]
fn reordered_chunks_are_refused() {
    let message = seal(&content(3 * CHUNK_BYTES), 1000, false);
    let chunk = CHUNK_BYTES + TAG_BYTES;
    let start = message.sealed.len() - message.expected.trailer_bytes - 3 * chunk;
    let mut swapped = message.sealed.clone();
    let (first, second) = swapped[start..start + 2 * chunk].split_at_mut(chunk);
    first.swap_with_slice(second);
    let opened = Opener::new(swapped, message.expected, &message.private).and_then(read_all);
    assert!(matches!(opened.unwrap_err(), OpenError::NotAuthentic { part: Part::Chunk(0), .. }));

    let mut dropped = message.sealed.clone();
    dropped.drain(start..start + chunk);
    let expected = Expected { sealed_bytes: dropped.len() as u64, ..message.expected };
    let opened = Opener::new(dropped, expected, &message.private).and_then(read_all);
    assert!(matches!(opened.unwrap_err(), OpenError::NotAuthentic { part: Part::Trailer, .. }));
}

/// Goal: a message cannot pose as another one, neither of the same mailbox nor of another.
#[test]
fn a_message_moved_to_another_id_or_mailbox_is_refused() {
    let message = seal(b"content", 100, false);
    let other = MessageId::from_bytes([9; 16]);
    let asked_as_other = Expected { message: other, ..message.expected };
    let error = Opener::new(message.sealed.clone(), asked_as_other, &message.private).unwrap_err();
    assert!(matches!(error, OpenError::Exchanged { .. }));

    let mut relabelled = message.sealed.clone();
    relabelled[16..32].copy_from_slice(&other.to_bytes());
    let error = Opener::new(relabelled, asked_as_other, &message.private).unwrap_err();
    assert!(matches!(error, OpenError::NotAuthentic { part: Part::Commitment, .. }));
}

#[test]
fn an_endless_envelope_is_refused() {
    let private = PrivateKey::generate();
    let recipients = Recipients { mailbox: private.public(), recovery: None };
    let message = MessageId::from_bytes([1; 16]);
    let sealer = Sealer::new(MailboxId::random(), message, &Encapsulation::new(&recipients));
    let error = sealer.finish(vec![b'x'; TRAILER_BYTES_MAX], Vec::new()).unwrap_err();
    assert!(matches!(error, SealError::TrailerTooLong { .. }));
}

/// Goal: an authentic trailer with a length that no file has is refused; whoever has the public key can write one.
/// Method: trailers sealed by hand, among them the lengths whose sealed length, modulo 2^64, is that of no content.
#[test]
fn an_authentic_length_beyond_all_files_is_refused() {
    let private = PrivateKey::generate();
    let recipients = Recipients { mailbox: private.public(), recovery: None };
    let (mailbox, message) = (MailboxId::random(), MessageId::from_bytes([1; 16]));
    let wrapping = |bytes: u64| bytes.wrapping_add(content_chunks(bytes).wrapping_mul(16));
    let near = u64::MAX / 4097 * 4096;
    let wraps = (near..near + 8192).find(|bytes| wrapping(*bytes) == 0).expect("there is one");
    for content_bytes in [u64::MAX, u64::MAX - CHUNK_BYTES as u64, 1 << 63, wraps] {
        let (header, keys) =
            super::header::Header::create(mailbox, message, &Encapsulation::new(&recipients));
        let trailer = Trailer {
            content_bytes,
            content_sha256: crate::crypto::digest::sha256(b""),
            trace_fields: Vec::new(),
            envelope: Vec::new(),
        };
        let mut plain = Vec::new();
        trailer.write(&mut plain);
        let tag = keys.key.seal(nonce(keys.nonce_prefix, 0, true), &header.hash().0, &mut plain);
        let trailer_bytes = plain.len() + TAG_BYTES;
        let sealed = [header.to_bytes(), plain, tag.to_vec()].concat();
        let expected = Expected { mailbox, message, sealed_bytes: sealed.len() as u64, trailer_bytes };
        let error = Opener::new(sealed, expected, &private).unwrap_err();
        assert!(matches!(error, OpenError::Lengths { .. }), "{content_bytes}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_content_in_any_pieces_comes_back(len in 0usize..200_000, piece in 1usize..70_000) {
        let content = content(len);
        prop_assert_eq!(open(&seal(&content, piece, false)).unwrap(), content);
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000), trailer in 0usize..5000) {
        let expected = Expected {
            mailbox: MailboxId::from_bytes([0; 8]), message: MessageId::from_bytes([0; 16]),
            sealed_bytes: bytes.len() as u64, trailer_bytes: trailer,
        };
        prop_assert!(Opener::new(bytes, expected, &PrivateKey::generate()).is_err());
    }
}
