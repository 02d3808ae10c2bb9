//! Hostile servers by the scripts of EAST (Poddebniak, Ising, Böck, Schinzel: "Why TLS is better without STARTTLS", 2021):
//! what a client must not do is seen from what it said to them, and whether under TLS.
//!
//! | module | what |
//! |---|---|
//! | [`ron`] | the notation that scripts are written in |
//! | [`script`] | a script, read; where the corpus has them |
//! | [`smtp`], [`pop3`], [`imap`] | what the server answers, without sockets |
//! | [`server`] | the server that plays a script on loopback |
//!
//! A script says how the server greets, what it offers in clear and under TLS, what it answers to STARTTLS and whether TLS
//! follows, which commands it pretends not to know or does not answer under TLS, and which it answers with a text of the
//! script's choice. An answer of the script's choice has no effect: behind a chosen `220` to STARTTLS the server goes on
//! in clear. Whatever else it is asked it grants, logins among it.
//!
//! Scripts hold further steps as comments ("uncomment the following line"): they are scripts of their own here.

pub mod imap;
pub mod pop3;
pub mod ron;
pub mod script;
pub mod server;
pub mod smtp;

pub use script::{Certificate, Protocol, Script, scripts, scripts_for_sources};
pub use server::{Conversation, HostileServer};
