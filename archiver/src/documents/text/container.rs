//! Zip files: Office documents are some, and the rest are looked into.

use std::io::{self, Cursor, Read};

use zip::ZipArchive;

use super::{Stop, Text, office, read_within};

/// Files in it that are looked at.
const FILES_MAX: usize = 1000;
/// Octets of one of them.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

pub(super) type Archive<'o> = ZipArchive<Cursor<&'o [u8]>>;

pub(super) fn read(octets: &[u8], text: &mut Text) -> Result<(), Stop> {
    let mut archive =
        ZipArchive::new(Cursor::new(octets)).map_err(|_| Stop::new("it is a broken zip file"))?;
    if archive.index_for_name("[Content_Types].xml").is_some() {
        return office::read_ooxml(&mut archive, text);
    }
    if archive.index_for_name("mimetype").is_some() && archive.index_for_name("content.xml").is_some() {
        return office::read_opendocument(&mut archive, text);
    }
    let files = archive.len();
    if files > FILES_MAX {
        text.miss(&format!("what is behind the first {FILES_MAX} of {files} files in it"));
    }
    for at in 0..files.min(FILES_MAX) {
        let Some(name) = name(&mut archive, at) else { continue };
        text.divide('\n')?;
        text.push(&name)?;
        text.divide('\n')?;
        match inflated(&mut archive, at, text) {
            Ok(inner) => read_within(&name, &inner, text),
            Err(Stop(why)) => text.miss(&format!("{name}: {why}")),
        }
    }
    Ok(())
}

/// The names of its files that `wanted` takes, in their order.
pub(super) fn names(archive: &mut Archive<'_>, wanted: impl Fn(&str) -> bool) -> Vec<(usize, String)> {
    let all = (0..archive.len().min(FILES_MAX)).filter_map(|at| Some((at, name(archive, at)?)));
    let mut names: Vec<(usize, String)> = all.filter(|(_, name)| wanted(name)).collect();
    // slide10 behind slide9.
    names.sort_by(|(_, one), (_, other)| (one.len(), one).cmp(&(other.len(), other)));
    names
}

fn name(archive: &mut Archive<'_>, at: usize) -> Option<String> {
    let file = archive.by_index_raw(at).ok()?;
    let name = file.name().ok()?.into_owned();
    file.is_file().then_some(name)
}

/// A file's octets.
pub(super) fn inflated(archive: &mut Archive<'_>, at: usize, text: &mut Text) -> Result<Vec<u8>, Stop> {
    let mut octets = Vec::new();
    with_file(archive, at, text, |file, _| {
        // The length that it claims means nothing.
        file.read_to_end(&mut octets).map_err(|error| broken(&error))?;
        Ok(())
    })?;
    Ok(octets)
}

fn broken(error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Stop::new("more comes out of it than is read"),
        _ => Stop::new("it is broken in its zip file"),
    }
}

/// Reads a file as a stream that ends with an error where the bounds are.
pub(super) fn with_file(
    archive: &mut Archive<'_>,
    at: usize,
    text: &mut Text,
    read: impl FnOnce(&mut dyn Read, &mut Text) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let file = archive.by_index(at).map_err(|error| match error {
        zip::result::ZipError::UnsupportedArchive(_) => {
            Stop::new("it is encrypted, or packed in a way that is not read")
        }
        _ => Stop::new("it is broken in its zip file"),
    })?;
    if file.encrypted() {
        return Err(Stop::new("it is encrypted"));
    }
    let bound = text.inflated_left.min(FILE_BYTES_MAX);
    let mut bounded = Bounded { inner: file, left: bound };
    let done = read(&mut bounded, text);
    text.inflated_left -= bound - bounded.left;
    done
}

struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..room])?;
        self.left -= read as u64;
        Ok(read)
    }
}
