//! Segment and record headers: values to bytes and back. The layout is drawn in the room's header.

use postern_shared::clock::UnixMillis;
use postern_shared::crypto::seal::Sealed;
use postern_shared::id::{MailboxId, MessageId};

use super::INLINE_BYTES_MAX;

pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
pub(super) const RECORD_HEADER_BYTES: usize = 68;
pub(super) const RECORD_MAGIC: &[u8; 4] = b"PSR1";
const SEGMENT_MAGIC: &[u8; 8] = b"PSTNSEG1";
/// No body is longer: content kept in memory, its tags, the header, the longest trailer, and room to grow.
const BODY_BYTES_MAX: u64 = 4 * (INLINE_BYTES_MAX as u64) + 8 * 1024 * 1024;

/// What stands at the start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u64,
    /// Octets of the segment before this one that count.
    pub(super) previous_bytes: u64,
}

impl SegmentHeader {
    pub(super) fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..16].copy_from_slice(&self.number.to_be_bytes());
        out[16..24].copy_from_slice(&self.previous_bytes.to_be_bytes());
        let crc = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<Self> {
        let whole = &bytes[..8] == SEGMENT_MAGIC && crc32c::crc32c(&bytes[..28]) == u32_at(bytes, 28);
        whole.then(|| Self { number: u64_at(bytes, 8), previous_bytes: u64_at(bytes, 16) })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Large,
    Tombstone,
    /// Says that the message of that id, which was prepared, is committed.
    Committed,
}

impl Kind {
    /// Whether it is a message, and not what is said of one.
    pub(super) fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::Large)
    }
}

/// Flag bit 0.
const PREPARED: u8 = 1;

/// What stands before every body, and behind the message in a large file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: Kind,
    /// Written before it was known whether the message counts. Only of messages.
    pub(super) prepared: bool,
    pub(super) mailbox: MailboxId,
    pub(super) message: MessageId,
    pub(super) received: UnixMillis,
    pub(super) served_bytes: u64,
    pub(super) sealed_bytes: u64,
    pub(super) trailer_bytes: u32,
    pub(super) body_crc: u32,
}

impl RecordHeader {
    /// A record that says something of a message: a tombstone, or that it is committed.
    pub(super) fn of(kind: Kind, mailbox: MailboxId, message: MessageId, now: UnixMillis) -> Self {
        Self {
            kind,
            prepared: false,
            mailbox,
            message,
            received: now,
            served_bytes: 0,
            sealed_bytes: 0,
            trailer_bytes: 0,
            body_crc: 0,
        }
    }

    pub(super) fn stored(
        kind: Kind,
        prepared: bool,
        (mailbox, message): (MailboxId, MessageId),
        received: UnixMillis,
        sealed: Sealed,
        sealed_bytes: u64,
        body_crc: u32,
    ) -> Self {
        Self {
            kind,
            prepared,
            mailbox,
            message,
            received,
            served_bytes: sealed.served_bytes,
            sealed_bytes,
            // The trailer is at most 4 MiB and a tag.
            trailer_bytes: u32::try_from(sealed.trailer_bytes).unwrap_or(u32::MAX),
            body_crc,
        }
    }

    /// Octets that follow the header in the segment.
    pub(super) fn body_bytes(&self) -> u64 {
        if self.kind == Kind::Message { self.sealed_bytes } else { 0 }
    }

