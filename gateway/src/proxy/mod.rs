//! The recording proxy: between mail clients and their servers, keeping one copy of what passes.
//!
//! A client's user name says where it goes: `remote_user%target_server%mailbox_id` ([`route`]). The gateway logs in there
//! with the client's own password or token, relays the session, and records messages into the mailbox.
//!
//! | file | what |
//! |---|---|
//! | [`route`] | a user name → account, target, mailbox |
//! | [`upstream`] | a target → a connection that is logged in |
//!
//! Promises
//! - Both ends are under TLS before anything that could carry a credential is sent or taken; the server's certificate is
//!   verified, unless the operator decided otherwise for that target.
//! - SMTP (DESIGN decision 7): a message's copy is on disk before the server gets the end of data. What the server
//!   accepted has a copy, what it refused has none, what nobody knows is kept and marked.
//! - POP3: a client gets no whole message, and the server no DELE, before the copy is on disk.
//! - What goes through is changed in nothing but line ends that were none.
//!
//! Not here: sealing (`intake`), files (`spool`), passwords of mailboxes (`pop3_server`).

pub mod route;
pub mod upstream;

pub use route::{Account, BadRoute, Host, Route};
