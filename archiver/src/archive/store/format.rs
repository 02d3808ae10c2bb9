//! Headers to bytes and back. The layout is drawn in the room's header.

pub(super) const FILE_HEADER_BYTES: usize = 32;
pub(super) const OBJECT_HEADER_BYTES: usize = 48;
pub(super) const KEY_RECORD_BYTES: usize = 80;
pub(super) const WRAPPED_KEY_BYTES: usize = 60;
pub(super) const OBJECT_MAGIC: &[u8; 4] = b"PAO1";
/// No object is longer: the longest message and what compression can add.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Pack,
    Keys,
}

impl FileKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Pack => b"PSTNPAK1",
            Self::Keys => b"PSTNKEY1",
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Keys => "keys",
        }
    }

    pub(super) fn header(self, number: u64) -> [u8; FILE_HEADER_BYTES] {
        let mut out = [0; FILE_HEADER_BYTES];
        out[..8].copy_from_slice(self.magic());
        out[8..16].copy_from_slice(&number.to_be_bytes());
        let crc = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub(super) fn is_header(self, bytes: &[u8; FILE_HEADER_BYTES], number: u64) -> bool {
        *bytes == self.header(number)
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) enum Kind {
    Content,
    Evidence,
    Manifest,
    Addition,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Content, Self::Evidence, Self::Manifest, Self::Addition];

    fn code(self) -> u8 {
        match self {
            Self::Content => 1,
            Self::Evidence => 2,
            Self::Manifest => 3,
            Self::Addition => 4,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectHeader {
    pub(super) kind: Kind,
    pub(super) object: [u8; 16],
    pub(super) plain_bytes: u64,
    pub(super) body_bytes: u64,
    pub(super) body_crc: u32,
}

impl ObjectHeader {
    pub(super) fn to_bytes(self) -> [u8; OBJECT_HEADER_BYTES] {
        let mut out = [0; OBJECT_HEADER_BYTES];
        out[..32].copy_from_slice(&self.associated_data());
        out[32..40].copy_from_slice(&self.body_bytes.to_be_bytes());
        out[40..44].copy_from_slice(&self.body_crc.to_be_bytes());
        let crc = crc32c::crc32c(&out[..44]);
        out[44..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// What the body is authenticated with: everything that is known before it is sealed.
    pub(super) fn associated_data(self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..4].copy_from_slice(OBJECT_MAGIC);
        out[4] = self.kind.code();
        out[8..24].copy_from_slice(&self.object);
        out[24..32].copy_from_slice(&self.plain_bytes.to_be_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8; OBJECT_HEADER_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        if &bytes[..4] != OBJECT_MAGIC || bytes[5..8] != [0; 3] || crc32c::crc32c(&bytes[..44]) != u32_at(44)
        {
            return None;
        }
        let header = Self {
            kind: Kind::ALL.into_iter().find(|kind| kind.code() == bytes[4])?,
            object: std::array::from_fn(|i| bytes[8 + i]),
            plain_bytes: u64_at(24),
            body_bytes: u64_at(32),
            body_crc: u32_at(40),
        };
        (header.body_bytes <= BODY_BYTES_MAX && header.plain_bytes <= BODY_BYTES_MAX).then_some(header)
    }

    pub(super) fn record_bytes(&self) -> u64 {
        OBJECT_HEADER_BYTES as u64 + self.body_bytes
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRecord {
    pub(super) object: [u8; 16],
    pub(super) wrapped: [u8; WRAPPED_KEY_BYTES],
}

impl KeyRecord {
    pub(super) fn to_bytes(&self) -> [u8; KEY_RECORD_BYTES] {
        let mut out = [0; KEY_RECORD_BYTES];
        out[..16].copy_from_slice(&self.object);
        out[16..76].copy_from_slice(&self.wrapped);
        let crc = crc32c::crc32c(&out[..76]);
        out[76..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8; KEY_RECORD_BYTES]) -> Option<Self> {
        let crc = u32::from_be_bytes(std::array::from_fn(|i| bytes[76 + i]));
        (crc32c::crc32c(&bytes[..76]) == crc).then(|| Self {
            object: std::array::from_fn(|i| bytes[i]),
            wrapped: std::array::from_fn(|i| bytes[16 + i]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_one_wrong_byte_is_noticed() {
        let header = ObjectHeader {
            kind: Kind::Manifest,
            object: [3; 16],
            plain_bytes: 4,
            body_bytes: 5,
            body_crc: 6,
        };
        assert_eq!(ObjectHeader::from_bytes(&header.to_bytes()), Some(header));
        for at in 0..OBJECT_HEADER_BYTES {
            let mut bytes = header.to_bytes();
            bytes[at] ^= 1;
            assert_eq!(ObjectHeader::from_bytes(&bytes), None, "byte {at}");
        }
        let key = KeyRecord { object: [1; 16], wrapped: [2; WRAPPED_KEY_BYTES] };
        assert_eq!(KeyRecord::from_bytes(&key.to_bytes()), Some(key));
        assert!(FileKind::Pack.is_header(&FileKind::Pack.header(7), 7));
        assert!(!FileKind::Keys.is_header(&FileKind::Pack.header(7), 7));
    }
}