    /// Octets of header and body.
    pub(super) fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + self.body_bytes()
    }

    pub(super) fn to_bytes(self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[..4].copy_from_slice(RECORD_MAGIC);
        out[4] = match self.kind {
            Kind::Message => 1,
            Kind::Large => 2,
            Kind::Tombstone => 3,
            Kind::Committed => 4,
        };
        out[5] = if self.prepared { PREPARED } else { 0 };
        out[8..16].copy_from_slice(&self.mailbox.to_bytes());
        out[16..32].copy_from_slice(&self.message.to_bytes());
        out[32..40].copy_from_slice(&self.received.0.to_be_bytes());
        out[40..48].copy_from_slice(&self.served_bytes.to_be_bytes());
        out[48..56].copy_from_slice(&self.sealed_bytes.to_be_bytes());
        out[56..60].copy_from_slice(&self.trailer_bytes.to_be_bytes());
        out[60..64].copy_from_slice(&self.body_crc.to_be_bytes());
        let crc = crc32c::crc32c(&out[..64]);
        out[64..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// `None` when these are not the bytes of a record header of this version.
    pub(super) fn from_bytes(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        if &bytes[..4] != RECORD_MAGIC
            || crc32c::crc32c(&bytes[..64]) != u32_at(bytes, 64)
            || bytes[6..8] != [0; 2]
        {
            return None;
        }
        let kind = match bytes[4] {
            1 => Kind::Message,
            2 => Kind::Large,
            3 => Kind::Tombstone,
            4 => Kind::Committed,
            _ => return None,
        };
        let prepared = match bytes[5] {
            0 => false,
            PREPARED if kind.is_message() => true,
            _ => return None,
        };
        let header = Self {
            kind,
            prepared,
            mailbox: MailboxId::from_bytes(std::array::from_fn(|i| bytes[8 + i])),
            message: MessageId::from_bytes(std::array::from_fn(|i| bytes[16 + i])),
            received: UnixMillis(u64_at(bytes, 32)),
            served_bytes: u64_at(bytes, 40),
            sealed_bytes: u64_at(bytes, 48),
            trailer_bytes: u32_at(bytes, 56),
            body_crc: u32_at(bytes, 60),
        };
        (header.body_bytes() <= BODY_BYTES_MAX).then_some(header)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> RecordHeader {
        RecordHeader {
            kind: Kind::Message,
            prepared: false,
            mailbox: MailboxId::from_bytes([1; 8]),
            message: MessageId::from_bytes([2; 16]),
            received: UnixMillis(3),
            served_bytes: 4,
            sealed_bytes: 5,
            trailer_bytes: 6,
            body_crc: 7,
        }
    }

    #[test]
    fn headers_come_back_as_written() {
        for kind in [Kind::Message, Kind::Large, Kind::Tombstone, Kind::Committed] {
            for prepared in [false, true] {
                let header = RecordHeader { kind, prepared, ..message() };
                let expected = (kind.is_message() || !prepared).then_some(header);
                assert_eq!(RecordHeader::from_bytes(&header.to_bytes()), expected, "{kind:?}");
            }
        }
        let segment = SegmentHeader { number: 9, previous_bytes: 77 };
        assert_eq!(SegmentHeader::from_bytes(&segment.to_bytes()), Some(segment));
    }

    /// Goal: what is on disk is what the room's header draws, and flags of a later version are not passed over.
    #[test]
    fn kind_and_flags_are_where_they_are_drawn() {
        let bytes = |kind, prepared| RecordHeader { kind, prepared, ..message() }.to_bytes();
        assert_eq!(bytes(Kind::Message, false)[4..8], [1, 0, 0, 0]);
        assert_eq!(bytes(Kind::Large, true)[4..8], [2, 1, 0, 0]);
        assert_eq!(bytes(Kind::Committed, false)[4..8], [4, 0, 0, 0]);
        for at in 5..8 {
            let mut later = bytes(Kind::Message, false);
            later[at] = 2;
            let crc = crc32c::crc32c(&later[..64]);
            later[64..].copy_from_slice(&crc.to_be_bytes());
            assert_eq!(RecordHeader::from_bytes(&later), None, "byte {at}");
        }
    }

    #[test]
    fn one_wrong_byte_is_no_header() {
        for at in 0..RECORD_HEADER_BYTES {
            let mut bytes = message().to_bytes();
            bytes[at] ^= 1;
            assert_eq!(RecordHeader::from_bytes(&bytes), None, "record byte {at}");
        }
        for at in 0..SEGMENT_HEADER_BYTES {
            let mut bytes = SegmentHeader { number: 9, previous_bytes: 77 }.to_bytes();
            bytes[at] ^= 1;
            assert_eq!(SegmentHeader::from_bytes(&bytes), None, "segment byte {at}");
        }
    }

    /// Goal: a forged length cannot make the scan skip half a segment or allocate without bound.
    #[test]
    fn an_impossible_body_length_is_no_header() {
        let header = RecordHeader { sealed_bytes: BODY_BYTES_MAX + 1, ..message() };
        assert_eq!(RecordHeader::from_bytes(&header.to_bytes()), None);
    }
}
