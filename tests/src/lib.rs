//! What the workspace's tests, the demo and the benchmarks share: the two programs as processes, small clients, and
//! foreign programs on free loopback ports.
//!
//! | module | what |
//! |---|---|
//! | [`program`] | the gateway's and the archiver's binaries: run a command, keep a daemon |
//! | [`smtp`], [`pop3`] | clients of a few lines, blocking, over plain TCP or TLS |
//! | [`foreign`] | Postfix, and how to skip a test aloud when a program or the corpus is missing |
//! | [`mod@bench`] | the measures of `make bench` |
//! | [`fuzz`] | what is fuzzed: by cargo-fuzz, and shortly by `make test` |
//! | [`pebble`] | an authority for certificates |
//! | [`prometheus`] | a scrape, read strictly |
//! | [`messages`] | messages and journal reports for demo and tests |

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the machine as it is; the doors to time and files are for the programs"
)]

mod archive;
pub mod bench;
pub mod foreign;
pub mod fuzz;
pub mod messages;
pub mod pebble;
pub mod pop3;
pub mod program;
pub mod prometheus;
pub mod smtp;
mod wire;

pub use archive::{Archive, crlf, profile};
pub use wire::{Security, Wire};
