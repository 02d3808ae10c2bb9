//! What a server took, read back from the maildir into which it delivers everything.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::crlf;

/// A message as a server took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The server's name for it.
    pub id: String,
    /// MAIL FROM, without brackets.
    pub from: String,
    /// Accepted RCPTs, without brackets, sorted.
    pub to: Vec<String>,
    /// As the client sent it, with CRLF lines.
    pub content: Vec<u8>,
}

/// The first header field: its name in small letters, its value unfolded, and what follows it.
pub(super) fn first_field(message: &[u8]) -> Option<(String, String, &[u8])> {
    let mut end = 0;
    loop {
        end += memchr::memchr(b'\n', &message[end..])? + 1;
        if !matches!(message.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    let (field, rest) = message.split_at(end);
    let text = String::from_utf8_lossy(field);
    let (name, value) = text.split_once(':')?;
    Some((name.to_lowercase(), value.split_whitespace().collect::<Vec<_>>().join(" "), rest))
}

/// The address in a field's value.
pub(super) fn bare(address: &str) -> String {
    address.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}

/// The files of a maildir in the order of their names, with CRLF lines.
pub(super) fn maildir(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let new = dir.join("new");
    if !new.exists() {
        return Ok(Vec::new());
    }
    let mut files = std::fs::read_dir(&new)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .with_context(|| new.display().to_string())?;
    files.sort();
    files.iter().map(|path| Ok(crlf(&std::fs::read(path)?))).collect()
}

/// Asks until there are that many.
pub(super) fn wait_for_messages(
    count: usize,
    log: impl Fn() -> String,
    there: impl Fn() -> Result<Vec<Received>>,
) -> Result<Vec<Received>> {
    let start = Instant::now();
    loop {
        let received = there()?;
        if received.len() >= count {
            return Ok(received);
        }
        let late = start.elapsed() > Duration::from_secs(60);
        ensure!(!late, "{} messages came, {count} were expected:\n{}", received.len(), log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::first_field;

    /// Goal: fields come apart as they are, folded ones unfolded, and content that has none is left alone.
    #[test]
    fn the_first_field_comes_off() {
        let message = b"Received: from a\r\n\tby b\r\n id 12\r\nSubject: x\r\n\r\nbody\r\n";
        let (name, value, rest) = first_field(message).unwrap();
        assert_eq!((name.as_str(), value.as_str()), ("received", "from a by b id 12"));
        assert_eq!(rest, b"Subject: x\r\n\r\nbody\r\n");
        assert_eq!(first_field(b"\r\nbody\r\n"), None);
        assert_eq!(first_field(b"no end: of line"), None);
    }
}
