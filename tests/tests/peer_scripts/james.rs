//! James' scripts ("MPT"): `C:` is a line the client sends, `S:` a line the server answers, as a regular expression.
//!
//! The lines of an EHLO reply tell what James offers, so of each reply only the code of its last line is compared.

use anyhow::{Context, Result, ensure};
use postern_tests::Wire;
use postern_tests::program::{NewMailbox, Program};

use super::Difference;

pub(super) fn run(
    gateway: &Program,
    mailbox: &NewMailbox,
    script: &str,
    differs: &[Difference],
) -> Result<()> {
    let sub = mailbox.address.replace('@', "+starttls=mydomain.tld@");
    let script = script.replace("bob@mydomain.tld", &mailbox.address).replace("starttls@mydomain.tld", &sub);
    let mut wire = Wire::connect(gateway.address("smtp")?, false)?;
    for (number, line) in script.lines().enumerate() {
        let place = || format!("line {}: {line}", number + 1);
        // An empty line is sent as `C:` alone.
        if let Some(sent) = line.strip_prefix("C:") {
            let sent = super::unescaped(sent.strip_prefix(' ').unwrap_or(sent));
            wire.send(&[&sent[..], b"\r\n"].concat())?;
        } else if let Some(expected) = line.strip_prefix("S: ") {
            // Not the last of a reply: the first line of one to EHLO, or one that says so.
            if expected == "250.*" || expected.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            let code = last_code(&mut wire).with_context(place)?;
            let theirs = differs.iter().find(|Difference(theirs, ..)| *theirs == expected);
            let (wanted, why) =
                theirs.map_or((expected.to_owned(), ""), |Difference(_, ours, why)| (ours.to_string(), *why));
            ensure!(wanted.starts_with(&code), "{}: {code}; {why}", place());
        } else {
            ensure!(line.is_empty(), "{} is not understood", place());
        }
    }
    Ok(())
}

fn last_code(wire: &mut Wire) -> Result<String> {
    let mut line = wire.line()?;
    while line.as_bytes().get(3) == Some(&b'-') {
        line = wire.line()?;
    }
    Ok(line.chars().take(3).collect())
}
