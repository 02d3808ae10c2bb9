//! The recording proxy from outside: clients and servers of others, the gateway between them, and what it recorded.
//!
//! | file | what |
//! |---|---|
//! | `sending`, `smtp_session` | every client that sends, to Postfix and Exim; extensions, refusals, several messages |
//! | `fetching`, `pop3_session` | every client that fetches, from Dovecot; deletion, doubles, capabilities, tokens |
//! | `recording_fails` | what a POP3 client gets of a message that cannot be recorded |
//! | `ways_in` | every way to name a server and to log in, seen from the server |
//! | `logins` | what is wrong with a login, in the protocol's own words |
//! | `limits` | sessions of an account, silence, servers that say "not now", guesses |
//! | `watching` | metrics and logs: accounts, never secrets |
//! | `longest` | a message of 150 MB, both ways, and the gateway's memory |
//! | `scripted` | a server of our own under TLS that does as it is told |
//! | `outcomes` | what a server may do to a message, what the client is told, and what copy stays |
//! | `killed` | SIGKILL at each step between a copy prepared and a copy committed |
//! | `fetching_killed` | what is known of fetched messages behind a kill and a restart |
//! | `broken_pop3` | a POP3 server that closes amid a message, or is not what it was |
//! | `hostile` | EAST's servers |
//! | `consent` | an account bound at a real OAuth provider, used by clients that know passwords only |
//!
//! `proxy test` and the way to servers are tested in `proxy_upstream.rs`, consent in `oauth.rs`.

#![expect(clippy::disallowed_methods, reason = "tests stand outside the programs")]

mod broken_pop3;
mod consent;
mod fetching;
mod fetching_killed;
mod hostile;
mod killed;
mod limits;
mod logins;
mod longest;
mod outcomes;
mod pop3_session;
mod recording_fails;
mod scripted;
mod sending;
mod smtp_session;
mod watching;
mod ways_in;

use postern_tests::foreign::has;
use postern_tests::messages;

/// Whether all are installed; says so when they are not.
fn all(programs: &[&str]) -> bool {
    programs.iter().all(|program| has(program))
}

/// A message with a lone dot, leading dots and octets beyond ASCII.
fn awkward(number: usize) -> Vec<u8> {
    let body = format!(".\r\n..\r\n.leading\r\n\r\nGrüße number {number}\r\n%FROM% {}", "x".repeat(500));
    messages::plain(number, "anna@mail.test", "bob@mail.test", "awkward", &body)
}

/// The same, too long for the gateway to hold: it is streamed while it is recorded.
fn long(number: usize) -> Vec<u8> {
    let lines = ("x".repeat(70) + "\r\n..\r\n.").repeat(6_000);
    let body = format!(".\r\n..\r\n.leading\r\n\r\nGrüße number {number}\r\n{lines}");
    messages::plain(number, "anna@mail.test", "bob@mail.test", "long and awkward", &body)
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}
