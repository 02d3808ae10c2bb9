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
