//! A password from whoever runs a command: from a file, from a pipe, or typed without being shown.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use postern_shared::disk::{Disk, RealDisk};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Access tokens take a few thousand.
const OCTETS_MAX: u64 = 16 * 1024;

/// The first line of `file`, or of standard input; `None` when it is empty. A terminal is asked with `prompt`.
pub(super) fn read(file: Option<&Path>, prompt: &str) -> Result<Option<SecretString>> {
    let text = match file {
        Some(path) => {
            let bytes =
                RealDisk.read(path, OCTETS_MAX).with_context(|| format!("cannot read {}", path.display()))?;
            Zeroizing::new(
                String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?,
            )
        }
        None => typed(prompt).context("cannot read a password from standard input")?,
    };
    Ok(text.lines().next().filter(|line| !line.is_empty()).map(SecretString::from))
}

fn typed(prompt: &str) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let _silent = if stdin.is_terminal() {
        write!(io::stderr(), "{prompt}: ")?;
        Some(Silent::begin()?)
    } else {
        None
    };
    let mut line = Zeroizing::new(String::with_capacity(1024));
    stdin.lock().take(OCTETS_MAX).read_line(&mut line)?;
    Ok(line)
}

/// A terminal that does not show what is typed, until dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // There is nobody to tell if the terminal has gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        eprintln!();
    }
}

#[cfg(test)]
mod tests {
    use postern_shared::disk::write_atomic;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for (text, expected) in
            [("geheim\n", Some("geheim")), ("a b\r\nc", Some("a b")), ("", None), ("\n", None)]
        {
            write_atomic(&RealDisk, &path, text.as_bytes()).unwrap();
            let found = read(Some(&path), "").unwrap();
            assert_eq!(found.as_ref().map(|password| password.expose_secret()), expected);
        }
        assert!(read(Some(&dir.path().join("none")), "").unwrap_err().to_string().contains("cannot read"));
    }
}
