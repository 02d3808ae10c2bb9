//! What both programs of Postern stand on. Nothing here knows the gateway or the archiver.
//!
//! | room | what it holds |
//! |---|---|
//! | [`clock`], [`disk`] | the only doors to time and to files |
//! | [`data_dir`] | one process a data directory |
//! | [`descriptors`] | how many files a process may have open |
//! | [`id`] | mailbox and message ids |
//! | [`crypto`] | secrets, key pairs, sealing, digests, password hashing |
//! | [`proto`] | bytes to values and back: SMTP, POP3, MIME and journal reports; no sockets, no clock |
//! | [`tls`] | server and client TLS configurations |
//! | [`config`] | raw settings, their checks, and where they come from |
//! | [`control`] | the socket by which the command line reaches a running daemon |
//! | [`telemetry`] | log lines, metrics and progress |
//! | [`http`] | serving HTTP/1.1 |
//! | [`service`] | telling the service manager how it goes |
//! | [`shutdown`] | telling everything that runs to end |

pub mod clock;
pub mod config;
pub mod control;
pub mod crypto;
pub mod data_dir;
pub mod descriptors;
pub mod disk;
pub mod http;
pub mod id;
pub mod proto;
pub mod service;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
