//! Objects: compressed, then sealed chunk by chunk, so that none need ever be in memory as a whole.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use postern_shared::crypto::aead::{AeadKey, NONCE_BYTES, TAG_BYTES};
use postern_shared::crypto::digest::hkdf_sha256;
use postern_shared::crypto::{SecretBytes, Wiped, random};
use postern_shared::disk::{Disk, DiskFile};
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::format::{Compression, Kind, ObjectHeader};
use super::pool::Pool;

/// Part of the format: never changed. Phrases that mail is made of, as raw content.
pub(in crate::archive) const DICTIONARY: &[u8] = include_bytes!("dictionary-1.txt");
/// Longer objects have phrases enough of their own.
const DICTIONARY_BYTES_MAX: usize = 32 * 1024;
/// What compresses short objects well costs little there; on longer ones it takes most of the time of archiving, for a twentieth of their
/// size (docs/performance.md).
const SHORT_BYTES_MAX: usize = 8 * 1024;
const SHORT_LEVEL: i32 = 7;
const LEVEL: i32 = 1;
/// Behind that there is enough to look for.
const MIDDLE_BYTES_MAX: usize = 128 * 1024;
const LARGE_LEVEL: i32 = 3;
/// Octets sealed under one tag.
const CHUNK_BYTES: usize = 256 * 1024;
/// An object longer than this is compressed as it is read, and waits for its place in a file.
pub(in crate::archive) const LONG_BYTES_MIN: u64 = 8 * 1024 * 1024;

static SHORT: Pool<Compressor<'static>> = Pool::new(|| {
    static ENCODER: LazyLock<EncoderDictionary<'static>> =
        LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, SHORT_LEVEL));
    Compressor::with_prepared_dictionary(&ENCODER)
});
static MIDDLE: Pool<Compressor<'static>> = Pool::new(|| {
    static ENCODER: LazyLock<EncoderDictionary<'static>> =
        LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
    Compressor::with_prepared_dictionary(&ENCODER)
});
static PLAIN: Pool<Compressor<'static>> = Pool::new(|| Compressor::new(LEVEL));
static LARGE: Pool<Compressor<'static>> = Pool::new(|| Compressor::new(LARGE_LEVEL));
static OPENED: Pool<Decompressor<'static>> = Pool::new(Decompressor::new);
static OPENED_SHORT: Pool<Decompressor<'static>> = Pool::new(|| {
    static DECODER: LazyLock<DecoderDictionary<'static>> =
        LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));
    Decompressor::with_prepared_dictionary(&DECODER)
});

/// An object sealed, without a place yet.
#[derive(Debug)]
pub(in crate::archive) struct Sealed {
    pub(super) header: ObjectHeader,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Memory(Vec<u8>),
    File(Waiting),
}

/// A file that is removed when it was copied to its place, or is not wanted any more.
#[derive(Debug)]
pub(super) struct Waiting {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    bytes: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // What is left behind is removed when the store is opened.
        let _ = self.disk.remove(&self.path);
    }
}

/// Which object it will be.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct Identity {
    pub(in crate::archive) kind: Kind,
    pub(in crate::archive) number: u64,
    pub(in crate::archive) slot: u64,
}

impl Sealed {
    /// Compresses and seals what is in memory.
    pub(in crate::archive) fn seal(identity: Identity, key: &SecretBytes, plain: &[u8]) -> io::Result<Self> {
        let compressors = [
            (SHORT_BYTES_MAX, &SHORT, Compression::ZstdDictionary),
            (DICTIONARY_BYTES_MAX, &MIDDLE, Compression::ZstdDictionary),
            (MIDDLE_BYTES_MAX, &PLAIN, Compression::Zstd),
        ];
        let fitting = compressors.into_iter().find(|(bytes_max, ..)| plain.len() <= *bytes_max);
        let (compressors, compression) = fitting
            .map_or((&LARGE, Compression::Zstd), |(_, compressors, compression)| (compressors, compression));
        let compressed = Wiped::from(compressors.with(|compressor| compressor.compress(plain))?);
        let header = begun(identity, compression, plain.len() as u64);
        let mut body =
            Vec::with_capacity(compressed.len() + TAG_BYTES * (1 + compressed.len() / CHUNK_BYTES));
        let mut chunks = Chunks::new(key, header);
        chunks.push(&compressed, &mut body)?;
        let header = chunks.finish(&mut body)?;
        Ok(Self { header, body: Body::Memory(body) })
    }

