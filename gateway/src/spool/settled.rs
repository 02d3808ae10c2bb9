//! How far a segment can be copied while it is written to.

use std::io;

use postern_shared::disk::DiskFile;

use super::recover::{Scan, Scanned};

/// Looks that bring nothing new before octets that are no record are taken for what they are.
const LOOKS: u32 = 3;

/// How many octets of a segment that is perhaps being written to hold whole records: everything that was acknowledged before
/// the call lies in them, and what is being written meanwhile does not. What was damaged before stays among them.
pub fn settled_bytes(file: &dyn DiskFile) -> io::Result<u64> {
    let mut looks = 0;
    loop {
        match scan(file) {
            // What failed to be written was cut off meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && looks < LOOKS => looks += 1,
            scanned => return scanned,
        }
    }
}

fn scan(file: &dyn DiskFile) -> io::Result<u64> {
    let mut scan = Scan::new(file, file.len()?, true);
    let (mut stuck_at, mut looks) = (None, 0);
    loop {
        let (at, ends) = match scan.next()? {
            Scanned::Record(..) => continue,
            Scanned::End { at, rest: 0 } => return Ok(at),
            Scanned::End { at, .. } => (at, true),
            Scanned::Damage { from, .. } => (from, false),
        };
        // Records are written one behind the other: where one is seen behind what is none, that has been written meanwhile,
        // and is one at the next look.
        looks = if stuck_at == Some(at) { looks + 1 } else { 0 };
        stuck_at = Some(at);
        if looks < LOOKS {
            scan.go_back(at);
        } else if ends {
            return Ok(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use postern_shared::clock::UnixMillis;
    use postern_shared::crypto::seal::Sealed;
    use postern_shared::disk::{Disk, RealDisk};
    use postern_shared::id::{MailboxId, MessageId};

    use super::super::layout::{Kind, RecordHeader, SegmentHeader};
    use super::*;

    fn record(number: u8) -> Vec<u8> {
        let body = vec![number; 500];
        let sealed = Sealed { served_bytes: 400, trailer_bytes: 20 };
        let ids = (MailboxId::from_bytes([7; 8]), MessageId::from_bytes([number; 16]));
        let crc = crc32c::crc32c(&body);
        let header = RecordHeader::stored(Kind::Message, false, ids, UnixMillis(9), sealed, 500, crc);
        [&header.to_bytes()[..], &body].concat()
    }

    fn file(dir: &Path, name: &str, pieces: &[&[u8]]) -> Arc<dyn DiskFile> {
        let file = RealDisk.create(&dir.join(name)).unwrap();
        let header = SegmentHeader { number: 1, previous_bytes: 0 }.to_bytes();
        file.write_all_at(&[&header, &pieces.concat()], 0).unwrap();
        file
    }

    /// Goal: whole records count, with damage between them, and what is being written behind them does not.
    #[test]
    fn whole_records_count() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (record(1), record(2));
        let bytes = |name, pieces: &[&[u8]]| settled_bytes(&*file(dir.path(), name, pieces)).unwrap();
        let whole = 32 + 2 * one.len() as u64;
        assert_eq!(bytes("whole", &[&one, &two]), whole);
        assert_eq!(bytes("prepared", &[&one, &two, &[0; 5000]]), whole);
        assert_eq!(bytes("torn", &[&one, &two, &record(3)[..400], &[0; 900]]), whole);
        assert_eq!(bytes("damaged", &[&one, &[9; 50], &two, &[0; 900]]), whole + 50);
        assert_eq!(bytes("empty", &[]), 32);
    }
}
