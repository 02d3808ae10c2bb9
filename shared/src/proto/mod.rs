//! Protocols and formats: bytes to values and values to bytes. No sockets, no clock, no files.

pub mod imap;
pub mod mime;
pub mod pop3;
pub mod sasl;
pub mod smtp;