    /// Octets of it in memory.
    pub(in crate::archive) fn held_bytes(&self) -> u64 {
        match &self.body {
            Body::Memory(body) => body.len() as u64,
            Body::File(_) => 0,
        }
    }

    /// Compresses and seals what `feed` writes, `plain_bytes` in all, into a file beside the packs.
    pub(in crate::archive) fn seal_long(
        identity: Identity,
        key: &SecretBytes,
        plain_bytes: u64,
        place: (&Arc<dyn Disk>, &std::path::Path),
        feed: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (disk, dir) = place;
        let path = dir.join(format!("{}.{WAITING}", hex::encode(random::<8>())));
        let file = disk.create(&path)?;
        let mut waiting = Waiting { disk: Arc::clone(disk), path, file, bytes: 0 };
        let header = begun(identity, Compression::Zstd, plain_bytes);
        let into = IntoFile { chunks: Chunks::new(key, header), waiting: &mut waiting };
        let mut encoder = zstd::stream::write::Encoder::new(into, LARGE_LEVEL)?;
        encoder.set_pledged_src_size(Some(plain_bytes))?;
        feed(&mut encoder)?;
        let IntoFile { chunks, waiting: file } = encoder.finish()?;
        let header = chunks.finish(file)?;
        Ok(Self { header, body: Body::File(waiting) })
    }
}

/// What files that wait are called.
pub(super) const WAITING: &str = "waiting";

fn begun(identity: Identity, compression: Compression, plain_bytes: u64) -> ObjectHeader {
    let Identity { kind, number, slot } = identity;
    ObjectHeader { kind, compression, first: false, number, slot, plain_bytes, body_bytes: 0, body_crc: 0 }
}

impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(&[bytes], self.bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct IntoFile<'w> {
    chunks: Chunks,
    waiting: &'w mut Waiting,
}

impl Write for IntoFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunks.push(bytes, self.waiting)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seals compressed octets in chunks; the last one is marked, so none can be cut off.
struct Chunks {
    key: AeadKey,
    header: ObjectHeader,
    associated: [u8; 32],
    held: Wiped,
    count: u32,
}

impl Chunks {
    fn new(key: &SecretBytes, header: ObjectHeader) -> Self {
        let associated = header.associated_data();
        Self { key: AeadKey::new(key), header, associated, held: Wiped::default(), count: 0 }
    }

