//! The recording proxy: between mail clients and their servers, keeping one copy of what passes.
//!
//! A client's user name says where it goes: `remote_user%target_server%mailbox_id` ([`route`]). The gateway logs in there
//! with the client's own password or token, relays the session, and records messages into the mailbox.
//!
//! | file | what |
//! |---|---|
//! | [`gate`] | credentials whose user name is a route → a server that has taken them |
//! | [`route`] | a user name → account, target, mailbox |
//! | [`targets`], `ranges` | which servers, on which port, how TLS begins; addresses that are not public |
//! | [`refusal`] | why a login comes to nothing, in both protocols' words |
//! | `turns`, `places`, `throttle` | logins in progress from a network; sessions of an account at once; servers that said "not now" |
//! | [`tokens`] | the door to a broker of access tokens |
//! | [`oauth`] | a proxy password → an access token, for clients that can only do passwords |
//! | [`upstream`] | a target → a connection that is logged in |
//! | [`pop3`] | the relay between a mail client and its POP3 server |
//! | [`smtp`] | the relay between a mail client and its SMTP server |
//!
//! Promises
//! - Both ends are under TLS before anything that could carry a credential is sent or taken; the server's certificate is
//!   verified, unless the operator decided otherwise for that target.
//! - SMTP (DESIGN decision 7): a message's copy is on disk before the server gets the end of data. What the server
//!   accepted has a copy, what it refused has none, what nobody knows is kept and marked.
//! - POP3: a client gets no whole message, and the server no DELE, before the copy is on disk.
//! - No password that a gateway made reaches a server: neither a mailbox's nor a proxy password, however the user is spelled.
//! - Nobody keeps the owner of an account out who cannot log in to it.
//! - What goes through is changed in nothing but line ends that were none.
//!
//! Not here: sealing (`intake`), files (`spool`), passwords of mailboxes (`pop3_server`).

pub mod gate;
#[cfg(test)]
mod manual;
pub mod oauth;
mod places;
pub mod pop3;
mod ranges;
pub mod refusal;
pub mod route;
pub mod smtp;
pub mod targets;
#[cfg(test)]
mod tests;
mod throttle;
pub mod tokens;
mod turns;
pub mod upstream;

pub use crate::listen::Entrance;
pub use gate::{Admitted, Proxy};
pub use places::AccountPlace;
pub use refusal::LoginRefusal;
pub use route::{Account, BadRoute, Host, Route};
pub use tokens::{Admission, NoToken, Token, Tokens};
pub use upstream::{Link, Pop3Server, SmtpServer};
