//! What James' servers say in its IMAP scripts: the lines are regular expressions, made into what they match most simply.

use anyhow::{Context as _, Result};
use postern_shared::proto::imap::{Reader, Received, Response};
use postern_tests::foreign::corpus;

/// The text that a line of a script stands for; `None` when it is a pattern with more than one meaning.
fn literal(pattern: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next()? {
                'd' => text.push('7'),
                'r' | 'n' | 's' | 'w' | 'S' | 'p' | 'Q' | 'E' => return None,
                escaped => text.push(escaped),
            },
            // Anything, where anything may stand: in words for people.
            '.' if matches!(chars.peek(), Some('*' | '+')) => {
                let status = [" OK ", " NO ", " BAD "].iter().any(|word| text.contains(word));
                chars.next().filter(|_| status)?;
                text.push('x');
            }
            '[' | '(' | ')' | '|' | '?' | '*' | '+' | '{' | '}' | ']' | '^' | '$' => return None,
            char => text.push(char),
        }
    }
    Some(text)
}

/// The octets that follow a literal's announcement at the end of a line.
fn announced(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

/// Goal: every response of James' scripts that is plain text is read, in pieces of any size, and means the same.
#[test]
fn what_james_says_is_understood() -> Result<()> {
    let Some(corpus) = corpus() else { return Ok(()) };
    let dir =
        corpus.join("james-mpt/mpt/impl/imap-mailbox/core/src/main/resources/org/apache/james/imap/scripts");
    let (mut read, mut known) = (0, 0);
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "test") {
            continue;
        }
        let script = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let lines: Vec<Option<String>> = script
            .lines()
            .filter_map(|line| line.strip_prefix("S:"))
            .map(|line| literal(line.strip_prefix(' ').unwrap_or(line)))
            .collect();
        let mut at = 0;
        while at < lines.len() {
            let begun = at;
            at += 1;
            let Some(line) = &lines[begun] else { continue };
            if !line.starts_with("* ") && !line.starts_with(|char: char| char.is_ascii_alphanumeric()) {
                continue;
            }
            let mut wire = format!("{line}\r\n");
            // What a literal announces is taken from the lines that follow, as many octets as it says.
            let mut literal_ends = announced(line).map(|octets| wire.len() + octets);
            let mut whole = true;
            while let Some(end) = literal_ends {
                while whole && (wire.len() <= end || !wire.ends_with("\r\n")) && at < lines.len() {
                    match &lines[at] {
                        Some(more) => wire.push_str(&format!("{more}\r\n")),
                        None => whole = false,
                    }
                    at += 1;
                }
                whole &= wire.len() > end && wire.is_char_boundary(end);
                literal_ends = None;
                if whole {
                    let tail = wire[end..].trim_end().to_owned();
                    literal_ends = announced(&tail).map(|octets| wire.len() + octets);
                }
            }
            let status = ["OK", "NO", "BAD"].iter().any(|word| line.split(' ').nth(1) == Some(word));
            if !whole || (!line.starts_with("* ") && !status) {
                continue;
            }
            for step in [1, 7, wire.len()] {
                let found = responses(wire.as_bytes(), step)
                    .with_context(|| format!("{}: {wire:?}", path.display()))?;
                let one = found.first().with_context(|| format!("{}: {wire:?}", path.display()))?;
                known += usize::from(!matches!(one, Response::Other(_)) && step == 1);
            }
            read += 1;
        }
    }
    println!("{read} responses were read, {known} of them of a kind that is needed");
    assert!(read > 2000 && known > 1500, "{read} {known}");
    Ok(())
}

fn responses(wire: &[u8], step: usize) -> Result<Vec<Response>> {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    for piece in wire.chunks(step) {
        let mut rest = piece;
        loop {
            let (used, received) = reader.next(rest)?;
            rest = &rest[used..];
            match received {
                None => break,
                Some(Received::Line) => found.push(Response::parse(reader.line())?),
                Some(_) => {}
            }
        }
    }
    Ok(found)
}
