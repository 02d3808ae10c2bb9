//! What is fuzzed: one function for each decoder and each session, taking octets and panicking when a promise is broken.
//!
//! cargo-fuzz calls them from `tests/fuzz`; `tests/tests/fuzz.rs` calls them on stable with [`Rounds`]: the same octets in
//! every run. Each target says above its function what it holds the code to.
//!
//! Not here: what a whole process does with hostile input (`tests/tests/hostile_wire.rs`).

mod ews;
mod files;
mod imap;
mod mime;
mod mutate;
mod octets;
mod pop3;
mod pop3_relay;
mod pop3_session;
mod proxy;
mod sealed;
mod smtp;
mod smtp_relay;
mod smtp_session;

pub use mutate::Rounds;

/// An entry point.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As its file in `tests/fuzz/fuzz_targets` is called.
    pub name: &'static str,
    /// What takes the octets.
    pub run: fn(&[u8]),
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How often it runs in `make test`; fewer where a round touches files or public keys.
    pub rounds: u64,
}

/// All of them.
pub const TARGETS: [Target; 25] = [
    target("smtp_command", smtp::command, smtp::command_seeds, 30_000),
    target("smtp_data", smtp::data, smtp::content_seeds, 20_000),
    target("smtp_chunks", smtp::chunks, smtp::content_seeds, 20_000),
    target("smtp_answer", proxy::answer, proxy::answer_seeds, 20_000),
    target("smtp_session", smtp_session::run, smtp_session::seeds, 10_000),
    target("smtp_relay", smtp_relay::run, smtp_relay::seeds, 10_000),
    target("pop3_command", pop3::command, pop3::command_seeds, 30_000),
    target("pop3_reply", pop3::reply, pop3::reply_seeds, 30_000),
    target("pop3_content", pop3::content, smtp::content_seeds, 20_000),
    target("pop3_client", pop3::client, pop3::client_seeds, 10_000),
    target("pop3_session", pop3_session::run, pop3_session::seeds, 10_000),
    target("pop3_relay", pop3_relay::run, pop3_relay::seeds, 10_000),
    target("imap_response", imap::response, imap::response_seeds, 20_000),
    target("imap_session", imap::session, imap::session_seeds, 10_000),
    target("ews_answer", ews::answer, ews::answer_seeds, 10_000),
    target("ntlm_challenge", ews::ntlm, ews::ntlm_seeds, 10_000),
    target("proxy_login", proxy::login, proxy::login_seeds, 20_000),
    target("sasl_plain", pop3::sasl_plain, pop3::sasl_seeds, 20_000),
    target("mime_message", mime::message, mime::seeds, 5_000),
    target("journal_report", mime::report, mime::seeds, 5_000),
    target("trace_fields", mime::trace, mime::trace_seeds, 10_000),
    target("seal_header", sealed::header, sealed::seeds, 5_000),
    target("sealed_message", sealed::message, sealed::seeds, 500),
    target("spool", sealed::spool, sealed::spool_seeds, 150),
    target("settings", files::settings, files::seeds, 3_000),
];

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>, rounds: u64) -> Target {
    Target { name, run, seeds, rounds }
}

/// The target of that name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
