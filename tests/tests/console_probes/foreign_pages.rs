use anyhow::{Result, ensure};

use crate::{Probe, console, operations, state};

/// What a browser says of a request that another page makes, or leaves out; a form can choose neither.
const FOREIGN: [&[(&str, &str)]; 9] = [
    &[],
    &[("X-Postern-Console", "0")],
    &[("X-Postern-Console", "1"), ("Origin", "https://evil.example")],
    &[("X-Postern-Console", "1"), ("Origin", "http://localhost")],
    &[("X-Postern-Console", "1"), ("Origin", "https://localhost.evil.example")],
    &[("X-Postern-Console", "1"), ("Origin", "https://localhost:1")],
    &[("X-Postern-Console", "1"), ("Origin", "null")],
    &[("X-Postern-Console", "1"), ("Sec-Fetch-Site", "cross-site")],
    &[("X-Postern-Console", "1"), ("Sec-Fetch-Site", "same-site")],
];

/// Goal: a page of somebody else can change nothing, with the cookie of an administrator or without one.
/// Method: every operation of the document that is no GET, as JSON and as what a form can send.
#[test]
fn foreign_pages_change_nothing() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let cookie = admin.cookie.clone();
    let before = state(&mut admin)?;
    for (method, path, _) in operations(&mut admin)? {
        if method == "GET" {
            continue;
        }
        let target = path.replace("{id}", "mbx-00000000000000aa").replace("{name}", "admin");
        for foreign in FOREIGN {
            for kind in ["application/json", "text/plain"] {
                let mut probe = Probe { body: "{\"name\":\"x\"}", ..Probe::new(&method, &target) };
                probe = probe.with("Cookie", &cookie).with("Content-Type", kind);
                probe.headers.extend(foreign);
                let page = probe.send(address)?;
                let refused = (page.status, page.problem()) == (403, "foreign-origin");
                ensure!(refused, "{method} {path} with {foreign:?} as {kind}: {page:?}");
                ensure!(page.header("set-cookie").is_none(), "{method} {path}: a cookie");
            }
        }
    }
    ensure!(state(&mut admin)? == before, "something was changed");
    let log = gateway.log();
    ensure!(
        log.contains("foreign-origin") && !log.contains(cookie.as_str()),
        "it is told, without the cookie: {log}"
    );
    Ok(())
}

/// Goal: a foreign page that asks beforehand (CORS) is not let in, and no GET stands in for another method.
#[test]
fn no_other_origin_is_let_in_and_no_get_changes_anything() -> Result<()> {
    let (gateway, mut admin) = console("")?;
    let address = gateway.address("console")?;
    admin.first_sign_in()?;
    let cookie = admin.cookie.clone();
    let before = state(&mut admin)?;
    for origin in ["https://evil.example", "null", "https://localhost"] {
        for (method, target) in [("OPTIONS", "/api/v1/mailboxes"), ("GET", "/api/v1/mailboxes"), ("GET", "/")]
        {
            let page = Probe::new(method, target)
                .with("Cookie", &cookie)
                .with("Origin", origin)
                .with("Access-Control-Request-Method", "POST")
                .with("Access-Control-Request-Headers", "x-postern-console, content-type")
                .with("Access-Control-Request-Private-Network", "true")
                .send(address)?;
            let told = page.headers.iter().any(|line| line.starts_with("access-control-"));
            ensure!(!told, "{method} {target} from {origin}: {page:?}");
        }
    }
    for target in [
        "/api/v1/mailboxes?_method=POST&name=x",
        "/api/v1/restart?_method=POST",
        "/api/v1/session?_method=DELETE",
        "/api/v1/tokens?name=x&scopes=admin",
    ] {
        let page = Probe::new("GET", target)
            .own()
            .with("Cookie", &cookie)
            .with("X-HTTP-Method-Override", "POST")
            .with("X-Method-Override", "DELETE")
            .send(address)?;
        ensure!(page.status == 200 || page.problem() == "no-such-method", "{target}: {page:?}");
    }
    ensure!(state(&mut admin)? == before, "something was changed");
    ensure!(admin.ok("GET", "/api/v1/tokens", None)? == serde_json::json!([]), "a token was made");
    Ok(())
}