    fn push(&mut self, mut bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        while self.held.len() + bytes.len() > CHUNK_BYTES {
            let (now, later) = bytes.split_at(CHUNK_BYTES - self.held.len());
            self.held.extend_from_slice(now);
            self.emit(false, out)?;
            bytes = later;
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    fn emit(&mut self, is_last: bool, out: &mut dyn Write) -> io::Result<()> {
        let tag = self.key.seal(nonce(self.count, is_last), &self.associated, &mut self.held);
        self.count = self.count.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        for bytes in [&self.held[..], &tag] {
            self.header.body_crc = crc32c::crc32c_append(self.header.body_crc, bytes);
            self.header.body_bytes += bytes.len() as u64;
            out.write_all(bytes)?;
        }
        self.held.clear();
        Ok(())
    }

    fn finish(mut self, out: &mut dyn Write) -> io::Result<ObjectHeader> {
        self.emit(true, out)?;
        Ok(self.header)
    }
}

/// Each key seals one object only, so the chunk's number is enough.
fn nonce(chunk: u32, is_last: bool) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[7..11].copy_from_slice(&chunk.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce
}

/// The key of an object that belongs to a message.
pub(in crate::archive) fn own_key(message_key: &SecretBytes, number: u64) -> SecretBytes {
    hkdf_sha256::<32>(&**message_key, &[b"postern object v2", &number.to_be_bytes()])
}

/// Why an object does not open.
pub(super) enum NotOpened {
    Damaged(&'static str),
    /// Reading it, or whoever takes its octets, failed.
    Io(io::Error),
}

impl From<io::Error> for NotOpened {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens an object's body, which `read` reads from an offset in it, and hands its octets on.
pub(super) fn open(
    header: ObjectHeader,
    key: &SecretBytes,
    read: impl Fn(&mut [u8], u64) -> io::Result<()>,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), NotOpened> {
    let key = AeadKey::new(key);
    let associated = header.associated_data();
    let chunk_bytes = (CHUNK_BYTES + TAG_BYTES) as u64;
    let chunk = |number: u64| -> Result<(Vec<u8>, bool), NotOpened> {
        let start = number * chunk_bytes;
        let is_last = header.body_bytes <= start + chunk_bytes;
        let len =
            usize::try_from(header.body_bytes - start).unwrap_or(usize::MAX).min(CHUNK_BYTES + TAG_BYTES);
        let mut bytes = vec![0; len];
        read(&mut bytes, start)?;
        let count = u32::try_from(number).map_err(|_| NotOpened::Damaged("impossible length"))?;
        let opened = key.open(nonce(count, is_last), &associated, &mut bytes);
        let len = opened.map_err(|_| NotOpened::Damaged("the object is altered"))?.len();
        bytes.truncate(len);
        Ok((bytes, is_last))
    };
    if header.plain_bytes <= LONG_BYTES_MIN {
        let (mut compressed, mut is_last) = chunk(0)?;
        for number in 1.. {
            if is_last {
                break;
            }
            let (next, last) = chunk(number)?;
            compressed.extend_from_slice(&next);
            is_last = last;
        }
        let plain = decompress(header, &compressed)?;
        return Ok(take(&plain)?);
    }
    let mut counted = Counted { take, bytes: 0, failed: None };
    let mut decoder = zstd::stream::write::Decoder::new(&mut counted)?;
    for number in 0.. {
        let (compressed, is_last) = chunk(number)?;
        let written =
            decoder.write_all(&compressed).and_then(|()| if is_last { decoder.flush() } else { Ok(()) });
        if written.is_err() {
            drop(decoder);
            return Err(counted.failed.map_or(NotOpened::Damaged("it does not decompress"), NotOpened::Io));
        }
        if is_last {
            break;
        }
    }
    drop(decoder);
    if counted.bytes == header.plain_bytes {
        Ok(())
    } else {
        Err(NotOpened::Damaged("it has another length"))
    }
}

fn decompress(header: ObjectHeader, compressed: &[u8]) -> Result<Vec<u8>, NotOpened> {
    let plain_bytes =
        usize::try_from(header.plain_bytes).map_err(|_| NotOpened::Damaged("impossible length"))?;
    let decompressors = match header.compression {
        Compression::Zstd => &OPENED,
        Compression::ZstdDictionary => &OPENED_SHORT,
    };
    let decompressed = decompressors.with(|decompressor| decompressor.decompress(compressed, plain_bytes));
    let plain = decompressed.map_err(|_| NotOpened::Damaged("it does not decompress"))?;
    if plain.len() == plain_bytes { Ok(plain) } else { Err(NotOpened::Damaged("it has another length")) }
}

struct Counted<'t> {
    take: &'t mut dyn FnMut(&[u8]) -> io::Result<()>,
    bytes: u64,
    failed: Option<io::Error>,
}

impl Write for &mut Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        match (self.take)(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("whoever takes the octets failed"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
