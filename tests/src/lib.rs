//! What the workspace's tests, the demo and the benchmarks share: the two programs as processes, small clients, and
//! foreign programs on free loopback ports.
//!
//! | module | what |
//! |---|---|
//! | [`program`] | the gateway's and the archiver's binaries: run a command, keep a daemon |
//! | [`smtp`], [`pop3`] | clients of a few lines, blocking, over plain TCP or TLS |
//! | [`foreign`] | how to run programs of others, and to skip a test aloud when one or the corpus is missing |
//! | [`console`] | a browser of a few lines |
//! | [`upstream`] | Postfix, Dovecot, Exim and Cyrus, each an instance of its own, and certificates for them |
//! | [`clients`] | mail clients of others, each sending or fetching once |
//! | [`provider`] | servers, the gateway before them, and what it recorded |
//! | [`east`] | hostile servers by the scripts of EAST |
//! | [`mod@bench`] | the measures of `make bench` |
//! | [`ews`] | an Exchange server, its schema, and a client of others |
//! | [`oauth_provider`] | an OAuth provider, and a person who consents there |
//! | [`fuzz`] | what is fuzzed: by cargo-fuzz, and shortly by `make test` |
//! | [`machine`] | a Debian machine of its own, and the package to install there |
//! | [`pebble`] | an authority for certificates |
//! | [`prometheus`] | a scrape, read strictly |
//! | [`jwt`] | a token that a test signs itself |
//! | [`Kept`] | what a source of the archiver hands over |
//! | [`messages`] | messages and journal reports for demo and tests |

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the machine as it is; the doors to time and files are for the programs"
)]

mod archive;
pub mod bench;
pub mod clients;
pub mod console;
pub mod east;
pub mod ews;
pub mod foreign;
pub mod fuzz;
mod kept;
pub mod machine;
pub mod messages;
pub mod oauth_provider;
pub mod pebble;
pub mod pop3;
pub mod program;
pub mod prometheus;
pub mod provider;
pub mod smtp;
mod token;
pub mod upstream;
mod wire;

pub use archive::{Archive, crlf, profile};
pub use kept::{Kept, sorted};
pub use token::jwt;
pub use wire::{Security, Wire};
