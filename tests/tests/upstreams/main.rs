//! The servers that the proxy is tested with, asked directly by clients of others: so that a broken server is told from a
//! broken proxy. Every client is run against a server of each kind it talks to.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod certificates;
mod dovecot;
mod east;
mod exim;
mod postfix;

use postern_tests::foreign::has;
use postern_tests::messages;

/// What users of the proxy look like, so that each client is seen to carry such a name.
const USER: &str = "anna%b@mail.test";
const PASSWORD: &str = "s3cret pass%word";

/// Whether all are installed; says so when they are not.
fn all(programs: &[&str]) -> bool {
    programs.iter().all(|program| has(program))
}

/// A message with a lone dot, leading dots and octets beyond ASCII.
fn awkward(number: usize) -> Vec<u8> {
    let body = format!(".\r\n..\r\n.leading\r\n\r\nGrüße number {number}\r\n%FROM% {}", "x".repeat(500));
    messages::plain(number, "anna@mail.test", "bob@mail.test", "awkward", &body)
}
