//! Headers to bytes and back. The layout is drawn in the room's header and in docs/archive-format.md.

pub(super) const FILE_HEADER_BYTES: usize = 32;
pub(super) const OBJECT_HEADER_BYTES: usize = 48;
pub(super) const KEY_RECORD_BYTES: usize = 64;
pub(super) const WRAPPED_KEY_BYTES: usize = 60;
pub(super) const OBJECT_MAGIC: &[u8; 4] = b"PAO2";
/// No object is longer: the longest message and what compression can add.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// A store's own random number, which its files carry, so that those of two stores cannot be mixed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(in crate::archive) struct StoreUid(#[serde(with = "hex::serde")] pub(in crate::archive) [u8; 8]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Pack,
    Keys,
}

impl FileKind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Pack => b"PSTNPAK2",
            Self::Keys => b"PSTNKEY2",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Keys => "keys",
        }
    }

    pub(super) fn file_name(self, number: u64) -> String {
        format!("{number:016x}.{}", self.extension())
    }

    pub(super) fn number_of(self, path: &std::path::Path) -> Option<u64> {
        let digits = path.file_name()?.to_str()?.strip_suffix(self.extension())?.strip_suffix('.')?;
        let number = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        number.filter(|number| *number < NUMBER_MAX)
    }

    pub(super) fn header(self, number: u64, store: StoreUid) -> [u8; FILE_HEADER_BYTES] {
        let mut out = [0; FILE_HEADER_BYTES];
        out[..8].copy_from_slice(self.magic());
        out[8..16].copy_from_slice(&number.to_be_bytes());
        out[16..24].copy_from_slice(&store.0);
        let crc = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Whether it is a whole header, whosever.
    pub(super) fn is_any_header(self, bytes: &[u8; FILE_HEADER_BYTES]) -> bool {
        bytes[..8] == *self.magic() && crc32c::crc32c(&bytes[..28]).to_be_bytes() == bytes[28..]
    }

    pub(super) fn is_header(self, bytes: &[u8; FILE_HEADER_BYTES], number: u64, store: StoreUid) -> bool {
        *bytes == self.header(number, store)
    }
}

/// No number is as high: what says so is altered, or was never written by this program.
const NUMBER_MAX: u64 = 1 << 62;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) enum Kind {
    /// Octets of messages, stored once.
    Part,
    /// A message: what it is made of, and its own octets.
    Message,
    /// A further arrival of a message.
    Addition,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Part, Self::Message, Self::Addition];

    fn code(self) -> u8 {
        match self {
            Self::Part => 1,
            Self::Message => 2,
            Self::Addition => 3,
        }
    }
}

/// How an object's octets are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Zstd,
    /// With the dictionary that is part of the format.
    ZstdDictionary,
}

impl Compression {
    const ALL: [Self; 2] = [Self::Zstd, Self::ZstdDictionary];

