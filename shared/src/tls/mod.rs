//! TLS configurations: what a server shows, and whom a client trusts.
//!
//! rustls on AWS-LC: TLS 1.3 and 1.2, no older version, no weak cipher; key exchange prefers X25519MLKEM768, so that
//! traffic recorded today stays closed to tomorrow's quantum computers.
//!
//! Not here: sockets (each program's own rooms), when certificates are renewed and from whom they come.

pub mod client;
pub mod server;
