//! Media that fail in places: what can be read of them is.

use std::io;

use postern_shared::disk::DiskFile;

/// No disk loses less than a sector of this length at a time.
const SECTOR_BYTES: u64 = 4096;

/// Whether this place of a medium cannot be read, as against a machine that cannot read just now.
pub(in crate::archive) fn is_unreadable(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    /// A checksum of the file system's own does not fit.
    const EBADMSG: i32 = 74;
    /// "Structure needs cleaning".
    const EUCLEAN: i32 = 117;
    matches!(error.raw_os_error(), Some(EIO | EBADMSG | EUCLEAN))
}

/// Fills `buffer` from `offset`, with zeros for sectors that cannot be read. Why not, of the first of them.
pub(in crate::archive) fn read_around(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<Option<io::Error>> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => return Ok(None),
        Err(error) if is_unreadable(&error) => {}
        Err(error) => return Err(error),
    }
    let mut first = None;
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        let room = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).unwrap_or(1);
        let len = room.min(buffer.len() - done);
        let sector = &mut buffer[done..done + len];
        match file.read_exact_at(sector, at) {
            Ok(()) => {}
            Err(error) if is_unreadable(&error) => {
                sector.fill(0);
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
        done += len;
    }
    Ok(first)
}