    fn code(self) -> u8 {
        match self {
            Self::Zstd => 1,
            Self::ZstdDictionary => 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct ObjectHeader {
    pub(in crate::archive) kind: Kind,
    pub(super) compression: Compression,
    /// Whether it is the first one of those that were written and synced together.
    pub(super) first: bool,
    /// Grows by one; never given twice in a store.
    pub(in crate::archive) number: u64,
    /// The key slot of the message that it belongs to; 0 for a part.
    pub(in crate::archive) slot: u64,
    pub(in crate::archive) plain_bytes: u64,
    pub(super) body_bytes: u64,
    pub(super) body_crc: u32,
}

impl ObjectHeader {
    pub(super) fn to_bytes(self) -> [u8; OBJECT_HEADER_BYTES] {
        let mut out = [0; OBJECT_HEADER_BYTES];
        out[..32].copy_from_slice(&self.associated_data());
        out[6] = u8::from(self.first);
        out[32..40].copy_from_slice(&self.body_bytes.to_be_bytes());
        out[40..44].copy_from_slice(&self.body_crc.to_be_bytes());
        let crc = crc32c::crc32c(&out[..44]);
        out[44..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// What the body is authenticated with: everything that is known before it is sealed, and does not change when it is moved.
    pub(super) fn associated_data(self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..4].copy_from_slice(OBJECT_MAGIC);
        out[4] = self.kind.code();
        out[5] = self.compression.code();
        out[8..16].copy_from_slice(&self.number.to_be_bytes());
        out[16..24].copy_from_slice(&self.slot.to_be_bytes());
        out[24..32].copy_from_slice(&self.plain_bytes.to_be_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8; OBJECT_HEADER_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let is_header = &bytes[..4] == OBJECT_MAGIC && bytes[6] <= 1 && bytes[7] == 0;
        if !is_header || crc32c::crc32c(&bytes[..44]) != u32_at(44) {
            return None;
        }
        let header = Self {
            kind: Kind::ALL.into_iter().find(|kind| kind.code() == bytes[4])?,
            compression: Compression::ALL.into_iter().find(|way| way.code() == bytes[5])?,
            first: bytes[6] == 1,
            number: u64_at(8),
            slot: u64_at(16),
            plain_bytes: u64_at(24),
            body_bytes: u64_at(32),
            body_crc: u32_at(40),
        };
        let is_possible = header.number < NUMBER_MAX
            && header.slot < NUMBER_MAX
            && header.body_bytes <= BODY_BYTES_MAX
            && header.plain_bytes <= BODY_BYTES_MAX;
        is_possible.then_some(header)
    }

    pub(in crate::archive) fn record_bytes(&self) -> u64 {
        OBJECT_HEADER_BYTES as u64 + self.body_bytes
    }
}

/// A message's key, wrapped by the store key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRecord(pub(super) [u8; WRAPPED_KEY_BYTES]);

impl KeyRecord {
    pub(super) fn to_bytes(&self) -> [u8; KEY_RECORD_BYTES] {
        let mut out = [0; KEY_RECORD_BYTES];
        out[..WRAPPED_KEY_BYTES].copy_from_slice(&self.0);
        let crc = crc32c::crc32c(&self.0);
        out[WRAPPED_KEY_BYTES..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8; KEY_RECORD_BYTES]) -> Option<Self> {
        let (wrapped, crc) = bytes.split_first_chunk::<WRAPPED_KEY_BYTES>()?;
        (crc32c::crc32c(wrapped).to_be_bytes() == *crc).then_some(Self(*wrapped))
    }
}

/// Whether these octets of a key table are a key.
pub(in crate::archive) fn is_key_record(bytes: &[u8; KEY_RECORD_BYTES]) -> bool {
    KeyRecord::from_bytes(bytes).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_one_wrong_byte_is_noticed() {
        let header = ObjectHeader {
            kind: Kind::Message,
            compression: Compression::ZstdDictionary,
            first: true,
            number: 7,
            slot: 8,
            plain_bytes: 9,
            body_bytes: 30,
            body_crc: 5,
        };
        let bytes = header.to_bytes();
        assert_eq!(ObjectHeader::from_bytes(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut bent = bytes;
            bent[at] ^= 1;
            assert_eq!(ObjectHeader::from_bytes(&bent), None, "byte {at}");
        }
        let record = KeyRecord([3; WRAPPED_KEY_BYTES]);
        assert_eq!(KeyRecord::from_bytes(&record.to_bytes()), Some(record));
        assert_eq!(KeyRecord::from_bytes(&[0; KEY_RECORD_BYTES]), None, "a destroyed key");
    }

    #[test]
    fn file_names_carry_their_number() {
        let name = FileKind::Pack.file_name(0x1f);
        assert_eq!(name, "000000000000001f.pack");
        assert_eq!(FileKind::Pack.number_of(std::path::Path::new(&name)), Some(0x1f));
        assert_eq!(FileKind::Keys.number_of(std::path::Path::new(&name)), None);
        let header = FileKind::Pack.header(1, StoreUid([1; 8]));
        assert!(FileKind::Pack.is_header(&header, 1, StoreUid([1; 8])));
        assert!(!FileKind::Pack.is_header(&header, 1, StoreUid([2; 8])));
    }
}
