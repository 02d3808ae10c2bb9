//! What the documents say of the sources is so.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Goal: `docs/reliability.md` names tests that exist, where it says.
/// Method: each row of its tables that ends with a file: every name in its middle is a test function of that file.
#[test]
fn every_test_that_the_page_names_exists() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/reliability.md"))?;
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with('|') && !line.contains("---")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, tests, file] = cells[..] else { anyhow::bail!("not three cells: {row}") };
        if file == "in" {
            continue;
        }
        let file = file.trim_matches('`');
        let source =
            std::fs::read_to_string(root.join(file)).with_context(|| format!("{file}, in: {row}"))?;
        // What stands between backquotes: every second piece.
        for name in tests.split('`').skip(1).step_by(2) {
            let function = format!("fn {name}()");
            let at = source.find(&function).with_context(|| format!("no {function} in {file}"))?;
            let head = source[..at].trim_end();
            let before =
                head.strip_suffix("async").unwrap_or(head).trim_end().lines().next_back().unwrap_or_default();
            ensure!(
                matches!(before.trim(), "#[test]" | "#[tokio::test]"),
                "{name} in {file} is no test: {before:?} stands before it"
            );
            named += 1;
        }
    }
    ensure!(named > 40, "only {named} names were found: is the page still a table?");
    Ok(())
}

/// All of the programs' sources as one text, their string literals in one piece each.
fn sources(root: &Path) -> Result<String> {
    let (mut text, mut left) = (String::new(), vec![root.join("gateway/src"), root.join("shared/src")]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path)?;
                source.split("\\\n").for_each(|piece| text.push_str(piece.trim_start()));
            }
        }
    }
    Ok(text)
}

/// Goal: what `docs/troubleshooting.md` quotes is what the program says.
/// Method: the first cell of each row; what stands between backquotes, in pieces where the page leaves something out, is
/// somewhere in the sources. Short pieces are left out: ports, codes.
#[test]
fn every_error_that_the_page_quotes_is_said() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (page, sources) = (std::fs::read_to_string(root.join("docs/troubleshooting.md"))?, sources(&root)?);
    // What others say: the system, TLS.
    const FOREIGN: [&str; 4] =
        ["Permission denied", "No space left on device", "Connection refused", "line "];
    let mut quoted = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.contains("---")) {
        let first = row.trim_start_matches('|').split(" | ").next().unwrap_or_default();
        for said in first.split('`').skip(1).step_by(2) {
            let pieces = FOREIGN.iter().fold(said.to_owned(), |said, foreign| said.replace(foreign, "…"));
            for piece in pieces.split('…').map(|piece| piece.trim_matches([' ', ':', '(', ')', ';'])) {
                // A reply's code and its text are apart in the sources.
                let piece = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
                let piece = piece.strip_prefix("-ERR").unwrap_or(piece).trim();
                let piece = piece.strip_prefix("[SYS/TEMP]").unwrap_or(piece).trim();
                if piece.len() < 8 {
                    continue;
                }
                quoted += 1;
                ensure!(sources.contains(piece), "nothing says {piece:?}: {row}");
            }
        }
    }
    ensure!(quoted > 30, "only {quoted} quotations were found");
    Ok(())
}

/// A heading as links know it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Goal: no page leads nowhere.
#[test]
fn every_link_between_pages_leads_somewhere() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    for entry in std::fs::read_dir(root.join("docs"))? {
        pages.extend(Some(entry?.path()).filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            ensure!(target.exists(), "{link} in {} leads nowhere", page.display());
            if fragment.is_empty() {
                continue;
            }
            let target = std::fs::read_to_string(&target)?;
            let mut headings = target.lines().filter_map(|line| line.strip_prefix('#'));
            let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == fragment);
            ensure!(is_there, "{link} in {}: there is no such heading", page.display());
        }
    }
    ensure!(links > 20, "only {links} links were found");
    Ok(())
}
