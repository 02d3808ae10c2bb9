//! What the documents say of the sources is so.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Goal: `docs/reliability.md` names tests that exist, where it says.
/// Method: each row of its tables that ends with a file: every name in its middle is a test function of that file.
#[test]
fn every_test_that_the_page_names_exists() -> Result<()> {
    let named = named_tests("docs/reliability.md")?;
    ensure!(named > 40, "only {named} names were found: is the page still a table?");
    Ok(())
}

/// Goal and method: the same for `docs/security.md`, where a file may also be one of the pages' own tests.
#[test]
fn every_test_that_the_security_page_names_exists() -> Result<()> {
    let named = named_tests("docs/security.md")?;
    ensure!(named > 90, "only {named} names were found: is the page still a table?");
    // Beside the tables tests stand without their file.
    let sources = ["tests/tests", "gateway/src/console", "gateway/src/login"];
    let mut all = String::new();
    for dir in sources {
        read_all(&root().join(dir), &mut all)?;
    }
    let page = page("docs/security.md")?;
    let outside = page.lines().filter(|line| !line.starts_with('|')).collect::<Vec<_>>().join("\n");
    for name in outside.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)) {
        ensure!(all.contains(&format!("fn {name}()")), "there is no test {name}");
    }
    Ok(())
}

/// The items of OWASP ASVS 4.0.3 up to level 2: a section, and which of its numbers. What the standard has deleted or keeps for
/// level 3 is left out.
const ITEMS: &str = "1.1:1-7 1.2:1-4 1.4:1,4,5 1.5:1-4 1.6:1-4 1.7:1-2 1.8:1-2 1.9:1-2 1.10:1 1.11:1-2 1.12:2 1.14:1-6 \
    2.1:1-12 2.2:1-3 2.3:1-3 2.4:1-6 2.5:1-7 2.6:1-3 2.7:1-6 2.8:1-7 2.9:1-3 2.10:1-4 \
    3.1:1 3.2:1-4 3.3:1-4 3.4:1-5 3.5:1-3 3.7:1 4.1:1-3,5 4.2:1-2 4.3:1-3 \
    5.1:1-5 5.2:1-8 5.3:1-10 5.4:1-3 5.5:1-4 6.1:1-3 6.2:1-6 6.3:1-2 6.4:1-2 \
    7.1:1-4 7.2:1-2 7.3:1,3,4 7.4:1-3 8.1:1-4 8.2:1-3 8.3:1-8 9.1:1-3 9.2:1-4 10.2:1-2 10.3:1-3 11.1:1-8 \
    12.1:1-3 12.2:1 12.3:1-6 12.4:1-2 12.5:1-2 12.6:1 13.1:1,3-5 13.2:1-3,5,6 13.3:1-2 13.4:1-2 \
    14.1:1-4 14.2:1-6 14.3:2-3 14.4:1-7 14.5:1-4";

/// Goal: `docs/security.md` judges every item of the standard, once, and makes none up.
/// Method: the numbers that a table's row begins with, and those that stand in bold.
#[test]
fn every_item_of_the_standard_is_judged_once() -> Result<()> {
    let mut expected = Vec::new();
    for section in ITEMS.split_whitespace() {
        let (section, numbers) = section.split_once(':').context("a section without numbers")?;
        for range in numbers.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            expected
                .extend((first.parse()?..=last.parse::<u32>()?).map(|number| format!("{section}.{number}")));
        }
    }
    let mut judged = Vec::new();
    for line in page("docs/security.md")?.lines() {
        if let Some(row) = line.strip_prefix("| ") {
            judged.extend(leading_items(row));
        } else {
            judged.extend(line.split("**").skip(1).step_by(2).flat_map(leading_items));
        }
    }
    let missing: Vec<&String> = expected.iter().filter(|item| !judged.contains(item)).collect();
    ensure!(missing.is_empty(), "not judged: {missing:?}");
    for item in &judged {
        ensure!(expected.contains(item), "the standard has no {item} up to level 2");
        ensure!(judged.iter().filter(|other| *other == item).count() == 1, "{item} is judged twice");
    }
    Ok(())
}

/// `1.2.3, 4.5.6` at the beginning of a text.
fn leading_items(text: &str) -> Vec<String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let is_item = |word: &&str| {
        word.split('.').count() == 3 && word.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.')
    };
    words.take_while(is_item).map(str::to_owned).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> Result<String> {
    std::fs::read_to_string(root().join(name)).with_context(|| name.to_owned())
}

/// Names of ours have several words in small letters; keys of settings have two or three at most.
fn is_test_name(name: &str) -> bool {
    name.matches('_').count() > 3
        && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_' || octet.is_ascii_digit())
}

fn read_all(dir: &Path, into: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, into)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// How many tests the tables of a page name, all of them where it says.
fn named_tests(name: &str) -> Result<usize> {
    let mut named = 0;
    let mut tables_of_tests = false;
    for row in page(name)?.lines() {
        if !row.starts_with('|') {
            tables_of_tests = false;
            continue;
        }
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, tests, file] = cells[..] else { anyhow::bail!("not three cells: {row}") };
        if file == "in" {
            tables_of_tests = true;
        }
        if !tables_of_tests || file == "in" || row.contains("---") {
            continue;
        }
        let file = file.trim_matches('`');
        let source =
            std::fs::read_to_string(root().join(file)).with_context(|| format!("{file}, in: {row}"))?;
        // What stands between backquotes: every second piece.
        for name in tests.split('`').skip(1).step_by(2) {
            if file.ends_with(".ts") {
                ensure!(source.contains(&format!("it('{name}'")), "no test '{name}' in {file}");
            } else {
                is_a_test(&source, name).with_context(|| file.to_owned())?;
            }
            named += 1;
        }
    }
    Ok(named)
}

fn is_a_test(source: &str, name: &str) -> Result<()> {
    let function = format!("fn {name}()");
    let at = source.find(&function).with_context(|| format!("there is no {function}"))?;
    let head = source[..at].trim_end();
    let before =
        head.strip_suffix("async").unwrap_or(head).trim_end().lines().next_back().unwrap_or_default();
    let before = before.trim();
    let is_marked = before == "#[test]" || before.starts_with("#[tokio::test");
    ensure!(is_marked, "{name} is no test: {before:?} stands before it");
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
