use anyhow::{Context, Result};
use postern_tests::console::Page;

use crate::{Probe, console, raw};

/// "The directory above", as different layers of a server have read it.
const UP: [&str; 9] =
    ["..", "%2e%2e", ".%2e", "%252e%252e", "..;", "....", "%c0%ae%c0%ae", "..%00", "%ef%bc%8e%ef%bc%8e"];
const SEPARATORS: [&str; 6] = ["/", "%2f", "%252f", "\\", "%5c", "%c0%af"];
const WAYS_IN: [&str; 4] = ["/", "/assets/", "/api/v1/mailboxes/", "/mailboxes/mbx-1/"];

/// Goal: no path leads to a file that is not a page.
/// Method: the gateway's own configuration, by its absolute path behind twelve steps up, in every spelling.
#[test]
fn no_spelling_of_a_path_leads_to_a_file() -> Result<()> {
    let (gateway, _) = console("")?;
    let address = gateway.address("console")?;
    let file = gateway.config_file();
    let file = file.to_str().context("no UTF-8")?.trim_start_matches('/').to_owned();
    let inside = "email_domain =";
    assert!(std::fs::read_to_string(gateway.config_file())?.contains(inside));
    for way in WAYS_IN {
        for up in UP {
            for separator in SEPARATORS {
                let steps = format!("{up}{separator}").repeat(12);
                let target = format!("{way}{steps}{}", file.replace('/', separator));
                let said = raw(address, &Probe::new("GET", &target).octets())?;
                assert!(!said.contains(inside), "{target}: {said}");
                let status = said.split(' ').nth(1).unwrap_or_default();
                assert!(["200", "400", "401", "404"].contains(&status), "{target}: {said}");
                // The application itself, which knows no files; never for a path of the API.
                let is_page = said.contains("text/html");
                assert_eq!(status == "200", is_page, "{target}: {said}");
                assert!(!(is_page && way.starts_with("/api/")), "{target}: {said}");
            }
        }
    }
    Ok(())
}

/// Goal: what lies beside pages on other servers is not there, and no directory is listed.
#[test]
fn only_pages_are_served() -> Result<()> {
    let (gateway, _) = console("")?;
    let address = gateway.address("console")?;
    let application = Probe::new("GET", "/").send(address)?;
    for target in [
        "/.git/config",
        "/.env",
        "/assets/.DS_Store",
        "/config.toml",
        "/gateway.toml.bak",
        "/console/administrators.json",
        "/console/audit.jsonl",
        "/index.html.gz",
        "/assets/app.js.map",
        "//localhost/config.toml",
        "/%2e/config.toml",
        "/assets/app.js%00.html",
    ] {
        let page = Probe::new("GET", target).send(address)?;
        let is_missing = (page.status, page.problem()) == (404, "not-found");
        // What looks like a page's address is the application, which says itself that it has no such page.
        assert!(is_missing || same(&page, &application), "{target}: {page:?}");
    }
    for target in ["/assets/", "/assets", "/api/v1/", "/api"] {
        let said = raw(address, &Probe::new("GET", target).octets())?;
        assert!(!said.contains("Index of") && !said.contains("href=\"../"), "{target}: {said}");
    }
    Ok(())
}

/// But for the nonce, which has always the same length.
fn same(page: &Page, other: &Page) -> bool {
    let length = |page: &Page| page.body.as_str().map(str::len);
    let kind = |page: &Page| page.header("content-type").map(str::to_owned);
    page.status == other.status && kind(page) == kind(other) && length(page) == length(other)
}
