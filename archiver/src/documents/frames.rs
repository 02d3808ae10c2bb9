//! What goes over the socket between archiver and worker. Integers are big-endian.
//!
//! ```text
//! question = length (4), name, length (4), octets
//! answer   = length (4), text, length (4), why not all of it
//! ```

use std::io::{self, Read, Write};

/// Of a name and of a reason.
const NAME_BYTES_MAX: usize = 64 * 1024;
/// Of a document; more is not sent.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of an answer's text.
pub(super) const TEXT_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn ask(to: &mut impl Write, name: &str, octets: &[u8]) -> io::Result<()> {
    let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
    write_piece(to, name.as_bytes())?;
    write_piece(to, octets)?;
    to.flush()
}

/// The next question; `None` when there will be none, or none came for as long as reading waits.
pub(super) fn question(from: &mut impl Read) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut length = [0; 4];
    match from.read(&mut length[..1]) {
        Ok(0) => return Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            return Ok(None);
        }
        read => read?,
    };
    from.read_exact(&mut length[1..])?;
    let name = read_piece(from, length, NAME_BYTES_MAX)?;
    from.read_exact(&mut length)?;
    let octets = read_piece(from, length, DOCUMENT_BYTES_MAX)?;
    Ok(Some((String::from_utf8_lossy(&name).into_owned(), octets)))
}

pub(super) fn answer(to: &mut impl Write, text: &str, why: &str) -> io::Result<()> {
    write_piece(to, &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)])?;
    write_piece(to, &why.as_bytes()[..why.floor_char_boundary(NAME_BYTES_MAX)])?;
    to.flush()
}

/// Text, and why it is not all; empty: it is.
pub(super) fn answered(from: &mut impl Read) -> io::Result<(String, String)> {
    let mut piece = |max| {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let octets = read_piece(from, length, max)?;
        String::from_utf8(octets).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    };
    Ok((piece(TEXT_BYTES_MAX)?, piece(NAME_BYTES_MAX)?))
}

fn write_piece(to: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    let length = u32::try_from(octets.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(octets)
}

fn read_piece(from: &mut impl Read, length: [u8; 4], max: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut octets = vec![0; length];
    from.read_exact(&mut octets)?;
    Ok(octets)
}
